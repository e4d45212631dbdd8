//! Packages, services and the power switch: `apk`, `rc-service`, `rc-update`, `apt-get`, `systemctl`, `poweroff`, `reboot`.

use super::args::{Args, Spec};
use crate::lab::host::HostState;
use crate::lab::host::state::Service;
use crate::lab::shell::Shell;

/// Packages that bring a service, and its name.
const SERVICES: [(&str, &str); 9] = [
    ("docker", "docker"),
    ("docker.io", "docker"),
    ("docker-ce", "docker"),
    ("tailscale", "tailscale"),
    ("openssh", "sshd"),
    ("lighttpd", "lighttpd"),
    ("chrony", "chronyd"),
    ("qemu-guest-agent", "qemu-guest-agent"),
    ("nginx", "nginx"),
];

fn install(host: &mut HostState, name: &str) {
    host.packages.insert(name.to_owned());
    for (_, service) in SERVICES.iter().filter(|(package, _)| *package == name) {
        // Debian starts what it installs; Alpine leaves that to the user.
        let debian = host.is_debian();
        host.services
            .entry((*service).to_owned())
            .or_insert_with(|| Service { running: debian, runlevels: debian.then(|| "default".to_owned()).into_iter().collect() });
    }
}

fn is_package(name: &str) -> bool {
    !name.is_empty() && !name.contains("no-such") && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
}

/// `apk add|del|info|update|upgrade|fix`.
pub fn apk(shell: &mut Shell, args: &[String]) -> i32 {
    let plain = &[
        "-q",
        "--quiet",
        "--no-cache",
        "-U",
        "--update-cache",
        "--no-progress",
        "-e",
        "--installed",
        "-v",
        "--no-interactive",
        "-f",
        "--force",
        "-a",
        "--available",
        "-u",
    ];
    let Ok(options) = Args::parse(&args[1..], Spec { plain, valued: &["-t", "--virtual", "-X", "--repository"], stop: false }) else {
        shell.complain("apk: unrecognized option");
        return 1;
    };
    let Some((verb, names)) = options.operands.split_first() else { return 1 };
    match verb.as_str() {
        "add" => {
            let names: Vec<&str> = names.iter().map(|n| n.split(['=', '<', '>', '~']).next().unwrap_or(n)).collect();
            if let Some(bad) = names.iter().find(|n| !is_package(n)) {
                shell.complain(&format!("ERROR: unable to select packages:\n  {bad} (no such package):\n    required by: world[{bad}]"));
                return 1;
            }
            if !shell.world.wait(0.3) {
                return 1;
            }
            let count = shell.world.host(|host| {
                for name in &names {
                    install(host, name);
                }
                let world: String = host.packages.iter().map(|p| format!("{p}\n")).collect();
                host.files.write("/etc/apk/world", world.into_bytes(), 0o644).ok();
                host.packages.len()
            });
            shell.out(&format!("OK: 512 MiB in {count} packages\n"));
            0
        }
        "del" => {
            shell.world.host(|host| host.packages.retain(|p| !names.contains(p)));
            0
        }
        "info" => {
            let installed = shell.world.host(|host| host.packages.clone());
            let chosen: Vec<&String> =
                if names.is_empty() { installed.iter().collect() } else { names.iter().filter(|n| installed.contains(*n)).collect() };
            for name in &chosen {
                shell.out(&format!("{name}\n"));
            }
            i32::from(!names.is_empty() && chosen.len() < names.len())
        }
        "update" | "upgrade" | "fix" | "cache" => {
            shell.out("OK: 25406 distinct packages available\n");
            0
        }
        _ => {
            shell.complain(&format!("ERROR: '{verb}' is not an apk command. See 'apk --help'."));
            1
        }
    }
}

/// `rc-service [-q] NAME start|stop|restart|status`.
pub fn rc_service(shell: &mut Shell, args: &[String]) -> i32 {
    let rest: Vec<&String> = args[1..].iter().filter(|a| !a.starts_with('-')).collect();
    let [name, verb] = rest.as_slice() else { return 1 };
    service(shell, name, verb, &format!("rc-service: service `{name}' does not exist"))
}

fn service(shell: &Shell, name: &str, verb: &str, missing: &str) -> i32 {
    let known = shell.world.host(|host| {
        let service = host.services.get_mut(name)?;
        let was = service.running;
        match verb {
            "start" | "restart" | "reload" => service.running = true,
            "stop" => service.running = false,
            _ => {}
        }
        if name == "tailscale" && matches!(verb, "start" | "restart") && host.tailnet.state.is_empty() {
            "NeedsLogin".clone_into(&mut host.tailnet.state);
        }
        if name == "docker" && verb == "stop" {
            let now = crate::lab::host::time::now();
            host.docker.containers.values_mut().filter(|c| c.running()).for_each(|c| c.end(now, 137));
        }
        Some(was)
    });
    match (known, verb) {
        (None, _) => {
            shell.complain(missing);
            1
        }
        (Some(running), "status" | "is-active") => {
            shell.out(match (running, verb) {
                (true, "status") => " * status: started\n",
                (false, "status") => " * status: stopped\n",
                (true, _) => "active\n",
                (false, _) => "inactive\n",
            });
            if running { 0 } else { 3 }
        }
        (Some(true), "start") => {
            shell.complain(&format!(" * WARNING: {name} has already been started"));
            0
        }
        (Some(_), "start") => {
            shell.out(&format!(" * Starting {name} ... [ ok ]\n"));
            0
        }
        (Some(_), "stop") => {
            shell.out(&format!(" * Stopping {name} ... [ ok ]\n"));
            0
        }
        _ => 0,
    }
}

/// `rc-update add|del NAME [RUNLEVEL]`, `rc-update show`.
pub fn rc_update(shell: &mut Shell, args: &[String]) -> i32 {
    let rest: Vec<&str> = args[1..].iter().filter(|a| !a.starts_with('-')).map(String::as_str).collect();
    let (verb, name, level) = match rest.as_slice() {
        [] | ["show", ..] => {
            let services = shell.world.host(|host| host.services.clone());
            for (name, service) in services {
                shell.out(&format!("{name:>20} | {}\n", service.runlevels.into_iter().collect::<Vec<_>>().join(" ")));
            }
            return 0;
        }
        [verb, name] => (*verb, *name, "default"),
        [verb, name, level, ..] => (*verb, *name, *level),
        _ => return 1,
    };
    let changed = shell.world.host(|host| {
        let service = host.services.get_mut(name)?;
        Some(if verb == "add" { service.runlevels.insert(level.to_owned()) } else { service.runlevels.remove(level) })
    });
    match changed {
        None => {
            shell.complain(&format!(" * rc-update: service `{name}' does not exist"));
            1
        }
        Some(true) => {
            shell.out(&format!(" * service {name} {} runlevel {level}\n", if verb == "add" { "added to" } else { "removed from" }));
            0
        }
        Some(false) => {
            shell.complain(&format!(" * rc-update: {name} already installed in runlevel `{level}'; skipping"));
            0
        }
    }
}

/// `rc-status`.
pub fn rc_status(shell: &mut Shell, _args: &[String]) -> i32 {
    let services = shell.world.host(|host| host.services.clone());
    shell.out("Runlevel: default\n");
    for (name, service) in services {
        shell.out(&format!(" {name:40} [ {} ]\n", if service.running { "started" } else { "stopped" }));
    }
    0
}

/// `apt-get [-y] install|update|remove`.
pub fn apt(shell: &mut Shell, args: &[String]) -> i32 {
    let plain = &["-y", "--yes", "-q", "-qq", "--no-install-recommends", "--allow-downgrades"];
    let Ok(options) = Args::parse(&args[1..], Spec { plain, valued: &["-o", "-t"], stop: false }) else { return 100 };
    let Some((verb, names)) = options.operands.split_first() else { return 1 };
    if verb == "install" {
        if let Some(bad) = names.iter().find(|n| !is_package(n)) {
            shell.complain(&format!("E: Unable to locate package {bad}"));
            return 100;
        }
        if !options.has(&["-y", "--yes"]) {
            shell.out("Do you want to continue? [Y/n] Abort.\n");
            return 1;
        }
        shell.world.host(|host| names.iter().for_each(|name| install(host, name)));
    } else if verb == "remove" {
        shell.world.host(|host| host.packages.retain(|p| !names.contains(p)));
    }
    0
}

/// `systemctl start|stop|restart|enable [--now]|is-active NAME`.
pub fn systemctl(shell: &mut Shell, args: &[String]) -> i32 {
    let rest: Vec<&str> = args[1..].iter().filter(|a| !a.starts_with('-')).map(String::as_str).collect();
    let [verb, names @ ..] = rest.as_slice() else { return 1 };
    let now = args.iter().any(|a| a == "--now");
    let mut status = 0;
    for name in names {
        let name = name.trim_end_matches(".service");
        let missing = format!("Failed to {verb} {name}.service: Unit {name}.service not found.");
        if matches!(*verb, "enable" | "disable") {
            shell.world.host(|host| {
                host.services
                    .get_mut(name)
                    .map(|s| if *verb == "enable" { s.runlevels.insert("default".to_owned()) } else { s.runlevels.remove("default") })
            });
        }
        let act = match *verb {
            "enable" if now => "start",
            "disable" if now => "stop",
            verb => verb,
        };
        status = status.max(service(shell, name, act, &missing));
    }
    status
}

/// `poweroff`.
pub fn power_off(shell: &mut Shell, args: &[String]) -> i32 {
    if args[0] == "shutdown" && args.iter().any(|a| a == "-r") {
        return reboot(shell, args);
    }
    shell.world.machine.power_off();
    0
}

/// `reboot`.
pub fn reboot(shell: &mut Shell, _args: &[String]) -> i32 {
    shell.world.machine.reboot();
    0
}
