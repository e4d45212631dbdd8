//! The desk: everything that is heard comes here, is let in or refused, and becomes a session of its own.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pmx::event::{Lasting, Time};
use pmx::ops::chat::{AuditRow, Clock, Keeper, Sealer, Stop, StoreError};
use pmx::ops::front::Front;
use tokio::sync::{oneshot, watch};

use crate::access::Cooldowns;
use crate::book::{Book, Known};
use crate::card::plain;
use crate::chat::{Ask, Card, Chat, Heard, Route, Token, Tone, Who};
use crate::command::{self, Command};
use crate::{log, press, session, show};

/// Ids that are remembered to know a repetition; the store knows the older ones.
const SEEN: usize = 4096;

/// All that sessions share.
pub struct Desk {
    /// The chat.
    pub chat: Arc<dyn Chat>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The surroundings, with the bot itself as who asks.
    pub front: Front,
    /// The rules.
    pub book: Book,
    /// The store.
    pub keeper: Keeper,
    /// Seals with the store's key.
    pub sealer: Arc<dyn Sealer>,
    /// How the bot is mentioned, once it knows: `<@id>`.
    pub mention: OnceLock<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: (HashSet<u64>, VecDeque<u64>),
    cooldowns: Cooldowns,
    busy: BTreeMap<(String, String), Busy>,
    questions: HashMap<String, (Question, oneshot::Sender<(bool, Who)>)>,
    stops: BTreeMap<u64, watch::Sender<Stop>>,
    sessions: u64,
    closing: bool,
}

/// A question that somebody may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whether only those may say yes who may destroy.
    pub destroys: bool,
}

/// Who does what to a VM.
#[derive(Clone, Debug)]
pub struct Busy {
    /// Who asked.
    pub by: u64,
    /// When.
    pub since: Time,
}

/// A seat at a VM: given back when it is dropped.
pub struct Seat {
    desk: Arc<Desk>,
    key: Option<(String, String)>,
    session: u64,
}

impl Seat {
    /// Leaves the VM to others; what is left is to be told.
    pub fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            self.desk.state().busy.remove(&key);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
        self.desk.state().stops.remove(&self.session);
    }
}

impl Desk {
    /// A desk where nobody sits yet.
    pub fn new(
        chat: Arc<dyn Chat>,
        clock: Arc<dyn Clock>,
        front: Front,
        (book, keeper, sealer): (Book, Keeper, Arc<dyn Sealer>),
    ) -> Arc<Self> {
        Arc::new(Self { chat, clock, front, book, keeper, sealer, mention: OnceLock::new(), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Takes what was heard. Returns soon: all that takes time is a task of its own.
    pub fn take(self: &Arc<Self>, heard: Heard) {
        if let Ask::Typing { name, typed } = &heard.ask {
            let desk = Arc::clone(self);
            let (name, typed) = (name.clone(), typed.clone());
            tokio::spawn(async move {
                let known = desk.known().await;
                let choices = command::completions(&known.table, &name, &typed);
                if let Err(error) = desk.chat.choices(&heard, &choices).await {
                    log::say(format!("completions could not be offered: {error}"));
                }
            });
            return;
        }
        if !self.claim(heard.id) {
            return;
        }
        let desk = Arc::clone(self);
        tokio::spawn(async move { desk.serve(heard).await });
    }

    /// Whether an id is heard for the first time; from now on it is not.
    pub fn claim(&self, id: u64) -> bool {
        let mut state = self.state();
        let (known, order) = &mut state.seen;
        if !known.insert(id) {
            return false;
        }
        order.push_back(id);
        if order.len() > SEEN
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    /// What the files say now; read beside the other tasks.
    pub async fn known(self: &Arc<Self>) -> Arc<Known> {
        let (desk, now) = (Arc::clone(self), self.now());
        let read = tokio::task::spawn_blocking(move || desk.book.now(now)).await;
        read.unwrap_or_else(|_| self.book.now(self.now()))
    }

    async fn serve(self: Arc<Self>, heard: Heard) {
        let known = self.known().await;
        let command = match &heard.ask {
            Ask::Said(text) => {
                if !known.rules.listens(&heard.spot) && heard.spot.guild.is_some() {
                    return;
                }
                let mention = self.mention.get().map(String::as_str).unwrap_or_default();
                match command::said(&known.table, &known.prefix, mention, text) {
                    None => return,
                    Some(command) => command,
                }
            }
            Ask::Command { name, vm } => command::command(&known.table, name, vm.as_deref()),
            Ask::Press { .. } => return press::press(self, heard, &known).await,
            Ask::Typing { .. } => return,
        };
        if let Err(refusal) = known.rules.admit(&heard.who, &heard.spot) {
            let asked = command.as_ref().map_or_else(|_| "something unknown".to_owned(), Command::label);
            return self.refuse(&heard, &asked, &refusal).await;
        }
        match command {
            Err(mistake) => self.refuse(&heard, "something unknown", &mistake).await,
            Ok(command) => self.begin(heard, command, &known).await,
        }
    }

    async fn begin(self: Arc<Self>, heard: Heard, command: Command, known: &Known) {
        let label = command.label();
        if self.state().closing {
            return self.refuse(&heard, &label, "I am going down; ask me again in a minute.").await;
        }
        let Command::Act { action, vm } = command else {
            let list = command == Command::List;
            return if list { show::list(self, heard).await } else { show::help(self, heard, known).await };
        };
        if action == "status" {
            return show::status(self, heard, vm, known).await;
        }
        if let Some(trouble) = &known.trouble {
            return self
                .refuse(&heard, &label, &format!("The project's files are broken, so nothing can be done: {}", plain(trouble)))
                .await;
        }
        let destroys = known.destructive.contains(&(vm.clone(), action.clone()));
        if destroys && let Err(refusal) = known.rules.admit_admin(&heard.who) {
            return self.refuse(&heard, &label, &refusal).await;
        }
        if let Some(busy) = self.busy(&vm, &action) {
            return self.refuse(&heard, &label, &already(&action, &format!("<@{}>", busy.by), busy.since, self.now())).await;
        }
        let cooled = self.state().cooldowns.take((heard.who.id, &vm), known.rules.cooldown, heard.at);
        if let Err(refusal) = cooled {
            return self.refuse(&heard, &label, &refusal).await;
        }
        let Some(meaning) = known.meanings.get(&(vm.clone(), action.clone())).cloned() else {
            return self.refuse(&heard, &label, "Nothing in this project does that.").await;
        };
        let (seat, stop) = match self.sit(Some((&vm, &action)), &heard.who) {
            Ok(seat) => seat,
            Err(busy) => {
                let told = already(&action, &format!("<@{}>", busy.by), busy.since, self.now());
                return self.refuse(&heard, &label, &told).await;
            }
        };
        let players = known.players.get(&vm).cloned();
        let wish = session::Wish { label, vm, action, meaning, destroys, players };
        session::act(self, heard, wish, (seat, stop)).await;
    }

    fn busy(&self, vm: &str, action: &str) -> Option<Busy> {
        self.state().busy.get(&(vm.to_owned(), action.to_owned())).cloned()
    }

    /// A seat for a session, at a VM if it acts on one; whoever has it already otherwise.
    pub fn sit(self: &Arc<Self>, at: Option<(&str, &str)>, who: &Who) -> Result<(Seat, watch::Receiver<Stop>), Busy> {
        let (stopper, stop) = watch::channel(Stop::No);
        let now = self.now();
        let mut state = self.state();
        let key = at.map(|(vm, action)| (vm.to_owned(), action.to_owned()));
        if let Some(key) = &key {
            if let Some(busy) = state.busy.get(key) {
                return Err(busy.clone());
            }
            state.busy.insert(key.clone(), Busy { by: who.id, since: now });
        }
        state.sessions += 1;
        let session = state.sessions;
        if state.closing {
            stopper.send_replace(Stop::Starting);
        }
        state.stops.insert(session, stopper);
        Ok((Seat { desk: Arc::clone(self), key, session }, stop))
    }

    /// Refuses, for whoever asked to see, and keeps it in the audit.
    pub async fn refuse(&self, heard: &Heard, asked: &str, refusal: &str) {
        let row = AuditRow { answer: format!("{REFUSED}{refusal}"), posted: Some(self.owed(heard)), ..self.row(heard, asked) };
        if !self.hear(&row).await {
            return;
        }
        if let Err(error) = self.chat.whisper(heard, &refusal_card(refusal)).await {
            log::say(format!("a refusal could not be shown: {error}"));
        }
        // Only now: a message may wait for seconds until Discord takes it, and a bot that dies meanwhile still owes it.
        self.answer(&AuditRow { posted: None, settled: true, ..row }).await;
    }

    /// A row of the audit for what was heard.
    pub fn row(&self, heard: &Heard, asked: &str) -> AuditRow {
        AuditRow {
            id: heard.id.to_string(),
            at: heard.at,
            actor: heard.who.actor(),
            place: heard.spot.label(),
            asked: asked.to_owned(),
            answer: String::new(),
            run: None,
            posted: None,
            settled: false,
        }
    }

    /// Where an answer is owed, for the row that is written before there is one: the channel, and how to get there after a restart. A token is sealed.
    pub fn owed(&self, heard: &Heard) -> String {
        let how = match &heard.route {
            Route::Message { .. } => "reply".to_owned(),
            Route::Interaction { token, .. } => {
                let sealed = self.sealer.seal(token.expose().as_bytes());
                sealed.iter().map(|byte| format!("{byte:02x}")).collect()
            }
        };
        format!("{}/0/{how}", heard.spot.channel)
    }

    /// What is owed, as a row has it: the channel, and the token of an interaction.
    pub fn owing(&self, text: &str) -> Option<(u64, Option<Token>)> {
        let (channel, rest) = text.split_once("/0/")?;
        let hex = |at: usize| u8::from_str_radix(rest.get(at..at + 2)?, 16).ok();
        let token = match rest {
            "reply" => None,
            _ => {
                let sealed = (0..rest.len()).step_by(2).map(hex).collect::<Option<Vec<u8>>>()?;
                let opened = self.sealer.open(&sealed)?;
                Some(Token::new(std::str::from_utf8(&opened).ok()?))
            }
        };
        Some((channel.parse().ok()?, token))
    }

    /// Writes the first row; `false` when it was heard before, in this life or an earlier one.
    pub async fn hear(&self, row: &AuditRow) -> bool {
        let first = row.clone();
        self.told(self.keeper.call(move |store| store.heard(&first)).await).unwrap_or(true)
    }

    /// Writes the row again.
    pub async fn answer(&self, row: &AuditRow) {
        let again = row.clone();
        self.told(self.keeper.call(move |store| store.answered(&again)).await);
    }

    /// The answer of the store; its trouble goes to the log, because chat goes on without an audit rather than not at all.
    fn told<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        answer.map_err(|error| log::say(format!("the audit could not be written: {error}"))).ok()
    }

    /// Asks a question of everybody who may answer.
    pub fn ask(&self, id: &str, question: Question) -> oneshot::Receiver<(bool, Who)> {
        let (answer, answered) = oneshot::channel();
        self.state().questions.insert(id.to_owned(), (question, answer));
        answered
    }

    /// Which question that is, if it still stands.
    pub fn question(&self, id: &str) -> Option<Question> {
        self.state().questions.get(id).map(|(question, _)| *question)
    }

    /// Answers a question, or takes it back by answering nothing; `false` when somebody was faster.
    pub fn settle(&self, id: &str, answer: Option<(bool, Who)>) -> bool {
        let Some((_, sender)) = self.state().questions.remove(id) else { return false };
        answer.is_none_or(|answer| sender.send(answer).is_ok())
    }

    /// From now on nothing new begins, and what runs is stopped so far.
    pub fn close(&self, how: Stop) {
        let mut state = self.state();
        state.closing = true;
        // Nobody will answer any more.
        state.questions.clear();
        for stop in state.stops.values() {
            stop.send_replace(how);
        }
    }

    /// Whether it is closing.
    pub fn closing(&self) -> bool {
        self.state().closing
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.state().stops.len()
    }
}

/// How the answer of a refusal begins in the audit.
pub const REFUSED: &str = "refused: ";

/// A refusal as it is shown.
pub fn refusal_card(refusal: &str) -> Card {
    Card::new(Tone::Bad, "No", refusal)
}

/// `Already stopping: started by @x 20 s ago.`
pub fn already(action: &str, by: &str, since: Time, now: Time) -> String {
    let doing = match action {
        "start" => "starting".to_owned(),
        "stop" => "stopping".to_owned(),
        "reboot" => "rebooting".to_owned(),
        "update" => "updating".to_owned(),
        other => format!("at it ({other})"),
    };
    format!("Already {doing}: started by {by} {} ago.", Lasting(now.since(since)))
}
