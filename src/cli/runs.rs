//! `pmx runs` and `pmx run`: what was asked for, and what became of it.

use crate::cli::args::{RunArgs, RunsArgs};
use crate::cli::exit::Exit;
use crate::cli::log::store;
use crate::cli::moment::local;
use crate::cli::out::Out;
use crate::event::{Ending, RunState};
use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::ops::runs;
use crate::source::Diagnostic;
use crate::store::words::RunRow;

/// `pmx runs`.
pub fn runs(front: &Front, args: &RunsArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    for row in store.runs(args.limit).map_err(|e| trouble(&e))? {
        if out.json {
            out.json(&row);
            continue;
        }
        let state = state(row.state, out);
        let targets = row.targets.join(" ");
        out.line(format!("{}  {}  {state:<11}  {targets}  by {}{}", row.id.short(), local(row.began), row.actor, took(&row)));
    }
    Ok(Exit::Done)
}

fn state(state: RunState, out: &Out) -> String {
    let code = match state {
        RunState::Succeeded => "32",
        RunState::Running => "36",
        RunState::Failed => "31",
        RunState::Cancelled | RunState::Interrupted => "33",
    };
    out.paint(code, format!("{:<11}", state.to_string()))
}

fn took(row: &RunRow) -> String {
    row.ended.map(|ended| format!(", {:.1} s", ended.since(row.began).as_secs_f64())).unwrap_or_default()
}

/// `pmx run`.
pub fn run(front: &Front, args: &RunArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    if let Some(step) = &args.log {
        let log = runs::step_log(&mut *store, &args.run, step)?;
        if out.json {
            out.json(&log);
        } else if log.is_empty() {
            out.say(format!("step {step} of run {} said nothing", args.run));
        } else {
            out.line(log.trim_end());
        }
        return Ok(Exit::Done);
    }
    let story = runs::story(&mut *store, &args.run)?;
    if out.json {
        out.json(&story);
        return Ok(Exit::Done);
    }
    let row = &story.row;
    out.line(format!("run {}  {}", out.paint("1;33", row.id.short()), state(row.state, out)));
    out.line(format!("{} by {}, began {}{}", row.targets.join(" "), row.actor, local(row.began), took(row)));
    if row.inputs != "{}" {
        out.line(format!("inputs {}", row.inputs));
    }
    out.line(format!("id {}", row.id));
    if let Some(of) = &story.repeats {
        out.line(format!("nothing was recorded and nothing had expired since run {}: this is what that one found", of.short()));
    }
    for resumed in &story.resumed {
        out.line(format!("resumed {} by {}", local(resumed.at), resumed.actor));
    }
    out.line("");
    for action in &story.actions {
        let ending = match action.ending {
            Ending::Done => out.paint("32", "done     "),
            Ending::Unchanged => out.paint("36", "unchanged"),
            Ending::Fresh => out.paint("36", "fresh    "),
            Ending::Skipped => out.paint("33", "skipped  "),
            Ending::Failed => out.paint("31", "failed   "),
            Ending::Cancelled => out.paint("33", "cancelled"),
        };
        // `fresh` and `skipped` stand in front already.
        let summary = ["fresh: ", "skipped: "].iter().find_map(|word| action.summary.strip_prefix(word)).unwrap_or(&action.summary);
        out.line(format!("  {ending}  {}  {}  {summary}", action.step, out.paint("2", &action.call)));
        if !action.outputs.is_empty() {
            out.line(out.paint("2", format!("             → {}", action.outputs.join(", "))));
        }
    }
    for action in &story.unfinished {
        let word = if row.state == RunState::Running { "running  " } else { "cut off  " };
        out.line(format!("  {}  {}  {}  since {}", out.paint("33", word), action.step, out.paint("2", &action.call), local(action.began)));
        if let Some(task) = &action.task {
            out.line(out.paint("2", format!("             task {task}")));
        }
        if let Some(settled) = &action.settled {
            out.line(format!("             settled by run {}: {}", settled.by.short(), settled.found));
        }
    }
    if matches!(row.state, RunState::Interrupted | RunState::Failed | RunState::Cancelled) {
        let profile = front.profile.as_ref().map(|name| format!("--profile {name} ")).unwrap_or_default();
        out.line("");
        out.line(format!("go on with it: pmx {profile}build --resume {}", row.id.short()));
    }
    Ok(Exit::Done)
}
