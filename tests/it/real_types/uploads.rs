//! `ssh/host.upload` on a real sshd: what travels, what stays, names and modes.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::real::sshd::Sshd;
use super::super::sandbox::{Ran, Sandbox};
use super::site::{files, project};

/// Each file's inode and time of change, by path: a file that travels gets new ones.
fn lives(dir: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let life = |path: PathBuf| {
        let meta = std::fs::metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.strip_prefix(dir).unwrap_or(&path).to_path_buf(), (meta.ino(), meta.ctime(), meta.ctime_nsec()))
    };
    files(dir).into_iter().map(life).collect()
}

fn changed(before: &BTreeMap<PathBuf, (u64, i64, i64)>, after: &BTreeMap<PathBuf, (u64, i64, i64)>) -> Vec<PathBuf> {
    after.iter().filter(|(path, life)| before.get(*path) != Some(life)).map(|(path, _)| path.clone()).collect()
}

#[track_caller]
fn upload(sandbox: &Sandbox, source: &str, dest: &str) -> Ran {
    sandbox.pmx(&["build", "testVmSsh.upload", "-i", &format!("source={source}"), "-i", &format!("dest={dest}")])
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

#[test]
fn of_a_thousand_files_only_those_travel_that_differ() {
    let Some(sshd) = Sshd::start() else { return };
    let mut sandbox = project(&sshd);
    for number in 0..1000 {
        sandbox = sandbox.file(&format!("site/{}/{number}.txt", number % 7), &format!("file {number}\n"));
    }
    let there = sshd.home().join("www");
    upload(&sandbox, "site", "~/www").exits(0).says("sent 1000 of 1000 files");
    let first = lives(&there);
    assert_eq!(first.len(), 1000);
    assert_eq!(std::fs::read_to_string(there.join("6/993.txt")).expect("it has arrived"), "file 993\n");
    upload(&sandbox, "site", "~/www/").exits(0).says("has all 1000 files already").says("1 unchanged");
    assert_eq!(lives(&there), first);
    // Same size, other content, and the time of an old file.
    let sandbox = sandbox.file("site/3/500.txt", "FILE 500\n");
    upload(&sandbox, "site", "~/www").exits(0).says("sent 1 of 1000 files, 9 bytes");
    let second = lives(&there);
    assert_eq!(changed(&first, &second), [PathBuf::from("3/500.txt")]);
    // Somebody else's change over there is put right; what is only there stays.
    std::fs::write(there.join("0/7.txt"), "theirs").expect("a file can be written");
    std::fs::write(there.join("extra"), "stays").expect("a file can be written");
    upload(&sandbox, "site", "~/www").exits(0).says("sent 1 of 1000 files");
    assert_eq!(std::fs::read_to_string(there.join("0/7.txt")).expect("it is there"), "file 7\n");
    assert!(there.join("extra").exists());
}

#[test]
fn modes_and_odd_names_arrive() {
    let Some(sshd) = Sshd::start() else { return };
    let names = ["run me.sh", "new\nline", "-n", "it's", "ünï", "back\\slash", "* $(id)", ".hidden"];
    let mut sandbox = project(&sshd);
    for name in names {
        sandbox = sandbox.file(&format!("odd/-d/{name}"), name);
    }
    chmod(&sandbox.path("odd/-d/run me.sh"), 0o755);
    chmod(&sandbox.path("odd/-d/.hidden"), 0o400);
    upload(&sandbox, "odd", "~/my things").exits(0).says("sent 8 of 8 files");
    let there = sshd.home().join("my things/-d");
    for name in names {
        assert_eq!(std::fs::read_to_string(there.join(name)).ok().as_deref(), Some(name));
    }
    let mode = |name: &str| std::fs::metadata(there.join(name)).map(|meta| meta.permissions().mode() & 0o7777).unwrap_or(0);
    assert_eq!((mode("run me.sh"), mode(".hidden")), (0o755, 0o400));
    assert_eq!(files(&sshd.home()).len(), names.len());
    upload(&sandbox, "odd", "~/my things").exits(0).says("has all 8 files already");
    chmod(&sandbox.path("odd/-d/run me.sh"), 0o700);
    upload(&sandbox, "odd", "~/my things").exits(0).says("sent 1 of 8 files");
    assert_eq!(mode("run me.sh"), 0o700);
}

#[test]
fn one_file_takes_its_place_or_lands_in_a_directory() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd).file("server.properties", "difficulty=hard\n");
    upload(&sandbox, "server.properties", "~/game/other.name").exits(0);
    upload(&sandbox, "server.properties", "~/game/").exits(0);
    upload(&sandbox, "server.properties", "~/game/").exits(0).says("1 unchanged");
    let expected = ["other.name", "server.properties"].map(|name| sshd.home().join("game").join(name));
    assert_eq!(files(&sshd.home()), expected);
    upload(&sandbox, "nowhere", "~/game").exits(2).says("nowhere");
    std::fs::create_dir_all(sandbox.path("empty")).expect("a folder can be made");
    upload(&sandbox, "empty", "~/game").exits(2).says("holds no files");
}
