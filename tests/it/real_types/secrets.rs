//! A secret on its way to a real host and back: whoever looks finds it only in the file that it was meant for.

use super::super::canary::Canary;
use super::super::real::sshd::{Sshd, Wanted};
use super::super::sandbox::{Ran, Sandbox};
use super::site::{files, project};

const CANARY: &str = "C4nary-in-th3-m1ne/+=";

const WORKFLOW: &str = r#"
[[step]]
name = "write"
call = "testVmSsh.writeFile"
with = { dest = "~/token", content = '${{ vault.get("safe", "TOKEN") }}' }

[[step]]
name = "echo"
call = "testVmSsh.exec"
with = { command = "cat token; echo; cat token >&2; echo \"token is $(cat token), or $(base64 token)\"; FORMS" }

[[step]]
name = "fail"
call = "testVmSsh.exec"
with = { command = "echo \"bad token $(cat token)\" >&2; exit 3" }
"#;

/// The token in other forms, as programs make them.
const FORMS: &str = concat!(
    r#"(printf x; cat token) | base64 -w 0; echo; (printf xy; cat token; echo) | base64 -w 0; echo; "#,
    r#"od -An -v -tx1 token | tr -d ' \\n'; echo; set -x; test -n \"$(cat token)\""#
);

/// Every file that the sandbox left anywhere, the store's included, that holds `bytes`.
pub fn holders(sandbox: &Sandbox, bytes: &[u8]) -> Vec<String> {
    let root = sandbox.path("..");
    let holds = |path: &std::path::PathBuf| std::fs::read(path).is_ok_and(|text| text.windows(bytes.len()).any(|window| window == bytes));
    files(&root).into_iter().filter(holds).map(|path| path.display().to_string()).collect()
}

#[test]
fn a_secret_that_comes_back_as_output_is_kept_nowhere() {
    let Some(sshd) = Wanted::default().option("LogLevel", "DEBUG3").start() else { return };
    let canary = Canary::new("");
    let sandbox = project(&sshd).env("SAFE_TOKEN", &canary.text).file("workflows/leak.toml", &WORKFLOW.replace("FORMS", FORMS));
    let quiet = |ran: Ran| {
        assert_eq!(canary.found_in(&ran.to_string()), None, "{ran}");
        ran
    };
    let first = quiet(sandbox.pmx(&["build", "leak", "-v"])).exits(1).says("bad token").says("exit code 3");
    assert!(first.to_string().matches("[secret]").count() >= 8, "each form was told: {first}");
    assert_eq!(
        std::fs::read_to_string(sshd.home().join("token")).ok().as_deref(),
        Some(canary.text.as_str()),
        "it must have arrived, or nothing is shown"
    );
    std::fs::remove_file(sshd.home().join("token")).expect("the file can be removed");
    drop(quiet(sandbox.pmx(&["--json", "build", "leak"])).exits(1).says("\"testVmSsh.writeFile\""));
    let told = quiet(sandbox.pmx(&["--json", "show", "testVmSsh/result/result"])).exits(0).says("token is");
    for command in [&["log"][..], &["--json", "log"], &["runs"], &["show", "testVmSsh/file/~/token"], &["--json", "runs"]] {
        drop(quiet(sandbox.pmx(command)).exits(0));
    }
    let run = told.json()["run"].as_str().unwrap_or_default().to_owned();
    drop(quiet(sandbox.pmx(&["run", &run])).exits(0));
    drop(quiet(sandbox.pmx(&["--json", "run", &run])).exits(0));
    sandbox.pmx(&["fsck"]).exits(0);
    for file in files(&sandbox.path("..")) {
        let text = std::fs::read(&file).unwrap_or_default();
        assert_eq!(canary.found_in(&String::from_utf8_lossy(&text)), None, "in {}", file.display());
    }
    assert_eq!(canary.found_in(&sshd.log()), None, "sshd heard it in a command");
    assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
    assert!(!holders(&sandbox, b"bad token").is_empty(), "the search finds what is there");
}

#[test]
fn each_line_of_a_secret_is_a_secret() {
    let Some(sshd) = Sshd::start() else { return };
    let lines = ["FIRST=c4nary-of-line-one", "", "SECOND=\"c4nary of line two\""];
    let workflow = WORKFLOW.replace("cat token; echo; cat token >&2; ", "head -n 1 token; tail -n 1 token; ").replace("; FORMS", "");
    let sandbox = project(&sshd).env("SAFE_TOKEN", &lines.join("\n")).file("workflows/leak.toml", &workflow);
    let ran = sandbox.pmx(&["build", "leak", "-v"]).exits(1).says("bad token").keeps_quiet_about("c4nary");
    ran.says("token is");
    sandbox.pmx(&["--json", "show", "testVmSsh/result/result"]).exits(0).says("token is").keeps_quiet_about("c4nary");
    assert_eq!(holders(&sandbox, b"c4nary"), Vec::<String>::new());
}

#[test]
fn a_secret_may_not_become_a_command() {
    let Some(sshd) = Sshd::start() else { return };
    let step =
        "[[step]]\nname = \"leak\"\ncall = \"testVmSsh.exec\"\nwith = { command = 'echo ${{ vault.get(\"safe\", \"TOKEN\") }} > out' }\n";
    let sandbox = project(&sshd).env("SAFE_TOKEN", CANARY).file("workflows/leak.toml", step);
    sandbox.pmx(&["build", "leak"]).exits(2).says("secret").keeps_quiet_about(CANARY);
    assert!(files(&sshd.home()).is_empty() && !sshd.log().contains("Accepted publickey"));
}
