//! A machine's or a container's tmux server: sessions with one pane each, and what tmux does with keys and targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::console::{Moment, Program, Said};

/// The most lines a pane remembers; tmux's own default is 2000.
pub const HISTORY: usize = 2000;
/// Columns and rows of a detached session.
pub const WIDTH: usize = 80;
/// Rows of a detached session.
pub const HEIGHT: usize = 24;

/// The tmux servers of one machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Tmux {
    /// The default server's sessions, by name. A server without sessions is not running.
    pub sessions: Sessions,
    /// Servers with a socket of their own (`-L`, `-S`), by socket.
    pub others: BTreeMap<String, Sessions>,
}

/// The sessions of one server, by name.
pub type Sessions = BTreeMap<String, Session>;

/// One session: a single window with a single pane.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Session {
    /// Made, seconds since 1970.
    pub created: i64,
    /// What runs in the pane.
    pub program: Program,
    /// Process id of the pane's first process.
    pub pid: u32,
    /// The pane's history, oldest first; the last entry is the line where the cursor stands.
    pub lines: Vec<String>,
    /// What was typed and not yet submitted.
    pub typed: String,
    /// The pane's working directory.
    pub cwd: String,
    /// The session was made for one command and ends with it.
    pub one_command: bool,
}

/// What a key does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// These characters.
    Text(String),
    /// Return.
    Enter,
    /// The character before the cursor goes.
    Backspace,
    /// The line goes (C-u).
    Clear,
    /// C-c.
    Interrupt,
    /// C-d.
    End,
    /// A key that no console here has a use for.
    Nothing,
}

/// What `send-keys` does with one of its arguments. With `literal` (`-l`) no argument is the name of a key; a newline submits either way.
#[must_use]
pub fn keys(argument: &str, literal: bool) -> Vec<Key> {
    let named = match argument {
        _ if literal => None,
        "Enter" | "C-m" | "KPEnter" => Some(Key::Enter),
        "Space" => Some(Key::Text(" ".to_owned())),
        "BSpace" | "C-h" => Some(Key::Backspace),
        "C-u" => Some(Key::Clear),
        "C-c" => Some(Key::Interrupt),
        "C-d" => Some(Key::End),
        "Tab" | "Escape" | "Up" | "Down" | "Left" | "Right" | "Home" | "End" | "PageUp" | "PageDown" | "NPage" | "PPage" | "IC" | "DC"
        | "BTab" => Some(Key::Nothing),
        _ if is_chord(argument) => Some(Key::Nothing),
        _ => None,
    };
    if let Some(key) = named {
        return vec![key];
    }
    let mut all = Vec::new();
    for (i, line) in argument.split(['\n', '\r']).enumerate() {
        if i > 0 {
            all.push(Key::Enter);
        }
        if !line.is_empty() {
            all.push(Key::Text(line.to_owned()));
        }
    }
    all
}

/// `C-a`, `M-x`, `F5`.
fn is_chord(argument: &str) -> bool {
    let function = argument.strip_prefix('F').is_some_and(|n| n.parse::<u8>().is_ok_and(|n| (1..=12).contains(&n)));
    let held = ["C-", "M-", "S-", "^"].iter().filter_map(|prefix| argument.strip_prefix(prefix)).any(|key| key.chars().count() == 1);
    function || held
}

/// The commands in one tmux command line: an argument that ends with `;` ends a command, `\;` at an end is a plain semicolon.
#[must_use]
pub fn commands(args: &[String]) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    for arg in args {
        let last = all.len() - 1;
        if let Some(before) = arg.strip_suffix("\\;") {
            all[last].push(format!("{before};"));
        } else if let Some(before) = arg.strip_suffix(';') {
            if !before.is_empty() {
                all[last].push(before.to_owned());
            }
            all.push(Vec::new());
        } else {
            all[last].push(arg.clone());
        }
    }
    all.retain(|command| !command.is_empty());
    all
}

/// Which session a target names. A plain name also matches by its beginning and as a pattern (tmux's own order); `=name` matches itself only. For a
/// pane (`send-keys`, `capture-pane`) tmux takes `=name` without a colon as the name of a pane and finds none.
#[must_use]
pub fn find(sessions: &Sessions, target: &str, pane: bool) -> Option<String> {
    let (name, colon) = target.split_once(':').map_or((target, false), |(name, _)| (name, true));
    if let Some(exact) = name.strip_prefix('=') {
        return (colon || !pane).then(|| exact.to_owned()).filter(|name| sessions.contains_key(name));
    }
    if name.is_empty() {
        return sessions.keys().next().cloned();
    }
    if sessions.contains_key(name) {
        return Some(name.to_owned());
    }
    let mut fitting = sessions.keys().filter(|s| s.starts_with(name));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => None,
    }
}

/// A session's name as tmux keeps it.
#[must_use]
pub fn clean_name(name: &str) -> String {
    name.replace(['.', ':'], "_")
}

impl Tmux {
    /// The sessions behind a socket; none means the default one.
    pub fn server(&mut self, socket: Option<&str>) -> &mut Sessions {
        match socket {
            None => &mut self.sessions,
            Some(socket) => self.others.entry(socket.to_owned()).or_default(),
        }
    }

    /// Every session.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (&String, &mut Session)> {
        self.sessions.iter_mut().chain(self.others.values_mut().flatten())
    }
}

impl Session {
    /// Shows whole lines above the one where the cursor stands.
    pub fn print(&mut self, lines: impl IntoIterator<Item = String>) {
        let cursor = self.lines.pop().unwrap_or_default();
        self.lines.extend(lines);
        self.lines.push(cursor);
        let over = self.lines.len().saturating_sub(HISTORY);
        self.lines.drain(..over);
    }

    /// The prompt of what runs here.
    #[must_use]
    pub fn prompt(&self, host: &str) -> String {
        match &self.program {
            Program::Shell => format!("{host}:{}# ", if self.cwd.is_empty() { "~" } else { &self.cwd }),
            Program::Terraria(_) => ": ".to_owned(),
            Program::Minecraft(_) | Program::Cat => String::new(),
        }
    }

    /// Puts the cursor on a fresh line with the prompt.
    pub fn show_prompt(&mut self, host: &str) {
        let prompt = self.prompt(host);
        match self.lines.last_mut().filter(|line| line.is_empty()) {
            Some(line) => *line = prompt,
            None => self.lines.push(prompt),
        }
    }

    /// Presses a key. A submitted line comes back for the caller to run when a shell reads here; a game's console answers by itself.
    pub fn press(&mut self, key: &Key, moment: &Moment) -> Pressed {
        match key {
            Key::Text(text) => {
                self.typed.push_str(text);
                self.echo(text);
            }
            Key::Backspace => {
                if self.typed.pop().is_some()
                    && let Some(line) = self.lines.last_mut()
                {
                    line.pop();
                }
            }
            Key::Clear => {
                let typed = std::mem::take(&mut self.typed);
                if let Some(line) = self.lines.last_mut() {
                    line.truncate(line.len().saturating_sub(typed.len()));
                }
            }
            Key::Enter => {
                let typed = std::mem::take(&mut self.typed);
                self.lines.push(String::new());
                return self.submit(typed, moment);
            }
            Key::Interrupt => return Pressed::Said(self.program.interrupt(moment)),
            Key::End | Key::Nothing => {}
        }
        Pressed::Nothing
    }

    fn echo(&mut self, text: &str) {
        match self.lines.last_mut() {
            Some(line) => line.push_str(text),
            None => self.lines.push(text.to_owned()),
        }
    }

    fn submit(&mut self, typed: String, moment: &Moment) -> Pressed {
        if self.program == Program::Shell {
            return Pressed::Line(typed);
        }
        let said = self.program.submit(&typed, moment);
        self.print(said.lines.clone());
        if said.prompt {
            self.show_prompt("");
        }
        Pressed::Said(said)
    }

    /// The pane's rows, oldest first: lines cut at the width unless `join`ed, then blank rows down to the screen's end.
    #[must_use]
    pub fn rows(&self, join: bool) -> Vec<String> {
        let mut rows = Vec::new();
        for line in &self.lines {
            let chars: Vec<char> = line.chars().collect();
            if join || chars.len() <= WIDTH {
                rows.push(line.trim_end().to_owned());
            } else {
                rows.extend(chars.chunks(WIDTH).map(|part| part.iter().collect::<String>().trim_end().to_owned()));
            }
        }
        rows.resize(rows.len().max(HEIGHT), String::new());
        rows
    }
}

/// What came of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Pressed {
    /// Nothing that anybody else needs to know.
    Nothing,
    /// A line for the shell that reads here.
    Line(String),
    /// A game's console answered; its lines are on the pane already.
    Said(Said),
}
