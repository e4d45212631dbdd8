//! The methods of `docker/compose`: start, stop, update, status.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::docker::compose::project::{Container, Plan, Project, Seen};
use crate::model::docker::compose::{Globals, Nothing, Overall, Start, State, Stop};
use crate::model::remote::VM_IS_OFF;
use crate::model::wait::{Wait, pause};
use crate::value::Value;
use crate::wire::command::Command;
use crate::wire::ssh::Exec;

/// The wait for `up`, which pulls images that are missing.
pub const UP: &str = "the containers to be made";
/// Its deadline.
pub const UP_DEADLINE: Duration = Duration::from_secs(900);
/// The wait for running, healthy services.
pub const READY: &str = "the services to run and be healthy";
/// The wait for `stop`.
pub const DOWN: &str = "the services to save and stop";
/// The wait for `pull`.
pub const PULL: &str = "the images";
/// Its deadline.
pub const PULL_DEADLINE: Duration = Duration::from_secs(1800);
/// What a container has to save, at least: Docker's own 10 s killed many a world.
pub const GRACE: Duration = Duration::from_secs(60);
/// A program that cannot live with its configuration ends in its first moments, so without a health check a new container is looked at once more.
const SETTLE: Duration = Duration::from_secs(2);
/// The exit code of a container that was killed.
const KILLED: i64 = 137;

fn outcome(outcome: Outcome, state: &State) -> Result<Outcome, Failure> {
    let value = Value::from_typed(state).map_err(|e| Failure::bug(format!("attributes: {e}")))?;
    Ok(outcome.write("result", "result", value))
}

fn off() -> State {
    State { state: Overall::Off, services: Vec::new() }
}

/// `start(timeout)`.
pub(super) async fn start(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Start>()?;
    let project = Project::on(ctx, &globals)?;
    let before = project.look(&project.services().await?).await?;
    up(&project, &[]).await?;
    let after = ready(&project, &before, arguments.timeout).await?;
    let new = after.containers.iter().filter(|c| c.runs() && !before.had_running(&c.id)).map(|c| c.service.clone());
    let new: BTreeSet<String> = new.collect();
    let what = if new.is_empty() {
        Outcome::unchanged(format!("already running: {}", names(&after.running())))
    } else {
        Outcome::changed(format!("started {}", names(&new)))
    };
    outcome(what, &after.state())
}

fn names(services: &BTreeSet<String>) -> String {
    services.iter().cloned().collect::<Vec<_>>().join(", ")
}

/// Makes and starts containers; without services, all that are meant.
async fn up(project: &Project<'_>, services: &[&str]) -> Result<(), Failure> {
    let mut words = vec!["up", "-d"];
    if !services.is_empty() {
        words.push("--no-deps");
        words.extend(services);
    } else {
        words.extend(project.only.as_deref());
    }
    act(project, &words, UP, UP_DEADLINE).await
}

async fn act(project: &Project<'_>, words: &[&str], phase: &str, deadline: Duration) -> Result<(), Failure> {
    project.remote.ctx.reporter.phase(phase, Some(deadline));
    let output = project.remote.act(Exec::new(project.command(words), deadline)).await?;
    if output.status == 0 { Ok(()) } else { Err(project.refused(words, &output).maybe_acted()) }
}

/// Waits until every service runs and is healthy where it can tell, or has ended well (what a one-shot does). `before` is what was there before `up`.
async fn ready(project: &Project<'_>, before: &Seen, timeout: u64) -> Result<Seen, Failure> {
    let services = &before.expected;
    let young = |seen: &Seen| seen.containers.iter().any(|now| now.runs() && now.health.is_empty() && !before.had_running(&now.id));
    let mut settled = false;
    let mut wait =
        Wait::begin(project.remote.ctx, READY, Duration::from_secs(timeout), (Duration::from_millis(500), Duration::from_secs(5)));
    loop {
        let seen = project.look(services).await.map_err(Failure::maybe_acted)?;
        let waiting: Vec<String> = services.iter().filter_map(|name| unready(&seen, name)).collect();
        if let Some(dead) = seen.containers.iter().find(|container| services.contains(&container.service) && crashed(container)) {
            let message =
                format!("{}: {} ended with exit code {} right after its start", project.remote.target.host, dead.name, dead.exit_code);
            return Err(Failure::theirs(message).maybe_acted().tail(log(project, dead).await));
        }
        if waiting.is_empty() {
            if settled || !young(&seen) {
                return Ok(seen);
            }
            settled = true;
            pause(project.remote.ctx, SETTLE).await.map_err(Failure::maybe_acted)?;
            continue;
        }
        settled = false;
        if !wait.again(&waiting.join(", ")).await.map_err(Failure::maybe_acted)? {
            let message = format!("{}: not ready after {} s: {}", project.remote.target.host, wait.seconds(), waiting.join(", "));
            let bad = seen.containers.iter().find(|container| !container.well());
            let tail = if let Some(bad) = bad { log(project, bad).await } else { Vec::new() };
            return Err(Failure::theirs(message).maybe_acted().tail(tail));
        }
    }
}

fn crashed(container: &Container) -> bool {
    matches!(container.state.as_str(), "exited" | "dead") && container.exit_code != 0
}

/// Why a service is not ready: `terraria is starting`.
fn unready(seen: &Seen, name: &str) -> Option<String> {
    let ended_well = |container: &Container| container.state == "exited" && container.exit_code == 0;
    if seen.of(name).next().is_none() {
        return Some(format!("{name} has no container"));
    }
    let bad = seen.of(name).find(|container| !container.well() && !ended_well(container))?;
    Some(format!("{name} is {}", if bad.runs() { &bad.health } else { &bad.state }))
}

/// The last lines that a container wrote.
async fn log(project: &Project<'_>, container: &Container) -> Vec<String> {
    let command = Command::new("docker").args(["logs", "--tail", "8", container.name.as_str()]);
    let Ok(output) = project.remote.look(command).await else { return Vec::new() };
    output.stdout.lines().chain(output.stderr.lines()).map(str::to_owned).collect()
}

/// `stop(timeout)`.
pub(super) async fn stop(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Stop>()?;
    let Some(project) = Project::at(ctx, &globals) else { return outcome(Outcome::unchanged(VM_IS_OFF), &off()) };
    let before = project.look(&project.services().await?).await?;
    let running = before.running();
    if running.is_empty() {
        return outcome(Outcome::unchanged("no service runs"), &before.state());
    }
    let plan = if arguments.timeout.is_none() { project.plan().await? } else { Default::default() };
    let after = bring_down(&project, &before, &running, arguments.timeout.map(Duration::from_secs), plan.values()).await?;
    outcome(Outcome::changed(format!("stopped {}", names(&running))), &after.state())
}

/// Stops services, each with its time to save, and makes sure that none was killed.
async fn bring_down<'p>(
    project: &Project<'_>,
    before: &Seen,
    services: &BTreeSet<String>,
    grace: Option<Duration>,
    plans: impl Iterator<Item = &'p Plan>,
) -> Result<Seen, Failure> {
    let grace = grace.unwrap_or_else(|| plans.filter_map(|plan| plan.grace).max().unwrap_or_default().max(GRACE));
    let seconds = grace.as_secs().to_string();
    let mut words = vec!["stop", "-t", &seconds];
    words.extend(services.iter().map(String::as_str));
    let count = u32::try_from(before.containers.len()).unwrap_or(u32::MAX);
    // Services that depend on each other stop one after the other, each with its own time.
    act(project, &words, DOWN, grace.saturating_mul(count).saturating_add(GRACE)).await?;
    let after = project.look(&before.expected).await.map_err(Failure::maybe_acted)?;
    let ran: Vec<&Container> =
        before.containers.iter().filter(|container| container.runs() && services.contains(&container.service)).collect();
    for container in ran {
        let Some(now) = after.containers.iter().find(|now| now.id == container.id) else { continue };
        if now.runs() {
            let message = format!("{}: {} runs again after its stop", project.remote.target.host, now.name);
            return Err(Failure::theirs(message).maybe_acted().help("something else starts it, or its restart policy does"));
        }
        if now.exit_code == KILLED {
            let why =
                if now.oom { "the kernel ended it for want of memory".to_owned() } else { format!("it did not end within {seconds} s") };
            let message =
                format!("{}: {} was killed (exit code 137, {why}): its world may be unsaved", project.remote.target.host, now.name);
            let tail = log(project, now).await;
            return Err(Failure::theirs(message)
                .maybe_acted()
                .help("look at its last lines before it is started again; a longer `timeout` gives it more time")
                .tail(tail));
        }
    }
    Ok(after)
}

/// `update(timeout)`.
pub(super) async fn update(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, arguments) = call.typed::<Globals, Start>()?;
    let project = Project::on(ctx, &globals)?;
    let plan = project.plan().await?;
    let before = project.look(&plan.keys().cloned().collect::<Vec<_>>()).await?;
    pull(&project, plan.values().any(|plan| plan.built)).await?;
    let images: BTreeSet<String> = plan.values().filter_map(|plan| plan.image.clone()).collect();
    let ids = project.image_ids(&images).await?;
    let mut changes = Vec::new();
    let mut changed = BTreeSet::new();
    for (name, plan) in &plan {
        let Some(new) = plan.image.as_ref().and_then(|image| ids.get(image)) else { continue };
        let old = before.of(name).filter_map(|container| container.image_id.as_ref()).find(|id| *id != new);
        if let Some(old) = old {
            changes.push(format!("{name} ({} → {})", short(old), short(new)));
            changed.insert(name.clone());
        }
    }
    let stale: BTreeSet<String> = before.running().intersection(&changed).cloned().collect();
    if !stale.is_empty() {
        let plans = stale.iter().filter_map(|name| plan.get(name));
        bring_down(&project, &before, &stale, None, plans).await?;
    }
    let off: BTreeSet<String> =
        before.expected.iter().filter(|name| !before.of(name).any(Container::runs) && !changed.contains(*name)).cloned().collect();
    let start: Vec<&str> = changed.iter().chain(&off).map(String::as_str).collect();
    if start.is_empty() {
        return outcome(Outcome::unchanged("every image is current"), &before.state());
    }
    up(&project, &start).await?;
    let after = ready(&project, &before, arguments.timeout).await?;
    let updated = if changes.is_empty() { "every image is current".to_owned() } else { format!("updated {}", changes.join(", ")) };
    let started = if off.is_empty() { String::new() } else { format!("; started {}", names(&off)) };
    outcome(Outcome::changed(format!("{updated}{started}")), &after.state())
}

async fn pull(project: &Project<'_>, some_built: bool) -> Result<(), Failure> {
    let mut words = vec!["pull", "-q"];
    if some_built {
        words.push("--ignore-buildable");
    }
    words.extend(project.only.as_deref());
    act(project, &words, PULL, PULL_DEADLINE).await
}

/// The beginning of an image's id.
fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}

/// `status()`.
pub(super) async fn status(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Nothing {}) = call.typed::<Globals, _>()?;
    let Some(project) = Project::at(ctx, &globals) else { return outcome(Outcome::unchanged(VM_IS_OFF), &off()) };
    let state = project.look(&project.services().await?).await?.state();
    let each = state.services.iter().map(|service| {
        let health = if service.health.is_empty() { String::new() } else { format!(", {}", service.health) };
        format!("{} {}{health}", service.service, service.state)
    });
    let summary = each.collect::<Vec<_>>().join("; ");
    outcome(Outcome::unchanged(if summary.is_empty() { "the compose file has no services".to_owned() } else { summary }), &state)
}
