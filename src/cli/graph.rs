//! `pmx plan` and `pmx graph`: what would be done, as a list and as a drawing.

use crate::cli::args::{GraphArgs, PlanArgs};
use crate::cli::exit::Exit;
use crate::cli::out::{Out, counted};
use crate::ops::build::reading;
use crate::ops::front::Front;
use crate::ops::plan::{self, PlannedAction};
use crate::ops::site::Site;
use crate::plan::{draw, explain};
use crate::source::Diagnostic;
use crate::wire::clock::{Clock, SystemClock};

/// `pmx plan`.
pub fn plan(front: &Front, args: &PlanArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let (site, store) = reading(front)?;
    let planned = plan::plan(&site, store, (&args.targets, &args.inputs), SystemClock::new().now())?;
    if out.json {
        out.json(&planned);
        return Ok(Exit::Done);
    }
    let count = planned.actions.len();
    out.line(format!("{}: {}", planned.targets.join(" "), counted(count, "action")));
    for action in &planned.actions {
        tell(action, out);
    }
    Ok(Exit::Done)
}

fn tell(action: &PlannedAction, out: &mut Out) {
    let line = &action.line;
    let step = out.paint("1", &line.step);
    let call = out.paint("36", &line.call);
    out.line(format!("{:>3}. {step}  {call}  ({})", line.id + 1, line.effect));
    if let Some(resource) = &line.refreshes {
        out.line(format!("       implied: something after it reads {resource}"));
    }
    if let Some(freshness) = &action.freshness {
        out.line(format!("       {freshness}"));
    }
    if !line.writes.is_empty() {
        out.line(format!("       writes {}", line.writes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")));
    }
    for word in &line.flow {
        out.line(format!("       {word}"));
    }
    for wait in &line.after {
        out.line(format!("       after {}: {}", wait.step, wait.why.join("; ")));
    }
    for phase in &action.phases {
        out.line(format!("       may wait for {phase}"));
    }
}

/// `pmx graph`.
pub fn graph(front: &Front, args: &GraphArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let graph = plan::graph(&site, &args.targets, &args.inputs)?;
    if out.json {
        out.json(&explain::Drawing(&graph));
    } else if args.dot {
        out.line(draw::dot(&graph).trim_end());
    } else if args.mermaid {
        out.line(draw::mermaid(&graph).trim_end());
    } else {
        out.line(explain::summary(&graph).to_string().trim_end());
    }
    Ok(Exit::Done)
}
