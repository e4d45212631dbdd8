//! `pmx audit`: what was asked for over chat, and what was answered.

use crate::cli::args::AuditArgs;
use crate::cli::exit::Exit;
use crate::cli::log::store;
use crate::cli::moment::local;
use crate::cli::out::Out;
use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::source::Diagnostic;

/// Lists it.
pub fn run(front: &Front, args: &AuditArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let rows = store(front)?.audit(false, args.limit).map_err(|e| trouble(&e))?;
    if rows.is_empty() && !out.json {
        out.say("nobody has asked for anything over chat");
    }
    for row in rows {
        if out.json {
            out.json(&row);
            continue;
        }
        let run = row.run.as_ref().map(|run| format!("  run {}", out.paint("1;33", run.short()))).unwrap_or_default();
        let answer = if row.answer.is_empty() { "not answered yet" } else { &row.answer };
        out.line(format!("{}  {}  {}  in {}{run}  {answer}", local(row.at), row.actor, row.asked, row.place));
    }
    Ok(Exit::Done)
}
