//! Start-up: the commands that must not be felt, with the peak of their memory, beside what others need to say nothing; and the overhead of one action.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Contender, Harness, Work, pmx, run, timed};

/// Actions whose time is divided by their number.
const ACTIONS: usize = 500;

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
    project(dir.path());
    let ours = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let place = dir.path().to_owned();
        move |_: usize| {
            let mut command = pmx();
            command.args(&arguments).current_dir(&place).env("HOME", &place);
            command
        }
    };
    let other = |words: &[&'static str]| {
        let words = words.to_vec();
        let place = dir.path().to_owned();
        let work = move |_: usize| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).current_dir(&place);
            command
        };
        Work::Process(Box::new(work))
    };
    run(&mut ours(&["build", "mc.status", "-i", "n=a"])(0));
    let small = [
        ("pmx --version", &["--version"][..], 3.0, 12.0),
        ("pmx log NAME", &["log", "mc/server/a", "-n", "5"][..], 10.0, 20.0),
        ("pmx build, one step", &["build", "mc.status", "-i", "n=a"][..], 25.0, 25.0),
    ];
    let mut contenders: Vec<Contender<'_>> =
        small.iter().map(|(name, words, ..)| Contender::ours(*name, Work::Process(Box::new(ours(words))))).collect();
    contenders.push(Contender::peer("git --version", &["git"], other(&["git", "--version"])));
    contenders.push(Contender::peer("python3 -c pass", &["python3"], other(&["python3", "-c", "pass"])));
    contenders.push(Contender::peer("ssh -V", &["ssh"], other(&["ssh", "-V"])));
    let case = harness.contest("start-up", contenders);
    for (name, _, bound, most) in small {
        harness.goal(name, (format!("≤ {bound} ms"), bound), case.median(name), "ms");
        harness.goal(format!("{name}, memory"), (format!("≤ {most} MiB"), most), case.mebibytes(name), "MiB");
    }
    let many = harness.contest(
        format!("{ACTIONS} observations, each journaled and its version synced"),
        vec![
            Contender::ours("pmx build", Work::Process(Box::new(ours(&["build", "many"])))),
            Contender::peer("SQLite FULL, a row each", &[], Work::Own(Box::new(|_| rows(dir.path(), ACTIONS)))),
            Contender::peer(
                "ninja, `true` each",
                &["ninja"],
                Work::Own(Box::new(|_| timed(Command::new("ninja").current_dir(dir.path())))),
            ),
        ],
    );
    let each = many.median("pmx build").and_then(|many| Ok((many - case.median("pmx build, one step")?) / (ACTIONS - 1) as f64));
    harness.goal("overhead of an action, synced", ("≤ 0.5 ms", 0.5), each, "ms");
}

/// A project, and the same number of steps for ninja.
fn project(dir: &std::path::Path) {
    let write = |path: &str, text: &str| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    };
    write("Pmxfile.toml", "[project]\nname = \"bench\"\n");
    // A machine that is off: the call is whole and contacts nobody.
    write("definitions/mc.toml", "type = \"minecraft/server\"\n\n[global]\nsshHost = \"\"\nserverName = '${{ inputs.n }}'\n");
    let steps = (0..ACTIONS).fold(String::new(), |mut text, step| {
        let _ = write!(text, "\n[[step]]\nname = \"s{step}\"\ncall = \"mc.status\"\nwith = {{ n = \"s{step}\" }}\n");
        text
    });
    write("workflows/many.toml", &steps);
    write(
        "build.ninja",
        &(0..ACTIONS).fold(String::from("rule none\n  command = true\n"), |text, step| text + &format!("build s{step}: none\n")),
    );
}

/// As many transactions of one row as there are actions: what the disk takes, whoever asks.
fn rows(dir: &std::path::Path, count: usize) -> Duration {
    let path = dir.join("floor.db");
    // The first round finds none.
    let _ = std::fs::remove_file(&path);
    let db = rusqlite::Connection::open(&path).expect("SQLite makes a file");
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        .expect("it makes a table");
    let body = vec![7_u8; 1024];
    crate::harness::clocked(|| {
        for _ in 0..count {
            db.execute("INSERT INTO t (body) VALUES (?1)", [&body]).expect("it takes a row");
        }
    })
}
