//! Remote commands as argument vectors, and the one encoder that turns them into text for a POSIX shell.

use std::fmt;

/// The longest command in bytes. Linux starts no program with a single argument of 128 KiB or more, which is how sshd hands a command to the user's shell,
/// and some servers end the whole connection over one; the rest is for what goes around a command.
const LONGEST: usize = 120 << 10;

/// Words that cannot be sent to a shell.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum BadWord {
    /// One that no argument can hold.
    #[error("`{shown}` cannot be an argument of a remote command: it holds a NUL byte")]
    Nul {
        /// Its beginning.
        shown: String,
    },
    /// All of them together.
    #[error("the command `{shown}…` is {bytes} bytes long: a remote command is {LONGEST} at most")]
    Long {
        /// Its beginning.
        shown: String,
        /// Its length.
        bytes: usize,
    },
}

/// A command for a remote POSIX shell: every argument arrives byte for byte as given, whatever it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    dir: Option<String>,
    env: Vec<(String, String)>,
    words: Vec<String>,
    raw: Option<String>,
}

impl Command {
    /// Runs `program` with no arguments yet.
    pub fn new(program: impl Into<String>) -> Self {
        Self { dir: None, env: Vec::new(), words: vec![program.into()], raw: None }
    }

    /// A whole shell script that the user wrote (`ssh/host.exec`); run by `sh -c`.
    pub fn script(text: impl Into<String>) -> Self {
        Self { dir: None, env: Vec::new(), words: Vec::new(), raw: Some(text.into()) }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Changes into `dir` first; a leading `~/` (or `~` alone) is the remote user's home.
    #[must_use]
    pub fn in_dir(mut self, dir: impl Into<String>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Sets a variable for this command. Not for secrets: the environment of a process is readable.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// The program and its arguments; none for a script.
    pub(super) fn words(&self) -> &[String] {
        &self.words
    }

    /// The text for `sh`: `cd ~/'game' && exec env K='v' docker 'compose' …`. Words of harmless characters stay bare so that logs are readable.
    pub fn render(&self) -> Result<String, BadWord> {
        let text = self.text()?;
        let bytes = text.len();
        if bytes > LONGEST { Err(BadWord::Long { shown: shown(text.trim_start_matches("exec ")), bytes }) } else { Ok(text) }
    }

    fn text(&self) -> Result<String, BadWord> {
        let mut text = String::new();
        if let Some(dir) = &self.dir {
            text.push_str(&format!("cd {} && ", quote_path(dir)?));
        }
        if let Some(script) = &self.raw {
            // The script keeps its own meaning; the braces keep `cd … &&` from applying to its first command only.
            check(script)?;
            return Ok(if text.is_empty() { script.clone() } else { format!("{text}{{ {script}\n}}") });
        }
        text.push_str("exec ");
        if !self.env.is_empty() {
            text.push_str("env ");
            for (key, value) in &self.env {
                text.push_str(&format!("{} ", quote(&format!("{key}={value}"))?));
            }
        }
        let words = self.words.iter().map(|word| quote(word)).collect::<Result<Vec<_>, _>>()?;
        text.push_str(&words.join(" "));
        Ok(text)
    }
}

/// For messages: what `render` gives, or the offending word.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.render() {
            Ok(text) => f.write_str(text.trim_start_matches("exec ")),
            Err(bad) => write!(f, "({bad})"),
        }
    }
}

fn check(word: &str) -> Result<(), BadWord> {
    if word.contains('\0') { Err(BadWord::Nul { shown: shown(&word.replace('\0', "\\0")) }) } else { Ok(()) }
}

/// As much of a text as tells which it is.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// One word, quoted for a POSIX shell.
pub fn quote(word: &str) -> Result<String, BadWord> {
    check(word)?;
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    // A bare word with `=` in front could be read as an assignment, so it is quoted like everything doubtful.
    let safe = !word.is_empty() && word.chars().all(bare) && !word.contains('=');
    Ok(if safe { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) })
}

/// A path, quoted, with a leading `~` left to the remote shell.
pub fn quote_path(path: &str) -> Result<String, BadWord> {
    match path.strip_prefix("~/") {
        Some("") => Ok("~/".to_owned()),
        Some(rest) => Ok(format!("~/{}", quote(rest)?)),
        None if path == "~" => Ok("~".to_owned()),
        // A path that begins with a dash would be an option of the program that gets it.
        None if path.starts_with('-') => quote(&format!("./{path}")),
        None => quote(path),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests ask the real shell")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `/bin/sh` makes of the command, with `home` as its home.
    fn shell(command: &Command, home: &str) -> Vec<u8> {
        let text = command.render().unwrap();
        let output = std::process::Command::new("/bin/sh").args(["-c", &text]).env("HOME", home).output().unwrap();
        assert!(output.status.success(), "{text}: {output:?}");
        output.stdout
    }

    /// Words as users and attackers write them: any text without NUL, and much of what shells care about.
    fn word() -> impl Strategy<Value = String> {
        let nasty = prop::sample::select(vec![
            "'", "\"", "\\", "\n", "\r", "\t", " ", "$(id)", "`id`", "${x}", "-", "--", "*", "?", "[a]", "~", "!", "#", "&", ";", "|", "<",
            ">", "=", "{a,b}", "%s", "é", "\u{7f}", "\u{1}",
        ]);
        let piece = prop_oneof![3 => nasty.prop_map(str::to_owned), 1 => "[^\\x00]{0,6}"];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(crate::walks::cases(24))]
        #[test]
        fn every_word_arrives_as_it_is(words in prop::collection::vec(word(), 1..150)) {
            let command = Command::new("printf").arg("%s\\0").args(words.clone());
            let expected: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
            prop_assert_eq!(shell(&command, "/"), expected);
        }
    }

    #[test]
    fn directories_and_variables_arrive_as_they_are() {
        let home = tempfile::tempdir().unwrap();
        for name in ["a b", "it's", "-n", "$HOME", "~", "new\nline", "*", "x=y"] {
            std::fs::create_dir_all(home.path().join(name)).unwrap();
            let pwd = Command::new("printenv").arg("V").env("V", name).in_dir(format!("~/{name}"));
            assert_eq!(shell(&pwd, &home.path().display().to_string()), format!("{name}\n").as_bytes());
            let script = Command::script("false; pwd").in_dir(format!("~/{name}"));
            let expected = format!("{}/{name}\n", home.path().display());
            assert_eq!(shell(&script, &home.path().display().to_string()), expected.as_bytes());
        }
        let home = home.path().display().to_string();
        assert_eq!(shell(&Command::new("pwd").in_dir("~"), &home), format!("{home}\n").as_bytes());
        assert_eq!(quote_path("-rf").unwrap(), "./-rf");
    }

    #[test]
    fn words_are_quoted_when_they_must_be() {
        let command = Command::new("docker").args(["exec", "a b", "it's", "$(reboot)", "", "-x=1"]).in_dir("~/my game/");
        assert_eq!(command.render().unwrap(), r"cd ~/'my game/' && exec docker exec 'a b' 'it'\''s' '$(reboot)' '' '-x=1'");
        assert!(Command::new("a\0b").render().is_err());
    }

    #[test]
    fn a_command_that_no_host_would_start_is_not_sent() {
        let echo = |letters: usize| Command::new("echo").arg("x".repeat(letters));
        assert_eq!(shell(&echo(LONGEST - 10), "/").len(), LONGEST - 9);
        let told = echo(LONGEST - 9).render().unwrap_err().to_string();
        let expected = format!("the command `echo {}…` is 122881 bytes long: a remote command is 122880 at most", "x".repeat(75));
        assert_eq!(told, expected);
        assert_eq!(echo(1 << 20).to_string().len(), expected.len() + 3);
    }

    #[test]
    fn scripts_keep_their_meaning() {
        assert_eq!(Command::script("a; b").render().unwrap(), "a; b");
        assert_eq!(Command::script("a; b").in_dir("/x").render().unwrap(), "cd /x && { a; b\n}");
    }
}
