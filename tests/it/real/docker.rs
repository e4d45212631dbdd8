//! A real Docker engine of its own, on a private socket, with the compose plugin when the machine has it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::process::{Process, wait_until};
use super::{is_root, needs, present, run};

/// Where distributions put the plugins of the docker client.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// A running engine. It stands either in the machine's network, without a bridge and firewall rules; or apart, in an empty network of its own, where it
/// may have both and where every port is free. Its containers never reach the world.
pub struct Docker {
    docker: PathBuf,
    dir: tempfile::TempDir,
    apart: bool,
    process: Option<Process>,
}

impl Docker {
    /// Starts an engine; `None` when the test is to be skipped.
    ///
    /// # Panics
    /// When it does not answer in time; with the end of its log.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::begin(false)
    }

    /// Starts an engine in a network of its own; `None` when the test is to be skipped.
    ///
    /// # Panics
    /// As `start`.
    #[track_caller]
    pub fn apart() -> Option<Self> {
        needs(["unshare", "nsenter", "ip", "iptables"])?;
        Self::begin(true)
    }

    #[track_caller]
    fn begin(apart: bool) -> Option<Self> {
        let [dockerd, docker] = needs(["dockerd", "docker"])?;
        present("root, for dockerd", is_root().then_some(()))?;
        let plugin = present("docker compose (v2)", compose_plugin())?;
        let dir = tempfile::Builder::new().prefix("pmx-docker-").tempdir().expect("a temporary directory can be made");
        let plugins = dir.path().join("config/cli-plugins");
        std::fs::create_dir_all(&plugins).expect("a folder can be made");
        run(Command::new("ln").arg("-s").arg(plugin).arg(plugins.join("docker-compose")));
        let mut engine = Self { docker, dir, apart, process: None };
        engine.launch(&dockerd);
        Some(engine)
    }

    /// What makes a plain `docker` elsewhere, behind an sshd say, use this engine.
    pub fn environment(&self) -> Vec<(String, String)> {
        let socket = format!("unix://{}", self.dir.path().join("sock").display());
        let config = self.dir.path().join("config").display().to_string();
        // The builder of 20.10 needs no plugin; newer clients ask for one.
        [("DOCKER_HOST", socket), ("DOCKER_CONFIG", config), ("DOCKER_BUILDKIT", "0".to_owned())]
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec()
    }

    /// The ordinary client's program.
    pub fn program(&self) -> &Path {
        &self.docker
    }

    /// What stands before a command that is to run in the engine's network; empty when that is the machine's own.
    pub fn entrance(&self) -> String {
        let id = self.process.as_ref().map_or(0, Process::id);
        if self.apart { format!("nsenter --net=/proc/{id}/ns/net -- ") } else { String::new() }
    }

    /// A command in the engine's network.
    pub fn inside(&self, program: &str, arguments: &[&str]) -> Command {
        let entrance = self.entrance();
        let mut words = entrance.split_whitespace().chain([program]).chain(arguments.iter().copied());
        let mut command = Command::new(words.next().unwrap_or(program));
        command.args(words);
        command
    }

    /// The ordinary client with `arguments`.
    pub fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.docker);
        command.args(arguments).envs(self.environment());
        command
    }

    /// Runs the ordinary client and returns its standard output.
    ///
    /// # Panics
    /// When it fails; with all that it said.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        run(&mut self.client(arguments))
    }

    #[track_caller]
    fn launch(&mut self, dockerd: &Path) {
        let at = |name: &str| self.dir.path().join(name);
        let log = std::fs::File::create(at("log")).expect("a log can be written");
        let mut command = Command::new(if self.apart { Path::new("unshare") } else { dockerd });
        if self.apart {
            // What replaces itself keeps its process id, by which the network is found.
            command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]).arg(dockerd);
        }
        command.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
        command.arg("--host").arg(format!("unix://{}", at("sock").display()));
        if !self.apart {
            command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        }
        command.stdout(Stdio::null()).stderr(log);
        let mut process = Process::start(&mut command, Duration::from_secs(15));
        let log = || std::fs::read_to_string(at("log")).unwrap_or_default();
        wait_until("dockerd answers", Duration::from_secs(60), || {
            assert!(process.runs(), "dockerd ended:\n{}", log());
            self.client(&["version"]).output().is_ok_and(|out| out.status.success())
        });
        self.process = Some(process);
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // A container outlives its engine, so they go first.
        if let Ok(out) = self.client(&["ps", "-aq"]).output() {
            let ids = String::from_utf8_lossy(&out.stdout).into_owned();
            let force: Vec<&str> = ["rm", "-f", "-v"].into_iter().chain(ids.split_whitespace()).collect();
            if force.len() > 3 {
                let _ = self.client(&force).output();
            }
        }
        self.process = None;
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let here = self.dir.path().display().to_string();
        for mount in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|mount| mount.starts_with(&here)) {
            let _ = Command::new("umount").args(["-l", mount]).status();
        }
    }
}

fn compose_plugin() -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let own = Path::new(&home).join(".docker/cli-plugins");
    let folders = [own].into_iter().chain(PLUGINS.map(PathBuf::from));
    folders.map(|folder| folder.join("docker-compose")).find(|path| path.is_file())
}
