//! `alpine/install` where nothing may be installed, or the installer does not do it: against a base system without a machine, whose disks are files. That it
//! installs is shown by [`super::netboot`].

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::super::fleet::Fleet;
use super::super::process::wait_until;
use super::super::real::cell::Cell;
use super::super::real::guest;
use super::super::sandbox::{Ran, Running, Sandbox};
use super::site::processes;

/// A VM of the practice fleet and the cell that stands at its address.
struct Rig {
    fleet: Fleet,
    fresh: Cell,
    bare: Cell,
}

/// A VM as the fleet made it: uuid and address.
#[track_caller]
pub fn made(fleet: &Fleet, name: &str) -> (String, String) {
    fleet.build(&["create-vm", "-i", &format!("vmName={name}")]).exits(0);
    fleet.build(&["start-vm", "-i", &format!("vmName={name}")]).exits(0);
    known(fleet, name)
}

/// Uuid and address of a VM, by its newest version.
#[track_caller]
pub fn known(fleet: &Fleet, name: &str) -> (String, String) {
    let shown = fleet.pmx(&["--json", "show", &format!("fleet/vm/{name}")]).exits(0).json();
    let text = |field: &str| shown["attributes"][field].as_str().unwrap_or_else(|| panic!("{name} has no {field}: {shown}")).to_owned();
    (text("uuid"), text("ip"))
}

/// Leads the SSH port of an address of the fleet to another place.
pub fn lead(fleet: &Fleet, ip: &str, (address, port): (&str, u16)) {
    let path = fleet.sandbox.path("Pmxfile.toml");
    let text = fleet.sandbox.read("Pmxfile.toml").replace("connect = { ", &format!("connect = {{ \"{ip}:22\" = \"{address}:{port}\", "));
    std::fs::write(path, text).expect("the Pmxfile can be written");
}

fn rig() -> Option<Rig> {
    let mirror = tempfile::tempdir().expect("a temporary directory can be made");
    guest::mirror(mirror.path())?;
    let base = mirror.path().join("alpine/v3.22/main/alpine-base.tar.gz");
    let (fresh, bare) = (Cell::start(&base, "")?, Cell::start(&base, "")?);
    let sandbox = Sandbox::own();
    let fleet = Fleet::of(sandbox);
    fleet.wake();
    std::fs::create_dir_all(fleet.sandbox.home(".ssh")).expect("a folder can be made");
    let keys = "IdentityFile ~/.ssh/fresh\nIdentityFile ~/.ssh/bare\n";
    std::fs::write(fleet.sandbox.home(".ssh/config"), keys).expect("an ssh config can be written");
    for (name, cell) in [("fresh", &fresh), ("bare", &bare)] {
        std::fs::copy(cell.sshd.client_key(), fleet.sandbox.home(&format!(".ssh/{name}"))).expect("a key can be copied");
        let (uuid, ip) = made(&fleet, name);
        cell.write("sys/class/dmi/id/product_uuid", &format!("{uuid}\n"));
        lead(&fleet, &ip, (&cell.sshd.address, cell.sshd.port));
    }
    Some(Rig { fleet, fresh, bare })
}

impl Rig {
    fn start(&self, name: &str, more: &[&str]) -> Running<'_> {
        let vm = format!("vmName={name}");
        self.fleet.start(&[&["build", "alpineInstaller.install", "-i", &vm, "--yes", name], more].concat())
    }

    #[track_caller]
    fn install(&self, more: &[&str]) -> Ran {
        self.start("fresh", more).end()
    }

    /// Makes setup-alpine do that once it has its arguments.
    fn setup(&self, script: &str) {
        self.fresh.write("etc/pmx-test", script);
    }
}

#[test]
fn what_cannot_be_installed_is_told_and_no_disk_is_touched() {
    let Some(rig) = rig() else { return };
    // It waits its minute for a disk while the rest goes on.
    let mut waiting = rig.start("bare", &[]);
    waiting.wait_for("waiting for the disk");
    refusals(&rig);
    installers_that_fail(&rig);
    old_systems(&rig);
    let ran = waiting.end().exits(1).says("a disk has not appeared within 60 s: no disk is there").says("does the VM have a disk");
    ran.says("modprobe");
    assert!(!rig.bare.path("var/log/arguments").exists(), "nothing was installed");
}

fn refusals(rig: &Rig) {
    rig.fleet.build(&["alpineInstaller.install", "-i", "vmName=fresh"]).exits(3).says("was not confirmed").says("--yes fresh");
    for hostname in ["$(touch pwned)", "two words", "it's", "-n", "a\nERASE_DISKS=/dev/sdb", ""] {
        rig.install(&["-i", &format!("hostname={hostname}")]).exits(2).says("is no hostname");
    }
    for disk in ["sda", "/dev/sda1", "/dev/sda; reboot", "/dev/../dev/sda", "/dev/disk/by-id/x", ""] {
        rig.install(&["-i", &format!("disk={disk}")]).exits(2).says("is no whole disk");
    }
    rig.install(&["-i", "password=one\nroot2:two"]).exits(2).says("a line break").keeps_quiet_about("root2");
    rig.install(&["-i", "password="]).exits(2).says("the password is empty");
    rig.install(&["-i", "timeout=0"]).exits(2).says("timeout");
    rig.install(&["-i", "force=perhaps"]).exits(2).says("force");
    rig.fresh.disks(&["sda", "sdb"]);
    rig.install(&[]).exits(2).says("there are several disks (/dev/sda, /dev/sdb)").says("name the one to erase");
    rig.fresh.disks(&["sda", "sda1"]);
    rig.fresh.mark("sda1", "somebody's files");
    rig.install(&[]).exits(3).says("/dev/sda holds the partitions sda1; nothing was erased").says("force = true");
    rig.fresh.disks(&["sda"]);
    rig.fresh.mark("sda", "a file system without partitions");
    rig.install(&[]).exits(3).says("/dev/sda holds data, but no partitions; nothing was erased");
    assert_eq!(
        (rig.fresh.marked("sda").as_str(), rig.fresh.marked("sda1").as_str()),
        ("a file system without partitions", "somebody's files")
    );
    assert!(!rig.fresh.path("var/log/arguments").exists(), "setup-alpine was not run");
    let shadow = std::fs::read_to_string(rig.fresh.path("etc/shadow")).expect("there is a shadow file");
    assert!(shadow.starts_with("root::"), "nobody has set a password: {shadow}");
    // The address is another machine's by now.
    let uuid = rig.fresh.path("sys/class/dmi/id/product_uuid");
    let own = std::fs::read_to_string(&uuid).expect("there is a uuid");
    rig.fresh.write("sys/class/dmi/id/product_uuid", "99999999-2222-4333-8444-555555555555\n");
    rig.install(&["-i", "force=true"]).exits(3).says("is another machine").says("99999999-2222-4333-8444-555555555555");
    rig.fresh.write("sys/class/dmi/id/product_uuid", &own);
}

fn installers_that_fail(rig: &Rig) {
    rig.fresh.disks(&["sda"]);
    rig.setup("echo 'fetching packages'\necho 'ERROR: no space left on device' >&2\nexit 1\n");
    let ran = rig.install(&[]).exits(1).says("setup-alpine ended with exit code 1").says("ERROR: no space left on device");
    ran.says("the disk may be half installed");
    rig.setup("echo 'Downloading packages'\nsleep 6133\n");
    let ran = rig.install(&["-i", "timeout=5"]).exits(1).says("no end of `setup-alpine` within 5 s").says("Downloading packages");
    ran.says("the disk may be half installed");
    wait_until("what the installer left running is ended", Duration::from_secs(20), || processes("sleep 6133").is_empty());
    // Root was given its password before; the answers are nobody's to read, and gone.
    let shadow = std::fs::read_to_string(rig.fresh.path("etc/shadow")).expect("there is a shadow file");
    assert!(shadow.starts_with("root:$6$"), "{shadow}");
    let read = |name: &str| std::fs::read_to_string(rig.fresh.path(&format!("var/log/{name}"))).expect("setup-alpine was run");
    assert_eq!(read("mode"), "600\n");
    assert!(read("arguments").starts_with("-e\n-f\n/tmp/pmx-answers."));
}

/// An installer that ends well without having done anything must not pass because an older system is there.
fn old_systems(rig: &Rig) {
    rig.fresh.disks(&["sda", "sda1", "sda2"]);
    rig.fresh.mark("sda1", "an old file system");
    rig.fresh.mark("sda2", "another");
    rig.setup("exit 0\n");
    let ran = rig.install(&["-i", "force=true"]).exits(1).says("no Alpine is on /dev/sda after the installation");
    ran.says("holds the partitions sda1, sda2, which is erased now");
    assert_eq!((rig.fresh.marked("sda1"), rig.fresh.marked("sda2")), (String::new(), String::new()));
    assert!(std::fs::metadata(rig.fresh.path("dev/sda1")).is_ok_and(|meta| meta.len() == 2 << 20), "only what was there was written over");
}

/// What `config/slate-setup-alpine.conf` sets, as the shell that sources it has it.
#[test]
fn the_answer_file_for_slate_answers_every_question() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/slate-setup-alpine.conf");
    let mut shell = Command::new("/bin/sh");
    // All that it sets is exported; the shell's own variables are those that it has without it.
    shell.args(["-c", "set -a; . \"$1\" || exit 1; exec env -0", "sh"]).arg(&file).env_clear().env("PATH", "/usr/bin:/bin");
    let told = super::super::real::run(&mut shell);
    let own = ["PATH", "PWD", "OLDPWD", "SHLVL", "_"];
    let pairs = told.split('\0').filter_map(|entry| entry.split_once('=')).filter(|(name, _)| !own.contains(name));
    let answers: BTreeMap<&str, &str> = pairs.collect();
    let wanted = [
        ("KEYMAPOPTS", "us us"),
        ("HOSTNAMEOPTS", "-n slate"),
        ("DEVDOPTS", "mdev"),
        ("INTERFACESOPTS", "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n    hostname slate\n"),
        ("DNSOPTS", "10.0.0.162 10.0.0.137 10.0.0.1"),
        ("TIMEZONEOPTS", "UTC"),
        ("PROXYOPTS", "none"),
        ("APKREPOSOPTS", "-c -1"),
        ("USEROPTS", "none"),
        ("SSHDOPTS", "openssh"),
        ("ROOTSSHKEY", "none"),
        ("NTPOPTS", "chrony"),
        ("DISKOPTS", "-m sys /dev/sda"),
        ("LBUOPTS", "none"),
        ("APKCACHEOPTS", "none"),
    ];
    assert_eq!(answers, BTreeMap::from(wanted));
}
