//! The end of `--at` where the project is: runs the command that was asked for, and tells what comes of it.
//!
//! A build runs in this process, so that its events and questions travel as what they are. Whatever else was asked for is a `pmx` of its own, whose
//! output travels. When whoever asked is gone, the command goes on to its end: nobody has said that it should stop.
#![expect(clippy::disallowed_methods, reason = "starts pmx itself, and waits until the last words are written")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cli::args::{BuildArgs, Cli, Command};
use crate::cli::at::words::{Ask, EVENT, Far, HELLO, Near, PROTOCOL, SILENCE, line};
use crate::cli::build::{self, watch_signals};
use crate::cli::environment::ASKED_BY;
use crate::cli::exit::Exit;
use crate::cli::report::{JsonComplaint, render};
use crate::event::{Event, Stamped};
use crate::exec::engine::{Confirmer, Doubt, Question, Recall, Stop};
use crate::name::Actor;
use crate::ops::build::build;
use crate::ops::front::Front;
use crate::source::Diagnostic;
use crate::value::{Map, Value};

/// Lines that wait for a slow connection; beyond these, output of commands and bytes of transfers are left out of a run's story.
const BACKLOG: usize = 4096;
/// The same for the output of a command, which can wait instead.
const PATIENT: usize = 64;
/// How long the last words may take on their way.
const FAREWELL: Duration = Duration::from_secs(10);
/// Output of something that a command left in the background is heard no longer than this after its end.
const LINGER: Duration = Duration::from_secs(2);
/// A longer name of whoever asks is cut.
const LONGEST_NAME: usize = 100;

/// `pmx far-end`.
pub fn run(front: &Front) -> Result<Exit, Vec<Diagnostic>> {
    let runtime = crate::cli::runtime()?;
    let line = Arc::new(Line::new());
    line.write(format!("{HELLO}{PROTOCOL} {}", env!("CARGO_PKG_VERSION")));
    let ended = runtime.block_on(serve(front, &line));
    line.finish();
    // The thread that reads may wait for ever.
    runtime.shutdown_background();
    ended
}

async fn serve(front: &Front, line: &Arc<Line>) -> Result<Exit, Vec<Diagnostic>> {
    let mut heard = reader();
    let Ok(Some(Near::Ask(ask))) = tokio::time::timeout(Duration::from_secs(SILENCE), heard.recv()).await else {
        return Err(vec![Diagnostic::yours("this is what `pmx --at` starts on the other machine; it speaks with pmx, not with people")]);
    };
    let exit = if ask.protocol == PROTOCOL { command(front, &ask, (line, heard)).await } else { stranger(&ask, line) };
    line.say(&Far::End { code: exit.code() });
    Ok(Exit::Done)
}

fn stranger(ask: &Ask, line: &Line) -> Exit {
    let own = env!("CARGO_PKG_VERSION");
    line.err(&format!(
        "refused: pmx {} asks in protocol {}, and pmx {own} here speaks {PROTOCOL}; nothing was done\n",
        ask.version, ask.protocol
    ));
    Exit::Refused
}

async fn command(front: &Front, ask: &Ask, (line, heard): (&Arc<Line>, mpsc::UnboundedReceiver<Near>)) -> Exit {
    let own = front.actor.as_str().split_once(':').map_or("", |(_, name)| name);
    let name: String = ask.by.chars().take(LONGEST_NAME).collect();
    let by = format!("{name} at {own}");
    let cli = match Cli::try_parse_from(["pmx"].into_iter().chain(ask.words.iter().map(String::as_str))) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render().to_string();
            if error.use_stderr() {
                line.err(&text)
            } else {
                line.say(&Far::Out { text })
            }
            return if error.use_stderr() { Exit::Yours } else { Exit::Done };
        }
    };
    match &cli.command {
        Command::Build(args) => {
            let front = Front { actor: Actor::new("cli", &by), profile: ask.profile.clone(), ..front.clone() };
            here(&front, (args, cli.json), ask, (line, heard)).await
        }
        Command::FarEnd => {
            line.err("`far-end` is said by pmx itself, at the other end of `--at`\n");
            Exit::Yours
        }
        _ => child(front, (ask, &by), line, heard).await,
    }
}

/// Builds in this process.
async fn here(
    front: &Front,
    (args, json): (&BuildArgs, bool),
    ask: &Ask,
    (line, heard): (&Arc<Line>, mpsc::UnboundedReceiver<Near>),
) -> Exit {
    let (stopper, stop) = watch::channel(Stop::No);
    let yes = args.yes.iter().cloned().collect();
    let open = Mutex::new(ask.somebody.then(BTreeMap::new));
    let asking = Arc::new(Asking { line: Arc::clone(line), yes, open, next: AtomicU64::new(1) });
    let (confirmer, told) = (Arc::clone(&asking), Arc::clone(line));
    let request = build::request(args, confirmer, Arc::new(move |stamped: &Stamped| told.event(stamped)), stop);
    let hearing = tokio::spawn(hear(heard, asking, stopper.clone()));
    let watcher = tokio::spawn(watch_signals(stopper));
    let ended = build(front, request).await;
    watcher.abort();
    hearing.abort();
    match ended {
        Ok(report) => {
            let paint = |step: &str| if ask.colour.1 { format!("\x1b[31m{step}\x1b[0m") } else { step.to_owned() };
            if !json {
                build::told(&report, &paint).iter().for_each(|text| line.err(&format!("{text}\n")));
            }
            build::exit(&report)
        }
        Err(complaints) => {
            for complaint in &complaints {
                if json {
                    line.say(&Far::Out { text: self::line(&JsonComplaint::from(complaint)) + "\n" });
                } else {
                    line.err(&format!("{}\n\n", render(complaint, ask.colour.1)));
                }
            }
            Exit::of_complaints(&complaints)
        }
    }
}

/// Hears answers and ctrl-c until whoever asked is gone.
async fn hear(mut heard: mpsc::UnboundedReceiver<Near>, asking: Arc<Asking>, stopper: watch::Sender<Stop>) {
    while let Ok(Some(near)) = tokio::time::timeout(Duration::from_secs(SILENCE), heard.recv()).await {
        match near {
            Near::Answer { id, .. } | Near::Recall { id, .. } => asking.answered(id, near),
            Near::Stop { now } => drop(stopper.send_replace(if now { Stop::Running } else { Stop::Starting })),
            Near::Ask(_) | Near::Here => {}
        }
    }
    asking.alone();
}

/// Asks whoever asked.
struct Asking {
    line: Arc<Line>,
    yes: BTreeSet<String>,
    /// Questions without an answer; none when nobody is there.
    open: Mutex<Option<BTreeMap<u64, oneshot::Sender<Near>>>>,
    next: AtomicU64,
}

impl Asking {
    async fn ask(&self, question: impl FnOnce(u64) -> Far) -> Option<Near> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.insert(id, sender);
        self.line.say(&question(id));
        answer.await.ok()
    }

    fn answered(&self, id: u64, answer: Near) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = open.as_mut().and_then(|open| open.remove(&id)) {
            // The action that asked may have been cancelled meanwhile.
            let _ = sender.send(answer);
        }
    }

    /// Nobody will answer any more: those who wait learn it.
    fn alone(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.line.gone.store(true, Ordering::Relaxed);
    }
}

impl Confirmer for Asking {
    fn could_confirm(&self, name: &str) -> bool {
        self.yes.contains(name) || self.open.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn confirm<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            if self.yes.contains(&question.name) {
                return true;
            }
            let shown = Question { attributes: question.attributes.as_ref().map(shown), ..question.clone() };
            matches!(self.ask(|id| Far::Question { id, question: shown }).await, Some(Near::Answer { yes: true, .. }))
        })
    }

    fn recall<'a>(&'a self, doubt: &'a Doubt) -> BoxFuture<'a, Recall> {
        Box::pin(async move {
            match self.ask(|id| Far::Doubt { id, doubt: doubt.clone() }).await {
                Some(Near::Recall { recall, .. }) => recall,
                _ => Recall::Unknown,
            }
        })
    }
}

/// The same as a person is shown it: a number that JSON does not know, or a secret, is a text by now.
fn shown(attributes: &Value) -> Value {
    match attributes {
        Value::Map(fields) => {
            Value::Map(fields.iter().map(|(key, value)| (key.clone(), Value::String(value.to_string()))).collect::<Map>())
        }
        other => Value::String(other.to_string()),
    }
}

/// Runs `pmx` with these words, and sends what it writes.
async fn child(front: &Front, (ask, by): (&Ask, &str), line: &Arc<Line>, mut heard: mpsc::UnboundedReceiver<Near>) -> Exit {
    let mut command = tokio::process::Command::new(&front.program);
    if !ask.words.iter().any(|word| word.starts_with("--color")) {
        command.args(["--color", if ask.colour.0 { "always" } else { "never" }]);
    }
    command.args(&ask.words).env(ASKED_BY, by).env_remove("PMX_PROFILE").stdout(Stdio::piped()).stderr(Stdio::piped());
    command.envs(ask.profile.iter().map(|profile| ("PMX_PROFILE", profile))).envs(ask.columns.iter().map(|columns| ("COLUMNS", columns)));
    command.stdin(if ask.input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            line.err(&format!("{} cannot be started: {error}\n", front.program.display()));
            return Exit::Failed;
        }
    };
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), &ask.input) {
        // One that ends without reading it is no failure.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let out = child.stdout.take().map(|from| tokio::spawn(pump(from, Arc::clone(line), |text| Far::Out { text })));
    let err = child.stderr.take().map(|from| tokio::spawn(pump(from, Arc::clone(line), |text| Far::Err { text })));
    let mut stopped = false;
    let mut there = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            near = tokio::time::timeout(Duration::from_secs(SILENCE), heard.recv()), if there => match near {
                Ok(Some(Near::Stop { .. })) => {
                    stopped = true;
                    let _ = child.start_kill();
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    there = false;
                    line.gone.store(true, Ordering::Relaxed);
                }
            },
        }
    };
    for pump in [out, err].into_iter().flatten() {
        let _ = tokio::time::timeout(LINGER, pump).await;
    }
    match status {
        _ if stopped => Exit::Interrupted,
        Ok(status) => Exit::As(
            status.code().or_else(|| status.signal().map(|signal| 128 + signal)).and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
        ),
        Err(error) => {
            line.err(&format!("nobody knows how the command ended: {error}\n"));
            Exit::Failed
        }
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, line: Arc<Line>, far: fn(String) -> Far) {
    let (mut buffer, mut held) = (vec![0; 16 << 10], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        held.extend_from_slice(&buffer[..count]);
        // A letter that is not whole yet waits for its rest.
        let whole = match std::str::from_utf8(&held) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => held.len(),
        };
        let text = String::from_utf8_lossy(&held[..whole]).into_owned();
        held.drain(..whole);
        line.say(&far(text));
        while line.waiting.load(Ordering::Relaxed) > PATIENT && !line.gone.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    if !held.is_empty() {
        line.say(&far(String::from_utf8_lossy(&held).into_owned()));
    }
}

/// What the near end says, read by a thread of its own; ends with the input.
fn reader() -> mpsc::UnboundedReceiver<Near> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for text in std::io::stdin().lock().lines() {
            let Ok(text) = text else { return };
            // A word of a newer pmx that this one does not know is no word.
            let Ok(near) = serde_json::from_str(&text) else { continue };
            if sender.send(near).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The way to the near end: a thread writes, so that a run never waits for a connection.
struct Line {
    lines: std::sync::mpsc::Sender<String>,
    waiting: Arc<AtomicUsize>,
    /// Whether nobody hears any more.
    gone: Arc<AtomicBool>,
}

impl Line {
    fn new() -> Self {
        let (lines, texts) = std::sync::mpsc::channel::<String>();
        let (waiting, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (left, closed) = (Arc::clone(&waiting), Arc::clone(&gone));
        std::thread::spawn(move || {
            for text in texts {
                let mut out = std::io::stdout().lock();
                if !closed.load(Ordering::Relaxed) && writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
                    closed.store(true, Ordering::Relaxed);
                }
                left.fetch_sub(1, Ordering::Relaxed);
            }
        });
        Self { lines, waiting, gone }
    }

    fn write(&self, text: String) {
        if self.gone.load(Ordering::Relaxed) {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The thread lives as long as this does.
        let _ = self.lines.send(text);
    }

    fn say(&self, far: &Far) {
        self.write(line(far));
    }

    fn err(&self, text: &str) {
        self.say(&Far::Err { text: text.to_owned() });
    }

    fn event(&self, stamped: &Stamped) {
        let spare = matches!(stamped.event, Event::Output { .. } | Event::Transfer { .. });
        if !(spare && self.waiting.load(Ordering::Relaxed) > BACKLOG) {
            self.write(format!("{EVENT}{}", line(stamped)));
        }
    }

    /// Waits until all has been written, unless nobody reads it.
    fn finish(&self) {
        let began = std::time::Instant::now();
        while self.waiting.load(Ordering::Relaxed) > 0 && !self.gone.load(Ordering::Relaxed) && began.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
