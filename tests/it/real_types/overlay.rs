//! `alpine/overlay` between two real sshd hosts and a real web server. Only `lbu` is a stand-in: what it prints is what the real one prints, a tar in gzip.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::process::wait_until;
use super::super::real::cut::Cut;
use super::super::real::memory::Memory;
use super::super::real::sshd::{Sshd, Wanted};
use super::super::real::web::Web;
use super::super::real::{needs, run};
use super::super::sandbox::Sandbox;
use super::site::{attributes, files, project, toml};

/// As `lbu package -` on a gold image: the changed files below `/etc`, and what `lbu include` names.
const LBU: &str = r#"#!/bin/sh
[ "$#" = 2 ] && [ "$1" = package ] && [ "$2" = - ] || { echo "usage: lbu package [-]" >&2; exit 1; }
cd "$HOME/gold" && exec busybox tar -cz etc root
"#;
/// Text that no other file of the machine holds, so that a copy of the overlay's insides would be found.
const MARK: &str = "this is the gold image of the overlay test";

struct Site {
    gold: Sshd,
    server: Sshd,
    cut: Cut,
    sandbox: Sandbox,
    web: Option<Web>,
}

/// Both hosts, the gold image filled, the server's web root at `~/http`, and a project whose definition `overlay` leads from one to the other.
fn site() -> Option<Site> {
    let [_busybox, _lighttpd, _tar] = needs(["busybox", "lighttpd", "tar"])?;
    let bin = tempfile::Builder::new().prefix("pmx-bin-").tempdir().expect("a temporary directory can be made").keep();
    write(&bin.join("wget"), include_str!("../real/alpine/wget.sh"), 0o755);
    write(&bin.join("lbu"), LBU, 0o755);
    run(Command::new("chmod").arg("755").arg(&bin));
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
    let gold = Wanted::default().env([("PATH".to_owned(), path)]).start()?;
    run(Command::new("mv").arg(&bin).arg(gold.home().join("bin")));
    std::os::unix::fs::symlink(gold.home().join("bin"), &bin).expect("a link can be made");
    let server = Sshd::start()?;
    fill(&gold.home().join("gold"));
    std::fs::create_dir_all(server.home().join("http/alpine")).expect("a folder can be made");
    let cut = Cut::start(&server.address, server.port);
    let sandbox = project(&gold);
    let config = format!("Host {}\n  Port {}\n  User root\n  IdentityFile ~/.ssh/server\n", server.address, cut.port);
    std::fs::write(sandbox.home(".ssh/config"), config).expect("an ssh config can be written");
    std::fs::copy(server.client_key(), sandbox.home(".ssh/server")).expect("a key can be copied");
    let web = Some(Web::start(&server.address, &server.home().join("http"))?);
    let site = Site { gold, server, cut, sandbox, web };
    Some(site.serving("http/alpine"))
}

fn write(path: &Path, text: impl AsRef<[u8]>, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap_or(path)).expect("a folder can be made");
    std::fs::write(path, text).expect("a file can be written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

fn fill(gold: &Path) {
    write(&gold.join("etc/hostname"), "gold-image\n", 0o644);
    write(&gold.join("etc/motd"), MARK, 0o644);
    write(&gold.join("etc/shadow"), "root:$6$salt$hash:20000:0:::::\nguest::20000:0:::::\n", 0o640);
    write(&gold.join("etc/ssh/sshd_config"), "PermitRootLogin prohibit-password\n", 0o600);
    for kind in ["rsa", "ecdsa", "ed25519"] {
        write(&gold.join(format!("etc/ssh/ssh_host_{kind}_key")), "the gold image's own key\n", 0o600);
        write(&gold.join(format!("etc/ssh/ssh_host_{kind}_key.pub")), "the gold image's public key\n", 0o644);
    }
    write(&gold.join(format!("etc/{}/x", ["a-long-name"; 12].join("/"))), "deep\n", 0o600);
    write(&gold.join("root/.ssh/authorized_keys"), "ssh-ed25519 AAAA somebody\n", 0o600);
    std::fs::create_dir_all(gold.join("etc/runlevels/default")).expect("a folder can be made");
    std::os::unix::fs::symlink("/etc/init.d/sshd", gold.join("etc/runlevels/default/sshd")).expect("a link can be made");
    // What does not shrink: the transfer has a middle in which it can be cut.
    let noise: Vec<u8> =
        (0..400_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (at.wrapping_mul(at) >> 7) as u8).collect();
    write(&gold.join("root/program"), noise, 0o755);
}

impl Site {
    /// The same with the overlay going to a folder of the server's home, or to a file there.
    fn serving(mut self, place: &str) -> Self {
        let (gold, path) = (&self.gold, toml(&self.server.home().join(place).display().to_string()));
        let text = format!(
            "type = \"alpine/overlay\"\n\n[global]\nsshHost = \"{}\"\nsshPort = {}\nsshUser = \"root\"\n\n\
             [methods.deployApkovl]\ntftpHost = \"{}\"\ntftpPath = {path}\n",
            gold.address, gold.port, self.server.address
        );
        self.sandbox = self.sandbox.file("definitions/overlay.toml", &text);
        self
    }

    #[track_caller]
    fn deploy(&self) -> super::super::sandbox::Ran {
        self.sandbox.pmx(&["build", "overlay.deployApkovl"])
    }

    fn file(&self) -> PathBuf {
        self.server.home().join("http/alpine/alpine.apkovl.tar.gz")
    }

    /// What stands in the served folder.
    fn names(&self) -> Vec<String> {
        let root = self.server.home().join("http/alpine");
        files(&root).iter().map(|path| path.strip_prefix(&root).unwrap_or(path).display().to_string()).collect()
    }
}

fn sha256(path: &Path) -> String {
    run(Command::new("sha256sum").arg(path)).split(' ').next().unwrap_or_default().to_owned()
}

/// Every entry of an archive, unpacked by the machine's own tar: path → kind, mode and text.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    run(Command::new("tar").arg("-xzpf").arg(archive).arg("-C").arg(dir.path()));
    let tell = |path: &PathBuf| {
        let meta = std::fs::symlink_metadata(path).expect("an entry is there");
        let text = match std::fs::read_link(path) {
            Ok(to) => format!("-> {}", to.display()),
            Err(_) => format!("{:o} {}", meta.permissions().mode() & 0o7777, meta.len()),
        };
        (path.strip_prefix(dir.path()).unwrap_or(path).display().to_string(), text)
    };
    files(dir.path()).iter().map(tell).collect()
}

#[test]
fn the_overlay_travels_once_and_machines_get_those_bytes() {
    let Some(site) = site() else { return };
    let before = files(&site.gold.home());
    let ran = site.deploy().exits(0).says("put the overlay");
    ran.says("lets guest in without a password").says("the gold image's password of root");
    let told = attributes(&site.sandbox, "overlay/overlay/overlay");
    assert_eq!(told["digest"].as_str(), Some(format!("sha256:{}", sha256(&site.file())).as_str()));
    let url = format!("http://{}/alpine/alpine.apkovl.tar.gz", site.server.address);
    assert_eq!(told["url"].as_str(), Some(url.as_str()));
    let web = site.web.as_ref().expect("the web server runs");
    // Its log tells that the gold image got it whole before pmx called it served.
    let line = format!("GET /alpine/alpine.apkovl.tar.gz 200 {}", told["bytes"]);
    wait_until("the web server has logged the gold image's look", Duration::from_secs(20), || web.asked().contains(&line));
    assert_eq!(web.get("/alpine/alpine.apkovl.tar.gz"), std::fs::read(site.file()).expect("the overlay is there"));
    assert_eq!(site.names(), ["alpine.apkovl.tar.gz"]);

    let mut wanted: BTreeMap<String, String> = unpacked_gold(&site.gold.home().join("gold"));
    let keys: Vec<String> = wanted.keys().filter(|path| path.contains("ssh_host_")).cloned().collect();
    wanted.retain(|path, _| !path.contains("ssh_host_"));
    assert_eq!((keys.len(), unpacked(&site.file())), (6, wanted), "all but the six host keys, with modes and links");
    let mut dropped: Vec<&str> = told["dropped"].as_array().into_iter().flatten().filter_map(|path| path.as_str()).collect();
    dropped.sort_unstable();
    assert_eq!(dropped, keys);

    // No copy of it anywhere but on the server.
    assert_eq!(files(&site.gold.home()), before);
    let local = Sandbox::files(site.sandbox.root(), &[]);
    let overlay = std::fs::read(site.file()).expect("the overlay is there");
    let holds = |bytes: &[u8]| bytes.windows(MARK.len()).any(|part| part == MARK.as_bytes()) || bytes == overlay;
    assert_eq!(local.iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// The gold image's files as `unpacked` tells an archive's.
fn unpacked_gold(gold: &Path) -> BTreeMap<String, String> {
    let archive = gold.with_extension("tar.gz");
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(gold).args(["etc", "root"]));
    let told = unpacked(&archive);
    std::fs::remove_file(archive).expect("the archive can be removed");
    told
}

#[test]
fn a_second_run_copies_nothing_and_a_changed_image_travels_again() {
    let Some(site) = site() else { return };
    site.deploy().exits(0);
    let look = || std::fs::metadata(site.file()).map(|meta| (meta.ino(), meta.mtime_nsec())).expect("the overlay is there");
    // A file that travels takes its place by a rename: it would be another one.
    let first = look();
    site.deploy().exits(0).says("has this overlay already");
    assert_eq!(look(), first);
    // Each boot of the gold image makes new host keys: they do not make a new overlay.
    write(&site.gold.home().join("gold/etc/ssh/ssh_host_rsa_key"), "another key of another boot\n", 0o600);
    site.deploy().exits(0).says("has this overlay already");
    write(&site.gold.home().join("gold/etc/motd"), "changed\n", 0o644);
    site.deploy().exits(0).says("put the overlay");
    assert_ne!(look(), first);
    // What somebody closed to the web server's user is no overlay for anybody.
    std::fs::set_permissions(site.file(), std::fs::Permissions::from_mode(0o600)).expect("a mode can be set");
    site.deploy().exits(0).says("put the overlay");
    let mode = std::fs::metadata(site.file()).expect("the overlay is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
}

#[test]
fn a_server_that_gives_the_old_file_for_a_while_is_asked_again() {
    let Some(mut site) = site() else { return };
    site.web = None;
    site.web = Web::keeping(8, &site.server.address, &site.server.home().join("http"));
    site.deploy().exits(0).says("put the overlay");
    write(&site.gold.home().join("gold/etc/motd"), "changed\n", 0o644);
    site.deploy().exits(0).says("put the overlay");
    let web = site.web.as_ref().expect("the web server runs");
    assert_eq!(web.get("/alpine/alpine.apkovl.tar.gz"), std::fs::read(site.file()).expect("the overlay is there"));
}

#[test]
fn a_cut_connection_leaves_the_old_overlay_whole_and_no_litter() {
    let Some(site) = site() else { return };
    site.deploy().exits(0);
    let old = std::fs::read(site.file()).expect("the overlay is there");
    write(&site.gold.home().join("gold/etc/motd"), "changed\n", 0o644);
    // In the handshake, in the login, at the first bytes, in the middle, close to the end; then nobody gets through any more.
    for bytes in [600, 2_500, 12_000, 60_000, 200_000, 390_000] {
        site.cut.after(bytes, 1);
        site.deploy().exits(1).keeps_quiet_about("put the overlay");
        assert_eq!(std::fs::read(site.file()).expect("the overlay is there"), old, "cut after {bytes} bytes");
        assert!(site.names().len() <= 2, "litter grows: {:?}", site.names());
        site.cut.mend();
    }
    assert_eq!(site.names().len(), 2, "the last try could not come back to clean up, or this test shows nothing");
    site.deploy().exits(0).says("put the overlay");
    assert_eq!(site.names(), ["alpine.apkovl.tar.gz"]);
    // A line that comes back is used to clean up at once.
    write(&site.gold.home().join("gold/etc/motd"), "changed again\n", 0o644);
    site.cut.after(200_000, usize::MAX);
    site.deploy().exits(1);
    assert_eq!(site.names(), ["alpine.apkovl.tar.gz"]);
}

#[test]
fn a_full_disk_leaves_the_old_overlay_whole() {
    let Some(site) = site() else { return };
    let Some(_small) = Memory::mount(&site.server.home().join("http/alpine"), "128k") else { return };
    write(&site.file(), "the old overlay", 0o644);
    for _ in 0..3 {
        site.deploy().exits(1).says(&site.server.address).says("KiB are free in").keeps_quiet_about("put the overlay");
        assert_eq!(std::fs::read_to_string(site.file()).expect("the overlay is there"), "the old overlay");
        assert_eq!(site.names(), ["alpine.apkovl.tar.gz"]);
    }
    run(Command::new("mount").args(["-o", "remount,size=4m"]).arg(site.server.home().join("http/alpine")));
    site.deploy().exits(0).says("put the overlay");
    assert_eq!(site.names(), ["alpine.apkovl.tar.gz"]);
}

#[test]
fn an_overlay_that_machines_would_not_get_is_a_failure() {
    let Some(mut site) = site() else { return };
    let place = format!("{}:{}", site.server.address, site.file().display());
    // The web server serves another folder: nothing there, then an old overlay.
    site.web = None;
    let elsewhere = tempfile::Builder::new().prefix("pmx-www-").tempdir().expect("a temporary directory can be made");
    run(Command::new("chmod").arg("755").arg(elsewhere.path()));
    site.web = Web::start(&site.server.address, elsewhere.path());
    let ran = site.deploy().exits(1).says("does not serve it over HTTP").says(&place).says("404").says("below its document root");
    assert!(site.file().exists(), "{ran}");
    write(&elsewhere.path().join("alpine/alpine.apkovl.tar.gz"), "an old overlay", 0o644);
    site.deploy().exits(1).says("does not serve it over HTTP").says("other bytes came");
    // None at all.
    site.web = None;
    site.deploy().exits(1).says("Connection refused").says("is the HTTP server running");
    site.web = Web::start(&site.server.address, &site.server.home().join("http"));
    site.deploy().exits(0).says("has this overlay already");
}

#[test]
fn a_package_that_fails_leaves_the_server_alone() {
    let Some(site) = site() else { return };
    site.deploy().exits(0);
    let old = std::fs::read(site.file()).expect("the overlay is there");
    let lbu = site.gold.home().join("bin/lbu");
    for (script, says) in [
        (
            "#!/bin/sh\ncd \"$HOME/gold\" && busybox tar -cz etc root | head -c 20000\necho 'lbu: no space left' >&2\nexit 1\n",
            "lbu: no space left",
        ),
        ("#!/bin/sh\ncd \"$HOME/gold\" && busybox tar -cz etc root | head -c 20000\n", "gave no archive in gzip"),
        ("#!/bin/sh\necho 'Salted__ and so on'\n", "an encrypted overlay cannot be booted by others"),
    ] {
        write(&lbu, script, 0o755);
        site.deploy().exits(1).says(says);
        assert_eq!(std::fs::read(site.file()).expect("the overlay is there"), old, "{says}");
    }
    std::fs::remove_file(lbu).expect("lbu can be removed");
    site.deploy().exits(1).says("`lbu package -` failed").says("lbu: not found");
    assert_eq!(site.names(), ["alpine.apkovl.tar.gz"]);
}

#[test]
fn places_with_strange_names_are_places_like_others() {
    let Some(mut site) = site() else { return };
    for place in ["http/it's $(touch pwned) 50%/-x;y", "http/ü ‘a’ \\ [1]*", "http/a#b?c&d=e"] {
        site = site.serving(&format!("{place}/my overlay.tar.gz"));
        site.deploy().exits(0).says("put the overlay");
        site.deploy().exits(0).says("has this overlay already");
        assert!(site.server.home().join(place).join("my overlay.tar.gz").is_file(), "{place}");
    }
    let pwned = |path: &PathBuf| path.file_name().is_some_and(|name| name == "pwned");
    assert!(!files(&site.server.home()).iter().chain(&files(&site.gold.home())).any(pwned));
    let at = |host: &str, path: &str| {
        site.sandbox.pmx(&["build", "overlay.deployApkovl", "-i", &format!("tftpHost={host}"), "-i", &format!("tftpPath={path}")])
    };
    at("10.0.0.191:8080", "/srv").exits(2).says("the address alone");
    at("$(reboot)", "/srv").exits(2).says("is no address and no name of a host");
    at(&site.server.address, "/srv/../etc").exits(2).says("cannot hold the overlay");
    at(&site.server.address, "srv").exits(2).says("it is not absolute");
    at(&site.server.address, "/proc/nowhere/x").exits(1).says("/proc/nowhere: no such file");
}
