//! The programs that read what is typed into a pane: the game servers' consoles.

use serde::{Deserialize, Serialize};

use super::time;

/// When something is typed, and how long things take.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    /// Real seconds per second of the machine.
    pub pace: f64,
    /// Seconds that a save takes, instead of the game's own.
    pub save_seconds: Option<u64>,
}

impl Moment {
    /// The time after so many of the machine's seconds.
    #[must_use]
    pub fn after(&self, seconds: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "bounded just before")]
        let ms = (seconds * self.pace * 1000.0).clamp(0.0, 1e12) as i64;
        self.now_ms + ms
    }
}

/// What a console answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Lines it printed.
    pub lines: Vec<String>,
    /// It is ready for the next line and shows its prompt.
    pub prompt: bool,
    /// The program ended with this status.
    pub ended: Option<i32>,
}

impl Said {
    fn lines(lines: Vec<String>) -> Self {
        Self { lines, prompt: true, ended: None }
    }

    fn line(line: impl Into<String>) -> Self {
        Self::lines(vec![line.into()])
    }
}

/// What a game does when the world is saved.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// Goes on.
    Stay,
    /// Ends.
    End,
}

/// What runs in a pane.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// A login shell: what is typed is run.
    #[default]
    Shell,
    /// `cat`: what is typed is printed again.
    Cat,
    /// A tModLoader server's console.
    Terraria(Terraria),
    /// A Minecraft server's console.
    Minecraft(Minecraft),
}

/// A tModLoader server.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Terraria {
    /// Who is on, with their addresses, `("Keeb", "10.0.0.20:51234")`.
    pub players: Vec<(String, String)>,
    /// Seconds that saving the world takes.
    pub save_seconds: u64,
    /// When the world was last saved, seconds since 1970; 0 for never.
    pub saved_at: i64,
    /// What was said with `say`, oldest first.
    pub said: Vec<String>,
    /// The save under way: when it is done (milliseconds since 1970), and what then.
    pub saving: Option<(i64, Then)>,
}

/// A Minecraft server.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Minecraft {
    /// Who is on.
    pub players: Vec<String>,
    /// Slots.
    pub max: u32,
    /// Operators.
    pub ops: Vec<String>,
    /// Seconds that saving the world takes.
    pub save_seconds: u64,
    /// The start under way: when it is done, milliseconds since 1970.
    pub starting: Option<i64>,
    /// When the world was last saved, seconds since 1970; 0 for never.
    pub saved_at: i64,
    /// What was said with `say`, oldest first.
    pub said: Vec<String>,
    /// The save under way: when it is done (milliseconds since 1970), and what then.
    pub saving: Option<(i64, Then)>,
    /// The server's directory; `logs/latest.log` in it gets what the console prints.
    pub dir: String,
}

impl Program {
    /// The name tmux shows as `pane_current_command`.
    #[must_use]
    pub fn command(&self) -> &'static str {
        match self {
            Self::Shell => "sh",
            Self::Cat => "cat",
            Self::Terraria(_) => "dotnet",
            Self::Minecraft(_) => "java",
        }
    }

    /// A line was typed.
    pub fn submit(&mut self, line: &str, moment: &Moment) -> Said {
        match self {
            Self::Shell => Said::default(),
            Self::Cat => Said { lines: vec![line.to_owned()], ..Said::default() },
            Self::Terraria(game) => game.submit(line, moment),
            Self::Minecraft(game) => game.submit(line, moment),
        }
    }

    /// C-c: tModLoader dies unsaved, Minecraft saves and stops.
    pub fn interrupt(&mut self, moment: &Moment) -> Said {
        match self {
            Self::Shell => Said { prompt: true, ..Said::default() },
            Self::Cat | Self::Terraria(_) => Said { ended: Some(130), ..Said::default() },
            Self::Minecraft(game) => game.submit("stop", moment),
        }
    }

    /// What was due by now: a save that is done, a start that is done.
    pub fn settle(&mut self, now_ms: i64) -> Said {
        match self {
            Self::Shell | Self::Cat => Said::default(),
            Self::Terraria(game) => game.settle(now_ms),
            Self::Minecraft(game) => game.settle(now_ms),
        }
    }
}

const TERRARIA_HELP: [&str; 8] = [
    "Available commands:",
    "help \t\t Displays a list of commands.",
    "playing \t Shows the list of players.",
    "exit \t\t Shutdown the server and save.",
    "exit-nosave \t Shutdown the server without saving.",
    "save \t\t Save the game world.",
    "kick <player> \t Kicks a player from the server.",
    "say <words> \t Send a message.",
];

impl Terraria {
    fn submit(&mut self, line: &str, moment: &Moment) -> Said {
        let (verb, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        if matches!(self.saving, Some((_, Then::End))) {
            return Said::default();
        }
        match verb.to_lowercase().as_str() {
            "" => Said { prompt: true, ..Said::default() },
            "playing" => Said::lines(self.playing()),
            "say" => {
                self.said.push(rest.to_owned());
                Said::line(format!("<Server> {rest}"))
            }
            "save" => self.save(moment, Then::Stay, 0),
            "exit" => self.save(moment, Then::End, 0),
            "exit-nosave" => Said { ended: Some(0), ..Said::default() },
            "kick" if rest.is_empty() => Said::line("Usage: kick <player>"),
            "kick" => {
                let found = self.players.iter().position(|(name, _)| name.eq_ignore_ascii_case(rest));
                Said::lines(found.map(|i| format!("{} has left.", self.players.remove(i).0)).into_iter().collect())
            }
            "time" => Said::line("Time: 8:15 AM"),
            "version" => Said::line("Terraria Server v1.4.4.9 - tModLoader v2024.9.3.1"),
            "maxplayers" => Said::line("Player limit: 8"),
            "port" => Said::line("Port: 7777"),
            "help" => Said::lines(TERRARIA_HELP.iter().map(|&l| l.to_owned()).collect()),
            "dawn" | "noon" | "dusk" | "midnight" | "settle" => Said { prompt: true, ..Said::default() },
            _ => Said::line("Invalid command."),
        }
    }

    fn playing(&self) -> Vec<String> {
        let count = match self.players.len() {
            0 => "No players connected.".to_owned(),
            1 => "1 player connected.".to_owned(),
            n => format!("{n} players connected."),
        };
        self.players.iter().map(|(name, at)| format!("{name} ({at})")).chain([count]).collect()
    }

    /// Begins a save after so many seconds; the world is written when the time has come, and not before.
    pub fn save(&mut self, moment: &Moment, then: Then, delay: u64) -> Said {
        let takes = moment.save_seconds.unwrap_or(self.save_seconds) + delay;
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let done = moment.after(takes as f64);
        self.saving = Some((done, then));
        Said { lines: vec!["Saving world data: 0%".to_owned()], ..Said::default() }
    }

    fn settle(&mut self, now_ms: i64) -> Said {
        let Some((_, then)) = self.saving.filter(|(due, _)| *due <= now_ms) else { return Said::default() };
        self.saving = None;
        self.saved_at = now_ms / 1000;
        let lines = ["Saving world data: 100%", "Validating world save: 100%", "Backing up world file"].map(str::to_owned).to_vec();
        match then {
            Then::Stay => Said::lines(lines),
            Then::End => Said { lines, prompt: false, ended: Some(0) },
        }
    }
}

fn stamp(text: &str, now_ms: i64) -> String {
    let clock = time::rfc3339(now_ms / 1000);
    let clock = clock.get(11..19).unwrap_or("00:00:00");
    format!("[{clock}] [Server thread/INFO] [minecraft/MinecraftServer]: {text}")
}

impl Minecraft {
    fn submit(&mut self, line: &str, moment: &Moment) -> Said {
        // Vanilla reads nothing before the world is loaded; the lines wait, and here they are lost with the start.
        if self.starting.is_some() || matches!(self.saving, Some((_, Then::End))) {
            return Said::default();
        }
        let line = line.trim().trim_start_matches('/');
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let answers = match verb {
            "" => vec![],
            "list" => {
                vec![format!("There are {} of a max of {} players online: {}", self.players.len(), self.max, self.players.join(", "))]
            }
            "say" if !rest.is_empty() => {
                self.said.push(rest.to_owned());
                vec![format!("[Not Secure] [Server] {rest}")]
            }
            "save-all" => {
                self.begin_save(moment, Then::Stay);
                vec!["Saving the game (this may take a moment!)".to_owned()]
            }
            "save-on" => vec!["Automatic saving is now enabled".to_owned()],
            "save-off" => vec!["Automatic saving is now disabled".to_owned()],
            "stop" => {
                self.begin_save(moment, Then::End);
                vec![
                    "Stopping the server".to_owned(),
                    "Stopping server".to_owned(),
                    "Saving players".to_owned(),
                    "Saving worlds".to_owned(),
                ]
            }
            "op" if !rest.is_empty() => vec![self.op(rest)],
            "deop" if !rest.is_empty() => vec![self.deop(rest)],
            _ => vec!["Unknown or incomplete command, see below for error".to_owned(), format!("{line}<--[HERE]")],
        };
        Said { lines: answers.iter().map(|a| stamp(a, moment.now_ms)).collect(), ..Said::default() }
    }

    fn op(&mut self, name: &str) -> String {
        if self.ops.iter().any(|op| op == name) {
            return "Nothing changed. The player already is an operator".to_owned();
        }
        self.ops.push(name.to_owned());
        format!("Made {name} a server operator")
    }

    fn deop(&mut self, name: &str) -> String {
        let before = self.ops.len();
        self.ops.retain(|op| op != name);
        if self.ops.len() == before {
            "Nothing changed. The player is not an operator".to_owned()
        } else {
            format!("Made {name} no longer a server operator")
        }
    }

    fn begin_save(&mut self, moment: &Moment, then: Then) {
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let takes = moment.save_seconds.unwrap_or(self.save_seconds) as f64;
        self.saving = Some((moment.after(takes), then));
    }

    fn settle(&mut self, now_ms: i64) -> Said {
        let mut said = Said::default();
        if self.starting.is_some_and(|due| due <= now_ms) {
            self.starting = None;
            said.lines.push(stamp("Done (31.402s)! For help, type \"help\"", now_ms));
        }
        if let Some((_, then)) = self.saving.filter(|(due, _)| *due <= now_ms) {
            self.saving = None;
            self.saved_at = now_ms / 1000;
            let last = if then == Then::End { "All dimensions are saved" } else { "Saved the game" };
            said.lines.push(stamp(last, now_ms));
            said.ended = (then == Then::End).then_some(0);
        }
        said
    }
}
