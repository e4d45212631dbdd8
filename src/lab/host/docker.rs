//! A machine's container engine: images, containers, what compose labels them with, and what they do in time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::console::{Moment, Program, Terraria, Then};
use super::tmux::{Session, Tmux};

/// The most lines that a container's log keeps.
pub const LOG: usize = 5000;

/// The engine of one machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Docker {
    /// By name.
    pub containers: BTreeMap<String, Container>,
    /// What each reference (`name:tag`) names now.
    pub images: BTreeMap<String, Image>,
    /// What the registry will give at the next pull, by reference; a reference that is not here brings what is here already, or a first image.
    pub registry: BTreeMap<String, Image>,
    /// Engine networks beside the built-in ones, by name.
    pub networks: Vec<String>,
    /// Counts up for ids and addresses.
    pub serial: u64,
}

/// One image.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Image {
    /// `sha256:…`.
    pub id: String,
    /// Made, seconds since 1970.
    pub created: i64,
    /// Size in bytes.
    pub size: u64,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// What the image's command does.
    pub starts: Starts,
}

/// What a container's command does.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// Runs until it is stopped, and ends at once on SIGTERM.
    #[default]
    Forever,
    /// Ends at once with this status.
    Ends(i32),
    /// A tModLoader server in a tmux of its own.
    Terraria,
}

/// One container.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The image reference it was made from.
    pub image: String,
    /// The image's id at that time.
    pub image_id: String,
    /// Labels: compose's and the user's own.
    pub labels: BTreeMap<String, String>,
    /// How it was made.
    pub config: ContainerConfig,
    /// How it is.
    pub state: ContainerState,
    /// Its log: seconds since 1970, line; oldest first, bounded.
    pub log: Vec<(i64, String)>,
    /// The tmux inside.
    pub tmux: Tmux,
    /// Files inside, that `sh -c` may read and write.
    pub files: super::files::Files,
    /// The game's players, operators and last save, while it does not run.
    pub world: Option<Terraria>,
}

/// How a container was made.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct ContainerConfig {
    /// Made, seconds since 1970.
    pub created: i64,
    /// Environment, `A=b`.
    pub env: Vec<String>,
    /// Command and arguments.
    pub command: Vec<String>,
    /// Published ports: host, container, protocol.
    pub ports: Vec<(u16, u16, String)>,
    /// Binds, `/src:/dst:ro`.
    pub volumes: Vec<String>,
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: String,
    /// Seconds that a stop waits before it kills, from `stop_grace_period`; none means the engine's 10.
    pub grace: Option<u64>,
    /// What the command does.
    pub starts: Starts,
    /// The working directory inside.
    pub workdir: String,
}

/// How a container is.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct ContainerState {
    /// `created`, `running`, `exited`.
    pub status: String,
    /// Of the last run.
    pub exit_code: i32,
    /// Last start, seconds since 1970; 0 for never.
    pub started_at: i64,
    /// Last end, seconds since 1970; 0 for never.
    pub finished_at: i64,
    /// Process id on the host while it runs, else 0.
    pub pid: u32,
    /// Ended by the kernel for want of memory.
    pub oom: bool,
    /// `""`, `starting`, `healthy`, `unhealthy`.
    pub health: String,
    /// Stopped by hand: `unless-stopped` does not bring it back at boot.
    pub stopped_by_hand: bool,
}

/// `nginx` to `nginx:latest`, as the engine reads a reference.
#[must_use]
pub fn reference(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}

impl Container {
    /// Whether it runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.state.status == "running"
    }

    /// Adds to the log.
    pub fn log(&mut self, now: i64, lines: impl IntoIterator<Item = String>) {
        self.log.extend(lines.into_iter().map(|line| (now, line)));
        let over = self.log.len().saturating_sub(LOG);
        self.log.drain(..over);
    }

    /// The process ended.
    pub fn end(&mut self, now: i64, code: i32) {
        "exited".clone_into(&mut self.state.status);
        (self.state.exit_code, self.state.finished_at, self.state.pid) = (code, now, 0);
        self.state.health.clear();
        for (_, session) in self.tmux.all_mut() {
            if let Program::Terraria(game) = &mut session.program {
                // Players are thrown out with the server; who they were comes back with the next start, as they do.
                game.saving = None;
                self.world = Some(game.clone());
            }
        }
        self.tmux = Tmux::default();
    }

    fn begin(&mut self, now: i64, pid: u32) {
        self.state = ContainerState {
            status: "running".to_owned(),
            started_at: now,
            pid,
            finished_at: self.state.finished_at,
            ..ContainerState::default()
        };
        match self.config.starts {
            Starts::Forever => self.log(now, ["started".to_owned()]),
            Starts::Ends(code) => self.end(now, code),
            Starts::Terraria => {
                let game = self.world.take().unwrap_or_else(|| Terraria { save_seconds: 4, ..Terraria::default() });
                let mut session = Session { created: now, program: Program::Terraria(game), pid: 42, ..Session::default() };
                let lines =
                    ["tModLoader v2024.9.3.1", "Listening on port 7777", "Type 'help' for a list of commands.", "", "Server started"]
                        .map(str::to_owned);
                session.print(lines.clone());
                session.show_prompt("");
                self.log(now, lines);
                self.tmux.sessions.insert("0".to_owned(), session);
            }
        }
    }

    /// SIGTERM. What needs time has begun when this returns; `settle` finishes it.
    pub fn terminate(&mut self, moment: &Moment) {
        let now = moment.now_ms / 1000;
        let mut saving = false;
        let mut lines = Vec::new();
        for (_, session) in self.tmux.all_mut() {
            if let Program::Terraria(game) = &mut session.program {
                // The image's trap: says it, sleeps 3 s, types `exit`, waits for the end of the save.
                game.said.push("Server is shutting down NOW!".to_owned());
                let said = game.save(moment, Then::End, 3);
                lines.push("[SYSTEM] Shutdown Signal Received".to_owned());
                lines.push("<Server> Server is shutting down NOW!".to_owned());
                lines.extend(said.lines);
                saving = true;
            }
        }
        self.log(now, lines);
        if !saving && self.running() {
            self.end(now, 0);
        }
    }

    /// What was due by now inside.
    pub fn settle(&mut self, now_ms: i64) {
        let mut ended = None;
        let mut lines = Vec::new();
        for (_, session) in self.tmux.all_mut() {
            let said = session.program.settle(now_ms);
            session.print(said.lines.clone());
            if said.prompt {
                session.show_prompt("");
            }
            lines.extend(said.lines);
            ended = ended.or(said.ended);
        }
        self.log(now_ms / 1000, lines);
        if let Some(code) = ended {
            self.end(now_ms / 1000, code);
        }
    }
}

impl Docker {
    /// The name of a container given by name or by the beginning of its id.
    #[must_use]
    pub fn find(&self, given: &str) -> Option<String> {
        if self.containers.contains_key(given) {
            return Some(given.to_owned());
        }
        let by_id = |c: &Container| given.len() >= 4 && c.id.starts_with(given);
        self.containers.iter().find(|(_, c)| by_id(c)).map(|(name, _)| name.clone())
    }

    /// The image a reference or id names.
    #[must_use]
    pub fn image(&self, given: &str) -> Option<&Image> {
        let by_id = |image: &&Image| {
            image.id == given
                || (given.len() >= 6 && image.id.trim_start_matches("sha256:").starts_with(given.trim_start_matches("sha256:")))
        };
        self.images.get(&reference(given)).or_else(|| self.images.values().find(by_id))
    }

    /// A new id of 64 hexadecimal digits.
    pub fn fresh_id(&mut self, salt: &str) -> String {
        self.serial += 1;
        blake3::hash(format!("{} {salt}", self.serial).as_bytes()).to_hex().to_string()
    }

    /// Pulls a reference: true when a newer image (or a first one) came. A reference of no registry is refused.
    ///
    /// # Errors
    /// The engine's own words.
    pub fn pull(&mut self, given: &str, now: i64) -> Result<bool, String> {
        let reference = reference(given);
        if reference.contains("does-not-exist") || reference.starts_with("localhost/") {
            return Err(format!("pull access denied for {given}, repository does not exist or may require 'docker login'"));
        }
        if let Some(newer) = self.registry.remove(&reference) {
            let old = self.images.insert(reference, newer.clone());
            let changed = old.as_ref().is_none_or(|old| old.id != newer.id);
            // The old image stays without a name, for the containers that were made from it.
            self.images.extend(old.filter(|_| changed).map(|old| (old.id.clone(), old)));
            return Ok(changed);
        }
        if self.images.contains_key(&reference) {
            return Ok(false);
        }
        let id = format!("sha256:{}", blake3::hash(reference.as_bytes()).to_hex());
        let starts = if reference.contains("hello-world") {
            Starts::Ends(0)
        } else if reference.contains("tmodloader") {
            Starts::Terraria
        } else {
            Starts::Forever
        };
        self.images.insert(reference, Image { id, created: now - 86_400, size: 187 << 20, labels: BTreeMap::new(), starts });
        Ok(true)
    }

    /// Makes the next pull of `given` bring an image that nobody has seen.
    pub fn publish(&mut self, given: &str, now: i64) {
        let reference = reference(given);
        let id = format!("sha256:{}", self.fresh_id(&reference));
        let mut image = self.images.get(&reference).cloned().unwrap_or_default();
        (image.id, image.created) = (id, now);
        self.registry.insert(reference, image);
    }

    /// Starts a container that is not running.
    ///
    /// # Errors
    /// The engine's own words.
    pub fn start(&mut self, name: &str, now: i64) -> Result<(), String> {
        let wanted = match self.containers.get(name) {
            None => return Err(format!("No such container: {name}")),
            Some(c) if c.running() => return Ok(()),
            Some(c) => c.config.ports.clone(),
        };
        let holder = self
            .containers
            .values()
            .filter(|c| c.running())
            .flat_map(|c| &c.config.ports)
            .find(|p| wanted.iter().any(|w| w.0 == p.0 && w.2 == p.2));
        if let Some((port, _, protocol)) = holder {
            let how = if protocol == "udp" { "udp" } else { "tcp" };
            return Err(format!(
                "driver failed programming external connectivity on endpoint {name}: Bind for 0.0.0.0:{port} failed: port is already allocated ({how})"
            ));
        }
        self.serial += 1;
        let pid = 2000 + u32::try_from(self.serial % 30_000).unwrap_or(0);
        if let Some(container) = self.containers.get_mut(name) {
            container.begin(now, pid);
        }
        Ok(())
    }
}
