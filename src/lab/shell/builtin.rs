//! The commands that are part of the shell.

use super::run::{Flow, Program, Shell};
use super::{print, test};

/// The built-in command of this name.
pub fn find(name: &str) -> Option<Program> {
    Some(match name {
        ":" | "true" => |_, _| 0,
        "false" => |_, _| 1,
        "echo" => print::echo,
        "printf" => print::printf,
        "test" | "[" => test::test,
        "cd" => cd,
        "pwd" => |shell, _| i32::from(!shell.out(&format!("{}\n", shell.cwd))),
        "export" | "readonly" => export,
        "local" => local,
        "unset" => unset,
        "set" => set,
        "shift" => shift,
        "read" => read,
        "eval" => eval,
        "." => source,
        "exec" => exec,
        "exit" => |shell, args| leave(shell, args, Flow::Exit),
        "return" => |shell, args| leave(shell, args, Flow::Return),
        "break" => |shell, args| turn(shell, args, Flow::Break),
        "continue" => |shell, args| turn(shell, args, Flow::Continue),
        "command" => command,
        "type" => kind,
        "trap" => trap,
        "umask" => umask,
        "wait" | "ulimit" | "hash" | "alias" | "unalias" => |_, _| 0,
        _ => return None,
    })
}

/// Built-ins whose failed redirection ends the shell, and whose assignments stay.
pub fn is_special(name: &str) -> bool {
    matches!(
        name,
        ":" | "." | "break" | "continue" | "eval" | "exec" | "exit" | "export" | "readonly" | "return" | "set" | "shift" | "trap" | "unset"
    )
}

/// Built-ins that also exist as programs.
pub fn has_program(name: &str) -> bool {
    matches!(name, "true" | "false" | "echo" | "printf" | "test" | "[" | "pwd")
}

fn cd(shell: &mut Shell, args: &[String]) -> i32 {
    let target = match args.iter().skip(1).find(|a| *a != "--" && *a != "-P" && *a != "-L").map(String::as_str) {
        None => shell.get("HOME").to_owned(),
        Some("-") => shell.get("OLDPWD").to_owned(),
        Some(path) => path.to_owned(),
    };
    let path = shell.path(&target);
    if !shell.world.stat(&path, true).is_ok_and(|n| n.is_dir()) {
        shell.fault(&format!("cd: can't cd to {target}"));
        return 2;
    }
    let old = std::mem::replace(&mut shell.cwd, path.clone());
    shell.assign("OLDPWD", old);
    shell.assign("PWD", path);
    0
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn export(shell: &mut Shell, args: &[String]) -> i32 {
    let names = args.iter().skip(1).filter(|a| *a != "-p");
    for arg in names {
        let (name, value) = arg.split_once('=').map_or((arg.as_str(), None), |(n, v)| (n, Some(v)));
        if !is_name(name) {
            shell.fault(&format!("{}: {name}: bad variable name", args[0]));
            (shell.flow, shell.last) = (Some(Flow::Exit), 2);
            return 2;
        }
        let var = shell.vars.entry(name.to_owned()).or_default();
        var.exported |= args[0] == "export";
        if let Some(value) = value {
            value.clone_into(&mut var.value);
        }
    }
    0
}

/// Variables of a function are not put back: nothing that runs here depends on it.
fn local(shell: &mut Shell, args: &[String]) -> i32 {
    for arg in &args[1..] {
        let (name, value) = arg.split_once('=').unwrap_or((arg, ""));
        shell.assign(name, value.to_owned());
    }
    0
}

fn unset(shell: &mut Shell, args: &[String]) -> i32 {
    for name in args[1..].iter().filter(|a| !a.starts_with('-')) {
        shell.vars.remove(name);
        shell.functions.remove(name);
    }
    0
}

fn set(shell: &mut Shell, args: &[String]) -> i32 {
    let mut rest = args[1..].iter();
    while let Some(arg) = rest.next() {
        let on = arg.starts_with('-');
        if arg == "--" {
            let mut all = vec![shell.args.first().cloned().unwrap_or_default()];
            all.extend(rest.cloned());
            shell.args = all;
            return 0;
        }
        match arg.get(1..) {
            Some("o") if on || arg.starts_with('+') => match rest.next().map(String::as_str) {
                Some("errexit") => shell.options.errexit = on,
                Some("nounset") => shell.options.nounset = on,
                Some("pipefail") => {
                    shell.fault("set: Illegal option -o pipefail");
                    (shell.flow, shell.last) = (Some(Flow::Exit), 2);
                    return 2;
                }
                _ => {}
            },
            Some(letters) if on || arg.starts_with('+') => {
                for letter in letters.chars() {
                    match letter {
                        'e' => shell.options.errexit = on,
                        'u' => shell.options.nounset = on,
                        _ => {}
                    }
                }
            }
            _ => {
                let mut all = vec![shell.args.first().cloned().unwrap_or_default(), arg.clone()];
                all.extend(rest.cloned());
                shell.args = all;
                return 0;
            }
        }
    }
    0
}

fn shift(shell: &mut Shell, args: &[String]) -> i32 {
    let n = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    if n >= shell.args.len() {
        shell.fault("shift: can't shift that many");
        (shell.flow, shell.last) = (Some(Flow::Exit), 2);
        return 2;
    }
    shell.args.drain(1..=n);
    0
}

fn read(shell: &mut Shell, args: &[String]) -> i32 {
    let raw = args.iter().any(|a| a == "-r");
    let names: Vec<&String> = args[1..].iter().filter(|a| !a.starts_with('-')).collect();
    let Some(line) = shell.io.stdin.read_line() else {
        for name in names {
            shell.assign(name, String::new());
        }
        return 1;
    };
    let text = String::from_utf8_lossy(&line).into_owned();
    let whole = text.ends_with('\n');
    let mut text = text.trim_end_matches('\n').to_owned();
    if !raw {
        text = text.replace('\\', "");
    }
    let ifs = if shell.vars.contains_key("IFS") { shell.get("IFS").to_owned() } else { " \t\n".to_owned() };
    let is_blank = |c: char| ifs.contains(c) && c.is_whitespace();
    let mut rest = text.trim_matches(is_blank);
    for (i, name) in names.iter().enumerate() {
        let end = if i + 1 == names.len() { None } else { rest.find(|c| ifs.contains(c)) };
        let (value, after) = end.map_or((rest, ""), |end| rest.split_at(end));
        shell.assign(name, value.to_owned());
        let skip = after.chars().next().map_or(0, char::len_utf8);
        rest = after[skip..].trim_start_matches(is_blank);
    }
    i32::from(!whole)
}

fn eval(shell: &mut Shell, args: &[String]) -> i32 {
    run_text(shell, &args[1..].join(" "), "eval: ")
}

fn run_text(shell: &mut Shell, text: &str, of: &str) -> i32 {
    if shell.depth >= 60 {
        shell.fault("Cannot fork");
        return 2;
    }
    shell.depth += 1;
    shell.last = 0;
    let status = shell.lines(text, of);
    shell.depth -= 1;
    status
}

fn source(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(name) = args.get(1) else { return 0 };
    match shell.world.read(&shell.path(name)) {
        Ok(bytes) => {
            let status = run_text(shell, &String::from_utf8_lossy(&bytes), "");
            if shell.flow == Some(Flow::Return) {
                shell.flow = None;
            }
            status
        }
        Err(_) => {
            shell.fault(&format!(".: cannot open {name}: No such file"));
            (shell.flow, shell.last) = (Some(Flow::Exit), 2);
            2
        }
    }
}

fn exec(shell: &mut Shell, args: &[String]) -> i32 {
    if args.len() < 2 {
        return 0;
    }
    let status = command(shell, args);
    shell.flow = Some(Flow::Exit);
    shell.options.on_exit = None;
    status
}

fn leave(shell: &mut Shell, args: &[String], flow: Flow) -> i32 {
    let status = match args.get(1).map(|n| n.parse::<i32>()) {
        None => shell.last,
        Some(Ok(n)) => n & 0xff,
        Some(Err(_)) => {
            shell.fault(&format!("{}: Illegal number: {}", args[0], args[1]));
            (shell.flow, shell.last) = (Some(Flow::Exit), 2);
            return 2;
        }
    };
    (shell.flow, shell.last) = (Some(flow), status);
    status
}

fn turn(shell: &mut Shell, args: &[String], flow: fn(u32) -> Flow) -> i32 {
    let n = args.get(1).and_then(|n| n.parse().ok()).unwrap_or(1);
    shell.flow = Some(flow(n));
    0
}

/// Where a command comes from, as `command -v` prints it.
fn origin(shell: &Shell, name: &str) -> Option<String> {
    if find(name).is_some() || shell.functions.contains_key(name) {
        return Some(name.to_owned());
    }
    if name.contains('/') {
        return shell.world.stat(&shell.path(name), true).ok().map(|_| name.to_owned());
    }
    (shell.world.programs)(&shell.world, name).map(|_| format!("/usr/bin/{name}"))
}

fn command(shell: &mut Shell, args: &[String]) -> i32 {
    let rest = &args[1..];
    match rest.first().map(String::as_str) {
        Some("-v" | "-V") => {
            let mut status = if rest.len() > 1 { 0 } else { 127 };
            for name in &rest[1..] {
                match origin(shell, name) {
                    Some(origin) => {
                        shell.out(&format!("{origin}\n"));
                    }
                    None => status = 127,
                }
            }
            status
        }
        Some("--" | "-p") => call(shell, &rest[1..]),
        _ => call(shell, rest),
    }
}

fn call(shell: &mut Shell, words: &[String]) -> i32 {
    let functions = std::mem::take(&mut shell.functions);
    let status = match words.first() {
        Some(name) => shell.call(name, words, &[]),
        None => 0,
    };
    shell.functions = functions;
    status
}

fn kind(shell: &mut Shell, args: &[String]) -> i32 {
    let mut status = 0;
    for name in &args[1..] {
        let text = match origin(shell, name) {
            Some(origin) if origin == *name => format!("{name} is a shell builtin\n"),
            Some(origin) => format!("{name} is {origin}\n"),
            None => {
                status = 127;
                format!("{name}: not found\n")
            }
        };
        shell.out(&text);
    }
    status
}

/// Only `EXIT` comes: signals end a command without a word to it.
fn trap(shell: &mut Shell, args: &[String]) -> i32 {
    let rest: Vec<&String> = args[1..].iter().filter(|a| *a != "--").collect();
    let on_exit = rest.iter().skip(1).any(|name| *name == "EXIT" || *name == "0");
    if on_exit {
        shell.options.on_exit = (rest[0] != "-" && !rest[0].is_empty()).then(|| rest[0].clone());
    }
    0
}

fn umask(shell: &mut Shell, args: &[String]) -> i32 {
    match args.get(1).map(|mask| u32::from_str_radix(mask, 8)) {
        None => {
            shell.out(&format!("{:04o}\n", shell.options.umask));
        }
        Some(Ok(mask)) => shell.options.umask = mask & 0o777,
        Some(Err(_)) => {
            shell.fault(&format!("umask: Illegal number: {}", args[1]));
            return 2;
        }
    }
    0
}
