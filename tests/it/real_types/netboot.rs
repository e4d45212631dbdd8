//! The whole way of a machine that boots from the network: a gold image whose overlay is put on the web server, a machine that boots with that overlay, is
//! installed, and boots from its disk. Firmware, iPXE, DHCP, TFTP, HTTP, kernel, disk, boot loader, sshd and guest agent are real; Proxmox is the practice
//! fleet, and Alpine's own programs are stand-ins.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::fleet::Fleet;
use super::super::real::guest::{self, Guest, Wanted};
use super::super::real::run;
use super::super::real::sshd::{Sshd, own_address};
use super::super::real::web::Web;
use super::super::sandbox::Sandbox;
use super::install::{known, lead, made};

/// What a shell, an answer file, a log or `chpasswd` might trip over.
const PASSWORD: &str = r#"it's "$(reboot)" `id` \n 100% a:b;#é"#;

struct Yard {
    fleet: Fleet,
    server: Sshd,
    web: Web,
    root: PathBuf,
    disk: PathBuf,
    gold: (String, u16),
    fresh: (String, u16),
}

fn yard() -> Option<Yard> {
    let server = Sshd::start()?;
    let root = server.home().join("srv/http");
    std::fs::create_dir_all(root.join("alpine")).expect("a folder can be made");
    guest::mirror(&root)?;
    let web = Web::start(&server.address, &root)?;
    first_overlay(&server, &root.join("alpine/alpine.apkovl.tar.gz"));
    let (gold, fresh) = (own_address(), own_address());
    let sandbox = Sandbox::own()
        .key(&server.client_key())
        .env("SAFE_ROOT", PASSWORD)
        .replace("Pmxfile.toml", "# Chat:", "[vault.safe]\nkind = \"env\"\nprefix = \"SAFE_\"\n\n# Chat:")
        .replace("definitions/alpineInstaller.toml", r#"vault.get("proxmox-vault", "password")"#, r#"vault.get("safe", "ROOT")"#)
        .replace("definitions/goldImageOverlay.toml", "/srv/http/alpine", &root.join("alpine").display().to_string());
    let mut fleet = Fleet::of(sandbox);
    fleet.sandbox = fleet.sandbox.deadline(Duration::from_secs(600));
    fleet.wake();
    let disk = guest::empty_disk(server.home().join("disk.raw"));
    Some(Yard { fleet, server, web, root, disk, gold, fresh })
}

/// What somebody who sets up the gold image begins with: a key that lets root in, and sshd.
fn first_overlay(server: &Sshd, path: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("etc/runlevels/default")).expect("a folder can be made");
    std::fs::create_dir_all(at("root/.ssh")).expect("a folder can be made");
    std::os::unix::fs::symlink("/etc/init.d/sshd", at("etc/runlevels/default/sshd")).expect("a link can be made");
    std::fs::write(at("etc/motd"), "the gold image\n").expect("a file can be written");
    std::fs::copy(server.client_key().with_extension("pub"), at("root/.ssh/authorized_keys")).expect("a key can be copied");
    run(Command::new("chmod").arg("-R").arg("go=").arg(at("root")));
    run(Command::new("tar").args(["--owner=0", "--group=0", "-czf"]).arg(path).arg("-C").arg(dir.path()).args(["etc", "root"]));
}

impl Yard {
    #[track_caller]
    fn boot(&self, uuid: &str, ssh: &(String, u16), from_disk: bool) -> Option<Guest> {
        guest::wait_free(ssh);
        Guest::start(&Wanted { uuid, ssh, web: &self.web.address, disk: &self.disk, from_disk })
    }

    /// How often the machine's web server gave away the overlay, and how long it was.
    fn overlays(&self) -> Vec<String> {
        self.web.asked().into_iter().filter(|line| line.contains("apkovl")).collect()
    }
}

#[test]
fn a_machine_boots_the_deployed_overlay_is_installed_and_boots_from_its_disk() {
    let Some(yard) = yard() else { return };
    let (gold_uuid, gold_ip) = {
        yard.fleet.build(&["start-gold-image"]).exits(0);
        known(&yard.fleet, "gold-image")
    };
    let (uuid, ip) = made(&yard.fleet, "fresh");
    lead(&yard.fleet, &gold_ip, (&yard.gold.0, yard.gold.1));
    lead(&yard.fleet, "10.0.0.191", (&yard.server.address, yard.server.port));
    lead(&yard.fleet, &ip, (&yard.fresh.0, yard.fresh.1));
    let Some(gold_key) = deployed(&yard, &gold_uuid) else { return };
    let Some(mut guest) = yard.boot(&uuid, &yard.fresh, false) else { return };
    guest.wait_for("localhost is up from tmpfs");
    booted_with_the_overlay(&yard, &guest, &gold_key);
    installed(&yard, &guest);
    drop(guest);
    let Some(mut guest) = yard.boot(&uuid, &yard.fresh, true) else { return };
    guest.wait_for("fresh is up from /dev/sda3");
    boots_by_itself(&yard, &guest);
}

/// Boots the gold image and deploys its overlay; the gold image's host key.
fn deployed(yard: &Yard, uuid: &str) -> Option<String> {
    let mut gold = yard.boot(uuid, &yard.gold, false)?;
    gold.wait_for("localhost is up from tmpfs");
    let key = gold.run(&yard.server.client_key(), "echo changed >>/etc/motd; cat /etc/ssh/ssh_host_ed25519_key.pub");
    yard.fleet.build(&["deploy-apkovl"]).exits(0).says("put the overlay").says("lets root in without a password");
    yard.fleet.build(&["deploy-apkovl"]).exits(0).says("has this overlay already");
    let told = &yard.fleet.pmx(&["--json", "show", "goldImageOverlay/overlay/overlay"]).exits(0).json()["attributes"];
    assert_eq!(told["url"].as_str(), Some("http://10.0.0.191/alpine/alpine.apkovl.tar.gz"), "where the machines look for it");
    let overlay = yard.root.join("alpine/alpine.apkovl.tar.gz");
    let names = run(Command::new("tar").arg("-tzf").arg(&overlay));
    assert!(names.contains("root/.ssh/authorized_keys") && names.contains("etc/motd") && !names.contains("ssh_host_"), "{names}");
    Some(key)
}

fn booted_with_the_overlay(yard: &Yard, guest: &Guest, gold_key: &str) {
    let bytes = std::fs::metadata(yard.root.join("alpine/alpine.apkovl.tar.gz")).expect("the overlay is there").len();
    let overlays = yard.overlays();
    assert_eq!(overlays.last(), Some(&format!("GET /alpine/alpine.apkovl.tar.gz 200 {bytes}")), "{overlays:?}");
    let told = guest.run(&yard.server.client_key(), "cat /etc/motd /etc/ssh/ssh_host_ed25519_key.pub");
    assert!(told.starts_with("the gold image\nchanged\n") && !told.contains(gold_key.trim()), "{told}");
}

fn installed(yard: &Yard, guest: &Guest) {
    let fleet = &yard.fleet;
    let install = ["build", "alpineInstaller.install", "-i", "vmName=fresh", "--yes", "fresh"];
    let mut running = fleet.start(&install);
    running.wait_for("waiting for the disk");
    guest.plug();
    running.end().exits(0).says("installed Alpine 3.22.1 as fresh on /dev/sda").keeps_quiet_about(PASSWORD);
    let key = yard.server.client_key();
    let seen = guest.run(&key, "cat /var/log/seen");
    assert!(seen.contains("chpasswd") && seen.contains("setup-alpine"), "the look at the processes shows nothing");
    assert!(!seen.contains("it's \"$(reboot)\""), "the password is in an argument or a variable of a process");
    assert_eq!(guest.run(&key, "cat /var/log/mode; ls /tmp"), "600\n", "the answer file was root's alone, and is gone");
    let answers = guest.run(&key, "cat /var/log/answers");
    assert!(!answers.contains("reboot"), "the password is in the answers: {answers}");
    for (path, bytes) in Sandbox::files(fleet.sandbox.root(), &[]) {
        let holds = bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
        assert!(!holds, "the password is in {path}");
    }
    let again = fleet.pmx(&install).exits(3).says("/dev/sda holds the partitions sda1, sda2, sda3; nothing was erased");
    again.says("`force = true` erases it");
}

fn boots_by_itself(yard: &Yard, guest: &Guest) {
    let (fleet, key) = (&yard.fleet, yard.server.client_key());
    let told = &fleet.pmx(&["--json", "show", "alpineInstaller/result/fresh"]).exits(0).json()["attributes"];
    let host_key = guest.run(&key, "cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    assert_eq!((told["hostKey"].as_str(), told["rootDevice"].as_str()), (Some(host_key.trim()), Some("/dev/sda3")), "{told}");
    let repositories = guest.run(&key, "cat /etc/apk/repositories");
    assert!(repositories.lines().any(|line| line.ends_with("/community") && !line.starts_with('#')), "{repositories}");
    let shadow = guest.run(&key, "grep ^root: /etc/shadow");
    let field = shadow.split(':').nth(1).unwrap_or_default();
    assert_eq!(hash(field.split('$').nth(2).unwrap_or_default()), field, "the password arrived as it is");
    let addresses = guest.agent("guest-network-get-interfaces").to_string();
    assert!(addresses.contains("\"10.0.0.200\""), "the guest agent answers: {addresses}");
    // Its key was pinned when it was installed, and no longer changes: any other would be refused.
    let command = "command=grep '^/dev/sda3 / ext4 ' /proc/mounts";
    fleet.build(&["testVmSsh.exec", "-i", "vmName=fresh", "-i", command]).exits(0);
    let again = ["alpineInstaller.install", "-i", "vmName=fresh", "-i", "force=true", "--yes", "fresh"];
    fleet.build(&again).exits(3).says("runs from /dev/sda3 (ext4): it is installed");
}

/// The password's hash with a salt, by a program that has nothing to do with the machine.
fn hash(salt: &str) -> String {
    let mut mkpasswd = Command::new("busybox");
    mkpasswd.args(["mkpasswd", "-P", "0", "-m", "sha512", "-S", salt]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = mkpasswd.spawn().expect("busybox starts");
    child.stdin.take().expect("there is an input").write_all(PASSWORD.as_bytes()).expect("it takes a password");
    String::from_utf8_lossy(&child.wait_with_output().expect("busybox ends").stdout).trim().to_owned()
}
