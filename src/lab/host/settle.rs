//! Time inside a machine: what was begun and is due by now.

use super::HostState;
use super::console::{Program, Said};
use super::tmux::Session;

impl HostState {
    /// Brings the machine to now: saves end, servers start and stop. Cheap; called before anything looks.
    pub fn settle(&mut self, now_ms: i64) {
        for container in self.docker.containers.values_mut().filter(|c| c.running()) {
            container.settle(now_ms);
        }
        let mut logs = Vec::new();
        let host = self.hostname.clone();
        for (_, session) in self.tmux.all_mut() {
            let said = session.program.settle(now_ms);
            session.print(said.lines.clone());
            logs.extend(note(session, &said, &host));
        }
        for (path, text) in logs {
            self.write_log(&path, &text);
        }
        let done = |session: &Session| session.one_command && session.program == Program::Shell;
        self.tmux.sessions.retain(|_, session| !done(session));
        self.tmux.others.values_mut().for_each(|sessions| sessions.retain(|_, session| !done(session)));
    }

    /// Adds to a log file, made with its directory when it is not there; a full disk loses the lines, as it does.
    pub fn write_log(&mut self, path: &str, text: &str) {
        let dir = super::files::split(path).0.to_owned();
        if self.files.mkdir_all(&dir, 0o755).is_ok() {
            self.files.append(path, text.as_bytes(), 0o644).ok();
        }
    }
}

/// What a game said, for its log file; and the shell comes back when the game ended.
pub fn note(session: &mut Session, said: &Said, host: &str) -> Option<(String, String)> {
    let log = match &session.program {
        Program::Minecraft(game) if !said.lines.is_empty() => {
            Some((format!("{}/logs/latest.log", game.dir), said.lines.iter().map(|l| format!("{l}\n")).collect()))
        }
        _ => None,
    };
    if said.ended.is_some() {
        session.program = Program::Shell;
        session.show_prompt(host);
    }
    log
}
