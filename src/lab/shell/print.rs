//! `echo` and `printf`.

use super::run::Shell;

/// `echo` as dash has it: backslashes work without `-e`.
pub fn echo(shell: &mut Shell, args: &[String]) -> i32 {
    let plain = args.get(1).is_some_and(|a| a == "-n");
    let text = args[1 + usize::from(plain)..].join(" ");
    let (text, stop) = unescape(&text, true);
    let end = if plain || stop { "" } else { "\n" };
    let mut bytes = text;
    bytes.extend_from_slice(end.as_bytes());
    i32::from(!shell.io.stdout.write(&bytes))
}

/// The bytes that escapes stand for, and whether a `\c` ended the output. With `zero`, octal needs a leading 0 (`echo`, `%b`).
fn unescape(text: &str, zero: bool) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let Some(next) = rest.next() else {
            out.push(b'\\');
            break;
        };
        match next {
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'r' => out.push(b'\r'),
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'v' => out.push(11),
            'e' => out.push(27),
            '\\' => out.push(b'\\'),
            'c' => return (out, true),
            '0'..='7' if !zero || next == '0' => {
                let mut value = next.to_digit(8).unwrap_or(0);
                for _ in 0..if zero { 3 } else { 2 } {
                    match rest.peek().and_then(|c| c.to_digit(8)) {
                        Some(digit) => value = value * 8 + digit,
                        None => break,
                    }
                    rest.next();
                }
                out.push(value.to_le_bytes()[0]);
            }
            other => {
                out.push(b'\\');
                out.extend(other.encode_utf8(&mut [0; 4]).bytes());
            }
        }
    }
    (out, false)
}

/// `printf`: the format is used again while arguments are left.
pub fn printf(shell: &mut Shell, args: &[String]) -> i32 {
    let args = if args.get(1).is_some_and(|a| a == "--") { &args[1..] } else { args };
    let Some(format) = args.get(1) else {
        shell.fault("printf: usage: printf format [arg ...]");
        return 2;
    };
    let mut values = args[2..].iter();
    let (mut out, mut status) = (Vec::new(), 0);
    loop {
        let before = values.len();
        let stop = once(shell, format, &mut values, (&mut out, &mut status));
        if stop || values.len() == 0 || values.len() == before {
            break;
        }
    }
    if shell.io.stdout.write(&out) { status } else { 1 }
}

/// One pass over the format; true when the output ends here.
fn once(shell: &Shell, format: &str, values: &mut std::slice::Iter<'_, String>, to: (&mut Vec<u8>, &mut i32)) -> bool {
    let (out, status) = to;
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let (bytes, stop) = unescape(&rest[..at], false);
        out.extend(bytes);
        if stop {
            return true;
        }
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push(b'%');
            rest = after;
            continue;
        }
        let length = rest.find(|c: char| !"-+ #0123456789.*".contains(c)).unwrap_or(rest.len());
        let (flags, kind) = (&rest[..length], rest[length..].chars().next());
        let Some(kind) = kind.filter(|k| "sdiuxXocb".contains(*k)) else {
            shell.fault(&format!("printf: %{}: invalid directive", rest.chars().take(length + 1).collect::<String>()));
            *status = 2;
            return true;
        };
        rest = &rest[length + 1..];
        let value = values.next().map_or("", String::as_str);
        let (text, stop) = match kind {
            's' => (value.as_bytes().to_vec(), false),
            'b' => unescape(value, true),
            'c' => (value.chars().next().map(String::from).unwrap_or_default().into_bytes(), false),
            _ => (number(shell, kind, value, status).into_bytes(), false),
        };
        out.extend(pad(flags, text, kind));
        if stop {
            return true;
        }
    }
    let (bytes, stop) = unescape(rest, false);
    out.extend(bytes);
    stop
}

fn number(shell: &Shell, kind: char, value: &str, status: &mut i32) -> String {
    let parsed = match value.trim() {
        "" => Ok(0),
        text if text.starts_with("0x") => i64::from_str_radix(&text[2..], 16),
        text if text.len() > 1 && text.starts_with('0') => i64::from_str_radix(text, 8),
        text => text.parse::<i64>(),
    };
    let n = parsed.unwrap_or_else(|_| {
        shell.fault(&format!("printf: {value}: expected numeric value"));
        *status = 1;
        0
    });
    match kind {
        'x' => format!("{n:x}"),
        'X' => format!("{n:X}"),
        'o' => format!("{n:o}"),
        _ => n.to_string(),
    }
}

fn pad(flags: &str, mut text: Vec<u8>, kind: char) -> Vec<u8> {
    let (width, precision) = flags.split_once('.').map_or((flags, None), |(w, p)| (w, Some(p.parse::<usize>().unwrap_or(0))));
    let left = width.contains('-');
    let digits = width.trim_start_matches(['-', '+', ' ', '#']);
    let zeros = digits.starts_with('0') && !left && kind != 's';
    if let Some(precision) = precision.filter(|_| kind == 's') {
        text.truncate(precision);
    }
    let missing = digits.parse::<usize>().unwrap_or(0).min(4096).saturating_sub(text.len());
    let fill = vec![if zeros { b'0' } else { b' ' }; missing];
    match (left, zeros && text.first() == Some(&b'-')) {
        (true, _) => [text, fill].concat(),
        (false, true) => [b"-".to_vec(), fill, text[1..].to_vec()].concat(),
        (false, false) => [fill, text].concat(),
    }
}
