//! `run` again: nothing when nothing changed, a new container when something did.

use super::super::super::real::run;
use super::super::site::{BUSYBOX, attributes, toml};
use super::{call, containers, engine, waiting};

#[test]
fn every_change_of_the_description_replaces_the_container() {
    let Some((host, sandbox)) = engine() else { return };
    let file = host.sshd.home().join("change.env");
    std::fs::write(&file, "FROM_FILE=one\nBOTH=file\n").expect("a file can be written");
    host.docker.run(&["tag", BUSYBOX, "pmx-test/change"]);
    let mut arguments = vec![
        "containerName = \"change\"".to_owned(),
        "imageTag = \"pmx-test/change\"".to_owned(),
        "ports = [\"8111:80\"]".to_owned(),
        "volumes = [\"change-data:/data\"]".to_owned(),
        "env = { FROM_CALL = \"one\", BOTH = \"call\" }".to_owned(),
        format!("envFile = {}", toml(&file.display().to_string())),
        "restart = \"no\"".to_owned(),
        format!("command = [\"sh\", \"-c\", {}]", toml(super::WAIT)),
    ];
    call(&sandbox, "run", &arguments.join("\n")).exits(0).says("change runs");
    let variables = || host.docker.run(&["exec", "change", "sh", "-c", "echo $FROM_FILE $FROM_CALL $BOTH"]).trim().to_owned();
    assert_eq!(variables(), "one one call", "`env` wins over `envFile`");
    host.docker.run(&["exec", "change", "sh", "-c", "echo kept > /data/file"]);
    let mut known = host.life("change");
    let mut changed = |arguments: &[String], what: &str| {
        call(&sandbox, "run", &arguments.join("\n")).exits(0).says("change runs anew");
        let life = host.life("change");
        assert_ne!(life.split(' ').next(), known.split(' ').next(), "{what}");
        call(&sandbox, "run", &arguments.join("\n")).exits(0).says("change runs so already").says("1 unchanged");
        assert_eq!(host.life("change"), life, "{what}");
        assert_eq!(containers(&host, "change"), ["change running"], "{what}");
        known = life;
    };
    arguments[2] = "ports = '[\"8112:80\", \"8113:81/udp\"]'".to_owned();
    changed(&arguments, "ports");
    assert_eq!(host.docker.run(&["port", "change", "81/udp"]).lines().next(), Some("0.0.0.0:8113"));
    arguments[3] = "volumes = [\"change-data:/other:ro\"]".to_owned();
    changed(&arguments, "volumes");
    assert_eq!(host.docker.run(&["exec", "change", "cat", "/other/file"]), "kept\n", "what is in a volume stays");
    arguments[4] = "env = { FROM_CALL = \"two\" }".to_owned();
    changed(&arguments, "env");
    std::fs::write(&file, "FROM_FILE=two\nBOTH=file\n").expect("a file can be written");
    changed(&arguments, "the content of envFile");
    assert_eq!(variables(), "two two file");
    arguments[6] = "restart = \"unless-stopped\"".to_owned();
    changed(&arguments, "restart");
    assert_eq!(host.field("change", "{{.HostConfig.RestartPolicy.Name}}"), "unless-stopped");
    arguments[7] = format!("command = {}", toml(&format!("echo changed; {}", super::WAIT)));
    changed(&arguments, "command");
    assert_eq!(host.logs("change"), "changed\n");
    super::image(&host, "pmx-test/change", "LABEL release=two");
    changed(&arguments, "image");
    assert_eq!(host.field("change", "{{index .Config.Labels \"release\"}}"), "two");
    arguments.push("envDigest = \"d2\"".to_owned());
    changed(&arguments, "envDigest");
    // An order that means the same, and lists as text.
    arguments[2] = "ports = [\"8112:80\", \"8113:81/udp\"]".to_owned();
    arguments.reverse();
    call(&sandbox, "run", &arguments.join("\n")).exits(0).says("change runs so already");
    // Another store cannot know the variables of this one: it replaces once.
    let other = super::project(&host.sshd);
    call(&other, "run", &arguments.join("\n")).exits(0).says("change runs anew");
    call(&other, "run", &arguments.join("\n")).exits(0).says("1 unchanged");
}

#[test]
fn what_an_image_keeps_in_a_volume_without_a_name_goes_over_to_the_new_container() {
    let Some((host, sandbox)) = engine() else { return };
    super::image(&host, "pmx-test/keeper", "VOLUME [\"/world\", \"/cache\"]");
    let keeper = |more: &str| call(&sandbox, "run", &format!("containerName = \"keeper\"\nimageTag = \"pmx-test/keeper\"\n{more}"));
    keeper("").exits(0);
    host.docker.run(&["exec", "keeper", "sh", "-c", "echo castle > /world/map; echo old > /cache/x"]);
    keeper("env = { A = \"1\" }").exits(0).says("keeper runs anew");
    assert_eq!(host.docker.run(&["exec", "keeper", "cat", "/world/map", "/cache/x"]), "castle\nold\n");
    // And once more, now that they have been handed on; a mount that is asked for by its name wins.
    keeper("volumes = [\"keeper-cache:/cache\"]").exits(0).says("keeper runs anew");
    assert_eq!(host.docker.run(&["exec", "keeper", "sh", "-c", "cat /world/map; ls /cache"]), "castle\n");
    keeper("volumes = [\"keeper-cache:/cache\"]").exits(0).says("1 unchanged");
}

#[test]
fn a_strangers_container_is_never_removed() {
    let Some((host, sandbox)) = engine() else { return };
    host.docker.run(&["run", "-d", "--name", "stranger", "-v", "stranger-data:/data", BUSYBOX]);
    let life = host.life("stranger");
    let ran = call(&sandbox, "run", &waiting("stranger", "")).exits(3);
    ran.says("there is a container `stranger` that pmx did not make").says("docker rm stranger");
    assert_eq!((host.life("stranger"), containers(&host, "stranger")), (life, vec!["stranger running".to_owned()]));
    host.docker.run(&["stop", "-t", "5", "stranger"]);
    call(&sandbox, "run", &waiting("stranger", "")).exits(3);
    assert_eq!(containers(&host, "stranger"), ["stranger exited"]);
    // One that has the name which pmx gives to a container that is being replaced.
    call(&sandbox, "run", &waiting("mine", "")).exits(0);
    host.docker.run(&["create", "--name", "mine.pmx-old", BUSYBOX]);
    let ran = call(&sandbox, "run", &waiting("mine", "env = { A = \"1\" }")).exits(3);
    ran.says("there is a container `mine.pmx-old` that pmx did not make");
    assert_eq!(containers(&host, "mine"), ["mine running", "mine.pmx-old created"]);
    // And one that took the name of a container in the middle of its replacement.
    run(&mut host.docker.client(&["rm", "mine.pmx-old"]));
    host.docker.run(&["rename", "mine", "mine.pmx-old"]);
    host.docker.run(&["create", "--name", "mine", BUSYBOX]);
    call(&sandbox, "run", &waiting("mine", "env = { A = \"1\" }")).exits(3).says("there is a container `mine` that pmx did not make");
    assert_eq!(containers(&host, "mine"), ["mine created", "mine.pmx-old running"]);
    assert_eq!(attributes(&sandbox, "engine/container/mine")["state"].as_str(), Some("running"), "nothing is stored of what was refused");
}
