//! `run`: a container as it is described, made anew when the description changed, with the old one kept until the new one runs.
//!
//! The order of a replacement, and what a cut between two steps leaves:
//!
//! 1. the old container is renamed, and runs on: the next `run` renames it back;
//! 2. the new one is made under the name, not started: the next `run` removes it and renames the old one back;
//! 3. the old one is stopped: as before;
//! 4. the new one is started and watched: the next `run` finds it running and removes the old one, or finds it dead and renames the old one back;
//! 5. the old one is removed.
//!
//! Starting the new one before stopping the old one would keep the gap shorter, but two of them would hold the same ports and write to the same volumes.

use std::time::Duration;

use crate::digest::Fields;
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::docker::engine::client::{Engine, Known, LABEL, Seen};
use crate::model::docker::engine::container::{GRACE, bring_down, outcome};
use crate::model::docker::engine::{Run, names};
use crate::model::remote::{Remote, SshGlobals};
use crate::model::wait::{Wait, undeterred};
use crate::secret::{Origin, Secret};
use crate::wire::command::{Command, quote};
use crate::wire::ssh::{Exec, Input};

/// The wait for an image that is not on the host.
pub const PULL: &str = "the image";
/// Its deadline.
pub const PULL_DEADLINE: Duration = Duration::from_secs(1800);
/// The wait for the container.
pub const UP: &str = "the container to stay up";
/// Its deadline: that of a health check.
pub const UP_DEADLINE: Duration = Duration::from_secs(120);
/// What is appended to the name of a container that is being replaced.
pub const ASIDE: &str = ".pmx-old";
/// How long a container without a health check must run to count as up.
const WATCH: Duration = Duration::from_secs(2);
/// For putting the old container back, with a minute to save for the new one.
const BACK: Duration = Duration::from_secs(240);
/// For making, renaming, starting and removing.
const STEP: Duration = Duration::from_secs(120);

/// `run(containerName, imageTag, …)`.
pub(super) async fn run(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, wanted) = call.typed::<SshGlobals, Run>()?;
    let command = check(&wanted)?;
    let engine = Engine::on(ctx, &globals)?;
    let (reference, image) = image(&engine, &wanted).await?;
    let inputs = digest(&engine, &wanted, &image, &command).await?;
    let name = wanted.container_name.as_str();
    settle(&engine, name).await?;
    let making = Making { engine: &engine, wanted: &wanted, reference, inputs, command };
    match own(&engine, name).await? {
        Some(seen) if seen.inputs.as_ref() == Some(&making.inputs) => again(&engine, name, &seen).await,
        Some(seen) => making.replace(&seen).await,
        None => {
            making.create(&[]).await?;
            let up = start(&engine, name, "start").await?;
            outcome(Outcome::changed(format!("{}: {name} runs", engine.host())), &up.attributes(name))
        }
    }
}

/// Checks every argument; gives the words of the command.
fn check(wanted: &Run) -> Result<Vec<String>, Failure> {
    names::container(&wanted.container_name)?;
    names::image(&wanted.image_tag)?;
    wanted.image_id.as_deref().map_or(Ok(()), names::image_id)?;
    wanted.ports.iter().try_for_each(|port| names::port(port))?;
    wanted.volumes.iter().try_for_each(|volume| names::volume(volume))?;
    wanted.env.iter().try_for_each(|(name, value)| names::variable(name, value.expose()))?;
    wanted.env_file.as_deref().map_or(Ok(()), |path| names::absolute("file of variables", path))?;
    wanted.restart.as_deref().map_or(Ok(()), |policy| names::word("restart", policy))?;
    wanted.command.as_ref().map_or(Ok(Vec::new()), |command| command.argv())
}

/// The image to run, and how docker is told: by its name when that still means the image that was asked for.
async fn image(engine: &Engine<'_>, wanted: &Run) -> Result<(String, Known), Failure> {
    let tag = wanted.image_tag.as_str();
    let found = engine.image(tag).await?;
    match (&wanted.image_id, found) {
        (Some(id), Some(image)) if image.id == *id => Ok((tag.to_owned(), image)),
        (Some(id), _) => match engine.image(id).await? {
            Some(image) => Ok((id.clone(), image)),
            None => Err(Failure::theirs(format!("{}: there is no image {id}", engine.host())).help("`build` makes it")),
        },
        (None, Some(image)) => Ok((tag.to_owned(), image)),
        (None, None) => {
            engine.remote.ctx.reporter.phase(PULL, Some(PULL_DEADLINE));
            engine.act(&["pull", "--quiet", tag], PULL_DEADLINE).await?;
            let image = engine.image(tag).await.map_err(Failure::maybe_acted)?;
            let missing = || Failure::theirs(format!("{}: {tag} was pulled, but is not there", engine.host())).maybe_acted();
            Ok((tag.to_owned(), image.ok_or_else(missing)?))
        }
    }
}

/// The digest of the whole description. Variables are in it by a keyed digest only: labels are shown to whoever asks, monitoring included.
async fn digest(engine: &Engine<'_>, wanted: &Run, image: &Known, command: &[String]) -> Result<String, Failure> {
    let mut digester = Fields::new("pmx container 1");
    digester.text(&image.id).optional(wanted.restart.as_deref()).optional(wanted.env_digest.as_deref());
    for list in [&wanted.ports, &wanted.volumes, command] {
        digester.number(list.len() as u64);
        list.iter().for_each(|item| {
            digester.text(item);
        });
    }
    let mut hidden = Fields::new("pmx container variables 1");
    wanted.env.iter().for_each(|(name, value)| {
        hidden.text(name).text(value.expose());
    });
    if let Some(path) = &wanted.env_file {
        let file = engine.remote.file(path).await?;
        let missing =
            || Failure::theirs(format!("{}: there is no file {path}", engine.host())).help("`envFile` must be there before `run`");
        let file = file.ok_or_else(missing)?;
        hidden.text(path).optional(file.sha256.as_deref());
    }
    if wanted.env.is_empty() && wanted.env_file.is_none() {
        return Ok(digester.optional(None).finish().to_string());
    }
    let keyed = engine.remote.ctx.credentials.keyed_digest(&Secret::new(hidden.finish().to_string(), Origin::Computed));
    Ok(digester.optional(Some(&keyed.to_string())).finish().to_string())
}

/// The container of that name, which must be one that pmx made: nothing else is ever replaced or removed.
async fn own(engine: &Engine<'_>, name: &str) -> Result<Option<Seen>, Failure> {
    match engine.container(name).await? {
        Some(seen) if seen.inputs.is_none() => {
            Err(Failure::refused(format!("{}: there is a container `{name}` that pmx did not make", engine.host()))
                .help(format!("if it may go: `docker stop {name}` and `docker rm {name}` there, then run this again")))
        }
        found => Ok(found),
    }
}

/// Brings what an earlier replacement left half-way back to one container of that name.
async fn settle(engine: &Engine<'_>, name: &str) -> Result<(), Failure> {
    let aside = format!("{name}{ASIDE}");
    let Some(old) = own(engine, &aside).await? else { return Ok(()) };
    let new = own(engine, name).await?;
    engine.remote.ctx.reporter.warn(&format!("{}: an earlier replacement of {name} was cut off; it is settled first", engine.host()));
    match new {
        Some(new) if new.runs() => {
            if old.runs() {
                bring_down(engine, &aside, &old).await?;
            }
            engine.act(&["rm", &aside], STEP).await.map(drop)
        }
        new => {
            if new.is_some() {
                engine.act(&["rm", name], STEP).await?;
            }
            engine.act(&["rename", &aside, name], STEP).await.map(drop)
        }
    }
}

/// A container whose description did not change.
async fn again(engine: &Engine<'_>, name: &str, seen: &Seen) -> Result<Outcome, Failure> {
    if seen.state == "running" {
        return outcome(Outcome::unchanged(format!("{}: {name} runs so already", engine.host())), &seen.attributes(name));
    }
    let up = start(engine, name, if seen.state == "paused" { "unpause" } else { "start" }).await?;
    outcome(Outcome::changed(format!("{}: {name} runs again", engine.host())), &up.attributes(name))
}

/// Starts a container and watches whether it stays up.
async fn start(engine: &Engine<'_>, name: &str, verb: &str) -> Result<Seen, Failure> {
    engine.act(&[verb, name], STEP).await?;
    let mut wait = Wait::begin(engine.remote.ctx, UP, UP_DEADLINE, (Duration::from_millis(250), Duration::from_secs(2)));
    loop {
        let seen = engine.container(name).await.map_err(Failure::maybe_acted)?;
        let seen = seen.ok_or_else(|| Failure::theirs(format!("{}: {name} is gone right after its start", engine.host())).maybe_acted())?;
        let well = match (seen.state.as_str(), seen.health.as_str()) {
            ("running", "healthy") => true,
            ("running", "") => seen.restarts == 0 && wait.lasted() >= WATCH,
            // What was meant to end has done its work.
            ("exited", _) => seen.exit_code == 0 && seen.restart == "no",
            _ => false,
        };
        if well {
            return Ok(seen);
        }
        let message = match (seen.state.as_str(), seen.health.as_str()) {
            ("running", "unhealthy") => format!("{}: {name} is unhealthy", engine.host()),
            ("running" | "restarting", _) if seen.restarts > 0 => {
                format!("{}: {name} does not stay up: its restart policy had to bring it back already", engine.host())
            }
            ("running", _) => {
                if wait
                    .again(if seen.health.is_empty() { "it runs" } else { "its health check has not passed" })
                    .await
                    .map_err(Failure::maybe_acted)?
                {
                    continue;
                }
                format!("{}: {name} is not healthy after {} s", engine.host(), wait.seconds())
            }
            _ => format!("{}: {name} ended with exit code {} right after its start", engine.host(), seen.exit_code),
        };
        return Err(Failure::theirs(message).maybe_acted().tail(engine.log(name).await));
    }
}

/// Everything that a new container is made from.
struct Making<'a> {
    engine: &'a Engine<'a>,
    wanted: &'a Run,
    reference: String,
    inputs: String,
    command: Vec<String>,
}

impl Making<'_> {
    /// The arguments of docker. `kept` are mounts that the container before hands on.
    fn words(&self, kept: &[String]) -> Vec<String> {
        let wanted = self.wanted;
        let mut words = vec!["create".to_owned(), format!("--name={}", wanted.container_name), format!("--label={LABEL}={}", self.inputs)];
        words.extend(wanted.restart.iter().map(|policy| format!("--restart={policy}")));
        words.extend(wanted.ports.iter().map(|port| format!("--publish={port}")));
        words.extend(wanted.volumes.iter().chain(kept).map(|volume| format!("--volume={volume}")));
        words.extend(wanted.env_file.iter().map(|path| format!("--env-file={path}")));
        if !wanted.env.is_empty() {
            // Behind the file: the last of two values of a variable wins.
            words.push("--env-file=/dev/stdin".to_owned());
        }
        words.push(self.reference.clone());
        words.extend(self.command.iter().cloned());
        words
    }

    /// Makes the container without starting it.
    async fn create(&self, kept: &[String]) -> Result<(), Failure> {
        let words = self.words(kept);
        let exec = if self.wanted.env.is_empty() {
            Exec::new(Command::new("docker").args(words), STEP)
        } else {
            let quoted = words.iter().map(|word| quote(word)).collect::<Result<Vec<_>, _>>();
            let quoted = quoted.map_err(|bad| Failure::yours(bad.to_string()))?;
            let lines: String = self.wanted.env.iter().map(|(name, value)| format!("{name}={}\n", value.expose())).collect();
            // sshd may give a command a socket as its input, which nobody can open by the name /dev/stdin; behind `cat` it is a pipe.
            let script = Command::script(format!("cat | docker {}", quoted.join(" ")));
            Exec { input: Input::Secret(Secret::new(lines, Origin::Computed)), ..Exec::new(script, STEP) }
        };
        let output = self.engine.remote.act(exec).await?;
        self.engine.done("create", output).map(drop)
    }

    async fn replace(&self, old: &Seen) -> Result<Outcome, Failure> {
        let (engine, name) = (self.engine, self.wanted.container_name.as_str());
        let aside = format!("{name}{ASIDE}");
        engine.act(&["rename", name, &aside], STEP).await?;
        if let Err(failure) = self.create(&self.kept(old)).await {
            return Err(self.undo(failure, false).await);
        }
        if old.runs()
            && let Err(failure) = bring_down(engine, &aside, old).await
        {
            return Err(self.undo(failure, false).await);
        }
        let up = match start(engine, name, "start").await {
            Ok(up) => up,
            Err(failure) => return Err(self.undo(failure, old.runs()).await),
        };
        engine.act(&["rm", &aside], STEP).await?;
        outcome(Outcome::changed(format!("{}: {name} runs anew", engine.host())), &up.attributes(name))
    }

    /// The volumes without a name that the new container takes over: what lies in them would be lost to it otherwise.
    fn kept(&self, old: &Seen) -> Vec<String> {
        let asked = |target: &str| self.wanted.volumes.iter().any(|volume| volume.split(':').nth(1) == Some(target));
        old.unnamed.iter().filter(|(_, target)| !asked(target)).map(|(volume, target)| format!("{volume}:{target}")).collect()
    }

    /// Puts the old container back after `failure`, and starts it again if it was stopped for the new one.
    async fn undo(&self, failure: Failure, restart: bool) -> Failure {
        // What is half made is taken back although the run may be cancelled by now.
        let calm = undeterred(self.engine.remote.ctx, BACK);
        let engine = Engine { remote: Remote { ctx: &calm, target: self.engine.remote.target.clone() } };
        match put_back(&engine, &self.wanted.container_name, restart).await {
            Ok(told) => Failure { message: format!("{}; {told}", failure.message), ..failure },
            Err(trouble) => {
                calm.reporter.warn(&format!("the old container could not be put back yet: {}", trouble.message));
                failure.help("the old container is kept: the next `run` puts it back first")
            }
        }
    }
}

/// Removes what was made under the name, with time to save if it runs, and gives the name back to the old container. Says what that one does now.
async fn put_back(engine: &Engine<'_>, name: &str, restart: bool) -> Result<String, Failure> {
    if let Some(new) = own(engine, name).await? {
        if new.runs() {
            // Whether it had to be killed says nothing about the failure that is being told.
            let seconds = GRACE.as_secs().to_string();
            engine.act(&["stop", "-t", &seconds, name], GRACE + STEP).await?;
        }
        engine.act(&["rm", "--force", name], STEP).await?;
    }
    engine.act(&["rename", &format!("{name}{ASIDE}"), name], STEP).await?;
    if restart && let Err(trouble) = engine.act(&["start", name], STEP).await {
        return Ok(format!("the old container is back, but does not start: {}", trouble.message));
    }
    let runs = engine.container(name).await?.is_some_and(|old| old.runs());
    Ok(match (runs, restart) {
        (true, true) => "the old container runs again",
        (true, false) => "the old container runs on",
        (false, _) => "the old container is back, stopped",
    }
    .to_owned())
}
