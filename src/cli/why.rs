//! `pmx why`: the reason for which a step ran or did not, in sentences.

use crate::cli::args::WhyArgs;
use crate::cli::exit::Exit;
use crate::cli::log::store;
use crate::cli::moment::local;
use crate::cli::out::Out;
use crate::event::Ending;
use crate::ops::front::Front;
use crate::ops::why::{self, Before, ReadVersion, Why};
use crate::source::Diagnostic;

/// `pmx why`.
pub fn run(front: &Front, args: &WhyArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let mut store = store(front)?;
    let why = why::why(&mut *store, &args.run, &args.step)?;
    if out.json {
        out.json(&why);
    } else {
        tell(&why, out);
    }
    Ok(Exit::Done)
}

/// The last digits of a run's id, as everywhere.
fn short(run: &str) -> &str {
    run.get(run.len().saturating_sub(7)..).unwrap_or(run)
}

fn tell(why: &Why, out: &mut Out) {
    out.line(format!("{}  {}  in run {}", out.paint("1", &why.step), why.call, short(&why.run)));
    out.line(format!("  {}", why.verdict));
    match (why.ending, &why.summary) {
        // What did not run has said so above.
        (Some(Ending::Fresh | Ending::Skipped) | None, _) | (_, None) => {}
        (Some(ending), Some(summary)) => out.line(format!("  {}: {summary}", format!("{ending:?}").to_lowercase())),
    }
    if !why.waited_for.is_empty() {
        out.line("waited for");
        why.waited_for.iter().for_each(|wait| out.line(format!("  {}: {}", wait.step, wait.why.join(", "))));
    }
    if let Some(key) = &why.key {
        out.line(format!("its key {} is made of", key.short()));
        why.made_of.iter().for_each(|field| out.line(format!("  {} = {}", field.path, field.value)));
    }
    if let Some(before) = &why.before {
        tell_before(before, out);
    } else if why.key.is_some() {
        out.line("it was never done before");
    }
    if !why.reads.is_empty() {
        out.line("it read, beside the key");
        why.reads.iter().for_each(|read| out.line(format!("  {}", version(read))));
    }
}

fn tell_before(before: &Before, out: &mut Out) {
    let last = format!("last time, in run {} at {}", short(&before.run), local(before.at));
    match &before.differences {
        None => out.line(format!("{last}, its arguments were others or the same: they are not kept any more")),
        Some(none) if none.is_empty() => out.line(format!("{last}, all of that was the same")),
        Some(differences) => {
            out.line(format!("{last},"));
            differences.iter().for_each(|one| out.line(format!("  {}", one.sentence)));
        }
    }
}

fn version(read: &ReadVersion) -> String {
    match (read.version, read.at, &read.call, &read.run) {
        (Some(number), Some(at), Some(call), Some(run)) => {
            format!("{}@{number}, written at {} by {call} of run {}", read.resource, local(at), short(run))
        }
        _ => format!("{}, a version that is not in the store any more", read.resource),
    }
}
