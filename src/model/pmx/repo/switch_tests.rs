//! The scripts, as the real shell runs them: what stands when they end early, and that a second run ends what the first began.
#![expect(clippy::disallowed_methods, reason = "tests ask the real shell, on files of their own")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::*;

const STAGE: &str = ".pmx/code/next-1";
const SWITCHING: &str = ".pmx/code/switching";

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Every file and link below the root, without `.pmx`; links as `-> target`.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let (mut open, mut found) = (vec![root.to_path_buf()], BTreeMap::new());
    while let Some(dir) = open.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_symlink() {
                found.insert(name, format!("-> {}", std::fs::read_link(&path).unwrap().display()));
            } else if path.is_dir() {
                found.insert(format!("{name}/"), String::new());
                open.push(path);
            } else {
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found.retain(|name, _| !name.starts_with(".pmx/"));
    found
}

/// `sh SCRIPT ARGUMENTS` in `root`, with `tools` in front of the path; whether it succeeded.
fn sh(root: &Path, arguments: &[&str], tools: Option<&Path>) -> bool {
    let path = std::env::var("PATH").unwrap();
    let path = tools.map_or(path.clone(), |tools| format!("{}:{path}", tools.display()));
    Command::new("sh").args(arguments).current_dir(root).env("PATH", path).output().unwrap().status.success()
}

fn steps() -> Steps {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Steps {
        dirs: list(&["it's", "it's/-d", "was-file"]),
        moves: list(&["-n", "link", "root $(id)", "copy/same", "it's/-d/a\nb", "it's/-d/c", "was-file/x"]),
        links: vec![("link".into(), "copy/same".into())],
        copies: vec![("copy/same".into(), "copy/old".into(), 0o640)],
        first: list(&["was-file"]),
        gone: list(&["copy/old", "dead/deep/x"]),
        empty: list(&["dead/deep", "dead", "copy"]),
    }
}

/// An old tree with a stage that is complete.
fn staged() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (path, text) in
        [("was-file", "old"), ("copy/old", "same"), ("dead/deep/x", "old"), ("-n", "old"), ("stranger", "stays"), ("dead/note", "stays")]
    {
        put(root, path, text);
    }
    for path in ["-n", "root $(id)", "it's/-d/a\nb", "it's/-d/c", "was-file/x"] {
        put(root, &format!("{STAGE}/tree/{path}"), "new");
    }
    put(root, &format!("{STAGE}/list"), "list");
    put(root, &format!("{STAGE}/ready"), &ready(&steps()).unwrap());
    put(root, &format!("{STAGE}/switch"), &switch(&steps()).unwrap());
    dir
}

fn new_tree() -> BTreeMap<String, String> {
    let rows = [
        ("-n", "new"),
        ("link", "-> copy/same"),
        ("root $(id)", "new"),
        ("copy/", ""),
        ("copy/same", "same"),
        ("it's/", ""),
        ("it's/-d/", ""),
        ("it's/-d/a\nb", "new"),
        ("it's/-d/c", "new"),
        ("was-file/", ""),
        ("was-file/x", "new"),
        ("stranger", "stays"),
        ("dead/", ""),
        ("dead/note", "stays"),
    ];
    rows.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
}

fn commit(root: &Path) {
    std::fs::rename(root.join(STAGE), root.join(SWITCHING)).unwrap();
}

const SWITCH: [&str; 3] = [".pmx/code/switching/switch", SWITCHING, ".pmx/code/list"];

#[test]
fn the_new_tree_comes_and_strangers_stay() {
    let dir = staged();
    let root = dir.path();
    assert!(sh(root, &[&format!("{STAGE}/ready"), STAGE], None));
    commit(root);
    assert!(sh(root, &SWITCH, None));
    assert_eq!(tree(root), new_tree());
    assert_eq!(std::fs::read_to_string(root.join(".pmx/code/list")).unwrap(), "list");
    assert!(!root.join(SWITCHING).exists());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(root.join("copy/same")).unwrap().permissions().mode() & 0o7777, 0o640);
}

#[test]
fn a_switch_that_ended_at_any_command_is_ended_by_the_next() {
    for dies_at in 1..12 {
        let dir = staged();
        let root = dir.path();
        assert!(sh(root, &[&format!("{STAGE}/ready"), STAGE], None));
        commit(root);
        // Its host dies at the so many-th command: that one does nothing, and the shell is gone.
        let tools = tempfile::tempdir().unwrap();
        for tool in ["mv", "rm", "rmdir", "mkdir"] {
            let real = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(tool)).into_iter().find(|path| path.exists()).unwrap();
            let count = tools.path().join("count").display().to_string();
            let script = format!(
                "#!/bin/sh\necho x >>{count}\n[ $(wc -l <{count}) -lt {dies_at} ] || {{ kill -9 $PPID; exit 1; }}\nexec {} \"$@\"\n",
                real.display()
            );
            put(tools.path(), tool, &script);
            assert!(Command::new("chmod").arg("755").arg(tools.path().join(tool)).status().unwrap().success());
        }
        let whole = sh(root, &SWITCH, Some(tools.path()));
        if root.join(SWITCHING).join("switch").exists() {
            assert!(!whole, "{dies_at}");
            assert!(sh(root, &SWITCH, None), "{dies_at}");
        }
        assert_eq!(tree(root), new_tree(), "{dies_at}");
        assert_eq!(std::fs::read_to_string(root.join(".pmx/code/list")).unwrap(), "list");
    }
}

#[test]
fn a_preparation_that_fails_leaves_the_old_tree() {
    let dir = staged();
    let root = dir.path();
    let old = tree(root);
    std::fs::remove_file(root.join(format!("{STAGE}/tree/it's/-d/c"))).unwrap();
    assert!(!sh(root, &[&format!("{STAGE}/ready"), STAGE], None), "a staged file is missing");
    assert_eq!(tree(root), old);

    let dir = staged();
    let root = dir.path();
    put(root, "it's", "a file stands where a directory is to be made");
    let old = tree(root);
    assert!(!sh(root, &[&format!("{STAGE}/ready"), STAGE], None));
    assert_eq!(tree(root), old, "directories that were made for it are gone again");
}

#[test]
fn many_files_of_one_directory_move_at_once() {
    let moves: Vec<String> = (0..500).map(|number| format!("d/{number}")).collect();
    let script = switch(&Steps { moves, ..Steps::default() }).unwrap();
    assert_eq!(script.lines().filter(|line| line.starts_with("m d ")).count(), 3);
}
