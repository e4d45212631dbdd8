//! Programs that change files: `mkdir`, `rm`, `mv`, `cp`, `chmod` and their like.

use super::args::{Args, Spec};
use super::text::options;
use crate::lab::host::files::{FileError, Files, Kind, normalise, split};
use crate::lab::shell::Shell;

fn parse(shell: &Shell, args: &[String], plain: &'static [&'static str], valued: &'static [&'static str]) -> Option<Args> {
    options(shell, args, Spec { plain, valued, stop: false }).ok()
}

/// Runs `act` over each operand's path; 1 when one failed, with what is said about it.
fn each(
    shell: &Shell,
    args: &Args,
    act: impl Fn(&mut Files, &str) -> Result<(), FileError>,
    say: impl Fn(&str, FileError) -> String,
) -> i32 {
    let mut status = 0;
    for name in &args.operands {
        let path = shell.path(name);
        if let Err(error) = shell.world.files(|files| act(files, &path)) {
            shell.complain(&say(name, error));
            status = 1;
        }
    }
    status
}

fn mode_of(text: Option<&str>, default: u32) -> u32 {
    text.and_then(|t| u32::from_str_radix(t, 8).ok()).unwrap_or(default)
}

/// `mkdir [-p] [-m MODE]`.
pub fn mkdir(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(args) = parse(shell, args, &["-p", "-v"], &["-m"]) else { return 1 };
    let usual = shell.new_mode(0o777);
    let mode = mode_of(args.value(&["-m"]), usual);
    let make = |files: &mut Files, path: &str| {
        if args.has(&["-p"]) {
            let there = files.stat(path).is_ok();
            files.mkdir_all(path, usual)?;
            return if there { Ok(()) } else { files.change(path, true, |n| n.mode = mode) };
        }
        files.mkdir(path, mode)
    };
    each(shell, &args, make, |name, error| format!("mkdir: can't create directory '{name}': {error}"))
}

/// `rmdir`.
pub fn rmdir(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(args) = parse(shell, args, &[], &[]) else { return 1 };
    each(shell, &args, Files::rmdir, |name, error| format!("rmdir: '{name}': {error}"))
}

/// `rm [-r] [-f]`.
pub fn rm(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(args) = parse(shell, args, &["-r", "-R", "-f", "-v"], &[]) else { return 1 };
    let (deep, force) = (args.has(&["-r", "-R"]), args.has(&["-f"]));
    let remove = |files: &mut Files, path: &str| {
        let gone = if deep { files.remove_all(path) } else { files.remove(path) };
        if force && matches!(gone, Err(FileError::NotFound | FileError::NotDir)) { Ok(()) } else { gone }
    };
    each(shell, &args, remove, |name, error| match error {
        FileError::IsDir => format!("rm: '{name}' is a directory"),
        error => format!("rm: can't remove '{name}': {error}"),
    })
}

/// The path that `source` gets when it is moved or copied to `target`.
fn destination(files: &Files, source: &str, target: &str) -> String {
    if files.stat(target).is_ok_and(crate::lab::host::files::Node::is_dir) {
        format!("{}/{}", target.trim_end_matches('/'), split(source).1)
    } else {
        target.to_owned()
    }
}

/// Sources and the target; a complaint when there are too few, or many for a target that is no directory.
fn ends(shell: &Shell, tool: &str, args: &mut Args) -> Option<String> {
    let target = args.operands.pop();
    if args.operands.is_empty() {
        shell.complain(&format!("{tool}: missing file operand"));
        return None;
    }
    let target = shell.path(&target?);
    if args.operands.len() > 1 && !shell.world.stat(&target, true).is_ok_and(|n| n.is_dir()) {
        shell.complain(&format!("{tool}: target '{target}': Not a directory"));
        return None;
    }
    Some(target)
}

/// `mv [-f] [-T] [-n]`.
pub fn mv(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(mut args) = parse(shell, args, &["-f", "-T", "-n", "-v"], &[]) else { return 1 };
    let Some(target) = ends(shell, "mv", &mut args) else { return 1 };
    let (exact, keep) = (args.has(&["-T"]), args.has(&["-n"]));
    let shift = |files: &mut Files, path: &str| {
        let to = if exact { target.clone() } else { destination(files, path, &target) };
        if keep && files.lstat(&to).is_ok() { Ok(()) } else { files.rename(path, &to) }
    };
    each(shell, &args, shift, |name, error| format!("mv: can't rename '{name}': {error}"))
}

/// `cp [-r|-a] [-p] [-f]`.
pub fn cp(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(mut args) = parse(shell, args, &["-r", "-R", "-a", "-p", "-f", "-T", "-L", "-v"], &[]) else { return 1 };
    let Some(target) = ends(shell, "cp", &mut args) else { return 1 };
    let (deep, keep, exact) = (args.has(&["-r", "-R", "-a"]), args.has(&["-a", "-p"]), args.has(&["-T"]));
    let mode = shell.new_mode(0o777);
    let mut status = 0;
    for name in &args.operands {
        let path = shell.path(name);
        // What the kernel makes up is copied as the text it reads as.
        let made_up = shell.world.host(|h| h.virtual_file(&path));
        let copied = shell.world.files(|files| {
            let to = if exact { target.clone() } else { destination(files, &path, &target) };
            match made_up {
                Some(text) => files.write(&to, text.into_bytes(), 0o644),
                None => copy(files, &path, &to, (deep, keep, mode)),
            }
        });
        if let Err(error) = copied {
            let why = if error == FileError::IsDir {
                format!("cp: omitting directory '{name}'")
            } else {
                format!("cp: can't stat '{name}': {error}")
            };
            shell.complain(&why);
            status = 1;
        }
    }
    status
}

fn copy(files: &mut Files, from: &str, to: &str, how: (bool, bool, u32)) -> Result<(), FileError> {
    let (deep, keep, mask) = how;
    let from = files.resolve(from, !deep)?;
    if !deep && files.stat(&from)?.is_dir() {
        return Err(FileError::IsDir);
    }
    if to.starts_with(&format!("{from}/")) {
        return Err(FileError::Invalid);
    }
    let prefix = format!("{from}/");
    let all: Vec<_> = files.iter().filter(|(p, _)| *p == from || p.starts_with(&prefix)).map(|(p, n)| (p.to_owned(), n.clone())).collect();
    for (path, node) in all {
        let at = format!("{to}{}", &path[from.len()..]);
        let mode = if keep { node.mode } else { node.mode & mask };
        match &node.kind {
            Kind::File(bytes) => files.write(&at, bytes.to_vec(), mode)?,
            Kind::Dir => files.mkdir_all(&at, mode)?,
            Kind::Link(target) => files.symlink(target, &at)?,
        }
        if keep {
            files.change(&at, false, |n| (n.uid, n.gid, n.mtime) = (node.uid, node.gid, node.mtime))?;
        }
    }
    Ok(())
}

/// The mode after `755` or `u+x,go-w`.
fn changed_mode(text: &str, old: u32) -> Option<u32> {
    if let Ok(mode) = u32::from_str_radix(text, 8) {
        return Some(mode & 0o7777);
    }
    let mut mode = old;
    for part in text.split(',') {
        let at = part.find(['+', '-', '='])?;
        let who = if at == 0 || part[..at].contains('a') { "ugo" } else { &part[..at] };
        let bits = part[at + 1..].chars().try_fold(0, |bits, c| {
            Some(
                bits | match c {
                    'r' => 4,
                    'w' => 2,
                    'x' | 'X' => 1,
                    _ => return None,
                },
            )
        })?;
        for class in who.chars() {
            let shift = match class {
                'u' => 6,
                'g' => 3,
                'o' => 0,
                _ => return None,
            };
            mode = match &part[at..=at] {
                "+" => mode | bits << shift,
                "-" => mode & !(bits << shift),
                _ => mode & !(7 << shift) | bits << shift,
            };
        }
    }
    Some(mode)
}

fn below(files: &Files, path: &str) -> Vec<String> {
    let prefix = format!("{path}/");
    files.iter().filter(|(p, _)| *p == path || p.starts_with(&prefix)).map(|(p, _)| p.to_owned()).collect()
}

/// `chmod [-R] MODE FILE…`.
pub fn chmod(shell: &mut Shell, args: &[String]) -> i32 {
    // `chmod -x f` is a mode, not an option.
    let mode_at = args.iter().skip(1).position(|a| a != "-R" && a != "-f").map_or(args.len(), |n| n + 1);
    let Some(mode) = args.get(mode_at) else { return 1 };
    if changed_mode(mode, 0).is_none() {
        shell.complain(&format!("chmod: invalid mode '{mode}'"));
        return 1;
    }
    let deep = args[1..mode_at].iter().any(|a| a == "-R");
    let mut names = Args::default();
    names.operands = args[mode_at + 1..].to_vec();
    let set = |files: &mut Files, path: &str| {
        let all = if deep { below(files, path) } else { vec![path.to_owned()] };
        all.iter()
            .try_for_each(|path| files.change(path, true, |n| n.mode = changed_mode(mode, n.mode).unwrap_or(n.mode)))
            .and_then(|()| if files.stat(path).is_ok() { Ok(()) } else { Err(FileError::NotFound) })
    };
    each(shell, &names, set, |name, error| format!("chmod: {name}: {error}"))
}

/// `chown [-R] USER[:GROUP] FILE…`; users are root and the one other.
pub fn chown(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(mut args) = parse(shell, args, &["-R", "-h"], &[]) else { return 1 };
    if args.operands.is_empty() {
        return 1;
    }
    let spec = args.operands.remove(0);
    let (user, group) = spec.split_once([':', '.']).unwrap_or((&spec, ""));
    let number = |name: &str| name.parse().unwrap_or(if name == "root" { 0 } else { 1000 });
    let deep = args.has(&["-R"]);
    let set = |files: &mut Files, path: &str| {
        files.stat(path)?;
        let all = if deep { below(files, path) } else { vec![path.to_owned()] };
        all.iter().try_for_each(|path| {
            files.change(path, true, |n| {
                if !user.is_empty() {
                    n.uid = number(user);
                }
                if !group.is_empty() {
                    n.gid = number(group);
                }
            })
        })
    };
    each(shell, &args, set, |name, error| format!("chown: {name}: {error}"))
}

/// `touch [-c]`.
pub fn touch(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(args) = parse(shell, args, &["-c", "-m", "-a"], &["-d", "-t"]) else { return 1 };
    let (mode, only) = (shell.new_mode(0o666), args.has(&["-c"]));
    let touch = |files: &mut Files, path: &str| match files.stat(path) {
        Ok(node) if node.is_dir() => Ok(()),
        Err(FileError::NotFound) if only => Ok(()),
        _ => files.append(path, &[], mode),
    };
    each(shell, &args, touch, |name, error| format!("touch: {name}: {error}"))
}

/// `ln -s [-f] TARGET LINK`, `ln FILE FILE`: without `-s` the content is copied, which nobody here can tell from a hard link until one is written.
pub fn ln(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(args) = parse(shell, args, &["-s", "-f", "-n", "-T"], &[]) else { return 1 };
    let Some(target) = args.operands.first() else { return 1 };
    let name = args.operands.get(1).cloned().unwrap_or_else(|| split(target).1.to_owned());
    let from = shell.path(target);
    let path = shell.path(&name);
    let (soft, force) = (args.has(&["-s"]), args.has(&["-f"]));
    let linked = shell.world.files(|files| {
        let at = if args.has(&["-n", "-T"]) { path.clone() } else { destination(files, target, &path) };
        if force {
            files.remove(&at).ok();
        }
        if soft { files.symlink(target, &at) } else { files.read(&from).and_then(|bytes| files.write(&at, bytes.to_vec(), 0o644)) }
    });
    match linked {
        Ok(()) => 0,
        Err(error) => {
            shell.complain(&format!("ln: {name}: {error}"));
            1
        }
    }
}

/// `readlink [-f]`, `realpath`.
pub fn readlink(shell: &mut Shell, args: &[String]) -> i32 {
    let full = args[0] == "realpath";
    let Some(args) = parse(shell, args, &["-f", "-n", "-m"], &[]) else { return 1 };
    let mut status = 0;
    for name in &args.operands {
        let path = shell.path(name);
        let found = if full || args.has(&["-f"]) {
            shell.world.files(|f| f.resolve(&path, true)).ok()
        } else {
            match shell.world.stat(&path, false).map(|n| n.kind) {
                Ok(Kind::Link(target)) => Some(target),
                _ => None,
            }
        };
        match found {
            Some(found) => {
                shell.out(&format!("{found}\n"));
            }
            None => status = 1,
        }
    }
    status
}

/// `mktemp [-d] [-p DIR] [TEMPLATE]`.
pub fn mktemp(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(args) = parse(shell, args, &["-d", "-q", "-t", "-u"], &["-p"]) else { return 1 };
    let dir = args.value(&["-p"]).unwrap_or("/tmp").to_owned();
    let template = args.operands.first().cloned().unwrap_or_else(|| format!("{dir}/tmp.XXXXXX"));
    let random = uuid::Uuid::new_v4().simple().to_string();
    let marks = template.len() - template.trim_end_matches('X').len();
    let name = format!("{}{}", template.trim_end_matches('X'), &random[..marks.min(random.len())]);
    let path = normalise(&shell.cwd, &name);
    let made = shell.world.files(|f| if args.has(&["-d"]) { f.mkdir(&path, 0o700) } else { f.write(&path, Vec::new(), 0o600) });
    match made {
        Ok(()) => {
            shell.out(&format!("{name}\n"));
            0
        }
        Err(error) => {
            shell.complain(&format!("mktemp: {name}: {error}"));
            1
        }
    }
}

/// `basename PATH [SUFFIX]`, `dirname PATH`.
pub fn name_part(shell: &mut Shell, args: &[String]) -> i32 {
    let Some(path) = args.get(1) else { return 1 };
    let bare = path.trim_end_matches('/');
    let text = if args[0] == "dirname" {
        match bare.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((dir, _)) => dir,
            None => ".",
        }
    } else {
        let name = bare.rsplit('/').next().unwrap_or(bare);
        args.get(2).and_then(|suffix| name.strip_suffix(suffix.as_str())).filter(|n| !n.is_empty()).unwrap_or(name)
    };
    shell.out(&format!("{}\n", if bare.is_empty() && !path.is_empty() { "/" } else { text }));
    0
}
