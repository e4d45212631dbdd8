//! `install`: Docker from the distribution's packages, started now and at each boot.

use std::time::Duration;

use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::docker::engine::client::Engine;
use crate::model::docker::engine::{Nothing, Results, value};
use crate::model::remote::{SshGlobals, tail};
use crate::model::wait::Wait;
use crate::wire::command::Command;
use crate::wire::ssh::Exec;

/// The wait for the package manager.
pub const PACKAGES: &str = "the packages";
/// Its deadline.
pub const PACKAGES_DEADLINE: Duration = Duration::from_secs(900);
/// The wait for the engine.
pub const ANSWER: &str = "the engine to answer";
/// Its deadline.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// How a host is given Docker: what is run, in order. The service is enabled before it is started, so that an engine that answers is one that comes back.
struct Way {
    manager: &'static str,
    steps: &'static [&'static str],
    help: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        manager: "apk",
        steps: &["apk add docker docker-cli-compose", "rc-update add docker default", "rc-service docker start"],
        help: "the package is in Alpine's community repository: is that line of /etc/apk/repositories active?",
    },
    Way {
        manager: "apt-get",
        // Recommended packages too: since Debian 13 the client is one of them.
        steps: &[
            "DEBIAN_FRONTEND=noninteractive apt-get update",
            "DEBIAN_FRONTEND=noninteractive apt-get install -y docker.io",
            "systemctl enable docker",
            "systemctl start docker",
        ],
        help: "is the host's /etc/apt/sources.list in order, and does no other apt run there?",
    },
];

/// The manager that is there, or nothing.
const WHICH: &str = "for name in apk apt-get; do if command -v \"$name\" >/dev/null 2>&1; then echo \"$name\"; exit 0; fi; done";

/// `install()`.
pub(super) async fn install(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Nothing {}) = call.typed::<SshGlobals, _>()?;
    let engine = Engine::on(ctx, &globals)?;
    if let Ok(version) = version(&engine).await? {
        let summary = format!("{}: Docker {version} answers already", engine.host());
        return outcome(Outcome::unchanged(summary), &engine, version);
    }
    let way = way(&engine).await?;
    ctx.reporter.phase(PACKAGES, Some(PACKAGES_DEADLINE));
    for step in way.steps {
        let output = engine.remote.act(Exec::new(Command::script(*step), PACKAGES_DEADLINE)).await?;
        if output.status != 0 {
            return Err(engine.remote.failed(&format!("`{step}`"), &output).maybe_acted().help(way.help));
        }
    }
    let mut wait = Wait::begin(ctx, ANSWER, ANSWER_DEADLINE, (Duration::from_millis(200), Duration::from_secs(3)));
    loop {
        let why = match version(&engine).await.map_err(Failure::maybe_acted)? {
            Ok(version) => {
                let summary = format!("{}: installed Docker {version}", engine.host());
                return outcome(Outcome::changed(summary), &engine, version);
            }
            Err(why) => why,
        };
        if !wait.again(why.last().map_or("it says nothing", String::as_str)).await.map_err(Failure::maybe_acted)? {
            let message = format!("{}: Docker is installed, but does not answer after {} s", engine.host(), wait.seconds());
            return Err(Failure::theirs(message).maybe_acted().tail(why).help("its log: /var/log/docker.log, or `journalctl -u docker`"));
        }
    }
}

/// The engine's version, or what `docker version` says instead.
async fn version(engine: &Engine<'_>) -> Result<Result<String, Vec<String>>, Failure> {
    let output = engine.remote.look(Command::new("docker").args(["version", "--format", "{{.Server.Version}}"])).await?;
    if output.stderr.contains("permission denied while trying to connect") {
        return Err(engine.refused("version", &output));
    }
    let version = output.stdout.trim();
    Ok(if output.status == 0 && !version.is_empty() { Ok(version.to_owned()) } else { Err(tail(&output)) })
}

async fn way(engine: &Engine<'_>) -> Result<&'static Way, Failure> {
    let output = engine.remote.look(Command::script(WHICH)).await?;
    let found = WAYS.iter().find(|way| way.manager == output.stdout.trim());
    found.ok_or_else(|| {
        let message = format!("{}: there is neither apk nor apt-get", engine.host());
        Failure::theirs(message).help("install Docker there by hand; everything else of this type works on any Linux")
    })
}

fn outcome(outcome: Outcome, engine: &Engine<'_>, version: String) -> Result<Outcome, Failure> {
    let results = Results { host: engine.host().to_owned(), version: Some(version), ..Results::default() };
    Ok(outcome.write("result", "result", value(&results)?))
}
