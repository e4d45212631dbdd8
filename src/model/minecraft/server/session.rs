//! The tmux session that a server runs in, its processes, and the log that it writes: everything that is seen and done on the host.

use crate::model::console::keystrokes;
use crate::model::contract::Failure;
use crate::model::minecraft::server::Globals;
use crate::model::remote::{LOOK, Remote};
use crate::model::wait::undeterred;
use crate::wire::command::{Command, quote, quote_path};
use crate::wire::ssh::Exec;

/// What a pane runs while nobody uses it.
const SHELLS: [&str; 8] = ["sh", "ash", "bash", "dash", "zsh", "ksh", "fish", "busybox"];
/// The program of a server.
const JVM: &str = "java";

/// The session of one server.
pub struct Session<'a> {
    /// The host.
    pub remote: &'a Remote<'a>,
    /// tmux's exact target: a bare name would also mean the sessions that begin with it.
    target: String,
    log: String,
    globals: &'a Globals,
}

/// A server's process. Numbers are used again, so the moment of its start belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jvm {
    /// Its number.
    pub pid: u32,
    /// Its start, in the kernel's ticks since boot; 0 when it is not known.
    start: u64,
}

/// What was seen of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Number and foreground program of each pane.
    panes: Vec<(u32, String)>,
    processes: Vec<Process>,
    /// Whether anybody listens on the game's port.
    pub listening: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    name: String,
    start: u64,
}

impl Seen {
    /// Whether the session is there.
    pub fn session(&self) -> bool {
        !self.panes.is_empty()
    }

    /// The server's process in it.
    pub fn jvm(&self) -> Option<Jvm> {
        let process = self.processes.iter().find(|process| process.name == JVM);
        // Where the kernel shows no processes, tmux still knows what is in front.
        let pane = || self.panes.iter().find(|(_, command)| command == JVM).map(|(pid, _)| Jvm { pid: *pid, start: 0 });
        process.map(|process| Jvm { pid: process.pid, start: process.start }).or_else(pane)
    }

    /// Whether only shells wait in it for somebody to type.
    pub fn idle(&self) -> bool {
        let shell = |name: &str| SHELLS.contains(&name);
        let quiet = self.processes.iter().all(|process| shell(&process.name) && self.panes.iter().any(|(pid, _)| *pid == process.pid));
        self.session() && quiet && (!self.processes.is_empty() || self.panes.iter().all(|(_, command)| shell(command)))
    }

    /// What runs in it, for messages.
    pub fn programs(&self) -> String {
        let mut names: Vec<&str> = self.processes.iter().map(|process| process.name.as_str()).collect();
        names.extend(self.panes.iter().map(|(_, command)| command.as_str()).filter(|_| self.processes.is_empty()));
        names.dedup();
        names.join(", ")
    }

    fn read(text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("pane", rest) => {
                    let pane = rest.split_once(' ').and_then(|(pid, command)| Some((pid.parse().ok()?, command.trim().to_owned())));
                    seen.panes.extend(pane);
                }
                ("process", stat) => seen.processes.extend(process(stat)),
                ("listening", _) => seen.listening = true,
                _ => {}
            }
        }
        seen
    }
}

/// A line of `/proc/PID/stat`; the name stands in brackets and may hold anything.
fn process(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let start = rest.split(' ').nth(19)?.parse().ok()?;
    Some(Process { pid: pid.parse().ok()?, name: name.to_owned(), start })
}

/// Where a log ended: the file and its size then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    inode: String,
    size: u64,
}

/// Looks at one session: its panes, the processes whose kernel session is a pane's, and who listens on the game's port.
const LOOK_SCRIPT: &str = r#"panes=$(tmux list-panes -s -t TARGET -F 'pane #{pane_pid} #{pane_current_command}' 2>/dev/null)
printf '%s\n' "$panes"
pids=$(printf '%s\n' "$panes" | cut -d ' ' -f 2)
pids=" $(echo $pids) "
for stat in /proc/[0-9]*/stat; do
  read -r line <"$stat" || continue
  set -- ${line##*) }
  case $pids in *" $4 "*) printf 'process %s\n' "$line" ;; esac
done 2>/dev/null
grep -qs ':PORT [0-9A-F:]* 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null && echo listening
true"#;

/// The log's file and size, then what it holds beyond a mark; all of it when it is another file by now.
const SINCE_SCRIPT: &str = r#"set -- $(stat -L -c '%i %s' PATH 2>/dev/null)
from=1
[ "${1:-}" = INODE ] && [ "${2:-0}" -ge SIZE ] && from=$((SIZE + 1))
[ -n "${1:-}" ] && tail -c "+$from" PATH
true"#;

impl<'a> Session<'a> {
    /// The session of a definition.
    pub fn new(remote: &'a Remote<'a>, globals: &'a Globals) -> Self {
        Self { remote, target: format!("={}:", globals.tmux_session), log: globals.log(), globals }
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.globals.tmux_session
    }

    /// Looks at it.
    pub async fn look(&self) -> Result<Seen, Failure> {
        let target = quote(&self.target).map_err(|e| Failure::yours(e.to_string()))?;
        let script = LOOK_SCRIPT.replace("TARGET", &target).replace("PORT", &format!("{:04X}", self.globals.port));
        let output = self.remote.look(Command::script(script)).await?;
        if output.status != 0 {
            return Err(self.remote.failed("looking at the server's session", &output));
        }
        Ok(Seen::read(&output.stdout))
    }

    /// Where the log ends now.
    pub async fn mark(&self) -> Result<Mark, Failure> {
        let path = self.log_path()?;
        let output = self.remote.look(Command::script(format!("stat -L -c '%i %s' {path} 2>/dev/null || true"))).await?;
        let mut words = output.stdout.split_whitespace();
        let inode = words.next().unwrap_or("none").to_owned();
        Ok(Mark { inode, size: words.next().and_then(|size| size.parse().ok()).unwrap_or(0) })
    }

    /// What the log got since: a server that starts anew begins another file, and nothing of the old one counts.
    pub async fn since(&self, mark: &Mark) -> Result<String, Failure> {
        let path = self.log_path()?;
        let script = SINCE_SCRIPT.replace("PATH", &path).replace("INODE", &mark.inode).replace("SIZE", &mark.size.to_string());
        Ok(self.remote.look(Command::script(script)).await?.stdout)
    }

    fn log_path(&self) -> Result<String, Failure> {
        quote_path(&self.log).map_err(|e| Failure::yours(e.to_string()))
    }

    fn tmux(&self, words: &[&str]) -> Command {
        Command::new("tmux").args(words.iter().copied())
    }

    /// Types lines into it and submits each.
    pub async fn type_lines(&self, lines: &[&str]) -> Result<(), Failure> {
        let words = keystrokes(Some(&self.target), lines)?;
        self.done("typing into", Command::new("tmux").args(words)).await
    }

    /// Types a line whether or not the run is being cancelled, and whether or not it works: for what must not be left as it is.
    pub async fn insist(&self, line: &str) {
        let ctx = undeterred(self.remote.ctx, LOOK);
        let remote = Remote { ctx: &ctx, target: self.remote.target.clone() };
        let again = Session { remote: &remote, target: self.target.clone(), log: self.log.clone(), globals: self.globals };
        if let Err(failure) = again.type_lines(&[line]).await {
            ctx.reporter.warn(&format!("`{line}` could not be typed: {failure}"));
        }
    }

    /// Presses ctrl-c in it. Never while a server runs there: a JVM would end unsaved.
    pub async fn interrupt(&self) -> Result<(), Failure> {
        self.done("ending what is left of", self.tmux(&["send-keys", "-t", &self.target, "C-c"])).await
    }

    /// Ends it.
    pub async fn end(&self) -> Result<(), Failure> {
        self.done("ending", self.tmux(&["kill-session", "-t", &format!("={}", self.name())])).await
    }

    /// Begins it with the start script in it. `setsid` keeps it alive when the login's own session ends, and a subshell keeps `setsid` from forking, so that
    /// its status is tmux's. The server closes all it inherits: nothing holds the channel open.
    pub async fn begin(&self) -> Result<(), Failure> {
        let words = [self.name(), &self.globals.start_script].map(quote);
        let [name, script] = words.map(|word| word.map_err(|e| Failure::yours(e.to_string())));
        let text = format!("(setsid tmux new-session -d -s {} {} </dev/null)", name?, script?);
        self.done("beginning", Command::script(text).in_dir(self.globals.server_dir.as_str())).await
    }

    async fn done(&self, what: &str, command: Command) -> Result<(), Failure> {
        let output = self.remote.act(Exec::new(command, LOOK)).await?;
        if output.status == 0 {
            return Ok(());
        }
        let failure = self.remote.failed(&format!("{what} the tmux session `{}`", self.name()), &output);
        Err(if output.stderr.contains("not found") {
            failure.help("tmux must be installed there, and serverDir must exist")
        } else {
            failure
        })
    }
}

/// What a line of the log says, without the time, thread and class in front of it. Chat begins with `<` or `[`, so nobody can speak for the server.
pub fn message(line: &str) -> &str {
    line.split_once("]: ").map_or(line, |(_, message)| message).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of `/proc/PID/stat` as far as the start.
    fn stat(pid: u32, name: &str, session: u32) -> String {
        format!("process {pid} ({name}) S 1 {pid} {session} 34816 {pid} 4194304 1 0 0 0 0 0 0 0 20 0 1 0 {} 0\n", pid * 10)
    }

    #[test]
    fn a_server_is_its_jvm_and_not_what_started_it() {
        let loops = Seen::read(&format!("pane 40 sh\n{}{}", stat(40, "startserver.sh", 40), stat(41, "sleep", 40)));
        assert!(loops.session() && loops.jvm().is_none() && !loops.idle());
        let runs = Seen::read(&format!("pane 40 sh\n{}{}listening\n", stat(40, "start (x) .sh", 40), stat(42, "java", 40)));
        assert_eq!((runs.jvm(), runs.listening), (Some(Jvm { pid: 42, start: 420 }), true));
        let waits = Seen::read(&format!("pane 40 bash\n{}", stat(40, "bash", 40)));
        assert!(waits.idle() && waits.jvm().is_none());
        assert!(!Seen::read(&format!("pane 40 vim\n{}{}", stat(40, "bash", 40), stat(44, "vim", 40))).idle());
        let none = Seen::read("\n");
        assert!(!none.session() && !none.idle() && none.jvm().is_none());
    }

    #[test]
    fn without_processes_the_pane_tells() {
        assert_eq!(Seen::read("pane 900 java\n").jvm(), Some(Jvm { pid: 900, start: 0 }));
        assert!(Seen::read("pane 900 sh\n").idle() && !Seen::read("pane 900 htop\n").idle());
    }

    #[test]
    fn the_server_speaks_behind_its_time_and_thread() {
        for line in [
            "[12:00:31] [Server thread/INFO]: Saved the game",
            "[12:00:31 INFO]: Saved the game",
            "[23Nov2026 12:00:31.123] [Server thread/INFO] [net.minecraft.server.MinecraftServer/]: Saved the game",
        ] {
            assert_eq!(message(line), "Saved the game");
        }
        assert_eq!(message("[12:00:31] [Server thread/INFO]: <x> [a]: Saved the game"), "<x> [a]: Saved the game");
    }
}
