//! Buttons: what a press means, also on a message from before a restart.

use std::sync::{Arc, Mutex};

use pmx::event::RunState;
use pmx::name::RunId;
use pmx::ops::cancel::{self, Asked};
use pmx::ops::chat::{self, Recall, RunRow, Store};
use pmx::ops::runs;

use crate::book::Known;
use crate::chat::{Ask, Card, Heard, Tone};
use crate::desk::Desk;
use crate::post::Message;
use crate::session::{Job, Play, answer, begin, nonce, sentence};
use crate::tale::Tale;
use crate::{log, show};

/// Somebody pressed a button.
pub async fn press(desk: Arc<Desk>, heard: Heard, known: &Known) {
    let Ask::Press { button, .. } = &heard.ask else { return };
    let (kind, about) = button.split_once(':').unwrap_or((button, ""));
    let asked = format!("button {kind} {}", about.parse::<RunId>().map_or_else(|_| about.to_owned(), |run| run.short().to_owned()));
    if let Err(refusal) = known.rules.admit(&heard.who, &heard.spot) {
        return desk.refuse(&heard, &asked, &refusal).await;
    }
    match kind {
        "yes" | "no" => reply(&desk, &heard, known, (kind == "yes", about, &asked)).await,
        "cancel" => stop(&desk, &heard, (about, &asked)).await,
        "resume" => resume(desk, heard.clone(), about, Recall::Unknown).await,
        "done" => resume(desk, heard.clone(), about, Recall::Done).await,
        "again" => resume(desk, heard.clone(), about, Recall::Again).await,
        _ => desk.refuse(&heard, &asked, "I do not know what that button was for; it is from another version of me.").await,
    }
}

/// The answer to a question.
async fn reply(desk: &Arc<Desk>, heard: &Heard, known: &Known, (yes, id, asked): (bool, &str, &str)) {
    let Some(question) = desk.question(id) else {
        return desk.refuse(heard, asked, "That question is over; say the command again if you still want it.").await;
    };
    if yes
        && question.destroys
        && let Err(refusal) = known.rules.admit_admin(&heard.who)
    {
        return desk.refuse(heard, asked, &refusal).await;
    }
    let Some(mut row) = begin(desk, heard, asked).await else { return };
    let first = desk.settle(id, Some((yes, heard.who.clone())));
    row.answer = if first { "taken".to_owned() } else { "somebody was faster".to_owned() };
    row.settled = true;
    desk.answer(&row).await;
}

/// A run shall stop.
async fn stop(desk: &Arc<Desk>, heard: &Heard, (run, asked): (&str, &str)) {
    let (part, by) = (run.to_owned(), heard.who.actor());
    let heard_by = desk.keeper.call(move |store| cancel::ask(store, &part, &by, false)).await;
    match heard_by {
        Ok(Asked::Heard { now, .. }) => {
            let Some(mut row) = begin(desk, heard, asked).await else { return };
            row.answer = if now { "told to stop at once" } else { "told to stop" }.to_owned();
            row.run = run.parse().ok();
            row.settled = true;
            desk.answer(&row).await;
        }
        Ok(Asked::Over(row)) => {
            let told = format!("That run is over already: it {}.", word(row.state));
            desk.refuse(heard, asked, &told).await;
        }
        Err(complaints) => desk.refuse(heard, asked, &crate::card::plain(&sentence(&complaints))).await,
    }
}

const fn word(state: RunState) -> &'static str {
    match state {
        RunState::Running => "is running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "was cancelled",
        RunState::Interrupted => "was interrupted",
    }
}

/// A run that ended badly goes on, in the message that tells its end.
async fn resume(desk: Arc<Desk>, heard: Heard, about: &str, recall: Recall) {
    let part = about.to_owned();
    let found = desk.keeper.call(move |store| runs::find(store, &part).map(|row| (label(store, &row), row))).await;
    let asked = |label: &str| format!("resume {label}");
    let (name, run) = match found {
        Ok(found) => found,
        Err(complaints) => return desk.refuse(&heard, &asked(about), &crate::card::plain(&sentence(&complaints))).await,
    };
    if matches!(run.state, RunState::Running | RunState::Succeeded) {
        return desk.refuse(&heard, &asked(&name), &format!("That run {} already.", word(run.state))).await;
    }
    if desk.closing() {
        return desk.refuse(&heard, &asked(&name), "I am going down; press again in a minute.").await;
    }
    let Ok((seat, stop)) = desk.sit(Some((run.id.as_str(), "resume")), &heard.who) else {
        return desk.refuse(&heard, &asked(&name), "Somebody has pressed that already.").await;
    };
    let Some(mut row) = begin(&desk, &heard, &asked(&name)).await else { return };
    row.run = Some(run.id.clone());
    let (id, tale) = (run.id.clone(), run.clone());
    let tale = desk.keeper.call(move |store| told(store, &tale)).await;
    let first = Card::new(Tone::Busy, crate::card::plain(&name), tale.body(desk.now(), show::BODY))
        .footer(format!("resumed by {}", heard.who.name));
    let Some(posted) = answer(&desk, &heard, &first, &mut row).await else { return };
    let live = Message::new(Arc::clone(&desk.chat), Arc::clone(&desk.clock), (posted, nonce(&row)), first);
    let play = Play { desk, who: heard.who, label: name, tale: Arc::new(Mutex::new(tale)), live, row, seat };
    let job =
        Job { targets: Vec::new(), inputs: Vec::new(), resume: Some(id.to_string()), confirmed: std::collections::BTreeSet::new(), recall };
    play.drive(job, stop).await;
}

/// What a run was asked for as: as the audit has it, else its targets.
pub fn label(store: &mut dyn Store, run: &RunRow) -> String {
    let rows = store.audit(false, 1000).unwrap_or_default();
    let begun = rows.into_iter().rev().find(|row| row.run.as_ref() == Some(&run.id));
    begun.map_or_else(|| run.targets.join(" "), |row| row.asked)
}

/// A run as its journal tells it.
pub fn told(store: &mut dyn Store, run: &RunRow) -> Tale {
    let mut tale = Tale::default();
    match chat::journal(store, &run.id) {
        Ok(journal) => journal.iter().for_each(|line| tale.take(line)),
        Err(error) => log::say(format!("the journal of run {} could not be read: {error}", run.id.short())),
    }
    tale.run = Some(run.id.clone());
    tale.began = tale.began.or(Some(run.began));
    tale.state = (run.state != RunState::Running).then_some(run.state);
    tale.ended = run.ended;
    tale
}
