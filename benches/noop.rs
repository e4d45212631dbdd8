//! The no-op build: N observations, all fresh, in layers of a hundred, one expression each; beside ninja and make on a graph of the same shape.
//!
//! The observation is `minecraft/server.status` of servers whose machine is off: the one real method that contacts nobody, so that the first build, which
//! is not measured, takes seconds. Each step reads one resource through its expression. ninja and make look at the time of N files instead, and each
//! has one line of text per step where pmx has five.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use pmx::name::ResourceName;

use crate::harness::{Case, Contender, Harness, Work, pmx, run};
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

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    let sizes: &[usize] = if harness.large { &[1_000, 10_000, 100_000] } else { &[1_000, 10_000] };
    for count in sizes {
        for texts in [Texts::Repeat, Texts::Differ] {
            let project = Project::make(*count, texts);
            let case = project.contest(harness, *count, texts);
            if *count >= 10_000 {
                let bound = if texts == Texts::Repeat { 1.0 } else { 3.0 };
                harness.goal(&case.name, (format!("≤ {bound} × ninja"), bound), case.ratio("pmx build", "ninja"), "×");
            }
        }
    }
}

/// A project whose steps are all fresh, and files for the peers.
pub struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    /// Writes it and builds it once.
    pub fn make(count: usize, texts: Texts) -> Self {
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
        run(&mut project.pmx(&["build", "all"]));
        project.peers(count);
        project
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
    }

    fn contest(&self, harness: &Harness, count: usize, texts: Texts) -> Case {
        let texts = if texts == Texts::Repeat { "texts repeat" } else { "texts differ" };
        let peer = |name: &'static str| {
            let place = self.place(name);
            let command = move |_| {
                let mut command = Command::new(name);
                command.current_dir(&place);
                command
            };
            Contender::peer(name, &[name], Work::Process(Box::new(command)))
        };
        let ours = Contender::ours("pmx build", Work::Process(Box::new(|_| self.pmx(&["build", "all"]))));
        let check = Contender::ours("pmx check", Work::Process(Box::new(|_| self.pmx(&["check"]))));
        harness.contest(format!("no-op build of {count}, {texts}"), vec![ours, check, peer("ninja"), peer("make")])
    }
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
