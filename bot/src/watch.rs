//! The watch: keeps the bot connected, hands on what is heard, and takes it down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pmx::ops::chat::{AuditRow, Clock, Keeper, Stop, SystemClock};
use pmx::ops::site::Site;
use pmx::ops::world;
use pmx::source::Diagnostic;
use serenity::all::{ApplicationFlags, ChannelId, GatewayIntents, MessageId, MessagePagination};
use tokio::signal::unix::{Signal as Unix, SignalKind, signal};
use tokio::sync::mpsc;

use crate::book::Book;
use crate::chat::{Card, Chat, ChatError, Tone};
use crate::command;
use crate::desk::Desk;
use crate::discord::{self, Discord};
use crate::environment::{self, Arguments, Settings};
use crate::gateway::{Ear, Ended, Life, Patience, Signal};
use crate::{log, reconcile};

/// What ends the bot: an exit code as pmx has them, and a sentence.
type Failure = (u8, String);

/// How long runs may come to a safe point by themselves, and how long after that they may be cancelled: together less than the ten seconds after which
/// `docker stop` kills.
const SAFE: [(Stop, Duration); 2] = [(Stop::Starting, Duration::from_secs(5)), (Stop::Running, Duration::from_secs(4))];

const CONTENT: &str = "Discord Developer Portal → your application → Bot → Privileged Gateway Intents → MESSAGE CONTENT INTENT";

/// The whole bot.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (front, settings) = environment::read(arguments).map_err(yours)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let book = Book::open(&front, clock.now()).map_err(|complaints| yours(all(&complaints)))?;
    for line in book.overridden() {
        log::say(line);
    }
    if arguments.check {
        return check(&book, &*clock);
    }
    let settings = settings.map_err(yours)?;
    let site = Site::find(&front).map_err(|complaints| yours(all(&complaints)))?;
    let opened = world::open_or_create(&site, &front).map_err(|complaint| yours(complaint.to_string()))?;
    let (keeper, sealer) = (Keeper::start(opened.store), opened.key);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| (70, format!("no runtime: {error}")))?;
    let ended = runtime.block_on(async {
        let http = discord::client(&settings).map_err(yours)?;
        let chat = Arc::new(Discord::new(http, Arc::clone(&clock)));
        let desk = Desk::new(Arc::clone(&chat) as Arc<dyn Chat>, Arc::clone(&clock), front, (book, keeper, sealer));
        Watch::new(settings, chat, desk, clock).keep().await
    });
    runtime.shutdown_background();
    ended
}

fn yours(why: impl Into<String>) -> Failure {
    (2, why.into())
}

fn all(complaints: &[Diagnostic]) -> String {
    complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn check(book: &Book, clock: &dyn Clock) -> Result<(), Failure> {
    let known = book.now(clock.now());
    let rules = &known.rules;
    let named = |name: &Option<String>| name.clone().unwrap_or_else(|| "nobody".to_owned());
    let channel = rules.channel.clone().unwrap_or_else(|| "every channel".to_owned());
    log::say(format!("channel {channel}, role {}, admins {}, prefix {}", named(&rules.role), named(&rules.admins), known.prefix));
    for (vm, actions) in &known.table {
        log::say(format!("{vm}: {}", actions.join(", ")));
    }
    Ok(())
}

struct Watch {
    settings: Settings,
    chat: Arc<Discord>,
    desk: Arc<Desk>,
    clock: Arc<dyn Clock>,
    patience: Patience,
    guilds: BTreeSet<u64>,
    content: bool,
    left: Option<Vec<AuditRow>>,
}

/// What comes next after a life of the client.
enum Next {
    Again(Duration),
    End(Result<(), Failure>),
}

impl Watch {
    fn new(settings: Settings, chat: Arc<Discord>, desk: Arc<Desk>, clock: Arc<dyn Clock>) -> Self {
        Self { settings, chat, desk, clock, patience: Patience::default(), guilds: BTreeSet::new(), content: true, left: None }
    }

    async fn keep(mut self) -> Result<(), Failure> {
        let listen = |kind| signal(kind).map_err(|error| (70, format!("signals cannot be heard: {error}")));
        let mut signals = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        self.left = Some(reconcile::left(&self.desk).await);
        let (sender, mut heard) = mpsc::channel(1024);
        let ear = Arc::new(Ear::new(sender, Arc::clone(&self.clock)));
        let url = tokio::select! {
            url = self.greet() => url?,
            () = told(&mut signals) => return Ok(()),
        };
        loop {
            let pause = match self.live(&ear, &url, (&mut heard, &mut signals)).await {
                Next::End(result) => return result,
                Next::Again(pause) => pause,
            };
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = told(&mut signals) => return self.down(&mut signals).await,
            }
        }
    }

    /// Asks Discord who the bot is and where its gateway is, with waits that grow while it does not answer.
    async fn greet(&mut self) -> Result<String, Failure> {
        let mut tried = 0;
        loop {
            match self.introduce().await {
                Ok(url) => return Ok(url),
                Err(Ok(failure)) => return Err(failure),
                Err(Err(why)) => {
                    tried += 1;
                    let wait = Duration::from_secs(5 << tried.min(6));
                    log::say(format!("{why}; next try in {} s", wait.as_secs()));
                    self.clock.sleep(wait).await;
                }
            }
        }
    }

    /// The inner error: worth another try.
    async fn introduce(&mut self) -> Result<String, Result<Failure, String>> {
        let told = |error: ChatError| match error {
            ChatError::Passing(why) => Err(why),
            ChatError::Refused(why) if why.contains("said 401") => Ok(bad_token()),
            other => Ok((1, other.to_string())),
        };
        let http = &self.chat.http;
        let (id, flags) = self.chat.application().await.map_err(told)?;
        http.set_application_id(id.into());
        let allowed = ApplicationFlags::GATEWAY_MESSAGE_CONTENT | ApplicationFlags::GATEWAY_MESSAGE_CONTENT_LIMITED;
        self.content = flags.is_none_or(|flags| flags & allowed.bits() != 0);
        if !self.content {
            self.without_content();
        }
        let url = http.get_gateway().await.map_err(|error| told(discord::refused(&error)))?.url;
        // serenity would fall back to the real gateway, with whatever token it has.
        let host = url.split_once("://").map(|(_, rest)| rest.trim_end_matches('/')).unwrap_or_default();
        let good = match &self.settings.elsewhere {
            None => url.starts_with("wss://") && (host == "discord.gg" || host.ends_with(".discord.gg")),
            Some(_) => host.parse::<std::net::SocketAddr>().is_ok_and(|at| at.ip().is_loopback()),
        };
        if good { Ok(url) } else { Err(Ok((1, format!("Discord names the gateway {url}, where the token shall not go")))) }
    }

    fn without_content(&self) {
        log::say(format!(
            "{} is off, so messages cannot be read: slash commands and mentions of the bot work all the same. To turn it on: {CONTENT}",
            "MESSAGE CONTENT INTENT"
        ));
    }

    /// One life of the client.
    async fn live(&mut self, ear: &Arc<Ear>, url: &str, (heard, signals): (&mut mpsc::Receiver<Signal>, &mut (Unix, Unix))) -> Next {
        let http = match discord::client(&self.settings) {
            Ok(http) => http,
            Err(why) => return Next::End(Err(yours(why))),
        };
        let mut intents = GatewayIntents::GUILDS | GatewayIntents::GUILD_MESSAGES | GatewayIntents::DIRECT_MESSAGES;
        if self.content {
            intents |= GatewayIntents::MESSAGE_CONTENT;
        }
        let mut life = Life::begin(http, intents, Arc::clone(ear), url.to_owned());
        loop {
            tokio::select! {
                signal = heard.recv() => {
                    if let Some(pause) = signal.and_then(|signal| self.take(signal, ear)) {
                        log::say(format!("no session with Discord comes about; staying away for {} s", pause.as_secs()));
                        return Next::Again(pause);
                    }
                }
                ended = &mut life.ended => return self.over(ended.unwrap_or_else(|_| Ended::Other("its thread ended".to_owned()))),
                () = told(signals) => return Next::End(self.down(signals).await),
            }
        }
    }

    fn take(&mut self, signal: Signal, ear: &Arc<Ear>) -> Option<Duration> {
        match signal {
            Signal::Heard(heard) => self.desk.take(heard),
            Signal::Standing(connected) => return self.patience.look(connected, self.clock.elapsed()),
            Signal::Ready { me } => {
                log::say("connected");
                // It is the same in every session.
                let _ = self.desk.mention.set(format!("<@{me}>"));
                if let Some(rows) = self.left.take() {
                    reconcile::reconcile(&self.desk, rows);
                    tokio::spawn(keep_commands(Arc::clone(&self.desk), Arc::clone(&self.chat), Arc::clone(ear)));
                }
            }
            Signal::Guild(guild) => {
                let new = self.guilds.insert(guild);
                tokio::spawn(settle_in(Arc::clone(&self.desk), Arc::clone(&self.chat), Arc::clone(ear), (guild, new, self.content)));
            }
        }
        None
    }

    fn over(&mut self, ended: Ended) -> Next {
        match ended {
            Ended::Token => Next::End(Err(bad_token())),
            Ended::Intents if self.content => {
                self.content = false;
                self.without_content();
                Next::Again(Duration::from_secs(1))
            }
            Ended::Intents => {
                let why = format!(
                    "Discord refuses the intents of this application (close 4014). Turn them on: {CONTENT}, and check that the application is not limited"
                );
                Next::End(Err((1, why)))
            }
            Ended::Other(why) => {
                let pause = self.patience.pause();
                log::say(format!("the connection ended: {why}; again in {} s", pause.as_secs()));
                Next::Again(pause)
            }
        }
    }

    /// Lets runs come to a safe point and shows how far they came; a second signal ends the wait.
    async fn down(&self, signals: &mut (Unix, Unix)) -> Result<(), Failure> {
        log::say(format!("going down; {} things are under way", self.desk.sessions()));
        for (how, most) in SAFE {
            self.desk.close(how);
            let until = self.clock.elapsed() + most;
            while self.desk.sessions() > 0 && self.clock.elapsed() < until {
                tokio::select! {
                    () = self.clock.sleep(Duration::from_millis(50)) => {}
                    () = told(signals) => break,
                }
            }
        }
        match self.desk.sessions() {
            0 => log::say("everything is at a safe point"),
            left => log::say(format!("{left} things were still under way; their messages get their end at the next start")),
        }
        Ok(())
    }
}

async fn told((terminate, interrupt): &mut (Unix, Unix)) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn bad_token() -> Failure {
    let fix = "Discord Developer Portal → your application → Bot → Reset Token; put the new one into the bot's .env as DISCORD_TOKEN";
    (2, format!("Discord does not know this token (close 4004). {fix}"))
}

/// Registers the commands of a server, and answers what was said while nobody listened.
async fn settle_in(desk: Arc<Desk>, chat: Arc<Discord>, ear: Arc<Ear>, (guild, new, content): (u64, bool, bool)) {
    let known = desk.known().await;
    if known.rules.guild.is_some_and(|only| only != guild) {
        return;
    }
    if new {
        register(&chat, guild, &command::entries(&known.table)).await;
    }
    let channel = known.rules.channel.as_ref().and_then(|wanted| ear.channel(wanted)).filter(|(of, _)| *of == guild);
    if let (true, Some((_, channel))) = (content, channel) {
        missed(&desk, &chat, channel).await;
    }
}

async fn register(chat: &Discord, guild: u64, entries: &[command::Entry]) {
    match chat.register(guild, entries).await {
        Ok(true) => log::say(format!("the slash commands of server {guild} are up to date now")),
        Ok(false) => {}
        Err(error) => log::say(format!("the slash commands of server {guild} could not be set: {error}")),
    }
}

/// How often the project is looked at for other commands.
const LOOK: Duration = Duration::from_secs(10);

/// Keeps the commands of all servers as the project has them.
async fn keep_commands(desk: Arc<Desk>, chat: Arc<Discord>, ear: Arc<Ear>) {
    let mut entries = command::entries(&desk.known().await.table);
    let mut trouble = None;
    loop {
        desk.clock.sleep(LOOK).await;
        let known = desk.known().await;
        if known.trouble != trouble {
            match &known.trouble {
                Some(why) => log::say(format!("the project's files are broken, the rules before hold on: {why}")),
                None => log::say("the project's files are sound again"),
            }
            trouble.clone_from(&known.trouble);
        }
        let now = command::entries(&known.table);
        if now != entries {
            entries = now;
            for guild in ear.guilds() {
                if known.rules.guild.is_none_or(|only| only == guild) {
                    register(&chat, guild, &entries).await;
                }
            }
        }
    }
}

/// The oldest message that is answered after a gap.
const GAP: Duration = Duration::from_secs(3600);
/// Messages of a page, and the most pages.
const MISSED: u8 = 100;
const PAGES: usize = 20;
/// A minute, in ids: their upper bits are milliseconds.
const OVERLAP: u64 = 60_000 << 22;

/// Commands that were typed while the bot was away are not carried out behind their author's back, but nobody is left waiting.
async fn missed(desk: &Arc<Desk>, chat: &Arc<Discord>, channel: u64) {
    let rows = desk.keeper.call(|store| store.audit(false, 200)).await.unwrap_or_default();
    let Some(last) = rows.iter().filter_map(|row| row.id.parse::<u64>().ok()).max() else { return };
    // Rows are written side by side: one that was heard just before the newest may have none yet.
    let last = last.saturating_sub(OVERLAP);
    let messages = since(chat, channel, last).await;
    let known = desk.known().await;
    let mention = desk.mention.get().cloned().unwrap_or_default();
    for message in messages {
        let at = pmx::event::Time(message.timestamp.unix_timestamp().saturating_mul(1000));
        let age = desk.now().since(at);
        let meant = command::said(&known.table, &known.prefix, &mention, &message.content);
        if message.author.bot || age > GAP || meant.is_none() || !desk.claim(message.id.get()) {
            continue;
        }
        let card =
            Card::new(Tone::Open, "I was away", "I was away when you wrote that, and did nothing. Say it again if you still want it.");
        let heard = missed_words(&message, channel, desk.now());
        let row = AuditRow {
            answer: "missed: it was said while the bot was away".to_owned(),
            settled: true,
            ..desk.row(&heard, &message.content)
        };
        if desk.hear(&row).await
            && let Err(error) = desk.chat.answer(&heard, &card).await
        {
            log::say(format!("a missed command could not be answered: {error}"));
        }
    }
}

/// The messages of a channel after one, page by page.
async fn since(chat: &Discord, channel: u64, mut last: u64) -> Vec<serenity::all::Message> {
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let after = MessagePagination::After(MessageId::new(last.max(1)));
        let page = match chat.http.get_messages(ChannelId::new(channel), Some(after), Some(MISSED)).await {
            Ok(page) => page,
            Err(error) => {
                log::say(format!("what was said meanwhile could not be read: {}", discord::refused(&error)));
                break;
            }
        };
        let whole = page.len() >= usize::from(MISSED);
        last = page.iter().map(|message| message.id.get()).max().unwrap_or(last).max(last);
        found.extend(page);
        if !whole {
            break;
        }
    }
    found
}

fn missed_words(message: &serenity::all::Message, channel: u64, at: pmx::event::Time) -> crate::chat::Heard {
    use crate::chat::{Ask, Heard, Route, Spot, Who};
    Heard {
        id: message.id.get(),
        at,
        who: Who { id: message.author.id.get(), name: message.author.name.clone(), roles: Vec::new() },
        spot: Spot { guild: Some(0), guilds: 1, channel, name: None },
        ask: Ask::Said(message.content.clone()),
        route: Route::Message { message: message.id.get() },
    }
}
