//! The directory on the far side: whether its name makes sense, and what stands at paths below it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::contract::Failure;
use crate::model::local::sha256;
use crate::model::remote::{Remote, tail};
use crate::wire::command::{Command, quote_path};
use crate::wire::ssh::{Exec, Input, Output};

/// Looking reads whole files over there.
const LOOK: Duration = Duration::from_secs(900);

/// One word a name; of a link, the digest of its target, because a target may hold a line break.
const KINDS: &str = r#"for p do
  if [ -L "$p" ]; then printf 'l '; readlink "$p" | sha256sum
  elif [ -d "$p" ]; then echo d
  elif [ -f "$p" ]; then echo f
  elif [ -e "$p" ]; then echo o
  else echo -; fi
done"#;

/// Through standard input, so that no name stands in the output.
const ODD_DIGESTS: &str = r#"for p do sha256sum <"$p"; done"#;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A directory.
    Dir,
    /// A link; the SHA-256 of its target and a line break, in hex.
    Link(String),
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// SHA-256 of its content in hex.
        sha256: String,
    },
    /// A device, a pipe, a socket.
    Other,
}

impl Seen {
    /// A link to `target`, as a look tells it.
    pub fn link(target: &str) -> Self {
        Self::Link(sha256(format!("{target}\n").as_bytes()))
    }
}

/// A directory of a host.
pub struct Place<'a> {
    /// The host.
    pub remote: Remote<'a>,
    /// The directory: absolute or `~/…`, without a slash at its end.
    pub dir: String,
}

/// The same failure with a name in place of the script that it quotes.
pub fn named(mut failure: Failure, what: &str) -> Failure {
    let quoted = failure.message.find('`').zip(failure.message.rfind('`')).filter(|(from, to)| from < to);
    if let Some((from, to)) = quoted {
        failure.message.replace_range(from + 1..to, what);
    }
    failure
}

/// The directory as it is meant, or why nothing can be put there.
pub fn check_dir(dir: &str) -> Result<String, Failure> {
    let bad = |why: &str| Failure::yours(format!("`{}` cannot hold the project: {why}", dir.escape_debug()));
    if dir.chars().any(char::is_control) {
        return Err(bad("it holds a control character"));
    }
    let Some(below) = dir.strip_prefix("~/").or_else(|| dir.strip_prefix('/')) else {
        return Err(bad("it is neither an absolute path nor one below `~/`"));
    };
    let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() {
        return Err(bad("a directory of its own must be named, not a root or a home"));
    }
    if parts.contains(&"..") {
        return Err(bad("it holds `..`"));
    }
    let root = if dir.starts_with('~') { "~/" } else { "/" };
    Ok(format!("{root}{}", parts.join("/")))
}

impl Place<'_> {
    /// `host:dir`, for messages.
    pub fn label(&self) -> String {
        format!("{}:{}", self.remote.target.host, self.dir)
    }

    /// The directory as a word of a script.
    pub fn quoted(&self) -> Result<String, Failure> {
        quote_path(&self.dir).map_err(|e| Failure::yours(e.to_string()))
    }

    /// A script that begins in the directory, and ends with success at once when there is none.
    pub fn script(&self, text: &str) -> Result<Command, Failure> {
        let dir = self.quoted()?;
        Ok(Command::script(format!("[ -d {dir} ] || exit 0\ncd {dir} || exit\n{text}")))
    }

    /// What stands at each of `names`, below the directory.
    pub async fn look(&self, names: &[String]) -> Result<BTreeMap<String, Seen>, Failure> {
        let kinds = self.rows(&format!("xargs -0 sh -c '{}' sh", KINDS.replace('\'', r"'\''")), names, 96).await?;
        if kinds.is_empty() {
            return Ok(names.iter().map(|name| (name.clone(), Seen::Absent)).collect());
        }
        let files: Vec<String> = names.iter().zip(&kinds).filter(|(_, kind)| *kind == "f").map(|(name, _)| name.clone()).collect();
        let modes = self.rows("xargs -0 stat -c %a", &files, 16).await?;
        // Not every sha256sum tells a line break in a name from one behind it.
        let (odd, plain): (Vec<String>, Vec<String>) =
            files.iter().cloned().partition(|name| name.contains(|c: char| c.is_control() || c == '\\'));
        let longest = plain.iter().map(String::len).max().unwrap_or(0);
        let sums = self.rows("xargs -0 sha256sum", &plain, longest + 80).await?;
        let odd_sums = self.rows(&format!("xargs -0 sh -c '{ODD_DIGESTS}' sh"), &odd, 80).await?;
        let sums: BTreeMap<&String, &String> = plain.iter().zip(&sums).chain(odd.iter().zip(&odd_sums)).collect();
        let modes: BTreeMap<&String, &String> = files.iter().zip(&modes).collect();
        let seen = |name: &String, kind: &str| match (kind.as_bytes().first(), modes.get(name), sums.get(name)) {
            (Some(b'd'), ..) => Some(Seen::Dir),
            (Some(b'o'), ..) => Some(Seen::Other),
            (Some(b'-'), ..) => Some(Seen::Absent),
            (Some(b'l'), ..) => Some(Seen::Link(kind.get(2..66)?.to_owned())),
            (Some(b'f'), Some(mode), Some(sum)) => {
                Some(Seen::File { mode: u32::from_str_radix(mode, 8).ok()?, sha256: sum.get(..64)?.to_owned() })
            }
            _ => None,
        };
        let all = names.iter().zip(&kinds).map(|(name, kind)| Some((name.clone(), seen(name, kind)?)));
        all.collect::<Option<_>>().ok_or_else(|| Failure::theirs(format!("{}: looking at what is there gave something else", self.label())))
    }

    /// One line of output for each name, or none at all when the directory is not there. `width` is what a line may take.
    async fn rows(&self, text: &str, names: &[String], width: usize) -> Result<Vec<String>, Failure> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // A name may begin with a dash, or with anything else: `./` before it and NUL behind it make it harmless.
        let input: String = names.iter().map(|name| format!("./{name}\0")).collect();
        let exec =
            Exec { input: Input::Bytes(input.into_bytes()), keep: names.len() * width + 4096, ..Exec::new(self.script(text)?, LOOK) };
        let output = self.remote.fetch(exec).await.map_err(|failure| named(failure, "a look at what is there"))?;
        let lines: Vec<String> = output.stdout.lines().map(str::to_owned).collect();
        let complete = lines.len() == names.len() || lines.is_empty() && output.stderr.is_empty();
        if output.status != 0 || !complete {
            return Err(self.unclear(&output));
        }
        Ok(lines)
    }

    fn unclear(&self, output: &Output) -> Failure {
        let failure = Failure::theirs(format!("{}: what is there could not be looked at", self.label())).tail(tail(output));
        failure.help("does something else write there at the same time?")
    }
}
