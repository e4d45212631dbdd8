//! `build`: once for each state of its inputs, whatever the files are called.

use std::path::{Path, PathBuf};

use super::super::site::{BUSYBOX, Host, attributes};
use super::{call, engine, waiting};

/// A directory of the host to build from.
fn context(host: &Host, name: &str) -> PathBuf {
    let dir = host.sshd.home().join(name);
    std::fs::create_dir_all(&dir).expect("a folder can be made");
    write(&dir, "Dockerfile", &format!("FROM {BUSYBOX}\nCOPY greeting /greeting\nCMD [\"cat\", \"/greeting\"]\n"));
    write(&dir, "greeting", "hello\n");
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).expect("a file can be written");
}

#[track_caller]
fn image(host: &Host, tag: &str) -> (String, String) {
    let told = host.docker.run(&["image", "inspect", "--format", "{{.Id}} {{index .Config.Labels \"pmx.inputs\"}}", tag]);
    told.trim().split_once(' ').map(|(id, label)| (id.to_owned(), label.to_owned())).unwrap_or_default()
}

#[test]
fn an_image_is_built_again_when_its_inputs_changed_and_not_before() {
    let Some((host, sandbox)) = engine() else { return };
    let dir = context(&host, "bot");
    let build = |inputs: &str| call(&sandbox, "build", &format!("imageTag = \"pmx-test/bot\"\ncontextPath = \"~/bot\"\ninputs = {inputs}"));
    build("{ code = \"abc\", binary = \"def\" }").exits(0).says("built pmx-test/bot");
    let (id, label) = image(&host, "pmx-test/bot");
    let state = attributes(&sandbox, "engine/image/pmx-test/bot");
    assert_eq!((state["id"].as_str(), state["inputs"].as_str()), (Some(id.as_str()), Some(label.as_str())));
    assert!(label.len() == 64 && state["bytes"].as_u64() > Some(100_000), "{label} {state}");
    assert_eq!(host.docker.run(&["run", "--rm", "pmx-test/bot"]), "hello\n");
    // With inputs these stand for the files: what is in the directory does not count.
    write(&dir, "greeting", "good evening\n");
    build("{ binary = \"def\", code = \"abc\" }").exits(0).says("built from these inputs already").says("1 unchanged");
    assert_eq!(image(&host, "pmx-test/bot"), (id.clone(), label.clone()));
    build("{ code = \"abd\", binary = \"def\" }").exits(0).says("built pmx-test/bot");
    let second = image(&host, "pmx-test/bot");
    assert!(second.0 != id && second.1 != label);
    assert_eq!(host.docker.run(&["run", "--rm", "pmx-test/bot"]), "good evening\n");
    // The old image is nobody's to remove.
    host.docker.run(&["image", "inspect", &id]);
    // What is built is what runs, by its id, although the name means another by then.
    host.docker.run(&["tag", BUSYBOX, "pmx-test/bot"]);
    call(&sandbox, "run", &format!("containerName = \"built\"\nimageTag = \"pmx-test/bot\"\nimageId = \"{}\"", second.0)).exits(0);
    assert_eq!((host.field("built", "{{.Image}}"), host.logs("built")), (second.0, "good evening\n".to_owned()));
    let gone = format!("sha256:{}", "0".repeat(64));
    call(&sandbox, "run", &waiting("never", &format!("imageId = \"{gone}\""))).exits(1).says("there is no image").says("`build` makes it");
    // The same inputs under a name that means another image by now are built again.
    build("{ code = \"abd\", binary = \"def\" }").exits(0).says("built pmx-test/bot");
}

#[test]
fn without_inputs_every_file_of_the_directory_counts() {
    let Some((host, sandbox)) = engine() else { return };
    let dir = context(&host, "it's a bot");
    write(&dir, "Dockerfile", "FROM nothing-that-exists\n");
    write(&dir, "-f the 'other' file", &format!("FROM {BUSYBOX}\nCOPY greeting /greeting\n"));
    let build = || {
        let arguments = "imageTag = \"localhost:5000/pmx-test/files:1.2-RC\"\ncontextPath = \"~/it's a bot/\"\ndockerfilePath = \"-f the 'other' file\"";
        call(&sandbox, "build", arguments)
    };
    let id = || image(&host, "localhost:5000/pmx-test/files:1.2-RC").0;
    build().exits(0).says("built localhost:5000/pmx-test/files:1.2-RC");
    let first = id();
    build().exits(0).says("1 unchanged");
    write(&dir, "greeting", "good morning\n");
    build().exits(0).says("built localhost:5000");
    let second = id();
    assert_ne!(first, second);
    super::super::super::real::run(std::process::Command::new("chmod").arg("755").arg(dir.join("greeting")));
    build().exits(0).says("built localhost:5000");
    write(&dir, "new\nline", "");
    build().exits(0).says("built localhost:5000");
    build().exits(0).says("1 unchanged");
    std::fs::remove_file(dir.join("new\nline")).expect("a file can be removed");
    build().exits(0).says("built localhost:5000");
}

#[test]
fn a_build_that_cannot_be_is_told_with_dockers_reason() {
    let Some((host, sandbox)) = engine() else { return };
    let dir = context(&host, "broken");
    let build = |more: &str| call(&sandbox, "build", &format!("imageTag = \"pmx-test/broken\"\n{more}"));
    build("contextPath = \"~/nowhere\"\ninputs = { a = 1 }").exits(1).says("`~/nowhere` must be a directory on the host");
    build("contextPath = \"~/nowhere\"").exits(1).says("there is nothing to build from in ~/nowhere");
    build("contextPath = \"~/broken\"\ndockerfilePath = \"Otherfile\"").exits(1).says("Otherfile");
    write(&dir, "Dockerfile", &format!("FROM {BUSYBOX}\nRUN echo the compiler is missing >&2; exit 9\n"));
    build("contextPath = \"~/broken\"").exits(1).says("the compiler is missing").says("`docker build` ended with exit code");
    assert!(!host.docker.client(&["image", "inspect", "pmx-test/broken"]).output().expect("docker starts").status.success());
    sandbox.pmx(&["show", "engine/image/pmx-test/broken"]).exits(2);
}
