//! Compose projects: what a file asks for, and what has to be made, started or removed for it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::HostState;
use super::docker::{Container, ContainerConfig, Starts, reference};
use super::files::{FileError, Files, normalise, split};
use super::yaml;

/// File names that compose looks for, in its order.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// A project read from its file.
#[derive(Debug, Clone)]
pub struct Project {
    /// The project's name.
    pub name: String,
    /// The directory of the file.
    pub dir: String,
    /// The file's path.
    pub file: String,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
}

/// One service.
#[derive(Debug, Clone)]
pub struct Service {
    /// As the file says it, in canonical form.
    pub config: Value,
    /// The image's reference; `project-service` for one that is only built.
    pub image: String,
    /// The container's name.
    pub container: String,
    /// `com.docker.compose.config-hash`.
    pub hash: String,
    /// Whether it is built here.
    pub built: bool,
}

/// What `up` did with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Was as it should be.
    Running,
    /// Was there, and was started.
    Started,
    /// Was made.
    Created,
    /// Was replaced, for its configuration or image is another.
    Recreated,
}

/// Why a project cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProject {
    /// There is no file; compose exits 14.
    #[error("no configuration file provided: not found")]
    NoFile,
    /// The named file is not there; compose exits 14.
    #[error("open {0}: no such file or directory")]
    Missing(String),
    /// The file says something that compose refuses; exit 15.
    #[error("{0}")]
    Invalid(String),
}

/// The characters compose keeps of a directory's name.
fn project_name(dir: &str) -> String {
    let name: String = split(dir).1.to_lowercase().chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

/// A list of strings, from a list or from a map of `key: value`.
fn strings(value: Option<&Value>, glue: &str) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().map(text).collect(),
        Some(Value::Object(map)) => map.iter().map(|(k, v)| format!("{k}{glue}{}", text(v))).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// `60s`, `1m30s`, `90`.
fn seconds(text: &str) -> Option<u64> {
    let (mut total, mut number) = (0, String::new());
    for c in text.chars() {
        match c {
            '0'..='9' => number.push(c),
            's' | 'm' | 'h' => {
                total += std::mem::take(&mut number).parse::<u64>().ok()?
                    * match c {
                        's' => 1,
                        'm' => 60,
                        _ => 3600,
                    }
            }
            _ => return None,
        }
    }
    if number.is_empty() { Some(total) } else { number.parse().ok() }
}

/// `"7777:7777"`, `"127.0.0.1:80:8080/udp"`, `7777`, `"7777-7778:7777-7778"`: host, container, protocol.
#[must_use]
pub fn ports(given: &str) -> Option<Vec<(u16, u16, String)>> {
    let (range, protocol) = given.split_once('/').unwrap_or((given, "tcp"));
    let mut parts = range.rsplit(':');
    let inner = parts.next()?;
    let outer = parts.next().unwrap_or(inner);
    let span = |text: &str| {
        let (a, b) = text.split_once('-').unwrap_or((text, text));
        Some(a.parse::<u16>().ok()?..=b.parse::<u16>().ok()?)
    };
    let (outer, inner) = (span(outer)?, span(inner)?);
    (outer.len() == inner.len()).then(|| outer.zip(inner).map(|(o, i)| (o, i, protocol.to_owned())).collect())
}

impl Project {
    /// Reads the project in `dir` (absolute), from `file` if one is named.
    ///
    /// # Errors
    /// No file, or one that compose would refuse.
    pub fn read(files: &Files, dir: &str, file: Option<&str>, name: Option<&str>) -> Result<Self, BadProject> {
        let file = match file {
            Some(file) => normalise(dir, file),
            None => NAMES.iter().map(|n| format!("{dir}/{n}")).find(|path| files.stat(path).is_ok()).ok_or(BadProject::NoFile)?,
        };
        let bytes = files.read(&file).map_err(|error| match error {
            FileError::NotFound => BadProject::Missing(file.clone()),
            error => BadProject::Invalid(format!("read {file}: {error}")),
        })?;
        let source = interpolate(files, dir, &String::from_utf8_lossy(&bytes))?;
        let document = yaml::parse(&source).map_err(BadProject::Invalid)?;
        let unknown = document.as_object().and_then(|top| {
            top.keys().find(|k| {
                !["services", "version", "name", "networks", "volumes", "configs", "secrets"].contains(&k.as_str()) && !k.starts_with("x-")
            })
        });
        if let Some(key) = unknown {
            return Err(BadProject::Invalid(format!("validating {file}: (root) Additional property {key} is not allowed")));
        }
        let name = name.map(str::to_owned).or_else(|| document["name"].as_str().map(str::to_owned)).unwrap_or_else(|| project_name(dir));
        let Some(listed) = document["services"].as_object().filter(|s| !s.is_empty()) else {
            return Err(BadProject::Invalid("empty compose file".to_owned()));
        };
        let mut services = BTreeMap::new();
        for (service, config) in listed {
            services.insert(service.clone(), Service::read(&name, service, config)?);
        }
        Ok(Self { name, dir: dir.to_owned(), file, services })
    }

    /// The services named, or all of them.
    ///
    /// # Errors
    /// A name that is not a service's.
    pub fn chosen(&self, names: &[String]) -> Result<Vec<String>, String> {
        match names.iter().find(|n| !self.services.contains_key(*n)) {
            Some(name) => Err(format!("no such service: {name}")),
            None if names.is_empty() => Ok(self.services.keys().cloned().collect()),
            None => Ok(names.to_vec()),
        }
    }

    /// Names of this project's containers, in order.
    #[must_use]
    pub fn containers(&self, host: &HostState) -> Vec<String> {
        of_project(host, &self.name)
    }

    /// Containers of the project whose service the file no longer has.
    #[must_use]
    pub fn orphans(&self, host: &HostState) -> Vec<String> {
        let service = |name: &String| host.docker.containers.get(name).and_then(|c| c.labels.get("com.docker.compose.service")).cloned();
        self.containers(host).into_iter().filter(|name| service(name).is_none_or(|s| !self.services.contains_key(&s))).collect()
    }

    /// Makes and starts what is missing or different. Containers to be replaced are ended at once: stop them before, for their games' sake.
    ///
    /// # Errors
    /// The engine's own words.
    pub fn up(&self, host: &mut HostState, names: &[String], now: i64) -> Result<Vec<(String, Done)>, String> {
        let mut all = Vec::new();
        for name in self.chosen(names)? {
            let service = &self.services[&name];
            if host.docker.image(&service.image).is_none() {
                host.docker.pull(&service.image, now)?;
            }
            let state = self.state(host, &name);
            match state {
                Done::Running => {}
                Done::Started => host.docker.start(&service.container, now)?,
                Done::Created | Done::Recreated => {
                    let world = host.docker.containers.remove(&service.container).and_then(|mut old| {
                        old.end(now, 0);
                        old.world
                    });
                    let mut made = self.make(host, &name, now);
                    made.world = world;
                    host.docker.containers.insert(service.container.clone(), made);
                    let network = format!("{}_default", self.name);
                    if !host.docker.networks.contains(&network) {
                        host.docker.networks.push(network);
                    }
                    host.docker.start(&service.container, now)?;
                }
            }
            all.push((service.container.clone(), state));
        }
        Ok(all)
    }

    /// What `up` would do with a service.
    #[must_use]
    pub fn state(&self, host: &HostState, name: &str) -> Done {
        let service = &self.services[name];
        let image = host.docker.image(&service.image).map(|i| i.id.clone());
        match host.docker.containers.get(&service.container) {
            None => Done::Created,
            Some(c)
                if c.labels.get("com.docker.compose.config-hash") != Some(&service.hash) || image.is_some_and(|id| id != c.image_id) =>
            {
                Done::Recreated
            }
            Some(c) if c.running() => Done::Running,
            Some(_) => Done::Started,
        }
    }

    fn make(&self, host: &mut HostState, name: &str, now: i64) -> Container {
        let service = &self.services[name];
        let image = host.docker.image(&service.image).cloned().unwrap_or_default();
        let config = &service.config;
        let mut labels: BTreeMap<String, String> = strings(config.get("labels"), "=")
            .into_iter()
            .map(|l| l.split_once('=').map_or((l.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned())))
            .collect();
        let own = [
            ("project", self.name.as_str()),
            ("service", name),
            ("config-hash", &service.hash),
            ("container-number", "1"),
            ("oneoff", "False"),
            ("version", "2.26.1"),
            ("project.working_dir", &self.dir),
            ("project.config_files", &self.file),
            ("image", &image.id),
        ];
        labels.extend(own.map(|(key, value)| (format!("com.docker.compose.{key}"), value.to_owned())));
        let bind =
            |v: String| if v.starts_with('.') || v.starts_with('~') { format!("{}{}", self.dir, v.trim_start_matches('.')) } else { v };
        Container {
            id: host.docker.fresh_id(&service.container),
            image: service.image.clone(),
            image_id: image.id,
            labels,
            config: ContainerConfig {
                created: now,
                env: strings(config.get("environment"), "="),
                command: strings(config.get("command"), "="),
                ports: strings(config.get("ports"), ":").iter().filter_map(|p| ports(p)).flatten().collect(),
                volumes: strings(config.get("volumes"), ":").into_iter().map(bind).collect(),
                restart: config.get("restart").map(text).unwrap_or_else(|| "no".to_owned()),
                grace: config.get("stop_grace_period").and_then(|g| seconds(&text(g))),
                starts: image.starts,
                workdir: config.get("working_dir").map(text).unwrap_or_default(),
            },
            ..Container::default()
        }
    }

    /// `config --format json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let services: Map<String, Value> = self.services.iter().map(|(name, service)| (name.clone(), canonical(&service.config))).collect();
        json!({ "name": self.name, "services": services, "networks": { "default": { "name": format!("{}_default", self.name), "ipam": {} } } })
    }
}

/// A service as `config` prints it: ports in the long form.
fn canonical(config: &Value) -> Value {
    let mut config = config.clone();
    let short = strings(config.get("ports"), ":");
    let all = short.iter().filter_map(|port| ports(port)).flatten();
    let long = all.map(|(published, target, protocol)| {
        json!({ "mode": "ingress", "target": target, "published": published.to_string(), "protocol": protocol })
    });
    let long: Vec<Value> = long.collect();
    if let Some(map) = config.as_object_mut().filter(|map| map.contains_key("ports")) {
        map.insert("ports".to_owned(), Value::Array(long));
    }
    config
}

impl Service {
    fn read(project: &str, name: &str, config: &Value) -> Result<Self, BadProject> {
        let Some(map) = config.as_object() else {
            return Err(BadProject::Invalid(format!("services.{name} must be a mapping")));
        };
        let built = map.contains_key("build");
        let Some(image) = map.get("image").map(text).or_else(|| built.then(|| format!("{project}-{name}"))) else {
            return Err(BadProject::Invalid(format!(
                "service \"{name}\" has neither an image nor a build context specified: invalid compose project"
            )));
        };
        if let Some(bad) = strings(map.get("ports"), ":").into_iter().find(|p| ports(p).is_none()) {
            return Err(BadProject::Invalid(format!("services.{name}.ports: invalid containerPort: {bad}")));
        }
        let hash = blake3::hash(config.to_string().as_bytes()).to_hex().to_string();
        let container = map.get("container_name").map(text).unwrap_or_else(|| format!("{project}-{name}-1"));
        Ok(Self { config: config.clone(), image: reference(&image), container, hash, built })
    }

    /// Whether its image's command ends by itself.
    #[must_use]
    pub fn ends(&self, host: &HostState) -> bool {
        host.docker.image(&self.image).is_some_and(|image| matches!(image.starts, Starts::Ends(_)))
    }
}

/// `${NAME}`, `${NAME:-default}` and `$$`, from the `.env` beside the file.
fn interpolate(files: &Files, dir: &str, source: &str) -> Result<String, BadProject> {
    let env = files.read_text(&format!("{dir}/.env")).unwrap_or_default();
    let lookup = |name: &str| {
        env.lines().filter_map(|l| l.split_once('=')).find(|(k, _)| k.trim() == name).map(|(_, v)| v.trim().trim_matches('"').to_owned())
    };
    let (mut out, mut rest) = (String::new(), source);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or_else(|| {
                BadProject::Invalid("invalid interpolation format. You may need to escape any $ with another $".to_owned())
            })?;
            let (name, default) = after[..end].split_once(":-").map_or((&after[..end], ""), |(n, d)| (n, d));
            out.push_str(&lookup(name).filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned()));
            rest = &after[end + 1..];
        } else {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            out.push_str(&lookup(&rest[..end]).unwrap_or_default());
            rest = &rest[end..];
        }
    }
    Ok(out + rest)
}

/// Names of a project's containers, in order.
#[must_use]
pub fn of_project(host: &HostState, project: &str) -> Vec<String> {
    let is = |c: &Container| c.labels.get("com.docker.compose.project").is_some_and(|p| p == project);
    host.docker.containers.iter().filter(|(_, c)| is(c)).map(|(name, _)| name.clone()).collect()
}
