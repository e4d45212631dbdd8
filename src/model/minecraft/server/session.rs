//! The tmux session that a server runs in, its processes, and the log that it writes: everything that is seen and done on the host.

use crate::model::console::keystrokes;
use crate::model::contract::Failure;
use crate::model::minecraft::server::Globals;
use crate::model::remote::{LOOK, Remote};
use crate::model::wait::undeterred;
use crate::wire::command::{Command, quote, quote_path};
use crate::wire::ssh::{Exec, Output};

/// What a pane runs while nobody uses it.
const SHELLS: [&str; 8] = ["sh", "ash", "bash", "dash", "zsh", "ksh", "fish", "busybox"];
/// The program of a server.
const JVM: &str = "java";
/// How the script that types ends when the server is gone.
const GONE: i32 = 75;

/// The session of one server.
pub struct Session<'a> {
    /// The host.
    pub remote: &'a Remote<'a>,
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
    /// The pane that it runs in.
    pub pane: Pane,
}

impl Jvm {
    /// Whether both are the same process.
    pub fn is(&self, other: &Self) -> bool {
        (self.pid, self.start) == (other.pid, other.start)
    }
}

/// One pane of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pane {
    /// The process that tmux began in it: it stays the same as long as the pane.
    pub pid: u32,
    /// Its window and number, which may change when others close.
    place: String,
    /// Its foreground program.
    command: String,
}

/// What was seen of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    panes: Vec<Pane>,
    processes: Vec<Process>,
    /// Whether anybody listens on the game's port.
    pub listening: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    name: String,
    start: u64,
    /// Its kernel session: in tmux, the process of its pane.
    session: u32,
}

impl Seen {
    /// Whether the session is there.
    pub fn session(&self) -> bool {
        !self.panes.is_empty()
    }

    /// The server's process in it.
    pub fn jvm(&self) -> Option<Jvm> {
        let of = |process: &Process| {
            let pane = self.panes.iter().find(|pane| pane.pid == process.session)?;
            Some(Jvm { pid: process.pid, start: process.start, pane: pane.clone() })
        };
        let process = self.processes.iter().filter(|process| process.name == JVM).find_map(of);
        // Where the kernel shows no processes, tmux still knows what is in front.
        let front = || self.panes.iter().find(|pane| pane.command == JVM).map(|pane| Jvm { pid: pane.pid, start: 0, pane: pane.clone() });
        process.or_else(front)
    }

    /// Whether only shells wait in it for somebody to type.
    pub fn idle(&self) -> bool {
        self.session() && self.busy().is_empty()
    }

    /// The panes in which something runs.
    pub fn busy(&self) -> Vec<&Pane> {
        let shell = |name: &str| SHELLS.contains(&name);
        let runs = |pane: &&Pane| {
            let mut own = self.processes.iter().filter(|process| process.session == pane.pid).peekable();
            if own.peek().is_none() { !shell(&pane.command) } else { own.any(|process| process.pid != pane.pid || !shell(&process.name)) }
        };
        self.panes.iter().filter(runs).collect()
    }

    /// What was seen of one pane, by its process, and of nothing else.
    pub fn only(&self, pid: u32) -> Self {
        Self {
            panes: self.panes.iter().filter(|pane| pane.pid == pid).cloned().collect(),
            processes: self.processes.iter().filter(|process| process.session == pid).cloned().collect(),
            listening: self.listening,
        }
    }

    /// What runs in it, for messages.
    pub fn programs(&self) -> String {
        let mut names: Vec<&str> = self.processes.iter().map(|process| process.name.as_str()).collect();
        names.extend(self.panes.iter().map(|pane| pane.command.as_str()).filter(|_| self.processes.is_empty()));
        names.dedup();
        names.join(", ")
    }

    fn read(text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("pane", rest) => seen.panes.extend(pane(rest)),
                ("process", stat) => seen.processes.extend(process(stat)),
                ("listening", _) => seen.listening = true,
                _ => {}
            }
        }
        seen
    }
}

/// Place, process and foreground program of a pane.
fn pane(text: &str) -> Option<Pane> {
    let mut words = text.splitn(3, ' ');
    let (place, pid, command) = (words.next()?, words.next()?, words.next().unwrap_or_default());
    Some(Pane { pid: pid.parse().ok()?, place: place.to_owned(), command: command.trim().to_owned() })
}

/// A line of `/proc/PID/stat`; the name stands in brackets and may hold anything.
fn process(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let field = |at: usize| rest.split(' ').nth(at);
    Some(Process { pid: pid.parse().ok()?, name: name.to_owned(), start: field(19)?.parse().ok()?, session: field(3)?.parse().ok()? })
}

/// Where a log ended: the file and its size then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    inode: String,
    size: u64,
}

/// Looks at one session: its panes, the processes whose kernel session is a pane's, and who listens on the game's port.
const LOOK_SCRIPT: &str = r#"panes=$(tmux list-panes -s -t TARGET -F 'pane #{window_index}.#{pane_index} #{pane_pid} #{pane_current_command}' 2>/dev/null)
printf '%s\n' "$panes"
pids=$(printf '%s\n' "$panes" | cut -d ' ' -f 3)
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
        Self { remote, log: globals.log(), globals }
    }

    /// Its name, for messages.
    pub fn name(&self) -> &str {
        &self.globals.tmux_session
    }

    /// tmux's exact target of a place in it: a bare name would also mean the sessions that begin with it.
    fn target(&self, place: &str) -> String {
        format!("={}:{place}", self.name())
    }

    /// Looks at it.
    pub async fn look(&self) -> Result<Seen, Failure> {
        let target = quote(&self.target("")).map_err(|e| Failure::yours(e.to_string()))?;
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

    /// Types lines into the pane of a server and submits each. Nothing is typed when the server has ended since it was seen: what is left in the pane is
    /// a shell, and would run them.
    pub async fn type_lines(&self, jvm: &Jvm, lines: &[&str]) -> Result<(), Failure> {
        let typing = Command::new("tmux").args(keystrokes(Some(&self.target(&jvm.pane.place)), lines)?);
        if jvm.start == 0 {
            return self.done("typing into", typing).await;
        }
        let (pid, typing) = (jvm.pid, typing.render().map_err(|e| Failure::yours(e.to_string()))?);
        let script = format!("grep -qs '^{pid} ({JVM}) ' /proc/{pid}/stat || exit {GONE}\n{typing}");
        let output = self.remote.act(Exec::new(Command::script(script), LOOK)).await?;
        match output.status {
            GONE => {
                Err(Failure::theirs(format!("{}: the server (process {pid}) has ended, so nothing was typed", self.remote.target.host)))
            }
            _ => self.judge("typing into", &output),
        }
    }

    /// Types a line whether or not the run is being cancelled, and whether or not it works: for what must not be left as it is.
    pub async fn insist(&self, jvm: &Jvm, line: &str) {
        let ctx = undeterred(self.remote.ctx, LOOK);
        let remote = Remote { ctx: &ctx, target: self.remote.target.clone() };
        let again = Session { remote: &remote, log: self.log.clone(), globals: self.globals };
        if let Err(failure) = again.type_lines(jvm, &[line]).await {
            ctx.reporter.warn(&format!("`{line}` could not be typed: {failure}"));
        }
    }

    /// Presses ctrl-c in a pane. Never while a server runs there: a JVM would end unsaved.
    pub async fn interrupt(&self, pane: &Pane) -> Result<(), Failure> {
        self.done("ending what is left of", self.tmux(&["send-keys", "-t", &self.target(&pane.place), "C-c"])).await
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
        self.judge(what, &output)
    }

    fn judge(&self, what: &str, output: &Output) -> Result<(), Failure> {
        if output.status == 0 {
            return Ok(());
        }
        let failure = self.remote.failed(&format!("{what} the tmux session `{}`", self.name()), output);
        Err(if ["not found", "cd:"].iter().any(|word| output.stderr.contains(word)) {
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
        let loops = Seen::read(&format!("pane 0.0 40 sh\n{}{}", stat(40, "startserver.sh", 40), stat(41, "sleep", 40)));
        assert!(loops.session() && loops.jvm().is_none() && !loops.idle());
        let runs = Seen::read(&format!("pane 0.0 40 sh\n{}{}listening\n", stat(40, "start (x) .sh", 40), stat(42, "java", 40)));
        let jvm = runs.jvm().unwrap();
        assert_eq!((jvm.pid, jvm.start, jvm.pane.pid, runs.listening), (42, 420, 40, true));
        let waits = Seen::read(&format!("pane 0.0 40 bash\n{}", stat(40, "bash", 40)));
        assert!(waits.idle() && waits.jvm().is_none());
        assert!(!Seen::read(&format!("pane 0.0 40 vim\n{}{}", stat(40, "bash", 40), stat(44, "vim", 40))).idle());
        let none = Seen::read("\n");
        assert!(!none.session() && !none.idle() && none.jvm().is_none());
    }

    #[test]
    fn each_pane_is_seen_for_itself() {
        let both = format!("pane 0.0 40 bash\npane 1.0 50 htop\n{}{}{}", stat(40, "bash", 40), stat(42, "java", 40), stat(50, "htop", 50));
        let seen = Seen::read(&both);
        assert_eq!(seen.jvm().map(|jvm| jvm.pane.place), Some("0.0".to_owned()));
        assert_eq!(seen.busy().iter().map(|pane| pane.place.as_str()).collect::<Vec<_>>(), ["0.0", "1.0"]);
        let left = Seen::read(&both.replace("42 (java)", "42 (gone").replace("(htop)", "(java)"));
        assert!(left.only(40).idle() && left.only(40).jvm().is_none() && left.only(50).jvm().is_some() && !left.only(60).session());
    }

    #[test]
    fn without_processes_the_pane_tells() {
        assert_eq!(Seen::read("pane 0.0 900 java\n").jvm().map(|jvm| (jvm.pid, jvm.start)), Some((900, 0)));
        assert!(Seen::read("pane 0.0 900 sh\n").idle() && !Seen::read("pane 0.0 900 htop\n").idle());
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

    #[test]
    fn what_was_seen_is_read_however_spoiled() {
        let text = format!("pane 0.0 40 sh\npane 1.0 50 a b\n{}{}listening\n", stat(40, "start (x) .sh", 40), stat(42, "java", 40));
        crate::walks::feed(&[text], |bytes| {
            let seen = Seen::read(&String::from_utf8_lossy(bytes));
            let _ = (seen.jvm(), seen.idle(), seen.busy(), seen.only(40).programs());
            Ok(())
        });
    }
}
