//! Reading a compose project: its services, their containers and images, as the command-line tool tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;

use crate::model::contract::{Context, Failure};
use crate::model::docker::compose::{Globals, Overall, Service, State};
use crate::model::remote::{Remote, off};
use crate::model::rows::rows;
use crate::wire::command::Command;
use crate::wire::ssh::Output;

/// One compose project on its host.
pub struct Project<'a> {
    /// The host.
    pub remote: Remote<'a>,
    /// The only service that is meant, if not all are.
    pub only: Option<String>,
    path: String,
}

/// What was seen of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The services of the compose file.
    pub expected: Vec<String>,
    /// All containers, by service and name.
    pub containers: Vec<Container>,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Docker's word for its state.
    pub state: String,
    /// Docker's word for its health, or empty.
    pub health: String,
    /// Its exit code; 0 while it runs.
    pub exit_code: i64,
    /// The image's name.
    pub image: String,
    /// The image's id.
    pub image_id: Option<String>,
    /// Whether the kernel ended it for want of memory.
    pub oom: bool,
}

impl Container {
    /// Whether it runs, in whatever health.
    pub fn runs(&self) -> bool {
        self.state == "running"
    }

    /// Whether it runs and no health check says otherwise.
    pub fn well(&self) -> bool {
        self.runs() && matches!(self.health.as_str(), "" | "healthy")
    }
}

impl Seen {
    /// The containers of one service.
    pub fn of<'s>(&'s self, service: &'s str) -> impl Iterator<Item = &'s Container> {
        self.containers.iter().filter(move |container| container.service == service)
    }

    /// Whether the container of this id ran.
    pub fn had_running(&self, id: &str) -> bool {
        self.containers.iter().any(|container| container.id == id && container.runs())
    }

    /// The services that have a container that runs.
    pub fn running(&self) -> BTreeSet<String> {
        self.containers.iter().filter(|container| container.runs()).map(|container| container.service.clone()).collect()
    }

    /// As attributes.
    pub fn state(&self) -> State {
        let missing = |name: &&String| self.of(name).next().is_none();
        let none = |name: &String| Service {
            service: name.clone(),
            container: String::new(),
            state: "missing".to_owned(),
            health: String::new(),
            exit_code: None,
            image: String::new(),
            image_id: None,
        };
        let mut services: Vec<Service> = self.containers.iter().map(service).collect();
        services.extend(self.expected.iter().filter(missing).map(none));
        services.sort_by(|a, b| (&a.service, &a.container).cmp(&(&b.service, &b.container)));
        State { state: self.overall(), services }
    }

    fn overall(&self) -> Overall {
        let all = |test: &dyn Fn(&Container) -> bool| {
            self.expected.iter().all(|name| self.of(name).next().is_some()) && self.containers.iter().all(test)
        };
        let ended_well = |container: &Container| container.state == "exited" && container.exit_code == 0;
        if !self.containers.iter().any(Container::runs) {
            Overall::Stopped
        } else if all(&|container| container.well() || ended_well(container)) {
            Overall::Running
        } else if all(&|container| container.well() || container.runs() && container.health == "starting" || ended_well(container)) {
            Overall::Starting
        } else {
            Overall::Degraded
        }
    }
}

fn service(container: &Container) -> Service {
    let ended = matches!(container.state.as_str(), "exited" | "dead");
    Service {
        service: container.service.clone(),
        container: container.name.clone(),
        state: container.state.clone(),
        health: container.health.clone(),
        exit_code: ended.then_some(container.exit_code),
        image: container.image.clone(),
        image_id: container.image_id.clone(),
    }
}

/// What the compose file says of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Its image; a service that is only built has none.
    pub image: Option<String>,
    /// Whether it is built from source.
    pub built: bool,
    /// Its `stop_grace_period`.
    pub grace: Option<Duration>,
}

impl<'a> Project<'a> {
    /// The project of a definition; `None` when the VM is off.
    pub fn at(ctx: &'a Context, globals: &Globals) -> Option<Self> {
        let only = globals.service_name.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Self { remote: globals.ssh.remote(ctx)?, only, path: globals.compose_path.clone() })
    }

    /// The same, where a project that is off is a failure.
    pub fn on(ctx: &'a Context, globals: &Globals) -> Result<Self, Failure> {
        Self::at(ctx, globals).ok_or_else(|| off(ctx))
    }

    /// `docker compose …` in the project's directory.
    pub fn command(&self, words: &[&str]) -> Command {
        let plain = ["compose", "--ansi", "never", "--progress", "plain"];
        Command::new("docker").args(plain).args(words.iter().copied()).in_dir(self.path.as_str())
    }

    /// Runs a subcommand that only looks.
    async fn ask(&self, words: &[&str]) -> Result<String, Failure> {
        let output = self.remote.look(self.command(words)).await?;
        if output.status == 0 { Ok(output.stdout) } else { Err(self.refused(words, &output)) }
    }

    /// The failure of a subcommand, with what is usually wrong.
    pub fn refused(&self, words: &[&str], output: &Output) -> Failure {
        let failure = self.remote.failed(&format!("`docker compose {}` in {}", words.join(" "), self.path), output);
        let text = format!("{}\n{}", output.stderr, output.stdout);
        let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
        let host = &self.remote.target.host;
        if has(&["'compose' is not a docker command", "unknown flag: --ansi", "unknown shorthand flag: 'f'", "unknown flag: --progress"]) {
            return Failure { message: format!("{host}: docker there has no compose plugin of version 2, or one before 2.19"), ..failure }
                .help(
                    "install the plugin (`apk add docker-cli-compose`, or docker-compose-plugin); the old `docker-compose` 1.x does not do",
                );
        }
        if output.status == 127 || has(&["docker: not found", "docker: command not found"]) {
            return failure.help("docker is not installed there, or not in the PATH of a plain shell");
        }
        if has(&["Cannot connect to the Docker daemon", "permission denied while trying to connect"]) {
            return failure.help("the Docker daemon does not run there, or this user may not speak to it");
        }
        if has(&["no configuration file provided", "can't cd to", "No such file or directory"]) {
            return failure.help(format!("composePath must be a directory with a compose file; `{}` is not", self.path));
        }
        failure
    }

    /// The services that are meant.
    pub async fn services(&self) -> Result<Vec<String>, Failure> {
        let text = self.ask(&["config", "--services"]).await?;
        let mut names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.sort();
        self.check(&names)?;
        Ok(self.only.clone().map_or(names, |only| vec![only]))
    }

    fn check(&self, names: &[String]) -> Result<(), Failure> {
        match &self.only {
            Some(only) if !names.contains(only) => {
                Err(Failure::yours(format!("{}: {} has no service `{only}`", self.remote.target.host, self.path))
                    .help(format!("services: {}", names.join(", "))))
            }
            _ => Ok(()),
        }
    }

    /// What the compose file says of the services that are meant.
    pub async fn plan(&self) -> Result<BTreeMap<String, Plan>, Failure> {
        let text = self.ask(&["config", "--format", "json"]).await?;
        let bad = |why: String| Failure::theirs(format!("{}: `docker compose config` gave no JSON: {why}", self.remote.target.host));
        let config: Json = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        let services = config.get("services").and_then(Json::as_object).ok_or_else(|| bad("there are no services".to_owned()))?;
        let names: Vec<String> = services.keys().cloned().collect();
        self.check(&names)?;
        let text = |service: &Json, key: &str| service.get(key).and_then(Json::as_str).map(str::to_owned);
        let plan = |service: &Json| Plan {
            image: text(service, "image"),
            built: service.get("build").is_some(),
            grace: text(service, "stop_grace_period").as_deref().and_then(duration),
        };
        let meant = services.iter().filter(|(name, _)| self.only.as_ref().is_none_or(|only| only == *name));
        Ok(meant.map(|(name, service)| (name.clone(), plan(service))).collect())
    }

    /// Looks at all containers of the services `expected`, ended ones too.
    pub async fn look(&self, expected: &[String]) -> Result<Seen, Failure> {
        let text = self.ask(&["ps", "-a", "--format", "json"]).await?;
        let bad = |e| Failure::theirs(format!("{}: `docker compose ps` gave no JSON: {e}", self.remote.target.host));
        let mut containers: Vec<Container> = rows(&text).map_err(bad)?.iter().map(container).collect();
        containers.retain(|container| expected.contains(&container.service));
        containers.sort_by(|a, b| (&a.service, &a.name).cmp(&(&b.service, &b.name)));
        self.inspect(&mut containers).await?;
        Ok(Seen { expected: expected.to_vec(), containers })
    }

    /// Image ids and ends by the kernel, which the list does not tell.
    async fn inspect(&self, containers: &mut [Container]) -> Result<(), Failure> {
        if containers.is_empty() {
            return Ok(());
        }
        let ids = containers.iter().map(|container| container.id.clone());
        let command = Command::new("docker").args(["inspect", "--format", "{{.Id}} {{.Image}} {{.State.OOMKilled}}"]).args(ids);
        // A container that goes away in this moment fails the command, but the others are told all the same.
        let output = self.remote.look(command).await?;
        for line in output.stdout.lines() {
            let mut words = line.split_whitespace();
            let (Some(id), Some(image), oom) = (words.next(), words.next(), words.next()) else { continue };
            for container in containers.iter_mut().filter(|container| !container.id.is_empty() && id.starts_with(&container.id)) {
                container.image_id = Some(image.to_owned());
                container.oom = oom == Some("true");
            }
        }
        Ok(())
    }

    /// The ids that image names have on the host now; a name that is not there is left out.
    pub async fn image_ids(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Failure> {
        let mut ids = BTreeMap::new();
        for name in names {
            let output = self.remote.look(Command::new("docker").args(["image", "inspect", "--format", "{{.Id}}", name])).await?;
            if output.status == 0 {
                ids.insert(name.clone(), output.stdout.trim().to_owned());
            }
        }
        Ok(ids)
    }
}

fn container(row: &Json) -> Container {
    let text = |key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    Container {
        id: text("ID"),
        service: text("Service"),
        name: text("Name"),
        state: text("State"),
        health: text("Health"),
        exit_code: row.get("ExitCode").and_then(Json::as_i64).unwrap_or_default(),
        image: text("Image"),
        image_id: None,
        oom: false,
    }
}

/// Go's form of a duration, `1m30s`; a part without a unit makes it unreadable.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        let unit = match &rest[end..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}
