//! Containers and images as docker and compose show them: JSON of `inspect` and `ps`, and the words for times and states.

use serde_json::{Map, Value, json};

use crate::lab::host::docker::{Container, Image};
use crate::lab::host::time;

/// `2 hours`, as docker rounds.
pub fn ago(seconds: i64) -> String {
    let many = |n: i64, unit: &str| {
        if n == 1 && unit == "hour" {
            "About an hour".to_owned()
        } else if n == 1 {
            format!("About a {unit}")
        } else {
            format!("{n} {unit}s")
        }
    };
    match seconds.max(0) {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        s if s < 60 => format!("{s} seconds"),
        s if s < 3600 => many(s / 60, "minute"),
        s if s < 172_800 => many(s / 3600, "hour"),
        s if s < 1_209_600 => many(s / 86_400, "day"),
        s if s < 5_184_000 => many(s / 604_800, "week"),
        s => many(s / 2_592_000, "month"),
    }
}

/// `Up 2 hours (healthy)`, `Exited (137) 3 minutes ago`, `Created`.
pub fn status(c: &Container, now: i64) -> String {
    match c.state.status.as_str() {
        "running" => {
            let health = match c.state.health.as_str() {
                "" => String::new(),
                "starting" => " (health: starting)".to_owned(),
                health => format!(" ({health})"),
            };
            format!("Up {}{health}", ago(now - c.state.started_at))
        }
        "exited" => format!("Exited ({}) {} ago", c.state.exit_code, ago(now - c.state.finished_at)),
        _ => "Created".to_owned(),
    }
}

/// `2026-11-23 16:47:56 +0000 UTC`.
pub fn created(seconds: i64) -> String {
    time::rfc3339(seconds).replace('T', " ").replace('Z', " +0000 UTC")
}

fn ports(c: &Container) -> String {
    let running = c.running();
    let show = |(outer, inner, protocol): &(u16, u16, String)| {
        if running { format!("0.0.0.0:{outer}->{inner}/{protocol}, :::{outer}->{inner}/{protocol}") } else { format!("{inner}/{protocol}") }
    };
    if running { c.config.ports.iter().map(show).collect::<Vec<_>>().join(", ") } else { String::new() }
}

fn labels(c: &Container) -> String {
    c.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

fn command(c: &Container) -> String {
    format!("\"{}\"", if c.config.command.is_empty() { "./entrypoint.sh".to_owned() } else { c.config.command.join(" ") })
}

/// A row of `docker ps --format json`.
pub fn ps_row(name: &str, c: &Container, now: i64) -> Value {
    let short: String = c.id.chars().take(12).collect();
    json!({
        "Command": command(c), "CreatedAt": created(c.config.created), "ID": short, "Image": c.image, "Labels": labels(c), "LocalVolumes": "0",
        "Mounts": c.config.volumes.iter().filter_map(|v| v.split(':').next()).collect::<Vec<_>>().join(","), "Names": name, "Networks": "bridge",
        "Ports": ports(c), "RunningFor": format!("{} ago", ago(now - c.config.created)), "Size": "0B", "State": c.state.status, "Status": status(c, now),
    })
}

/// A row of `docker compose ps --format json`, of compose 2.26.
pub fn compose_row(name: &str, c: &Container, now: i64) -> Value {
    let label = |key: &str| c.labels.get(&format!("com.docker.compose.{key}")).cloned().unwrap_or_default();
    let mut row = ps_row(name, c, now);
    let publishers: Vec<Value> = c
        .config
        .ports
        .iter()
        .filter(|_| c.running())
        .flat_map(|(outer, inner, protocol)| {
            ["0.0.0.0", "::"].map(|url| json!({ "URL": url, "TargetPort": inner, "PublishedPort": outer, "Protocol": protocol }))
        })
        .collect();
    if let Some(row) = row.as_object_mut() {
        row.insert("Name".to_owned(), json!(name));
        row.insert("Service".to_owned(), json!(label("service")));
        row.insert("Project".to_owned(), json!(label("project")));
        row.insert("Networks".to_owned(), json!(format!("{}_default", label("project"))));
        row.insert("Health".to_owned(), json!(c.state.health));
        row.insert("ExitCode".to_owned(), json!(if c.running() { 0 } else { c.state.exit_code }));
        row.insert("Publishers".to_owned(), if c.running() && !publishers.is_empty() { json!(publishers) } else { Value::Null });
    }
    row
}

fn nano(seconds: i64) -> String {
    if seconds == 0 { "0001-01-01T00:00:00Z".to_owned() } else { time::rfc3339(seconds).replace('Z', ".000000001Z") }
}

/// `docker inspect` of a container.
pub fn inspect_container(name: &str, c: &Container) -> Value {
    let running = c.running();
    let mut state = json!({
        "Status": c.state.status, "Running": running, "Paused": false, "Restarting": false, "OOMKilled": c.state.oom, "Dead": false, "Pid": c.state.pid,
        "ExitCode": c.state.exit_code, "Error": "", "StartedAt": nano(c.state.started_at), "FinishedAt": nano(c.state.finished_at),
    });
    if !c.state.health.is_empty() {
        state["Health"] = json!({ "Status": c.state.health, "FailingStreak": 0, "Log": [] });
    }
    let bindings: Map<String, Value> =
        c.config.ports.iter().map(|(o, i, p)| (format!("{i}/{p}"), json!([{ "HostIp": "", "HostPort": o.to_string() }]))).collect();
    let shown: Map<String, Value> = bindings.clone().into_iter().filter(|_| running).collect();
    let mounts: Vec<Value> = c
        .config
        .volumes
        .iter()
        .map(|v| {
            let mut parts = v.split(':');
            let (source, to, mode) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            let kind = if source.starts_with('/') { "bind" } else { "volume" };
            json!({ "Type": kind, "Source": source, "Destination": to, "Mode": mode, "RW": mode != "ro", "Propagation": "rprivate" })
        })
        .collect();
    let restart = if c.config.restart.is_empty() { "no" } else { &c.config.restart };
    json!({
        "Id": c.id, "Created": nano(c.config.created), "Path": "./entrypoint.sh", "Args": [], "State": state, "Image": c.image_id, "Name": format!("/{name}"),
        "RestartCount": 0, "Driver": "overlay2", "Platform": "linux",
        "HostConfig": { "Binds": c.config.volumes, "PortBindings": bindings, "RestartPolicy": { "Name": restart, "MaximumRetryCount": 0 }, "NetworkMode": "bridge" },
        "Mounts": mounts,
        "Config": {
            "Hostname": c.id.chars().take(12).collect::<String>(), "User": "", "Env": c.config.env, "Image": c.image, "Labels": c.labels,
            "Cmd": if c.config.command.is_empty() { Value::Null } else { json!(c.config.command) }, "WorkingDir": c.config.workdir, "StopTimeout": c.config.grace,
        },
        "NetworkSettings": { "Ports": shown, "IPAddress": if running { "172.17.0.2" } else { "" } },
    })
}

/// `docker image inspect`.
pub fn inspect_image(reference: &str, image: &Image) -> Value {
    let repository = reference.rsplit_once(':').map_or(reference, |(r, _)| r);
    json!({
        "Id": image.id, "RepoTags": [reference], "RepoDigests": [format!("{repository}@{}", image.id)], "Created": nano(image.created), "Size": image.size,
        "Architecture": "amd64", "Os": "linux", "Config": { "Labels": image.labels, "Env": [], "Cmd": Value::Null },
    })
}

/// A row of `docker images --format json`.
pub fn image_row(reference: &str, image: &Image, now: i64) -> Value {
    let (repository, tag) =
        if reference.starts_with("sha256:") { ("<none>", "<none>") } else { reference.rsplit_once(':').unwrap_or((reference, "latest")) };
    let short: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
    json!({
        "Repository": repository, "Tag": tag, "ID": short, "Digest": "<none>", "CreatedAt": created(image.created), "Containers": "N/A",
        "CreatedSince": format!("{} ago", ago(now - image.created)), "Size": format!("{}MB", image.size / 1_000_000), "SharedSize": "N/A", "UniqueSize": "N/A",
    })
}
