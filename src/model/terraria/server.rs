//! `terraria/server`: a Terraria or tModLoader server in a container, spoken to through its console.

mod console;
#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::console::{LEAVE, check, count_down};
use crate::model::contract::{
    Acts, At, Call, Context, Effect, Failure, Instance, MethodRow, Observer, Outcome, PhaseRow, SpecRow, TypeRow, Writes,
};
use crate::model::remote::{SshGlobals, VM_IS_OFF, off};
use crate::model::schema::object;
use crate::model::terraria::server::console::{Console, Found, Players};
use crate::value::Value;

const DOC: &str = r#"
A Terraria or tModLoader server that runs in a container, in a tmux session of its own, as the tModLoader images do.

```toml
type = "terraria/server"

[global]
sshHost = '${{ model.fleet.resource.vm["calamity"].attributes.ip }}'
containerName = "tmodloader"

[methods.warnShutdown]
seconds = 30
```

`status` asks the console who plays. `online` is null when the console does not answer: that is not the same as nobody. A container that does not run, or is
not there, has no players.

`say` types one line of at most 1000 bytes, letter by letter, and only into a console that has just answered: a shell that a server left behind gets nothing.

`warnShutdown` tells the players that the server goes down, several times until it does, and returns at once when nobody plays or when the last player has
left. A server that does not run, or whose VM is off, needs no warning.

What goes wrong: a console that does not answer within ten seconds (the world still loads, or the server has ended) fails `say`; `warnShutdown` then counts
down all the same, because nobody knows who plays. A message of several lines is refused before anything is typed. When the VM is off, `say` fails.

Every call, as a step of a workflow:

```toml
[[step]]
name = "status"
call = "calamityTerraria.status"

[[step]]
name = "say"
call = "calamityTerraria.say"
with = { message = "a new world tonight" }

[[step]]
name = "warn"
call = "calamityTerraria.warnShutdown"
with = { seconds = 60 }
```
"#;

const SERVER: &[Writes] = &[Writes { spec: "server", instance: Instance::Single("server") }];
const HOST: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: false }];
const ANSWER: PhaseRow = PhaseRow { name: console::PHASE, argument: None, seconds: console::DEADLINE.as_secs() };

/// The row of `terraria/server`.
pub static TYPE: TypeRow = TypeRow {
    name: "terraria/server",
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
            name: "say",
            doc: "Says something to all players.",
            effect: Effect::Act,
            by_command: false,
            arguments: object::<Say>,
            writes: SERVER,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[ANSWER],
            run: |ctx, call| Box::pin(say(ctx, call)),
        },
        MethodRow {
            name: "warnShutdown",
            doc: "Tells the players that the server goes down, and waits until it is time or everybody has left.",
            effect: Effect::Act,
            by_command: false,
            arguments: object::<Warn>,
            writes: SERVER,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[ANSWER, PhaseRow { name: LEAVE, argument: Some("seconds"), seconds: 30 }],
            run: |ctx, call| Box::pin(warn_shutdown(ctx, call)),
        },
        MethodRow {
            name: "status",
            doc: "Asks the console who plays.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<Nothing>,
            writes: SERVER,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[ANSWER],
            run: |ctx, call| Box::pin(status(ctx, call)),
        },
    ],
};

/// Which server, on which host.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Globals {
    #[serde(flatten)]
    ssh: SshGlobals,
    /// The container's name.
    #[serde(default = "tmodloader")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"))]
    container_name: String,
    /// The port that players connect to.
    #[serde(default = "game_port")]
    #[schemars(range(min = 1))]
    port: u16,
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

fn tmodloader() -> String {
    "tmodloader".to_owned()
}
fn game_port() -> u16 {
    7777
}
fn half_a_minute() -> u64 {
    30
}

/// The server and who plays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Server {
    /// Whether the container runs.
    server_running: bool,
    /// Whether its console answers.
    server_ready: bool,
    /// How many play; null when the console does not answer.
    online: Option<u32>,
    /// How many may play; null when the console does not tell.
    max: Option<u32>,
    /// Who plays, in the server's order.
    players: Vec<String>,
    /// The server's version; null when the console does not tell.
    version: Option<String>,
    /// The port that players connect to.
    port: u16,
}

impl Server {
    /// Nobody plays on a server that does not run.
    fn down(port: u16) -> Self {
        Self { server_running: false, server_ready: false, online: Some(0), max: None, players: Vec::new(), version: None, port }
    }

    fn up(port: u16, players: Option<&Players>) -> Self {
        Self {
            server_running: true,
            server_ready: players.is_some(),
            online: players.map(|players| players.count),
            players: players.map(|players| players.names.clone()).unwrap_or_default(),
            max: players.and_then(|players| players.max),
            version: players.and_then(|players| players.version.clone()),
            port,
        }
    }

    fn summary(&self) -> String {
        match self.online {
            _ if !self.server_running => "the server does not run".to_owned(),
            None => "the server runs, but its console does not answer: nobody knows who plays".to_owned(),
            Some(0) => "nobody plays".to_owned(),
            Some(count) => format!("{count} online: {}", self.players.join(", ")),
        }
    }
}

fn done(outcome: Outcome, server: &Server) -> Result<Outcome, Failure> {
    let value = Value::from_typed(server).map_err(|e| Failure::bug(format!("attributes: {e}")))?;
    Ok(outcome.write("server", "server", value))
}

async fn status(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Nothing {}) = call.typed::<Globals, _>()?;
    let Some(remote) = globals.ssh.remote(ctx) else { return done(Outcome::unchanged(VM_IS_OFF), &Server::down(globals.port)) };
    let console = Console::new(&remote, &globals.container_name);
    let server = match console.find().await? {
        Found::Runs => Server::up(globals.port, console.players().await?.as_ref()),
        Found::Stopped | Found::Missing => Server::down(globals.port),
    };
    done(Outcome::unchanged(server.summary()), &server)
}

async fn say(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Say { message }) = call.typed::<Globals, _>()?;
    check(&message)?;
    let remote = globals.ssh.remote(ctx).ok_or_else(|| off(ctx))?;
    let console = Console::new(&remote, &globals.container_name);
    if console.find().await? != Found::Runs {
        return Err(Failure::theirs(format!("{}: the container `{}` does not run", remote.target.host, globals.container_name)));
    }
    // Whatever is in the pane gets the text: only a console that has just answered as one is typed into.
    let silent = |when: &str| {
        Failure::theirs(format!("{}: the console of `{}` does not answer{when}", remote.target.host, globals.container_name))
            .help("the server may still load its world, or it has ended and left a shell behind")
    };
    if console.players().await?.is_none() {
        return Err(silent(", so nothing was said"));
    }
    console.type_lines(&[&format!("say {message}")]).await?;
    let players = console.players().await.map_err(Failure::maybe_acted)?;
    let players = players.ok_or_else(|| silent(" any more: nobody knows whether it was said").maybe_acted())?;
    done(Outcome::changed(format!("said to {} players: {message}", players.count)), &Server::up(globals.port, Some(&players)))
}

async fn warn_shutdown(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Warn { seconds }) = call.typed::<Globals, _>()?;
    let Some(remote) = globals.ssh.remote(ctx) else { return done(Outcome::unchanged(VM_IS_OFF), &Server::down(globals.port)) };
    let console = Console::new(&remote, &globals.container_name);
    let down = Server::down(globals.port);
    if console.find().await? != Found::Runs {
        return done(Outcome::unchanged("the server does not run: nobody to warn"), &down);
    }
    let players = console.players().await?;
    if players.as_ref().is_some_and(|players| players.count == 0) {
        return done(Outcome::unchanged("nobody plays: no warning needed"), &Server::up(globals.port, players.as_ref()));
    }
    if players.is_none() {
        ctx.reporter.warn("the console does not answer: somebody may be playing, so the warning takes its full time");
    }
    match count_down(&console, seconds).await {
        Ok(Some((left, players))) => {
            done(Outcome::changed(format!("everybody left {left} s early")), &Server::up(globals.port, Some(&players)))
        }
        Ok(None) => {
            let players = console.players().await.map_err(Failure::maybe_acted)?;
            let server = Server::up(globals.port, players.as_ref());
            done(Outcome::changed(format!("warned for {seconds} s; {}", server.summary())), &server)
        }
        // A server that went down by itself in between needs no further warning.
        Err(failure) => match console.find().await {
            Ok(Found::Stopped | Found::Missing) => done(Outcome::changed("the server went down by itself"), &down),
            _ => Err(failure.maybe_acted()),
        },
    }
}
