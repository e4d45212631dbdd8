//! The console of a Terraria server: a tmux pane inside its container.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::console::{Audience, keystrokes};
use crate::model::contract::{Context, Failure};
use crate::model::remote::{LOOK, Remote};
use crate::model::wait::Wait;
use crate::wire::command::Command;
use crate::wire::ssh::Exec;

/// The wait for an answer.
pub const PHASE: &str = "the server's console to answer";
/// Its deadline.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// What the console answers to `kick` without a name: always the same, so it marks the end of what was asked before.
const FENCE: &str = "Usage: kick <player>";
/// Questions asked when the pane forgot its oldest lines in between.
const QUESTIONS: u32 = 2;

/// Whether there is a server to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The container runs.
    Runs,
    /// The container is there and does not run.
    Stopped,
    /// There is no such container.
    Missing,
}

/// What a console told of its server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Players {
    /// How many play.
    pub count: u32,
    /// Their names, in the server's order.
    pub names: Vec<String>,
    /// How many may play, if it told.
    pub max: Option<u32>,
    /// Its version, if it told.
    pub version: Option<String>,
}

/// The console of one container.
pub struct Console<'a> {
    /// The host that the container is on.
    pub remote: &'a Remote<'a>,
    container: &'a str,
}

impl<'a> Console<'a> {
    /// The console in `container`.
    pub fn new(remote: &'a Remote<'a>, container: &'a str) -> Self {
        Self { remote, container }
    }

    /// Whether the container runs.
    pub async fn find(&self) -> Result<Found, Failure> {
        let command = Command::new("docker").args(["inspect", "--type", "container", "--format", "{{.State.Running}}", self.container]);
        let output = self.remote.look(command).await?;
        match (output.status, output.stdout.trim()) {
            (0, "true") => Ok(Found::Runs),
            (0, _) => Ok(Found::Stopped),
            _ if output.stderr.to_ascii_lowercase().contains("no such") => Ok(Found::Missing),
            _ => Err(self.remote.failed(&format!("`docker inspect {}`", self.container), &output)),
        }
    }

    fn tmux(&self, words: &[&str]) -> Command {
        Command::new("docker").args(["exec", self.container, "tmux"]).args(words.iter().copied())
    }

    /// Types lines and submits each, in one go.
    pub async fn type_lines(&self, lines: &[&str]) -> Result<(), Failure> {
        let words = keystrokes(None, lines)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = self.remote.act(Exec::new(self.tmux(&words), LOOK)).await?;
        if output.status != 0 {
            return Err(self.remote.failed(&format!("typing into the console of `{}`", self.container), &output));
        }
        Ok(())
    }

    /// The pane with all it remembers; `None` when there is no tmux, or none with a session.
    async fn screen(&self) -> Result<Option<String>, Failure> {
        let output = self.remote.look(self.tmux(&["capture-pane", "-p", "-S", "-"])).await?;
        Ok((output.status == 0).then_some(output.stdout))
    }

    /// Asks who plays; `None` when the console does not answer in time.
    pub async fn players(&self) -> Result<Option<Players>, Failure> {
        for _ in 0..QUESTIONS {
            let Some(before) = self.screen().await?.map(|screen| fences(&screen)) else { return Ok(None) };
            self.type_lines(&["maxplayers", "version", "playing", "kick"]).await?;
            match self.answer(before).await? {
                Answer::Told(screen) => return Ok(read(&screen)),
                Answer::Silent => return Ok(None),
                Answer::Scrolled => {}
            }
        }
        Ok(None)
    }

    /// Waits for one fence more than there were. Fewer mean that the pane dropped its oldest lines, and the counting begins anew.
    async fn answer(&self, before: usize) -> Result<Answer, Failure> {
        let mut wait = Wait::begin(self.remote.ctx, PHASE, DEADLINE, (Duration::from_millis(100), Duration::from_secs(1)));
        while wait.again("the console has not answered yet").await? {
            let Some(screen) = self.screen().await? else { return Ok(Answer::Silent) };
            match fences(&screen) {
                now if now > before => return Ok(Answer::Told(screen)),
                now if now < before => return Ok(Answer::Scrolled),
                _ => {}
            }
        }
        Ok(Answer::Silent)
    }
}

impl Audience for Console<'_> {
    type Present = Players;
    fn ctx(&self) -> &Context {
        self.remote.ctx
    }
    async fn tell(&self, text: &str) -> Result<(), Failure> {
        self.type_lines(&[&format!("say {text}")]).await
    }
    async fn present(&self) -> Result<Option<Players>, Failure> {
        self.players().await
    }
    fn nobody(present: &Players) -> bool {
        present.count == 0
    }
}

enum Answer {
    Told(String),
    Scrolled,
    Silent,
}

fn fences(screen: &str) -> usize {
    screen.lines().filter(|line| fence(line)).count()
}

/// Whether the console says it; what players say begins with `<` and their name.
fn fence(line: &str) -> bool {
    let line = line.trim_start_matches([':', ' ']);
    line.contains(FENCE) && !line.starts_with('<')
}

/// Reads the answer before the last fence: names with addresses, then their number. `None` when the number is not there.
fn read(screen: &str) -> Option<Players> {
    // The console writes its prompt, `: `, in front of whatever comes next.
    let lines: Vec<&str> = screen.lines().map(|line| line.trim_start_matches([':', ' ']).trim_end()).collect();
    let end = lines.iter().rposition(|line| fence(line))?;
    let start = lines[..end].iter().rposition(|line| fence(line)).map_or(0, |at| at + 1);
    let answer = &lines[start..end];
    let (at, count) = answer.iter().enumerate().rev().find_map(|(at, line)| Some((at, number(line)?)))?;
    // Chat may stand between the names, so lines that are none are passed over.
    let mut names: Vec<String> = answer[..at].iter().rev().filter_map(|line| name(line)).take(count as usize).collect();
    names.reverse();
    let max = answer.iter().rev().find_map(|line| line.strip_prefix("Player limit: ")?.parse().ok());
    let version = answer.iter().rev().find_map(|line| line.strip_prefix("Terraria Server v")).map(|version| format!("v{version}"));
    Some(Players { count, names, max, version })
}

/// `No players connected.`, `1 player connected.`, `12 players connected.`
fn number(line: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["No", "players", "connected."] => Some(0),
        [count, "player" | "players", "connected."] => count.parse().ok(),
        _ => None,
    }
}

/// `Name (ip:port)`; names may hold spaces and brackets, chat begins with `<`.
fn name(line: &str) -> Option<String> {
    let (name, address) = line.strip_suffix(')')?.rsplit_once(" (")?;
    let (ip, port) = address.rsplit_once(':')?;
    let good = ip.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() && port.parse::<u16>().is_ok();
    (good && !name.is_empty() && !name.starts_with('<')).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_between_the_last_two_fences_counts() {
        let screen = ": playing\nOld (10.0.0.1:5)\n1 player connected.\n: kick\nUsage: kick <player>\n: playing\n: Keeb the 2nd (10.0.0.20:51234)\n\
                      <Keeb the 2nd> hi (1.2.3.4:5)\nBo(b) ([2001:db8::1]:9)\n2 players connected.\n: kick\n: Usage: kick <player>\n: ";
        let players = read(screen).unwrap();
        assert_eq!((players.count, players.names), (2, vec!["Keeb the 2nd".to_owned(), "Bo(b)".to_owned()]));
    }

    #[test]
    fn players_cannot_speak_for_the_console() {
        let screen = ": Usage: kick <player>\n: playing\nAnn (10.0.0.1:5)\n<Ann> No players connected.\n: <Ann> Usage: kick <player>\n1 player connected.\n";
        assert_eq!(fences(screen), 1);
        let players = read(&format!("{screen}: kick\n: Usage: kick <player>\n<Ann> Usage: kick <player>\n")).unwrap();
        assert_eq!((players.count, players.names), (1, vec!["Ann".to_owned()]));
    }

    #[test]
    fn an_answer_without_a_number_is_unknown_and_no_players_is_none() {
        assert_eq!(read("Usage: kick <player>"), None);
        assert_eq!(read(": playing\nError\n: kick\nUsage: kick <player>"), None);
        assert_eq!(read(": No players connected.\n: Usage: kick <player>"), Some(Players::default()));
    }

    #[test]
    fn screens_are_read_or_passed_over_however_spoiled() {
        let screen = format!(
            ": Keeb (10.0.0.9:51234)\nSa (b) le ([fd00::7]:1)\n2 players connected.\nPlayer limit: 8\nTerraria Server v1.4.4.9\n: {FENCE}\n"
        );
        crate::walks::feed(&[screen, format!("No players connected.\n{FENCE}\n")], |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let players = read(&text).ok_or("no answer")?;
            assert!(players.names.len() <= text.lines().count());
            Ok(())
        });
    }
}
