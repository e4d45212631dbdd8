//! `ssh/host.exec` and `waitForConnection` on a real sshd.

use super::super::real::sshd::{Sshd, Wanted};
use super::site::{attributes, processes, project, shell, toml};

#[test]
fn a_command_leaves_its_outputs_apart_and_in_order() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    shell(&sandbox, "printf 'one\\ntwo'; echo oops >&2; printf '\\nthree\\n'; echo again >&2; pwd", &["-v"]).exits(0);
    let result = attributes(&sandbox, "testVmSsh/result/result");
    let home = sshd.home().display().to_string();
    assert_eq!(result["stdout"].as_str(), Some(format!("one\ntwo\nthree\n{home}\n").as_str()));
    assert_eq!((result["stderr"].as_str(), result["exitCode"].as_i64()), (Some("oops\nagain\n"), Some(0)));
    assert_eq!(result["host"].as_str(), Some(sshd.address.as_str()));
}

#[test]
fn output_is_shown_as_it_comes() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let mut running =
        sandbox.start(&["build", "testVmSsh.exec", "-v", "-i", "command=echo early; while [ ! -e go ]; do sleep 0.05; done; echo late"]);
    running.wait_for("early");
    // Not yet told: it waits for this file.
    std::fs::write(sshd.home().join("go"), "").expect("a file can be written");
    let ran = running.end().exits(0);
    let at = |text: &str| ran.stderr.find(&format!("| testVmSsh.exec: {text}")).unwrap_or_else(|| panic!("nobody says {text}\n{ran}"));
    assert!(at("early") < at("late"));
}

#[test]
fn another_exit_code_is_a_failure_with_the_last_lines() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let ran = shell(&sandbox, "echo fine; for i in $(seq 1 30); do echo \"trouble $i\" >&2; done; exit 7", &[]).exits(1);
    let ran = ran.says("ended with exit code 7").says("    trouble 30\n").says("    trouble 23\n").keeps_quiet_about("trouble 22\n");
    assert!(ran.stderr.find("trouble 29").unwrap_or(0) < ran.stderr.find("trouble 30").unwrap_or(0), "{ran}");
    // Killed from outside: there is an exit code by convention, and nothing to read.
    shell(&sandbox, "kill -9 $$", &[]).exits(1).says("137");
    sandbox.pmx(&["show", "testVmSsh/result/result"]).exits(2);
}

#[test]
fn a_result_is_named_by_as() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    shell(&sandbox, "echo kernel", &["-i", "as=uname"]).exits(0);
    shell(&sandbox, "echo load", &["-i", "as=load average"]).exits(0);
    assert_eq!(attributes(&sandbox, "testVmSsh/result/uname")["stdout"].as_str(), Some("kernel\n"));
    assert_eq!(attributes(&sandbox, "testVmSsh/result/load average")["stdout"].as_str(), Some("load\n"));
    sandbox.pmx(&["show", "testVmSsh/result/result"]).exits(2);
}

#[test]
fn a_timeout_ends_the_command_and_its_children() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let mark = format!("sleep 61{}", sshd.port);
    let command = format!("echo before; {mark}0 & {mark}1; wait");
    shell(&sandbox, &command, &["-i", "timeout=1"]).exits(1).says("within 1 s");
    // pmx ends after its remote processes do, so nothing is waited for here.
    assert_eq!(processes(&mark), Vec::<String>::new());
    // One that ignores the request to end.
    let stubborn = format!("trap '' TERM; while :; do {mark}2; done");
    shell(&sandbox, &stubborn, &["-i", "timeout=1"]).exits(1);
    assert_eq!(processes(&mark), Vec::<String>::new());
}

#[test]
fn a_cancelled_run_leaves_nothing_running() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    let mark = format!("sleep 62{}", sshd.port);
    let mut running = sandbox.start(&["build", "testVmSsh.exec", "-v", "-i", &format!("command=echo begun; {mark}")]);
    running.wait_for("begun").interrupt();
    running.wait_for("stopping").interrupt();
    running.end().exits(130);
    assert_eq!(processes(&mark), Vec::<String>::new());
}

#[test]
fn a_megabyte_and_bytes_that_are_no_text_arrive() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd);
    shell(&sandbox, "head -c 1048575 /dev/zero | tr '\\0' x; echo; printf 'a\\0b' >&2", &[]).exits(0);
    let result = attributes(&sandbox, "testVmSsh/result/result");
    assert_eq!(result["stdout"].as_str().map(|text| (text.len(), text.trim_end().chars().all(|c| c == 'x'))), Some((1 << 20, true)));
    assert_eq!(result["stderr"].as_str(), Some("a\0b"));
    // Of more only the end is kept; what is no UTF-8 is replaced.
    shell(&sandbox, "head -c 3000000 /dev/urandom; echo the end", &[]).exits(0);
    let result = attributes(&sandbox, "testVmSsh/result/result");
    assert!(result["stdout"].as_str().is_some_and(|text| text.ends_with("the end\n") && text.chars().any(|c| c == '\u{fffd}')));
}

#[test]
fn quotes_and_newlines_reach_the_shell_as_written() {
    let Some(sshd) = Sshd::start() else { return };
    let script = "cat <<'END'\nit's \"$HOME\" `id` \\ ; # é\nEND\nx='a  b'; printf '[%s]' \"$x\" \"-n\"\n";
    let workflow = format!("[[step]]\nname = \"one\"\ncall = \"testVmSsh.exec\"\nwith = {{ command = {} }}\n", toml(script));
    let sandbox = project(&sshd).file("workflows/quotes.toml", &workflow);
    sandbox.pmx(&["build", "quotes"]).exits(0);
    let result = attributes(&sandbox, "testVmSsh/result/result");
    assert_eq!(result["stdout"].as_str(), Some("it's \"$HOME\" `id` \\ ; # é\n[a  b][-n]"));
}

#[test]
fn a_noisy_and_slow_startup_file_spoils_nothing() {
    let Some(sshd) = Sshd::start() else { return };
    if !super::super::real::run(std::process::Command::new("sh").args(["-c", "getent passwd root"])).trim().ends_with("bash") {
        super::super::real::present::<()>("bash as root's shell", None);
        return;
    }
    std::fs::write(sshd.home().join(".bashrc"), "echo Welcome back; sleep 0.3; printf 'no newline here'; echo warned >&2\n")
        .expect("a startup file can be written");
    assert!(sshd.run("echo plain").starts_with("Welcome back"), "the startup file is not read, so this test would prove nothing");
    let sandbox = project(&sshd).env("SAFE_WORD", "open sesame");
    shell(&sandbox, "echo result", &[]).exits(0);
    assert_eq!(attributes(&sandbox, "testVmSsh/result/result")["stdout"].as_str(), Some("result\n"));
    let sandbox = sandbox.file(
        "workflows/write.toml",
        "[[step]]\nname = \"w\"\ncall = \"testVmSsh.writeFile\"\nwith = { dest = \"~/deep/er/file\", content = '${{ vault.get(\"safe\", \"WORD\") }}' }\n",
    );
    sandbox.pmx(&["build", "write"]).exits(0).says("wrote");
    assert_eq!(std::fs::read_to_string(sshd.home().join("deep/er/file")).ok().as_deref(), Some("open sesame"));
    sandbox.pmx(&["build", "write"]).exits(0).says("holds that already");
}

#[test]
fn a_forced_command_is_heard_whatever_was_asked() {
    let Some(sshd) = Wanted::default().option("ForceCommand", "echo instead; exit 0").start() else { return };
    let sandbox = project(&sshd);
    shell(&sandbox, "echo asked", &[]).exits(0);
    assert_eq!(attributes(&sandbox, "testVmSsh/result/result")["stdout"].as_str(), Some("instead\n"));
}

#[test]
fn a_host_is_waited_for_until_it_answers() {
    let Some(mut sshd) = Sshd::start() else { return };
    sshd.stop();
    let sandbox = project(&sshd);
    let mut running = sandbox.start(&["build", "testVmSsh.waitForConnection", "-i", "timeout=50"]);
    running.wait_for("waiting for a login to work");
    sshd.restart();
    running.end().exits(0).says("answers");
    assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
}

#[test]
fn a_host_that_never_answers_fails_with_the_reason() {
    let Some(mut sshd) = Sshd::start() else { return };
    sshd.stop();
    let sandbox = project(&sshd);
    let ran = sandbox.pmx(&["build", "testVmSsh.waitForConnection", "-i", "timeout=2"]).exits(1);
    ran.says("could not connect to root@").says(&format!("{}:{}", sshd.address, sshd.port)).says("refused");
}

#[test]
fn twelve_commands_fit_through_two_sessions() {
    let Some(sshd) = Wanted::default().option("MaxSessions", "2").start() else { return };
    let step = |n: usize| {
        format!(
            "[[step]]\nname = \"s{n}\"\ncall = \"testVmSsh.exec\"\nunordered = true\nwith = {{ command = \"echo {n} >> log; sleep 0.2\", as = \"r{n}\" }}\n"
        )
    };
    let sandbox = project(&sshd).file("workflows/many.toml", &(0..12).map(step).collect::<String>());
    sandbox.pmx(&["build", "many"]).exits(0).says("12 done");
    let log = std::fs::read_to_string(sshd.home().join("log")).unwrap_or_default();
    assert_eq!(log.lines().count(), 12, "{log}");
    let logins = sshd.log().matches("Accepted publickey").count();
    assert_eq!(logins, 1, "one connection carries them all\n{}", sshd.log());
}
