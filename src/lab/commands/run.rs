//! `docker run` and `docker exec`.

use std::collections::BTreeMap;

use super::docker::{DOWN, named, parse, start_one};
use super::{Args, Spec};
use crate::lab::host::docker::{Container, ContainerConfig, ContainerState, reference};
use crate::lab::host::{compose, time};
use crate::lab::shell::Shell;

const VALUED: &[&str] = &[
    "--name",
    "--restart",
    "-p",
    "--publish",
    "-v",
    "--volume",
    "--mount",
    "-e",
    "--env",
    "--env-file",
    "-l",
    "--label",
    "-w",
    "--workdir",
    "--entrypoint",
    "--network",
    "--net",
    "--stop-timeout",
    "--pull",
    "-u",
    "--user",
    "-h",
    "--hostname",
    "-m",
    "--memory",
    "--log-opt",
    "--log-driver",
    "--cpus",
];

/// `docker run [-d] … IMAGE [COMMAND…]`; with `only_create` it is `docker create`.
pub fn run(shell: &mut Shell, args: &[String], only_create: bool) -> i32 {
    let plain = &["-d", "--detach", "--rm", "-i", "--interactive", "-t", "--tty", "--init", "--privileged"];
    let Ok(options) = parse(shell, args, Spec { plain, valued: VALUED, stop: true }) else { return 125 };
    let Some(image) = options.operands.first().cloned() else {
        shell.complain("\"docker run\" requires at least 1 argument.");
        return 125;
    };
    let fail = |why: &str| {
        shell.complain(&format!("docker: Error response from daemon: {why}\nSee 'docker run --help'."));
        125
    };
    let config = match config(shell, &options) {
        Ok(config) => config,
        Err(why) => {
            shell.complain(&format!("docker: {why}"));
            return 125;
        }
    };
    let now = time::now();
    let made = shell.world.host(|host| {
        let wanted = options.value(&["--name"]);
        if let Some((name, old)) = wanted.and_then(|name| host.docker.containers.get_key_value(name)) {
            return Err(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
                old.id
            ));
        }
        if host.docker.image(&image).is_none() {
            host.docker.pull(&image, now)?;
        }
        let found = host.docker.image(&image).cloned().unwrap_or_default();
        let id = host.docker.fresh_id(&image);
        let name = wanted.map_or_else(|| format!("practice_{}", &id[..6]), str::to_owned);
        let pair = |l: &&str| l.split_once('=').map_or(((*l).to_owned(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()));
        let mut labels: BTreeMap<String, String> = found.labels.clone();
        labels.extend(options.values(&["-l", "--label"]).iter().map(pair));
        let config = ContainerConfig { starts: found.starts, created: now, ..config };
        let state = ContainerState { status: "created".to_owned(), ..ContainerState::default() };
        let image = if image.starts_with("sha256:") { image.clone() } else { reference(&image) };
        host.docker.containers.insert(name.clone(), Container { id: id.clone(), image, image_id: found.id, labels, config, state, ..Container::default() });
        Ok((name, id))
    });
    let (name, id) = match made {
        Ok(made) => made,
        Err(why) => return fail(&why),
    };
    if only_create {
        shell.out(&format!("{id}\n"));
        return 0;
    }
    if let Err(why) = shell.world.host(|host| host.docker.start(&name, now)) {
        return fail(&why);
    }
    if options.has(&["-d", "--detach"]) {
        shell.out(&format!("{id}\n"));
        return 0;
    }
    let code = loop {
        match shell.world.host(|host| host.docker.containers.get(&name).map(|c| (c.running(), c.state.exit_code))) {
            Some((true, _)) if shell.world.wait(0.05) => {}
            other => break other.map_or(0, |(_, code)| code),
        }
    };
    if options.has(&["--rm"]) {
        shell.world.host(|host| host.docker.containers.remove(&name));
    }
    code
}

fn config(shell: &Shell, options: &Args) -> Result<ContainerConfig, String> {
    let mut env = Vec::new();
    for file in options.values(&["--env-file"]) {
        let text = shell.world.read(&shell.path(file)).map_err(|_| format!("open {file}: no such file or directory."))?;
        env.extend(
            String::from_utf8_lossy(&text).lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned),
        );
    }
    env.extend(
        options.values(&["-e", "--env"]).iter().map(|e| if e.contains('=') { (*e).to_owned() } else { format!("{e}={}", shell.get(e)) }),
    );
    let mut ports = Vec::new();
    for port in options.values(&["-p", "--publish"]) {
        ports.extend(compose::ports(port).ok_or_else(|| format!("invalid containerPort: {port}."))?);
    }
    Ok(ContainerConfig {
        env,
        ports,
        command: options.operands[1..].to_vec(),
        volumes: options.values(&["-v", "--volume"]).iter().map(|&v| v.to_owned()).collect(),
        restart: options.value(&["--restart"]).unwrap_or("no").to_owned(),
        grace: options.value(&["--stop-timeout"]).and_then(|t| t.parse().ok()),
        workdir: options.value(&["-w", "--workdir"]).unwrap_or("").to_owned(),
        ..ContainerConfig::default()
    })
}

/// `docker exec [-i] [-t] [-d] [-u USER] [-w DIR] [-e A=b] CONTAINER COMMAND…`.
pub fn exec(shell: &mut Shell, args: &[String]) -> i32 {
    let plain = &["-i", "--interactive", "-t", "--tty", "-d", "--detach", "--privileged", "-T"];
    let Ok(options) = parse(shell, args, Spec { plain, valued: &["-u", "--user", "-w", "--workdir", "-e", "--env"], stop: true }) else {
        return 125;
    };
    if options.operands.len() < 2 {
        shell.complain("\"docker exec\" requires at least 2 arguments.\nSee 'docker exec --help'.");
        return 1;
    }
    // Without -i the process inside has no standard input, whatever the client has.
    if !options.has(&["-i", "--interactive"]) {
        shell.io.stdin = crate::lab::shell::io::Input::bytes(Vec::new());
    }
    let name = match named(shell, &options.operands[0]) {
        Ok(name) => name,
        Err(why) => {
            shell.complain(&why);
            return 1;
        }
    };
    inside(shell, &name, &options)
}

/// Runs a command inside a container; `options` are those of `exec`, its first operand the container.
pub(super) fn inside(shell: &mut Shell, name: &str, options: &Args) -> i32 {
    let running = shell
        .world
        .host(|host| host.docker.containers.get(name).filter(|c| c.running()).map(|c| (c.config.env.clone(), c.config.workdir.clone())));
    let Some((env, workdir)) = running else {
        let id = shell.world.host(|host| host.docker.containers.get(name).map(|c| c.id.clone())).unwrap_or_default();
        shell.complain(&format!("Error response from daemon: container {id} is not running"));
        return 1;
    };
    let mut world = shell.world.clone();
    world.container = Some(name.to_owned());
    options.value(&["-u", "--user"]).unwrap_or("root").clone_into(&mut world.user);
    let mut inner = Shell::new(world, shell.io.clone());
    for (key, value) in env.iter().map(String::as_str).chain(options.values(&["-e", "--env"])).filter_map(|e| e.split_once('=')) {
        inner.export(key, value);
    }
    let dir = options.value(&["-w", "--workdir"]).unwrap_or(&workdir);
    if !dir.is_empty() {
        dir.clone_into(&mut inner.cwd);
    }
    let command = &options.operands[1..];
    let base = command[0].rsplit('/').next().unwrap_or(&command[0]);
    let builtin = ["true", "false", "echo", "printf", "test", "[", "pwd"].contains(&base);
    if !builtin && (inner.world.programs)(&inner.world, base).is_none() {
        let why = format!("exec: \"{}\": executable file not found in $PATH", command[0]);
        shell.complain(&format!("OCI runtime exec failed: exec failed: unable to start container process: {why}: unknown"));
        return 127;
    }
    if options.has(&["-d", "--detach"]) {
        let command = command.to_vec();
        inner.world.cancel = std::sync::Arc::default();
        let started = std::thread::Builder::new().stack_size(crate::lab::shell::STACK).spawn(move || inner.program(&command));
        return i32::from(started.is_err());
    }
    inner.program(command)
}

/// `docker start` of a created container, for compose.
pub(super) fn start(shell: &Shell, name: &str) -> Result<(), String> {
    if !shell.world.host(|host| host.services.get("docker").is_some_and(|s| s.running)) {
        return Err(DOWN.to_owned());
    }
    start_one(shell, name)
}
