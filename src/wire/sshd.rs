//! The machine's own sshd on loopback, for tests: its own host key, one user, one key, a log.
#![expect(clippy::disallowed_methods, reason = "tests start sshd and look at files")]

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::wire::hostkey::MemoryPins;
use crate::wire::map::ConnectMap;
use crate::wire::russh_client::{SshClient, SshSettings};

const SSHD: &str = "/usr/sbin/sshd";

/// A running sshd; `None` when the machine has none, which `PMX_REAL=1` does not accept.
pub(super) struct Sshd {
    dir: tempfile::TempDir,
    pub(super) port: u16,
    child: Child,
}

impl Sshd {
    pub(super) fn start(options: &str) -> Option<Self> {
        Self::start_with("Subsystem sftp internal-sftp", options)
    }

    pub(super) fn start_with(sftp: &str, options: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            assert!(std::env::var("PMX_REAL").as_deref() != Ok("1"), "needs sshd");
            print_skipped();
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("home/.ssh")).unwrap();
        let _ = std::fs::create_dir_all("/run/sshd");
        keygen(&dir.path().join("host"));
        keygen(&dir.path().join("home/.ssh/id_ed25519"));
        std::fs::rename(dir.path().join("home/.ssh/id_ed25519.pub"), dir.path().join("authorized")).unwrap();
        let port = free_port();
        let d = dir.path().display();
        // bash reads its rc file for sshd's commands only at the outermost level: whoever's machine this is, its rc file is no part of the test.
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nAuthorizedKeysFile {d}/authorized\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPidFile none\nPasswordAuthentication no\n{sftp}\nMaxStartups 100\n\
             SetEnv SHLVL=5\n{options}\n"
        );
        std::fs::write(dir.path().join("sshd_config"), config).unwrap();
        let child = launch(dir.path());
        let sshd = Self { dir, port, child };
        sshd.ready();
        Some(sshd)
    }

    /// Ends it and starts it again, with another host key if asked.
    pub(super) fn restart(&mut self, new_key: bool) {
        self.stop();
        if new_key {
            for name in ["host", "host.pub"] {
                std::fs::remove_file(self.dir.path().join(name)).unwrap();
            }
            keygen(&self.dir.path().join("host"));
        }
        self.child = launch(self.dir.path());
        self.ready();
    }

    pub(super) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn ready(&self) {
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("sshd does not listen: {}", self.log());
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(super) fn fingerprint(&self) -> String {
        let out = std::process::Command::new("ssh-keygen").arg("-lf").arg(self.dir.path().join("host.pub")).output().unwrap();
        String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    pub(super) fn settings(&self) -> SshSettings {
        let to = format!("127.0.0.1:{}", self.port);
        let map = ConnectMap::parse([("game:22", to.as_str()), ("10.0.0.*:22", to.as_str())], true).unwrap();
        SshSettings::new(map, self.dir.path().join("home"))
    }

    pub(super) fn client(&self) -> SshClient {
        SshClient::new(self.settings(), Arc::new(MemoryPins::new()))
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn print_skipped() {
    eprintln!("skipped: needs sshd");
}

fn launch(dir: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    let config = dir.join("sshd_config");
    std::process::Command::new(SSHD).args(["-D", "-e", "-f"]).arg(config).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

fn keygen(path: &Path) {
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The user that the tests run as: the only one who can log in.
pub(super) fn me() -> String {
    let out = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}
