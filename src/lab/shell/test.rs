//! `test` and `[`.

use super::run::Shell;
use crate::lab::host::files::Kind;

/// `test EXPR`, `[ EXPR ]`.
pub fn test(shell: &mut Shell, args: &[String]) -> i32 {
    let mut words: Vec<&str> = args[1..].iter().map(String::as_str).collect();
    if args[0] == "[" && words.pop() != Some("]") {
        shell.fault("[: missing ]");
        return 2;
    }
    let mut reader = Reader { shell, words: &words, at: 0 };
    let result = match words.len() {
        0 => Ok(false),
        1 => Ok(!words[0].is_empty()),
        _ => reader.or(),
    };
    let rest = words.get(reader.at).filter(|_| words.len() > 1);
    match (result, rest) {
        (Ok(true), None) => 0,
        (Ok(false), None) => 1,
        (Ok(_), Some(word)) => complain(shell, &args[0], &format!("{word}: unexpected operator")),
        (Err(why), _) => complain(shell, &args[0], &why),
    }
}

fn complain(shell: &Shell, name: &str, why: &str) -> i32 {
    shell.fault(&format!("{name}: {why}"));
    2
}

struct Reader<'a> {
    shell: &'a Shell,
    words: &'a [&'a str],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, what: &str) -> bool {
        let found = self.words.get(self.at) == Some(&what);
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<bool, String> {
        let mut result = self.and()?;
        while self.take("-o") {
            result |= self.and()?;
        }
        Ok(result)
    }

    fn and(&mut self) -> Result<bool, String> {
        let mut result = self.primary()?;
        while self.take("-a") {
            result &= self.primary()?;
        }
        Ok(result)
    }

    fn primary(&mut self) -> Result<bool, String> {
        let mut not = false;
        while self.words.len() - self.at > 1 && self.take("!") {
            not = !not;
        }
        Ok(self.plain()? != not)
    }

    fn plain(&mut self) -> Result<bool, String> {
        let rest = &self.words[self.at..];
        if let [left, op, right, ..] = rest
            && let Some(result) = self.binary(left, op, right)
        {
            self.at += 3;
            return result;
        }
        match rest {
            ["(", ..] => {
                self.at += 1;
                let inner = self.or()?;
                if self.take(")") { Ok(inner) } else { Err("closing paren expected".to_owned()) }
            }
            [op, operand, ..] if op.len() == 2 && op.starts_with('-') => match self.unary(&op[1..], operand) {
                Some(result) => {
                    self.at += 2;
                    Ok(result)
                }
                None => Err(format!("{op}: unexpected operator")),
            },
            [word, ..] => {
                self.at += 1;
                Ok(!word.is_empty())
            }
            [] => Err("argument expected".to_owned()),
        }
    }

    fn binary(&self, left: &str, op: &str, right: &str) -> Option<Result<bool, String>> {
        let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("Illegal number: {text}"));
        let compare = |by: fn(&i64, &i64) -> bool| Some(number(left).and_then(|l| number(right).map(|r| by(&l, &r))));
        match op {
            "=" | "==" => Some(Ok(left == right)),
            "!=" => Some(Ok(left != right)),
            "<" => Some(Ok(left < right)),
            ">" => Some(Ok(left > right)),
            "-eq" => compare(|l, r| l == r),
            "-ne" => compare(|l, r| l != r),
            "-lt" => compare(|l, r| l < r),
            "-le" => compare(|l, r| l <= r),
            "-gt" => compare(|l, r| l > r),
            "-ge" => compare(|l, r| l >= r),
            "-nt" | "-ot" => {
                let time = |path: &str| self.shell.world.stat(&self.shell.path(path), true).map_or(i64::MIN, |n| n.mtime);
                Some(Ok(if op == "-nt" { time(left) > time(right) } else { time(left) < time(right) }))
            }
            _ => None,
        }
    }

    fn unary(&self, op: &str, operand: &str) -> Option<bool> {
        let node = |follow| self.shell.world.stat(&self.shell.path(operand), follow).ok().filter(|_| !operand.is_empty());
        Some(match op {
            "z" => operand.is_empty(),
            "n" => !operand.is_empty(),
            "e" => node(true).is_some(),
            "f" => node(true).is_some_and(|n| matches!(n.kind, Kind::File(_))) && !self.is_device(operand),
            "d" => node(true).is_some_and(|n| n.is_dir()),
            "L" | "h" => node(false).is_some_and(|n| matches!(n.kind, Kind::Link(_))),
            "s" => node(true).is_some_and(|n| n.size() > 0),
            "r" | "w" => node(true).is_some(),
            "x" => node(true).is_some_and(|n| n.mode & 0o111 != 0),
            "b" => self.is_device(operand),
            // The two users that a machine has.
            "O" => node(true).is_some_and(|n| n.uid == if self.shell.world.user == "root" { 0 } else { 1000 }),
            "c" | "p" | "S" | "t" | "u" | "g" | "k" => false,
            _ => return None,
        })
    }

    fn is_device(&self, operand: &str) -> bool {
        self.shell.world.host(|host| host.is_block_device(&self.shell.path(operand)))
    }
}
