//! The end of `--at` where people are: sends the command, shows what comes back, asks what is asked.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::cli::args::{Cli, Command, VaultCommand};
use crate::cli::ask::Asker;
use crate::cli::at::words::{Ask, EVENT, Far, HELLO, HERE_EVERY, Near, PROTOCOL, line};
use crate::cli::build::watch_signals;
use crate::cli::exit::Exit;
use crate::cli::out::Out;
use crate::cli::progress::Progress;
use crate::cli::vault::read_secret;
use crate::event::{Event, Stamped, Stream};
use crate::exec::engine::{Confirmer as _, Stop};
use crate::name::RunId;
use crate::ops::at::{NO_DIRECTORY, NO_PROGRAM, Place};
use crate::ops::front::Front;
use crate::source::{Diagnostic, Fault, Severity};
use crate::wire::talk::{Ear, Heard, Mouth};

/// How long the program over there may take to say its first word.
const GREETING: Duration = Duration::from_secs(30);

/// Lines of the other machine's that an error shows.
const SHOWN: usize = 5;

/// Runs the command of this invocation at `typed`.
pub fn run(front: &Front, (cli, typed): (&Cli, &str), words: &[String], out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    if matches!(cli.command, Command::FarEnd) {
        return Err(vec![Diagnostic::yours("`far-end` is said by pmx itself, at the other end of `--at`")]);
    }
    let place = Place::find(front, typed)?;
    let ask = ask(front, cli, words, out)?;
    let progress = match &cli.command {
        Command::Build(args) => Progress::new(out.json, args.verbose, out.choice),
        _ => Progress::new(true, false, out.choice),
    };
    let runtime = crate::cli::runtime()?;
    let ended = runtime.block_on(async {
        let (mouth, mut ear) = place.talk(front).await?;
        let version = greet(&place, &mut ear).await?;
        if version != env!("CARGO_PKG_VERSION") && !out.json {
            out.say(format!("pmx is {} here and {version} on {}", env!("CARGO_PKG_VERSION"), place.typed));
        }
        let (say, said) = mpsc::unbounded_channel();
        let _ = say.send(Near::Ask(ask));
        tokio::spawn(speak(mouth, said));
        tokio::spawn(stops(say.clone()));
        let asker = Arc::new(Asker::new(&[], progress.clone()));
        Hearing { place: &place, asker, progress, say, run: None, out }.hear(&mut ear).await
    });
    // A question that is still open must not keep the process.
    runtime.shutdown_background();
    ended
}

fn ask(front: &Front, cli: &Cli, words: &[String], out: &Out) -> Result<Ask, Vec<Diagnostic>> {
    let input = match &cli.command {
        Command::Vault(args) => match &args.command {
            VaultCommand::Set { key, .. } => Some(read_secret(key, out)?.expose().to_owned()),
            _ => None,
        },
        _ => None,
    };
    let by = front.actor.as_str();
    Ok(Ask {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        words: without_at(words),
        profile: front.profile.clone(),
        by: by.split_once(':').map_or(by, |(_, name)| name).to_owned(),
        colour: (out.colour, out.terminal_colour()),
        columns: front.env.get("COLUMNS").cloned(),
        somebody: std::io::stdin().is_terminal(),
        input,
    })
}

/// The words without `--at` and its value. There is one, before any `--`: the command line was read before.
fn without_at(words: &[String]) -> Vec<String> {
    let Some(at) = words.iter().position(|word| word == "--at" || word.starts_with("--at=")) else { return words.to_vec() };
    let length = if words[at] == "--at" { 2 } else { 1 };
    words.iter().enumerate().filter(|(index, _)| !(at..at + length).contains(index)).map(|(_, word)| word.clone()).collect()
}

fn theirs(message: String) -> Diagnostic {
    Diagnostic::new(Severity::Error, Fault::Theirs, message)
}

/// Hears the first word. Returns the version of the pmx there, if it speaks as this one does.
async fn greet(place: &Place, ear: &mut Ear) -> Result<String, Vec<Diagnostic>> {
    let mut noise = Vec::new();
    let first = async {
        loop {
            match ear.hear().await {
                Heard::Line(Stream::Out, line) => return line,
                Heard::Line(_, line) => noise.push(line),
                Heard::Ended(status) => {
                    return status.map_or_else(|| "the connection broke".to_owned(), |status| format!("it ended with exit code {status}"));
                }
            }
        }
    };
    let silent = |_| vec![theirs(format!("pmx on {} said nothing within {} s", place.typed, GREETING.as_secs()))];
    let first = tokio::time::timeout(GREETING, first).await.map_err(silent)?;
    let (typed, dir) = (&place.typed, place.shown_dir());
    let complaint = match first.as_str() {
        NO_DIRECTORY => theirs(format!("there is no directory {dir} on {typed}"))
            .help(format!("`--at {typed}:DIRECTORY`, or `dir` under `[at]` in the Pmxfile, says where the project is there")),
        NO_PROGRAM => {
            let looked = place.program.clone().unwrap_or_else(|| format!("bin/pmx in {dir}, pmx in the PATH of its logins"));
            theirs(format!("there is no pmx on {typed}: {looked}"))
                .help("`pmxRepo.syncBinary` puts it there; `program` under `[at]` in the Pmxfile says where it is")
        }
        hello => match hello.strip_prefix(HELLO).and_then(|rest| rest.split_once(' ')) {
            Some((protocol, version)) if protocol == PROTOCOL.to_string() => return Ok(version.to_owned()),
            Some((protocol, version)) => {
                let own = env!("CARGO_PKG_VERSION");
                let message = format!(
                    "pmx {own} here and pmx {version} on {typed} do not understand each other: protocol {PROTOCOL} here, {protocol} there"
                );
                Diagnostic::new(Severity::Error, Fault::Refused, message).help("bring both to one version; nothing was done")
            }
            None => {
                let said: Vec<&str> =
                    noise.iter().map(String::as_str).filter(|line| !line.trim().is_empty()).take(SHOWN).chain([hello]).collect();
                theirs(format!("what is called pmx on {typed} does not know `--at`: {}", said.join("; ")))
                    .help("is it older than this one?")
            }
        },
    };
    Err(vec![complaint])
}

/// Says what there is to say, and now and then that somebody is still there.
async fn speak(mouth: Mouth, mut said: mpsc::UnboundedReceiver<Near>) {
    loop {
        let next = match tokio::time::timeout(Duration::from_secs(HERE_EVERY), said.recv()).await {
            Ok(Some(near)) => near,
            Ok(None) => return,
            Err(_) => Near::Here,
        };
        if !mouth.say(&line(&next)).await {
            return;
        }
    }
}

/// Ctrl-C here stops what runs there; the third leaves it alone and ends this process.
async fn stops(say: mpsc::UnboundedSender<Near>) {
    let (stopper, mut stop) = watch::channel(Stop::No);
    tokio::spawn(watch_signals(stopper));
    while stop.changed().await.is_ok() {
        let now = *stop.borrow_and_update() == Stop::Running;
        if say.send(Near::Stop { now }).is_err() {
            return;
        }
    }
}

struct Hearing<'a> {
    place: &'a Place,
    asker: Arc<Asker>,
    progress: Progress,
    say: mpsc::UnboundedSender<Near>,
    /// The run that was heard of.
    run: Option<RunId>,
    out: &'a mut Out,
}

impl Hearing<'_> {
    async fn hear(mut self, ear: &mut Ear) -> Result<Exit, Vec<Diagnostic>> {
        loop {
            match ear.hear().await {
                Heard::Line(Stream::Out, line) => match line.strip_prefix(EVENT) {
                    Some(event) => self.event(event),
                    None => {
                        if let Some(exit) = self.said(&line) {
                            return Ok(exit);
                        }
                    }
                },
                Heard::Line(_, line) => self.out.say(format!("{}: {line}", self.place.typed)),
                Heard::Ended(status) => return Err(vec![self.lost(status)]),
            }
        }
    }

    fn event(&mut self, text: &str) {
        // An event that a newer pmx has and this one does not know is shown by that one's own log later.
        let stamped = serde_json::from_str::<Stamped>(text).ok();
        if let Some(Event::RunStarted { run, .. } | Event::RunResumed { run, .. }) = stamped.as_ref().map(|stamped| &stamped.event) {
            self.run = Some(run.clone());
        }
        match &stamped {
            _ if self.out.json => self.out.line(text),
            Some(stamped) => self.progress.take(stamped),
            None => {}
        }
    }

    fn said(&mut self, text: &str) -> Option<Exit> {
        match serde_json::from_str(text) {
            Ok(Far::Out { text }) => self.out.part(&text),
            Ok(Far::Err { text }) => self.out.say_part(&text),
            Ok(Far::End { code: 0 }) => return Some(Exit::Done),
            Ok(Far::End { code }) => return Some(Exit::As(code)),
            Ok(Far::Question { id, question }) => {
                let (asker, say) = (Arc::clone(&self.asker), self.say.clone());
                tokio::spawn(async move {
                    let yes = asker.confirm(&question).await;
                    let _ = say.send(Near::Answer { id, yes });
                });
            }
            Ok(Far::Doubt { id, doubt }) => {
                let (asker, say) = (Arc::clone(&self.asker), self.say.clone());
                tokio::spawn(async move {
                    let recall = asker.recall(&doubt).await;
                    let _ = say.send(Near::Recall { id, recall });
                });
            }
            // Something else that writes there, such as a library.
            Err(_) => self.out.say(format!("{}: {text}", self.place.typed)),
        }
        None
    }

    /// What a person has to know when the other end falls silent before the command has ended.
    fn lost(&self, status: Option<u32>) -> Diagnostic {
        let typed = &self.place.typed;
        match (status, &self.run) {
            (None, Some(run)) => {
                let run = run.short();
                let message = format!("the connection to {typed} broke; run {run} goes on there, and questions of it are answered with no");
                theirs(message).help(format!("`pmx --at {typed} run {run}` tells how it stands, `pmx --at {typed} cancel {run}` stops it"))
            }
            (None, None) => theirs(format!("the connection to {typed} broke; what was asked for may go on there"))
                .help(format!("`pmx --at {typed} runs` tells")),
            (Some(status), _) => theirs(format!("pmx on {typed} ended without a last word (exit code {status})"))
                .help(format!("`pmx --at {typed} runs` tells what became of a run")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_left_out_of_what_it_is_told() {
        let left = |text: &str| without_at(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).join(" ");
        assert_eq!(left("--at slate build x -i a=b"), "build x -i a=b");
        assert_eq!(left("build --at=root@slate:/opt x"), "build x");
        assert_eq!(left("--json --at slate foo --at x"), "--json foo --at x");
    }
}
