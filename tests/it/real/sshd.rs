//! A real OpenSSH server with keys of its own, at an address of its own in 127.0.0.0/8: to a client it is another host.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::super::process::{Process, wait_until};
use super::{is_root, needs, present, run};

/// Runs what was asked for in the home directory that the test gave, by a plain POSIX shell: the machine's own home stays untouched.
const COMMAND: &str =
    "#!/bin/sh\ncd \"$HOME\" || exit 125\n[ -n \"$SSH_ORIGINAL_COMMAND\" ] || exec sh -l\nexec ENTRANCEsh -c \"$SSH_ORIGINAL_COMMAND\"\n";

/// How a server is to be.
#[must_use = "a description starts nothing"]
#[derive(Default)]
pub struct Wanted {
    options: Vec<(String, String)>,
    env: Vec<(String, String)>,
    entrance: String,
    listen: Option<(String, u16)>,
}

impl Wanted {
    /// With a line of sshd_config, which wins over the ordinary one: `MaxSessions`, `MaxStartups`, `ForceCommand`.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With variables in the environment of every command, such as those of a Docker engine.
    pub fn env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(variables);
        self
    }

    /// With this in front of the shell that runs every command: the way into another network, say.
    pub fn entrance(mut self, words: String) -> Self {
        self.entrance = words;
        self
    }

    /// At this address and port instead of ones of its own.
    pub fn listen(mut self, address: &str, port: u16) -> Self {
        self.listen = Some((address.to_owned(), port));
        self
    }

    /// Starts it; `None` when the test is to be skipped.
    ///
    /// # Panics
    /// When it does not answer in time; with what it logged.
    #[track_caller]
    pub fn start(self) -> Option<Sshd> {
        let [sshd, keygen, _ssh] = needs(["sshd", "ssh-keygen", "ssh"])?;
        present("root, for sshd", is_root().then_some(()))?;
        // Where sshd puts its unprivileged half; the package makes it only when its own service starts.
        std::fs::create_dir_all("/run/sshd").expect("root may make /run/sshd");
        let dir = tempfile::Builder::new().prefix("pmx-sshd-").tempdir().expect("a temporary directory can be made");
        let (address, port) = self.listen.clone().unwrap_or_else(own_address);
        let mut server = Sshd { sshd, keygen, dir, address, port, wanted: self, process: None };
        server.prepare();
        server.new_host_key();
        server.launch();
        Some(server)
    }
}

/// A running server.
pub struct Sshd {
    sshd: PathBuf,
    keygen: PathBuf,
    dir: tempfile::TempDir,
    /// Its address, in 127.0.0.0/8.
    pub address: String,
    /// Its port.
    pub port: u16,
    wanted: Wanted,
    process: Option<Process>,
}

/// An address that no other test of this or another process uses, with a port that is free there.
pub fn own_address() -> (String, u16) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_mul(64).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let (high, last) = (number / 254, number % 254 + 1);
    // 127.64.0.0 and up: away from the lab's addresses.
    let address = format!("127.{}.{}.{last}", 64 + high / 256 % 64, high % 256);
    let port = std::net::TcpListener::bind((address.as_str(), 0)).and_then(|socket| socket.local_addr()).map(|at| at.port());
    (address, port.expect("a loopback address has a free port"))
}

impl Sshd {
    /// An ordinary server; `None` when the test is to be skipped.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Wanted::default().start()
    }

    /// The private key that it lets in.
    pub fn client_key(&self) -> PathBuf {
        self.dir.path().join("client")
    }

    /// The home directory of whoever logs in.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Its host key as `known_hosts` writes it: type and base64.
    pub fn host_key(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("host.pub")).expect("the host key was made");
        text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The ordinary client, with everything but the command.
    pub fn client(&self) -> Command {
        let known = self.dir.path().join("known_hosts");
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "StrictHostKeyChecking=accept-new", "-o", &format!("UserKnownHostsFile={}", known.display())]);
        command.arg("-i").arg(self.client_key()).args(["-p", &self.port.to_string(), &format!("root@{}", self.address)]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command through the ordinary client and returns its standard output.
    ///
    /// # Panics
    /// When it fails; with all that was said.
    #[track_caller]
    pub fn run(&self, command: &str) -> String {
        run(self.client().arg(command))
    }

    /// Ends it: the host no longer answers.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again at the same address, as it was.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// Starts it again at the same address with another host key: what a reinstalled, or another, machine looks like.
    pub fn restart_with_another_host_key(&mut self) {
        self.stop();
        self.new_host_key();
        self.launch();
    }

    fn prepare(&self) {
        let at = |name: &str| self.dir.path().join(name);
        std::fs::create_dir_all(at("home")).expect("a home can be made");
        self.make_key(&at("client"));
        let public = std::fs::read(at("client.pub")).expect("the client key was made");
        std::fs::write(at("authorized_keys"), public).expect("the client key can be let in");
        std::fs::write(at("command"), COMMAND.replace("ENTRANCE", &self.wanted.entrance)).expect("the command script can be written");
        run(Command::new("chmod").arg("755").arg(at("command")).arg(self.dir.path()));
        std::fs::write(at("config"), self.config()).expect("the configuration can be written");
    }

    fn config(&self) -> String {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        // sshd takes the first line of a name, so what a test wants comes first.
        let mut lines: Vec<String> = self.wanted.options.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let home = ("HOME".to_owned(), at("home"));
        let env: Vec<String> = self.wanted.env.iter().chain([&home]).map(|(name, value)| format!("\"{name}={value}\"")).collect();
        lines.extend([
            format!("ListenAddress {}:{}", self.address, self.port),
            format!("HostKey {}", at("host")),
            format!("AuthorizedKeysFile {}", at("authorized_keys")),
            format!("SetEnv {}", env.join(" ")),
            format!("ForceCommand {}", at("command")),
        ]);
        // The one name that may not stand there twice.
        if !self.wanted.options.iter().any(|(name, _)| name == "Subsystem") {
            lines.push("Subsystem sftp /usr/lib/openssh/sftp-server".to_owned());
        }
        let fixed = [
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin yes",
            "LogLevel VERBOSE",
            "PrintMotd no",
        ];
        lines.extend(fixed.map(str::to_owned));
        lines.join("\n") + "\n"
    }

    fn new_host_key(&self) {
        for name in ["host", "host.pub"] {
            let _ = std::fs::remove_file(self.dir.path().join(name));
        }
        self.make_key(&self.dir.path().join("host"));
    }

    fn make_key(&self, path: &Path) {
        run(Command::new(&self.keygen).args(["-q", "-t", "ed25519", "-N", "", "-C", "pmx-test", "-f"]).arg(path));
    }

    #[track_caller]
    fn launch(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a log can be written");
        let mut command = Command::new(&self.sshd);
        command.args(["-D", "-e", "-f"]).arg(self.dir.path().join("config")).stdout(Stdio::null()).stderr(log);
        let mut process = Process::start(&mut command, Duration::from_millis(500));
        let (address, port) = (self.address.clone(), self.port);
        wait_until(&format!("sshd answers at {address}:{port}"), Duration::from_secs(10), || {
            assert!(process.runs(), "sshd ended:\n{}", self.log());
            TcpStream::connect((address.as_str(), port)).is_ok()
        });
        self.process = Some(process);
    }
}
