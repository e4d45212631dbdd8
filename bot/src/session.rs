//! A session: one command from the first answer to the last, with the run that it becomes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use pmx::event::{Event, Lasting, RunState, Stamped};
use pmx::name::RunId;
use pmx::ops::build::{self, Report, Request};
use pmx::ops::chat::{self, AuditRow, Confirmer, Doubt, Meaning, Question as Confirm, Recall, RunRow, Stop};
use pmx::ops::front::Front;
use pmx::ops::resume::Resuming;
use pmx::ops::site::Site;
use pmx::source::Diagnostic;
use tokio::sync::{Notify, watch};

use crate::card::plain;
use crate::chat::{Card, ChatError, Heard, Posted, Tone, Who};
use crate::desk::{Desk, Question, Seat, already};
use crate::log;
use crate::players::{self, Online};
use crate::post::Message;
use crate::show;
use crate::tale::Tale;

/// How long a question stands.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often running seconds are shown anew.
const TICK: Duration = Duration::from_secs(5);
/// How many runs are looked at for one that does the same already.
const RECENT: usize = 50;
/// How often a first answer is tried.
const TRIES: u32 = 5;

/// What somebody wants done.
pub struct Wish {
    /// `stop calamity`.
    pub label: String,
    /// The VM.
    pub vm: String,
    /// The action.
    pub action: String,
    /// What to build.
    pub meaning: Meaning,
    /// Whether it destroys something.
    pub destroys: bool,
    /// The call that tells who plays there.
    pub players: Option<String>,
}

/// What is to be run.
pub struct Job {
    /// Targets.
    pub targets: Vec<String>,
    /// Inputs.
    pub inputs: Vec<String>,
    /// The run to go on with instead.
    pub resume: Option<String>,
    /// Names whose destruction was confirmed.
    pub confirmed: BTreeSet<String>,
    /// What somebody knows of doubts.
    pub recall: Recall,
}

/// Somebody's command, from its seat to its last card.
pub async fn act(desk: Arc<Desk>, heard: Heard, wish: Wish, (seat, stop): (Seat, watch::Receiver<Stop>)) {
    let Some(mut row) = begin(&desk, &heard, &wish.label).await else { return };
    if let Some(other) = elsewhere(&desk, &wish).await {
        let told = already(&wish.action, &plain(other.actor.as_str()), other.began, desk.now());
        return once(&desk, &heard, row, (Card::new(Tone::Open, &wish.label, &told), told.clone())).await;
    }
    let steps = match steps(&desk.front, &wish.meaning) {
        Ok(steps) => steps,
        Err(complaints) => {
            let told = sentence(&complaints);
            let card = Card::new(Tone::Bad, &wish.label, plain(&told));
            return once(&desk, &heard, row, (card, format!("failed: {told}"))).await;
        }
    };
    let tale = Tale::of(steps);
    let asks = wish.destroys || matches!(wish.action.as_str(), "stop" | "reboot");
    let first = match &wish.players {
        Some(_) if asks => Card::new(Tone::Busy, &wish.label, "Looking who is playing…"),
        _ => Card::new(Tone::Busy, &wish.label, tale.body(desk.now(), show::BODY)),
    };
    let first = first.footer(format!("asked by {}", heard.who.name));
    let Some(posted) = answer(&desk, &heard, &first, &mut row).await else { return };
    let live = Message::new(Arc::clone(&desk.chat), Arc::clone(&desk.clock), (posted, nonce(&row)), first);
    let play = Play { desk, who: heard.who, label: wish.label.clone(), tale: Arc::new(Mutex::new(tale)), live, row, seat };
    let (play, sure) = if asks { play.make_sure(&wish).await } else { (play, Ok(false)) };
    match sure {
        Err((card, answer)) => play.end(card, answer).await,
        Ok(sure) => {
            let confirmed = if sure && wish.destroys { BTreeSet::from([wish.vm]) } else { BTreeSet::new() };
            let Meaning { targets, inputs } = wish.meaning;
            play.drive(Job { targets, inputs, resume: None, confirmed, recall: Recall::Unknown }, stop).await;
        }
    }
}

/// Says that an answer comes and writes the first row of the audit. `None`: it was heard before, or nobody can be answered.
pub async fn begin(desk: &Arc<Desk>, heard: &Heard, asked: &str) -> Option<AuditRow> {
    let row = AuditRow { posted: Some(desk.owed(heard)), ..desk.row(heard, asked) };
    // Before Discord hears of it, so that no answer is promised that a restart would not know of. It takes milliseconds, and Discord waits three seconds.
    if !desk.hear(&row).await {
        return None;
    }
    match desk.chat.defer(heard).await {
        Ok(()) => Some(row),
        Err(error) => {
            let answer = format!("nothing was done, because it could not be answered: {error}");
            log::say(format!("{asked} by {}: {answer}", row.actor));
            desk.answer(&AuditRow { answer, settled: true, ..row }).await;
            None
        }
    }
}

/// The first answer that all can see, tried again when the network fails; kept in the audit so that an end of the bot does not lose it.
pub async fn answer(desk: &Arc<Desk>, heard: &Heard, card: &Card, row: &mut AuditRow) -> Option<Posted> {
    let mut tried = 0;
    let posted = loop {
        tried += 1;
        match desk.chat.answer(heard, card).await {
            Ok(posted) => break posted,
            Err(ChatError::Passing(_)) if tried < TRIES => desk.clock.sleep(Duration::from_secs(1 << tried)).await,
            Err(error) => {
                log::say(format!("{} by {}: nothing was done, because it could not be shown: {error}", row.asked, row.actor));
                row.answer = format!("nothing was done, because it could not be shown: {error}");
                row.settled = true;
                desk.answer(row).await;
                return None;
            }
        }
    };
    row.posted = Some(posted.text());
    desk.answer(row).await;
    Some(posted)
}

/// An answer that is the last one at once.
pub async fn once(desk: &Arc<Desk>, heard: &Heard, mut row: AuditRow, (card, told): (Card, String)) {
    let card = card.footer(format!("asked by {}", heard.who.name));
    if answer(desk, heard, &card, &mut row).await.is_some() {
        desk.answer(&AuditRow { answer: told, settled: true, ..row }).await;
    }
}

/// The name of the message that takes the place of a deleted one; Discord takes 25 characters.
pub fn nonce(row: &AuditRow) -> String {
    format!("p{}", row.id).chars().take(25).collect()
}

/// A run of somebody else, a terminal say, that does the same.
async fn elsewhere(desk: &Arc<Desk>, wish: &Wish) -> Option<RunRow> {
    let (targets, vm) = (wish.meaning.targets.clone(), wish.vm.clone());
    let named = !wish.meaning.inputs.is_empty();
    let same = move |row: &RunRow| {
        row.state == RunState::Running && row.targets == targets && (!named || row.inputs.contains(&format!("\"{vm}\"")))
    };
    desk.keeper.call(move |store| store.runs(RECENT).ok()?.into_iter().find(same)).await
}

/// The steps that a build will have.
fn steps(front: &Front, meaning: &Meaning) -> Result<Vec<String>, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    Ok(chat::outline(&site, meaning)?.steps)
}

/// Complaints as one line.
pub fn sentence(complaints: &[Diagnostic]) -> String {
    complaints.first().map_or_else(|| "nobody said why".to_owned(), ToString::to_string)
}

/// A command whose message stands.
pub struct Play {
    /// The desk.
    pub desk: Arc<Desk>,
    /// Who asked.
    pub who: Who,
    /// `stop calamity`.
    pub label: String,
    /// The run by now.
    pub tale: Arc<Mutex<Tale>>,
    /// Its message.
    pub live: Message,
    /// Its row in the audit.
    pub row: AuditRow,
    /// Its seat at the VM.
    pub seat: Seat,
}

fn locked(tale: &Mutex<Tale>) -> MutexGuard<'_, Tale> {
    tale.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Play {
    /// Asks where players are, or something is destroyed. `Ok(true)`: somebody said yes; `Ok(false)`: there was nothing to ask.
    async fn make_sure(self, wish: &Wish) -> (Self, Result<bool, (Card, String)>) {
        let online = match &wish.players {
            None => Online::Nobody,
            Some(call) => players::look(&self.desk, &self.who, call).await,
        };
        let mut text = match &online {
            Online::Nobody if !wish.destroys => return (self, Ok(false)),
            Online::Nobody => String::new(),
            Online::Some(count, names) => players::sentence(*count, names),
            Online::Unknown(why) => format!("I could not find out who is playing: {}.", crate::card::cut(&plain(why), 500)),
        };
        if wish.destroys {
            text.push_str(" This cannot be undone.");
        }
        let id = self.row.id.clone();
        let answered = self.desk.ask(&id, Question { destroys: wish.destroys });
        let body = format!("{text}\n{} all the same?", plain(&capital(&wish.label)));
        let card = Card::new(Tone::Open, &self.label, body.trim())
            .footer(format!("asked by {}", self.who.name))
            .button(format!("yes:{id}"), &capital(&wish.label), true)
            .button(format!("no:{id}"), "Leave it", false);
        self.live.show(card);
        let reply = tokio::select! {
            reply = answered => reply.ok(),
            () = self.desk.clock.sleep(PATIENCE) => None,
        };
        self.desk.settle(&id, None);
        let told = match reply {
            Some((true, _)) => return (self, Ok(true)),
            Some((false, by)) => format!("Nothing was done: <@{}> said to leave it.", by.id),
            None if self.desk.closing() => "Nothing was done: I was going down before anybody answered.".to_owned(),
            None => format!("Nothing was done: nobody answered within {}.", Lasting(PATIENCE)),
        };
        let card = Card::new(Tone::Open, &self.label, format!("{}\n{told}", text.trim()).trim());
        (self, Err((card, told)))
    }

    /// Shows the last card and settles the audit.
    pub async fn end(mut self, card: Card, answer: String) {
        // Before anybody can see that it is over.
        self.seat.leave();
        let card = if card.footer.is_empty() { card.footer(format!("asked by {}", self.who.name)) } else { card };
        let shown = self.live.last(card).await;
        let answer = match shown {
            Ok(posted) if self.row.posted.as_deref() == Some(&posted.text()) => answer,
            Ok(posted) => format!("{answer} (its message was deleted; told again as {})", posted.text()),
            Err(error) => {
                log::say(format!("the end of `{}` could not be shown: {error}", self.label));
                format!("{answer} (could not be shown: {error})")
            }
        };
        self.desk.answer(&AuditRow { answer, settled: true, ..self.row }).await;
    }

    /// Runs it, shows how it goes, and how it ended.
    pub async fn drive(mut self, job: Job, stop: watch::Receiver<Stop>) {
        let news = Arc::new(Notify::new());
        let doubts = Arc::new(Mutex::new(Vec::new()));
        let resumed = job.resume.clone();
        let request = self.request(job, stop, (&news, &doubts));
        let front = Front { actor: self.who.actor(), ..self.desk.front.clone() };
        let mut building = tokio::spawn(async move { build::build(&front, request).await });
        let done = loop {
            let ticks = locked(&self.tale).ticks();
            tokio::select! {
                done = &mut building => break done,
                () = news.notified() => {}
                () = self.desk.clock.sleep(TICK), if ticks => {}
            }
            let (run, card) = self.card();
            if self.row.run.is_none() && run.is_some() {
                self.row.run = run;
                self.row.answer = "under way".to_owned();
                self.desk.answer(&self.row).await;
            }
            self.live.show(card);
        };
        match done {
            Ok(Ok(report)) => {
                let told = ended(&report);
                let (run, card) = self.card();
                self.row.run = run.or(Some(report.run));
                self.end(card, told).await;
            }
            Ok(Err(complaints)) => self.refused(&complaints, resumed, &doubts).await,
            Err(error) => {
                log::say(format!("a bug: the run of `{}` panicked: {error}", self.label));
                let card =
                    Card::new(Tone::Bad, &self.label, "This is a bug of mine: the run ended by itself. `pmx runs` tells how far it came.");
                self.end(card, "failed: a bug: the run panicked".to_owned()).await;
            }
        }
    }

    fn request(&self, job: Job, stop: watch::Receiver<Stop>, (news, doubts): (&Arc<Notify>, &Arc<Mutex<Vec<Doubt>>>)) -> Request {
        let (tale, heard) = (Arc::clone(&self.tale), Arc::clone(news));
        Request {
            targets: job.targets,
            inputs: job.inputs,
            resume: job.resume.map(|run| Resuming { run, assume: Vec::new() }),
            jobs: None,
            keep_going: false,
            wait: true,
            confirmer: Arc::new(Answers { confirmed: job.confirmed, recall: job.recall, doubts: Arc::clone(doubts) }),
            // Folding an event takes microseconds; showing it is somebody else's work.
            listener: Arc::new(move |stamped: &Stamped| {
                locked(&tale).take(stamped);
                if !matches!(stamped.event, Event::Output { .. }) {
                    heard.notify_one();
                }
            }),
            stop,
        }
    }

    fn card(&self) -> (Option<RunId>, Card) {
        let tale = locked(&self.tale);
        (tale.run.clone(), show::run(&self.label, &tale, &self.who.name, self.desk.now()))
    }

    /// The run did not begin.
    async fn refused(self, complaints: &[Diagnostic], resumed: Option<String>, doubts: &Mutex<Vec<Doubt>>) {
        let told = sentence(complaints);
        let doubts = std::mem::take(&mut *doubts.lock().unwrap_or_else(PoisonError::into_inner));
        let card = match (doubts.first(), resumed) {
            (Some(doubt), Some(run)) => {
                let text = format!(
                    "Nobody knows whether **{}** happened: {}. Did it?",
                    plain(&doubt.step),
                    plain(doubt.why.as_deref().unwrap_or("its process died"))
                );
                Card::new(Tone::Open, &self.label, text).button(format!("done:{run}"), "It happened", false).button(
                    format!("again:{run}"),
                    "Do it again",
                    true,
                )
            }
            _ => Card::new(Tone::Bad, &self.label, plain(&told)),
        };
        self.end(card, format!("failed: {told}")).await;
    }
}

/// How a run ended, for the audit.
fn ended(report: &Report) -> String {
    match report.ran.failures.first() {
        Some((step, failure)) => format!("{}: {step}: {}", report.ran.state, failure.message),
        None => report.ran.state.to_string(),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What people said before the run began; nobody is asked in it.
struct Answers {
    confirmed: BTreeSet<String>,
    recall: Recall,
    doubts: Arc<Mutex<Vec<Doubt>>>,
}

impl Confirmer for Answers {
    fn could_confirm(&self, name: &str) -> bool {
        self.confirmed.contains(name)
    }

    fn confirm<'a>(&'a self, question: &'a Confirm) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.confirmed.contains(&question.name) })
    }

    fn recall<'a>(&'a self, doubt: &'a Doubt) -> BoxFuture<'a, Recall> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner).push(doubt.clone());
        Box::pin(async move { self.recall })
    }
}
