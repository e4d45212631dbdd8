//! The no-op build: N observations, all fresh, in layers of a hundred, one expression each; beside ninja and make, and of a
//! thousand terraform, on a graph of the same shape.
//!
//! The observation is `minecraft/server.status` of servers whose machine is off: the one real method that contacts nobody, so that the first build, which
//! is not measured, takes seconds. Each step reads one resource through its expression. ninja and make look at the time of N files instead, and each
//! has one line of text per step where pmx has five.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use pmx::name::ResourceName;

use crate::harness::{Case, Contender, Harness, Measured, Work, pmx, run};
use crate::store::Writer;

/// Steps of one layer: each step waits for the one that stands so many before it.
const LAYER: usize = 100;
/// Fields of one command's result that texts can name.
const FIELDS: [&str; 4] = ["stdout", "stderr", "command", "host"];

/// Whether the expressions have one text or one each.
#[derive(Clone, Copy, PartialEq)]
pub enum Texts {
    /// All the same.
    Repeat,
    /// All different.
    Differ,
}

impl std::fmt::Display for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if *self == Self::Repeat { "texts repeat" } else { "texts differ" })
    }
}

/// The same build again: nothing was recorded since, so that nothing is worked out.
const REPEAT: &str = "pmx build";
/// A remark was added to the workflow before it, so that all is worked out, and found fresh.
const EDITED: &str = "pmx build, file edited";

/// Sizes, and whether the size takes minutes.
const SIZES: [(usize, bool); 3] = [(1_000, false), (10_000, false), (100_000, true)];

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    let mut medians: Vec<Measured> = Vec::new();
    for (count, large) in SIZES {
        for texts in [Texts::Repeat, Texts::Differ] {
            let contest = || {
                let project = Project::make(count, texts);
                project.contest(harness, &project.copy(), count, texts)
            };
            let case = (!large || harness.large).then(contest).ok_or("needs --large");
            let ratio = |ours: &str, peer: &str| case.as_ref().map_err(|&needs| needs.to_owned()).and_then(|case| case.ratio(ours, peer));
            for (ours, what) in [(REPEAT, ""), (EDITED, ", file edited")] {
                let title = format!("{}{what}", title(count, texts));
                match (count == SIZES[0].0, texts) {
                    (true, Texts::Repeat) => {}
                    (true, Texts::Differ) => harness.goal(title, ("≤ 1/50 of terraform plan", 0.02), ratio(ours, "terraform plan"), "×"),
                    (false, Texts::Repeat) => harness.goal(title, ("≤ 1 × ninja", 1.0), ratio(ours, "ninja"), "×"),
                    (false, Texts::Differ) => harness.goal(title, ("≤ 3 × ninja", 3.0), ratio(ours, "ninja"), "×"),
                }
            }
            if texts == Texts::Repeat {
                medians.push(case.map_err(str::to_owned).and_then(|case| case.median(EDITED)));
            }
        }
    }
    if let [Ok(thousand), Ok(ten), hundred] = medians.as_slice() {
        let each = (ten - thousand) / (SIZES[1].0 - SIZES[0].0) as f64 * 1000.0;
        harness.goal("a fresh action more, its record unsynced", ("≤ 20 µs", 20.0), Ok(each), "µs");
        // A line shows 10, a square 100; the clock is noisy.
        harness.goal("no-op build, growth from 1,000 to 10,000", ("≤ 12 ×", 12.0), Ok(ten / thousand), "×");
        let grown = hundred.as_ref().map(|hundred| hundred / ten).map_err(Clone::clone);
        harness.goal("no-op build, growth from 10,000 to 100,000", ("≤ 12 ×", 12.0), grown, "×");
    }
}

/// A project whose steps are all fresh, and files for the peers.
pub struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    /// Writes it and builds it until nothing is left to do, and the same for the peers.
    pub fn make(count: usize, texts: Texts) -> Self {
        let project = Self::write(count, texts);
        // The first looks, the second finds all of it fresh.
        run(&mut project.pmx(&["build", "all"]));
        run(&mut project.pmx(&["build", "all"]));
        project.peers(count);
        project
    }

    /// Writes it.
    pub fn write(count: usize, texts: Texts) -> Self {
        let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
        let project = Self { dir };
        for folder in ["project/definitions", "project/workflows"] {
            std::fs::create_dir_all(project.place(folder)).expect("a folder can be made");
        }
        let write = |path: &str, text: &str| std::fs::write(project.place("project").join(path), text).expect("a file can be written");
        write("Pmxfile.toml", "[project]\nname = \"bench\"\n");
        write("definitions/hub.toml", "type = \"ssh/host\"\n\n[global]\nhost = \"hub\"\n");
        write(
            "definitions/mc.toml",
            "type = \"minecraft/server\"\n\n[global]\nsshHost = \"\"\nserverName = '${{ inputs.n }}'\nlogPath = '${{ inputs.log }}'\n",
        );
        write("workflows/all.toml", &workflow(0..count, texts));
        // What the steps read, as `exec` would have left it; a thousand logins would take longer than all of the rest.
        let results = if texts == Texts::Repeat { 1 } else { count.div_ceil(FIELDS.len()) };
        let mut writer = Writer::new(&project.place("project/store"));
        for first in (0..results).step_by(1000) {
            let names = (first..results.min(first + 1000)).map(|number| ResourceName::new("hub", "result", format!("r{number}")));
            writer.first(names.collect(), br#"{"command":"log","host":"hub","stderr":"log","stdout":"log"}"#);
        }
        drop(writer);
        project
    }

    /// The same project in another place, as it is now, without the peers.
    fn copy(&self) -> Self {
        let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
        run(Command::new("cp").arg("-r").arg(self.place("project")).arg(dir.path()));
        Self { dir }
    }

    /// pmx in the project.
    pub fn pmx(&self, arguments: &[&str]) -> Command {
        let mut command = pmx();
        command.args(arguments).current_dir(self.place("project")).env("HOME", self.place("home"));
        command
    }

    fn place(&self, peer: &str) -> PathBuf {
        self.dir.path().join(peer)
    }

    /// The same graph for ninja and make, built once.
    fn peers(&self, count: usize) {
        let mut ninja = String::from("rule touch\n  command = touch $out\n");
        let mut make = String::from("all:");
        for step in 0..count {
            let _ = write!(make, " s{step}");
        }
        make.push('\n');
        for step in 0..count {
            let before = step.checked_sub(LAYER).map_or_else(|| "in".to_owned(), |before| format!("s{before}"));
            let _ = writeln!(ninja, "build s{step}: touch {before}");
            let _ = writeln!(make, "s{step}: {before}\n\ttouch $@");
        }
        for (peer, file, text) in [("ninja", "build.ninja", &ninja), ("make", "Makefile", &make)] {
            std::fs::create_dir_all(self.place(peer)).expect("a folder can be made");
            std::fs::write(self.place(peer).join(file), text).expect("a file can be written");
            std::fs::write(self.place(peer).join("in"), "").expect("a file can be written");
            if crate::harness::find(peer).is_some() {
                run(Command::new(peer).current_dir(self.place(peer)));
            }
        }
        // It needs seconds for a thousand, and grows with the square.
        if count == SIZES[0].0 && crate::harness::find("terraform").is_some() {
            terraform(&self.place("terraform"), count);
        }
    }

    fn contest(&self, harness: &Harness, edited: &Self, count: usize, texts: Texts) -> Case {
        let (text, file) = (workflow(0..count, texts), edited.place("project/workflows/all.toml"));
        let peer = |name: &'static str| {
            let place = self.place(name);
            let command = move |_| {
                let mut command = Command::new(name);
                command.current_dir(&place);
                command
            };
            Contender::peer(name, &[name], Work::Process(Box::new(command)))
        };
        let ours = Contender::ours(REPEAT, Work::Process(Box::new(|_| self.pmx(&["build", "all"]))));
        let again = |round: usize| {
            std::fs::write(&file, format!("{text}# {round}\n")).expect("a file can be written");
            edited.pmx(&["build", "all"])
        };
        let changed = Contender::ours(EDITED, Work::Process(Box::new(again)));
        let check = Contender::ours("pmx check", Work::Process(Box::new(|_| self.pmx(&["check"]))));
        let mut contenders = vec![ours, changed, check, peer("ninja"), peer("make")];
        if count == SIZES[0].0 && texts == Texts::Differ {
            let plan = |_| {
                let mut command = Command::new("terraform");
                // 0 says that there is nothing to do, 2 that there is.
                command.args(["plan", "-input=false", "-detailed-exitcode"]).current_dir(self.place("terraform"));
                command
            };
            contenders.push(Contender::peer("terraform plan", &["terraform"], Work::Process(Box::new(plan))));
        }
        harness.contest(title(count, texts), contenders)
    }
}

fn title(count: usize, texts: Texts) -> String {
    format!("no-op build of {count}, {texts}")
}

/// The same graph out of terraform's own resource, which stores a value and contacts nobody; its state as `apply` leaves it, which would take a minute.
fn terraform(place: &Path, count: usize) {
    let mut text = String::new();
    let mut resources = Vec::with_capacity(count);
    for step in 0..count {
        let (input, value) = match step.checked_sub(LAYER) {
            Some(before) => (format!("terraform_data.s{before}.id"), format!("id-{before}")),
            None => ("\"in\"".to_owned(), "in".to_owned()),
        };
        let _ = writeln!(text, "resource \"terraform_data\" \"s{step}\" {{\n  input = {input}\n}}");
        let held = json!({"value": value, "type": "string"});
        let attributes = json!({"id": format!("id-{step}"), "input": held, "output": held, "triggers_replace": null});
        resources.push(json!({
            "mode": "managed",
            "type": "terraform_data",
            "name": format!("s{step}"),
            "provider": "provider[\"terraform.io/builtin/terraform\"]",
            "instances": [{"schema_version": 0, "attributes": attributes, "sensitive_attributes": []}],
        }));
    }
    let state = json!({"version": 4, "terraform_version": "1.4.0", "serial": 1, "lineage": "bench", "outputs": {}, "resources": resources});
    std::fs::create_dir_all(place).expect("a folder can be made");
    std::fs::write(place.join("main.tf"), text).expect("a file can be written");
    std::fs::write(place.join("terraform.tfstate"), state.to_string()).expect("a file can be written");
    run(Command::new("terraform").args(["init", "-input=false"]).current_dir(place));
}

/// Steps of these numbers; those of the first layer wait for nobody.
pub fn workflow(steps: std::ops::Range<usize>, texts: Texts) -> String {
    let mut text = String::from("description = \"all fresh\"\n");
    for step in steps.clone() {
        let (result, field) = match texts {
            Texts::Repeat => (0, FIELDS[0]),
            Texts::Differ => (step / FIELDS.len(), FIELDS[step % FIELDS.len()]),
        };
        let _ = write!(
            text,
            "\n[[step]]\nname = \"s{step}\"\ncall = \"mc.status\"\nfresh = \"1h\"\nwith = {{ n = \"s{step}\", log = '${{{{ model.hub.resource.result.r{result}.attributes.{field} }}}}' }}\n"
        );
        if let Some(before) = step.checked_sub(LAYER).filter(|before| steps.contains(before)) {
            let _ = writeln!(text, "after = [\"s{before}\"]");
        }
    }
    text
}
