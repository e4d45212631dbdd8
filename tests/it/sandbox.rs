//! A temporary project with its own home, in which the real `pmx` runs and is judged by all that it says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::normal::normal;
use super::process;

/// The `pmx` under test. The bot's tests, which use sandboxes too, are another package's: cargo tells them of `pmx-bot` only, which lies beside it.
fn pmx() -> String {
    match (option_env!("CARGO_BIN_EXE_pmx"), option_env!("CARGO_BIN_EXE_pmx-bot")) {
        (Some(pmx), _) => pmx.to_owned(),
        (None, bot) => {
            let pmx = Path::new(bot.unwrap_or_default()).with_file_name("pmx");
            assert!(pmx.is_file(), "{} is not built: `cargo build` makes it", pmx.display());
            pmx.display().to_string()
        }
    }
}

/// The root of the repository: where the Pmxfile lies.
fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().find(|dir| dir.join("Pmxfile.toml").is_file()).unwrap_or(own)
}

/// A project in a temporary directory. Whatever `pmx` starts from it is ended when it is dropped.
#[must_use = "a sandbox does nothing until pmx runs in it"]
pub struct Sandbox {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    deadline: Duration,
    runs: AtomicUsize,
}

impl Sandbox {
    /// An empty project: no files at all, not even a Pmxfile.toml.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("pmx-it-").tempdir().expect("a temporary directory can be made");
        let sandbox = Self { dir, env: BTreeMap::new(), deadline: Duration::from_secs(60), runs: AtomicUsize::new(0) };
        for folder in ["project", "home", "run", "tmp", "said"] {
            std::fs::create_dir_all(sandbox.dir.path().join(folder)).expect("a folder can be made in it");
        }
        sandbox
    }

    /// A copy of this repository's own project: its Pmxfile.toml, definitions and workflows, and the folders that workflows send.
    pub fn own() -> Self {
        let root = repository();
        let mut sandbox = Self::new().file("Pmxfile.toml", &read(&root.join("Pmxfile.toml")));
        for folder in ["definitions", "workflows"] {
            let entries = std::fs::read_dir(root.join(folder)).unwrap_or_else(|error| panic!("cannot list {folder}: {error}"));
            for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "toml")) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                sandbox = sandbox.file(&format!("{folder}/{name}"), &read(&path));
            }
        }
        for folder in ["bot", "config"] {
            for (name, bytes) in Self::files(&root.join(folder), &["src", "target", "tests"]) {
                let (from, to) = (root.join(folder).join(&name), sandbox.path(folder).join(&name));
                std::fs::create_dir_all(to.parent().unwrap_or(&to)).expect("a folder can be made in the project");
                std::fs::write(&to, bytes).unwrap_or_else(|error| panic!("cannot write {}: {error}", to.display()));
                let mode = std::fs::metadata(&from).map(|meta| meta.permissions()).expect("it was just read");
                std::fs::set_permissions(&to, mode).expect("a mode can be set");
            }
        }
        sandbox
    }

    /// With a file of the project, folders made as needed.
    pub fn file(self, path: &str, text: &str) -> Self {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).expect("a folder can be made in the project");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        self
    }

    /// With one text of a file replaced by another, to point the project somewhere else.
    ///
    /// # Panics
    /// When the file does not hold `old`.
    pub fn replace(self, path: &str, old: &str, new: &str) -> Self {
        let text = self.read(path);
        assert!(text.contains(old), "{path} does not hold `{old}`:\n{text}");
        self.file(path, &text.replace(old, new))
    }

    /// With a variable in the environment of `pmx`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a private key in its home, where an SSH client looks for one.
    pub fn key(self, private: &Path) -> Self {
        let place = self.home(".ssh/id_ed25519");
        std::fs::create_dir_all(self.home(".ssh")).expect("a folder can be made in the home");
        // A copy keeps the mode, and ssh refuses a key that others may read.
        std::fs::copy(private, &place).unwrap_or_else(|error| panic!("cannot copy {}: {error}", private.display()));
        self
    }

    /// With another limit for each command than a minute.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// A path inside the project.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("project").join(path)
    }

    /// A path inside the home directory of whoever runs `pmx` here.
    pub fn home(&self, path: &str) -> PathBuf {
        self.dir.path().join("home").join(path)
    }

    /// The text of a file of the project.
    pub fn read(&self, path: &str) -> String {
        read(&self.path(path))
    }

    /// Runs `pmx` to its end.
    ///
    /// # Panics
    /// When the deadline passes; with all that was said until then.
    #[track_caller]
    pub fn pmx(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).end()
    }

    /// Runs `pmx` with a text on its standard input.
    ///
    /// # Panics
    /// As `pmx`.
    #[track_caller]
    pub fn pmx_with_input(&self, arguments: &[&str], input: &str) -> Ran {
        self.spawn(&pmx(), arguments, Some(input)).end()
    }

    /// Starts another program as `pmx` would be started, and returns while it runs.
    pub fn start_program(&self, program: &str, arguments: &[&str]) -> Running<'_> {
        self.spawn(program, arguments, None)
    }

    /// Starts `pmx` and returns while it runs.
    pub fn start(&self, arguments: &[&str]) -> Running<'_> {
        self.spawn(&pmx(), arguments, None)
    }

    /// Runs a shell script in which `pmx` is the program under test: for pipes and terminals.
    ///
    /// # Panics
    /// As `pmx`.
    #[track_caller]
    pub fn shell(&self, script: &str) -> Ran {
        self.spawn("sh", &["-c", script], None).end()
    }

    /// Every file below a directory of the sandbox with its bytes, by its path from there; what `skip` names is left out.
    pub fn files(root: &Path, skip: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![root.to_path_buf()];
        while let Some(dir) = open.pop() {
            for path in std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
                let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                if skip.contains(&name.as_str()) {
                    continue;
                }
                if path.is_dir() {
                    open.push(path);
                } else if path.is_file() {
                    found.insert(name, std::fs::read(&path).unwrap_or_default());
                }
            }
        }
        found
    }

    /// The directory that holds project, home and all that was said.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    fn spawn(&self, program: &str, arguments: &[&str], input: Option<&str>) -> Running<'_> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let said = |name: &str| self.dir.path().join(format!("said/{number}.{name}"));
        // Files, not pipes: a daemon that pmx leaves behind would hold a pipe open for ever.
        let create = |path: &Path| std::fs::File::create(path).expect("an output file can be made");
        let (out, err) = (said("out"), said("err"));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path("")).env_clear().envs(self.environment());
        command.stdout(create(&out)).stderr(create(&err)).stdin(Stdio::null());
        if let Some(text) = input {
            std::fs::write(said("in"), text).expect("an input file can be written");
            command.stdin(std::fs::File::open(said("in")).expect("an input file can be read"));
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let line = [&["pmx"], arguments].concat().join(" ");
        Running { sandbox: self, child, line, out, err, began: Instant::now() }
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let at = |path: &str| self.dir.path().join(path).display().to_string();
        let pmx = pmx();
        let binary = Path::new(&pmx).parent().unwrap_or(Path::new("/")).display().to_string();
        // A profile names the command `pmx`; the rest of the path is for ssh, docker and tmux.
        let path = format!("{binary}:{}", std::env::var("PATH").unwrap_or_default());
        let fixed = [
            ("PATH", path),
            ("HOME", at("home")),
            ("XDG_CONFIG_HOME", at("home/.config")),
            ("XDG_DATA_HOME", at("home/.local/share")),
            ("XDG_STATE_HOME", at("home/.local/state")),
            ("XDG_CACHE_HOME", at("home/.cache")),
            ("XDG_RUNTIME_DIR", at("run")),
            ("TMPDIR", at("tmp")),
            ("LANG", "C.UTF-8".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("USER", "tester".to_owned()),
            ("PMX_SANDBOX", self.mark()),
        ];
        let own = self.env.iter().map(|(name, value)| (name.clone(), value.clone()));
        fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(own).collect()
    }

    /// What the processes of this sandbox carry in their environment, daemons included.
    fn mark(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn paths(&self) -> Vec<(String, &'static str)> {
        let at = |path: &str| self.dir.path().join(path).display().to_string();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let actor = format!("cli:tester@{}", host.trim());
        vec![(at("project"), "project"), (at("home"), "home"), (at("tmp"), "tmp"), (at("run"), "run"), (actor, "actor")]
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let mark = format!("PMX_SANDBOX={}", self.mark());
        // A process that is becoming another program shows no environment for a moment: one look may miss it, hardly two.
        let mut unseen = 0;
        while unseen < 2 {
            let left = process::marked(&mark);
            unseen = if left.is_empty() { unseen + 1 } else { 0 };
            process::signal("KILL", &left);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// A `pmx` that still runs.
#[must_use = "a running pmx must be waited for"]
pub struct Running<'a> {
    sandbox: &'a Sandbox,
    child: Child,
    line: String,
    out: PathBuf,
    err: PathBuf,
    began: Instant,
}

impl Running<'_> {
    /// Does what ctrl-c does.
    pub fn interrupt(&self) {
        process::signal("INT", &[self.child.id()]);
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        process::signal("TERM", &[self.child.id()]);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error so far.
    pub fn complained(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Ends it without warning, as a power cut does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits until it has said `text` on either stream.
    ///
    /// # Panics
    /// When it has ended without, or the sandbox's deadline passes.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        let mut ended = None;
        process::wait_until(&format!("`{}` says `{text}`", self.line), self.sandbox.deadline, || {
            let told = read(&self.out).contains(text) || read(&self.err).contains(text);
            if let Some(status) = ended.filter(|_| !told) {
                panic!("`{}` has ended and never said `{text}`\n{}", self.line, self.ran(status));
            }
            // Asked before the next look: what it says last is seen.
            ended = self.child.try_wait().expect("a child can be waited for");
            told
        });
        self
    }

    /// Waits for its end, and returns with it the most memory that it ever had resident, in bytes, as the kernel counts.
    ///
    /// # Panics
    /// As `end`; where the kernel counts nothing.
    #[track_caller]
    pub fn end_measured(self) -> (Ran, u64) {
        let pid = self.child.id();
        let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
        let ran = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    most.fetch_max(process::most_resident(pid).unwrap_or(0), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
            // Set when it panics too: the scope waits for the thread.
            let _ending = Ending(&done);
            self.end()
        });
        let most = most.into_inner();
        assert!(most > 0, "nobody knows how much memory it had\n{ran}");
        (ran, most)
    }

    /// What it has said on standard output so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When the sandbox's deadline passes; with all that was said until then.
    #[track_caller]
    pub fn end(mut self) -> Ran {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if self.began.elapsed() > self.sandbox.deadline {
                process::signal("KILL", &process::tree(self.child.id()));
                let status = self.child.wait().expect("a killed child ends");
                panic!("`{}` ran into its deadline of {:?}:\n{}", self.line, self.sandbox.deadline, self.ran(status));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.ran(status)
    }

    fn ran(&self, status: ExitStatus) -> Ran {
        let text = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let (stdout, stderr) = (text(&self.out), text(&self.err));
        Ran { line: self.line.clone(), status, stdout, stderr, took: self.began.elapsed(), paths: self.sandbox.paths() }
    }
}

/// Sets its flag when it goes.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A `pmx` that has ended, and all that it said.
#[derive(Debug)]
pub struct Ran {
    line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
    paths: Vec<(String, &'static str)>,
}

impl Ran {
    /// Holds when it exited with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "the exit code is another one\n{self}");
        self
    }

    /// Holds when `text` is in either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text) || self.stderr.contains(text), "nobody says `{text}`\n{self}");
        self
    }

    /// Holds when `text` is in neither stream.
    #[track_caller]
    pub fn keeps_quiet_about(self, text: &str) -> Self {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "somebody says `{text}`\n{self}");
        self
    }

    /// The standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("the output is not JSON: {error}\n{self}"))
    }

    /// The standard output as lines of JSON.
    #[track_caller]
    pub fn lines(&self) -> Vec<serde_json::Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("`{line}` is not JSON: {error}\n{self}"));
        self.stdout.lines().map(read).collect()
    }

    /// Exit code and both streams with volatile words replaced: the text of a snapshot.
    pub fn snapshot(&self) -> String {
        normal(&self.to_string(), &self.paths)
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.line)?;
        write!(f, "{}", self.stdout)?;
        if !self.stderr.is_empty() {
            write!(f, "--- stderr\n{}", self.stderr)?;
        }
        match self.status.code() {
            Some(code) => writeln!(f, "--- exit {code}"),
            None => writeln!(f, "--- {}", self.status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_of_a_sandbox_is_its_own() {
        let sandbox = Sandbox::own().env("PMX_COLOUR", "none").file("notes/a b.txt", "hello");
        let ran = sandbox.spawn("env", &[], None).end().exits(0).says("PMX_COLOUR=none").says("TZ=UTC").keeps_quiet_about("CARGO_");
        let home = format!("HOME={}", sandbox.home("").display());
        assert!(ran.stdout.contains(home.trim_end_matches('/')), "{ran}");
        sandbox
            .spawn("cat", &["notes/a b.txt", "definitions/fleet.toml", "workflows/stop-calamity.toml"], None)
            .end()
            .exits(0)
            .says("hello");
        let lab = sandbox.replace("Pmxfile.toml", "127.0.0.1:18006", "127.0.0.1:1").read("Pmxfile.toml");
        assert!(lab.contains("127.0.0.1:1\"") && !lab.contains("18006"));
    }

    #[test]
    fn what_was_said_becomes_a_snapshot() {
        let sandbox = Sandbox::new().deadline(Duration::from_secs(20));
        let script = "cat; pwd; echo run abcdef0 took 1.5s >&2; exit 3";
        let ran = sandbox.spawn("sh", &["-c", script], Some("from stdin\n")).end().exits(3);
        assert!(ran.took < Duration::from_secs(20));
        insta::assert_snapshot!(ran.snapshot(), @r"
        $ pmx -c cat; pwd; echo run [run] took [took] >&2; exit 3
        from stdin
        [project]
        --- stderr
        run [run] took [took]
        --- exit 3
        ");
    }

    #[test]
    #[should_panic(expected = "half-way")]
    fn a_deadline_ends_it_and_shows_what_was_said() {
        let sandbox = Sandbox::new().deadline(Duration::from_millis(300));
        sandbox.spawn("sh", &["-c", "echo half-way; sleep 60"], None).end();
    }

    #[test]
    #[should_panic(expected = "has ended and never said `ready`")]
    fn nobody_waits_for_the_words_of_a_command_that_has_ended() {
        let sandbox = Sandbox::new();
        sandbox.spawn("sh", &["-c", "echo half-way"], None).wait_for("half-way").wait_for("ready");
    }

    #[test]
    fn a_running_command_can_be_interrupted() {
        let sandbox = Sandbox::new();
        let mut running = sandbox.spawn("sh", &["-c", "trap 'echo stopped; exit 130' INT; echo ready; while :; do sleep 0.05; done"], None);
        running.wait_for("ready").interrupt();
        running.end().exits(130).says("stopped");
        let mut running = sandbox.spawn("sleep", &["60"], None);
        running.kill();
        assert_eq!(running.end().status.code(), None);
    }

    #[test]
    fn a_daemon_ends_with_its_sandbox() {
        let sandbox = Sandbox::new();
        let mark = format!("PMX_SANDBOX={}", sandbox.mark());
        sandbox.spawn("sh", &["-c", "setsid sleep 60 >/dev/null 2>&1 & echo {}"], None).end().exits(0).json();
        // It shows its environment only once it has become `sleep`.
        process::wait_until("the daemon runs", Duration::from_secs(10), || process::marked(&mark).len() == 1);
        drop(sandbox);
        process::wait_until("the daemon is gone", Duration::from_secs(10), || process::marked(&mark).is_empty());
    }

    #[test]
    fn the_real_pmx_starts() {
        let sandbox = Sandbox::own();
        assert_ne!(sandbox.pmx(&["--version"]).status.code(), None);
        assert_ne!(sandbox.pmx_with_input(&["--version"], "").status.code(), None);
    }
}
