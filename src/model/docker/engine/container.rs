//! `stop`, `inspect` and `exec`: a container that is there.

use std::time::Duration;

use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::docker::engine::client::{Engine, Seen, absent};
use crate::model::docker::engine::{Container, Exec, Named, Results, names, value};
use crate::model::remote::{SshGlobals, VM_IS_OFF};
use crate::wire::command::Command;
use crate::wire::ssh;

/// The wait for a stop.
pub const DOWN: &str = "the container to save and stop";
/// What a container has to save, at least: Docker's own 10 s killed many a world.
pub const GRACE: Duration = Duration::from_secs(60);
/// The wait for a command.
pub const COMMAND: &str = "the command";
/// Its deadline.
pub const COMMAND_DEADLINE: Duration = Duration::from_secs(600);
/// The exit code of a container that was killed.
const KILLED: i64 = 137;

/// Adds the container's state.
pub fn outcome(outcome: Outcome, container: &Container) -> Result<Outcome, Failure> {
    Ok(outcome.write("container", container.container_name.clone(), value(container)?))
}

/// `inspect(containerName)`.
pub(super) async fn inspect(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Named { container_name: name }) = call.typed::<SshGlobals, _>()?;
    names::container(&name)?;
    let Some(engine) = Engine::at(ctx, &globals) else { return outcome(Outcome::unchanged(VM_IS_OFF), &absent(&name, "off")) };
    match engine.container(&name).await? {
        Some(seen) => outcome(Outcome::unchanged(format!("{name} is {}", seen.state)), &seen.attributes(&name)),
        None => outcome(Outcome::unchanged(format!("{}: there is no container `{name}`", engine.host())), &absent(&name, "missing")),
    }
}

/// `stop(containerName)`.
pub(super) async fn stop(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Named { container_name: name }) = call.typed::<SshGlobals, _>()?;
    names::container(&name)?;
    let Some(engine) = Engine::at(ctx, &globals) else { return outcome(Outcome::unchanged(VM_IS_OFF), &absent(&name, "off")) };
    let Some(before) = engine.container(&name).await? else {
        return outcome(Outcome::unchanged(format!("{}: there is no container `{name}`", engine.host())), &absent(&name, "missing"));
    };
    if !before.runs() {
        return outcome(Outcome::unchanged(format!("{name} is {} already", before.state)), &before.attributes(&name));
    }
    let after = bring_down(&engine, &name, &before).await?;
    outcome(Outcome::changed(format!("stopped {name}")), &after.attributes(&name))
}

/// Stops a running container with its time to save, and makes sure that it was not killed.
pub(super) async fn bring_down(engine: &Engine<'_>, name: &str, before: &Seen) -> Result<Seen, Failure> {
    let grace = before.stop_timeout.map(Duration::from_secs).unwrap_or_default().max(GRACE);
    engine.remote.ctx.reporter.phase(DOWN, Some(grace));
    let seconds = grace.as_secs().to_string();
    engine.act(&["stop", "-t", &seconds, name], grace + GRACE).await?;
    let host = engine.host();
    let after = engine.container(name).await.map_err(Failure::maybe_acted)?;
    let after = after.ok_or_else(|| Failure::theirs(format!("{host}: {name} is gone after its stop")).maybe_acted())?;
    if after.runs() {
        let failure = Failure::theirs(format!("{host}: {name} runs again after its stop")).maybe_acted();
        return Err(failure.help("something else starts it, or its restart policy does"));
    }
    if after.exit_code == KILLED {
        let why =
            if after.oom { "the kernel ended it for want of memory".to_owned() } else { format!("it did not end within {seconds} s") };
        let message = format!("{host}: {name} was killed (exit code 137, {why}): its data may be unsaved");
        let failure = Failure::theirs(message).maybe_acted().tail(engine.log(name).await);
        return Err(
            failure.help("look at its last lines before it is started again; a longer stop timeout of the container gives it more time")
        );
    }
    Ok(after)
}

/// `exec(containerName, command, workdir)`.
pub(super) async fn exec(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Exec { container_name: name, command, workdir }) = call.typed::<SshGlobals, _>()?;
    names::container(&name)?;
    let words = command.argv()?;
    if let Some(dir) = &workdir {
        names::absolute("directory inside a container", dir)?;
    }
    let engine = Engine::on(ctx, &globals)?;
    match engine.container(&name).await? {
        Some(seen) if seen.state == "running" => {}
        Some(seen) => return Err(Failure::theirs(format!("{}: {name} does not run, it is {}", engine.host(), seen.state))),
        None => return Err(Failure::theirs(format!("{}: there is no container `{name}`", engine.host()))),
    }
    ctx.reporter.phase(COMMAND, Some(COMMAND_DEADLINE));
    let place = workdir.map(|dir| format!("--workdir={dir}"));
    let command = Command::new("docker").arg("exec").args(place).arg(name.as_str()).args(words.clone());
    let output = engine.remote.act(ssh::Exec::new(command, COMMAND_DEADLINE)).await?;
    let shown = words.join(" ");
    if output.status != 0 {
        return Err(engine.refused(&format!("exec {name} {shown}"), &output).maybe_acted());
    }
    let host = engine.host().to_owned();
    let summary = format!("ran `{shown}` in {name} on {host}");
    let results = Results {
        host,
        container_name: Some(name),
        command: Some(words),
        stdout: Some(output.stdout),
        stderr: Some(output.stderr),
        exit_code: Some(output.status),
        version: None,
    };
    Ok(Outcome::changed(summary).write("result", "result", value(&results)?))
}
