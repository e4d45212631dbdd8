//! Uploads: `ssh/host.upload` and `pmx/repo.syncCode` of the built `pmx`, and beside them OpenSSH's `sftp` and `scp`, in turn on one real sshd.
//!
//! Whole processes are timed, from start to end, each into a new directory. pmx compares digests and brings every file to the disk before it takes its
//! place; of the others only `put -f` does. TMPDIR says on which file system. `cargo bench --bench upload -- [--json] [--rounds N]`.
#![expect(clippy::disallowed_methods, reason = "a bench owns files, processes and the clock of its sandbox")]
#![expect(clippy::print_stdout, reason = "its figures are what it is for")]

use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Fewer tell nothing on a machine that does other work.
const ROUNDS: usize = 5;
/// Where programs are that an ordinary user's PATH leaves out.
const ALSO: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// What is sent.
struct Load {
    name: &'static str,
    files: usize,
    bytes: usize,
}

const LOADS: [Load; 2] =
    [Load { name: "1,000 files of 4 KiB", files: 1000, bytes: 4 << 10 }, Load { name: "one file of 256 MiB", files: 1, bytes: 256 << 20 }];

/// Who sends it.
#[derive(Clone, Copy, PartialEq)]
enum Sender {
    Upload,
    Sync,
    Sftp,
    /// With its own way to bring each file to the disk.
    SftpSynced,
    Scp,
}

impl Sender {
    const ALL: [Self; 5] = [Self::Upload, Self::Sync, Self::Sftp, Self::SftpSynced, Self::Scp];

    const fn name(self) -> &'static str {
        match self {
            Self::Upload => "pmx ssh/host.upload",
            Self::Sync => "pmx pmx/repo.syncCode",
            Self::Sftp => "sftp put -r",
            Self::SftpSynced => "sftp put -rf (synced)",
            Self::Scp => "scp -r",
        }
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(ALSO).map(|dir| Path::new(dir).join(name)).find(|path| path.is_file())
}

fn run(command: &mut Command) {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{command:?} ended with {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
}

/// A server, a project that knows it, and what is to be sent.
struct Bench {
    dir: tempfile::TempDir,
    port: u16,
    sshd: Child,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

impl Bench {
    fn start(sshd: &Path, keygen: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all("/run/sshd").expect("root may make /run/sshd");
        std::fs::create_dir_all(at("home/.ssh")).expect("a folder can be made");
        for key in ["host", "home/.ssh/id_ed25519"] {
            run(Command::new(keygen).args(["-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f"]).arg(at(key)));
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port is free").port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp /usr/lib/openssh/sftp-server\n",
            at("host").display(),
            at("home/.ssh/id_ed25519.pub").display(),
        );
        std::fs::write(at("sshd_config"), config).expect("a file can be written");
        let child = Command::new(sshd).args(["-D", "-e", "-f"]).arg(at("sshd_config")).stderr(Stdio::null()).spawn().expect("sshd starts");
        let bench = Self { port, sshd: child, dir };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(10), "sshd does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes what is sent, in a project of its own.
    fn load(&self, load: &Load) {
        let site = self.at("project/site");
        // The first load finds nothing to remove.
        let _ = std::fs::remove_dir_all(self.at("project"));
        std::fs::create_dir_all(&site).expect("a folder can be made");
        let mut state: u64 = 88172645463325252;
        for number in 0..load.files {
            // Bytes that no compression helps with.
            let words = (0..load.bytes / 8).flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            });
            std::fs::write(site.join(format!("{number}.bin")), words.collect::<Vec<u8>>()).expect("a file can be written");
        }
        std::fs::create_dir_all(self.at("project/definitions")).expect("a folder can be made");
        let write = |path: &str, text: String| std::fs::write(self.at("project").join(path), text).expect("a file can be written");
        write("Pmxfile.toml", "[project]\nname = \"bench\"\n".into());
        write(
            "definitions/host.toml",
            format!("type = \"ssh/host\"\n\n[global]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"root\"\n", self.port),
        );
    }

    /// Sends it into `dest`, which does not exist, and says how long that took.
    fn send(&self, sender: Sender, dest: &Path) -> Duration {
        let dest_text = dest.display().to_string();
        if sender == Sender::Sync {
            let text =
                format!("type = \"pmx/repo\"\n\n[global]\nsshHost = \"127.0.0.1\"\nsshPort = {}\nremoteDir = \"{dest_text}\"\n", self.port);
            std::fs::write(self.at("project/definitions/repo.toml"), text).expect("a file can be written");
        }
        let mut command = match sender {
            Sender::Upload | Sender::Sync => Command::new(env!("CARGO_BIN_EXE_pmx")),
            Sender::Sftp | Sender::SftpSynced => Command::new("sftp"),
            Sender::Scp => Command::new("scp"),
        };
        command.current_dir(self.at("project")).env("HOME", self.at("home")).env_remove("XDG_CONFIG_HOME").env_remove("SSH_AUTH_SOCK");
        let known = format!("UserKnownHostsFile={}", self.at("known_hosts").display());
        let options = ["-q", "-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", &known, "-o", "BatchMode=yes", "-i"];
        match sender {
            Sender::Upload => {
                command.args(["build", "host.upload", "-i", "source=site", "-i", &format!("dest={dest_text}")]);
            }
            Sender::Sync => {
                command.args(["build", "repo.syncCode"]);
            }
            Sender::Sftp | Sender::SftpSynced => {
                let how = if sender == Sender::SftpSynced { "-rf" } else { "-r" };
                std::fs::create_dir_all(dest).expect("a folder can be made");
                std::fs::write(self.at("batch"), format!("put {how} site {dest_text}/site\n")).expect("a file can be written");
                command.args(options).arg(self.at("home/.ssh/id_ed25519")).arg("-b").arg(self.at("batch"));
                command.args(["-P", &self.port.to_string(), "root@127.0.0.1"]);
            }
            Sender::Scp => {
                command.args(options).arg(self.at("home/.ssh/id_ed25519")).args(["-P", &self.port.to_string(), "-r", "site"]);
                command.arg(format!("root@127.0.0.1:{dest_text}"));
            }
        }
        // Whoever syncs must not pay for what another has left to be written.
        run(&mut Command::new("sync"));
        let began = Instant::now();
        run(&mut command);
        began.elapsed()
    }
}

/// Milliseconds of one sender's rounds.
struct Times(Vec<f64>);

impl Times {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
    }

    fn spread(&self) -> (f64, f64) {
        self.0.iter().fold((f64::MAX, 0.0), |(low, high), time| (low.min(*time), f64::max(high, *time)))
    }
}

fn measure(bench: &Bench, load: &Load, senders: &[Sender], rounds: usize) -> Vec<Times> {
    bench.load(load);
    let mut times: Vec<Times> = senders.iter().map(|_| Times(Vec::new())).collect();
    // One round to warm up: stores are made, host keys learnt, caches filled.
    for round in 0..=rounds {
        for at in 0..senders.len() {
            // Another one begins each time.
            let turn = (at + round) % senders.len();
            let dest = bench.at(&format!("there-{round}-{turn}"));
            let took = bench.send(senders[turn], &dest);
            std::fs::remove_dir_all(&dest).expect("it has arrived and can be removed");
            if round > 0 {
                times[turn].0.push(took.as_secs_f64() * 1000.0);
            }
        }
    }
    times
}

fn text(load: &Load, senders: &[Sender], times: &[Times]) -> String {
    let mut out = format!("{}\n", load.name);
    for (sender, time) in senders.iter().zip(times) {
        let (low, high) = time.spread();
        let _ = write!(out, "  {:24} median {:8.0} ms  ({low:.0} to {high:.0})", sender.name(), time.median());
        for (peer, other) in senders.iter().zip(times).filter(|(peer, _)| !matches!(peer, Sender::Upload | Sender::Sync) && *peer != sender)
        {
            let _ = write!(out, "  {:.2} × {}", time.median() / other.median(), peer.name());
        }
        out.push('\n');
    }
    out
}

fn json(load: &Load, senders: &[Sender], times: &[Times]) -> String {
    let row = |(sender, time): (&Sender, &Times)| {
        let ((low, high), rounds) = (time.spread(), time.0.len());
        format!(
            "{{\"sender\":\"{}\",\"median_ms\":{:.1},\"low_ms\":{low:.1},\"high_ms\":{high:.1},\"rounds\":{rounds}}}",
            sender.name(),
            time.median()
        )
    };
    let rows: Vec<String> = senders.iter().zip(times).map(row).collect();
    format!("{{\"load\":\"{}\",\"senders\":[{}]}}", load.name, rows.join(","))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let as_json = arguments.iter().any(|word| word == "--json");
    let rounds = arguments.iter().position(|word| word == "--rounds").and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(ROUNDS);
    let is_root = std::fs::read_to_string("/proc/self/status").unwrap_or_default().lines().any(|line| line.starts_with("Uid:\t0\t"));
    let (Some(sshd), Some(keygen), true) = (find("sshd"), find("ssh-keygen"), is_root) else {
        println!("skipped: needs sshd and ssh-keygen, and root to run them");
        return;
    };
    let missing = |sender: &Sender| match sender {
        Sender::Sftp | Sender::SftpSynced => find("sftp").is_none(),
        Sender::Scp => find("scp").is_none(),
        Sender::Upload | Sender::Sync => false,
    };
    for sender in Sender::ALL.iter().filter(|sender| missing(sender)) {
        tell_skipped(sender.name());
    }
    let senders: Vec<Sender> = Sender::ALL.into_iter().filter(|sender| !missing(sender)).collect();
    let bench = Bench::start(&sshd, &keygen);
    for load in &LOADS {
        let times = measure(&bench, load, &senders, rounds);
        if as_json {
            println!("{}", json(load, &senders, &times));
        } else {
            print!("{}", text(load, &senders, &times));
        }
    }
}

/// On standard error, so that `--json` stays JSON.
fn tell_skipped(name: &str) {
    use std::io::Write as _;
    // Nobody may listen.
    let _ = writeln!(std::io::stderr(), "skipped: needs {name}");
}
