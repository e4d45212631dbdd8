//! The front door: what was typed becomes what is meant, and what came of it is shown.
//!
//! Holds: arguments, exit codes, reports, progress, one file per command, and both ends of `--at`
//! Imports: event, exec, lab, lang, model, name, ops, plan, secret, source, store, value, vault, wire
//! Effects: reads the environment once, prints, asks, watches for ctrl-c
//! Never: decides what a command means: that is in ops

pub mod args;
mod ask;
mod at;
mod audit;
mod build;
mod cancel;
mod care;
mod doctor;
mod environment;
pub mod exit;
mod external;
mod graph;
mod lab;
mod log;
mod manual;
mod moment;
pub mod out;
mod progress;
mod project;
mod query;
pub mod report;
mod runs;
mod vault;
mod why;

use clap::Parser as _;

use crate::ops::front::Front;
use crate::source::{Diagnostic, Fault, Severity};
use args::{Cli, Command};
use exit::Exit;
use out::Out;

/// The whole of `pmx`: from the process's arguments to its exit code.
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help and version to standard output itself, and mistakes to standard error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Yours } else { Exit::Done };
        }
    };
    let (front, colour) = environment::read(&cli);
    let mut out = Out::new(cli.json, colour);
    let result = front.map_err(|d| vec![d]).and_then(|front| match &cli.at {
        Some(place) => at::near::run(&front, (&cli, place), &environment::words(), &mut out),
        None => dispatch(&front, &cli.command, &mut out),
    });
    match result {
        Ok(exit) => exit,
        Err(complaints) => {
            complain(&complaints, &mut out);
            Exit::of_complaints(&complaints)
        }
    }
}

fn dispatch(front: &Front, command: &Command, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    match command {
        Command::Init(args) => project::init(front, args, out),
        Command::Check => project::check(front, out),
        Command::Build(args) => build::run(front, args, out),
        Command::Plan(args) => graph::plan(front, args, out),
        Command::Graph(args) => graph::graph(front, args, out),
        Command::Log(args) => log::log(front, args, out),
        Command::Show(args) => log::show(front, args, out),
        Command::Diff(args) => log::diff(front, args, out),
        Command::Ls(args) => log::ls(front, args, out),
        Command::Query(args) => query::run(front, args, out),
        Command::Runs(args) => runs::runs(front, args, out),
        Command::Run(args) => runs::run(front, args, out),
        Command::Why(args) => why::run(front, args, out),
        Command::Audit(args) => audit::run(front, args, out),
        Command::Cancel(args) => cancel::run(front, args, out),
        Command::Types(args) => Ok(project::types(args, out)),
        Command::Describe(args) => project::describe(front, args, out),
        Command::Vault(args) => vault::run(front, args, out),
        Command::Fsck => care::fsck(front, out),
        Command::Gc(args) => care::gc(front, args, out),
        Command::Doctor(args) => doctor::run(front, args, out),
        Command::Lab(args) => lab::run(front, args, out),
        Command::FarEnd => at::far::run(front),
        Command::Manual(args) => Ok(manual::run(args, out)),
        Command::External(words) => Err(external::run(words)),
    }
}

/// Shows complaints: as JSON on standard output when JSON was asked for, else on standard error.
fn complain(complaints: &[Diagnostic], out: &mut Out) {
    for complaint in complaints {
        if out.json {
            out.json(&report::JsonComplaint::from(complaint));
        } else {
            out.say(report::render(complaint, out.terminal_colour()));
            out.say("");
        }
    }
}

/// The runtime of commands that touch other machines; others do without.
fn runtime() -> Result<tokio::runtime::Runtime, Vec<Diagnostic>> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| vec![Diagnostic::new(Severity::Error, Fault::Ours, format!("no runtime: {error}"))])
}
