//! Memory: the peak of a run of many actions, and of files and outputs that are larger than any memory should be: the same for 16 MiB and for 1 GiB.
//!
//! A file travels to a real sshd and one that is as large in a hole takes as long. Of a command's output `exec` keeps the last MiB of each stream in its
//! result and the last 4 MiB in the log.

use std::process::Command;

use serde_json::json;

use crate::harness::{Harness, Measured, clocked, mebibytes, peak, run};
use crate::noop::{Project, Texts};
use crate::sshd::Sshd;

/// Actions of a run; the many take minutes.
const FEW: usize = 10_000;
const MANY: usize = 100_000;
/// The build that does all, and the one that finds nothing to do.
const BUILDS: [&str; 2] = ["first build", "no-op build"];
/// Both sizes of files and outputs, in MiB.
const LOADS: [u64; 2] = [16, 1024];
/// How much more the larger may take.
const SAME: f64 = 1.25;

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    for texts in [Texts::Repeat, Texts::Differ] {
        // Told; the goal is the many's.
        let _few = builds(harness, FEW, texts);
        let peaks = if harness.large { builds(harness, MANY, texts) } else { [(); 2].map(|()| Err("needs --large".to_owned())) };
        for (what, peak) in BUILDS.into_iter().zip(peaks) {
            harness.goal(format!("{what} of {MANY}, {texts}, memory"), ("≤ 300 MB", 300.0), peak, "MB");
        }
    }
    let (upload, exec) = match Sshd::start(&["127.0.0.1".to_owned()]) {
        Ok(server) => (ratio(harness, "upload", &server, upload), ratio(harness, "output of exec", &server, exec)),
        Err(needs) => {
            harness.skipped(&format!("memory of transfers: needs {needs}"));
            (Err(format!("needs {needs}")), Err(format!("needs {needs}")))
        }
    };
    let goal = || format!("≤ {SAME} × that of {} MiB", LOADS[0]);
    harness.goal("upload of 1 GiB, memory", (goal(), SAME), upload, "×");
    harness.goal("output of 1 GiB through exec, memory", (goal(), SAME), exec, "×");
}

/// The peaks of both builds, in MB.
fn builds(harness: &Harness, count: usize, texts: Texts) -> [Measured; 2] {
    let project = Project::write(count, texts);
    BUILDS.map(|what| measured(harness, &format!("{what} of {count}, {texts}"), &project.pmx(&["build", "all"])).map(|mib| mib * 1.048_576))
}

/// The peak of a command in MiB; told together with its time.
fn measured(harness: &Harness, what: &str, command: &Command) -> Measured {
    let mut kib = None;
    let took = clocked(|| kib = peak(command)).as_secs_f64();
    let mib = mebibytes(kib);
    match &mib {
        Ok(mib) if harness.json => {
            harness.print(&json!({"bench": harness.bench, "case": what, "peak_mib": mib, "seconds": took}).to_string())
        }
        Ok(mib) => harness.print(&format!("{what:60} {mib:8.1} MiB in {took:.1} s")),
        Err(needs) => harness.skipped(&format!("{what}: {needs}")),
    }
    mib
}

/// How many times as much memory the larger load takes.
fn ratio(harness: &Harness, what: &str, server: &Sshd, work: fn(&Harness, &str, &Sshd, u64) -> Measured) -> Measured {
    server.write(
        "definitions/host.toml",
        &format!("type = \"ssh/host\"\n\n[global]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"root\"\n", server.port),
    );
    let [small, large] = LOADS.map(|mebibytes| work(harness, &format!("{what}, {mebibytes} MiB"), server, mebibytes));
    Ok(large? / small?)
}

/// A file of that size, sent.
fn upload(harness: &Harness, what: &str, server: &Sshd, mebibytes: u64) -> Measured {
    let (source, dest) = (server.at("project/file"), server.at("there"));
    let file = std::fs::File::create(&source).expect("a file can be made");
    file.set_len(mebibytes << 20).expect("it may have a hole");
    let command = server.pmx(["build", "host.upload", "-i", "source=file", "-i", &format!("dest={}", dest.display())]);
    let peak = measured(harness, what, &command);
    if peak.is_ok() {
        assert_eq!(std::fs::metadata(&dest).expect("it has arrived").len(), mebibytes << 20);
        std::fs::remove_file(&dest).expect("it can be removed");
    }
    peak
}

/// A command that prints as much, in lines of a KiB; what is kept of it is its end.
fn exec(harness: &Harness, what: &str, server: &Sshd, mebibytes: u64) -> Measured {
    let command = format!("yes {} | head -c {}; echo the end", "x".repeat(1023), mebibytes << 20);
    server.write(
        "workflows/print.toml",
        &format!("[[step]]\nname = \"print\"\ncall = \"host.exec\"\nwith = {{ command = '{command}', as = \"print\", timeout = 1800 }}\n"),
    );
    let peak = measured(harness, what, &server.pmx(["build", "print"]));
    if peak.is_ok() {
        let shown = run(&mut server.pmx(["show", "host/result/print", "--json"]));
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
        let kept = shown["attributes"]["stdout"].as_str().unwrap_or_default();
        assert!(kept.ends_with("x\nthe end\n") && kept.len() == 1 << 20, "{} bytes are kept", kept.len());
    }
    peak
}
