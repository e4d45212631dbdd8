//! The harness of all benches: contenders do the same work in turn, in one run; median, spread and ratios come out as text or as lines of JSON.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::reasons;

/// Fewer rounds tell nothing on a machine that does other work.
pub const ROUNDS: usize = 5;
/// A case that has taken so long ends early, though not before its third round: slow peers on a busy machine would take an hour.
const PATIENCE: Duration = Duration::from_secs(60);
const FEWEST: usize = 3;
/// Lines of prose end here.
const WIDTH: usize = 120;
/// Where programs are that an ordinary user's PATH leaves out.
const ALSO: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];
/// Tells the peak of a process's memory: Debian's package `time`.
const TIME: &str = "/usr/bin/time";

/// The `pmx` that this bench was built with.
pub fn pmx() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pmx"))
}

/// Where a program is, if it is there.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(ALSO).map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

/// Runs a command that must succeed; returns its standard output.
pub fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?} ended with {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
    text(&out.stdout)
}

/// How long a whole process takes, from its start to its end. It must succeed; what it prints goes nowhere.
pub fn timed(command: &mut Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let took = began.elapsed();
    assert!(status.success(), "{command:?} ended with {status}: run it by hand to see why");
    took
}

/// How long `work` takes in this process.
pub fn clocked(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// The peak of a process's memory in KiB; `None` where nothing tells it.
pub fn peak(command: &Command) -> Option<u64> {
    let out = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let mut wrapped = Command::new(Path::new(TIME).exists().then_some(TIME)?);
    wrapped.args(["-f", "%M", "-o"]).arg(out.path()).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    timed(&mut wrapped);
    std::fs::read_to_string(out.path()).expect("time writes what it measured").trim().parse().ok()
}

/// A figure, or what it would have needed.
pub type Measured = Result<f64, String>;

/// Whether the `python3` of PATH has a module.
pub fn has_module(name: &str) -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", &format!("import {name}")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

/// Does the work of one round.
pub enum Work<'a> {
    /// A whole process, made anew for each round.
    Process(Box<dyn FnMut(usize) -> Command + 'a>),
    /// Whatever takes its own time.
    Own(Box<dyn FnMut(usize) -> Duration + 'a>),
}

/// One who does the work.
pub struct Contender<'a> {
    name: String,
    peer: bool,
    /// What it cannot do without and is not there.
    lacks: Option<String>,
    work: Work<'a>,
}

impl<'a> Contender<'a> {
    /// pmx, or some way of it.
    pub fn ours(name: impl Into<String>, work: Work<'a>) -> Self {
        Self { name: name.into(), peer: false, lacks: None, work }
    }

    /// A peer that needs these programs.
    pub fn peer(name: impl Into<String>, needs: &[&'static str], work: Work<'a>) -> Self {
        let lacks = needs.iter().find(|need| find(need).is_none()).map(|need| (*need).to_owned());
        Self { name: name.into(), peer: true, lacks, work }
    }

    /// It needs a module of `python3` too.
    #[must_use]
    pub fn with_module(mut self, name: &str) -> Self {
        self.lacks = self.lacks.or_else(|| (!has_module(name)).then(|| format!("{name} in the python3 of PATH")));
        self
    }
}

/// One contender's rounds.
pub struct Row {
    /// Who.
    pub name: String,
    /// Whether it is compared with, rather than ours.
    pub peer: bool,
    /// Milliseconds of each round.
    pub times: Vec<f64>,
    /// The peak of its memory in KiB, of a process.
    pub peak: Option<u64>,
}

impl Row {
    /// The middle of its rounds, in milliseconds.
    pub fn median(&self) -> f64 {
        let mut sorted = self.times.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
    }

    fn spread(&self) -> (f64, f64) {
        self.times.iter().fold((f64::MAX, 0.0), |(low, high), time| (low.min(*time), f64::max(high, *time)))
    }
}

/// What the contenders of one piece of work needed.
pub struct Case {
    /// The work.
    pub name: String,
    /// Who did it.
    pub rows: Vec<Row>,
    /// Who did not, and what that needs.
    absent: Vec<(String, String)>,
}

impl Case {
    /// A contender's row; the error is what it needs to take part.
    pub fn row(&self, name: &str) -> Result<&Row, String> {
        let needs = || self.absent.iter().find(|(absent, _)| absent == name).map_or(name, |(_, needs)| needs);
        self.rows.iter().find(|row| row.name == name).ok_or_else(|| format!("needs {}", needs()))
    }

    /// The middle of a contender's rounds, in milliseconds.
    pub fn median(&self, name: &str) -> Measured {
        self.row(name).map(Row::median)
    }

    /// The peak of a contender's memory in MiB.
    pub fn mebibytes(&self, name: &str) -> Measured {
        mebibytes(self.row(name)?.peak)
    }

    /// How many times as long as `peer` the contender `name` needs.
    pub fn ratio(&self, name: &str, peer: &str) -> Measured {
        Ok(self.median(name)? / self.median(peer)?)
    }

    fn text(&self) -> String {
        let mut out = format!("{}\n", self.name);
        for row in &self.rows {
            let (low, high) = row.spread();
            let (median, rounds) = (shown(row.median()), row.times.len());
            let _ = write!(out, "  {:28} median {median:>9} ms of {rounds}  ({} to {})", row.name, shown(low), shown(high));
            if let Some(peak) = row.peak {
                let _ = write!(out, "  {:.1} MiB", peak as f64 / 1024.0);
            }
            if !row.peer {
                for peer in self.rows.iter().filter(|peer| peer.peer) {
                    let _ = write!(out, "  {:.2} × {}", row.median() / peer.median(), peer.name);
                }
            }
            out.push('\n');
        }
        out
    }

    fn json(&self, bench: &str) -> String {
        let row = |row: &Row| {
            let (low, high) = row.spread();
            json!({"name": row.name, "peer": row.peer, "median_ms": row.median(), "low_ms": low, "high_ms": high, "rounds": row.times.len(), "peak_kib": row.peak})
        };
        let ours = self.rows.iter().filter(|row| !row.peer);
        let pairs = ours.flat_map(|row| self.rows.iter().filter(|peer| peer.peer).map(move |peer| (row, peer)));
        let ratio = |(row, peer): (&Row, &Row)| json!({"name": row.name, "peer": peer.name, "ratio": row.median() / peer.median()});
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({"bench": bench, "case": self.name, "rows": rows, "ratios": pairs.map(ratio).collect::<Vec<_>>()}).to_string()
    }
}

/// What `peak` told, in MiB.
pub fn mebibytes(peak: Option<u64>) -> Measured {
    peak.map(|kib| kib as f64 / 1024.0).ok_or_else(|| format!("needs {TIME}"))
}

/// Milliseconds with as many places as tell something.
fn shown(ms: f64) -> String {
    match ms {
        _ if ms >= 100.0 => format!("{ms:.0}"),
        _ if ms >= 10.0 => format!("{ms:.1}"),
        _ if ms >= 0.1 => format!("{ms:.2}"),
        _ => format!("{ms:.4}"),
    }
}

/// One row of the table of goals.
struct Goal {
    what: String,
    goal: String,
    ours: Measured,
    bound: f64,
    unit: &'static str,
}

impl Goal {
    /// What was measured, or why nothing was.
    fn shown(&self) -> String {
        match &self.ours {
            Ok(ours) => format!("{ours:.2} {}", self.unit),
            Err(needs) => format!("not measured: {needs}"),
        }
    }

    /// Why it is missed, and what was tried.
    fn why(&self) -> String {
        reasons::reason(&self.what)
            .unwrap_or_else(|| "no reason is known yet: look for it, and write it into docs/performance.md".to_owned())
    }

    /// Whether it is met; `None` where nothing was measured.
    fn met(&self) -> Option<bool> {
        self.ours.as_ref().ok().map(|ours| *ours <= self.bound)
    }
}

/// Runs contests and tells of them.
pub struct Harness {
    /// The bench that runs.
    pub bench: &'static str,
    /// Whether lines of JSON are wanted.
    pub json: bool,
    rounds: usize,
    /// Whether the sizes that take minutes run too.
    pub large: bool,
    goals: Vec<Goal>,
}

impl Harness {
    /// Settings as typed: `--json`, `--rounds N`, `--large`.
    pub fn new(arguments: &[String]) -> Self {
        let has = |word: &str| arguments.iter().any(|given| given == word);
        let rounds = arguments.iter().position(|word| word == "--rounds").and_then(|at| arguments.get(at + 1)?.parse().ok());
        Self { bench: "", json: has("--json"), rounds: rounds.unwrap_or(ROUNDS), large: has("--large"), goals: Vec::new() }
    }

    /// Lets the contenders do the work in turn, another one first each time, after one round to warm up in which memory is measured.
    pub fn contest(&self, name: impl Into<String>, contenders: Vec<Contender<'_>>) -> Case {
        let name = name.into();
        let (mut present, mut absent) = (Vec::new(), Vec::new());
        for contender in contenders {
            match contender.lacks {
                Some(needs) => {
                    self.skipped(&format!("{} in \"{name}\": needs {needs}", contender.name));
                    absent.push((contender.name, needs));
                }
                None => present.push(contender),
            }
        }
        let row = |contender: &Contender<'_>| Row { name: contender.name.clone(), peer: contender.peer, times: Vec::new(), peak: None };
        let mut rows: Vec<Row> = present.iter().map(row).collect();
        let began = Instant::now();
        for round in 0..=self.rounds {
            if round > FEWEST && began.elapsed() > PATIENCE {
                break;
            }
            for at in 0..present.len() {
                let turn = (at + round) % present.len();
                let took = match &mut present[turn].work {
                    Work::Own(work) => work(round),
                    Work::Process(command) if round == 0 => {
                        rows[turn].peak = peak(&command(round));
                        continue;
                    }
                    Work::Process(command) => timed(&mut command(round)),
                };
                if round > 0 {
                    rows[turn].times.push(took.as_secs_f64() * 1000.0);
                }
            }
        }
        let case = Case { name, rows, absent };
        if self.json {
            self.print(&case.json(self.bench))
        } else {
            self.print(&case.text())
        }
        case
    }

    /// A line for whoever reads.
    pub fn print(&self, text: &str) {
        println!("{text}");
    }

    /// What could not take part, and why.
    pub fn skipped(&self, what: &str) {
        if self.json {
            self.print(&json!({"bench": self.bench, "skipped": what}).to_string());
        } else {
            self.print(&format!("skipped: {what}"));
        }
    }

    /// A goal that is a bound on a number.
    pub fn goal(&mut self, what: impl Into<String>, (goal, bound): (impl Into<String>, f64), ours: Measured, unit: &'static str) {
        self.goals.push(Goal { what: what.into(), goal: goal.into(), ours, bound, unit });
    }

    /// The table of goals with what was measured.
    pub fn finish(self) {
        if self.json {
            for goal in &self.goals {
                let value = goal.ours.as_ref().ok();
                let why = (goal.met() == Some(false)).then(|| goal.why());
                let row =
                    json!({"goal": goal.what, "bound": goal.goal, "ours": goal.shown(), "value": value, "met": goal.met(), "why": why});
                println!("{row}");
            }
            return;
        }
        if !self.goals.is_empty() {
            println!("{:60} {:38} {:22} met", "goal", "bound", "ours");
        }
        for goal in &self.goals {
            let met = goal.met().map_or("-", |met| if met { "yes" } else { "no" });
            println!("{:60} {:38} {:22} {met}", goal.what, goal.goal, goal.shown());
        }
        self.misses();
    }

    /// Why goals are missed, each reason once, with the goals that it stands for.
    fn misses(&self) {
        let mut reasons: Vec<(String, Vec<&Goal>)> = Vec::new();
        for goal in self.goals.iter().filter(|goal| goal.met() == Some(false)) {
            let why = goal.why();
            match reasons.iter_mut().find(|(reason, _)| *reason == why) {
                Some((_, goals)) => goals.push(goal),
                None => reasons.push((why, vec![goal])),
            }
        }
        for (reason, goals) in reasons {
            println!();
            for goal in goals {
                println!("missed: {}, {}: {}", goal.what, goal.goal, goal.shown());
            }
            reasons::wrapped(&reason, WIDTH).iter().for_each(|line| println!("    {line}"));
        }
    }
}
