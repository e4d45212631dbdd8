//! Talking with a server: by ping, by RCON, or by the console in its session, each where the one before says nothing.

use std::time::Duration;

use crate::model::console::{Audience, one_line};
use crate::model::contract::{Context, Failure, FailureKind};
use crate::model::minecraft::server::ping::{PingError, ping};
use crate::model::minecraft::server::rcon::{Door, RconError, run};
use crate::model::minecraft::server::session::{Seen, Session, message};
use crate::model::minecraft::server::{Globals, Players, Server};
use crate::model::remote::Remote;
use crate::model::wait::Wait;

/// The wait for an answer.
pub const PHASE: &str = "the server's console to answer";
/// Its deadline.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// One server, and all ways to it.
pub struct Console<'a> {
    /// Its session.
    pub session: Session<'a>,
    globals: &'a Globals,
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it said until then, a message a line.
    pub lines: Vec<String>,
    /// Who plays.
    pub players: Players,
}

impl<'a> Console<'a> {
    /// The server of a definition.
    pub fn new(remote: &'a Remote<'a>, globals: &'a Globals) -> Self {
        Self { session: Session::new(remote, globals), globals }
    }

    fn remote(&self) -> &'a Remote<'a> {
        self.session.remote
    }

    /// Asks by ping.
    pub async fn ping(&self) -> Result<Players, PingError> {
        ping(self.remote().ctx, &self.remote().target.host, self.globals.port).await
    }

    /// The server's state, by whatever way tells it.
    pub async fn observe(&self) -> Result<Server, Failure> {
        if let Ok(players) = self.ping().await {
            return Ok(Server::up(Some(&self.named(players).await?)));
        }
        let seen = self.session.look().await?;
        if seen.jvm().is_none() && !seen.listening {
            return Ok(Server::down());
        }
        Ok(Server::up(self.ask(&seen, &[]).await?.map(|answer| answer.players).as_ref()))
    }

    /// A ping tells at most twelve names, and none when they are hidden: the console knows them all.
    async fn named(&self, players: Players) -> Result<Players, Failure> {
        if players.names.len() >= players.online as usize {
            return Ok(players);
        }
        let asked = async { self.ask(&self.session.look().await?, &[]).await };
        match asked.await {
            Ok(Some(answer)) => Ok(Players { names: answer.players.names, online: answer.players.online, ..players }),
            Err(failure) if failure.kind == FailureKind::Cancelled => Err(failure),
            // The ping alone is worth telling.
            Ok(None) | Err(_) => Ok(players),
        }
    }

    /// Gives commands and asks who plays behind them. `None` when nobody answers in time; then nothing but `list` was typed into whatever is there, unless
    /// it is known to be a console.
    pub async fn ask(&self, seen: &Seen, commands: &[&str]) -> Result<Option<Answer>, Failure> {
        commands.iter().try_for_each(|command| one_line(command))?;
        match self.by_rcon(commands, DEADLINE).await? {
            Some(Some(answer)) => return Ok(Some(answer)),
            // Given once is enough.
            Some(None) if !commands.is_empty() => {
                let message = format!(
                    "{}: the server took `{}` by RCON, but tells nobody who plays",
                    self.remote().target.host,
                    commands.join("`, `")
                );
                return Err(Failure::theirs(message).maybe_acted().help("a plugin answers `list` in words of its own"));
            }
            Some(None) | None => {}
        }
        let Some(jvm) = seen.jvm() else { return Ok(None) };
        let (before, lines) = (self.session.mark().await?, [commands, &["list"]].concat());
        self.session.type_lines(&jvm, &lines).await?;
        let mut wait = Wait::begin(self.remote().ctx, PHASE, DEADLINE, (Duration::from_millis(100), Duration::from_secs(1)));
        while wait.again("the console has not answered yet").await? {
            let text = self.session.since(&before).await?;
            if let Some(answer) = read(&text) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// The same by RCON; `None` when there is none, and no answer in it when the server took the commands and told nothing that makes sense.
    pub async fn by_rcon(&self, commands: &[&str], deadline: Duration) -> Result<Option<Option<Answer>>, Failure> {
        let Some(password) = &self.globals.rcon else { return Ok(None) };
        let door = Door { host: &self.remote().target.host, port: self.globals.rcon_port, password };
        match run(self.remote().ctx, &door, &[commands, &["list"]].concat(), deadline).await {
            Ok(answers) => Ok(Some(read(&answers.join("\n")))),
            Err(RconError::Absent) => Ok(None),
            Err(RconError::Failed(failure)) => Err(failure),
        }
    }

    /// The failure of a server that gives no answer.
    pub fn silent(&self, what: &str) -> Failure {
        let host = &self.remote().target.host;
        Failure::theirs(format!("{host}: the server in the tmux session `{}` does not answer{what}", self.session.name()))
            .help("it may still load its world; or logPath is not its log, or what runs in the session is no console")
    }
}

impl Audience for Console<'_> {
    type Present = Players;
    fn ctx(&self) -> &Context {
        self.remote().ctx
    }
    async fn tell(&self, text: &str) -> Result<(), Failure> {
        let line = format!("say {text}");
        if self.by_rcon(&[&line], DEADLINE).await?.is_some() {
            return Ok(());
        }
        let jvm = self.session.look().await?.jvm().ok_or_else(|| self.silent(" any more"))?;
        self.session.type_lines(&jvm, &[&line]).await
    }
    async fn present(&self) -> Result<Option<Players>, Failure> {
        match self.ping().await {
            Ok(players) => Ok(Some(players)),
            Err(_) => Ok(self.ask(&self.session.look().await?, &[]).await?.map(|answer| answer.players)),
        }
    }
    fn nobody(present: &Players) -> bool {
        present.online == 0
    }
}

/// Everything up to the first answer to `list`; `None` when there is none yet.
fn read(text: &str) -> Option<Answer> {
    let lines: Vec<&str> = text.lines().map(message).collect();
    let at = lines.iter().position(|line| line.starts_with("There are "))?;
    let rest = lines[at].strip_prefix("There are ")?;
    let (counts, names) = rest.split_once("online")?;
    // Plugins that say it in a sentence name nobody in it.
    let (listed, names) = (names.starts_with(':'), names.trim_start_matches([':', '.']));
    let numbers: Vec<u32> = counts.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let (online, max) = (*numbers.first()?, numbers.get(1).copied());
    // Servers before 1.13 put the names on a line of their own.
    let names = if listed && names.trim().is_empty() && online > 0 { lines.get(at + 1)? } else { names };
    let names: Vec<String> = names.split(", ").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let said = lines[..at].iter().filter(|line| !line.is_empty()).map(|line| (*line).to_owned());
    Some(Answer { lines: said.collect(), players: Players { online, max, names, version: None } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_list_are_read_and_chat_is_not() {
        let now = "[12:00:01] [Server thread/INFO]: <Eve> There are 0 of a max of 20 players online: \n\
                   [12:00:01] [Server thread/INFO]: Made Keeb a server operator\n\
                   [12:00:02] [Server thread/INFO]: There are 2 of a max of 20 players online: Keeb, Sable\n";
        let answer = read(now).unwrap();
        assert_eq!((answer.players.online, answer.players.max, answer.players.names.join("+")), (2, Some(20), "Keeb+Sable".to_owned()));
        assert_eq!(answer.lines[1], "Made Keeb a server operator");
        let old = "[12:00:02] [Server thread/INFO]: There are 1/20 players online:\n[12:00:02] [Server thread/INFO]: Keeb\n";
        assert_eq!(read(old).unwrap().players.names, ["Keeb"]);
        assert_eq!(read(old.lines().next().unwrap()), None, "the names are still to come");
        let sentence = read("[12:00:02 INFO]: There are 3 out of maximum 20 players online.\n[12:00:02 INFO]: default: Keeb, Sable, Eve\n")
            .unwrap()
            .players;
        assert_eq!((sentence.online, sentence.max, sentence.names.len()), (3, Some(20), 0));
        assert_eq!(read("sh: 1: list: not found\n"), None);
        assert_eq!(read("[12:00:02 INFO]: There are 0 of a max of 20 players online: ").unwrap().players.online, 0);
    }

    #[test]
    fn logs_are_read_or_passed_over_however_spoiled() {
        let seeds = [
            "[12:00:02] [Server thread/INFO]: There are 2 of a max of 20 players online: Keeb, Sable\n",
            "[12:00:02] [Server thread/INFO]: There are 1/20 players online:\n[12:00:02] [Server thread/INFO]: Keeb\n",
        ];
        crate::walks::feed(&seeds, |bytes| read(&String::from_utf8_lossy(bytes)).map(drop).ok_or_else(|| "no answer".to_owned()));
    }
}
