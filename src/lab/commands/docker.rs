//! `docker`: the engine's client.

use serde_json::{Value, json};

use super::args::{Args, Spec};
use super::{compose, image, run, show, template};
use crate::lab::host::console::Moment;
use crate::lab::host::time;
use crate::lab::shell::{Shell, World};

pub(super) const DOWN: &str = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";

pub(super) fn spec(plain: &'static [&'static str], valued: &'static [&'static str]) -> Spec {
    Spec { plain, valued, stop: false }
}

/// `docker SUBCOMMAND …`.
pub fn docker(shell: &mut Shell, args: &[String]) -> i32 {
    let words: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    let (group, rest) = match words.as_slice() {
        ["container", verb, ..] => (*verb, &args[3..]),
        ["image", verb, ..] => (*verb, &args[3..]),
        [verb, ..] => (*verb, &args[2..]),
        [] => return 0,
    };
    let of_image = words[0] == "image";
    if group == "compose" {
        return compose::compose(shell, rest);
    }
    if matches!(group, "--version" | "-v") {
        shell.out("Docker version 27.3.1, build ce1223035a\n");
        return 0;
    }
    if !shell.world.host(|host| host.services.get("docker").is_some_and(|s| s.running)) {
        if group == "version" {
            shell.out("Client:\n Version:           27.3.1\n");
        }
        shell.complain(DOWN);
        return 1;
    }
    let rest = rest.to_vec();
    match (group, of_image) {
        ("version", _) => facts(shell, &rest, &version()),
        ("info", _) => {
            let info = info(&shell.world);
            facts(shell, &rest, &info)
        }
        ("ps" | "ls", false) => ps(shell, &rest),
        ("inspect", _) => inspect(shell, &rest, of_image),
        ("start", _) => verb(shell, &rest, start_one),
        ("stop", _) => stop(shell, &rest),
        ("restart", _) => restart(shell, &rest),
        ("kill", _) => verb(shell, &rest, |shell, name| {
            shell.world.host(|host| host.docker.containers.get_mut(name).map(|c| c.end(time::now(), 137)));
            Ok(())
        }),
        ("rm", false) => remove(shell, &rest),
        ("logs", _) => logs(shell, &rest),
        ("wait", _) => wait(shell, &rest),
        ("run" | "create", _) => run::run(shell, &rest, group == "create"),
        ("exec", _) => run::exec(shell, &rest),
        ("pull", _) => image::pull(shell, &rest),
        ("build", _) => image::build(shell, &rest),
        ("images" | "ls", _) => image::images(shell, &rest),
        ("rmi" | "rm", _) => image::remove(shell, &rest),
        ("tag", _) => image::tag(shell, &rest),
        ("network" | "volume" | "system", _) => listed(shell, group, &rest),
        _ => {
            shell.complain(&format!("docker: '{group}' is not a docker command.\nSee 'docker --help'"));
            1
        }
    }
}

/// Options, or docker's complaint about one it does not know, with its status.
pub(super) fn parse(shell: &Shell, args: &[String], spec: Spec) -> Result<Args, i32> {
    Args::parse(args, spec).map_err(|option| {
        shell.complain(&format!("unknown flag: {option}\nSee 'docker --help'."));
        125
    })
}

fn version() -> Value {
    json!({ "Client": { "Version": "27.3.1", "ApiVersion": "1.47", "Os": "linux", "Arch": "amd64" }, "Server": { "Version": "27.3.1", "ApiVersion": "1.47", "Os": "linux", "Arch": "amd64" } })
}

fn info(world: &World) -> Value {
    world.host(|host| {
        let running = host.docker.containers.values().filter(|c| c.running()).count();
        json!({ "ServerVersion": "27.3.1", "Name": host.hostname, "Containers": host.docker.containers.len(), "ContainersRunning": running, "Images": host.docker.images.len(), "OSType": "linux", "Driver": "overlay2" })
    })
}

fn facts(shell: &Shell, args: &[String], data: &Value) -> i32 {
    let Ok(options) = parse(shell, args, spec(&[], &["--format", "-f"])) else { return 125 };
    let text = match options.value(&["--format", "-f"]) {
        Some("json") => Ok(data.to_string()),
        Some(format) => template::fill(format, data),
        None => Ok(data.as_object().into_iter().flatten().map(|(k, v)| format!(" {k}: {v}")).collect::<Vec<_>>().join("\n")),
    };
    shown(shell, text)
}

pub(super) fn shown(shell: &Shell, text: Result<String, String>) -> i32 {
    match text {
        Ok(text) => {
            shell.out(&format!("{text}\n"));
            0
        }
        Err(why) => {
            shell.complain(&why);
            1
        }
    }
}

fn ps(shell: &Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-a", "--all", "-q", "--quiet", "--no-trunc"], &["--format", "--filter", "-f"])) else {
        return 125;
    };
    let now = time::now();
    let filters: Vec<String> = options.values(&["--filter", "-f"]).iter().map(|&f| f.to_owned()).collect();
    let rows: Vec<(String, Value)> = shell.world.host(|host| {
        let fits = |name: &str, c: &crate::lab::host::docker::Container| {
            filters.iter().all(|f| match f.split_once('=') {
                Some(("name", part)) => name.contains(part.trim_start_matches(['^', '/']).trim_end_matches('$')),
                Some(("status", status)) => c.state.status == status,
                Some(("label", label)) => {
                    label.split_once('=').map_or_else(|| c.labels.contains_key(label), |(k, v)| c.labels.get(k).is_some_and(|l| l == v))
                }
                Some(("id", id)) => c.id.starts_with(id),
                _ => false,
            })
        };
        let all = options.has(&["-a", "--all"]) || filters.iter().any(|f| f.starts_with("status="));
        host.docker
            .containers
            .iter()
            .filter(|(name, c)| (all || c.running()) && fits(name, c))
            .map(|(name, c)| (c.id.clone(), show::ps_row(name, c, now)))
            .collect()
    });
    if options.has(&["-q", "--quiet"]) {
        for (id, _) in rows {
            let id = if options.has(&["--no-trunc"]) { &id } else { &id[..12] };
            shell.out(&format!("{id}\n"));
        }
        return 0;
    }
    print_rows(
        shell,
        options.value(&["--format"]),
        rows.into_iter().map(|(_, row)| row).collect(),
        &["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"],
    )
}

/// Rows in a format, or as a table of `columns`.
pub(super) fn print_rows(shell: &Shell, format: Option<&str>, rows: Vec<Value>, columns: &[&str]) -> i32 {
    let format = match format {
        Some("json") => Some("{{json .}}".to_owned()),
        Some("table" | "pretty") | None => None,
        Some(format) => Some(format.trim_start_matches("table ").to_owned()),
    };
    let Some(format) = format else {
        let line = |cells: Vec<String>| cells.iter().map(|c| format!("{c:20}")).collect::<Vec<_>>().join(" ").trim_end().to_owned() + "\n";
        shell.out(&line(columns.iter().map(|c| c.to_uppercase()).collect()));
        for row in rows {
            shell.out(&line(columns.iter().map(|c| row[*c].as_str().unwrap_or("").to_owned()).collect()));
        }
        return 0;
    };
    for row in rows {
        if shown(shell, template::fill(&format, &row)) != 0 {
            return 1;
        }
    }
    0
}

fn inspect(shell: &Shell, args: &[String], images_only: bool) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-s", "--size"], &["-f", "--format", "--type"])) else { return 125 };
    let images_only = images_only || options.value(&["--type"]) == Some("image");
    let (mut found, mut status) = (Vec::new(), 0);
    for name in &options.operands {
        let value = shell.world.host(|host| {
            let container = host
                .docker
                .find(name)
                .filter(|_| !images_only)
                .and_then(|n| host.docker.containers.get(&n).map(|c| show::inspect_container(&n, c)));
            let reference = host.docker.images.iter().find(|(_, image)| host.docker.image(name) == Some(*image)).map(|(r, _)| r.clone());
            container.or_else(|| reference.and_then(|r| host.docker.images.get(&r).map(|image| show::inspect_image(&r, image))))
        });
        match value {
            Some(value) => found.push(value),
            None => {
                let what = if images_only {
                    format!("Error response from daemon: No such image: {name}")
                } else {
                    format!("Error: No such object: {name}")
                };
                shell.complain(&what);
                status = 1;
            }
        }
    }
    match options.value(&["-f", "--format"]) {
        None | Some("json") => {
            shell.out(&format!("{}\n", serde_json::to_string_pretty(&found).unwrap_or_default()));
        }
        Some(format) => {
            for value in &found {
                status |= shown(shell, template::fill(format, value));
            }
        }
    }
    status
}

/// The name behind a name or id, or the engine's complaint.
pub(super) fn named(shell: &Shell, given: &str) -> Result<String, String> {
    shell.world.host(|host| host.docker.find(given)).ok_or_else(|| format!("Error response from daemon: No such container: {given}"))
}

/// Does something with each named container, and prints its name as docker does.
fn verb(shell: &Shell, names: &[String], act: impl Fn(&Shell, &str) -> Result<(), String>) -> i32 {
    let mut status = 0;
    for given in names.iter().filter(|n| !n.starts_with('-')) {
        match named(shell, given).and_then(|name| act(shell, &name)) {
            Ok(()) => {
                shell.out(&format!("{given}\n"));
            }
            Err(why) => {
                shell.complain(&why);
                status = 1;
            }
        }
    }
    status
}

pub(super) fn start_one(shell: &Shell, name: &str) -> Result<(), String> {
    shell.world.host(|host| host.docker.start(name, time::now())).map_err(|why| format!("Error response from daemon: {why}"))
}

/// Stops a container: SIGTERM, then SIGKILL when the grace is over. What the game's world had not written by then is lost, and the status is 137.
pub(super) fn stop_one(shell: &Shell, name: &str, grace: Option<u64>) {
    let faults = shell.world.machine.faults();
    let moment = Moment { now_ms: time::now_ms(), pace: faults.pace, save_seconds: faults.save_seconds };
    let grace = shell.world.host(|host| {
        let container = host.docker.containers.get_mut(name).filter(|c| c.running())?;
        container.state.stopped_by_hand = true;
        container.terminate(&moment);
        Some(grace.or(container.config.grace).unwrap_or(10))
    });
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let Some(deadline) = grace.map(|g| moment.after(g as f64)) else { return };
    loop {
        let running = shell.world.host(|host| host.docker.containers.get(name).is_some_and(|c| c.running()));
        if !running {
            break;
        }
        if time::now_ms() >= deadline {
            shell.world.host(|host| host.docker.containers.get_mut(name).map(|c| c.end(time::now(), 137)));
            break;
        }
        // Real time, whatever the pace: the deadline is paced already. An interrupted client leaves the engine to finish the stop.
        time::pause(std::time::Duration::from_millis(5));
    }
    shell.world.host(|host| host.docker.containers.get_mut(name).map(|c| c.state.stopped_by_hand = true));
}

fn stop(shell: &Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&[], &["-t", "--time", "--timeout", "-s", "--signal"])) else { return 125 };
    let grace = options.value(&["-t", "--time", "--timeout"]).and_then(|t| t.parse().ok());
    verb(shell, &options.operands, |shell, name| {
        stop_one(shell, name, grace);
        Ok(())
    })
}

fn restart(shell: &Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&[], &["-t", "--time"])) else { return 125 };
    let grace = options.value(&["-t", "--time"]).and_then(|t| t.parse().ok());
    verb(shell, &options.operands, |shell, name| {
        stop_one(shell, name, grace);
        start_one(shell, name)
    })
}

fn remove(shell: &Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-f", "--force", "-v"], &[])) else { return 125 };
    let force = options.has(&["-f", "--force"]);
    verb(shell, &options.operands, |shell, name| {
        shell.world.host(|host| match host.docker.containers.get(name) {
            Some(c) if c.running() && !force => Err(format!(
                "Error response from daemon: cannot remove container \"/{name}\": container is running: stop the container before removing or force remove"
            )),
            _ => {
                host.docker.containers.remove(name);
                Ok(())
            }
        })
    })
}

/// Seconds before now from `10m`, `30s`, `1h` or a time of day.
fn since(text: &str) -> i64 {
    let now = time::now();
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return at.as_second();
    }
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let number = number.parse::<i64>().unwrap_or(0);
    match unit {
        "" => number,
        "m" => now - number * 60,
        "h" => now - number * 3600,
        _ => now - number,
    }
}

fn logs(shell: &Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-f", "--follow", "-t", "--timestamps"], &["--since", "--tail", "-n", "--until"])) else {
        return 125;
    };
    let Some(given) = options.operands.first() else { return 1 };
    let name = match named(shell, given) {
        Ok(name) => name,
        Err(why) => {
            shell.complain(&why);
            return 1;
        }
    };
    let from = options.value(&["--since"]).map_or(0, since);
    let tail = options.value(&["--tail", "-n"]).and_then(|n| n.parse::<usize>().ok()).unwrap_or(usize::MAX);
    let read = |skip: usize| -> (Vec<(i64, String)>, usize) {
        shell.world.host(|host| {
            host.docker.containers.get(&name).map(|c| (c.log.iter().skip(skip).cloned().collect(), c.log.len())).unwrap_or_default()
        })
    };
    let print = |rows: &[(i64, String)]| {
        for (at, line) in rows {
            let stamp = if options.has(&["-t", "--timestamps"]) { format!("{} ", time::rfc3339(*at)) } else { String::new() };
            shell.out(&format!("{stamp}{line}\n"));
        }
    };
    let (rows, mut seen) = read(0);
    let rows: Vec<_> = rows.into_iter().filter(|(at, _)| *at >= from).collect();
    print(&rows[rows.len().saturating_sub(tail)..]);
    while options.has(&["-f", "--follow"]) && shell.world.wait(0.1) {
        let (rows, length) = read(seen);
        print(&rows);
        seen = length;
    }
    0
}

fn wait(shell: &Shell, names: &[String]) -> i32 {
    for given in names {
        let Ok(name) = named(shell, given) else { return 1 };
        let code = loop {
            match shell.world.host(|host| host.docker.containers.get(&name).map(|c| (c.running(), c.state.exit_code))) {
                Some((true, _)) if shell.world.wait(0.05) => {}
                other => break other.map_or(0, |(_, code)| code),
            }
        };
        shell.out(&format!("{code}\n"));
    }
    0
}

fn listed(shell: &Shell, group: &str, args: &[String]) -> i32 {
    match (group, args.first().map(String::as_str)) {
        ("network", Some("ls")) => {
            for name in shell.world.host(|host| host.docker.networks.clone()) {
                shell.out(&format!("{name}\n"));
            }
            0
        }
        (_, Some("prune" | "ls")) => 0,
        _ => {
            shell.complain(&format!("docker {group}: the practice machine does not do this"));
            1
        }
    }
}
