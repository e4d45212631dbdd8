//! Variables whose values are secrets: in the container, and nowhere else.

use super::super::secrets::holders;
use super::super::site::toml;
use super::{call, engine, project, waiting};

const CANARY: &str = "C4nary-of-a-c0ntainer/+=";
const IN_FILE: &str = "C4nary-in-a-file/+=";

#[test]
fn a_secret_variable_is_in_no_command_no_log_and_no_store() {
    let Some((host, _)) = engine() else { return };
    // A way in of its own, which writes down every word that it hears.
    let Some(sshd) = host.way_in().option("LogLevel", "DEBUG3").start() else { return };
    let sandbox = project(&sshd).env("SAFE_TOKEN", CANARY);
    let file = sshd.home().join("secret.env");
    std::fs::write(&file, format!("FILE_TOKEN={IN_FILE}\n")).expect("a file can be written");
    let more = |extra: &str| {
        format!("env = {{ TOKEN = '${{{{ vault.get(\"safe\", \"TOKEN\") }}}}' }}\nenvFile = {}\n{extra}", toml(&file.display().to_string()))
    };
    call(&sandbox, "run", &waiting("discreet", &more(""))).exits(0);
    assert_eq!(host.docker.run(&["exec", "discreet", "sh", "-c", "echo $TOKEN $FILE_TOKEN"]).trim(), format!("{CANARY} {IN_FILE}"));
    let quiet = |arguments: &[&str]| {
        let ran = sandbox.pmx(arguments).keeps_quiet_about(CANARY).keeps_quiet_about(IN_FILE);
        assert!(ran.status.code().is_some_and(|code| code < 2), "{ran}");
    };
    quiet(&["build", "call", "-v"]);
    // Replaced, refused and failed: a log is written most when something goes wrong.
    call(&sandbox, "run", &waiting("discreet", &more("restart = \"always\""))).exits(0).says("runs anew");
    call(&sandbox, "run", &waiting("discreet", &more("volumes = [\"/tmp:/\"]"))).exits(1).keeps_quiet_about(CANARY);
    let crash = "command = \"echo bad token $TOKEN >&2; exit 3\"";
    call(&sandbox, "run", &waiting("discreet", &more(crash))).exits(1).says("bad token").keeps_quiet_about(CANARY);
    quiet(&["--json", "build", "call"]);
    quiet(&["build", "engine/container/discreet", "-v"]);
    for command in [&["log"][..], &["--json", "log"], &["--json", "show", "engine/container/discreet"], &["--json", "runs"]] {
        quiet(command);
    }
    for run in sandbox.pmx(&["--json", "runs"]).exits(0).lines() {
        let id = run["id"].as_str().expect("a run has an id").to_owned();
        quiet(&["run", &id]);
        quiet(&["--json", "run", &id]);
    }
    for secret in [CANARY, IN_FILE] {
        assert_eq!(holders(&sandbox, secret.as_bytes()), Vec::<String>::new());
        assert!(!sshd.log().contains(secret), "sshd heard it in a command");
        let argv = std::fs::read_to_string(sshd.home().join("argv")).unwrap_or_default();
        assert!(!argv.contains(secret), "docker heard it in its arguments");
        assert!(!host.field("discreet", "{{json .Config.Labels}} {{json .Args}}").contains(secret), "whoever lists containers sees it");
    }
    assert!(!holders(&sandbox, b"discreet").is_empty(), "the search finds what is there");
    let argv = std::fs::read_to_string(sshd.home().join("argv")).unwrap_or_default();
    assert!(argv.contains("--name=discreet") && argv.contains("--env-file=/dev/stdin"), "{argv}");
    // A secret may not become a command: everybody on the host could read it there.
    let leak = "command = ['sh', '-c', 'serve ${{ vault.get(\"safe\", \"TOKEN\") }}']";
    call(&sandbox, "run", &waiting("discreet", leak)).exits(2).says("secret").keeps_quiet_about(CANARY);
}
