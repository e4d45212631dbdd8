//! `minecraft/server`: a Minecraft server in a tmux session: who plays, warnings, a start that waits, a stop that saves.

mod console;
mod control;
mod ping;
mod rcon;
mod session;
#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::console::{LEAVE, check, count_down};
use crate::model::contract::{
    Acts, At, Call, Context, Effect, Failure, Instance, MethodRow, Observer, Outcome, PhaseRow, SpecRow, TypeRow, Writes,
};
use crate::model::minecraft::server::console::{Answer, Console};
use crate::model::remote::{SshGlobals, VM_IS_OFF, off};
use crate::model::schema::object;
use crate::secret::Secret;
use crate::value::Value;

const DOC: &str = r#"
A Minecraft server (Java edition) that a start script runs in a tmux session.

```toml
type = "minecraft/server"

[global]
sshHost = '${{ model.fleet.resource.vm["allthemons"].attributes.ip }}'
serverName = "allthemons"
serverDir = "~/mons"

[methods.stopMinecraftServer]
timeout = 180
```

`status` asks by Server List Ping, from where pmx runs, and goes by RCON (if `rcon` holds its password) or the console where no ping comes through. `online` is
null when nobody answers: that is not the same as nobody, and `0 of 0`, as a router in front of a sleeping server says, is no answer. The server runs when its
session holds a JVM (a process `java`), or when its port is open.

Commands go by RCON if there is one, else they are typed into the pane that holds the JVM, whichever window is in front, and only after the console has
answered `list`; its answers are read in the log (`logPath`, by default `logs/latest.log` in `serverDir`). RCON is plain text, its password too: use it only
where nobody else hears the network. A message is one line of at most 1000 bytes, and arrives letter by letter, whatever tmux or a shell would make of it.

`warnShutdown` tells the players several times, and returns at once when nobody plays or when the last player has left.

`stopMinecraftServer` switches automatic saving off, saves, waits for the server's own word that it did (up to `timeout` seconds), stops it and waits for the
JVM to be gone (up to `timeout` again). A save that is not confirmed stops nothing. A JVM that stays is reported and never killed; automatic saving is then
switched on again. A script that would start the server again is ended with ctrl-c once the JVM is gone.

`startMinecraftServer` begins the session and waits until players can join; what the log held before does not count. An idle shell in the session gives way;
anything else there is a failure. `op` and `deop` take plain player names only.

A server whose VM is off needs no warning and no stop, and its status says so; everything else fails.

Every call, as a step of a workflow:

```toml
[[step]]
name = "status"
call = "allthemonsMinecraft.status"

[[step]]
name = "operator"
call = "allthemonsMinecraft.op"
with = { player = "Keeb" }

[[step]]
name = "no-operator"
call = "allthemonsMinecraft.deop"
with = { player = "Steve" }

[[step]]
name = "say"
call = "allthemonsMinecraft.say"
with = { message = "a new map tonight" }

[[step]]
name = "warn"
call = "allthemonsMinecraft.warnShutdown"
with = { seconds = 60 }

[[step]]
name = "stop"
call = "allthemonsMinecraft.stopMinecraftServer"

[[step]]
name = "start"
call = "allthemonsMinecraft.startMinecraftServer"
with = { timeout = 600 }
```
"#;

const SERVER: &[Writes] = &[Writes { spec: "server", instance: Instance::Argument("serverName") }];
const HOST: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: false }];
const ANSWER: PhaseRow = PhaseRow { name: console::PHASE, argument: None, seconds: console::DEADLINE.as_secs() };

const fn row(name: &'static str, doc: &'static str, effect: Effect) -> MethodRow {
    MethodRow {
        name,
        doc,
        effect,
        by_command: false,
        arguments: object::<Nothing>,
        writes: SERVER,
        acts: HOST,
        fresh: Duration::ZERO,
        phases: &[ANSWER],
        run: |ctx, call| Box::pin(status(ctx, call)),
    }
}

/// The row of `minecraft/server`.
pub static TYPE: TypeRow = TypeRow {
    name: "minecraft/server",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[SpecRow {
        name: "server",
        doc: "The server and who plays.",
        attributes: object::<Server>,
        observer: Some(Observer { one: "status", argument: None, all: None }),
        trust: Some(Duration::from_secs(60)),
    }],
    methods: &[
        MethodRow {
            arguments: object::<Say>,
            run: |ctx, call| Box::pin(say(ctx, call)),
            ..row("say", "Says something to all players.", Effect::Act)
        },
        MethodRow {
            arguments: object::<Warn>,
            phases: &[ANSWER, PhaseRow { name: LEAVE, argument: Some("seconds"), seconds: 30 }],
            run: |ctx, call| Box::pin(warn_shutdown(ctx, call)),
            ..row(
                "warnShutdown",
                "Tells the players that the server goes down, and waits until it is time or everybody has left.",
                Effect::Act,
            )
        },
        MethodRow {
            arguments: object::<Stop>,
            phases: &[
                ANSWER,
                PhaseRow { name: control::SAVED, argument: Some("timeout"), seconds: 90 },
                PhaseRow { name: control::ENDED, argument: Some("timeout"), seconds: 90 },
                PhaseRow { name: control::SETTLED, argument: None, seconds: control::SETTLE.as_secs() },
            ],
            run: |ctx, call| Box::pin(control::stop(ctx, call)),
            ..row("stopMinecraftServer", "Saves the world, then stops the server, and waits until its process is gone.", Effect::Converge)
        },
        MethodRow {
            arguments: object::<Start>,
            phases: &[ANSWER, PhaseRow { name: control::READY, argument: Some("timeout"), seconds: 180 }],
            run: |ctx, call| Box::pin(control::start(ctx, call)),
            ..row("startMinecraftServer", "Starts the server unless it runs, and waits until players can join.", Effect::Converge)
        },
        row("status", "Asks who plays.", Effect::Observe),
        MethodRow {
            arguments: object::<Player>,
            run: |ctx, call| Box::pin(operator(ctx, call, true)),
            ..row("op", "Makes a player an operator.", Effect::Converge)
        },
        MethodRow {
            arguments: object::<Player>,
            run: |ctx, call| Box::pin(operator(ctx, call, false)),
            ..row("deop", "Makes an operator a player like the others.", Effect::Converge)
        },
    ],
};

/// Which server, on which host.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Globals {
    #[serde(flatten)]
    ssh: SshGlobals,
    /// The tmux session that the server runs in.
    #[serde(default = "mons")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"))]
    tmux_session: String,
    /// The server's directory; a leading `~/` is the user's home.
    #[serde(default = "server_dir")]
    #[schemars(regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    server_dir: String,
    /// What starts the server, run in its directory by a shell.
    #[serde(default = "start_script")]
    #[schemars(regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    start_script: String,
    /// The server's log; null means `logs/latest.log` in its directory.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[^\x00-\x1f\x7f]*$"))]
    log_path: Option<String>,
    /// The name that its state is kept under.
    #[schemars(regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    server_name: String,
    /// The RCON password (`rcon.password`); null means that the server offers no RCON.
    #[serde(default)]
    rcon: Option<Secret>,
    /// The RCON port (`rcon.port`).
    #[serde(default = "rcon_port")]
    #[schemars(range(min = 1))]
    rcon_port: u16,
    /// The port that players connect to.
    #[serde(default = "game_port")]
    #[schemars(range(min = 1))]
    port: u16,
}

impl Globals {
    fn log(&self) -> String {
        let own = self.log_path.as_deref().map(str::trim).filter(|path| !path.is_empty());
        own.map_or_else(|| format!("{}/logs/latest.log", self.server_dir.trim_end_matches('/')), str::to_owned)
    }

    /// A session's name becomes a target of tmux, which gives `.` and `:` and `=` meanings of their own.
    fn check(&self) -> Result<(), Failure> {
        let name = &self.tmux_session;
        let good =
            (1..=64).contains(&name.len()) && !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if good {
            return Ok(());
        }
        Err(Failure::yours(format!("tmuxSession `{}` is no name: letters, digits, `_` and `-` only", name.escape_debug())))
    }
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Say {
    /// One line of text.
    message: String,
}

#[derive(Deserialize, JsonSchema)]
struct Warn {
    /// Seconds between the first warning and the return.
    #[serde(default = "half_a_minute")]
    #[schemars(range(max = 3600))]
    seconds: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Stop {
    /// Seconds that saving may take, and then as many for the server to end.
    #[serde(default = "ninety")]
    #[schemars(range(min = 1, max = 3600))]
    timeout: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Start {
    /// Seconds until players must be able to join.
    #[serde(default = "three_minutes")]
    #[schemars(range(min = 1, max = 7200))]
    timeout: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Player {
    /// The player's name: 3 to 16 letters, digits and underscores.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_]{3,16}$"))]
    player: String,
}

fn mons() -> String {
    "mons".to_owned()
}
fn server_dir() -> String {
    "~/mons".to_owned()
}
fn start_script() -> String {
    "./startserver.sh".to_owned()
}
fn rcon_port() -> u16 {
    25575
}
fn game_port() -> u16 {
    25565
}
fn half_a_minute() -> u64 {
    30
}
fn ninety() -> u64 {
    90
}
fn three_minutes() -> u64 {
    180
}

/// Who plays, as far as somebody told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Players {
    online: u32,
    max: Option<u32>,
    names: Vec<String>,
    version: Option<String>,
}

/// The server and who plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Server {
    /// Whether the server's process runs.
    server_running: bool,
    /// Whether it answers.
    server_ready: bool,
    /// How many play; null when nobody can tell.
    online: Option<u32>,
    /// How many may play; null when nobody can tell.
    max: Option<u32>,
    /// Who plays, as far as names are told.
    players: Vec<String>,
    /// The server's version; null when it was not told.
    version: Option<String>,
}

impl Server {
    /// Nobody plays on a server that does not run.
    const fn down() -> Self {
        Self { server_running: false, server_ready: false, online: Some(0), max: None, players: Vec::new(), version: None }
    }

    fn up(players: Option<&Players>) -> Self {
        Self {
            server_running: true,
            server_ready: players.is_some(),
            online: players.map(|players| players.online),
            max: players.and_then(|players| players.max),
            players: players.map(|players| players.names.clone()).unwrap_or_default(),
            version: players.and_then(|players| players.version.clone()),
        }
    }

    fn summary(&self) -> String {
        match self.online {
            _ if !self.server_running => "the server does not run".to_owned(),
            None => "the server runs, but does not answer: nobody knows who plays".to_owned(),
            Some(0) => "nobody plays".to_owned(),
            Some(count) if self.players.is_empty() => format!("{count} online"),
            Some(count) => format!("{count} online: {}", self.players.join(", ")),
        }
    }
}

fn done(outcome: Outcome, globals: &Globals, server: &Server) -> Result<Outcome, Failure> {
    let value = Value::from_typed(server).map_err(|e| Failure::bug(format!("attributes: {e}")))?;
    Ok(outcome.write("server", globals.server_name.as_str(), value))
}

async fn status(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Nothing {}) = call.typed::<Globals, _>()?;
    globals.check()?;
    let Some(remote) = globals.ssh.remote(ctx) else { return done(Outcome::unchanged(VM_IS_OFF), &globals, &Server::down()) };
    let server = Console::new(&remote, &globals).observe().await?;
    done(Outcome::unchanged(server.summary()), &globals, &server)
}

async fn say(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Say { message }) = call.typed::<Globals, _>()?;
    globals.check()?;
    check(&message)?;
    let remote = globals.ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    let console = Console::new(&remote, &globals);
    let answer = command(&console, &format!("say {message}")).await?;
    let server = console.observe().await.map_err(Failure::maybe_acted)?;
    done(Outcome::changed(format!("said to {} players: {message}", answer.players.online)), &globals, &server)
}

/// Gives one command to a server that has just answered: whatever else is in the session would take it for its own.
async fn command(console: &Console<'_>, line: &str) -> Result<Answer, Failure> {
    let seen = console.session.look().await?;
    if console.ask(&seen, &[]).await?.is_none() {
        return Err(console.silent(", so nothing was typed"));
    }
    let answer = console.ask(&seen, &[line]).await.map_err(Failure::maybe_acted)?;
    answer.ok_or_else(|| console.silent(" any more: nobody knows whether it heard").maybe_acted())
}

async fn warn_shutdown(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Warn { seconds }) = call.typed::<Globals, _>()?;
    globals.check()?;
    let Some(remote) = globals.ssh.remote(ctx) else { return done(Outcome::unchanged(VM_IS_OFF), &globals, &Server::down()) };
    let console = Console::new(&remote, &globals);
    let server = console.observe().await?;
    if !server.server_running {
        return done(Outcome::unchanged("the server does not run: nobody to warn"), &globals, &server);
    }
    if server.online == Some(0) {
        return done(Outcome::unchanged("nobody plays: no warning needed"), &globals, &server);
    }
    if globals.rcon.is_none() && console.session.look().await?.jvm().is_none() {
        let message =
            format!("{}: the tmux session `{}` holds no server, so nobody can be warned", remote.target.host, globals.tmux_session);
        return Err(Failure::theirs(message).help("the server was started by other means; set tmuxSession, or rcon"));
    }
    if server.online.is_none() {
        ctx.reporter.warn("the server does not answer: somebody may be playing, so the warning takes its full time");
    }
    let counted = count_down(&console, seconds).await;
    let server = console.observe().await.map_err(Failure::maybe_acted)?;
    match counted {
        Ok(Some((left, _))) => done(Outcome::changed(format!("everybody left {left} s early")), &globals, &server),
        Ok(None) => done(Outcome::changed(format!("warned for {seconds} s; {}", server.summary())), &globals, &server),
        // A server that went down by itself in between needs no further warning.
        Err(_) if !server.server_running => done(Outcome::changed("the server went down by itself"), &globals, &server),
        Err(failure) => Err(failure.maybe_acted()),
    }
}

async fn operator(ctx: &Context, call: Call, wanted: bool) -> Result<Outcome, Failure> {
    let (globals, Player { player }) = call.typed::<Globals, _>()?;
    globals.check()?;
    if !(3..=16).contains(&player.len()) || !player.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        // Refused, never repaired: another name is another player.
        return Err(Failure::yours(format!("`{}` is no player's name: 3 to 16 letters, digits and underscores", player.escape_debug())));
    }
    let remote = globals.ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    let console = Console::new(&remote, &globals);
    let verb = if wanted { "op" } else { "deop" };
    let answer = command(&console, &format!("{verb} {player}")).await?;
    let says = |starts: &[&str]| answer.lines.iter().any(|line| starts.iter().any(|start| line.starts_with(start)));
    // The second of each is what servers before 1.13 say.
    let changed = if wanted { says(&["Made ", "Opped "]) } else { says(&["Made ", "De-opped "]) };
    if !changed && says(&["That player does not exist", "Could not "]) {
        return Err(Failure::yours(format!("there is no player `{player}`")).tail(answer.lines));
    }
    if !changed && !says(&["Nothing changed"]) {
        let message = format!("{}: the server did not confirm `{verb} {player}`", remote.target.host);
        return Err(Failure::theirs(message).tail(answer.lines).maybe_acted());
    }
    let what = if wanted { "an operator" } else { "no operator" };
    let server = console.observe().await.map_err(Failure::maybe_acted)?;
    let outcome = if changed {
        Outcome::changed(format!("{player} is {what} now"))
    } else {
        Outcome::unchanged(format!("{player} is {what} already"))
    };
    done(outcome, &globals, &server)
}
