//! `pmx/repo` on a real sshd: what travels, what stays at home, what lives on over there.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::real::run;
use super::super::real::sshd::Sshd;
use super::super::sandbox::{Ran, Sandbox};
use super::site::{attributes, files, project, toml};

/// A tree as it is: mode and bytes of each file, the target of each link; what pmx keeps for itself is left out.
pub type Tree = BTreeMap<String, (u32, Vec<u8>)>;

/// The tree below `dir`.
pub fn tree(dir: &Path) -> Tree {
    let node = |path: PathBuf| {
        let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        let meta = std::fs::symlink_metadata(&path).ok()?;
        if meta.is_symlink() {
            return Some((name, (0, std::fs::read_link(&path).ok()?.display().to_string().into_bytes())));
        }
        if !meta.is_file() {
            return None;
        }
        Some((name, (meta.permissions().mode() & 0o7777, std::fs::read(&path).ok()?)))
    };
    files(dir).into_iter().filter_map(node).filter(|(name, _)| !name.starts_with(".pmx/")).collect()
}

/// A project whose `pmxRepo` is `remote_dir` on `address`, with a vault file of its own.
pub fn repo(sshd: &Sshd, (address, port): (&str, u16), remote_dir: &str) -> Sandbox {
    let sandbox = project(sshd);
    let pmxfile = sandbox.read("Pmxfile.toml") + "\n[vault.box]\nkind = \"file\"\npath = \"vaults/box.toml\"\n";
    let sandbox = sandbox.file("Pmxfile.toml", &pmxfile).deadline(Duration::from_secs(180));
    aim(sandbox, (address, port), remote_dir)
}

/// The same project with another way to the host.
pub fn aim(sandbox: Sandbox, (address, port): (&str, u16), remote_dir: &str) -> Sandbox {
    let at = format!("sshHost = \"{address}\"\nsshPort = {port}\nremoteDir = {}\n", toml(remote_dir));
    sandbox.file("definitions/pmxRepo.toml", &format!("type = \"pmx/repo\"\n\n[global]\n{at}"))
}

fn here(sshd: &Sshd) -> (&str, u16) {
    (&sshd.address, sshd.port)
}

#[track_caller]
pub fn code(sandbox: &Sandbox) -> Ran {
    sandbox.pmx(&["build", "pmxRepo.syncCode"])
}

fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map(|meta| meta.ino()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

fn put(path: PathBuf, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("a folder can be made");
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

#[test]
fn of_a_thousand_files_only_those_move_that_changed_and_deleted_ones_go() {
    let Some(sshd) = Sshd::start() else { return };
    let there = sshd.home().join("pm");
    let sandbox = repo(&sshd, here(&sshd), "~/pm");
    for number in 0..1000 {
        put(sandbox.path(&format!("site/{}/{number}.txt", number % 7)), format!("file {number}\n"));
    }
    code(&sandbox).exits(0).says("moved 1003 of 1003 files").says("removed 0");
    let first = tree(&there);
    assert_eq!((first.len(), first["site/6/993.txt"].1.as_slice()), (1003, b"file 993\n".as_slice()));
    let lives: BTreeMap<PathBuf, u64> = files(&there.join("site")).into_iter().map(|path| (path.clone(), inode(&path))).collect();
    let one = attributes(&sandbox, "pmxRepo/repo/code");
    assert_eq!((one["files"].as_u64(), one["moved"].as_u64(), one["deleted"].as_u64()), (Some(1003), Some(1003), Some(0)));

    code(&sandbox).exits(0).says("has all 1003 files already").says("1 unchanged");
    put(sandbox.path("site/3/500.txt"), "FILE 500\n");
    put(sandbox.path("site/new/x.txt"), "new\n");
    std::fs::remove_file(sandbox.path("site/1/1.txt")).expect("a file can be removed");
    for number in (0..1000).filter(|number| number % 7 == 5) {
        std::fs::remove_file(sandbox.path(&format!("site/5/{number}.txt"))).expect("a file can be removed");
    }
    // Moved, not changed: its content need not travel again.
    std::fs::rename(sandbox.path("site/2/9.txt"), sandbox.path("site/moved.txt")).expect("a file can be moved");
    code(&sandbox).exits(0).says("moved 3 of 860 files").says(", 13 bytes; removed 145");
    let changed: Vec<PathBuf> = files(&there.join("site")).into_iter().filter(|path| lives.get(path) != Some(&inode(path))).collect();
    assert_eq!(changed, ["3/500.txt", "moved.txt", "new/x.txt"].map(|name| there.join("site").join(name)));
    assert!(!there.join("site/5").exists(), "a directory that a sync emptied goes");
    let two = attributes(&sandbox, "pmxRepo/repo/code");
    assert_ne!(one["digest"], two["digest"]);

    // Somebody else's change over there is put right, whatever it is.
    put(there.join("site/0/7.txt"), "theirs");
    chmod(&there.join("site/0/14.txt"), 0o600);
    std::fs::remove_file(there.join("site/0/21.txt")).expect("a file can be removed");
    code(&sandbox).exits(0).says("moved 3 of 860 files");
    assert_eq!(tree(&there), local(&sandbox), "byte for byte");
}

/// What of a sandbox should be there: all but its store and vaults.
pub fn local(sandbox: &Sandbox) -> Tree {
    tree(&sandbox.path("")).into_iter().filter(|(name, _)| !name.starts_with("store/") && !name.starts_with("vaults/")).collect()
}

#[test]
fn what_belongs_to_a_machine_stays_on_it() {
    let Some(sshd) = Sshd::start() else { return };
    let there = sshd.home().join("pm");
    let sandbox = repo(&sshd, here(&sshd), "~/pm").file("bot/Dockerfile", "FROM scratch\n").file("bot/old", "old\n");
    sandbox.pmx_with_input(&["vault", "set", "box", "password"], "hunter2\n").exits(0);
    let key = std::fs::read(sshd.client_key()).expect("the client key can be read");
    put(sandbox.path(".git/config"), "[core]\n");
    put(sandbox.path("sub/.git"), "gitdir: elsewhere\n");
    put(sandbox.path("bot/.env"), "DISCORD_TOKEN=ours\n");
    put(sandbox.path("bot/.env.local"), "X=1\n");
    put(sandbox.path("bot/.env.example"), "DISCORD_TOKEN=\n");
    put(sandbox.path("config/host.pem"), key);
    put(sandbox.path("target/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n");
    put(sandbox.path("target/release/pmx"), "built");
    put(sandbox.path("old/store/FORMAT"), "1\n");
    put(sandbox.path("old/store/index.db"), "sqlite");
    put(sandbox.path("docs/draft.md"), "draft");
    put(sandbox.path("notes.log"), "log");
    // What lives over there already.
    let theirs = ["store/index.db", "store/objects/ab/cd", "vaults/theirs.toml", ".git/HEAD", "bot/.env", "bot/data/world", "data.json"];
    for name in theirs {
        put(there.join(name), format!("theirs: {name}"));
    }
    let sandbox = sandbox.file(
        "workflows/sync.toml",
        "[[step]]\nname = \"code\"\ncall = \"pmxRepo.syncCode\"\nwith = { excludes = [\"*.log\", \"docs/draft.md\"] }\n",
    );
    let ran = sandbox.pmx(&["build", "sync"]);
    ran.exits(0).says("config/host.pem is left out: it is a private key").keeps_quiet_about("hunter2");
    let expected = [
        "Pmxfile.toml",
        "bot/.env.example",
        "bot/Dockerfile",
        "bot/old",
        "definitions/pmxRepo.toml",
        "definitions/testVmSsh.toml",
        "workflows/sync.toml",
    ];
    let mut names: Vec<&str> = expected.into_iter().chain(theirs).collect();
    names.sort_unstable();
    let now = tree(&there);
    assert_eq!(now.keys().map(String::as_str).collect::<Vec<_>>(), names);
    // With all that pmx put into bot gone, what is not pmx's stays.
    std::fs::remove_file(sandbox.path("bot/old")).expect("a file can be removed");
    std::fs::remove_file(sandbox.path("bot/Dockerfile")).expect("a file can be removed");
    std::fs::remove_file(sandbox.path("bot/.env.example")).expect("a file can be removed");
    sandbox.pmx(&["build", "sync"]).exits(0).says("removed 3");
    let now = tree(&there);
    for name in theirs {
        assert_eq!(now.get(name).map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()), Some(format!("theirs: {name}")), "{name}");
    }
    assert!(!there.join("bot/old").exists() && there.join("bot/.env").exists());

    // Secrets travel when they are asked for: the vault files, sealed, and nothing else.
    sandbox.pmx(&["build", "pmxRepo.syncSecrets"]).exits(0).says("moved 1 of 1 files");
    sandbox.pmx(&["build", "pmxRepo.syncSecrets"]).exits(0).says("1 unchanged");
    let after = tree(&there);
    let new: Vec<&String> = after.keys().filter(|name| !now.contains_key(*name)).collect();
    assert_eq!(new, ["vaults/box.toml"]);
    assert_eq!(after["vaults/box.toml"], (0o600, std::fs::read(sandbox.path("vaults/box.toml")).expect("the vault is there")));
    let kept = files(&there.join(".pmx"));
    assert_eq!(kept, ["code/list", "secrets/list"].map(|name| there.join(".pmx").join(name)), "no stage stays behind");
}

#[test]
fn hostile_names_modes_links_and_a_large_file_arrive_as_they_are() {
    let Some(sshd) = Sshd::start() else { return };
    let there = sshd.home().join("pm");
    let sandbox = repo(&sshd, here(&sshd), "~/pm");
    let names = [
        "run me.sh",
        "new\nline",
        "-n",
        "--help",
        "it's \"q\"",
        "ünï",
        "back\\slash",
        "* $(touch pwned)",
        ".hidden",
        "a;b|c&d",
        "tab\t",
        "~",
        "#x",
    ];
    for name in names {
        put(sandbox.path("odd/-d/ e'v\nil").join(name), name);
    }
    chmod(&sandbox.path("odd/-d/ e'v\nil/run me.sh"), 0o755);
    chmod(&sandbox.path("odd/-d/ e'v\nil/.hidden"), 0o400);
    let big: Vec<u8> = (0_u32..12 << 20).flat_map(u32::to_le_bytes).collect();
    put(sandbox.path("big.bin"), &big);
    put(sandbox.path("empty"), "");
    let links = [("odd/in", "-d"), ("odd/up", "../Pmxfile.toml"), ("quote", "odd/it's")];
    for (path, target) in links {
        symlink(target, sandbox.path(path)).expect("a link can be made");
    }
    for (path, target) in [("out1", "/etc/passwd"), ("odd/out2", "../../../home")] {
        symlink(target, sandbox.path(path)).expect("a link can be made");
    }
    run(Command::new("mkfifo").arg(sandbox.path("pipe")));
    let ran = code(&sandbox);
    ran.exits(0)
        .says("out1 is left out: it is a link to /etc/passwd, outside of the project")
        .says("odd/out2 is left out")
        .says("pipe is left out: it is neither a file nor a link");
    let mut expected = local(&sandbox);
    expected.retain(|name, _| !name.contains("out1") && !name.contains("out2"));
    let now = tree(&there);
    assert_eq!(now.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(now == expected, "modes and contents are kept");
    assert_eq!(files(&sshd.home()).iter().filter(|path| path.ends_with("pwned")).count(), 0);
    code(&sandbox).exits(0).says("1 unchanged");
    // A file becomes a link, a link becomes a file, a file becomes a directory.
    std::fs::remove_file(sandbox.path("empty")).expect("a file can be removed");
    symlink("big.bin", sandbox.path("empty")).expect("a link can be made");
    std::fs::remove_file(sandbox.path("quote")).expect("a file can be removed");
    put(sandbox.path("quote/inner"), "now a directory");
    std::fs::remove_file(sandbox.path("odd/in")).expect("a file can be removed");
    put(sandbox.path("odd/in"), "now a file");
    code(&sandbox).exits(0).says("moved 3 of").says("removed 1");
    let mut expected = local(&sandbox);
    expected.retain(|name, _| !name.contains("out1") && !name.contains("out2"));
    assert!(tree(&there) == expected);
    std::fs::remove_file(sandbox.path("big.bin")).expect("a file can be removed");
    put(sandbox.path("big.bin/part"), "a file becomes a directory");
    code(&sandbox).exits(0).says("moved 1 of").says("removed 1");
    assert!(there.join("big.bin/part").is_file());
}

#[test]
fn a_directory_that_makes_no_sense_is_refused_and_a_strange_one_is_taken_literally() {
    let Some(sshd) = Sshd::start() else { return };
    let mut sandbox = repo(&sshd, here(&sshd), "~/pm");
    for dir in ["", "/", "~", "~/", "//", "/.", "relative", "~keeb/x", "/a/../b", "/x\ny", "$HOME/x"] {
        sandbox = aim(sandbox, here(&sshd), dir);
        code(&sandbox).exits(2).says("cannot hold the project");
    }
    assert_eq!(files(&sshd.home()), Vec::<PathBuf>::new());
    let strange = "~/a b/$(touch pwned)/it's `id`; *";
    sandbox = aim(sandbox, here(&sshd), &format!("{strange}//"));
    code(&sandbox).exits(0);
    code(&sandbox).exits(0).says("1 unchanged");
    let there = sshd.home().join(strange.trim_start_matches("~/"));
    assert_eq!(tree(&there), local(&sandbox));
    assert_eq!(std::fs::read_dir(sshd.home()).map(|entries| entries.count()).ok(), Some(1));
    // What lies in .pmx is run: somebody else's is refused.
    let folder = there.join(".pmx");
    run(Command::new("chown").args(["-R", "65534"]).arg(&folder));
    code(&sandbox).exits(3).says("is not a directory of this user");
    // A directory over there that leads elsewhere is not followed.
    run(Command::new("chown").args(["-R", "0"]).arg(&folder));
    std::fs::rename(there.join("definitions"), sshd.home().join("elsewhere")).expect("a directory can be moved");
    symlink(sshd.home().join("elsewhere"), there.join("definitions")).expect("a link can be made");
    code(&sandbox).exits(1).says("`definitions` is something else where a directory is to be");
}

#[test]
fn a_full_disk_leaves_the_old_tree_and_says_so() {
    let Some(sshd) = Sshd::start() else { return };
    let there = sshd.home().join("small");
    std::fs::create_dir_all(&there).expect("a folder can be made");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&there));
    let sandbox = repo(&sshd, here(&sshd), "~/small");
    put(sandbox.path("data/a"), vec![b'a'; 200_000]);
    let first = code(&sandbox);
    let old = tree(&there);
    put(sandbox.path("data/a"), vec![b'b'; 210_000]);
    put(sandbox.path("data/b"), vec![b'c'; 2_000_000]);
    let full = code(&sandbox);
    let after = tree(&there);
    let left = files(&there.join(".pmx"));
    put(sandbox.path("data/b"), vec![b'c'; 200_000]);
    let fits = code(&sandbox);
    let new = tree(&there);
    run(Command::new("umount").arg("-l").arg(&there));
    first.exits(0);
    full.exits(1).says("is as it was; is its disk full").says("1024-blocks");
    assert!(old == after, "the old tree stands");
    assert_eq!(left, [there.join(".pmx/code/list")], "what had arrived gave its place back");
    fits.exits(0).says("moved 2 of");
    assert!(new == local(&sandbox));
}

#[test]
fn a_file_that_cannot_be_read_ends_the_sync_before_anything_is_sent() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = repo(&sshd, here(&sshd), "~/pm");
    code(&sandbox).exits(0);
    let old = tree(&sshd.home().join("pm"));
    put(sandbox.path("a-new-file"), "new");
    put(sandbox.path("locked/x"), "x");
    // Root reads everything but what the kernel itself refuses.
    run(Command::new("mount").args(["--bind", "/proc/self/mem"]).arg(sandbox.path("locked/x")));
    let ran = code(&sandbox);
    run(Command::new("umount").arg("-l").arg(sandbox.path("locked/x")));
    ran.exits(2).says("locked/x").says("nothing was sent");
    assert_eq!(tree(&sshd.home().join("pm")), old);
}

#[test]
fn programs_are_sent_when_they_are_built_and_recorded_together() {
    let Some(sshd) = Sshd::start() else { return };
    let there = sshd.home().join("pm");
    let sandbox = repo(&sshd, here(&sshd), "~/pm");
    let send = |arguments: &[&str]| sandbox.pmx(&[&["build", "pmxRepo.syncBinary"], arguments].concat());
    let bot = ["-i", "binaryName=pmx-bot", "-i", "remotePath=bot/pmx-bot"];
    send(&[]).exits(2).says("there is no program `pmx` to send").says("`just release` first");
    send(&bot).exits(2).says("`just release` first");
    put(sandbox.path("target/release/pmx"), "pmx 1");
    put(sandbox.path("target/x86_64-unknown-linux-musl/release/pmx-bot"), "bot 1");
    put(sandbox.path("target/release/pmx-bot"), "bot with libraries");
    let built = std::fs::read(sandbox.path("target/release/pmx")).expect("it was put there");
    std::fs::copy("/bin/sh", sandbox.path("target/release/pmx")).expect("a program of this machine can be copied");
    send(&[]).exits(2).says("target/release/pmx needs a C library to start (/lib").says("`just release` builds one that needs nothing");
    assert!(!there.exists(), "nothing has travelled");
    std::fs::write(sandbox.path("target/release/pmx"), built).expect("it can be put back");
    send(&[]).exits(0).says("put pmx, 5 bytes");
    let alone = attributes(&sandbox, "pmxRepo/repo/binary");
    send(&bot).exits(0).says("put pmx-bot, 5 bytes");
    let both = attributes(&sandbox, "pmxRepo/repo/binary");
    assert_eq!(
        tree(&there),
        Tree::from([("bin/pmx".into(), (0o755, b"pmx 1".to_vec())), ("bot/pmx-bot".into(), (0o755, b"bot 1".to_vec()))])
    );
    assert_eq!(both["binaries"].as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()), Some(vec!["pmx".into(), "pmx-bot".into()]));
    assert_eq!((both["files"].as_u64(), both["bytes"].as_u64()), (Some(2), Some(10)));
    assert_ne!(alone["digest"], both["digest"]);
    send(&[]).exits(0).says("1 unchanged");
    send(&bot).exits(0).says("1 unchanged");
    assert_eq!(attributes(&sandbox, "pmxRepo/repo/binary")["digest"], both["digest"], "one digest over both, whoever was last");
    // A new build, a program that was lost, one that lost its mode.
    let before = inode(&there.join("bin/pmx"));
    put(sandbox.path("target/release/pmx"), "pmx 2");
    send(&[]).exits(0).says("put pmx");
    assert_ne!(inode(&there.join("bin/pmx")), before, "one that runs is not written into");
    assert_ne!(attributes(&sandbox, "pmxRepo/repo/binary")["digest"], both["digest"]);
    chmod(&there.join("bin/pmx"), 0o644);
    send(&[]).exits(0).says("put pmx");
    std::fs::remove_file(there.join("bot/pmx-bot")).expect("a file can be removed");
    send(&[]).exits(0).says("pmx-bot is no longer at");
    send(&bot).exits(0).says("put pmx-bot");
    for name in ["../pmx", "-x", "a/b", ""] {
        send(&["-i", &format!("binaryName={name}")]).exits(2);
    }
    for path in ["../out", "bot/", "~", "/"] {
        send(&["-i", &format!("remotePath={path}")]).exits(2).says("no path of a file");
    }
    // The code knows nothing of them: it leaves them alone.
    code(&sandbox).exits(0);
    assert!(there.join("bot/pmx-bot").exists() && there.join("bin/pmx").exists());
}
