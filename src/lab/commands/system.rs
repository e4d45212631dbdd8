//! Programs about the machine, its user and other programs: `sleep`, `id`, `uname`, `env`, `timeout`, `sh` and their like.

use super::args::{Args, Spec};
use crate::lab::host::time;
use crate::lab::shell::Shell;

/// `sleep 1.5`, `2m`.
pub fn sleep(shell: &mut Shell, args: &[String]) -> i32 {
    let seconds: Option<f64> = args[1..].iter().map(|text| duration(text)).sum();
    match seconds.filter(|_| args.len() > 1) {
        Some(seconds) if shell.world.wait(seconds) => 0,
        Some(_) => 143,
        None => {
            shell.complain(&format!("sleep: invalid number '{}'", args.get(1).map_or("", String::as_str)));
            1
        }
    }
}

fn duration(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
    let factor = match unit {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).map(|n| n * factor)
}

/// `id [-u] [-n]`.
pub fn id(shell: &mut Shell, args: &[String]) -> i32 {
    let user = shell.world.user.clone();
    let number = if user == "root" { 0 } else { 1000 };
    let flags: String = args[1..].iter().filter_map(|a| a.strip_prefix('-')).collect();
    let text = match (flags.contains('u') || flags.contains('g'), flags.contains('n')) {
        (true, true) => user,
        (true, false) => number.to_string(),
        _ => format!("uid={number}({user}) gid={number}({user}) groups={number}({user})"),
    };
    shell.out(&format!("{text}\n"));
    0
}

/// `whoami`.
pub fn whoami(shell: &mut Shell, _args: &[String]) -> i32 {
    shell.out(&format!("{}\n", shell.world.user));
    0
}

/// `hostname [NAME]`; inside a container the container's id.
pub fn hostname(shell: &mut Shell, args: &[String]) -> i32 {
    let names: Vec<&String> = args[1..].iter().filter(|a| !a.starts_with('-')).collect();
    if let Some(name) = names.first() {
        shell.world.host(|host| host.hostname = (*name).clone());
        return 0;
    }
    let inside = shell.world.container.clone();
    let name = shell.world.host(|host| match inside.and_then(|name| host.docker.containers.get(&name)) {
        Some(container) => container.id.chars().take(12).collect(),
        None => host.hostname.clone(),
    });
    shell.out(&format!("{name}\n"));
    0
}

/// `uname [-a|-r|-m|-s|-n]`.
pub fn uname(shell: &mut Shell, args: &[String]) -> i32 {
    let (name, debian) = shell.world.host(|host| (host.hostname.clone(), host.is_debian()));
    let release = if debian { "6.1.0-28-amd64" } else { "6.12.1-0-virt" };
    let flags: String = args[1..].iter().filter_map(|a| a.strip_prefix('-')).collect();
    let all = flags.contains('a');
    let parts = [('s', "Linux"), ('n', &name), ('r', release), ('v', "#1 SMP"), ('m', "x86_64")];
    let shown: Vec<&str> =
        parts.into_iter().filter(|(c, _)| all || flags.contains(*c) || (flags.is_empty() && *c == 's')).map(|(_, t)| t).collect();
    shell.out(&format!("{}\n", shown.join(" ")));
    0
}

/// `date [-u] [+FORMAT]` with what `strftime` knows; UTC always.
pub fn date(shell: &mut Shell, args: &[String]) -> i32 {
    let format = args[1..].iter().find_map(|a| a.strip_prefix('+')).unwrap_or("%a %b %e %H:%M:%S UTC %Y");
    let now = jiff::Timestamp::from_second(time::now()).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    match jiff::fmt::strtime::format(format, &now) {
        Ok(text) => {
            shell.out(&format!("{text}\n"));
            0
        }
        Err(_) => {
            shell.complain(&format!("date: invalid date format '{format}'"));
            1
        }
    }
}

/// `env [A=b…] [COMMAND…]`.
pub fn env(shell: &mut Shell, args: &[String]) -> i32 {
    let mut rest = &args[1..];
    while let Some((name, value)) = rest.first().and_then(|a| a.split_once('=')) {
        shell.export(name, value);
        rest = &rest[1..];
    }
    if rest.is_empty() {
        let text: String = shell.environment().map(|(k, v)| format!("{k}={v}\n")).collect();
        shell.out(&text);
        return 0;
    }
    shell.program(rest)
}

/// `which NAME…`.
pub fn which(shell: &mut Shell, args: &[String]) -> i32 {
    let mut status = 0;
    for name in &args[1..] {
        match (shell.world.programs)(&shell.world, name) {
            Some(_) => {
                shell.out(&format!("/usr/bin/{name}\n"));
            }
            None => status = 1,
        }
    }
    status
}

/// `nproc`.
pub fn nproc(shell: &mut Shell, _args: &[String]) -> i32 {
    shell.out("2\n");
    0
}

/// `sh -c SCRIPT [NAME ARG…]`, `sh FILE [ARG…]`, `sh [-s]`; `-e`, `-u`, `-l` may stand before.
pub fn sh(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(parsed) = Args::parse(&args[1..], Spec { plain: &["-e", "-u", "-l", "-s", "-x", "-i"], valued: &["-c"], stop: true }) else {
        shell.complain(&format!("{}: 0: Illegal option", args[0]));
        return 2;
    };
    let mut setup = String::new();
    for flag in ["-e", "-u"] {
        if parsed.has(&[flag]) {
            setup.push_str(&format!("set {flag}\n"));
        }
    }
    if !setup.is_empty() {
        shell.script(&setup);
    }
    if let Some(script) = parsed.value(&["-c"]) {
        shell.set_args(if parsed.operands.is_empty() { vec![args[0].clone()] } else { parsed.operands.clone() });
        return shell.script(script);
    }
    let Some(file) = parsed.operands.first().filter(|_| !parsed.has(&["-s"])) else {
        shell.set_args([vec![args[0].clone()], parsed.operands.clone()].concat());
        return shell.interact();
    };
    match shell.world.read(&shell.path(file)) {
        Ok(bytes) => {
            shell.set_args(parsed.operands.clone());
            shell.script(&String::from_utf8_lossy(&bytes))
        }
        Err(error) => {
            shell.complain(&format!("{}: 0: cannot open {file}: {error}", args[0]));
            2
        }
    }
}

/// `timeout [-s SIGNAL] [-k SECONDS] SECONDS COMMAND…`: what runs is cancelled when the time is over.
pub fn timeout(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(parsed) = Args::parse(&args[1..], Spec { plain: &[], valued: &["-s", "-k"], stop: true }) else { return 125 };
    let Some(limit) = parsed.operands.first().and_then(|t| duration(t)) else {
        shell.complain("timeout: invalid time interval");
        return 125;
    };
    let outer = shell.world.clone();
    let mut inner = shell.clone();
    inner.world.cancel = std::sync::Arc::default();
    let cancel = std::sync::Arc::clone(&inner.world.cancel);
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let finished = std::sync::Arc::clone(&done);
    let order = std::sync::atomic::Ordering::Relaxed;
    let watch = std::thread::spawn(move || {
        let mut left = limit;
        while left > 0.0 && !finished.load(order) && outer.wait(left.min(0.02)) {
            left -= 0.02;
        }
        let late = !finished.load(order);
        cancel.store(true, order);
        late
    });
    let status = inner.program(&parsed.operands[1..]);
    done.store(true, order);
    let late = watch.join().unwrap_or(false);
    if late { 124 } else { status }
}

/// `nohup COMMAND…`, `setsid [-f] COMMAND…`: with `-f` it goes on by itself.
pub fn detach(shell: &mut Shell, args: &[String]) -> i32 {
    let fork = args[1..].iter().take_while(|a| a.starts_with('-')).any(|a| a.contains('f'));
    let rest: Vec<String> = args[1..].iter().skip_while(|a| a.starts_with('-')).cloned().collect();
    if !fork {
        return shell.program(&rest);
    }
    let mut inner = shell.clone();
    // It outlives the channel that started it.
    inner.world.cancel = std::sync::Arc::default();
    let started = std::thread::Builder::new().stack_size(crate::lab::shell::STACK).spawn(move || inner.program(&rest));
    i32::from(started.is_err())
}

/// `xargs [-0] [-r] [-n N] COMMAND…`.
pub fn xargs(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(parsed) = Args::parse(&args[1..], Spec { plain: &["-0", "-r"], valued: &["-n"], stop: true }) else { return 1 };
    let input = shell.io.stdin.read_all();
    let text = String::from_utf8_lossy(&input);
    let words: Vec<String> = if parsed.has(&["-0"]) {
        text.split('\0').filter(|w| !w.is_empty()).map(str::to_owned).collect()
    } else {
        text.split_whitespace().map(str::to_owned).collect()
    };
    if words.is_empty() && parsed.has(&["-r"]) {
        return 0;
    }
    let command = if parsed.operands.is_empty() { vec!["echo".to_owned()] } else { parsed.operands.clone() };
    let size = parsed.value(&["-n"]).and_then(|n| n.parse().ok()).unwrap_or(words.len()).max(1);
    let mut status = 0;
    let groups: Vec<&[String]> = if words.is_empty() { vec![&[]] } else { words.chunks(size).collect() };
    for group in groups {
        if shell.program(&[command.as_slice(), group].concat()) != 0 {
            status = 123;
        }
    }
    status
}
