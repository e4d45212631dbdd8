//! A machine without Tailscale behind a real sshd: the command, its daemon, packages and services are stand-ins with the real ones' habits.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::sshd::{Sshd, Wanted};
use super::{needs, run};

const TAILSCALE: &str = include_str!("tailnet/tailscale.sh");
const SYSTEM: &str = include_str!("tailnet/system.sh");
const TOOLS: [&str; 10] = ["sh", "cat", "rm", "ln", "mktemp", "stat", "sleep", "touch", "tr", "grep"];

/// The machine's distribution: what installs packages there, and what runs services.
#[derive(Clone, Copy)]
pub enum System {
    /// apk and OpenRC.
    Alpine,
    /// apt and systemd.
    Debian,
    /// Neither.
    Other,
}

impl System {
    const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Alpine => &["apk", "rc-update", "rc-service"],
            Self::Debian => &["apt-get", "systemctl"],
            Self::Other => &[],
        }
    }
}

/// The machine.
pub struct Machine {
    /// The way in.
    pub sshd: Sshd,
    dir: tempfile::TempDir,
}

impl Machine {
    /// One of this distribution, without Tailscale; `None` when the test is to be skipped.
    #[track_caller]
    pub fn start(system: System) -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("pmx-path-").tempdir().expect("a temporary directory can be made");
        let bin = dir.path().join("bin");
        std::fs::create_dir_all(&bin).expect("a folder can be made");
        // What the scripts need, and none of this machine's own packages and services.
        for (name, program) in TOOLS.iter().zip(needs(TOOLS)?) {
            link(&program, &bin.join(name));
        }
        for (name, text) in [("tailscale", TAILSCALE), ("system", SYSTEM)] {
            std::fs::write(dir.path().join(name), text).expect("a script can be written");
            run(Command::new("chmod").arg("755").arg(dir.path()).arg(dir.path().join(name)));
        }
        for name in system.programs() {
            link(Path::new("../system"), &bin.join(name));
        }
        let bin = bin.display().to_string();
        let env = [("PATH".to_owned(), bin.clone()), ("STAND_IN_BIN".to_owned(), bin)];
        let sshd = Wanted::default().option("LogLevel", "DEBUG3").env(env).start()?;
        let machine = Self { sshd, dir };
        std::fs::create_dir_all(machine.path("")).expect("a folder can be made");
        Some(machine)
    }

    /// With Tailscale there already, its daemon running in this state.
    pub fn installed(&self, backend: &str) {
        link(Path::new("../tailscale"), &self.dir.path().join("bin/tailscale"));
        self.write("daemon", "");
        self.write("backend", backend);
    }

    /// A path in the state of the stand-ins.
    fn path(&self, name: &str) -> PathBuf {
        self.sshd.home().join("tailnet").join(name)
    }

    /// The text of a file of that state; empty when there is none.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Writes a file of that state.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file can be written");
    }

    /// What `tailscale up` was called with, a call a line.
    pub fn logins(&self) -> Vec<String> {
        self.read("argv").lines().filter(|line| line.starts_with("up ")).map(str::to_owned).collect()
    }

    /// The files that keys were read from and that are still there.
    pub fn key_files(&self) -> Vec<String> {
        let named = |line: String| line.split("file:").nth(1).map(|rest| rest.split(' ').next().unwrap_or_default().to_owned());
        self.logins().into_iter().filter_map(named).filter(|path| Path::new(path).exists()).collect()
    }
}

fn link(to: &Path, at: &Path) {
    std::os::unix::fs::symlink(to, at).expect("a link can be made");
}
