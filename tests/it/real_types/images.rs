//! `docker/compose.update` with a registry: which images changed, which containers were made anew, and which were left alone.

use std::process::Stdio;

use super::super::real::registry::Registry;
use super::super::real::run;
use super::site::{BUSYBOX, Host, game, host};

/// Builds and pushes a new image under `tag`, and lets the engine forget that it has it: the tag means the old one there until somebody pulls.
#[track_caller]
fn release(host: &Host, tag: &str, label: &str) {
    let old = host.docker.run(&["image", "inspect", "--format", "{{.Id}}", tag]).trim().to_owned();
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), format!("FROM {BUSYBOX}\nLABEL release={label}\n")).expect("a Dockerfile can be written");
    let mut build = host.docker.client(&["build", "-q", "-t", tag, "-"]);
    let input = std::fs::File::open(file.path()).expect("the Dockerfile can be read");
    let out = build.stdin(Stdio::from(input)).output().expect("docker starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    host.docker.run(&["push", "-q", tag]);
    host.docker.run(&["tag", &old, tag]);
    assert_eq!(host.docker.run(&["image", "inspect", "--format", "{{.Id}}", tag]).trim(), old);
}

#[test]
fn an_update_renews_what_changed_and_nothing_else() {
    let Some(host) = host() else { return };
    let registry = Registry::start();
    let [web, other] = ["web", "other"].map(|name| format!("{}/{name}:latest", registry.address));
    for tag in [&web, &other] {
        host.docker.run(&["tag", BUSYBOX, tag]);
        host.docker.run(&["push", "-q", tag]);
    }
    let service =
        |name: &str, image: &str| format!("  {name}:\n    image: {image}\n    network_mode: none\n    volumes: ['./data:/world']\n");
    host.compose_file("fresh", &format!("services:\n{}{}", service("web", &web), service("other", &other)));
    let sandbox = game(&host.sshd, "fresh", "none");
    sandbox.pmx(&["build", "calamity.start"]).exits(0);
    let lives = || ["fresh-web-1", "fresh-other-1"].map(|name| host.life(name));
    let first = lives();
    sandbox.pmx(&["build", "calamity.update"]).exits(0).says("every image is current").says("1 unchanged");
    assert_eq!(lives(), first);
    let before = host.field("fresh-web-1", "{{.Image}}");
    release(&host, &web, "two");
    let ran = sandbox.pmx(&["build", "calamity.update"]).exits(0);
    let second = lives();
    let after = host.field("fresh-web-1", "{{.Image}}");
    let short = |id: &str| id["sha256:".len()..][..12].to_owned();
    assert_ne!(before, after);
    let ran = ran.says(&format!("updated web ({} → {})", short(&before), short(&after))).keeps_quiet_about("other (");
    assert!(second[0] != first[0] && second[1] == first[1], "{ran}\n{first:?}\n{second:?}");
    assert_eq!(host.field("fresh-web-1", "{{index .Config.Labels \"release\"}} {{.State.Status}}"), "two running");
    sandbox.pmx(&["build", "calamity.update"]).exits(0).says("every image is current").says("1 unchanged");
    assert_eq!(lives(), second);
    // A service that is off is started, as the page says.
    run(&mut host.docker.client(&["stop", "-t", "5", "fresh-other-1"]));
    sandbox.pmx(&["build", "calamity.update"]).exits(0).says("started other");
    let third = lives();
    assert!(third[0] == second[0] && third[1] != second[1]);
    // Nobody answers for the images: nothing is touched, and docker says why.
    let address = registry.address.clone();
    release(&host, &other, "three");
    drop(registry);
    let ran = sandbox.pmx(&["build", "calamity.update"]).exits(1).says("docker compose pull");
    assert!(ran.stderr.contains("refused") && ran.stderr.contains(&address), "{ran}");
    assert_eq!(lives(), third);
}
