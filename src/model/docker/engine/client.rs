//! Asking an engine: the docker command on its host, and what it tells of images and containers.

use std::time::Duration;

use serde_json::Value as Json;

use crate::model::contract::{Context, Failure};
use crate::model::docker::engine::{Container, Image};
use crate::model::remote::{Remote, SshGlobals, off};
use crate::wire::command::Command;
use crate::wire::ssh::{Exec, Output};

/// The label that holds the digest of what an image or container was made from.
pub const LABEL: &str = "pmx.inputs";

/// One engine.
pub struct Engine<'a> {
    /// Its host.
    pub remote: Remote<'a>,
}

// tidy: fields ≤ 15, because this is one container as `docker inspect` tells it: each field is one of its answers.
/// A container as the engine tells it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's word for its health, or empty.
    pub health: String,
    /// The exit code of its last end.
    pub exit_code: i64,
    /// Whether the kernel ended it for want of memory.
    pub oom: bool,
    /// How often its restart policy brought it back since it was started.
    pub restarts: i64,
    /// Its restart policy.
    pub restart: String,
    /// Its own time to stop, if it has one.
    pub stop_timeout: Option<u64>,
    /// The digest on its label; none on a container that pmx did not make.
    pub inputs: Option<String>,
    /// Its volumes without a name of their own, with where they are mounted.
    pub unnamed: Vec<(String, String)>,
    started_at: String,
    image: String,
    image_id: String,
    ports: Vec<String>,
    volumes: Vec<String>,
}

/// An image as the engine tells it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// The digest on its label, if it has one.
    pub inputs: Option<String>,
    created: String,
    bytes: u64,
}

impl Seen {
    /// Whether processes of it are alive.
    pub fn runs(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting" | "paused")
    }

    /// As attributes.
    pub fn attributes(&self, name: &str) -> Container {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Container {
            container_name: name.to_owned(),
            state: self.state.clone(),
            health: self.health.clone(),
            id: some(&self.id),
            image_tag: some(&self.image),
            image_id: some(&self.image_id),
            exit_code: matches!(self.state.as_str(), "exited" | "dead").then_some(self.exit_code),
            started_at: some(&self.started_at),
            restart: some(&self.restart),
            ports: self.ports.clone(),
            volumes: self.volumes.clone(),
        }
    }
}

/// The attributes of a container that is not there: `missing`, or `off` with its VM.
pub fn absent(name: &str, state: &str) -> Container {
    Seen { state: state.to_owned(), ..Seen::default() }.attributes(name)
}

impl Known {
    /// As attributes.
    pub fn attributes(&self, host: &str, tag: &str) -> Image {
        Image {
            host: host.to_owned(),
            image_tag: tag.to_owned(),
            id: self.id.clone(),
            inputs: self.inputs.clone().unwrap_or_default(),
            created: self.created.clone(),
            bytes: self.bytes,
        }
    }
}

impl<'a> Engine<'a> {
    /// The engine of a definition; `None` when the VM is off.
    pub fn at(ctx: &'a Context, globals: &SshGlobals) -> Option<Self> {
        globals.remote(ctx).map(|remote| Self { remote })
    }

    /// The same, where an engine that is off is a failure.
    pub fn on(ctx: &'a Context, globals: &SshGlobals) -> Result<Self, Failure> {
        Self::at(ctx, globals).ok_or_else(|| off(ctx))
    }

    /// The host, for messages.
    pub fn host(&self) -> &str {
        &self.remote.target.host
    }

    /// Runs a docker command that changes something.
    pub async fn act(&self, words: &[&str], deadline: Duration) -> Result<Output, Failure> {
        let exec = Exec::new(Command::new("docker").args(words.iter().copied()), deadline);
        self.done(words.first().copied().unwrap_or_default(), self.remote.act(exec).await?)
    }

    /// The output of a docker subcommand that succeeded.
    pub fn done(&self, what: &str, output: Output) -> Result<Output, Failure> {
        if output.status == 0 { Ok(output) } else { Err(self.refused(what, &output).maybe_acted()) }
    }

    /// The failure of a docker subcommand, with what is usually wrong.
    pub fn refused(&self, what: &str, output: &Output) -> Failure {
        let failure = self.remote.failed(&format!("`docker {what}`"), output);
        let text = format!("{}\n{}", output.stderr, output.stdout);
        let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
        if output.status == 127 || has(&["docker: not found", "docker: command not found"]) {
            return failure.help("docker is not installed there, or not in the PATH of a plain shell; `install` of this type installs it");
        }
        if has(&["Cannot connect to the Docker daemon", "permission denied while trying to connect"]) {
            return failure.help("the Docker daemon does not run there, or this user may not speak to it");
        }
        if has(&["port is already allocated", "address already in use"]) {
            return failure.help("another container or program holds the port; `docker ps` and `ss -lntup` there say which");
        }
        failure
    }

    /// What `docker KIND inspect NAME` tells; `None` when there is no such thing.
    async fn inspect(&self, kind: &str, name: &str) -> Result<Option<Json>, Failure> {
        let output = self.remote.look(Command::new("docker").args([kind, "inspect", name])).await?;
        let said = output.stderr.to_lowercase();
        if output.status != 0 {
            let missing = said.contains("no such container") || said.contains("no such image") || said.contains("no such object");
            return if missing { Ok(None) } else { Err(self.refused(&format!("{kind} inspect {name}"), &output)) };
        }
        let rows: Vec<Json> = serde_json::from_str(output.stdout.trim())
            .map_err(|e| Failure::theirs(format!("{}: `docker {kind} inspect` gave no JSON: {e}", self.host())))?;
        Ok(rows.into_iter().next())
    }

    /// The container of that name.
    pub async fn container(&self, name: &str) -> Result<Option<Seen>, Failure> {
        let row = self.inspect("container", name).await?;
        // Docker also takes the beginning of an id for a name.
        Ok(row.filter(|row| text(row, "/Name").trim_start_matches('/') == name).map(|row| seen(&row)))
    }

    /// The image behind a name or id.
    pub async fn image(&self, reference: &str) -> Result<Option<Known>, Failure> {
        let row = self.inspect("image", reference).await?;
        Ok(row.map(|row| Known {
            id: text(&row, "/Id"),
            inputs: label(&row),
            created: text(&row, "/Created"),
            bytes: row.pointer("/Size").and_then(Json::as_u64).unwrap_or_default(),
        }))
    }

    /// The last lines that a container wrote.
    pub async fn log(&self, name: &str) -> Vec<String> {
        let Ok(output) = self.remote.look(Command::new("docker").args(["logs", "--tail", "8", name])).await else { return Vec::new() };
        output.stdout.lines().chain(output.stderr.lines()).map(str::to_owned).collect()
    }
}

fn text(row: &Json, pointer: &str) -> String {
    row.pointer(pointer).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn label(row: &Json) -> Option<String> {
    row.pointer("/Config/Labels")?.get(LABEL)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn seen(row: &Json) -> Seen {
    let number = |pointer: &str| row.pointer(pointer).and_then(Json::as_i64);
    let restart = match (text(row, "/HostConfig/RestartPolicy/Name"), number("/HostConfig/RestartPolicy/MaximumRetryCount").unwrap_or(0)) {
        (name, _) if name.is_empty() => "no".to_owned(),
        (name, 1..) if name == "on-failure" => format!("{name}:{}", number("/HostConfig/RestartPolicy/MaximumRetryCount").unwrap_or(0)),
        (name, _) => name,
    };
    Seen {
        id: text(row, "/Id"),
        state: text(row, "/State/Status"),
        health: Some(text(row, "/State/Health/Status")).filter(|health| health != "none").unwrap_or_default(),
        exit_code: number("/State/ExitCode").unwrap_or_default(),
        oom: row.pointer("/State/OOMKilled").and_then(Json::as_bool).unwrap_or_default(),
        restarts: number("/RestartCount").unwrap_or_default(),
        restart,
        stop_timeout: number("/Config/StopTimeout").and_then(|seconds| u64::try_from(seconds).ok()),
        inputs: label(row),
        unnamed: unnamed(row),
        // The beginning of time stands for never.
        started_at: Some(text(row, "/State/StartedAt")).filter(|at| !at.starts_with("0001-")).unwrap_or_default(),
        image: text(row, "/Config/Image"),
        image_id: text(row, "/Image"),
        ports: ports(row),
        volumes: volumes(row),
    }
}

/// `data:/var/lib/data:ro`, sorted: Docker's client hands them over in an order of chance, and a version must not differ by that.
fn volumes(row: &Json) -> Vec<String> {
    let binds = row.pointer("/HostConfig/Binds").and_then(Json::as_array).into_iter().flatten();
    let mut all: Vec<String> = binds.filter_map(Json::as_str).map(str::to_owned).collect();
    all.sort();
    all
}

/// Docker gives a volume without a name 64 hex digits as one.
fn unnamed(row: &Json) -> Vec<(String, String)> {
    let mounts = row.pointer("/Mounts").and_then(Json::as_array).into_iter().flatten();
    let mounts = mounts.filter(|mount| text(mount, "/Type") == "volume").map(|mount| (text(mount, "/Name"), text(mount, "/Destination")));
    mounts.filter(|(name, _)| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).collect()
}

/// `127.0.0.1:53:53/udp`, sorted.
fn ports(row: &Json) -> Vec<String> {
    let bindings = row.pointer("/HostConfig/PortBindings").and_then(Json::as_object);
    let mut all = Vec::new();
    for (inner, outer) in bindings.into_iter().flatten() {
        for binding in outer.as_array().into_iter().flatten() {
            let (address, port) = (text(binding, "/HostIp"), text(binding, "/HostPort"));
            let address = if address.is_empty() { String::new() } else { format!("{address}:") };
            all.push(format!("{address}{port}:{inner}"));
        }
    }
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_lists_by_chance_is_sorted() {
        let row = serde_json::json!({"HostConfig": {
            "Binds": ["living-data:/data", "/tmp:/host:ro"],
            "PortBindings": {"81/tcp": [{"HostIp": "", "HostPort": "8081"}], "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
        }});
        let seen = seen(&row);
        assert_eq!(seen.volumes, ["/tmp:/host:ro", "living-data:/data"]);
        assert_eq!(seen.ports, ["127.0.0.1:8080:80/tcp", "8081:81/tcp"]);
    }

    #[test]
    fn containers_are_read_however_spoiled() {
        let row = r#"{"Id":"abc","Name":"/game","State":{"Status":"running","Health":{"Status":"healthy"},"ExitCode":0,"OOMKilled":false,"StartedAt":"2026-11-23T11:44:26Z"},
            "RestartCount":1,"Image":"sha256:11","Config":{"Image":"x","StopTimeout":120,"Labels":{"pmx.inputs":"d"}},
            "HostConfig":{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3},"Binds":["/a:/b"],"PortBindings":{"7777/tcp":[{"HostIp":"","HostPort":"7777"}]}},
            "Mounts":[{"Type":"volume","Name":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","Destination":"/data"}]}"#;
        crate::walks::feed(&[row], |bytes| {
            let json: Json = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
            let seen = seen(&json);
            assert!(seen.ports.len() + seen.volumes.len() <= bytes.len());
            Ok(())
        });
    }
}
