//! `pmx cancel`: asks a run to stop, says for what it waits, and how the run ended.
#![expect(clippy::disallowed_methods, reason = "waits for another process by looking into the store")]

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::args::CancelArgs;
use crate::cli::exit::Exit;
use crate::cli::log::store;
use crate::cli::out::Out;
use crate::event::RunState;
use crate::ops::cancel::{self, Asked, Look};
use crate::ops::front::Front;
use crate::source::Diagnostic;
use crate::store::Store;
use crate::store::words::RunRow;

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often what is waited for is said again.
const SAY: Duration = Duration::from_secs(10);

/// What `--json` writes.
#[derive(Serialize)]
struct Told<'a> {
    /// Whether anybody had to be asked.
    asked: bool,
    /// Whether what ran was cancelled too.
    now: bool,
    /// Seconds until the run ended, or until nobody waited any more.
    waited: f64,
    #[serde(flatten)]
    look: &'a Look,
}

/// `pmx cancel`.
pub fn run(front: &Front, args: &CancelArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    match cancel::ask(&mut *store, &args.run, &front.actor, args.now)? {
        Asked::Over(row) => over(&mut *store, &row, out),
        Asked::Heard { row, now } => {
            if !out.json {
                let what = if now { "what runs is cancelled" } else { "nothing new starts, what runs may end; `--now` cancels it" };
                out.say(format!("asked run {} ({}) by {} to stop: {what}", row.id.short(), row.targets.join(" "), row.actor));
            }
            wait(&mut *store, &row, (now, Duration::from_secs(args.wait)), out)
        }
    }
}

fn over(store: &mut dyn Store, row: &RunRow, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    if out.json {
        let look = cancel::look(store, &row.id)?;
        out.json(&Told { asked: false, now: false, waited: 0.0, look: &look });
    } else {
        out.line(format!("run {} has ended already: {}", row.id.short(), row.state));
    }
    Ok(Exit::Done)
}

/// Waits for the end of the run; the deadline ends the wait, not the request.
fn wait(store: &mut dyn Store, row: &RunRow, (now, deadline): (bool, Duration), out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let began = Instant::now();
    let mut said = (String::new(), Duration::ZERO);
    loop {
        let look = cancel::look(store, &row.id)?;
        let waited = began.elapsed();
        if look.state != RunState::Running || waited >= deadline {
            return Ok(tell(&look, (now, waited), out));
        }
        let steps: Vec<&str> = look.running.iter().map(|action| action.step.as_str()).collect();
        let what = if steps.is_empty() { "the run to end".to_owned() } else { steps.join(", ") };
        if !out.json && (what != said.0 || waited >= said.1 + SAY) {
            out.say(format!("  … waiting for {what}, {} s", waited.as_secs()));
            said = (what, waited);
        }
        std::thread::sleep(LOOK);
    }
}

fn tell(look: &Look, (now, waited): (bool, Duration), out: &mut Out) -> Exit {
    let seconds = waited.as_secs_f64();
    if out.json {
        out.json(&Told { asked: true, now, waited: seconds, look });
    }
    let short = look.run.short();
    let exit = if look.state == RunState::Running { Exit::Failed } else { Exit::Done };
    if out.json {
        return exit;
    }
    for action in &look.cancelled {
        out.line(format!("  × {}  {}  {}", action.step, action.call, action.summary));
    }
    match look.state {
        RunState::Running => out.say(format!("run {short} still runs after {seconds:.0} s; `pmx cancel {short} --now` cancels what runs")),
        // Its process died while it was waited for.
        RunState::Interrupted => out.line(format!("run {short} is dead; `pmx build --resume {short}` goes on with it")),
        state => out.line(format!("run {short} has ended: {state}, {seconds:.1} s after it was asked")),
    }
    exit
}
