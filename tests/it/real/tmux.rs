//! A real tmux server of its own, whose default socket only those find who share its environment.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::super::process::{signal, tree, wait_until};
use super::{needs, run};

/// A tmux server with one session or more.
pub struct Tmux {
    dir: tempfile::TempDir,
    pid: u32,
}

impl Tmux {
    /// A server with the session `name`, in which `command` runs; `None` when the test is to be skipped.
    #[track_caller]
    pub fn start(name: &str, command: &str) -> Option<Self> {
        needs(["tmux"])?;
        let dir = tempfile::Builder::new().prefix("pmx-tmux-").tempdir().expect("a temporary directory can be made");
        run(&mut tmux(dir.path(), &new_session(name, command)));
        let pid = run(&mut tmux(dir.path(), &["display-message", "-p", "-t", &format!("={name}:"), "#{pid}"]));
        Some(Self { pid: pid.trim().parse().expect("tmux tells its process id"), dir })
    }

    /// Another session of the same server.
    pub fn session(&self, name: &str, command: &str) {
        run(&mut self.client(&new_session(name, command)));
    }

    /// The ordinary client with `arguments`.
    pub fn client(&self, arguments: &[&str]) -> Command {
        tmux(self.dir.path(), arguments)
    }

    /// What makes a plain `tmux` elsewhere, behind an sshd say, find this server.
    pub fn environment(&self) -> Vec<(String, String)> {
        vec![("TMUX_TMPDIR".to_owned(), self.dir.path().display().to_string())]
    }

    /// The text of a session's screen.
    pub fn screen(&self, name: &str) -> String {
        run(&mut self.client(&["capture-pane", "-p", "-t", &format!("={name}:")]))
    }

    /// Types a line into a session, letter by letter, and enter.
    pub fn line(&self, name: &str, text: &str) {
        let target = format!("={name}:");
        run(&mut self.client(&["send-keys", "-t", &target, "-l", "--", text]));
        run(&mut self.client(&["send-keys", "-t", &target, "Enter"]));
    }

    /// Waits until a session's screen shows `text`.
    #[track_caller]
    pub fn wait_for(&self, name: &str, text: &str) {
        wait_until(&format!("session {name} shows `{text}`"), Duration::from_secs(10), || self.screen(name).contains(text));
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        signal("KILL", &tree(self.pid));
    }
}

fn new_session<'a>(name: &'a str, command: &'a str) -> [&'a str; 9] {
    ["new-session", "-d", "-x", "160", "-y", "50", "-s", name, command]
}

fn tmux(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("tmux");
    // No configuration of the machine, and no server that the caller sits in.
    command.args(["-f", "/dev/null"]).args(arguments).env("TMUX_TMPDIR", dir).env_remove("TMUX").env("TERM", "xterm");
    command
}
