//! Installing Alpine: `setup-alpine`, and the programs used around it.

use super::args::{Args, Spec};
use crate::lab::shell::Shell;

/// Seconds an installation takes.
const TAKES: f64 = 20.0;

/// `setup-alpine -e -f FILE`: the file is sourced, as the real one does. Without `-e` the password question meets the end of the input and asks for ever.
pub fn setup_alpine(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = Args::parse(&args[1..], Spec { plain: &["-e", "-a", "-q", "-z", "-r"], valued: &["-f", "-c"], stop: false }) else {
        shell.complain("usage: setup-alpine [-ahq] [-c FILE | -f FILE]");
        return 1;
    };
    let Some(file) = options.value(&["-f"]) else {
        shell.complain("setup-alpine: the practice machine installs from an answer file only (-f)");
        return 1;
    };
    let erase = shell.get("ERASE_DISKS").to_owned();
    let mut answers = shell.clone();
    let path = shell.path(file);
    let Ok(text) = shell.world.read(&path) else {
        shell.complain(&format!("setup-alpine: {file}: not found"));
        return 1;
    };
    answers.script(&String::from_utf8_lossy(&text));
    let words = |name: &str| -> Vec<String> { answers.get(name).split_whitespace().map(str::to_owned).collect() };
    if let Some(name) = words("HOSTNAMEOPTS").last() {
        shell.world.host(|host| {
            host.hostname.clone_from(name);
            host.files.write("/etc/hostname", format!("{name}\n").into_bytes(), 0o644).ok();
        });
    }
    if !options.has(&["-e"]) {
        shell.out("Changing password for root\nNew password: ");
        while shell.world.wait(1.0) {
            shell.out("Please retry.\n");
        }
        return 130;
    }
    if !answers.get("ROOTSSHKEY").is_empty() {
        let key = format!("{}\n", answers.get("ROOTSSHKEY"));
        shell
            .world
            .files(|f| f.mkdir_all("/root/.ssh", 0o700).and_then(|()| f.write("/root/.ssh/authorized_keys", key.into_bytes(), 0o600)))
            .ok();
    }
    let disks: Vec<String> = words("DISKOPTS").into_iter().filter(|w| w.starts_with("/dev/")).collect();
    if disks.is_empty() {
        return 0;
    }
    install_on(shell, &disks, &erase)
}

fn install_on(shell: &Shell, disks: &[String], erase: &str) -> i32 {
    for disk in disks {
        if !shell.world.host(|host| host.is_block_device(disk)) {
            shell.complain(&format!("{disk} is not a valid block device!"));
            return 1;
        }
    }
    let list = disks.join(" ");
    if erase != list {
        shell.out(&format!(
            "WARNING: The following disk(s) will be erased:\n  {list}\nWARNING: Erase the above disk(s) and continue? (y/n) [n] "
        ));
        return 1;
    }
    shell.out(&format!("Creating file systems...\nInstalling system on {}3:\n", disks[0]));
    if !shell.world.wait(TAKES) {
        return 130;
    }
    shell.world.host(|host| host.install(disks[0].trim_start_matches("/dev/")));
    shell.out("\nInstallation is complete. Please reboot.\n");
    0
}

/// `modprobe [-a] MODULE…`.
pub fn modprobe(shell: &mut Shell, args: &[String]) -> i32 {
    for module in args[1..].iter().filter(|a| !a.starts_with('-')) {
        if module.contains("no-such") {
            shell.complain(&format!("modprobe: FATAL: Module {module} not found in directory /lib/modules/6.12.1-0-virt"));
            return 1;
        }
        shell.world.host(|host| host.boot.modules.insert(module.replace('-', "_")));
    }
    0
}

/// `lsblk [-d] [-n] [-o NAME[,SIZE[,TYPE]]] [-b]`: disks only.
pub fn lsblk(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = Args::parse(&args[1..], Spec { plain: &["-d", "-n", "-b", "-p", "-r"], valued: &["-o"], stop: false }) else {
        return 1;
    };
    let columns = options.value(&["-o"]).unwrap_or("NAME,SIZE,TYPE").to_uppercase();
    if !options.has(&["-n"]) {
        shell.out(&format!("{}\n", columns.replace(',', " ")));
    }
    let disks: Vec<(String, u64)> = shell
        .world
        .host(|host| if host.sees_disks() { host.disks.iter().map(|d| (d.name.clone(), d.bytes)).collect() } else { Vec::new() });
    for (name, bytes) in disks {
        let cells = columns.split(',').map(|column| match column {
            "NAME" if options.has(&["-p"]) => format!("/dev/{name}"),
            "NAME" => name.clone(),
            "SIZE" if options.has(&["-b"]) => bytes.to_string(),
            "SIZE" => format!("{}G", bytes >> 30),
            "TYPE" => "disk".to_owned(),
            _ => String::new(),
        });
        shell.out(&format!("{}\n", cells.collect::<Vec<_>>().join(" ").trim_end()));
    }
    0
}

/// `mount DEVICE DIR`; binds and the kernel's own file systems are there already. Without operands the list.
pub fn mount(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = Args::parse(&args[1..], Spec { plain: &["--bind", "--rbind", "-r"], valued: &["-t", "-o"], stop: false }) else {
        return 1;
    };
    let [device, dir] = options.operands.as_slice() else {
        let text = shell.world.host(|host| host.virtual_file("/proc/mounts")).unwrap_or_default();
        shell.out(&text);
        return 0;
    };
    if !device.starts_with("/dev/") || options.has(&["--bind", "--rbind"]) || options.value(&["-o"]).is_some_and(|o| o.contains("bind")) {
        return 0;
    }
    let path = shell.path(dir);
    if !shell.world.stat(&path, true).is_ok_and(|n| n.is_dir()) {
        shell.complain(&format!("mount: mounting {device} on {dir} failed: No such file or directory"));
        return 255;
    }
    // The boot partition has nothing on it that anybody looks at.
    let boot = device.ends_with('1') && shell.world.host(|host| host.is_block_device(device));
    if !boot && !shell.world.host(|host| host.mount(device, &path)) {
        shell.complain(&format!("mount: mounting {device} on {dir} failed: No such device or address"));
        return 255;
    }
    0
}

/// `umount DIR…`.
pub fn umount(shell: &mut Shell, args: &[String]) -> i32 {
    for dir in args[1..].iter().filter(|a| !a.starts_with('-')) {
        let path = shell.path(dir);
        shell.world.host(|host| host.unmount(&path));
    }
    0
}

/// `chroot DIR COMMAND…`, where DIR is a mounted system.
pub fn chroot(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(dir) = args.get(1) else { return 125 };
    let path = shell.path(dir);
    let disk = shell.world.host(|host| {
        host.sync_mount(&path);
        host.boot.mounts.get(&path).and_then(|device| host.disk_of_root(device)).map(|disk| (disk, host.boot.mounts[&path].clone()))
    });
    let Some((disk, device)) = disk else {
        shell.complain(&format!("chroot: can't execute '{}': No such file or directory", args.get(2).map_or("/bin/sh", String::as_str)));
        return 127;
    };
    let mut inner = shell.clone();
    inner.world.chroot = Some(disk);
    "/".clone_into(&mut inner.cwd);
    let command = if args.len() > 2 { args[2..].to_vec() } else { vec!["sh".to_owned()] };
    let status = inner.program(&command);
    shell.world.host(|host| host.mount(&device, &path));
    status
}

/// Writes a user's line of `/etc/shadow`; the password itself is kept nowhere.
fn set_password(shell: &Shell, user: &str, field: &str) -> bool {
    shell.world.files(|files| {
        let Ok(text) = files.read_text("/etc/shadow") else { return false };
        let known = text.lines().any(|line| line.split(':').next() == Some(user));
        let line = |line: &str| match line.split_once(':') {
            Some((name, rest)) if name == user => format!("{name}:{field}:{}\n", rest.split_once(':').map_or("", |(_, r)| r)),
            _ => format!("{line}\n"),
        };
        known && files.write("/etc/shadow", text.lines().map(line).collect::<String>().into_bytes(), 0o640).is_ok()
    })
}

/// What stands in `/etc/shadow` for a password: a digest in the field's form, good for noticing a change and for nothing else.
fn sealed(password: &str) -> String {
    format!("$6$practice${}", blake3::hash(password.as_bytes()).to_hex())
}

/// `chpasswd [-e]`: `user:password` lines on standard input; with `-e` what stands there is the field itself.
pub fn chpasswd(shell: &mut Shell, args: &[String]) -> i32 {
    let as_is = args.iter().any(|arg| arg == "-e");
    let input = shell.io.stdin.read_all();
    for line in String::from_utf8_lossy(&input).lines() {
        let Some((user, password)) = line.split_once(':') else { return 1 };
        if !set_password(shell, user, &if as_is { password.to_owned() } else { sealed(password) }) {
            shell.complain(&format!("chpasswd: unknown user {user}"));
            return 1;
        }
        shell.complain(&format!("chpasswd: password for '{user}' changed"));
    }
    0
}

/// `passwd [-l|-u|-d] [USER]`; the new password twice on standard input.
pub fn passwd(shell: &mut Shell, args: &[String]) -> i32 {
    let user = args[1..].iter().find(|a| !a.starts_with('-')).cloned().unwrap_or_else(|| shell.world.user.clone());
    let field = match args.get(1).map(String::as_str) {
        Some("-l") => "!".to_owned(),
        Some("-d" | "-u") => String::new(),
        _ => {
            let (first, second) = (shell.io.stdin.read_line(), shell.io.stdin.read_line());
            if first.is_none() || first != second {
                shell.complain("passwd: password for root is unchanged");
                return 1;
            }
            sealed(String::from_utf8_lossy(&first.unwrap_or_default()).trim_end())
        }
    };
    i32::from(!set_password(shell, &user, &field))
}
