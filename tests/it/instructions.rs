//! How many instructions the commands take that must not be felt, beside figures that stand in the repository: a guard against slowness that no busy
//! machine can fool.
//!
//! valgrind counts them, so that neither load nor clock matters; the environment is fixed. What differs between machines is the compiler: figures of
//! another one are not compared. `PMX_FIGURES=write cargo test --test it instructions` takes them anew, after a change that is worth it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::real::{needs, run};
use super::sandbox::Sandbox;

/// So much more than its figure, in percent, is too slow.
const TOLERANCE: u64 = 10;
/// Steps of the build with nothing to do, which is not worked out again.
const MANY: usize = 10_000;
/// Steps of the one that is worked out: many would take valgrind minutes.
const STEPS: usize = 300;

fn figures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

/// The compiler that the figures depend on.
fn compiler() -> String {
    run(Command::new("rustc").arg("--version")).trim().to_owned()
}

/// Instructions of one command, in all its threads.
fn count(valgrind: &Path, sandbox: &Sandbox, arguments: &[&str]) -> u64 {
    let log = sandbox.home("callgrind");
    let mut command = Command::new(valgrind);
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(format!("--log-file={}", log.display()));
    command.arg(env!("CARGO_BIN_EXE_pmx")).args(arguments).current_dir(sandbox.path(""));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", sandbox.home("")).env("USER", "somebody").env("TZ", "UTC");
    run(&mut command);
    let told = std::fs::read_to_string(&log).expect("valgrind writes its log");
    let line = told.lines().find_map(|line| line.split_once("Collected : ")).unwrap_or_else(|| panic!("no count in:\n{told}"));
    line.1.trim().parse().expect("a count is a number")
}

fn project(steps: usize) -> Sandbox {
    let steps = (0..steps).fold(String::new(), |mut text, step| {
        let _ = write!(text, "\n[[step]]\nname = \"s{step}\"\ncall = \"mc.status\"\nfresh = \"1h\"\nwith = {{ n = \"s{step}\" }}\n");
        text
    });
    // A machine that is off: its status contacts nobody.
    let server = "type = \"minecraft/server\"\n\n[global]\nsshHost = \"\"\nserverName = '${{ inputs.n }}'\nlogPath = '${{ inputs.n }}'\n";
    // The first build of many takes a quarter of a minute where nothing else runs.
    let sandbox = Sandbox::new()
        .deadline(Duration::from_secs(300))
        .file("Pmxfile.toml", "[project]\nname = \"count\"\n")
        .file("definitions/mc.toml", server);
    let sandbox = sandbox.file("workflows/all.toml", &steps);
    sandbox.pmx(&["build", "all"]).exits(0);
    sandbox
}

#[test]
fn nothing_takes_many_more_instructions_than_it_did() {
    let Some([valgrind]) = needs(["valgrind"]) else { return };
    let (some, many) = (project(STEPS), project(MANY));
    // The second build that finds all fresh takes over what the first one found.
    many.pmx(&["build", "all"]).exits(0);
    // A process may end before its store has closed; then the next one has that to do as well.
    for sandbox in [&some, &many] {
        sandbox.pmx(&["log", "mc/server/s0"]).exits(0);
    }
    let commands: [(&str, &Sandbox, &[&str]); 4] = [
        ("version", &some, &["--version"]),
        ("log", &some, &["log", "mc/server/s0"]),
        ("worked-out", &some, &["build", "all"]),
        ("nothing-to-do", &many, &["build", "all"]),
    ];
    let taken: Vec<(&str, u64)> = commands.iter().map(|(name, sandbox, words)| (*name, count(&valgrind, sandbox, words))).collect();
    let shown = taken.iter().map(|(name, count)| format!("{name} = {count}\n")).collect::<String>();
    if std::env::var("PMX_FIGURES").as_deref() == Ok("write") {
        let head = "# Instructions of the development build, as tests/it/instructions.rs counts them.\n";
        std::fs::write(figures(), format!("{head}compiler = \"{}\"\n{shown}", compiler())).expect("the figures can be written");
        return;
    }
    let known: toml::Table = std::fs::read_to_string(figures()).expect("the figures are there").parse().expect("they are TOML");
    if known["compiler"].as_str() != Some(compiler().as_str()) {
        let told = format!("skipped: the figures are of {}, this is {}:\n{shown}\n", known["compiler"], compiler());
        // Past the test runner's capture: a skipped test must not look like one that passed.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes());
        return;
    }
    for (name, count) in taken {
        let figure = known[name].as_integer().and_then(|figure| u64::try_from(figure).ok()).expect("a figure is a number");
        assert!(
            count <= figure + figure * TOLERANCE / 100,
            "{name} takes {count} instructions, more than {TOLERANCE} % above its {figure}: find out why, or take the figures anew\n{shown}"
        );
    }
}
