//! Growth: N doubled from 1,000 to 128,000. Compiling a workflow of N steps, writing N versions, showing a log of N versions, listing N
//! resources, asking each of them.
//! The last column is how the time grew with the last doubling; N log N grows by 2.1 there.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use pmx::lang::project::Sources;
use pmx::name::ResourceName;
use pmx::ops::planner::find;
use pmx::plan::{Target, lower};
use pmx::source::Source;
use pmx::value::Map;

use crate::harness::{Harness, clocked, pmx, timed};
use crate::noop::{Texts, workflow};
use crate::store::Writer;

const FIRST: usize = 1_000;
const LAST: usize = 128_000;
/// Steps of one workflow file; a larger graph has several.
const STEPS: usize = 64_000;

/// What is measured for each size.
const COLUMNS: [&str; 6] = ["compile, texts repeat", "compile, texts differ", "store", "log", "ls", "query"];

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    let mut table: Vec<(usize, [f64; COLUMNS.len()])> = Vec::new();
    let mut size = FIRST;
    while size <= LAST {
        let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
        let (store, log) = chain(dir.path(), size);
        let (ls, query) = wide(dir.path(), size);
        let took = [compile(size, Texts::Repeat), compile(size, Texts::Differ), store, log, ls, query];
        table.push((size, took.map(|took| took.as_secs_f64() * 1000.0)));
        size *= 2;
    }
    tell(harness, &table);
    if let [.., (_, before), (_, last)] = table.as_slice() {
        let worst = before.iter().zip(last).map(|(before, last)| last / before).fold(0.0, f64::max);
        // The clock is noisy: a square would show 4.
        harness.goal("growth with the last doubling, worst column", ("≤ 2.6 ×", 2.6), Ok(worst), "×");
    }
}

fn tell(harness: &Harness, table: &[(usize, [f64; COLUMNS.len()])]) {
    if harness.json {
        for (size, took) in table {
            let row: serde_json::Map<String, serde_json::Value> =
                COLUMNS.iter().map(|name| (*name).to_owned()).zip(took.iter().map(|ms| json!(ms))).collect();
            harness.print(&json!({"bench": "growth", "n": size, "ms": row}).to_string());
        }
        return;
    }
    harness.print(&format!("| N | {} |\n|---|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len())));
    for (at, (size, took)) in table.iter().enumerate() {
        let cell = |column: usize| {
            let grown = at.checked_sub(1).map(|before| format!(" (× {:.1})", took[column] / table[before].1[column])).unwrap_or_default();
            format!("{:.0}{grown}", took[column])
        };
        harness.print(&format!("| {size} | {} |", (0..COLUMNS.len()).map(cell).collect::<Vec<_>>().join(" | ")));
    }
}

/// Files → graph: parsing, checking, lowering, edges.
fn compile(size: usize, texts: Texts) -> Duration {
    let files = size.div_ceil(STEPS);
    let hub = Source::new("definitions/hub.toml", "type = \"ssh/host\"\n\n[global]\nhost = \"h\"\n");
    let mc = Source::new(
        "definitions/mc.toml",
        "type = \"minecraft/server\"\n\n[global]\nsshHost = \"\"\nserverName = '${{ inputs.n }}'\nlogPath = '${{ inputs.log }}'\n",
    );
    let workflows = (0..files).map(|file| {
        let (from, to) = (file * STEPS, size.min((file + 1) * STEPS));
        Source::new(format!("workflows/w{file}.toml"), workflow(from..to, texts))
    });
    let sources = Sources {
        pmxfile: Source::new("Pmxfile.toml", "[project]\nname = \"bench\"\n"),
        definitions: vec![hub, mc],
        workflows: workflows.collect(),
    };
    clocked(|| {
        let project = pmx::ops::project::read(&sources).sound().unwrap_or_else(|complaints| panic!("{}", complaints[0]));
        let targets: Vec<Target> = (0..files).map(|file| Target::parse(&format!("w{file}")).expect("it is a target")).collect();
        let graph = lower(&project, &find, None, &targets, &Map::new()).unwrap_or_else(|complaints| panic!("{}", complaints[0]));
        assert_eq!(graph.actions.len(), size);
    })
}

/// N versions of one resource, a hundred in each transaction; then `pmx log` of all.
fn chain(dir: &Path, size: usize) -> (Duration, Duration) {
    let project = dir.join("chain");
    std::fs::create_dir_all(&project).expect("a folder can be made");
    std::fs::write(project.join("Pmxfile.toml"), "[project]\nname = \"bench\"\n").expect("a file can be written");
    let mut writer = Writer::new(&project.join("store"));
    let wrote = clocked(|| (0..size.div_ceil(100)).for_each(|_| writer.write(100)));
    drop(writer);
    (wrote, show(&project, &["log", "bench/thing/one"]))
}

/// `pmx ls` of N resources, and a `pmx query` that looks at each.
fn wide(dir: &Path, size: usize) -> (Duration, Duration) {
    let project = dir.join("wide");
    std::fs::create_dir_all(&project).expect("a folder can be made");
    std::fs::write(project.join("Pmxfile.toml"), "[project]\nname = \"bench\"\n").expect("a file can be written");
    let mut writer = Writer::new(&project.join("store"));
    for first in (0..size).step_by(1000) {
        let names = (first..size.min(first + 1000)).map(|number| ResourceName::new("bench", "thing", format!("r{number}")));
        writer.first(names.collect(), b"{\"a\":1}");
    }
    drop(writer);
    let all = "model.bench.resource.thing.filter(name, model.bench.resource.thing[name].attributes.a == 2)";
    (show(&project, &["ls"]), show(&project, &["query", all]))
}

fn show(project: &Path, words: &[&str]) -> Duration {
    timed(pmx().args(words).current_dir(project).env("HOME", project).stdout(Stdio::null()))
}
