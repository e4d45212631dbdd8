//! Starting and stopping: a start counts when players can join, a stop when the world is saved and the process is gone.

use std::time::Duration;

use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::minecraft::server::console::Console;
use crate::model::minecraft::server::session::{Jvm, Mark, Seen, message};
use crate::model::minecraft::server::{Globals, Server, Start, Stop, done};
use crate::model::remote::{VM_IS_OFF, off};
use crate::model::wait::Wait;

/// The wait of a start.
pub const READY: &str = "the server to let players in";
/// The first wait of a stop.
pub const SAVED: &str = "the world to be saved";
/// The second.
pub const ENDED: &str = "the server to end";
/// The third: a start script that restarts its server is ended too.
pub const SETTLED: &str = "the start script to end";
/// Its deadline.
pub const SETTLE: Duration = Duration::from_secs(15);
/// How long a start script may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const PERIOD: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Lines of the log shown with a failure.
const TAIL: usize = 8;

/// `startMinecraftServer`.
pub async fn start(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Start { timeout }) = call.typed::<Globals, _>()?;
    globals.check()?;
    let remote = globals.ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    let console = Console::new(&remote, &globals);
    if console.ping().await.is_ok() {
        return done(Outcome::unchanged("the server runs already"), &globals, &console.observe().await?);
    }
    let seen = console.session.look().await?;
    let host = &remote.target.host;
    if seen.jvm().is_none() && seen.listening {
        let message = format!(
            "{host}: somebody listens on port {} who is not the server of the tmux session `{}`",
            globals.port, globals.tmux_session
        );
        return Err(Failure::theirs(message).help("`ss -ltnp` on the host says who; is it the same server, started by other means?"));
    }
    // Whatever the log holds up to here is of an earlier start, its `Done` too.
    let mark = console.session.mark().await?;
    if let Some(jvm) = seen.jvm() {
        if console.ask(&seen, &[]).await?.is_some() {
            return done(Outcome::unchanged("the server runs already"), &globals, &console.observe().await?);
        }
        ctx.reporter.warn(&format!("the server is starting already (process {}): pmx waits for it and starts no second one", jvm.pid));
    } else {
        launch(&console, &seen).await?;
    }
    let begun = seen.jvm().is_none();
    let server = ready(&console, (&mark, begun), Duration::from_secs(timeout)).await.map_err(Failure::maybe_acted)?;
    done(Outcome::changed(format!("started {}: {}", globals.server_name, server.summary())), &globals, &server)
}

/// Begins the session, anew where only an idle shell is in it.
async fn launch(console: &Console<'_>, seen: &Seen) -> Result<(), Failure> {
    if seen.session() && !seen.idle() {
        let (host, name) = (&console.session.remote.target.host, console.session.name());
        let message = format!("{host}: the tmux session `{name}` runs something else: {}", seen.programs());
        return Err(Failure::theirs(message)
            .help("a start script that is about to restart its server needs a moment; anything else must be ended by hand"));
    }
    if seen.session() {
        console.session.end().await?;
    }
    console.session.begin().await
}

/// Waits until players can join. A server that pmx did not begin may have logged before the mark that it is done, so it is asked each time.
async fn ready(console: &Console<'_>, (mark, begun): (&Mark, bool), deadline: Duration) -> Result<Server, Failure> {
    let (session, ctx) = (&console.session, console.session.remote.ctx);
    let host = &session.remote.target.host;
    let mut wait = Wait::begin(ctx, READY, deadline, PERIOD);
    let (mut last, mut quiet) = (String::from("nothing in its log yet"), false);
    while wait.again(&last).await? {
        if let Ok(players) = console.ping().await {
            return Ok(Server::up(Some(&players)));
        }
        let (seen, log) = (session.look().await?, session.since(mark).await?);
        // A start script run by `sh start.sh` looks like a shell that waits for a moment, before it begins the server.
        if !seen.session() || (seen.idle() && std::mem::replace(&mut quiet, true)) {
            return Err(Failure::theirs(format!("{host}: the server ended while it started")).tail(tail(&log)));
        }
        // The ping may be switched off, or be out of reach from here.
        if (!begun || log.lines().any(|line| is_done(message(line))))
            && let Some(answer) = console.ask(&seen, &[]).await?
        {
            return Ok(Server::up(Some(&answer.players)));
        }
        last = log.lines().map(str::trim).rfind(|line| !line.is_empty()).map_or(last, str::to_owned);
    }
    let log = session.since(mark).await?;
    Err(Failure::theirs(format!("{host}: the server lets nobody in after {} s; it goes on starting", wait.seconds()))
        .tail(tail(&log))
        .help("a large pack may need a longer timeout"))
}

/// `Done (31.402s)! For help, type "help"`.
fn is_done(message: &str) -> bool {
    message.starts_with("Done (") && message.contains(")! For help")
}

fn tail(log: &str) -> Vec<String> {
    let lines: Vec<String> = log.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines[lines.len().saturating_sub(TAIL)..].to_vec()
}

/// `stopMinecraftServer`.
pub async fn stop(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Stop { timeout }) = call.typed::<Globals, _>()?;
    globals.check()?;
    let deadline = Duration::from_secs(timeout);
    let down = Server::down();
    let Some(remote) = globals.ssh.remote(ctx) else { return done(Outcome::unchanged(VM_IS_OFF), &globals, &down) };
    let console = Console::new(&remote, &globals);
    let seen = console.session.look().await?;
    let Some(jvm) = seen.jvm() else {
        if seen.listening {
            let message = format!(
                "{}: a server listens on port {}, but not in the tmux session `{}`",
                remote.target.host, globals.port, globals.tmux_session
            );
            return Err(Failure::theirs(message).help("it was started by other means; stop it by those, or set tmuxSession"));
        }
        // Between two servers of a script that restarts them: without its end the next one comes.
        let looping = match seen.busy()[..] {
            [] => false,
            [pane] => settle(&console, pane.pid, None).await.map(|()| true)?,
            _ => return Err(Failure::theirs(unsettled(&console, &seen)).help("which of them is the start script? end it by hand")),
        };
        let outcome = if looping {
            Outcome::changed("ended a start script that had no server")
        } else {
            Outcome::unchanged("the server does not run")
        };
        return done(outcome, &globals, &down);
    };
    let mark = console.session.mark().await?;
    if console.ask(&seen, &[]).await?.is_none() {
        return Err(console.silent(": its world cannot be saved, so it was not stopped"));
    }
    save(&console, &jvm, deadline).await.map_err(Failure::maybe_acted)?;
    end(&console, &jvm, (&mark, deadline)).await.map_err(Failure::maybe_acted)?;
    settle(&console, jvm.pane.pid, Some(&jvm)).await.map_err(Failure::maybe_acted)?;
    done(Outcome::changed(format!("saved and stopped {}", globals.server_name)), &globals, &down)
}

/// Tells a server that has saved to end, and waits until it has. One that does not goes on with its saving switched on, if it goes on at all.
async fn end(console: &Console<'_>, jvm: &Jvm, limit: (&Mark, Duration)) -> Result<(), Failure> {
    let ended = async {
        console.session.type_lines(jvm, &["stop"]).await?;
        gone(console, jvm, limit).await
    };
    let ended = ended.await;
    if ended.is_err() {
        console.session.insist(jvm, "save-on").await;
    }
    ended
}

/// Saves the world and waits for the server's word on it. Saving is switched on again when that does not come: the server plays on.
async fn save(console: &Console<'_>, jvm: &Jvm, deadline: Duration) -> Result<(), Failure> {
    let saved = saved(console, jvm, deadline).await;
    if !matches!(saved, Ok(true)) {
        console.session.insist(jvm, "save-on").await;
    }
    if saved? {
        return Ok(());
    }
    let host = &console.session.remote.target.host;
    Err(Failure::theirs(format!(
        "{host}: the server did not confirm within {} s that the world is saved: it was not stopped",
        deadline.as_secs()
    ))
    .help("it runs on, and saves by itself as before"))
}

async fn saved(console: &Console<'_>, jvm: &Jvm, deadline: Duration) -> Result<bool, Failure> {
    let mark = console.session.mark().await?;
    let mut wait = Wait::begin(console.session.remote.ctx, SAVED, deadline, (Duration::from_millis(200), Duration::from_secs(2)));
    console.session.type_lines(jvm, &["save-off", "save-all flush"]).await?;
    while wait.again("the server has not said so").await? {
        let log = console.session.since(&mark).await?;
        // The second is what servers before 1.13 say.
        if log.lines().map(message).any(|line| matches!(line, "Saved the game" | "Saved the world")) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Waits until the process is gone. One that stays is told and left alone: killing it could cost the world.
async fn gone(console: &Console<'_>, jvm: &Jvm, (mark, deadline): (&Mark, Duration)) -> Result<(), Failure> {
    let session = &console.session;
    let mut wait = Wait::begin(session.remote.ctx, ENDED, deadline, PERIOD);
    while wait.again(&format!("process {} still runs", jvm.pid)).await? {
        if session.look().await?.only(jvm.pane.pid).jvm().is_none_or(|now| !now.is(jvm)) {
            return Ok(());
        }
    }
    let (host, log) = (&session.remote.target.host, session.since(mark).await?);
    let message = format!(
        "{host}: the server was told to stop, but its JVM (process {}) still runs after {} s; it was not killed",
        jvm.pid,
        wait.seconds()
    );
    Err(Failure::theirs(message).tail(tail(&log)).help("its world was saved before; look what it does, and end it by hand when it hangs"))
}

/// Waits until nothing but an idle shell is left in a pane, and ends a script there that would start the server again.
async fn settle(console: &Console<'_>, pane: u32, stopped: Option<&Jvm>) -> Result<(), Failure> {
    let session = &console.session;
    let mut wait = Wait::begin(session.remote.ctx, SETTLED, SETTLE, (Duration::from_millis(300), Duration::from_secs(2)));
    let mut pressed = false;
    loop {
        let seen = session.look().await?.only(pane);
        if let Some(jvm) = seen.jvm().filter(|jvm| stopped.is_none_or(|stopped| !jvm.is(stopped))) {
            let message =
                format!("{}: the server came back (process {}): its start script restarts it", session.remote.target.host, jvm.pid);
            return Err(
                Failure::theirs(message).help("switch the script's restart off, such as ATM10_RESTART=false in packs of All the Mods")
            );
        }
        let busy = seen.busy();
        let [script] = busy[..] else { return Ok(()) };
        if !pressed && (stopped.is_none() || wait.lasted() >= PATIENCE) {
            session.interrupt(script).await?;
            pressed = true;
        }
        if !wait.again(&seen.programs()).await? {
            return Err(Failure::theirs(unsettled(console, &seen)).help("it may start the server again: end it by hand"));
        }
    }
}

fn unsettled(console: &Console<'_>, seen: &Seen) -> String {
    let (session, programs) = (&console.session, seen.programs());
    format!("{}: no server runs, but {programs} still does in the tmux session `{}`", session.remote.target.host, session.name())
}
