//! `docker/compose`: the services of one compose project on a host.

mod control;
mod project;
#[cfg(test)]
mod tests;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::contract::{Acts, At, Effect, Instance, MethodRow, Observer, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::remote::SshGlobals;
use crate::model::schema::object;

const DOC: &str = r#"
The services of one compose project: a directory with a compose file on a host that runs Docker with the compose plugin (version 2).

```toml
type = "docker/compose"

[global]
sshHost = '${{ model.fleet.resource.vm["calamity"].attributes.ip }}'
composePath = "~/game/"

[methods.stop]
timeout = 120
```

`stop` gives every container the time that the compose file's `stop_grace_period` asks for, at least a minute, because game servers save their world
then. A container that had to be killed (exit code 137) is a failure: the world may be unsaved.

`update` pulls the images, compares their ids with those of the containers, and restarts only the services whose image changed; a service that is off is
started. It says which.

`status` looks at every service of the compose file, also at those that never ran. With `serviceName` only that service is meant, everywhere.

When the VM is off, `stop` succeeds and `status` says so; the others fail.

What goes wrong: a service that dies at its start, or is not healthy in time, is a failure that shows the last lines of its log, and nothing is taken back;
a `composePath` without a compose file, a service that it does not have, a host without Docker and a user who may not speak to it are each told as such,
before anything is changed.

Every call, as a step of a workflow:

```toml
[[step]]
name = "start"
call = "calamity.start"
with = { timeout = 300 }

[[step]]
name = "status"
call = "calamity.status"

[[step]]
name = "update"
call = "calamity.update"

[[step]]
name = "stop"
call = "calamity.stop"
```
"#;

const RESULT: &[Writes] = &[Writes { spec: "result", instance: Instance::Single("result") }];
const HOST: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: false }];
const LOOKING: PhaseRow = PhaseRow { name: "the services' state", argument: None, seconds: 60 };
/// For one service; each more of them has its own time.
const DOWN: PhaseRow = PhaseRow { name: control::DOWN, argument: Some("timeout"), seconds: 2 * control::GRACE.as_secs() };
const READY: PhaseRow = PhaseRow { name: control::READY, argument: Some("timeout"), seconds: 120 };

/// The row of `docker/compose`.
pub static TYPE: TypeRow = TypeRow {
    name: "docker/compose",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[SpecRow {
        name: "result",
        doc: "The services as they were seen last.",
        attributes: object::<State>,
        // The result is the project's whole state whichever method wrote it, so looking again is what refreshes it.
        observer: Some(Observer { one: "status", argument: None, all: None }),
        trust: Some(Duration::from_secs(5 * 60)),
    }],
    methods: &[
        MethodRow {
            name: "start",
            doc: "Starts every service and waits until each runs and is healthy. Services that run as they should are left alone.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Start>,
            writes: RESULT,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: control::UP, argument: None, seconds: control::UP_DEADLINE.as_secs() }, READY],
            run: |ctx, call| Box::pin(control::start(ctx, call)),
        },
        MethodRow {
            name: "stop",
            doc: "Stops every service with time to save, and fails when one had to be killed.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Stop>,
            writes: RESULT,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[DOWN],
            run: |ctx, call| Box::pin(control::stop(ctx, call)),
        },
        MethodRow {
            name: "update",
            doc: "Pulls the images and restarts the services whose image changed.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Start>,
            writes: RESULT,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[
                PhaseRow { name: control::PULL, argument: None, seconds: control::PULL_DEADLINE.as_secs() },
                DOWN,
                PhaseRow { name: control::UP, argument: None, seconds: control::UP_DEADLINE.as_secs() },
                READY,
            ],
            run: |ctx, call| Box::pin(control::update(ctx, call)),
        },
        MethodRow {
            name: "status",
            doc: "Looks at every service.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<Nothing>,
            writes: RESULT,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[LOOKING],
            run: |ctx, call| Box::pin(control::status(ctx, call)),
        },
    ],
};

/// Which project, on which host.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Globals {
    #[serde(flatten)]
    ssh: SshGlobals,
    /// The directory of the compose file; a leading `~/` is the user's home.
    compose_path: String,
    /// Only this service of the compose file; null means all.
    #[serde(default)]
    service_name: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Start {
    /// Seconds that the services have to run and be healthy.
    #[serde(default = "two_minutes")]
    timeout: u64,
}

#[derive(Deserialize, JsonSchema)]
struct Stop {
    /// Seconds that a container has before it is killed; null means the compose file's `stop_grace_period`, at least 60.
    #[serde(default)]
    #[schemars(range(min = 1))]
    timeout: Option<u64>,
}

fn two_minutes() -> u64 {
    120
}

/// The project as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct State {
    /// All services in a word.
    state: Overall,
    /// Every container of every service of the compose file, by service; a service without a container is there as `missing`.
    services: Vec<Service>,
}

/// All services in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Overall {
    /// The VM is off.
    Off,
    /// No container runs.
    Stopped,
    /// Every service runs, and is healthy where it can tell.
    Running,
    /// Every service runs; one is not yet healthy.
    Starting,
    /// Some run, some do not, or one is unhealthy.
    Degraded,
}

/// One container of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Service {
    /// The service's name in the compose file.
    service: String,
    /// The container's name; empty when there is none.
    container: String,
    /// `running`, `exited`, `created`, `paused`, `restarting`, `removing`, `dead`, or `missing`.
    state: String,
    /// `healthy`, `unhealthy`, `starting`, or empty when the image has no health check.
    health: String,
    /// The exit code of a container that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// The image's name.
    image: String,
    /// The id of the image that the container was made from, `sha256:…`; missing when there is no container.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
}
