//! `run`: what makes a container anew, and what is left of the old one when that fails.

use super::*;

const OLD: &str = "bot.pmx-old";

fn arguments() -> Json {
    json!({
        "containerName": "bot", "imageTag": "bot", "ports": ["8080:80"], "volumes": "[\"/a:/b\", \"data:/c:ro\"]", "restart": "unless-stopped",
        "env": {"TOKEN": "hunter2 'quoted'"}, "envFile": "/bot/.env", "envDigest": "d1", "command": ["serve", "--all ways"],
    })
}

/// The looks that every run begins with.
fn looks(id: &str, env: &str) -> ScriptedSsh {
    ScriptedSsh::new().image("bot", id, None).file("/bot/.env", env)
}

/// The digest on the label of the container that these arguments make.
async fn label(arguments: Json, looks: ScriptedSsh) -> String {
    let ssh = looks.none(OLD).none("bot").expect_output("*docker create *", 1, "", "");
    let scene = Scene::ssh(ssh);
    on(&scene, "run", arguments).await.unwrap_err();
    let command = scene.ssh.called().pop().unwrap().command;
    command.split("pmx.inputs=").nth(1).unwrap()[..64].to_owned()
}

#[tokio::test]
async fn a_new_container_gets_all_that_was_asked_for_and_no_secret_in_its_command() {
    let inputs = label(arguments(), looks(IMAGE, "A=1")).await;
    let create = format!(
        "cat | docker create '--name=bot' '--label=pmx.inputs={inputs}' '--restart=unless-stopped' '--publish=8080:80' '--volume=/a:/b' \
         '--volume=data:/c:ro' '--env-file=/bot/.env' '--env-file=/dev/stdin' bot serve '--all ways'"
    );
    let up = container("bot", "running", Some(&inputs));
    let ssh = looks(IMAGE, "A=1").none(OLD).none("bot").expect(&create, "id\n").with_stdin("TOKEN=hunter2 'quoted'\n");
    let ssh = ssh.expect("docker start bot", "bot\n").always("docker container inspect bot", &up.to_string());
    let scene = Scene::ssh(ssh);
    let outcome = on(&scene, "run", arguments()).await.unwrap();
    assert!(outcome.changed && written(&outcome)["state"] == "running");
    let commands: Vec<String> = scene.ssh.called().into_iter().map(|call| call.command).collect();
    assert!(!format!("{outcome:?} {commands:?} {:?}", scene.told.all()).contains("hunter2"));
}

#[tokio::test]
async fn a_container_that_runs_so_is_left_alone_and_one_that_is_stopped_is_started() {
    let inputs = label(arguments(), looks(IMAGE, "A=1")).await;
    let known = |state| looks(IMAGE, "A=1").none(OLD).seen("bot", &container("bot", state, Some(&inputs)));
    let second = call(known("running"), "run", arguments()).await.unwrap();
    assert_eq!((second.summary.as_str(), second.changed), ("10.0.0.9: bot runs so already", false));
    for (state, verb) in [("exited", "start"), ("created", "start"), ("paused", "unpause")] {
        let ssh = known(state).expect(&format!("docker {verb} bot"), "bot\n");
        let ssh = ssh.always("docker container inspect bot", &container("bot", "running", Some(&inputs)).to_string());
        assert!(call(ssh, "run", arguments()).await.unwrap().changed, "{state}");
    }
}

#[tokio::test]
async fn every_part_of_the_description_counts() {
    let base = label(arguments(), looks(IMAGE, "A=1")).await;
    assert_eq!(label(arguments(), looks(IMAGE, "A=1")).await, base);
    assert_ne!(label(arguments(), looks(OTHER, "A=1")).await, base, "the image");
    assert_ne!(label(arguments(), looks(IMAGE, "A=2")).await, base, "the content of the file of variables");
    for (name, given) in [
        ("ports", json!(["8081:80"])),
        ("volumes", json!(["/a:/b"])),
        ("restart", json!("always")),
        ("env", json!({"TOKEN": "hunter3"})),
        ("env", json!({"OTHER": "hunter2 'quoted'"})),
        ("envDigest", json!("d2")),
        ("command", json!(["serve"])),
    ] {
        let mut changed = arguments();
        changed[name] = given;
        assert_ne!(label(changed, looks(IMAGE, "A=1")).await, base, "{name}");
    }
}

fn replaced(from: ScriptedSsh) -> ScriptedSsh {
    from.none(OLD).seen("bot", &container("bot", "running", Some("older"))).expect("docker rename bot bot.pmx-old", "")
}

#[tokio::test]
async fn the_old_container_runs_until_the_new_one_is_made_and_goes_when_that_stays_up() {
    let inputs = label(arguments(), looks(IMAGE, "A=1")).await;
    let ssh = replaced(looks(IMAGE, "A=1")).expect("*docker create *", "id\n").expect("docker stop -t 60 bot.pmx-old", "");
    let ssh = ssh.seen(OLD, &container(OLD, "exited", Some("older"))).expect("docker start bot", "");
    let up = container("bot", "running", Some(&inputs));
    let ssh = (0..5).fold(ssh, |ssh, _| ssh.seen("bot", &up)).expect("docker rm bot.pmx-old", "");
    let scene = Scene::ssh(ssh);
    let outcome = on(&scene, "run", arguments()).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("10.0.0.9: bot runs anew", true));
}

#[tokio::test]
async fn a_container_that_cannot_be_made_costs_the_old_one_nothing() {
    let ssh = replaced(looks(IMAGE, "A=1")).expect_output("*docker create *", 125, "", "invalid mount\n").none("bot");
    let ssh = ssh.expect("docker rename bot.pmx-old bot", "").seen("bot", &container("bot", "running", Some("older")));
    let failure = call(ssh, "run", arguments()).await.unwrap_err();
    assert_eq!(
        (failure.message.as_str(), failure.tail),
        ("10.0.0.9: `docker create` ended with exit code 125; the old container runs on", vec!["invalid mount".to_owned()])
    );
}

#[tokio::test]
async fn a_container_that_does_not_stay_up_gives_its_place_back() {
    let mut dead = container("bot", "exited", Some("x"));
    dead[0]["State"]["ExitCode"] = json!(3);
    let mut again = container("bot", "running", Some("x"));
    again[0]["RestartCount"] = json!(1);
    let mut sick = container("bot", "running", Some("x"));
    sick[0]["State"]["Health"] = json!({"Status": "unhealthy"});
    for (row, said) in [
        (dead, "ended with exit code 3 right after its start"),
        (again, "bot does not stay up: its restart policy had to bring it back already"),
        (sick, "is unhealthy"),
    ] {
        let ssh = replaced(looks(IMAGE, "A=1")).expect("*docker create *", "").expect("docker stop -t 60 bot.pmx-old", "");
        let ssh = ssh.seen(OLD, &container(OLD, "exited", Some("older"))).expect("docker start bot", "").seen("bot", &row);
        let ssh = ssh.expect("docker logs --tail 8 bot", "no token\n").seen("bot", &row);
        let running = row[0]["State"]["Status"] == "running";
        let ssh = if running { ssh.expect("docker stop -t 60 bot", "") } else { ssh };
        let ssh = ssh.expect("docker rm --force bot", "").expect("docker rename bot.pmx-old bot", "").expect("docker start bot", "");
        let ssh = ssh.seen("bot", &container("bot", "running", Some("older")));
        let failure = call(ssh, "run", arguments()).await.unwrap_err();
        assert!(failure.message.contains(said) && failure.message.ends_with("; the old container runs again"), "{}", failure.message);
        assert_eq!((failure.tail, failure.acted), (vec!["no token".to_owned()], Acted::Maybe));
    }
}

#[tokio::test]
async fn an_old_container_that_had_to_be_killed_stops_the_replacement() {
    let mut killed = container(OLD, "exited", Some("older"));
    killed[0]["State"]["ExitCode"] = json!(137);
    let ssh = replaced(looks(IMAGE, "A=1")).expect("*docker create *", "").expect("docker stop *", "").seen(OLD, &killed);
    let ssh = ssh.expect("docker logs *", "").seen("bot", &container("bot", "created", Some("x"))).expect("docker rm --force bot", "");
    let ssh = ssh.expect("docker rename bot.pmx-old bot", "").seen("bot", &container("bot", "exited", Some("older")));
    let failure = call(ssh, "run", arguments()).await.unwrap_err();
    assert!(failure.message.ends_with("its data may be unsaved; the old container is back, stopped"), "{}", failure.message);
}

#[tokio::test]
async fn a_replacement_that_was_cut_off_is_settled_first() {
    let inputs = label(arguments(), looks(IMAGE, "A=1")).await;
    let (new, old) = (|state| container("bot", state, Some(&inputs)), |state| container(OLD, state, Some("older")));
    // After the renaming alone, and after the new one was made: the old one gets its name back, and all begins anew.
    for (left, removes) in [(None, false), (Some(new("created")), true)] {
        let ssh = looks(IMAGE, "A=1").seen(OLD, &old("running"));
        let ssh = if let Some(left) = &left { ssh.seen("bot", left) } else { ssh.none("bot") };
        let ssh = if removes { ssh.expect("docker rm bot", "") } else { ssh };
        let ssh = ssh.expect("docker rename bot.pmx-old bot", "").seen("bot", &container("bot", "running", Some(&inputs)));
        let scene = Scene::ssh(ssh);
        let outcome = on(&scene, "run", arguments()).await.unwrap();
        assert!(!outcome.changed && scene.told.has("an earlier replacement of bot was cut off"));
    }
    // After the new one was started: the old one only has to go.
    let ssh = looks(IMAGE, "A=1").seen(OLD, &old("exited")).seen("bot", &new("running")).expect("docker rm bot.pmx-old", "");
    assert!(!call(ssh.seen("bot", &new("running")), "run", arguments()).await.unwrap().changed);
}

#[tokio::test]
async fn a_strangers_container_is_refused() {
    let ssh = looks(IMAGE, "A=1").none(OLD).seen("bot", &container("bot", "running", None));
    let failure = call(ssh, "run", arguments()).await.unwrap_err();
    assert_eq!((failure.kind, failure.acted), (FailureKind::Refused, Acted::No));
    assert_eq!(failure.message, "10.0.0.9: there is a container `bot` that pmx did not make");
}

#[tokio::test]
async fn a_stranger_under_either_name_of_a_replacement_is_refused() {
    let stranger = looks(IMAGE, "A=1").seen(OLD, &container(OLD, "exited", None));
    let failure = call(stranger, "run", arguments()).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.9: there is a container `bot.pmx-old` that pmx did not make");
    let stranger = looks(IMAGE, "A=1").seen(OLD, &container(OLD, "running", Some("older"))).seen("bot", &container("bot", "exited", None));
    let failure = call(stranger, "run", arguments()).await.unwrap_err();
    assert_eq!((failure.kind, failure.acted), (FailureKind::Refused, Acted::No));
}

#[tokio::test]
async fn volumes_without_a_name_go_over_to_the_new_container() {
    let volume = "ab".repeat(32);
    let mut old = container("bot", "exited", Some("older"));
    old[0]["Mounts"] = json!([
        {"Type": "volume", "Name": volume, "Destination": "/world"},
        {"Type": "volume", "Name": volume, "Destination": "/b"},
        {"Type": "volume", "Name": "data", "Destination": "/c"},
        {"Type": "bind", "Source": "/x", "Destination": "/y"},
    ]);
    let ssh = looks(IMAGE, "A=1").none(OLD).seen("bot", &old).expect("docker rename bot bot.pmx-old", "");
    let ssh = ssh.expect_output("*docker create *", 1, "", "").none("bot").expect("docker rename bot.pmx-old bot", "");
    let scene = Scene::ssh(ssh.seen("bot", &old));
    let failure = on(&scene, "run", arguments()).await.unwrap_err();
    assert!(failure.message.ends_with("; the old container is back, stopped"), "{}", failure.message);
    let commands: Vec<String> = scene.ssh.called().into_iter().map(|call| call.command).collect();
    let create = commands.iter().find(|command| command.contains("docker create")).unwrap();
    assert!(create.contains(&format!("'--volume=data:/c:ro' '--volume={volume}:/world' '--env-file")), "{create}");
}

#[tokio::test]
async fn the_image_that_was_built_is_the_one_that_runs() {
    let wanted = json!({"containerName": "bot", "imageTag": "bot", "imageId": IMAGE});
    let moved = ScriptedSsh::new().image("bot", OTHER, None).image(IMAGE, IMAGE, None).none(OLD).none("bot");
    let scene = Scene::ssh(moved.expect_output("docker create *", 1, "", ""));
    on(&scene, "run", wanted.clone()).await.unwrap_err();
    assert!(scene.ssh.called().pop().unwrap().command.ends_with(IMAGE), "by its id when the name means another by now");
    let gone = ScriptedSsh::new().image("bot", OTHER, None).no_image(IMAGE);
    assert_eq!(call(gone, "run", wanted).await.unwrap_err().message, format!("10.0.0.9: there is no image {IMAGE}"));
    let pulled =
        ScriptedSsh::new().no_image("web").expect("docker pull --quiet web", "").image("web", IMAGE, None).none("web.pmx-old").none("web");
    let scene = Scene::ssh(pulled.expect_output("docker create *", 1, "", ""));
    on(&scene, "run", json!({"containerName": "web", "imageTag": "web"})).await.unwrap_err();
}

#[tokio::test]
async fn a_file_of_variables_must_be_there() {
    let ssh = ScriptedSsh::new().image("bot", IMAGE, None).expect("if [ -f /bot/.env ]; then *", "");
    let failure = call(ssh, "run", arguments()).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("10.0.0.9: there is no file /bot/.env", Acted::No));
}

#[tokio::test]
async fn what_was_meant_to_end_has_done_its_work() {
    let mut done = container("job", "exited", Some("x"));
    done[0]["HostConfig"]["RestartPolicy"]["Name"] = json!("no");
    let ssh = ScriptedSsh::new().image("job", IMAGE, None).none("job.pmx-old").none("job").expect("docker create *", "");
    let ssh = ssh.expect("docker start job", "").seen("job", &done);
    assert!(call(ssh, "run", json!({"containerName": "job", "imageTag": "job"})).await.unwrap().changed);
}
