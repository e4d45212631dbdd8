//! `docker/engine`: a Docker engine on a host, its images and its containers.

mod build;
mod client;
mod container;
mod install;
mod names;
mod replace;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::contract::{Acts, At, Effect, Failure, Instance, MethodRow, Observer, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::remote::SshGlobals;
use crate::model::schema::object;
use crate::secret::Secret;
use crate::value::Value;

const DOC: &str = r#"
A Docker engine on a host: installed, images built, containers run, one by one. For a compose project there is `docker/compose`.

```toml
type = "docker/engine"

[global]
sshHost = '${{ model.fleet.resource.vm["slate"].attributes.ip }}'

[methods.build]
imageTag = "discord-bot"
contextPath = "/opt/proxmox-manager/bot"

[methods.run]
containerName = "discord-bot"
imageTag = "discord-bot"
restart = "unless-stopped"
volumes = ["/opt/proxmox-manager:/opt/proxmox-manager", "/root/.ssh:/root/.ssh:ro"]
envFile = "/opt/proxmox-manager/bot/.env"
```

`install` does nothing when the engine answers. Otherwise it installs the packages (`docker` and `docker-cli-compose` with apk, `docker.io` with apt), has
the service started at each boot, starts it, and waits until it answers. A package that is there already is not upgraded: that would restart containers.
`sshUser` must be root for it; for the rest it is enough that the user may speak to Docker.

What pmx makes carries a label, `pmx.inputs`: the digest of all that it was made from. That is how the next call knows whether something changed.
`docker inspect` shows it, and a container without it is somebody else's.

`build` does nothing when the image of that name has the label that it would get. In the digest are `contextPath`, `dockerfilePath`, and `inputs` if any
are given: they stand for what is in the directory, so give the digests of whatever was put there. Without `inputs` the name, mode and content of every file
in the directory count. The base image is no input: a newer one is taken when something else changes. The image that had the name before stays, without it.

`run` leaves a container alone when it runs and its label is the one that it would get, and starts it when it is stopped. In the digest are

* the id of the image, not its name: a new image of the same name counts;
* `ports`, `volumes`, `command` and `restart`;
* `env`, the content of `envFile` as it is on the host, and `envDigest`, all of these by a digest keyed with this store's key. Another store's `run`
  therefore replaces the container once.

When any of these changed, the container is replaced, so that at each moment at least one of the two can be brought back:

1. the old container is renamed to `{containerName}.pmx-old`, and runs on;
2. the new one is made. Volumes without a name that the old one had, such as the image's own, are handed on to it. Whatever else the old one wrote inside
   itself goes with it;
3. the old one is stopped, with the time to save that its stop timeout asks for, at least a minute. Two of them never run at once: they would share ports
   and volumes;
4. the new one is started, and watched: it must be healthy within two minutes, or run for two seconds when the image has no health check, or have ended with
   0 when it is not to be restarted;
5. the old one is removed.

When one of these fails, or the run is cancelled, the new container is stopped and removed, the old one gets its name back and, if it ran, is started again;
the failure says so. An old container that had to be killed in step 3 (exit code 137: its data may be unsaved) ends the replacement and stays stopped, for
somebody to look at. If pmx itself dies in between, both containers are still there, and the next `run` settles that first. A first `run` that fails leaves
its container where it is, with its log. A container of that name (or with `.pmx-old` behind it) that pmx did not make is refused with exit code 3, running
or not; pmx never removes it.

A variable's value is a secret: it reaches Docker over standard input and is in no command, label or log. (Whoever may speak to Docker on that host can see
it with `docker inspect`.) A value cannot hold a line break, and is at most 64 KiB long. `env` wins over `envFile`.

`stop` gives a container the same time to save, and fails when it had to be killed. `exec` runs a command inside; any exit code but 0 is a failure. Both work
on every container, as `inspect` does, whoever made it. A `command` is a list of words, or one text for the container's `sh -c`. Every list may also be given
as JSON in a text. Names and values that Docker would misread are refused with the rule that they break, before the host is asked. Nothing here removes a
volume or an image.

When the VM is off, `stop` succeeds and `inspect` says so; the others fail.

Every call, as a step of a workflow:

```toml
[[step]]
name = "install"
call = "slateDocker.install"

[[step]]
name = "build"
call = "slateDocker.build"
with = { imageTag = "web", contextPath = "/srv/web", inputs = { release = "1.2" } }

[[step]]
name = "run"
call = "slateDocker.run"

[step.with]
containerName = "web"
imageTag = "web"
imageId = '${{ model.slateDocker.resource.image.web.attributes.id }}'      # comes after the build, and is exactly its image
ports = ["8080:80", "127.0.0.1:53:53/udp"]
volumes = ["data:/var/lib/web"]
env = { TOKEN = '${{ vault.get("proxmox-vault", "webToken") }}' }
restart = "unless-stopped"

[[step]]
name = "inspect"
call = "slateDocker.inspect"
with = { containerName = "web" }

[[step]]
name = "exec"
call = "slateDocker.exec"
with = { containerName = "web", command = ["ls", "-l", "/var/lib/web"] }

[[step]]
name = "stop"
call = "slateDocker.stop"
with = { containerName = "web" }
```
"#;

const RESULT: &[Writes] = &[Writes { spec: "result", instance: Instance::Single("result") }];
const IMAGE: &[Writes] = &[Writes { spec: "image", instance: Instance::Argument("imageTag") }];
const CONTAINER: &[Writes] = &[Writes { spec: "container", instance: Instance::Argument("containerName") }];
const HOST: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: false }];
const LOOKING: PhaseRow = PhaseRow { name: "the container's state", argument: None, seconds: 60 };

const fn phase(name: &'static str, deadline: Duration) -> PhaseRow {
    PhaseRow { name, argument: None, seconds: deadline.as_secs() }
}

/// The row of `docker/engine`.
pub static TYPE: TypeRow = TypeRow {
    name: "docker/engine",
    revision: 1,
    doc: DOC,
    globals: object::<SshGlobals>,
    specs: &[
        SpecRow {
            name: "result",
            doc: "What an installation or a command left.",
            attributes: object::<Results>,
            observer: None,
            trust: None,
        },
        SpecRow { name: "image", doc: "An image as it was built.", attributes: object::<Image>, observer: None, trust: None },
        SpecRow {
            name: "container",
            doc: "A container as it was seen last.",
            attributes: object::<Container>,
            observer: Some(Observer { one: "inspect", argument: Some("containerName"), all: None }),
            trust: Some(Duration::from_secs(60)),
        },
    ],
    methods: &[
        MethodRow {
            name: "install",
            doc: "Installs Docker and starts it, now and at each boot. Does nothing when it answers already.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Nothing>,
            writes: RESULT,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[phase(install::PACKAGES, install::PACKAGES_DEADLINE), phase(install::ANSWER, install::ANSWER_DEADLINE)],
            run: |ctx, call| Box::pin(install::install(ctx, call)),
        },
        MethodRow {
            name: "build",
            doc: "Builds an image from a directory of the host. Does nothing when the image was built from the same inputs.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Build>,
            writes: IMAGE,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[phase(build::BUILD, build::BUILD_DEADLINE)],
            run: |ctx, call| Box::pin(build::build(ctx, call)),
        },
        MethodRow {
            name: "run",
            doc: "Makes a container run as described. Replaces one whose description changed, and keeps the old one until the new one runs.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Run>,
            writes: CONTAINER,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[
                phase(replace::PULL, replace::PULL_DEADLINE),
                phase(container::DOWN, container::GRACE),
                phase(replace::UP, replace::UP_DEADLINE),
            ],
            run: |ctx, call| Box::pin(replace::run(ctx, call)),
        },
        MethodRow {
            name: "stop",
            doc: "Stops a container with time to save, and fails when it had to be killed.",
            effect: Effect::Converge,
            by_command: false,
            arguments: object::<Named>,
            writes: CONTAINER,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[phase(container::DOWN, container::GRACE)],
            run: |ctx, call| Box::pin(container::stop(ctx, call)),
        },
        MethodRow {
            name: "inspect",
            doc: "Looks at a container.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<Named>,
            writes: CONTAINER,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[LOOKING],
            run: |ctx, call| Box::pin(container::inspect(ctx, call)),
        },
        MethodRow {
            name: "exec",
            doc: "Runs a command inside a container. An exit code other than 0 is a failure.",
            effect: Effect::Act,
            by_command: false,
            arguments: object::<Exec>,
            writes: RESULT,
            acts: HOST,
            fresh: Duration::ZERO,
            phases: &[phase(container::COMMAND, container::COMMAND_DEADLINE)],
            run: |ctx, call| Box::pin(container::exec(ctx, call)),
        },
    ],
};

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Build {
    /// The image's name, `discord-bot` or `discord-bot:1.2`.
    image_tag: String,
    /// The directory on the host that Docker builds from; a leading `~/` is the user's home.
    context_path: String,
    /// The Dockerfile, relative to that directory; null means `Dockerfile`.
    #[serde(default)]
    dockerfile_path: Option<String>,
    /// What the image is made of, such as the digests of what was put into the directory; an image with equal inputs is not built again. Empty means all
    /// files of the directory.
    #[serde(default)]
    inputs: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Run {
    /// The container's name.
    container_name: String,
    /// The image's name; one that is not on the host is pulled.
    image_tag: String,
    /// The image's id, `sha256:…`, such as `build` gives it: the container is made of exactly that image, whatever the name means by then.
    #[serde(default)]
    image_id: Option<String>,
    /// Published ports, `8080:80`, `127.0.0.1:53:53/udp`.
    #[serde(default)]
    ports: Vec<String>,
    /// Mounts, `/on/the/host:/inside`, `name:/inside:ro`.
    #[serde(default)]
    volumes: Vec<String>,
    /// Variables; their values are secrets.
    #[serde(default)]
    env: BTreeMap<String, Secret>,
    /// A file on the host with variables, `NAME=value` a line.
    #[serde(default)]
    env_file: Option<String>,
    /// The digest of `envFile` as whoever wrote it told it: makes this call come after the writing. A new one replaces the container.
    #[serde(default)]
    env_digest: Option<String>,
    /// `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:5`; null means `no`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^(no|always|unless-stopped|on-failure(:[0-9]+)?)$"))]
    restart: Option<String>,
    /// What runs instead of the image's own command: a list of words, or a text for `sh -c`.
    #[serde(default)]
    command: Option<Words>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Named {
    /// The container's name.
    container_name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Exec {
    /// The container's name.
    container_name: String,
    /// A list of words, or a text for the container's `sh -c`.
    command: Words,
    /// The directory inside; null means the container's own.
    #[serde(default)]
    workdir: Option<String>,
}

/// A command as users write it: a list of words, such a list as JSON in a text, or a text for `sh -c`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    List(Vec<String>),
    Text(String),
    /// Neither; kept so that the refusal is ours and says what is expected.
    Other(serde::de::IgnoredAny),
}

impl JsonSchema for Words {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Words".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // A list or a text: the language has no such type, so the method itself refuses the rest.
        schemars::json_schema!({})
    }
}

impl Words {
    /// The argument vector.
    fn argv(&self) -> Result<Vec<String>, Failure> {
        let words = match self {
            Self::List(words) => words.clone(),
            Self::Text(text) if text.trim().is_empty() => Vec::new(),
            Self::Text(text) => match serde_json::from_str(text) {
                Ok(words) => words,
                Err(_) => vec!["sh".to_owned(), "-c".to_owned(), text.clone()],
            },
            Self::Other(_) => return Err(Failure::yours("`command` must be a list of words, or one text for `sh -c`")),
        };
        match words.first() {
            Some(first) if !first.trim().is_empty() => words.iter().try_for_each(|word| names::word("command", word)).map(|()| words),
            _ => Err(Failure::yours("`command` is empty: give a list of words, or one text for `sh -c`")),
        }
    }
}

/// What an installation or a command left: the fields of the other kind are missing.
#[derive(Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Results {
    /// Where it was.
    host: String,
    /// `install`: the engine's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// `exec`: the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    container_name: Option<String>,
    /// `exec`: the words of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    /// `exec`: its standard output, the last MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    /// `exec`: its standard error, the last MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
    /// `exec`: its exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Image {
    /// Where it is.
    host: String,
    /// Its name.
    image_tag: String,
    /// Its id, `sha256:…`.
    id: String,
    /// The digest of what it was built from, as its label says.
    inputs: String,
    /// When it was made, as Docker writes it.
    created: String,
    /// Its size in bytes.
    bytes: u64,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Container {
    /// Its name.
    container_name: String,
    /// `running`, `exited`, `created`, `paused`, `restarting`, `removing`, `dead`; `missing` when there is none; `off` when the VM is off.
    state: String,
    /// `healthy`, `unhealthy`, `starting`, or empty when the image has no health check.
    health: String,
    /// Its id; missing when there is no container.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The image's name, as the container was made from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<String>,
    /// The image's id, `sha256:…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
    /// The exit code of a container that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// Its last start, as Docker writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    /// Its restart policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<String>,
    /// Published ports, `127.0.0.1:53:53/udp`.
    ports: Vec<String>,
    /// Mounts: those that were asked for, and volumes without a name that the container before handed on.
    volumes: Vec<String>,
}

fn value(typed: &impl Serialize) -> Result<Value, Failure> {
    Value::from_typed(typed).map_err(|e| Failure::bug(format!("attributes: {e}")))
}
