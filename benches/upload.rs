//! Uploads: `ssh/host.upload` and `pmx/repo.syncCode`, and beside them OpenSSH's `sftp` and `scp`, and rsync, on one real sshd.
//!
//! Each time into a new directory, of which many small files stay until the end: a file system that has just removed a thousand files takes twice as long
//! for the next thousand (ext4 passes over what was deleted within five seconds), whoever sends them. pmx compares digests and brings every file to the disk before it takes its place; of the others only `put -f` does.
//! TMPDIR says on which file system.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Contender, Harness, Measured, Work, run, timed};
use crate::sshd::Sshd;

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
    Rsync,
}

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    let server = match Sshd::start(&["127.0.0.1".to_owned()]) {
        Ok(server) => server,
        Err(needs) => {
            harness.skipped(&format!("uploads: needs {needs}"));
            return LOADS.iter().for_each(|load| goal(harness, load, |_| Err(format!("needs {needs}"))));
        }
    };
    server.write(
        "definitions/host.toml",
        &format!("type = \"ssh/host\"\n\n[global]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"root\"\n", server.port),
    );
    for load in &LOADS {
        fill(&server, load);
        let work = |sender: Sender| {
            let server = &server;
            Work::Own(Box::new(move |round| {
                let dest = server.at(&format!("there-{round}-{}", sender as usize));
                let took = send(server, sender, &dest);
                if load.files == 1 {
                    server.remove(&dest);
                }
                took
            }))
        };
        let case = harness.contest(
            load.name,
            vec![
                Contender::ours("pmx ssh/host.upload", work(Sender::Upload)),
                Contender::ours("pmx pmx/repo.syncCode", work(Sender::Sync)),
                Contender::peer("sftp put -r", &["sftp"], work(Sender::Sftp)),
                Contender::peer("sftp put -rf (synced)", &["sftp"], work(Sender::SftpSynced)),
                Contender::peer("scp -r", &["scp"], work(Sender::Scp)),
                Contender::peer("rsync -r", &["rsync"], work(Sender::Rsync)),
            ],
        );
        goal(harness, load, |peer| case.ratio("pmx ssh/host.upload", peer));
    }
}

fn goal(harness: &mut Harness, load: &Load, ratio: impl Fn(&str) -> Measured) {
    let (peer, bound) = if load.files > 1 { ("rsync -r", 0.5) } else { ("scp -r", 0.9) };
    harness.goal(format!("upload of {}", load.name), (format!("≤ {bound} × {peer}"), bound), ratio(peer), "×");
}

/// Makes what is sent.
fn fill(server: &Sshd, load: &Load) {
    let site = server.at("project/site");
    // The first load finds nothing to remove.
    let _ = std::fs::remove_dir_all(&site);
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
}

/// Sends it into `dest`, which does not exist, and says how long that took.
fn send(server: &Sshd, sender: Sender, dest: &Path) -> Duration {
    let there = dest.display().to_string();
    let (port, options) = (server.port.to_string(), server.options());
    let mut command = match sender {
        Sender::Upload => server.pmx(["build", "host.upload", "-i", "source=site", "-i", &format!("dest={there}")]),
        Sender::Sync => {
            let text = format!("type = \"pmx/repo\"\n\n[global]\nsshHost = \"127.0.0.1\"\nsshPort = {port}\nremoteDir = \"{there}\"\n");
            server.write("definitions/repo.toml", &text);
            server.pmx(["build", "repo.syncCode"])
        }
        Sender::Sftp | Sender::SftpSynced => {
            let how = if sender == Sender::SftpSynced { "-rf" } else { "-r" };
            std::fs::create_dir_all(dest).expect("a folder can be made");
            std::fs::write(server.at("batch"), format!("put {how} site {there}/site\n")).expect("a file can be written");
            let mut command = server.home(Command::new("sftp"));
            command.args(options).arg("-b").arg(server.at("batch")).args(["-P", &port, "root@127.0.0.1"]);
            command
        }
        Sender::Scp => {
            let mut command = server.home(Command::new("scp"));
            command.args(options).args(["-P", &port, "-r", "site", &format!("root@127.0.0.1:{there}")]);
            command
        }
        Sender::Rsync => {
            let mut command = server.home(Command::new("rsync"));
            command.args(["-r", "-e", &format!("ssh -p {port} {}", options.join(" ")), "site", &format!("root@127.0.0.1:{there}")]);
            command
        }
    };
    // Whoever syncs must not pay for what another has left to be written.
    run(&mut Command::new("sync"));
    timed(&mut command)
}
