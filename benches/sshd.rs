//! A real sshd on loopback, with keys of its own and a project beside it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{find, pmx, run};

/// A server, and a folder with a home (its key opens the server) and a project (empty but for its Pmxfile).
pub struct Sshd {
    /// Where it listens.
    pub port: u16,
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

/// sshd listens on 16 addresses at most (MAX_LISTEN_SOCKS in its source): more of them need more processes.
const ADDRESSES: usize = 16;

impl Drop for Sshd {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Sshd {
    /// Starts one that listens on these addresses; the error is what it needs.
    pub fn start(addresses: &[String]) -> Result<Self, &'static str> {
        let is_root = std::fs::read_to_string("/proc/self/status").unwrap_or_default().lines().any(|line| line.starts_with("Uid:\t0\t"));
        let (Some(sshd), Some(keygen), true) = (find("sshd"), find("ssh-keygen"), is_root) else {
            return Err("sshd and ssh-keygen, and root to run them");
        };
        let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all("/run/sshd").expect("root may make /run/sshd");
        std::fs::create_dir_all(at("home/.ssh")).expect("a folder can be made");
        std::fs::create_dir_all(at("there-home")).expect("a folder can be made");
        std::fs::create_dir_all(at("project/definitions")).expect("a folder can be made");
        std::fs::create_dir_all(at("project/workflows")).expect("a folder can be made");
        std::fs::write(at("project/Pmxfile.toml"), "[project]\nname = \"bench\"\n").expect("a file can be written");
        for key in ["host", "home/.ssh/id_ed25519"] {
            run(Command::new(&keygen).args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"]).arg(at(key)));
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port is free").port();
        let mut server = Self { port, children: Vec::new(), dir };
        for (number, some) in addresses.chunks(ADDRESSES).enumerate() {
            server.serve(&sshd, number, some);
        }
        Ok(server)
    }

    /// Starts a process that listens on these addresses.
    fn serve(&mut self, sshd: &Path, number: usize, addresses: &[String]) {
        let port = self.port;
        let listen: String = addresses.iter().map(|address| format!("ListenAddress {address}:{port}\n")).collect();
        let config = format!(
            "{listen}HostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\nMaxStartups 200\n\
             PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp /usr/lib/openssh/sftp-server\nSetEnv HOME={}\n",
            self.at("host").display(),
            self.at("home/.ssh/id_ed25519.pub").display(),
            // An empty one: the machine's own startup files would be measured with each command.
            self.at("there-home").display(),
        );
        let file = self.at(&format!("sshd_config-{number}"));
        std::fs::write(&file, config).expect("a file can be written");
        self.children.push(Command::new(sshd).args(["-D", "-e", "-f"]).arg(file).stderr(Stdio::null()).spawn().expect("sshd starts"));
        let began = Instant::now();
        while TcpStream::connect((addresses[0].as_str(), port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "sshd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A path in its folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file of the project.
    pub fn write(&self, path: &str, text: &str) {
        std::fs::write(self.at("project").join(path), text).expect("a file can be written");
    }

    /// A command in the project, with the home whose key opens the server.
    pub fn home(&self, mut command: Command) -> Command {
        command.current_dir(self.at("project")).env("HOME", self.at("home")).env_remove("XDG_CONFIG_HOME").env_remove("SSH_AUTH_SOCK");
        command
    }

    /// pmx in the project.
    pub fn pmx<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.home(pmx());
        command.args(arguments);
        command
    }

    /// The options of OpenSSH's programs: the key, and host keys of this server only.
    pub fn options(&self) -> Vec<String> {
        let known = format!("UserKnownHostsFile={}", self.at("known_hosts").display());
        let key = self.at("home/.ssh/id_ed25519").display().to_string();
        let fixed = ["-q", "-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", &known, "-o", "BatchMode=yes", "-i", &key];
        fixed.map(str::to_owned).to_vec()
    }

    /// Removes what a round left there.
    pub fn remove(&self, path: &Path) {
        std::fs::remove_dir_all(path).expect("it has arrived and can be removed");
    }
}
