//! `tmux`, and the `inject` of the tModLoader image that is made of it.

use super::args::{Args, Spec};
use crate::lab::host::HostState;
use crate::lab::host::console::{Minecraft, Moment, Program};
use crate::lab::host::settle::note;
use crate::lab::host::time;
use crate::lab::host::tmux::{HEIGHT, Key, Pressed, Session, Sessions, Tmux, clean_name, commands, find, keys};
use crate::lab::shell::Shell;
use crate::lab::shell::io::{Input, Io, Sink, take};

/// `tmux [-L SOCKET|-S PATH] COMMAND…`.
pub fn tmux(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(global) = Args::parse(&args[1..], Spec { plain: &["-2", "-u", "-V", "-q"], valued: &["-L", "-S", "-f"], stop: true }) else {
        shell.complain("usage: tmux [-2CDlNuVv] [-c shell-command] [-f file] [-L socket-name]\n            [-S socket-path] [-T features] [command [flags]]");
        return 1;
    };
    if global.has(&["-V"]) {
        shell.out("tmux 3.5a\n");
        return 0;
    }
    let socket = global.value(&["-L", "-S"]).map(str::to_owned);
    let all = commands(&global.operands);
    // tmux reads the whole line before it does any of it: one unknown command and nothing is done.
    if let Some(unknown) = all.iter().find(|c| !known(&c[0])) {
        shell.complain(&format!("unknown command: {}", unknown[0]));
        return 1;
    }
    let mut status = 0;
    for command in all {
        let at = Place { socket: socket.clone(), command: command[0].clone() };
        status = match one(shell, &at, &command[1..]) {
            Ok(()) => 0,
            Err(why) => {
                shell.complain(&why);
                1
            }
        };
        if status != 0 {
            break;
        }
    }
    status
}

/// `inject "text"`: what the image's script does, without target and without `-l`.
pub fn inject(shell: &mut Shell, args: &[String]) -> i32 {
    let text = args.get(1).cloned().unwrap_or_default();
    let line = ["tmux", "send-keys"].map(str::to_owned).into_iter().chain([text, "Enter".to_owned()]).collect::<Vec<_>>();
    tmux(shell, &line)
}

struct Place {
    socket: Option<String>,
    command: String,
}

fn known(command: &str) -> bool {
    [
        "new-session",
        "new",
        "has-session",
        "has",
        "kill-session",
        "kill-server",
        "list-sessions",
        "ls",
        "list-panes",
        "lsp",
        "send-keys",
        "send",
        "capture-pane",
        "capturep",
        "display-message",
        "display",
        "start-server",
        "start",
        "set-option",
        "set",
        "rename-session",
        "clear-history",
        "clearhist",
        "list-windows",
        "lsw",
        "respawn-pane",
        "pipe-pane",
        "wait-for",
    ]
    .contains(&command)
}

fn servers<R>(shell: &Shell, act: impl FnOnce(&mut Tmux) -> R) -> R {
    shell.world.host(|host| match shell.world.container.as_ref().and_then(|name| host.docker.containers.get_mut(name)) {
        Some(container) => act(&mut container.tmux),
        None => act(&mut host.tmux),
    })
}

fn sessions<R>(shell: &Shell, at: &Place, act: impl FnOnce(&mut Sessions) -> R) -> R {
    servers(shell, |tmux| act(tmux.server(at.socket.as_deref())))
}

fn parse(at: &Place, args: &[String], spec: Spec) -> Result<Args, String> {
    Args::parse(args, spec).map_err(|flag| format!("command {}: unknown flag {flag}", at.command))
}

fn one(shell: &mut Shell, at: &Place, args: &[String]) -> Result<(), String> {
    let plain = |p: &'static [&'static str], v: &'static [&'static str]| Spec { plain: p, valued: v, stop: false };
    if !matches!(at.command.as_str(), "new-session" | "new" | "start-server" | "start") && sessions(shell, at, |s| s.is_empty()) {
        let socket = at.socket.as_deref().unwrap_or("default");
        return Err(if socket.starts_with('/') {
            format!("error connecting to {socket} (No such file or directory)")
        } else {
            format!("error connecting to /tmp/tmux-0/{socket} (No such file or directory)")
        });
    }
    match at.command.as_str() {
        "new-session" | "new" => new_session(shell, at, args),
        "send-keys" | "send" => send_keys(shell, at, args),
        "capture-pane" | "capturep" => capture(shell, at, args),
        "has-session" | "has" => session(shell, at, parse(at, args, plain(&[], &["-t"]))?.value(&["-t"]), false).map(|_| ()),
        "kill-session" => {
            let name = session(shell, at, parse(at, args, plain(&["-a", "-C"], &["-t"]))?.value(&["-t"]), false)?;
            sessions(shell, at, |s| s.remove(&name));
            Ok(())
        }
        "kill-server" => {
            sessions(shell, at, Sessions::clear);
            Ok(())
        }
        "list-sessions" | "ls" => {
            let options = parse(at, args, plain(&[], &["-F", "-f"]))?;
            list(shell, at, options.value(&["-F"]).unwrap_or("#{session_name}: 1 windows (created #{session_created})"), None)
        }
        "list-panes" | "lsp" | "list-windows" | "lsw" => {
            let options = parse(at, args, plain(&["-s", "-a"], &["-F", "-t", "-f"]))?;
            let name = if options.has(&["-a"]) { None } else { Some(session(shell, at, options.value(&["-t"]), false)?) };
            list(shell, at, options.value(&["-F"]).unwrap_or("0: [80x24] [history 0/2000, 0 bytes] %0 (active)"), name)
        }
        "display-message" | "display" => {
            let options = parse(at, args, plain(&["-p"], &["-t", "-F"]))?;
            let name = session(shell, at, options.value(&["-t"]), true)?;
            let format = options.operands.first().cloned().unwrap_or_else(|| "[#{session_name}] 0:#{pane_current_command}".to_owned());
            list(shell, at, &format, Some(name))
        }
        "rename-session" => {
            let options = parse(at, args, plain(&[], &["-t"]))?;
            let name = session(shell, at, options.value(&["-t"]), false)?;
            let to = options.operands.first().map(|n| clean_name(n)).unwrap_or_default();
            sessions(shell, at, |s| s.remove(&name).map(|session| s.insert(to, session)));
            Ok(())
        }
        "clear-history" | "clearhist" => {
            let name = session(shell, at, parse(at, args, plain(&[], &["-t"]))?.value(&["-t"]), true)?;
            sessions(shell, at, |s| s.get_mut(&name).map(|s| s.lines.drain(..s.lines.len().saturating_sub(HEIGHT)).count()));
            Ok(())
        }
        // Options, and whatever else changes nothing that a practice console shows.
        _ => Ok(()),
    }
}

fn session(shell: &Shell, at: &Place, target: Option<&str>, pane: bool) -> Result<String, String> {
    let target = target.unwrap_or("");
    let missing = || match target.split_once(':') {
        Some((name, _)) => format!("can't find session: {}", name.trim_start_matches('=')),
        None if pane => format!("can't find pane: {target}"),
        None => format!("can't find session: {}", target.trim_start_matches('=')),
    };
    sessions(shell, at, |s| find(s, target, pane)).ok_or_else(missing)
}

fn list(shell: &Shell, at: &Place, format: &str, only: Option<String>) -> Result<(), String> {
    let text: String = sessions(shell, at, |all| {
        let chosen = all.iter().filter(|(name, _)| only.as_ref().is_none_or(|o| o == *name));
        chosen.map(|(name, session)| fill(format, name, session) + "\n").collect()
    });
    shell.out(&text);
    Ok(())
}

fn fill(format: &str, name: &str, session: &Session) -> String {
    let (mut out, mut rest) = (String::new(), format);
    while let Some(at) = rest.find("#{") {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('}').map_or(rest.len(), |n| n + at);
        out.push_str(&match &rest[at + 2..end] {
            "session_name" => name.to_owned(),
            "pane_pid" => session.pid.to_string(),
            "pane_current_command" => session.program.command().to_owned(),
            "pane_current_path" => session.cwd.clone(),
            "session_created" => session.created.to_string(),
            "session_windows" => "1".to_owned(),
            "session_attached" | "pane_dead" | "pane_index" | "window_index" => "0".to_owned(),
            "pane_id" => "%0".to_owned(),
            "history_size" => session.rows(false).len().saturating_sub(HEIGHT).to_string(),
            _ => String::new(),
        });
        rest = rest.get(end + 1..).unwrap_or("");
    }
    out + rest
}

fn new_session(shell: &mut Shell, at: &Place, args: &[String]) -> Result<(), String> {
    let spec = Spec { plain: &["-d", "-A", "-P", "-D"], valued: &["-s", "-c", "-n", "-x", "-y", "-e", "-t", "-F"], stop: true };
    let options = parse(at, args, spec)?;
    if !options.has(&["-d"]) {
        return Err("open terminal failed: not a terminal".to_owned());
    }
    let name = options.value(&["-s"]).map(clean_name).unwrap_or_else(|| sessions(shell, at, |s| s.len().to_string()));
    if sessions(shell, at, |s| s.contains_key(&name)) {
        return if options.has(&["-A"]) { Ok(()) } else { Err(format!("duplicate session: {name}")) };
    }
    let cwd = options.value(&["-c"]).map_or_else(|| shell.cwd.clone(), |dir| shell.path(dir));
    let host = shell.world.host(|host| host.hostname.clone());
    let mut made = Session { created: time::now(), pid: 1200, cwd, ..Session::default() };
    if options.operands.is_empty() {
        made.show_prompt(&host);
    }
    sessions(shell, at, |s| s.insert(name.clone(), made));
    if let Some(command) = options.operands.first() {
        let line = if options.operands.len() == 1 {
            command.clone()
        } else {
            options.operands.iter().map(|w| format!("'{}'", w.replace('\'', "'\\''"))).collect::<Vec<_>>().join(" ")
        };
        run_line(shell, at, &name, &line);
        // A command that is over took its session with it; one that reads the pane now will.
        sessions(shell, at, |s| {
            s.retain(|n, session| *n != name || session.program != Program::Shell);
            s.get_mut(&name).map(|session| session.one_command = true)
        });
    }
    Ok(())
}

fn send_keys(shell: &mut Shell, at: &Place, args: &[String]) -> Result<(), String> {
    let options = parse(at, args, Spec { plain: &["-l", "-R", "-X", "-M", "-F", "-H", "-K"], valued: &["-t", "-N", "-c"], stop: true })?;
    let name = session(shell, at, options.value(&["-t"]), true)?;
    for argument in &options.operands {
        for key in keys(argument, options.has(&["-l"])) {
            press(shell, at, &name, &key);
        }
    }
    Ok(())
}

fn press(shell: &mut Shell, at: &Place, name: &str, key: &Key) {
    let faults = shell.world.machine.faults();
    let moment = Moment { now_ms: time::now_ms(), pace: faults.pace, save_seconds: faults.save_seconds };
    let pressed = sessions(shell, at, |s| s.get_mut(name).map(|session| session.press(key, &moment)));
    match pressed {
        Some(Pressed::Line(line)) => run_line(shell, at, name, &line),
        Some(Pressed::Said(said)) => {
            let inside = shell.world.container.clone();
            shell.world.host(|host| match inside.as_ref().and_then(|c| host.docker.containers.get_mut(c)) {
                Some(container) => {
                    // The server's own output goes to the log; its prompt sticks to the first line of an answer.
                    let lines = said.lines.iter().enumerate().map(|(i, l)| if i == 0 { format!(": {l}") } else { l.clone() });
                    container.log(time::now(), lines.collect::<Vec<_>>());
                    if let Some(code) = said.ended {
                        container.end(time::now(), code);
                    }
                }
                None => said_on_host(host, at, name, &said),
            });
        }
        _ => {}
    }
}

fn said_on_host(host: &mut HostState, at: &Place, name: &str, said: &crate::lab::host::console::Said) {
    let hostname = host.hostname.clone();
    let log = host.tmux.server(at.socket.as_deref()).get_mut(name).and_then(|session| note(session, said, &hostname));
    if let Some((path, text)) = log {
        host.write_log(&path, &text);
    }
}

/// Runs a line in the pane's own shell: its output goes to the pane, its directory stays.
fn run_line(shell: &Shell, at: &Place, name: &str, line: &str) {
    if line.trim() == "cat" {
        sessions(shell, at, |s| s.get_mut(name).map(|session| session.program = Program::Cat));
        return;
    }
    let (sink, buffer) = Sink::buffer();
    let mut inner = Shell::new(shell.world.clone(), Io { stdin: Input::bytes(Vec::new()), stdout: sink.clone(), stderr: sink });
    inner.cwd = sessions(shell, at, |s| s.get(name).map(|s| s.cwd.clone())).unwrap_or_default();
    inner.export("TMUX_PANE", "%0");
    inner.export("TMUX", &format!("{}\n{name}", at.socket.as_deref().unwrap_or("")));
    inner.script(line);
    let text = String::from_utf8_lossy(&take(&buffer)).into_owned();
    let host = shell.world.host(|host| host.hostname.clone());
    sessions(shell, at, |s| {
        if let Some(session) = s.get_mut(name) {
            session.cwd.clone_from(&inner.cwd);
            session.print(text.lines().map(str::to_owned));
            if session.program == Program::Shell {
                session.show_prompt(&host);
            }
        }
    });
}

/// `java …` in a pane becomes a Minecraft server there, in the pane's directory; anywhere else it runs until it is cancelled.
pub fn java(shell: &mut Shell, args: &[String]) -> i32 {
    if args.iter().any(|a| a == "-version" || a == "--version") {
        shell.complain("openjdk version \"21.0.5\" 2024-10-15");
        return 0;
    }
    let dir = shell.cwd.clone();
    if !shell.world.read(&format!("{dir}/eula.txt")).is_ok_and(|text| String::from_utf8_lossy(&text).contains("eula=true")) {
        shell.out("You need to agree to the EULA in order to run the server. Go to eula.txt for more info.\n");
        return 1;
    }
    let tmux = shell.get("TMUX").to_owned();
    let Some((socket, name)) = tmux.split_once('\n') else {
        while shell.world.wait(1.0) {}
        return 130;
    };
    let at = Place { socket: Some(socket.to_owned()).filter(|s| !s.is_empty()), command: String::new() };
    let faults = shell.world.machine.faults();
    let moment = Moment { now_ms: time::now_ms(), pace: faults.pace, save_seconds: None };
    let game = Minecraft {
        max: 20,
        ops: vec!["Keeb".to_owned()],
        save_seconds: 2,
        starting: Some(moment.after(8.0)),
        dir,
        ..Minecraft::default()
    };
    let first = "[12:00:00] [main/INFO] [cpw.mods.modlauncher.Launcher/MODLAUNCHER]: ModLauncher running";
    let log = format!("{}/logs/latest.log", game.dir);
    shell.world.files(|files| files.remove(&log)).ok();
    shell.world.host(|host| host.write_log(&log, &format!("{first}\n")));
    shell.out(&format!("{first}\n"));
    sessions(shell, &at, |s| s.get_mut(name).map(|session| session.program = Program::Minecraft(game)));
    0
}

fn capture(shell: &Shell, at: &Place, args: &[String]) -> Result<(), String> {
    let options = parse(
        at,
        args,
        Spec { plain: &["-p", "-J", "-e", "-a", "-q", "-N", "-C", "-P", "-T"], valued: &["-t", "-S", "-E", "-b"], stop: false },
    )?;
    let name = session(shell, at, options.value(&["-t"]), true)?;
    let rows = sessions(shell, at, |s| s.get(&name).map(|s| s.rows(options.has(&["-J"])))).unwrap_or_default();
    let top = rows.len() - HEIGHT;
    let place = |given: Option<&str>, open: usize, default: usize| match given {
        Some("-") => open,
        Some(n) => n.parse::<i64>().map_or(default, |n| {
            if n < 0 { top.saturating_sub(usize::try_from(-n).unwrap_or(usize::MAX)) } else { top + usize::try_from(n).unwrap_or(0) }
        }),
        None => default,
    };
    let last = rows.len() - 1;
    let (from, to) = (place(options.value(&["-S"]), 0, top), place(options.value(&["-E"]), last, last).min(last));
    if options.has(&["-p"]) && from <= to {
        shell.out(&rows[from..=to].iter().map(|row| format!("{row}\n")).collect::<String>());
    }
    Ok(())
}
