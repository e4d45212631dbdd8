//! Who is let in, and who is believed to be the host: pins, users, keys, the user's ssh config.

use super::super::real::run;
use super::super::real::sshd::{Sshd, Wanted};
use super::super::sandbox::Sandbox;
use super::site::{attributes, fingerprint, project, shell};

#[test]
fn a_host_key_is_pinned_on_first_use_and_a_changed_one_refused() {
    let Some(mut sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    shell(&sandbox, "echo first >> log", &[]).exits(0);
    let first = fingerprint(&sshd.host_key());
    sshd.restart();
    shell(&sandbox, "echo second >> log", &[]).exits(0);
    sshd.restart_with_another_host_key();
    let other = fingerprint(&sshd.host_key());
    let ran = shell(&sandbox, "echo third >> log", &[]).exits(1).says(&first).says(&other).says("is pinned to").says("nothing was sent");
    assert!(ran.stderr.find(&other).unwrap_or(0) < ran.stderr.find(&first).unwrap_or(0), "the key seen comes first\n{ran}");
    let accepted = sshd.log().matches("Accepted publickey").count();
    // It does not heal itself: not by looking, not by writing, not by waiting.
    sandbox.pmx(&["build", "testVmSsh.waitForConnection", "-i", "timeout=30"]).exits(1).says(&other);
    sandbox.pmx(&["build", "testVmSsh.writeFile", "-i", "dest=~/x", "-i", "content=x"]).exits(1).says(&other);
    assert_eq!(sshd.log().matches("Accepted publickey").count(), accepted, "nobody logs in at a stranger's");
    let log = std::fs::read_to_string(sshd.home().join("log")).unwrap_or_default();
    assert_eq!(log, "first\nsecond\n");
    assert!(!sshd.home().join("x").exists());
}

#[test]
fn another_project_has_pins_of_its_own() {
    let Some(mut sshd) = Sshd::start() else { return };
    shell(&project(&sshd), "true", &[]).exits(0);
    sshd.restart_with_another_host_key();
    shell(&project(&sshd), "true", &[]).exits(0);
}

#[test]
fn an_unknown_user_is_denied_with_what_was_offered() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd).replace("definitions/testVmSsh.toml", "user = \"root\"", "user = \"nobody-here\"");
    let ran = shell(&sandbox, "echo in > in", &[]).exits(1);
    ran.says(&format!("nobody-here@{}:{}", sshd.address, sshd.port)).says("accepted none of the offered keys").says("~/.ssh/id_ed25519");
    assert!(!sshd.home().join("in").exists());
    // Without a login there is no pin either: whoever comes first with one decides.
    assert!(sshd.log().contains("Invalid user nobody-here"), "{}", sshd.log());
}

#[test]
fn a_key_that_the_host_does_not_know_and_no_key_at_all_are_told_apart() {
    let (Some(sshd), Some(stranger)) = (Sshd::start(), Sshd::start()) else { return };
    let sandbox = project(&sshd).key(&stranger.client_key());
    shell(&sandbox, "true", &[]).exits(1).says("offered keys (~/.ssh/id_ed25519)");
    std::fs::remove_file(sandbox.home(".ssh/id_ed25519")).expect("the key can be removed");
    shell(&sandbox, "true", &[]).exits(1).says("there is no agent and no key file");
}

/// A project whose `testVmSsh` names only an alias of the ssh config.
fn by_alias(sshd: &Sshd, config: &str) -> Sandbox {
    let sandbox = project(sshd).file("definitions/testVmSsh.toml", "type = \"ssh/host\"\n\n[global]\nhost = \"game\"\n");
    // Not where clients look by themselves: the config must say.
    std::fs::rename(sandbox.home(".ssh/id_ed25519"), sandbox.home(".ssh/games")).expect("the key can be renamed");
    std::fs::write(sandbox.home(".ssh/config"), config).expect("an ssh config can be written");
    sandbox
}

#[test]
fn an_alias_of_the_ssh_config_brings_address_port_user_and_key() {
    let Some(sshd) = Sshd::start() else { return };
    let config = format!("Host game other\n  HostName {}\n  Port {}\n  User root\n  IdentityFile ~/.ssh/games\n", sshd.address, sshd.port);
    let sandbox = by_alias(&sshd, &config);
    shell(&sandbox, "id -un", &[]).exits(0);
    assert_eq!(attributes(&sandbox, "testVmSsh/result/result")["stdout"].as_str(), Some("root\n"));
    // What the definition says wins over the config.
    let sandbox = sandbox.file("definitions/testVmSsh.toml", "type = \"ssh/host\"\n\n[global]\nhost = \"game\"\nuser = \"nobody-here\"\n");
    shell(&sandbox, "true", &[]).exits(1).says("nobody-here@");
}

#[test]
fn a_jump_host_of_the_ssh_config_is_gone_through() {
    let (Some(gate), Some(inner)) = (Sshd::start(), Wanted::default().option("MaxStartups", "100").start()) else { return };
    let key = |name: &str, sshd: &Sshd| format!("Host {name}\n  HostName {}\n  Port {}\n", sshd.address, sshd.port);
    let config =
        format!("{}  IdentityFile ~/.ssh/gate\n{}  IdentityFile ~/.ssh/games\n  ProxyJump gate\n", key("gate", &gate), key("game", &inner));
    let sandbox = by_alias(&inner, &config);
    std::fs::copy(gate.client_key(), sandbox.home(".ssh/gate")).expect("the key can be copied");
    shell(&sandbox, "pwd", &[]).exits(0);
    let home = format!("{}\n", inner.home().display());
    assert_eq!(attributes(&sandbox, "testVmSsh/result/result")["stdout"].as_str(), Some(home.as_str()));
    assert!(gate.log().contains("Accepted publickey") && inner.log().contains("Accepted publickey"));
}

#[test]
fn an_agent_s_key_is_enough() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let socket = sandbox.home("agent.sock");
    let told = run(std::process::Command::new("ssh-agent").arg("-s").arg("-a").arg(&socket));
    let pid: u32 =
        told.split("SSH_AGENT_PID=").nth(1).and_then(|rest| rest.split(';').next()).and_then(|pid| pid.parse().ok()).unwrap_or(0);
    run(std::process::Command::new("ssh-add").arg("-q").arg(sshd.client_key()).env("SSH_AUTH_SOCK", &socket));
    std::fs::remove_file(sandbox.home(".ssh/id_ed25519")).expect("the key can be removed");
    let sandbox = sandbox.env("SSH_AUTH_SOCK", &socket.display().to_string());
    let ran = shell(&sandbox, "true", &[]);
    super::super::process::signal("TERM", &[pid]);
    ran.exits(0);
}
