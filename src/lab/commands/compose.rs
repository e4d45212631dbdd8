//! `docker compose`, as version 2.26 behaves.

use serde_json::{Value, json};

use super::args::{Args, Spec};
use super::docker::{DOWN, parse, print_rows, shown, spec, stop_one};
use super::{run, show};
use crate::lab::host::compose::{BadProject, Done, Project, of_project};
use crate::lab::host::time;
use crate::lab::shell::Shell;

/// A compose command line up to its subcommand.
struct Call {
    project: Result<Project, BadProject>,
    /// `-p`, or the directory's own name, for what works without a file.
    name: Option<String>,
    quiet: bool,
}

/// `docker compose [OPTIONS] SUBCOMMAND …`; options before the subcommand.
pub fn compose(shell: &mut Shell, args: &[String]) -> i32 {
    if !shell.world.host(|host| host.packages.contains("docker-cli-compose") || host.packages.contains("docker-compose-plugin")) {
        shell.complain("docker: 'compose' is not a docker command.\nSee 'docker --help'");
        return 1;
    }
    let valued =
        &["--ansi", "--progress", "--project-directory", "-f", "--file", "-p", "--project-name", "--env-file", "--profile", "--parallel"];
    let Ok(options) = parse(shell, args, Spec { plain: &["--compatibility", "--dry-run", "--version", "-v"], valued, stop: true }) else {
        return 16;
    };
    let Some((verb, rest)) = options.operands.split_first() else { return 0 };
    let rest = rest.to_vec();
    if verb == "version" {
        let short = rest.iter().any(|a| a == "--short");
        shell.out(if short { "2.26.1\n" } else { "Docker Compose version v2.26.1\n" });
        return 0;
    }
    let file = options.value(&["-f", "--file"]);
    let dir = match (options.value(&["--project-directory"]), file) {
        (Some(dir), _) => shell.path(dir),
        (None, Some(file)) => crate::lab::host::files::split(&shell.path(file)).0.to_owned(),
        (None, None) => shell.cwd.clone(),
    };
    let file = file.map(|f| shell.path(f));
    let name = options.value(&["-p", "--project-name"]).map(str::to_owned);
    let project = shell.world.files(|files| Project::read(files, &dir, file.as_deref(), name.as_deref()));
    let call = Call { project, name, quiet: options.value(&["--progress"]) == Some("quiet") };
    let needs_engine = !matches!(verb.as_str(), "config");
    if needs_engine && !shell.world.host(|host| host.services.get("docker").is_some_and(|s| s.running)) {
        shell.complain(DOWN);
        return 1;
    }
    dispatch(shell, verb, &rest, &call)
}

fn dispatch(shell: &mut Shell, verb: &str, rest: &[String], call: &Call) -> i32 {
    if verb == "ls" {
        return ls(shell, rest);
    }
    let project = match &call.project {
        Ok(project) => project,
        // With a project's name, compose finds the containers by their labels alone.
        Err(BadProject::NoFile) if call.name.is_some() && matches!(verb, "ps" | "stop" | "down" | "images") => {
            return by_name(shell, verb, rest, call);
        }
        Err(error) => {
            shell.complain(&error.to_string());
            return if matches!(error, BadProject::Invalid(_)) { 15 } else { 14 };
        }
    };
    match verb {
        "up" => up(shell, rest, project, call.quiet),
        "start" => each(shell, rest, project, ("Started", call.quiet), run::start),
        "stop" => stop(shell, rest, project, call.quiet),
        "restart" => restart(shell, rest, project, call.quiet),
        "down" => down(shell, rest, project, call.quiet),
        "rm" => remove(shell, rest, project),
        "ps" => ps(shell, rest, &project.name, Some(project)),
        "config" => config(shell, rest, project),
        "pull" => pull(shell, rest, project, call.quiet),
        "images" => images(shell, rest, &project.name),
        "logs" => logs(shell, rest, project),
        "exec" => exec(shell, rest, project),
        "build" => build(shell, rest, project),
        _ => {
            shell.complain(&format!("unknown docker command: \"compose {verb}\""));
            16
        }
    }
}

fn by_name(shell: &Shell, verb: &str, rest: &[String], call: &Call) -> i32 {
    let name = call.name.clone().unwrap_or_default();
    match verb {
        "ps" => ps(shell, rest, &name, None),
        "images" => images(shell, rest, &name),
        _ => {
            for container in shell.world.host(|host| of_project(host, &name)) {
                stop_one(shell, &container, None);
                if verb == "down" {
                    shell.world.host(|host| host.docker.containers.remove(&container));
                }
            }
            0
        }
    }
}

/// Progress goes to standard error, and with `--progress quiet` nowhere.
fn progress(shell: &Shell, quiet: bool, container: &str, what: &str) {
    if !quiet {
        shell.complain(&format!(" Container {container}  {what}"));
    }
}

fn failed(shell: &Shell, why: &str) -> i32 {
    shell.complain(why);
    1
}

fn up(shell: &mut Shell, args: &[String], project: &Project, quiet: bool) -> i32 {
    let plain = &[
        "-d",
        "--detach",
        "--wait",
        "--remove-orphans",
        "--force-recreate",
        "--no-recreate",
        "--build",
        "--no-start",
        "--quiet-pull",
        "--no-deps",
        "-y",
    ];
    let Ok(options) = parse(shell, args, spec(plain, &["--wait-timeout", "-t", "--timeout", "--pull", "--scale"])) else { return 16 };
    let names = match project.chosen(&options.operands) {
        Ok(names) => names,
        Err(why) => return failed(shell, &why),
    };
    if options.has(&["--remove-orphans"]) {
        for orphan in shell.world.host(|host| project.orphans(host)) {
            stop_one(shell, &orphan, None);
            shell.world.host(|host| host.docker.containers.remove(&orphan));
            progress(shell, quiet, &orphan, "Removed");
        }
    }
    if options.value(&["--pull"]) == Some("always") && pull(shell, &names, project, quiet) != 0 {
        return 1;
    }
    let unbuilt = |shell: &Shell, name: &str| {
        let service = &project.services[name];
        service.built && (options.has(&["--build"]) || shell.world.host(|host| host.docker.image(&service.image).is_none()))
    };
    for name in &names {
        if unbuilt(shell, name) && build_one(shell, name, project) != 0 {
            return 17;
        }
        let state = shell.world.host(|host| project.state(host, name));
        if state == Done::Recreated || (options.has(&["--force-recreate"]) && state != Done::Created) {
            let container = project.services[name].container.clone();
            stop_one(shell, &container, options.value(&["-t", "--timeout"]).and_then(|t| t.parse().ok()));
            if options.has(&["--force-recreate"]) {
                shell.world.host(|host| host.docker.containers.get_mut(&container).map(|c| c.labels.clear()));
            }
        }
    }
    match shell.world.host(|host| project.up(host, &names, time::now())) {
        Ok(done) => {
            for (container, state) in done {
                progress(shell, quiet, &container, if state == Done::Running { "Running" } else { "Started" });
            }
        }
        Err(why) => return failed(shell, &format!("Error response from daemon: {why}")),
    }
    if options.has(&["--wait"]) {
        let most = options.value(&["--wait-timeout"]).and_then(|t| t.parse().ok()).unwrap_or(600.0);
        return wait(shell, project, &names, (most, quiet));
    }
    0
}

/// Until every container runs and is healthy; a container that ended fails it, a one-shot too.
fn wait(shell: &Shell, project: &Project, names: &[String], with: (f64, bool)) -> i32 {
    let (mut left, quiet) = with;
    loop {
        let states: Vec<_> = shell.world.host(|host| {
            let of = |name: &String| {
                let container = &project.services[name].container;
                host.docker.containers.get(container).map(|c| (container.clone(), c.state.clone())).unwrap_or_default()
            };
            names.iter().map(of).collect()
        });
        if let Some((name, state)) = states.iter().find(|(_, s)| s.status != "running") {
            return failed(shell, &format!("container {name} exited ({})", state.exit_code));
        }
        if let Some((name, _)) = states.iter().find(|(_, s)| s.health == "unhealthy") {
            return failed(shell, &format!("container {name} is unhealthy"));
        }
        if states.iter().all(|(_, s)| s.health != "starting") {
            states.iter().for_each(|(name, _)| progress(shell, quiet, name, "Healthy"));
            return 0;
        }
        if left <= 0.0 || !shell.world.wait(0.2) {
            return failed(shell, "application not healthy after timeout");
        }
        left -= 0.2;
    }
}

/// Does something with the containers of the chosen services.
fn each(shell: &Shell, names: &[String], project: &Project, words: (&str, bool), act: impl Fn(&Shell, &str) -> Result<(), String>) -> i32 {
    let names = match project.chosen(names) {
        Ok(names) => names,
        Err(why) => return failed(shell, &why),
    };
    for name in names {
        let container = &project.services[&name].container;
        if !shell.world.host(|host| host.docker.containers.contains_key(container)) {
            if words.0 == "Started" {
                return failed(shell, &format!("service \"{name}\" has no container to start"));
            }
            continue;
        }
        if let Err(why) = act(shell, container) {
            return failed(shell, &why);
        }
        progress(shell, words.1, container, words.0);
    }
    0
}

fn grace(options: &Args) -> Option<u64> {
    options.value(&["-t", "--timeout"]).and_then(|t| t.parse().ok())
}

fn stop(shell: &Shell, args: &[String], project: &Project, quiet: bool) -> i32 {
    let Ok(options) = parse(shell, args, spec(&[], &["-t", "--timeout"])) else { return 16 };
    each(shell, &options.operands, project, ("Stopped", quiet), |shell, name| {
        stop_one(shell, name, grace(&options));
        Ok(())
    })
}

fn restart(shell: &Shell, args: &[String], project: &Project, quiet: bool) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["--no-deps"], &["-t", "--timeout"])) else { return 16 };
    each(shell, &options.operands, project, ("Started", quiet), |shell, name| {
        stop_one(shell, name, grace(&options));
        run::start(shell, name)
    })
}

fn down(shell: &Shell, args: &[String], project: &Project, quiet: bool) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["--remove-orphans", "-v", "--volumes"], &["-t", "--timeout", "--rmi"])) else { return 16 };
    let orphans = shell.world.host(|host| project.orphans(host));
    let all = shell.world.host(|host| project.containers(host));
    for container in all.into_iter().filter(|c| options.has(&["--remove-orphans"]) || !orphans.contains(c)) {
        stop_one(shell, &container, grace(&options));
        shell.world.host(|host| host.docker.containers.remove(&container));
        progress(shell, quiet, &container, "Removed");
    }
    let network = format!("{}_default", project.name);
    shell.world.host(|host| host.docker.networks.retain(|n| *n != network));
    0
}

fn remove(shell: &Shell, args: &[String], project: &Project) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-f", "--force", "-s", "--stop", "-v"], &[])) else { return 16 };
    each(shell, &options.operands, project, ("Removed", false), |shell, name| {
        if options.has(&["-s", "--stop"]) {
            stop_one(shell, name, None);
        }
        shell.world.host(|host| {
            if host.docker.containers.get(name).is_some_and(|c| !c.running()) {
                host.docker.containers.remove(name);
            }
        });
        Ok(())
    })
}

fn ps(shell: &Shell, args: &[String], project: &str, file: Option<&Project>) -> i32 {
    let Ok(options) = parse(
        shell,
        args,
        spec(&["-a", "--all", "-q", "--quiet", "--services", "--no-trunc", "--orphans"], &["--format", "--status", "--filter"]),
    ) else {
        return 16;
    };
    if let Some(name) = file.and_then(|f| options.operands.iter().find(|n| !f.services.contains_key(*n))) {
        return failed(shell, &format!("no such service: {name}"));
    }
    let now = time::now();
    let rows: Vec<Value> = shell.world.host(|host| {
        let wanted = |row: &Value| {
            let running = row["State"] == "running";
            let state = options.value(&["--status"]).map_or(running || options.has(&["-a", "--all"]), |s| row["State"] == s);
            state && (options.operands.is_empty() || options.operands.iter().any(|n| row["Service"] == n.as_str()))
        };
        of_project(host, project)
            .iter()
            .filter_map(|name| host.docker.containers.get(name).map(|c| show::compose_row(name, c, now)))
            .filter(wanted)
            .collect()
    });
    let column = if options.has(&["-q", "--quiet"]) { Some("ID") } else { options.has(&["--services"]).then_some("Service") };
    if let Some(column) = column {
        for row in rows {
            shell.out(&format!("{}\n", row[column].as_str().unwrap_or("")));
        }
        return 0;
    }
    print_rows(shell, options.value(&["--format"]), rows, &["Name", "Image", "Command", "Service", "CreatedAt", "Status", "Ports"])
}

fn config(shell: &Shell, args: &[String], project: &Project) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["--services", "-q", "--quiet", "--images", "--volumes"], &["--format", "--hash"])) else {
        return 16;
    };
    if options.has(&["-q", "--quiet"]) {
        return 0;
    }
    let mut lines = Vec::new();
    if options.has(&["--services"]) {
        lines.extend(project.services.keys().cloned());
    } else if options.has(&["--images"]) {
        lines.extend(project.services.values().map(|s| s.image.clone()));
    } else if let Some(wanted) = options.value(&["--hash"]) {
        lines.extend(
            project
                .services
                .iter()
                .filter(|(n, _)| wanted == "*" || wanted.split(',').any(|w| w == *n))
                .map(|(n, s)| format!("{n} {}", s.hash)),
        );
    } else {
        // JSON is also YAML, so without a format the answer is still one that every reader of YAML takes.
        lines.push(serde_json::to_string_pretty(&project.to_json()).unwrap_or_default());
    }
    shown(shell, Ok(lines.join("\n")))
}

fn pull(shell: &Shell, args: &[String], project: &Project, quiet: bool) -> i32 {
    let Ok(options) =
        parse(shell, args, spec(&["-q", "--quiet", "--ignore-pull-failures", "--include-deps", "--ignore-buildable"], &["--policy"]))
    else {
        return 16;
    };
    let names = match project.chosen(&options.operands) {
        Ok(names) => names,
        Err(why) => return failed(shell, &why),
    };
    let quiet = quiet || options.has(&["-q", "--quiet"]);
    for name in names {
        let service = &project.services[&name];
        if service.built {
            continue;
        }
        if let Err(why) = shell.world.host(|host| host.docker.pull(&service.image, time::now())) {
            shell.complain(&format!(" {name} Error {why}"));
            return failed(shell, &format!("Error response from daemon: {why}"));
        }
        if !quiet {
            shell.complain(&format!(" {name} Pulled"));
        }
    }
    0
}

fn images(shell: &Shell, args: &[String], project: &str) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-q", "--quiet"], &["--format"])) else { return 16 };
    let rows: Vec<Value> = shell.world.host(|host| {
        let row = |name: &String| {
            let c = host.docker.containers.get(name)?;
            let (repository, tag) = c.image.rsplit_once(':').unwrap_or((&c.image, "latest"));
            let size = host.docker.images.values().find(|i| i.id == c.image_id).map_or(0, |i| i.size);
            Some(json!({ "ID": c.image_id, "ContainerName": name, "Repository": repository, "Tag": tag, "Size": size }))
        };
        of_project(host, project).iter().filter_map(row).collect()
    });
    match options.value(&["--format"]) {
        _ if options.has(&["-q", "--quiet"]) => shown(
            shell,
            Ok(rows.iter().filter_map(|r| r["ID"].as_str()).map(|id| id.trim_start_matches("sha256:")).collect::<Vec<_>>().join("\n")),
        ),
        Some("json") => shown(shell, Ok(Value::Array(rows).to_string())),
        _ => print_rows(shell, None, rows, &["ContainerName", "Repository", "Tag", "ID"]),
    }
}

fn ls(shell: &Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-a", "--all", "-q", "--quiet"], &["--format", "--filter"])) else { return 16 };
    let rows: Vec<Value> = shell.world.host(|host| {
        let mut projects: std::collections::BTreeMap<String, (usize, usize, String)> = std::collections::BTreeMap::new();
        for c in host.docker.containers.values() {
            let Some(name) = c.labels.get("com.docker.compose.project") else { continue };
            let entry = projects.entry(name.clone()).or_default();
            *(if c.running() { &mut entry.0 } else { &mut entry.1 }) += 1;
            entry.2 = c.labels.get("com.docker.compose.project.config_files").cloned().unwrap_or_default();
        }
        let all = options.has(&["-a", "--all"]);
        projects
            .into_iter()
            .filter(|(_, (running, ..))| all || *running > 0)
            .map(|(name, (running, exited, file))| {
                let counts = [("exited", exited), ("running", running)];
                let status: Vec<String> = counts.iter().filter(|(_, n)| *n > 0).map(|(s, n)| format!("{s}({n})")).collect();
                json!({ "Name": name, "Status": status.join(", "), "ConfigFiles": file })
            })
            .collect()
    });
    match options.value(&["--format"]) {
        Some("json") => shown(shell, Ok(Value::Array(rows).to_string())),
        _ => print_rows(shell, None, rows, &["Name", "Status", "ConfigFiles"]),
    }
}

fn logs(shell: &mut Shell, args: &[String], project: &Project) -> i32 {
    let Ok(options) =
        parse(shell, args, spec(&["--no-color", "--no-log-prefix", "-t", "--timestamps", "-f", "--follow"], &["--tail", "-n", "--since"]))
    else {
        return 16;
    };
    let names = match project.chosen(&options.operands) {
        Ok(names) => names,
        Err(why) => return failed(shell, &why),
    };
    for name in names {
        let service = &project.services[&name];
        let tail = options.value(&["--tail", "-n"]).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
        let log = shell.world.host(|host| host.docker.containers.get(&service.container).map(|c| c.log.clone())).unwrap_or_default();
        let prefix = if options.has(&["--no-log-prefix"]) { String::new() } else { format!("{}  | ", service.container) };
        for (_, line) in &log[log.len().saturating_sub(tail)..] {
            shell.out(&format!("{prefix}{line}\n"));
        }
    }
    0
}

fn exec(shell: &mut Shell, args: &[String], project: &Project) -> i32 {
    let plain = &["-d", "--detach", "-T", "--no-TTY", "--privileged"];
    let Ok(options) =
        parse(shell, args, Spec { plain, valued: &["-u", "--user", "-w", "--workdir", "-e", "--env", "--index"], stop: true })
    else {
        return 16;
    };
    let Some(service) = options.operands.first().and_then(|n| project.services.get(n)).filter(|_| options.operands.len() > 1) else {
        return failed(shell, "no such service");
    };
    let container = service.container.clone();
    if !shell.world.host(|host| host.docker.containers.get(&container).is_some_and(|c| c.running())) {
        return failed(shell, &format!("service \"{}\" is not running", options.operands[0]));
    }
    run::inside(shell, &container, &options)
}

fn build(shell: &mut Shell, args: &[String], project: &Project) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-q", "--quiet", "--pull", "--no-cache"], &["--build-arg"])) else { return 16 };
    let names = match project.chosen(&options.operands) {
        Ok(names) => names,
        Err(why) => return failed(shell, &why),
    };
    names.iter().filter(|n| project.services[*n].built).map(|name| build_one(shell, name, project)).fold(0, i32::max)
}

fn build_one(shell: &mut Shell, name: &str, project: &Project) -> i32 {
    let service = &project.services[name];
    let given = &service.config["build"];
    let context = given.as_str().or_else(|| given["context"].as_str()).unwrap_or(".");
    let context = crate::lab::host::files::normalise(&project.dir, context);
    let mut args = vec!["-q".to_owned(), "-t".to_owned(), service.image.clone()];
    if let Some(file) = given["dockerfile"].as_str() {
        args.extend(["-f".to_owned(), format!("{context}/{file}")]);
    }
    args.push(context);
    super::image::build(shell, &args)
}
