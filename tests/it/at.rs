//! `--at`: two projects as two machines with a real sshd between them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fleet::Fleet;
use super::process::{self, wait_until};
use super::real::needs;
use super::real::sshd::{Sshd, Wanted};
use super::real_types::site::{STANDARD_PATH, program};
use super::sandbox::{Ran, Running, Sandbox};

/// Where somebody types, and the machine that has the project.
struct Two {
    here: Sandbox,
    sshd: Sshd,
}

/// What a login there finds: this pmx in its PATH, and what else is given.
fn machine(env: &[(&str, String)]) -> Option<Sshd> {
    let binary = Path::new(env!("CARGO_BIN_EXE_pmx")).parent().unwrap_or(Path::new("/")).display().to_string();
    let fixed = [("PATH".to_owned(), format!("{binary}:{STANDARD_PATH}")), ("USER".to_owned(), "keeper".to_owned())];
    Wanted::default().env(fixed).env(env.iter().map(|(name, value)| ((*name).to_owned(), value.clone()))).start()
}

/// A sandbox whose Pmxfile knows the machine as `there`, with more lines about it.
fn near(sshd: &Sshd, more: &str) -> Sandbox {
    let (address, port) = (&sshd.address, sshd.port);
    let at = format!("[project]\nname = \"here\"\n\n[at.there]\nhost = \"{address}\"\nport = {port}\nuser = \"root\"\n{more}\n");
    Sandbox::new().key(&sshd.client_key()).file("Pmxfile.toml", &at).deadline(Duration::from_secs(120))
}

/// A step that runs a command of the machine itself.
fn step(name: &str, command: &str, more: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncall = \"shell.exec\"\n{more}\nwith = {{ command = '{command}' }}\n\n")
}

impl Two {
    fn new() -> Option<Self> {
        let sshd = machine(&[])?;
        let there = sshd.home().join("project");
        let put = |name: &str, text: &str| {
            let path = there.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("a folder can be made");
            std::fs::write(path, text).expect("a file can be written");
        };
        put("Pmxfile.toml", "[project]\nname = \"there\"\n\n[vault.box]\nkind = \"file\"\npath = \"vaults/box.toml\"\n");
        let own = format!("type = \"ssh/host\"\n\n[global]\nhost = \"{}\"\nport = {}\nuser = \"root\"\n", sshd.address, sshd.port);
        put("definitions/shell.toml", &own);
        let slow = "touch began; while [ ! -e go ]; do sleep 0.05; done; touch ended";
        put("workflows/hello.toml", &step("hello", "echo made >>made; echo said-there", ""));
        put("workflows/slow.toml", &(step("slow", slow, "") + &step("after", "touch after", "")));
        put("workflows/wrong.toml", &step("wrong", "echo the-reason >&2; exit 9", ""));
        put("workflows/asked.toml", &step("asked", "touch confirmed", "confirm = \"Shall it be?\""));
        // Over there it logs in at itself.
        std::fs::create_dir_all(sshd.home().join(".ssh")).expect("a folder can be made");
        std::fs::copy(sshd.client_key(), sshd.home().join(".ssh/id_ed25519")).expect("a key can be copied");
        Some(Self { here: near(&sshd, "dir = \"~/project\""), sshd })
    }

    #[track_caller]
    fn at(&self, arguments: &[&str]) -> Ran {
        self.here.pmx(&[&["--at", "there"], arguments].concat())
    }

    fn start(&self, arguments: &[&str]) -> Running<'_> {
        self.here.start(&[&["--at", "there"], arguments].concat())
    }

    /// Somebody logs in there and runs pmx, without this one.
    #[track_caller]
    fn locally(&self, line: &str) -> String {
        self.sshd.run(&format!("cd project && pmx {line} 2>&1"))
    }

    /// A file of whoever runs commands there: they run in that user's home.
    fn made(&self, name: &str) -> PathBuf {
        self.sshd.home().join(name)
    }

    fn wait_for(&self, name: &str) {
        wait_until(&format!("{name} is there"), Duration::from_secs(60), || self.made(name).exists());
    }

    /// Lets the slow step end.
    fn go(&self) {
        std::fs::write(self.made("go"), "").expect("a file can be written");
    }

    /// How the newest run there stands, as somebody there is told.
    fn newest(&self) -> serde_json::Value {
        let told = self.locally("--json runs -n 1");
        serde_json::from_str(told.trim()).unwrap_or_else(|error| panic!("{error}: {told}"))
    }
}

#[test]
fn a_command_runs_there_and_is_shown_as_if_it_had_run_here() {
    let Some(two) = Two::new() else { return };
    two.at(&["build", "hello", "-v"])
        .exits(0)
        .says("build hello: 1 action, run ")
        .says("| hello/hello: said-there")
        .says("✓ hello/hello")
        .says("succeeded: 1 done");
    assert!(!two.here.path("store").exists(), "nothing of it is here");
    let events = two.at(&["build", "hello", "--json"]).exits(0).lines();
    let names: Vec<&str> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("run-started", "run-finished"), "{names:?}");
    // Who typed it, and who the machine knows them as.
    let actor = events[0]["actor"].as_str().unwrap_or_default().to_owned();
    assert!(actor.starts_with("cli:tester@") && actor.contains(" at keeper@"), "{actor}");
    assert_eq!(two.newest()["actor"], actor.as_str());
    assert_eq!(std::fs::read_to_string(two.made("made")).expect("it ran"), "made\nmade\n");
    // What only reads comes back as it is over there, with its exit code.
    for (line, code) in [
        ("runs", 0),
        ("ls", 0),
        ("log", 0),
        ("query 40+2", 0),
        ("check", 0),
        ("describe hello", 0),
        ("--json runs", 0),
        ("show no/such/thing", 2),
        ("fsck", 0),
    ] {
        let far = two.at(&line.split(' ').collect::<Vec<_>>()).exits(code);
        if code == 0 {
            assert_eq!(far.stdout.clone() + &far.stderr, two.locally(line), "{line}");
        }
    }
    two.at(&["build", "wrong"]).exits(1).says("✗ wrong/wrong").says("the-reason");
    two.at(&["build", "helo"]).exits(2).says("did you mean `hello`?");
    two.at(&["build", "helo", "--json"]).exits(2).json();
    two.at(&["--color", "always", "runs"]).exits(0).says("\x1b[");
    two.at(&["nonesuch"]).exits(2).says("no pmx-nonesuch on the PATH");
}

#[test]
fn a_secret_is_kept_there_and_travels_on_no_command_line() {
    let Some(two) = Two::new() else { return };
    // Whatever starts there leaves its arguments behind.
    let tools = two.made("tools");
    std::fs::create_dir_all(&tools).expect("a folder can be made");
    program(&tools.join("pmx"), &format!("printf '%s\\n' \"$*\" >>\"$HOME/argv\"\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_pmx")));
    let here = near(&two.sshd, "dir = \"~/project\"\nprogram = \"~/tools/pmx\"");
    here.pmx_with_input(&["--at", "there", "vault", "set", "box", "token"], "canary-71\n").exits(0);
    here.pmx(&["--at", "there", "vault", "get", "box", "token"]).exits(0).says("canary-71");
    here.pmx(&["--at", "there", "build", "shell.exec", "-i", "command=echo canary-72"]).exits(0);
    let argv = std::fs::read_to_string(two.made("argv")).expect("it was started there");
    assert_eq!(argv, "far-end\nfar-end\nfar-end\n");
    assert!(!two.sshd.log().contains("canary"));
}

#[test]
fn a_question_is_asked_here_and_answered_there() {
    let Some(two) = Two::new() else { return };
    let Some(_) = needs(["script"]) else { return };
    two.at(&["build", "asked"]).exits(3);
    assert!(!two.made("confirmed").exists(), "nobody was there to be asked");
    let typed = |answer: &str| two.here.shell(&format!("printf '{answer}\\n' | script -qec 'pmx --at there build asked' /dev/null"));
    typed("no").exits(3).says("Shall it be?");
    assert!(!two.made("confirmed").exists());
    typed("yes").exits(0).says("Shall it be?").says("succeeded");
    assert!(two.made("confirmed").exists());
}

#[test]
fn a_machine_is_destroyed_there_when_its_name_was_typed_here() {
    let fleet = Fleet::up();
    let Some(sshd) = machine(&[("XDG_CONFIG_HOME", fleet.sandbox.home(".config").display().to_string())]) else { return };
    let Some(_) = needs(["script"]) else { return };
    fleet.build(&["sync-fleet"]).exits(0);
    let here = near(&sshd, &format!("dir = \"{}\"", fleet.sandbox.path("").display()));
    let line = "pmx --at there --profile lab build delete-vm -i vmName=gold-image";
    here.shell(line).exits(3).says("give `--yes gold-image`");
    let typed = |answer: &str| here.shell(&format!("printf '{answer}\\n' | script -qec '{line}' /dev/null"));
    typed("yes").exits(3).says("This cannot be undone. Type its name to go on");
    assert!(fleet.machine(109).is_some());
    typed("gold-image").exits(0).says("vmid = 109");
    assert!(fleet.machine(109).is_none());
}

#[test]
fn ctrl_c_here_stops_it_there_in_two_stages() {
    let Some(two) = Two::new() else { return };
    let mut running = two.start(&["build", "slow"]);
    two.wait_for("began");
    running.interrupt();
    running.wait_for("stopping (ctrl-c)");
    two.go();
    running.end().exits(130).says("✓ slow/slow").says("- slow/after");
    assert!(two.made("ended").exists() && !two.made("after").exists());
    for name in ["began", "go", "ended"] {
        std::fs::remove_file(two.made(name)).expect("it was there");
    }
    let mut running = two.start(&["build", "slow"]);
    two.wait_for("began");
    running.interrupt();
    running.wait_for("stopping (ctrl-c)").interrupt();
    running.wait_for("cancelling (ctrl-c)");
    running.end().exits(130).says("× slow/slow");
    assert!(!two.made("ended").exists());
    assert_eq!(two.newest()["state"], "cancelled");
}

#[test]
fn a_lost_connection_lets_the_run_go_on_and_says_so() {
    let Some(two) = Two::new() else { return };
    let mut running = two.start(&["build", "slow"]);
    running.wait_for("run ");
    two.wait_for("began");
    // The session of whoever asked: the one that serves the far end, not those in which steps run.
    let home = process::marked(&format!("HOME={}", two.sshd.home().display()));
    let far: Vec<u32> = process::listed("far-end").into_iter().filter(|pid| home.contains(pid)).collect();
    let session = far.iter().find_map(|pid| process::parent(*pid)).expect("sshd serves the far end");
    process::signal("KILL", &[session]);
    let ran = running.end().exits(1).says("goes on there").says("pmx --at there run ");
    assert_eq!(two.newest()["state"], "running", "{ran}");
    two.go();
    two.wait_for("after");
    wait_until("the run has ended by itself", Duration::from_secs(30), || two.newest()["state"] == "succeeded");
}

#[test]
fn runs_from_here_and_from_there_wait_for_one_another() {
    let Some(two) = Two::new() else { return };
    let mut first = two.start(&["build", "slow"]);
    first.wait_for("run ");
    two.wait_for("began");
    let refused = two.sshd.client().arg("cd project && pmx build hello --no-wait").output().expect("ssh starts");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(3) && said.contains("cli:tester@"), "{said}");
    let mut second = two.start(&["build", "hello"]);
    second.wait_for("waiting for").wait_for("by cli:tester@");
    assert!(!two.made("made").exists());
    two.go();
    first.end().exits(0);
    second.end().exits(0).says("✓ hello/hello");
}

#[test]
fn what_stands_in_the_way_is_told_with_what_to_do() {
    let Some(mut two) = Two::new() else { return };
    let with = |more: &str| near(&two.sshd, more);
    let ask = |here: &Sandbox| here.pmx(&["--at", "there", "check"]);
    ask(&with("dir = \"/nowhere/at/all\"")).exits(1).says("there is no directory /nowhere/at/all on there").says("`dir` under `[at]`");
    let elsewhere = with("dir = \"~/project\"").pmx(&["--at", "there:~/no-project", "check"]);
    elsewhere.exits(1).says("there is no directory ~/no-project on there");
    ask(&with("program = \"~/bin/none\"")).exits(1).says("there is no pmx on there").says("`program` under `[at]`");
    // No project: in the home there is none, nor above it.
    ask(&with("")).exits(2).says("there is no Pmxfile.toml in");
    for (name, script) in
        [("newer", "echo 'pmx-at 99 9.9.9'"), ("older", "echo \"error: there is no command far-end\" >&2; exit 2"), ("mute", "exit 0")]
    {
        program(&two.made(name), &format!("{script}\n"));
    }
    let other = |name: &str| with(&format!("program = \"~/{name}\""));
    ask(&other("newer")).exits(3).says("pmx 9.9.9 on there do not understand each other: protocol 1 here, 99 there");
    ask(&other("older")).exits(1).says("does not know `--at`: error: there is no command far-end; it ended with exit code 2");
    ask(&other("mute")).exits(1).says("does not know `--at`: it ended with exit code 0");
    let here = with("dir = \"~/project\"");
    here.pmx(&["--at", "127.0.0.1:/x", "-C", ".", "runs"]).exits(2);
    here.pmx(&["--at", "a b", "runs"]).exits(2).says("names no machine");
    here.pmx(&["--at", "there", "far-end"]).exits(2);
    here.pmx_with_input(&["far-end"], "hello\n").exits(2).says("speaks with pmx, not with people");
    ask(&here).exits(0);
    // Another machine in its place, then none.
    two.sshd.restart_with_another_host_key();
    ask(&here).exits(3).says("is pinned to").says("take the line `host:there …` out of");
    let hosts = here.home(".config/pmx/hosts");
    let kept = std::fs::read_to_string(&hosts).expect("its key was kept");
    assert_eq!(kept.lines().count(), 1, "{kept}");
    std::fs::remove_file(&hosts).expect("it was there");
    ask(&here).exits(0);
    two.sshd.stop();
    ask(&here).exits(1).says("could not connect to root@").says("nothing was asked of it");
}
