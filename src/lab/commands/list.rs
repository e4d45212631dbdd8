//! Programs that show files: `ls`, `stat`, `find`, `df`.

use super::args::Spec;
use super::text::options;
use crate::lab::host::files::{CAPACITY, Kind, Node, split};
use crate::lab::host::time;
use crate::lab::shell::{Shell, matches};

fn owner(uid: u32) -> String {
    if uid == 0 { "root".to_owned() } else { "keeb".to_owned() }
}

fn long_line(name: &str, node: &Node) -> String {
    let when = time::rfc3339(node.mtime);
    let target = if let Kind::Link(target) = &node.kind { format!(" -> {target}") } else { String::new() };
    format!(
        "{}    1 {:8} {:8} {:9} {} {name}{target}\n",
        node.mode_text(),
        owner(node.uid),
        owner(node.gid),
        node.size(),
        when.get(..16).unwrap_or("").replace('T', " ")
    )
}

/// `ls [-l] [-a] [-A] [-1] [-d]`.
pub fn ls(shell: &mut Shell, args: &[String]) -> i32 {
    let plain = &["-l", "-a", "-A", "-1", "-d", "-h", "-n", "-t", "-r"];
    let Ok(options) = options(shell, args, Spec { plain, valued: &[], stop: false }) else { return 1 };
    let names = if options.operands.is_empty() { vec![".".to_owned()] } else { options.operands.clone() };
    let long = options.has(&["-l"]);
    let show = |name: &str, node: &Node| if long { long_line(name, node) } else { format!("{name}\n") };
    let (mut status, mut out) = (0, String::new());
    for name in &names {
        let path = shell.path(name);
        if let Some(open) = shell.world.open_files(&path).filter(|_| long) {
            out.push_str(&open);
            continue;
        }
        let node = match shell.world.stat(&path, !long) {
            Ok(node) => node,
            Err(error) => {
                shell.complain(&format!("ls: {name}: {error}"));
                status = 1;
                continue;
            }
        };
        if !node.is_dir() || options.has(&["-d"]) {
            out.push_str(&show(name, &node));
            continue;
        }
        if names.len() > 1 {
            out.push_str(&format!("{}{name}:\n", if out.is_empty() { "" } else { "\n" }));
        }
        let entries = shell.world.files(|f| f.list(&path)).unwrap_or_default();
        let hidden = options.has(&["-a", "-A"]);
        if options.has(&["-a"]) {
            out.push_str(&show(".", &node));
            out.push_str(&show("..", &node));
        }
        for entry in entries.iter().filter(|e| hidden || !e.starts_with('.')) {
            if let Ok(node) = shell.world.stat(&format!("{path}/{entry}"), false) {
                out.push_str(&show(entry, &node));
            }
        }
    }
    shell.out(&out);
    status
}

/// A number that is always the path's, as that of a file which is only ever rewritten in place.
fn inode(path: &str) -> u32 {
    path.bytes().fold(2, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

/// `stat [-c FORMAT]` with `%i %s %a %n %Y %U %u %g %F %y`.
pub fn stat(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, Spec { plain: &["-L", "-t"], valued: &["-c"], stop: false }) else { return 1 };
    let mut status = 0;
    for name in &options.operands {
        let Ok(node) = shell.world.stat(&shell.path(name), options.has(&["-L"])) else {
            shell.complain(&format!("stat: can't stat '{name}': No such file or directory"));
            status = 1;
            continue;
        };
        let kind = match &node.kind {
            Kind::File(bytes) if bytes.is_empty() => "regular empty file",
            Kind::File(_) => "regular file",
            Kind::Dir => "directory",
            Kind::Link(_) => "symbolic link",
        };
        let mut out = options
            .value(&["-c"])
            .unwrap_or("  File: %n\n  Size: %s\t%F\nAccess: (0%a)  Uid: ( %u/ %U)   Gid: ( %g/ %U)\nModify: %y")
            .to_owned();
        let values = [
            ("%s", node.size().to_string()),
            ("%i", inode(&shell.path(name)).to_string()),
            ("%a", format!("{:o}", node.mode)),
            ("%A", node.mode_text()),
            ("%n", name.clone()),
            ("%Y", node.mtime.to_string()),
            ("%y", time::rfc3339(node.mtime)),
            ("%U", owner(node.uid)),
            ("%G", owner(node.gid)),
            ("%u", node.uid.to_string()),
            ("%g", node.gid.to_string()),
            ("%F", kind.to_owned()),
        ];
        for (mark, value) in values {
            out = out.replace(mark, &value);
        }
        shell.out(&format!("{out}\n"));
    }
    status
}

/// `find DIR… [-type f|d|l] [-name PATTERN] [-maxdepth N] [-mindepth N] [-print0|-print|-delete]`.
pub fn find(shell: &mut Shell, args: &[String]) -> i32 {
    let first = args.iter().skip(1).position(|a| a.starts_with('-')).map_or(args.len(), |n| n + 1);
    let roots = if first > 1 { args[1..first].to_vec() } else { vec![".".to_owned()] };
    let (mut kind, mut name, mut depths, mut end, mut delete) = (None, None, (0, usize::MAX), "\n", false);
    let mut rest = args[first..].iter();
    while let Some(test) = rest.next() {
        match (test.as_str(), test.as_str() == "-print" || test.as_str() == "-print0" || test.as_str() == "-delete") {
            ("-print0", _) => end = "\0",
            ("-delete", _) => delete = true,
            (_, true) => {}
            (test, _) => match (test, rest.next()) {
                ("-type", Some(value)) => kind = value.chars().next(),
                ("-name", Some(value)) => name = Some(value.clone()),
                ("-maxdepth", Some(value)) => depths.1 = value.parse().unwrap_or(usize::MAX),
                ("-mindepth", Some(value)) => depths.0 = value.parse().unwrap_or(0),
                _ => {
                    shell.complain(&format!("find: unrecognized: {test}"));
                    return 1;
                }
            },
        }
    }
    let (mut status, mut out, mut gone) = (0, String::new(), Vec::new());
    for root in &roots {
        let base = shell.path(root);
        if shell.world.stat(&base, true).is_err() {
            shell.complain(&format!("find: {root}: No such file or directory"));
            status = 1;
            continue;
        }
        let all: Vec<(String, char)> = shell.world.files(|f| {
            let letter = |n: &Node| n.mode_text().chars().next().map_or('f', |c| if c == '-' { 'f' } else { c });
            let prefix = if base == "/" { "/".to_owned() } else { format!("{base}/") };
            f.iter().filter(|(p, _)| *p == base || p.starts_with(&prefix)).map(|(p, n)| (p.to_owned(), letter(n))).collect()
        });
        for (path, letter) in all {
            let below = path[base.len()..].trim_start_matches('/').to_owned();
            let depth = if below.is_empty() { 0 } else { below.split('/').count() };
            let fits = kind.is_none_or(|k| k == letter) && name.as_ref().is_none_or(|n| matches(n, split(&path).1));
            if fits && depth >= depths.0 && depth <= depths.1 {
                let shown = if below.is_empty() { root.clone() } else { format!("{}/{below}", root.trim_end_matches('/')) };
                out.push_str(&format!("{shown}{end}"));
                gone.push(path);
            }
        }
    }
    if delete {
        for path in gone.iter().rev() {
            shell.world.files(|f| f.remove(path).or_else(|_| f.rmdir(path))).ok();
        }
    } else {
        shell.out(&out);
    }
    status
}

/// `df [-k] [-P] [PATH]`: one file system of the capacity that the machine really has.
pub fn df(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(_) = options(shell, args, Spec { plain: &["-k", "-P", "-h", "-B1"], valued: &[], stop: false }) else { return 1 };
    let used = shell.world.files(|f| if f.full { CAPACITY } else { f.used() }) / 1024;
    let total = CAPACITY / 1024;
    let device = shell.world.host(|h| h.virtual_file("/proc/mounts")).unwrap_or_default();
    let device = device.split(' ').next().unwrap_or("/dev/sda3").to_owned();
    shell.out(&format!(
        "Filesystem           1K-blocks      Used Available Use% Mounted on\n{device:20} {total:9} {used:9} {:9} {:3}% /\n",
        total - used,
        used * 100 / total
    ));
    0
}
