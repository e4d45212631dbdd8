//! A Minecraft server in a tmux session behind a real sshd: the network side is the npm package minecraft-protocol, the console a stand-in.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::process::{marked, signal, wait_until};
use super::sshd::{Sshd, Wanted};
use super::{needs, present, run};

const SERVER: &str = include_str!("minecraft/server.js");
/// How the session that a definition names by default runs its server.
const ONCE: &str = "./java server.js nogui\n";
/// As the start scripts of large packs do it.
const FOR_EVER: &str = "while :; do\n  ./java server.js nogui\n  echo Restarting in 60 seconds\n  sleep 60\ndone\n";

/// A host with server folders; its tmux server has a socket of its own.
pub struct Minecraft {
    /// The way in.
    pub sshd: Sshd,
    tmux: tempfile::TempDir,
    node: PathBuf,
    modules: PathBuf,
}

/// One server folder on it.
pub struct Game<'a> {
    host: &'a Minecraft,
    /// The folder's name in the home, and the session's.
    pub name: String,
    /// The port that players connect to.
    pub port: u16,
    /// The port for RCON.
    pub rcon: u16,
}

/// Where npm packages for the tests are, `minecraft-protocol` among them.
#[track_caller]
fn modules() -> Option<PathBuf> {
    let cache = |name: &str, below: &str| std::env::var(name).ok().map(|root| Path::new(&root).join(below));
    let places = [cache("PMX_CI_CACHE", "node"), cache("HOME", ".cache/pmx-ci/node")];
    let found =
        places.into_iter().flatten().map(|place| place.join("node_modules")).find(|place| place.join("minecraft-protocol").is_dir());
    present("minecraft-protocol for Node (.ci/run installs it)", found)
}

impl Minecraft {
    /// A host; `None` when the test is to be skipped.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::with(Wanted::default())
    }

    /// A host with an sshd as wanted.
    #[track_caller]
    pub fn with(wanted: Wanted) -> Option<Self> {
        let [_tmux] = needs(["tmux"])?;
        let modules = modules()?;
        let own = modules.parent().map(|cache| cache.join("bin/node")).filter(|node| node.is_file());
        let node = match own {
            Some(node) => node,
            None => {
                let [node] = needs(["node"])?;
                node
            }
        };
        let tmux = tempfile::Builder::new().prefix("pmx-mc-").tempdir().expect("a temporary directory can be made");
        let sshd = wanted.env([("TMUX_TMPDIR".to_owned(), tmux.path().display().to_string())]).start()?;
        Some(Self { sshd, tmux, node, modules })
    }

    /// A server folder of the name, not started.
    pub fn game(&self, name: &str) -> Game<'_> {
        let free = || {
            let socket = std::net::TcpListener::bind((self.sshd.address.as_str(), 0)).and_then(|socket| socket.local_addr());
            socket.expect("a loopback address has a free port").port()
        };
        let game = Game { host: self, name: name.to_owned(), port: free(), rcon: free() };
        std::fs::create_dir_all(game.path("")).expect("a folder can be made");
        let link = |from: &Path, to: &str| std::os::unix::fs::symlink(from, game.path(to)).expect("a link can be made");
        link(&self.node, "java");
        link(&self.modules, "node_modules");
        game.write("server.js", SERVER);
        game.properties(&[]);
        game.stand_in(json!({}));
        game.script(ONCE);
        game
    }

    /// Runs tmux as somebody on the host would.
    #[track_caller]
    pub fn tmux(&self, arguments: &[&str]) -> String {
        run(&mut self.client(arguments))
    }

    /// Whether the session is there, by its whole name.
    pub fn has(&self, session: &str) -> bool {
        self.client(&["has-session", "-t", &format!("={session}")]).output().is_ok_and(|out| out.status.success())
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null"]).args(arguments);
        command.env("TMUX_TMPDIR", self.tmux.path()).env("HOME", self.sshd.home()).env_remove("TMUX").env("TERM", "xterm");
        command
    }
}

impl Drop for Minecraft {
    fn drop(&mut self) {
        // The tmux server, all that runs in its sessions, and what pmx left on the host.
        signal("KILL", &marked(&format!("TMUX_TMPDIR={}", self.tmux.path().display())));
    }
}

impl Game<'_> {
    /// A path in the server's folder.
    pub fn path(&self, path: &str) -> PathBuf {
        self.host.sshd.home().join(&self.name).join(path)
    }

    /// The text of a file there; empty when there is none.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Writes a file there.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }

    /// Writes server.properties: the ordinary ones, then `more`.
    pub fn properties(&self, more: &[(&str, &str)]) {
        let ports = (self.port.to_string(), self.rcon.to_string());
        let fixed =
            [("server-ip", self.host.sshd.address.as_str()), ("server-port", &ports.0), ("rcon.port", &ports.1), ("max-players", "20")];
        self.write("server.properties", &fixed.iter().chain(more).map(|(key, value)| format!("{key}={value}\n")).collect::<String>());
    }

    /// How the stand-in behaves from now on.
    pub fn stand_in(&self, how: Value) {
        self.write("standin.new", &how.to_string());
        std::fs::rename(self.path("standin.new"), self.path("standin.json")).expect("a file can be renamed");
    }

    /// Who plays, from now on.
    pub fn players(&self, names: &[&str]) {
        self.stand_in(json!({ "players": names }));
    }

    fn script(&self, lines: &str) {
        self.write("startserver.sh", &format!("#!/bin/sh\n{lines}"));
        run(Command::new("chmod").arg("755").arg(self.path("startserver.sh")));
    }

    /// With a start script that starts the server again when it has ended.
    pub fn for_ever(&self) {
        self.script(FOR_EVER);
    }

    /// Starts the server in its session as somebody on the host would, with a shell under it, and waits until it lets players in.
    #[track_caller]
    pub fn begin(&self) {
        self.shell();
        self.line("./startserver.sh");
        self.done();
    }

    /// Opens the session with nothing but a shell in it.
    #[track_caller]
    pub fn shell(&self) {
        let dir = self.path("").display().to_string();
        self.host.tmux(&["new-session", "-d", "-x", "200", "-y", "50", "-s", &self.name, "-c", &dir, "exec sh"]);
    }

    /// Types a line into the session and submits it.
    #[track_caller]
    pub fn line(&self, text: &str) {
        let target = format!("={}:", self.name);
        self.host.tmux(&["send-keys", "-t", &target, "-l", "--", text]);
        self.host.tmux(&["send-keys", "-t", &target, "Enter"]);
    }

    /// Waits until the server says that it is done with starting.
    #[track_caller]
    pub fn done(&self) {
        wait_until("the server is done with starting", Duration::from_secs(60), || self.read("logs/latest.log").contains("Done ("));
    }

    /// What the session shows.
    #[track_caller]
    pub fn screen(&self) -> String {
        self.host.tmux(&["capture-pane", "-p", "-t", &format!("={}:", self.name)])
    }

    /// The process of the server that was started last.
    pub fn pid(&self) -> u32 {
        self.read("pid").parse().unwrap_or(0)
    }

    /// Whether that process lives.
    pub fn lives(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.contains(" (java) ") && !stat.contains(") Z ")
    }

    /// What came in by one way (`console`, `rcon`, `upset`), in order.
    pub fn heard(&self, way: &str) -> Vec<String> {
        let lines = self.read("heard");
        let rows = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|row| row["way"] == way);
        rows.filter_map(|row| row["text"].as_str().map(str::to_owned)).collect()
    }

    /// What came in by the console and is no question who plays.
    pub fn orders(&self) -> Vec<String> {
        self.heard("console").into_iter().filter(|line| line != "list").collect()
    }
}
