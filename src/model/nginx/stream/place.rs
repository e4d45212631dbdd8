//! Where an nginx lives: in a container of a compose project, or on the host itself; how it is asked, tested and told to read its configuration again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value as Json;

use crate::model::contract::Failure;
use crate::model::nginx::stream::ports::{Listen, Protocol, listens, sockets};
use crate::model::remote::{Remote, tail};
use crate::model::rows::rows;
use crate::model::wait::Wait;
use crate::wire::command::{Command, quote, quote_path};
use crate::wire::ssh::{Content, Exec, Output, Upload};

/// The names of a compose file, in the order that compose looks for them.
const COMPOSE_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// Larger files are no configuration.
const LONGEST: u64 = 1 << 20;
/// Making a container anew may pull its image.
pub const UP_DEADLINE: Duration = Duration::from_secs(300);
/// The wait for an nginx that has just been started.
pub const STARTED: &str = "nginx to start";
/// Its deadline.
pub const STARTED_DEADLINE: Duration = Duration::from_secs(10);
/// For everything else that changes something.
const ACT_DEADLINE: Duration = Duration::from_secs(60);
/// The directory of the proxies, below the project.
pub const FOLDER: &str = "conf.d";
/// What stands in front of each file in a listing of all.
const FILE_MARK: &str = "#### pmx: file ";

/// An nginx and its configuration.
pub struct Place<'a> {
    /// The host.
    pub remote: &'a Remote<'a>,
    /// The project's directory.
    pub dir: &'a str,
    /// The container, if it has one.
    pub compose: Option<Compose>,
}

/// An nginx in a container.
#[derive(Clone, Debug)]
pub struct Compose {
    /// The compose file's name.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The service that is nginx.
    pub service: String,
    /// What compose makes of the file, in JSON.
    pub config: Json,
    /// Whether the container shares the host's network: then no port is published.
    host_network: bool,
}

/// What a service does now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Whether its container runs.
    pub runs: bool,
    /// What the container publishes.
    pub published: BTreeSet<Listen>,
}

/// Lists the sockets that nginx holds, each as `socket:[inode]`, then the kernel's tables of all sockets.
const OWNED_SCRIPT: &str = "ls -l /proc/MASTER/fd 2>/dev/null\n\
                            cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null\ntrue";

impl<'a> Place<'a> {
    /// Finds what is there.
    pub async fn find(remote: &'a Remote<'a>, dir: &'a str) -> Result<Self, Failure> {
        let names = COMPOSE_FILES.join(" ");
        let script = format!("for file in {names} nginx.conf; do if [ -f \"$file\" ]; then echo \"$file\"; break; fi; done");
        let output = remote.look(Command::script(script).in_dir(dir)).await?;
        let host = &remote.target.host;
        match (output.status, output.stdout.trim()) {
            (0, "nginx.conf") => Ok(Self { remote, dir, compose: None }),
            (0, "") => Err(Failure::yours(format!("{host}: {dir} holds neither a compose file nor an nginx.conf"))
                .help("set streamDir to the proxy's directory")),
            (0, file) => {
                let place = Self { remote, dir, compose: None };
                let compose = place.compose(file).await?;
                Ok(Self { compose: Some(compose), ..place })
            }
            _ => Err(remote.failed(&format!("looking into {dir}"), &output).help("set streamDir to the proxy's directory")),
        }
    }

    async fn compose(&self, file: &str) -> Result<Compose, Failure> {
        let text = self.read(file).await?.unwrap_or_default();
        let config = self.config().await?;
        let services = config.get("services").and_then(Json::as_object).cloned().unwrap_or_default();
        let image = |service: &Json| service.get("image").and_then(Json::as_str).unwrap_or_default().to_owned();
        let is_nginx = |service: &Json| image(service).rsplit('/').next().is_some_and(|name| name.starts_with("nginx"));
        let named: Vec<&String> = services.iter().filter(|(_, service)| is_nginx(service)).map(|(name, _)| name).collect();
        let service = match (named.as_slice(), services.len()) {
            ([only], _) => (*only).clone(),
            ([], 1) => services.keys().next().cloned().unwrap_or_default(),
            _ => {
                let names = services.keys().cloned().collect::<Vec<_>>().join(", ");
                let message = format!(
                    "{}: {}/{file} must have exactly one service whose image is nginx; it has {names}",
                    self.remote.target.host, self.dir
                );
                return Err(Failure::yours(message));
            }
        };
        let host_network = services.get(&service).and_then(|own| own.get("network_mode")).and_then(Json::as_str) == Some("host");
        Ok(Compose { file: file.to_owned(), text, service, config, host_network })
    }

    /// What compose makes of its file.
    pub async fn config(&self) -> Result<Json, Failure> {
        let output = self.remote.look(self.docker(&["config", "--format", "json"])).await?;
        let failed = |failure: Failure| failure.help("`docker compose config` must succeed there, with compose 2");
        if output.status != 0 {
            return Err(failed(self.remote.failed(&format!("`docker compose config` in {}", self.dir), &output)));
        }
        let json = serde_json::from_str(&output.stdout);
        json.map_err(|e| failed(Failure::theirs(format!("{}: `docker compose config` gave no JSON: {e}", self.remote.target.host))))
    }

    fn docker(&self, words: &[&str]) -> Command {
        Command::new("docker").args(["compose", "--ansi", "never", "--progress", "plain"]).args(words.iter().copied()).in_dir(self.dir)
    }

    /// nginx itself with these arguments. A login without root has no /usr/sbin in its path.
    fn nginx(&self, words: &str) -> Command {
        match &self.compose {
            Some(compose) => {
                let words: Vec<&str> = ["exec", "-T", compose.service.as_str(), "nginx"].into_iter().chain(words.split(' ')).collect();
                self.docker(&words)
            }
            None => {
                let text =
                    format!("PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\"; export PATH; exec nginx -p \"$PWD/\" -c nginx.conf {words}");
                Command::script(text).in_dir(self.dir)
            }
        }
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir.trim_end_matches('/'))
    }

    /// A file of the project; `None` when there is none.
    pub async fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.path(name);
        let bytes = self.remote.files(self.remote.ctx.wire.ssh.read(&self.remote.target, &path, LONGEST), false).await?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| Failure::theirs(format!("{}: {path} is no UTF-8", self.remote.target.host)))
    }

    /// Puts a file of the project in place, whole, with the mode that it had; without a text it goes.
    pub async fn write(&self, name: &str, text: Option<&str>) -> Result<(), Failure> {
        let path = self.path(name);
        let Some(text) = text else {
            let quoted = quote_path(&path).map_err(|e| Failure::yours(e.to_string()))?;
            let output = self.remote.act(Exec::new(Command::script(format!("rm -f {quoted}")), ACT_DEADLINE)).await?;
            return if output.status == 0 { Ok(()) } else { Err(self.remote.failed(&format!("removing {path}"), &output)) };
        };
        let mode = self.remote.file(&path).await?.map_or(0o644, |file| file.mode);
        let file = Upload { content: Content::Bytes(text.as_bytes().to_vec()), dest: path, mode };
        self.remote.files(self.remote.ctx.wire.ssh.upload(&self.remote.target, vec![file], ACT_DEADLINE, &|_| {}), true).await.map(drop)
    }

    /// The ports of all proxies but `own`, by their files.
    pub async fn others(&self, own: &str) -> Result<BTreeMap<String, BTreeSet<Listen>>, Failure> {
        let own = quote(own).map_err(|e| Failure::yours(e.to_string()))?;
        let script = format!(
            "for file in {FOLDER}/*.conf; do if [ -f \"$file\" ] && [ \"$file\" != {FOLDER}/{own} ]; then printf '%s\\n' \"{FILE_MARK}$file\"; cat \"$file\"; echo; fi; done"
        );
        let output = self.remote.look(Command::script(script).in_dir(self.dir)).await?;
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut current = None;
        for line in output.stdout.lines() {
            match line.strip_prefix(FILE_MARK) {
                Some(name) => current = Some(name.to_owned()),
                None => {
                    let text = current.clone().map(|name| files.entry(name).or_default());
                    text.into_iter().for_each(|text| text.push_str(&format!("{line}\n")));
                }
            }
        }
        Ok(files.into_iter().map(|(name, text)| (name, listens(&text))).collect())
    }

    /// Whether the container runs and what it publishes; on the host itself nothing has to be published.
    pub async fn running(&self) -> Result<Running, Failure> {
        let Some(compose) = &self.compose else { return Ok(Running { runs: true, published: BTreeSet::new() }) };
        let output = self.remote.look(self.docker(&["ps", "-a", "--format", "json"])).await?;
        if output.status != 0 {
            return Err(self.remote.failed(&format!("`docker compose ps` in {}", self.dir), &output));
        }
        let bad = |e| Failure::theirs(format!("{}: `docker compose ps` gave no JSON: {e}", self.remote.target.host));
        let all = rows(&output.stdout).map_err(bad)?;
        let own = all.iter().find(|row| row.get("Service").and_then(Json::as_str) == Some(compose.service.as_str()));
        let runs = own.and_then(|row| row.get("State")).and_then(Json::as_str) == Some("running");
        let publishers = own.and_then(|row| row.get("Publishers")).and_then(Json::as_array).into_iter().flatten();
        let published = publishers.filter_map(|row| listen(row.get("PublishedPort")?, row.get("Protocol")?)).collect();
        Ok(Running { runs, published })
    }

    /// Whether ports must be published for players to reach them.
    pub fn publishes(&self) -> bool {
        self.compose.as_ref().is_some_and(|compose| !compose.host_network)
    }

    /// Makes the container as the compose file says.
    pub async fn up(&self) -> Result<(), Failure> {
        let service = self.compose.as_ref().map_or("", |compose| compose.service.as_str());
        let output = self.remote.act(Exec::new(self.docker(&["up", "-d", "--no-deps", service]), UP_DEADLINE)).await?;
        if output.status == 0 { Ok(()) } else { Err(self.remote.failed("`docker compose up`", &output).maybe_acted()) }
    }

    /// The whole configuration as nginx reads it now; a failure says what nginx has against it.
    pub async fn test(&self) -> Result<String, Failure> {
        let output = self.remote.look(self.nginx("-T")).await?;
        if output.status == 0 {
            return Ok(output.stdout);
        }
        // Without a word of nginx's own there was none to ask: its container has ended, or ended while it was asked. Its log says why.
        let said = format!("{}{}", output.stderr, output.stdout);
        match &self.compose {
            Some(compose) if !said.contains("nginx: ") => {
                let log = self.remote.look(self.docker(&["logs", "--no-log-prefix", "--tail", "8", &compose.service])).await?;
                let told = [tail(&output), tail(&log)].concat();
                Err(Failure::theirs(format!("{}: nginx does not answer in its container", self.remote.target.host)).tail(told))
            }
            _ => Err(self.refused(&output)),
        }
    }

    fn refused(&self, output: &Output) -> Failure {
        let failure = Failure::theirs(format!("{}: nginx refuses the configuration", self.remote.target.host)).tail(tail(output));
        let said = format!("{}{}", output.stderr, output.stdout);
        if said.contains("unknown directive \"stream\"") {
            return failure
                .help("nginx there has no stream module: install libnginx-mod-stream (Debian) or nginx-mod-stream (Alpine) and load it");
        }
        if output.status == 127 { failure.help("nginx is not installed there") } else { failure }
    }

    /// Tells nginx to read its configuration again. It says yes even when it then cannot take a port: only looking tells.
    pub async fn reload(&self) -> Result<(), Failure> {
        let mut wait = None;
        loop {
            let output = self.remote.act(Exec::new(self.nginx("-s reload"), ACT_DEADLINE)).await?;
            if output.status == 0 {
                return Ok(());
            }
            // One that has just been started has not written its process id yet.
            let young = output.stderr.contains("invalid PID number") || output.stderr.contains("No such file or directory");
            let again = || Wait::begin(self.remote.ctx, STARTED, STARTED_DEADLINE, (Duration::from_millis(100), Duration::from_secs(1)));
            if !young || !wait.get_or_insert_with(again).again("it has no process id yet").await? {
                let failure = self.remote.failed("`nginx -s reload`", &output).maybe_acted();
                return Err(failure.help("nginx must run already, with this configuration"));
            }
        }
    }

    /// The ports that nginx itself has open. `config` is what it read.
    pub async fn open(&self, config: &str) -> Result<BTreeSet<Listen>, Failure> {
        // A container shows its own processes only, whichever of them is nginx. Its network holds more than that: Docker's own resolver listens there.
        let master = if self.compose.is_some() { "[0-9]*".to_owned() } else { self.master(config).await? };
        let script = OWNED_SCRIPT.replace("MASTER", &master);
        let command = match &self.compose {
            Some(compose) => self.docker(&["exec", "-T", &compose.service, "sh", "-c", &script]),
            None => Command::script(script),
        };
        let output = self.remote.look(command).await?;
        let own: BTreeSet<&str> = output.stdout.lines().filter_map(|line| line.split_once("socket:[")?.1.strip_suffix(']')).collect();
        Ok(sockets(&output.stdout, |inode| own.contains(inode)))
    }

    /// The ports that anybody on the host has open.
    pub async fn taken(&self) -> Result<BTreeSet<Listen>, Failure> {
        let script = "cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null\ntrue";
        let output = self.remote.look(Command::script(script)).await?;
        Ok(sockets(&output.stdout, |_| true))
    }

    /// The number of nginx's first process, from the file that the configuration names or nginx was built with.
    async fn master(&self, config: &str) -> Result<String, Failure> {
        let named = config.lines().find_map(|line| line.trim().strip_prefix("pid ")?.split(';').next());
        let built = match named {
            Some(path) => path.trim().trim_matches(['"', '\'']).to_owned(),
            None => {
                let output = self.remote.look(self.nginx("-V")).await?;
                let said = format!("{}{}", output.stderr, output.stdout);
                let path = said.split_whitespace().find_map(|word| word.strip_prefix("--pid-path=").map(str::to_owned));
                path.unwrap_or_else(|| "/run/nginx.pid".to_owned())
            }
        };
        let quoted = quote(&built).map_err(|e| Failure::theirs(e.to_string()))?;
        let output = self.remote.look(Command::script(format!("cat {quoted}")).in_dir(self.dir)).await?;
        let pid = output.stdout.trim();
        if output.status == 0 && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(pid.to_owned());
        }
        Err(Failure::theirs(format!("{}: nginx does not run: {built} holds no process", self.remote.target.host))
            .help(format!("start it there: nginx -p {} -c nginx.conf", self.dir)))
    }
}

/// A port and a protocol of a row of JSON; 0 is not published.
fn listen(port: &Json, protocol: &Json) -> Option<Listen> {
    let port = port.as_u64().or_else(|| port.as_str()?.parse().ok())?;
    let protocol = match protocol.as_str()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some(Listen { port: u16::try_from(port).ok().filter(|port| *port > 0)?, protocol })
}

impl Compose {
    /// The ports that the compose file publishes one to one.
    pub fn published(&self) -> BTreeSet<Listen> {
        published(&self.config, &self.service)
    }

    /// Whether `changed` means the same, but for the service's ports, which must be `ports`.
    pub fn differs_only(&self, changed: &Json, ports: &BTreeSet<Listen>) -> bool {
        let bare = |config: &Json| {
            let mut config = config.clone();
            let service = config.get_mut("services").and_then(|services| services.get_mut(&self.service)).and_then(Json::as_object_mut);
            service.map(|service| service.remove("ports"));
            config
        };
        bare(&self.config) == bare(changed) && published(changed, &self.service) == *ports
    }
}

fn published(config: &Json, service: &str) -> BTreeSet<Listen> {
    let ports = config.get("services").and_then(|services| services.get(service)).and_then(|own| own.get("ports"));
    let one = |row: &Json| {
        let protocol = row.get("protocol").cloned().unwrap_or_else(|| "tcp".into());
        let outside = listen(row.get("published")?, &protocol)?;
        listen(row.get("target")?, &protocol).filter(|inside| *inside == outside)
    };
    ports.and_then(Json::as_array).into_iter().flatten().filter_map(one).collect()
}
