//! After a restart: every message that was left without its end gets one.

use std::sync::Arc;
use std::time::Duration;

use pmx::event::RunState;
use pmx::ops::chat::{AuditRow, RunRow, Store};
use pmx::ops::runs;

use crate::chat::{Ask, Card, ChatError, Heard, Posted, Route, Spot, Tone, Who};
use crate::desk::{Desk, REFUSED, refusal_card};
use crate::post::Message;
use crate::session::nonce;
use crate::{log, press, show};

/// How many unfinished answers are looked for; an evening leaves a few.
const ROWS: usize = 500;
/// How many runs are looked at for one that was begun and not noted.
const RECENT: usize = 500;
/// How often a run of another process is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often one message is tried.
const TRIES: u32 = 6;

/// What an earlier life left open. To be read before anything new is heard.
pub async fn left(desk: &Arc<Desk>) -> Vec<AuditRow> {
    let rows = desk.keeper.call(|store| store.audit(true, ROWS)).await;
    rows.unwrap_or_else(|error| {
        log::say(format!("the audit could not be read: {error}"));
        Vec::new()
    })
}

/// Gives each of them its end.
pub fn reconcile(desk: &Arc<Desk>, rows: Vec<AuditRow>) {
    for row in rows {
        tokio::spawn(one(Arc::clone(desk), row));
    }
}

async fn one(desk: Arc<Desk>, mut row: AuditRow) {
    if let Some(refusal) = row.answer.strip_prefix(REFUSED).map(str::to_owned) {
        let answer = row.answer.clone();
        // What only one person was to see is not told to all: Discord itself says that nobody answered.
        let secret = row.posted.as_deref().and_then(|owed| desk.owing(owed)).is_none_or(|(_, token)| token.is_some());
        return if secret {
            desk.answer(&AuditRow { posted: None, settled: true, ..row }).await;
        } else {
            end(&desk, row, refusal_card(&refusal), answer).await;
        };
    }
    let asked = row.clone();
    let run = desk.keeper.call(move |store| begun(store, &asked)).await;
    let label = row.asked.strip_prefix("resume ").unwrap_or(&row.asked).to_owned();
    let Some(run) = run else {
        let told = "I was restarted before this began: nothing was done. Say it again if you still want it.";
        let card = Card::new(Tone::Open, crate::card::plain(&label), told).footer(format!("asked by {}", name(&row)));
        return end(&desk, row, card, "interrupted before it began: nothing was done".to_owned()).await;
    };
    row.run = Some(run.id.clone());
    if run.state == RunState::Running {
        return follow(desk, row, label, run).await;
    }
    let (card, answer) = ending(&desk, &row, &label, &run).await;
    end(&desk, row, card, answer).await;
}

/// How a run that is over ended, as a card.
async fn ending(desk: &Arc<Desk>, row: &AuditRow, label: &str, run: &RunRow) -> (Card, String) {
    let again = run.clone();
    let tale = desk.keeper.call(move |store| press::told(store, &again)).await;
    let answer = match run.state {
        RunState::Interrupted => "interrupted: the bot's process ended in the middle of it".to_owned(),
        state => tale.failures().first().map_or_else(|| state.to_string(), |why| format!("{state}: {why}")),
    };
    (show::run(label, &tale, name(row), desk.now()), answer)
}

fn name(row: &AuditRow) -> &str {
    row.actor.as_str().rsplit_once('/').map_or(row.actor.as_str(), |(_, name)| name)
}

/// The run that a command became: as it was noted, else the newest one that its author began after it and that nobody else's row names.
fn begun(store: &mut dyn Store, row: &AuditRow) -> Option<RunRow> {
    if let Some(run) = &row.run {
        return runs::find(store, run.as_str()).ok();
    }
    // A look at who plays is a run too, of a call; a command is one of workflows.
    let named: Vec<_> = store.audit(false, ROWS).unwrap_or_default().into_iter().filter_map(|row| row.run).collect();
    let vm = row.asked.split_once(' ').map(|(_, vm)| vm.to_owned())?;
    let fits = |run: &RunRow| {
        let about = run.targets.iter().any(|target| target.ends_with(&format!("-{vm}"))) || run.inputs.contains(&format!("\"{vm}\""));
        run.actor == row.actor && run.began >= row.at && about && !named.contains(&run.id)
    };
    store.runs(RECENT).ok()?.into_iter().find(fits)
}

/// A run that another process goes on with is told to its end.
async fn follow(desk: Arc<Desk>, row: AuditRow, label: String, run: RunRow) {
    let Some(posted) = row.posted.as_deref().and_then(Posted::read) else {
        return desk.answer(&AuditRow { answer: "goes on in another process".to_owned(), settled: true, ..row }).await;
    };
    let shown = Card::new(Tone::Busy, &label, "");
    let live = Message::new(Arc::clone(&desk.chat), Arc::clone(&desk.clock), (posted, nonce(&row)), shown);
    loop {
        let id = run.id.clone();
        let now = desk.keeper.call(move |store| runs::find(store, id.as_str())).await;
        let Ok(now) = now else { break };
        let (card, answer) = ending(&desk, &row, &label, &now).await;
        if now.state != RunState::Running {
            let answer = match live.last(card).await {
                Ok(_) => answer,
                Err(error) => format!("{answer} (could not be shown: {error})"),
            };
            return desk.answer(&AuditRow { answer, settled: true, ..row }).await;
        }
        live.show(card);
        desk.clock.sleep(LOOK).await;
    }
}

/// Shows the end in the message that stands, or in the answer that is still owed.
async fn end(desk: &Arc<Desk>, mut row: AuditRow, card: Card, answer: String) {
    // The press itself stands in no message of its own.
    if row.asked.starts_with("button ") {
        return desk.answer(&AuditRow { answer, settled: true, ..row }).await;
    }
    let mut tried = 0;
    let shown = loop {
        tried += 1;
        match show(desk, &row, &card).await {
            Err(ChatError::Passing(_)) if tried < TRIES => desk.clock.sleep(Duration::from_secs(1 << tried)).await,
            other => break other,
        }
    };
    let answer = match shown {
        Ok(posted) => {
            row.posted = Some(posted.text());
            answer
        }
        Err(error) => format!("{answer} (could not be shown: {error})"),
    };
    desk.answer(&AuditRow { answer, settled: true, ..row }).await;
}

async fn show(desk: &Arc<Desk>, row: &AuditRow, card: &Card) -> Result<Posted, ChatError> {
    let stands = row.posted.as_deref().unwrap_or_default();
    if let Some(posted) = Posted::read(stands) {
        return match desk.chat.edit(&posted, card).await {
            Ok(()) => Ok(posted),
            Err(ChatError::Gone) => desk.chat.post(posted.channel, &nonce(row), card).await,
            Err(error) => Err(error),
        };
    }
    let (channel, token) = desk.owing(stands).ok_or(ChatError::Gone)?;
    let id = row.id.parse().unwrap_or_default();
    let route = match token {
        Some(token) => Route::Interaction { id, token },
        None => Route::Message { message: id },
    };
    let who = Who { id: 0, name: name(row).to_owned(), roles: Vec::new() };
    let spot = Spot { guild: None, guilds: 0, channel, name: None };
    let heard = Heard { id, at: row.at, who, spot, ask: Ask::Said(String::new()), route };
    match desk.chat.answer(&heard, card).await {
        // A message that was written just before the end is found by its nonce, as it was then.
        Ok(posted) => desk.chat.edit(&posted, card).await.map(|()| posted),
        Err(ChatError::Late(_)) => desk.chat.post(channel, &nonce(row), card).await,
        Err(error) => Err(error),
    }
}
