//! Programs that read text: `cat`, `head`, `grep`, `sed -n p` and their like.

use super::args::{Args, Spec};
use crate::lab::shell::Shell;

fn spec(plain: &'static [&'static str], valued: &'static [&'static str]) -> Spec {
    Spec { plain, valued, stop: false }
}

/// Options, or the complaint and the status that tools give.
pub(super) fn options(shell: &Shell, args: &[String], spec: Spec) -> Result<Args, i32> {
    Args::parse(&args[1..], spec).map_err(|option| {
        shell.complain(&format!("{}: unrecognized option: {}", args[0], option.trim_start_matches('-')));
        1
    })
}

/// Each input file's name and bytes; standard input for none or `-`. The status is 1 when one could not be read.
fn inputs(shell: &Shell, tool: &str, names: &[String]) -> (Vec<(String, Vec<u8>)>, i32) {
    if names.is_empty() {
        return (vec![("-".to_owned(), shell.io.stdin.read_all())], 0);
    }
    let (mut all, mut status) = (Vec::new(), 0);
    for name in names {
        if name == "-" || name == "/dev/stdin" {
            all.push(("-".to_owned(), shell.io.stdin.read_all()));
            continue;
        }
        match shell.world.read(&shell.path(name)) {
            Ok(bytes) => all.push((name.clone(), bytes)),
            Err(error) => {
                shell.complain(&format!("{tool}: {name}: {error}"));
                status = 1;
            }
        }
    }
    (all, status)
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|b| *b == b'\n').collect()
}

fn write(shell: &Shell, tool: &str, bytes: &[u8]) -> i32 {
    if shell.io.stdout.write(bytes) {
        return 0;
    }
    shell.complain(&format!("{tool}: write error: No space left on device"));
    1
}

/// `cat`: streams, so that an upload through standard input does not wait for its end.
pub fn cat(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, spec(&["-u", "-n"], &[])) else { return 1 };
    if options.operands.is_empty() || options.operands == ["-"] {
        loop {
            let part = shell.io.stdin.read();
            if part.is_empty() || shell.world.cancelled() {
                return 0;
            }
            if write(shell, "cat", &part) != 0 {
                return 1;
            }
        }
    }
    let (all, status) = inputs(shell, "cat", &options.operands);
    all.iter().map(|(_, bytes)| write(shell, "cat", bytes)).fold(status, i32::max)
}

/// `tee [-a] FILE…`.
pub fn tee(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, spec(&["-a", "-i"], &[])) else { return 1 };
    let bytes = shell.io.stdin.read_all();
    let mode = shell.new_mode(0o666);
    let mut status = write(shell, "tee", &bytes);
    for name in options.operands.iter().filter(|n| *n != "/dev/null") {
        let path = shell.path(name);
        let append = options.has(&["-a"]);
        let written = shell.world.files(|f| if append { f.append(&path, &bytes, mode) } else { f.write(&path, bytes.clone(), mode) });
        if let Err(error) = written {
            shell.complain(&format!("tee: {name}: {error}"));
            status = 1;
        }
    }
    status
}

/// `-5` as `-n 5`.
fn old_style(args: &[String]) -> Vec<String> {
    let dashed = |a: &String| a.len() > 1 && a.starts_with('-') && a[1..].chars().all(|c| c.is_ascii_digit());
    args.iter().map(|a| if dashed(a) { format!("-n{}", &a[1..]) } else { a.clone() }).collect()
}

/// `head [-n N|-c N]`.
pub fn head(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, &old_style(args), spec(&["-q"], &["-n", "-c"])) else { return 1 };
    let (all, status) = inputs(shell, "head", &options.operands);
    let count = |name| options.value(&[name]).and_then(|n| n.parse::<usize>().ok());
    for (_, bytes) in &all {
        let part = match count("-c") {
            Some(n) => bytes[..n.min(bytes.len())].to_vec(),
            None => lines(bytes).into_iter().take(count("-n").unwrap_or(10)).collect::<Vec<_>>().concat(),
        };
        shell.io.stdout.write(&part);
    }
    status
}

/// `tail [-n N|-n +N|-c N]`; `-f` goes on until it is cancelled.
pub fn tail(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, &old_style(args), spec(&["-q", "-f", "-F"], &["-n", "-c"])) else { return 1 };
    let (all, status) = inputs(shell, "tail", &options.operands);
    let count = options.value(&["-n"]).unwrap_or("10").to_owned();
    let mut seen = 0;
    for (_, bytes) in &all {
        seen = bytes.len();
        let lines = lines(bytes);
        let n = count.trim_start_matches(['+', '-']).parse::<usize>().unwrap_or(10);
        let skip = if count.starts_with('+') { n.saturating_sub(1) } else { lines.len().saturating_sub(n) };
        let wanted = options.value(&["-c"]).map(|n| (n.starts_with('+'), n.trim_start_matches(['+', '-'])));
        let part = match wanted.and_then(|(from, n)| Some((from, n.parse::<usize>().ok()?))) {
            Some((true, n)) => bytes.get(n.saturating_sub(1)..).unwrap_or_default().to_vec(),
            Some((false, n)) => bytes[bytes.len().saturating_sub(n)..].to_vec(),
            None => lines.into_iter().skip(skip).collect::<Vec<_>>().concat(),
        };
        shell.io.stdout.write(&part);
    }
    if options.has(&["-f", "-F"])
        && let Some(name) = options.operands.first()
    {
        while shell.world.wait(0.2) {
            let bytes = shell.world.read(&shell.path(name)).unwrap_or_default();
            shell.io.stdout.write(bytes.get(seen..).unwrap_or_default());
            seen = bytes.len();
        }
    }
    status
}

/// `wc [-l|-w|-c]`.
pub fn wc(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, spec(&["-l", "-w", "-c", "-m"], &[])) else { return 1 };
    let (all, status) = inputs(shell, "wc", &options.operands);
    for (name, bytes) in &all {
        let text = String::from_utf8_lossy(bytes);
        let counts = [
            ("-l", bytes.iter().filter(|b| **b == b'\n').count()),
            ("-w", text.split_whitespace().count()),
            ("-c", bytes.len()),
            ("-m", text.chars().count()),
        ];
        let chosen: Vec<String> = counts.iter().filter(|(flag, _)| options.has(&[flag])).map(|(_, n)| n.to_string()).collect();
        let shown = match chosen.len() {
            0 => counts[..3].iter().map(|(_, n)| format!("{n:>7}")).collect::<Vec<_>>().join(" "),
            _ => chosen.join(" "),
        };
        shell.out(&if name == "-" { format!("{shown}\n") } else { format!("{shown} {name}\n") });
    }
    status
}

/// `grep [-qcFEvionxshl] [-m N] [-e] PATTERN [FILE…]`; the expressions are those of `pattern`.
pub fn grep(shell: &mut Shell, args: &[String]) -> i32 {
    let flags = &["-q", "-c", "-F", "-E", "-v", "-i", "-o", "-n", "-x", "-s", "-h", "-l", "-G"];
    let Ok(mut options) = options(shell, args, spec(flags, &["-e", "-m"])) else { return 2 };
    let mut patterns: Vec<String> = options.values(&["-e"]).iter().map(|&p| p.to_owned()).collect();
    if patterns.is_empty() {
        if options.operands.is_empty() {
            shell.complain("grep: no pattern");
            return 2;
        }
        patterns.push(options.operands.remove(0));
    }
    let kind = if options.has(&["-F"]) {
        super::pattern::Kind::Fixed
    } else if options.has(&["-E"]) {
        super::pattern::Kind::Extended
    } else {
        super::pattern::Kind::Basic
    };
    let fold = options.has(&["-i"]);
    let whole = options.has(&["-x"]);
    let compiled: Result<Vec<_>, String> =
        patterns.iter().flat_map(|p| p.split('\n')).map(|p| super::pattern::Pattern::new(p, kind, fold)).collect();
    let compiled = match compiled {
        Ok(compiled) => compiled,
        Err(why) => {
            shell.complain(&format!("grep: {why}"));
            return 2;
        }
    };
    let (all, bad) = inputs(shell, "grep", &options.operands);
    let many = options.operands.len() > 1 && !options.has(&["-h"]);
    let most = options.value(&["-m"]).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let mut found = false;
    for (name, bytes) in &all {
        let text = String::from_utf8_lossy(bytes);
        let mut count = 0;
        let mut out = String::new();
        for (number, line) in text.lines().enumerate() {
            let spans = compiled.iter().find_map(|p| p.find(line)).filter(|(start, end)| !whole || (*start == 0 && *end == line.len()));
            if spans.is_some() == options.has(&["-v"]) || count >= most {
                continue;
            }
            count += 1;
            let shown = match spans.filter(|_| options.has(&["-o"])) {
                Some((start, end)) => &line[start..end],
                None => line,
            };
            let at = if options.has(&["-n"]) { format!("{}:", number + 1) } else { String::new() };
            let from = if many { format!("{name}:") } else { String::new() };
            out.push_str(&format!("{from}{at}{shown}\n"));
        }
        found |= count > 0;
        if options.has(&["-q"]) {
            continue;
        }
        if options.has(&["-c"]) {
            out = if many { format!("{name}:{count}\n") } else { format!("{count}\n") };
        } else if options.has(&["-l"]) {
            out = if count > 0 { format!("{name}\n") } else { String::new() };
        }
        shell.out(&out);
    }
    if found && (bad == 0 || options.has(&["-q"])) {
        0
    } else if bad != 0 {
        2
    } else {
        1
    }
}

/// `sed -n 'A,Bp'` and `sed 's/x/y/[g]'` with plain patterns; anything else is refused in so many words.
pub fn sed(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(mut options) = options(shell, args, spec(&["-n", "-E", "-i", "-r"], &["-e"])) else { return 1 };
    let script = match options.value(&["-e"]).map(str::to_owned) {
        Some(script) => script,
        None if options.operands.is_empty() => return 1,
        None => options.operands.remove(0),
    };
    let extended = options.has(&["-E", "-r"]);
    let edit = match super::pattern::Edit::parse(&script, extended) {
        Ok(edit) => edit,
        Err(why) => {
            shell.complain(&format!("sed: {why}"));
            return 1;
        }
    };
    let (all, mut status) = inputs(shell, "sed", &options.operands);
    for (name, bytes) in &all {
        let text = String::from_utf8_lossy(bytes);
        let out = edit.run(&text, options.has(&["-n"]));
        if options.has(&["-i"]) && name != "-" {
            let path = shell.path(name);
            if let Err(error) = shell.world.files(|f| f.write(&path, out.into_bytes(), 0o644)) {
                shell.complain(&format!("sed: {name}: {error}"));
                status = 1;
            }
        } else {
            shell.out(&out);
        }
    }
    status
}

/// `sort [-r] [-u] [-n]`.
pub fn sort(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, spec(&["-r", "-u", "-n"], &[])) else { return 2 };
    let (all, status) = inputs(shell, "sort", &options.operands);
    let text: String = all.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes)).collect();
    let mut lines: Vec<&str> = text.lines().collect();
    if options.has(&["-n"]) {
        let number = |line: &str| line.trim().parse::<f64>().unwrap_or(0.0);
        lines.sort_by(|a, b| number(a).total_cmp(&number(b)).then_with(|| a.cmp(b)));
    } else {
        lines.sort_unstable();
    }
    if options.has(&["-r"]) {
        lines.reverse();
    }
    if options.has(&["-u"]) {
        lines.dedup();
    }
    shell.out(&lines.iter().map(|l| format!("{l}\n")).collect::<String>());
    status
}

/// `tr A B`, `tr -d A`, over characters and ranges.
pub fn tr(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, spec(&["-d", "-s"], &[])) else { return 1 };
    let Some(from) = options.operands.first().map(|set| characters(set)) else { return 1 };
    let to = options.operands.get(1).map(|set| characters(set)).unwrap_or_default();
    let input = shell.io.stdin.read_all();
    let map = |c: char| match from.iter().position(|f| *f == c) {
        None => Some(c),
        Some(_) if options.has(&["-d"]) => None,
        Some(i) => to.get(i).or(to.last()).copied().or(Some(c)),
    };
    shell.out(&String::from_utf8_lossy(&input).chars().filter_map(map).collect::<String>());
    0
}

fn characters(set: &str) -> Vec<char> {
    let set = set
        .replace("[:upper:]", "A-Z")
        .replace("[:lower:]", "a-z")
        .replace("[:digit:]", "0-9")
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("\\r", "\r");
    let chars: Vec<char> = set.chars().collect();
    let (mut all, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        if i + 2 < chars.len() && chars[i + 1] == '-' {
            all.extend(chars[i]..=chars[i + 2]);
            i += 3;
        } else {
            all.push(chars[i]);
            i += 1;
        }
    }
    all
}

/// `cut -d X -f N[,M]`, `cut -c A-B`.
pub fn cut(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, spec(&["-s"], &["-d", "-f", "-c"])) else { return 1 };
    let (all, status) = inputs(shell, "cut", &options.operands);
    let wanted = options.value(&["-f", "-c"]).unwrap_or("1").to_owned();
    let chosen = |n: usize| {
        wanted.split(',').any(|part| match part.split_once('-') {
            Some((a, b)) => n >= a.parse().unwrap_or(1) && n <= b.parse().unwrap_or(usize::MAX),
            None => part.parse() == Ok(n),
        })
    };
    let by = options.value(&["-d"]).unwrap_or("\t").to_owned();
    for (_, bytes) in &all {
        for line in String::from_utf8_lossy(bytes).lines() {
            let out = if options.value(&["-c"]).is_some() {
                line.chars().enumerate().filter(|(i, _)| chosen(i + 1)).map(|(_, c)| c).collect()
            } else if line.contains(&by) {
                line.split(&by).enumerate().filter(|(i, _)| chosen(i + 1)).map(|(_, f)| f).collect::<Vec<_>>().join(&by)
            } else {
                line.to_owned()
            };
            shell.out(&format!("{out}\n"));
        }
    }
    status
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `sha256sum FILE…`, `sha256sum -c FILE`.
pub fn sha256sum(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = options(shell, args, spec(&["-c", "-b", "-s", "--status"], &[])) else { return 1 };
    let sum = |bytes: &[u8]| hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    let (all, mut status) = inputs(shell, "sha256sum", &options.operands);
    if !options.has(&["-c"]) {
        for (name, bytes) in &all {
            shell.out(&format!("{}  {name}\n", sum(bytes)));
        }
        return status;
    }
    for (_, list) in &all {
        for (wanted, name) in String::from_utf8_lossy(list).lines().filter_map(|line| line.split_once("  ")) {
            let fits = shell.world.read(&shell.path(name)).is_ok_and(|bytes| sum(&bytes) == wanted);
            status |= i32::from(!fits);
            if !options.has(&["-s", "--status"]) {
                shell.out(&format!("{name}: {}\n", if fits { "OK" } else { "FAILED" }));
            }
        }
    }
    status
}

/// `base64`, `base64 -d`.
pub fn base64(shell: &mut Shell, args: &[String]) -> i32 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let Ok(options) = options(shell, args, spec(&["-d"], &["-w"])) else { return 1 };
    let (all, status) = inputs(shell, "base64", &options.operands);
    let bytes: Vec<u8> = all.into_iter().flat_map(|(_, bytes)| bytes).collect();
    if options.has(&["-d"]) {
        let text: Vec<u8> = bytes.into_iter().filter(|b| !b.is_ascii_whitespace()).collect();
        match STANDARD.decode(text) {
            Ok(decoded) => return status | i32::from(!shell.io.stdout.write(&decoded)),
            Err(_) => shell.complain("base64: invalid input"),
        }
        return 1;
    }
    let text = STANDARD.encode(bytes);
    let width = options.value(&["-w"]).and_then(|w| w.parse().ok()).unwrap_or(76);
    let rows: Vec<String> =
        if width == 0 { vec![text] } else { text.as_bytes().chunks(width).map(|c| format!("{}\n", String::from_utf8_lossy(c))).collect() };
    shell.out(&rows.concat());
    status
}
