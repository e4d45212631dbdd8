//! `ssh/host.writeFile` on a real sshd: content, mode, privacy, and what is there when it fails.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::real::run;
use super::super::real::sshd::{Sshd, Wanted};
use super::super::sandbox::{Ran, Sandbox};
use super::site::{attributes, files, processes, project, toml};

/// Inode, time of the last change and mode: all stay while nobody touches the file.
fn life(path: &Path) -> (u64, i64, i64, u32) {
    let meta = std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.permissions().mode() & 0o7777)
}

#[track_caller]
fn write(sandbox: Sandbox, dest: &str, content: &str, more: &str) -> (Sandbox, Ran) {
    let with = format!("dest = {}, content = {}{more}", toml(dest), toml(content));
    let workflow = format!("[[step]]\nname = \"write\"\ncall = \"testVmSsh.writeFile\"\nwith = {{ {with} }}\n");
    let sandbox = sandbox.file("workflows/write.toml", &workflow);
    let ran = sandbox.pmx(&["build", "write"]);
    (sandbox, ran)
}

#[test]
fn a_file_is_made_with_its_directories_and_then_left_alone() {
    let Some(sshd) = Sshd::start() else { return };
    let path = sshd.home().join("a b/c'd/secret file");
    let (sandbox, ran) = write(project(&sshd), "~/a b/c'd/secret file", "käse\n", "");
    ran.exits(0).says("wrote").says("6 bytes");
    assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some("käse\n"));
    let before = life(&path);
    assert_eq!(before.3, 0o600);
    let (sandbox, ran) = write(sandbox, "~/a b/c'd/secret file", "käse\n", "");
    ran.exits(0).says("holds that already").says("1 unchanged");
    assert_eq!(life(&path), before);
    // The mode alone differs.
    let (sandbox, ran) = write(sandbox, "~/a b/c'd/secret file", "käse\n", ", mode = \"0640\"");
    ran.exits(0).says("1 done");
    assert_eq!(life(&path).3, 0o640);
    let (sandbox, ran) = write(sandbox, "~/a b/c'd/secret file", "", ", mode = \"0400\"");
    ran.exits(0);
    assert_eq!((life(&path).3, std::fs::read(&path).ok()), (0o400, Some(Vec::new())));
    let left = files(&sshd.home());
    assert_eq!(left, [path], "nothing temporary stays behind");
    let file = attributes(&sandbox, "testVmSsh/file/~/a b/c'd/secret file");
    assert_eq!((file["mode"].as_str(), file["bytes"].as_u64()), (Some("0400"), Some(0)));
}

#[test]
fn a_file_changed_by_somebody_else_is_put_right() {
    let Some(sshd) = Sshd::start() else { return };
    let (sandbox, ran) = write(project(&sshd), "~/motd", "ours", "");
    ran.exits(0);
    std::fs::write(sshd.home().join("motd"), "their").expect("a file can be written");
    let (_, ran) = write(sandbox, "~/motd", "ours", "");
    ran.exits(0).says("wrote");
    assert_eq!(std::fs::read_to_string(sshd.home().join("motd")).ok().as_deref(), Some("ours"));
}

#[test]
fn a_secret_file_is_private_from_its_first_moment_and_its_content_nowhere_else() {
    let Some(sshd) =
        Wanted::default().option("LogLevel", "DEBUG3").option("Subsystem", "sftp /usr/lib/openssh/sftp-server -u 0 -l DEBUG3").start()
    else {
        return;
    };
    let canary = format!("canary-{}-in-the-mine", sshd.port);
    // Long enough to be seen half-way.
    let content = format!("{canary}\n").repeat(60_000);
    let folder = sshd.home().join("etc");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    std::fs::write(folder.join("token"), "old").expect("a file can be written");
    std::fs::set_permissions(folder.join("token"), std::fs::Permissions::from_mode(0o644)).expect("a mode can be set");
    let (done, here) = (AtomicBool::new(false), folder.clone());
    let ran = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut modes, mut lines) = (Vec::new(), Vec::new());
            while !done.load(Ordering::SeqCst) {
                for file in files(&here) {
                    // The old file keeps its mode until the new one takes its place.
                    let mode = std::fs::metadata(&file).map(|meta| (meta.permissions().mode() & 0o7777, meta.len()));
                    modes.extend(mode.ok().filter(|(_, bytes)| *bytes != 3));
                }
                lines.extend(processes(&canary));
            }
            (modes, lines)
        });
        let (sandbox, ran) = write(project(&sshd), "~/etc/token", &content, "");
        done.store(true, Ordering::SeqCst);
        let (modes, lines) = watcher.join().expect("the watcher ends");
        assert!(!modes.is_empty() && modes.iter().all(|(mode, _)| *mode == 0o600), "{modes:?}");
        assert_eq!(lines, Vec::<String>::new(), "a command line shows the content");
        drop(sandbox);
        ran
    });
    ran.exits(0).keeps_quiet_about("canary-");
    assert_eq!(std::fs::read_to_string(folder.join("token")).map(|text| text == content).ok(), Some(true));
    assert!(sshd.log().len() > 1000 && !sshd.log().contains("canary-"));
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_nothing_stays() {
    let Some(sshd) = Sshd::start() else { return };
    let folder = sshd.home().join("fixed");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    // Root writes everywhere but here.
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "ro", "none"]).arg(&folder));
    let (sandbox, ran) = write(project(&sshd), "~/fixed/file", "content", "");
    run(Command::new("umount").arg("-l").arg(&folder));
    let ran = ran.exits(1).says("~/fixed/file");
    assert!(ran.stderr.to_lowercase().contains("read-only") || ran.stderr.contains("failure"), "{ran}");
    let (sandbox, ran) = write(sandbox, "~/fixed", "content", "");
    ran.exits(1).says("~/fixed: there is a directory of that name");
    std::fs::write(sshd.home().join("plain"), "").expect("a file can be written");
    let (sandbox, ran) = write(sandbox, "~/plain/below", "content", "");
    ran.exits(1).says("plain");
    assert_eq!(files(&sshd.home()), [sshd.home().join("plain")]);
    let (_, ran) = write(sandbox, "~/x", "content", ", mode = \"rw\"");
    ran.exits(2).says("mode");
}
