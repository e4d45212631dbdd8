//! What the methods of `pmx/repo` do: wire script → outcome, and local tree → what travels.
#![expect(clippy::disallowed_methods, reason = "what is sent are files of the test's own")]

use std::path::Path;

use serde_json::{Value as Json, json};

use crate::model::contract::{Acted, FailureKind};
use crate::model::pmx::repo::pattern::Patterns;
use crate::model::pmx::repo::place::check_dir;
use crate::model::pmx::repo::tree::{Pick, tree};
use crate::model::scene::{Scene, written};
use crate::wire::scripted::ScriptedSsh;
use crate::wire::ssh::SshError;

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A project of one file beside its Pmxfile.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    put(
        dir.path(),
        "Pmxfile.toml",
        "[project]\nname = \"x\"\n[vault.box]\nkind = \"file\"\npath = \"safe/box.toml\"\n[profile.lab]\nstore = \"practice\"\n",
    );
    put(dir.path(), "definitions/fleet.toml", "type = \"proxmox/vm\"\n");
    dir
}

fn scene(ssh: ScriptedSsh, root: &Path) -> Scene {
    let mut scene = Scene::ssh(ssh);
    scene.ctx.root = root.to_path_buf();
    scene
}

fn globals() -> Json {
    json!({"sshHost": "10.0.0.9", "remoteDir": "/opt/p"})
}

fn names(tree: &super::tree::Tree) -> Vec<&str> {
    tree.entries.iter().map(|entry| entry.path.as_str()).collect()
}

#[tokio::test]
async fn stores_and_vaults_are_known_by_the_pmxfile_and_by_their_looks() {
    let dir = project();
    let root = dir.path();
    for path in [
        "store/x",
        "practice/y",
        "safe/box.toml",
        "vaults/z",
        "deep/kept/FORMAT",
        "deep/kept/index.db",
        "c/CACHEDIR.TAG",
        "c/d",
        "bot/.env",
    ] {
        put(root, path, "never");
    }
    put(root, "FORMAT", "a file of that name alone is no store");
    let code = tree(root.to_path_buf(), Pick::Code, Patterns::default()).await.unwrap();
    assert_eq!(names(&code), ["FORMAT", "Pmxfile.toml", "definitions/fleet.toml"]);
    let secrets = tree(root.to_path_buf(), Pick::Secrets, Patterns::default()).await.unwrap();
    assert_eq!((names(&secrets), secrets.entries[0].mode), (vec!["safe/box.toml"], 0o600));
    std::fs::remove_file(root.join("safe/box.toml")).unwrap();
    let secrets = tree(root.to_path_buf(), Pick::Secrets, Patterns::default()).await.unwrap();
    assert!(secrets.entries.is_empty() && secrets.left[0].contains("`pmx vault set` makes it"), "{:?}", secrets.left);
    let nowhere = tree(root.join("deep"), Pick::Code, Patterns::default()).await.unwrap_err();
    assert!(nowhere.message.contains("Pmxfile.toml"), "{nowhere}");
}

#[tokio::test]
async fn the_digest_covers_paths_modes_and_contents() {
    use std::os::unix::fs::PermissionsExt;
    let dir = project();
    let digest = async || tree(dir.path().to_path_buf(), Pick::Code, Patterns::default()).await.unwrap().digest();
    let first = digest().await;
    assert_eq!(digest().await, first);
    std::fs::set_permissions(dir.path().join("Pmxfile.toml"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let second = digest().await;
    put(dir.path(), "definitions/fleet.toml", "type = \"proxmox/node\"\n");
    let third = digest().await;
    std::fs::rename(dir.path().join("definitions/fleet.toml"), dir.path().join("definitions/f.toml")).unwrap();
    let all = [first, second, third, digest().await];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}

#[test]
fn directories_are_cleaned_or_refused() {
    for (given, meant) in [("/opt/p/", "/opt/p"), ("~/a//b/./c", "~/a/b/c"), ("/a $(b)", "/a $(b)")] {
        assert_eq!(check_dir(given).unwrap(), meant);
    }
    for bad in ["", "/", "//", "~", "~/", "~/.", "x", "/a/../b", "/a\n", "~user/x"] {
        assert_eq!(check_dir(bad).unwrap_err().kind, FailureKind::Yours, "{bad:?}");
    }
}

#[tokio::test]
async fn a_first_sync_stages_everything_and_switches_once() {
    let dir = project();
    let ssh = ScriptedSsh::new()
        .on("10.0.0.9")
        .expect("*next-*switching*", "")
        .expect("*xargs -0 sh -c*", "")
        .expect("mkdir -p /opt/p/.pmx/code && chmod 700 /opt/p/.pmx", "")
        .expect("*xargs -0 sh -c*", "-\n")
        .expect("cd /opt/p || exit 99*mv .pmx/code/next-* .pmx/code/switching*", "");
    let scene = scene(ssh, dir.path());
    let outcome = scene.call("pmx/repo", "syncCode", globals(), json!({})).await.unwrap();
    assert!(outcome.changed && scene.told.has("transfer "));
    let repo = written(&outcome);
    assert_eq!((repo["files"].clone(), repo["moved"].clone(), repo["deleted"].clone()), (json!(2), json!(2), json!(0)));
    let log = scene.ssh.log();
    let sent: Vec<&String> = log.iter().filter(|line| line.starts_with("upload ")).collect();
    assert!(sent.len() == 5 && sent.iter().all(|line| line.contains("10.0.0.9:/opt/p/.pmx/code/next-")), "{sent:?}");
}

#[tokio::test]
async fn a_preparation_that_fails_has_changed_nothing_and_a_switch_that_fails_may_have() {
    let dir = project();
    for (status, acted) in [(99, Acted::No), (98, Acted::No), (1, Acted::Maybe)] {
        let ssh = ScriptedSsh::new()
            .expect("*next-*switching*", "")
            .expect("*xargs -0 sh -c*", "")
            .expect("mkdir -p *", "")
            .expect("*xargs -0 sh -c*", "-\n")
            .expect_output("cd /opt/p || exit 99*", status, "", "why\n");
        let failure = scene(ssh, dir.path()).call("pmx/repo", "syncCode", globals(), json!({})).await.unwrap_err();
        assert_eq!(failure.acted, acted, "{failure}");
    }
    let strange = ScriptedSsh::new().expect_output("*next-*switching*", 97, "", "");
    let failure = scene(strange, dir.path()).call("pmx/repo", "syncCode", globals(), json!({})).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
}

#[tokio::test]
async fn a_broken_upload_has_changed_nothing() {
    let dir = project();
    let broken = SshError::Broken { host: "root@10.0.0.9:22".into(), what: "upload".into(), cause: "reset".into() };
    let ssh = ScriptedSsh::new()
        .expect("*next-*switching*", "")
        .expect("*xargs -0 sh -c*", "")
        .expect("mkdir -p *", "")
        .expect("*xargs -0 sh -c*", "-\n")
        .failing("upload", broken);
    let failure = scene(ssh, dir.path()).call("pmx/repo", "syncCode", globals(), json!({})).await.unwrap_err();
    assert_eq!(failure.acted, Acted::No, "{failure}");
}

#[tokio::test]
async fn a_program_that_is_not_built_is_asked_for_and_nothing_is_dialled() {
    let dir = project();
    let call =
        async |arguments| scene(ScriptedSsh::new(), dir.path()).call("pmx/repo", "syncBinary", globals(), arguments).await.unwrap_err();
    let failure = call(json!({"binaryName": "pmx-bot"})).await;
    assert!(failure.message.contains("there is no program `pmx-bot` to send"), "{failure}");
    assert_eq!(failure.help.as_deref(), Some("`just release` first; it builds what belongs there, pmx sends it"));
    assert_eq!(call(json!({"sourceDir": "dist"})).await.kind, FailureKind::Yours);
    assert_eq!(call(json!({"binaryName": "../x"})).await.kind, FailureKind::Yours);
}

#[tokio::test]
async fn a_program_that_would_not_start_over_there_is_refused_and_nothing_is_dialled() {
    let dir = project();
    // A program of this machine: the tests themselves, or a link to a shell where those need no library.
    let own = std::env::current_exe().unwrap();
    let program = if cfg!(target_feature = "crt-static") { "/bin/sh".into() } else { own };
    std::fs::create_dir_all(dir.path().join("target/release")).unwrap();
    std::os::unix::fs::symlink(program, dir.path().join("target/release/pmx")).unwrap();
    let call = async |ssh, arguments| scene(ssh, dir.path()).call("pmx/repo", "syncBinary", globals(), arguments).await;
    let failure = call(ScriptedSsh::new(), json!({})).await.unwrap_err();
    assert!(failure.message.starts_with("target/release/pmx needs a C library to start (/lib"), "{failure}");
    assert!(failure.kind == FailureKind::Yours && failure.help.as_deref().unwrap().contains("`dynamic = true`"), "{failure}");
    // Asked for, it goes on to the host.
    let host_is_asked = ScriptedSsh::new().expect_output("if [ -f /opt/p/bin/pmx ]*", 255, "", "");
    let failure = call(host_is_asked, json!({"dynamic": true})).await.unwrap_err();
    assert!(failure.to_string().contains("looking at /opt/p/bin/pmx ended with exit code 255"), "{failure}");
}

#[tokio::test]
async fn a_program_that_is_there_is_not_sent_again() {
    let dir = project();
    put(dir.path(), "target/release/pmx", "program");
    let sum = crate::model::local::sha256(b"program");
    let ssh = ScriptedSsh::new().expect("if [ -f /opt/p/bin/pmx ]*", &format!("7 755\n{sum}  -\n"));
    let outcome = scene(ssh, dir.path()).call("pmx/repo", "syncBinary", globals(), json!({})).await.unwrap();
    assert!(!outcome.changed);
    let repo = written(&outcome);
    assert_eq!(repo["binaries"]["pmx"], json!({"path": "/opt/p/bin/pmx", "bytes": 7, "digest": format!("sha256:{sum}")}));
    assert_eq!((repo["files"].clone(), repo["moved"].clone()), (json!(1), json!(0)));
}

#[tokio::test]
async fn without_a_host_every_method_says_that_the_vm_is_off() {
    let dir = project();
    put(dir.path(), "target/release/pmx", "program");
    for method in ["syncCode", "syncBinary", "syncSecrets"] {
        let call = scene(ScriptedSsh::new(), dir.path());
        let failure = call.call("pmx/repo", method, json!({"sshHost": null, "remoteDir": "/opt/p"}), json!({})).await.unwrap_err();
        assert_eq!(failure.message, "thing: the VM is off, it has no address", "{method}");
    }
}
