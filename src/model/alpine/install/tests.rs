//! What `alpine/install` does: wire script → outcome, and the answer file as a real shell reads it.
#![expect(clippy::disallowed_methods, reason = "the answer file is read by the shell of this machine")]

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::model::alpine::install::answers::{Answers, check_hostname, name_servers};
use crate::model::alpine::install::disk::{disks, wanted};
use crate::model::alpine::install::installed::repositories;
use crate::model::contract::{Acted, FailureKind};
use crate::model::scene::{RUN, Scene, written};
use crate::value::Value;
use crate::wire::scripted::ScriptedSsh;
use crate::wire::ssh::Pinning;

const UUID: &str = "11111111-2222-4333-8444-555555555555";
const PASSWORD: &str = "hunter2 hunter2:x";
const KEYS: &str = "ssh-ed25519 AAAA it's $(reboot) me\n";
const EMPTY: &str =
    "major minor  #blocks  name\n\n   8        0   33554432 sda\n  11        0    1048575 sr0\n   7        0     123456 loop0\n";
const PARTED: &str = "major minor  #blocks  name\n\n   8        0   33554432 sda\n   8        1     307200 sda1\n   8        2    4194304 sda2\n   8        3   28000000 sda3\n";
const NO_DISK: &str = "major minor  #blocks  name\n\n  11        0    1048575 sr0\n";
const FOUND: &str = "release=3.22.1\nhostname=fresh\npassword=set\nfstab=1\nkeys=1\nkernel=yes\nsshd=yes\nagent=yes\nhostkey=ssh-ed25519 HOST\nlivekey=ssh-ed25519 HOST\n";

fn globals() -> Json {
    json!({"sshHost": "10.0.0.200"})
}

fn arguments() -> Json {
    json!({"hostname": "fresh", "password": PASSWORD})
}

/// A scene in which the VM `fresh` was shown and confirmed.
fn scene(ssh: ScriptedSsh) -> Scene {
    let mut scene = Scene::ssh(ssh);
    scene.ctx.guard.shown = Some(Value::from(json!({"vmName": "fresh", "vmid": 110, "uuid": UUID, "madeBy": RUN})));
    scene
}

fn reached() -> ScriptedSsh {
    ScriptedSsh::new().expect("cat /sys/class/dmi/id/product_uuid", &format!("{}\n", UUID.to_uppercase()))
}

/// The commands that look at a netbooted Alpine.
fn live(mounts: &str, keys: &str) -> ScriptedSsh {
    let ssh = reached().expect("cat /etc/alpine-release", "3.22.1\n").expect("id -u", "0\n").expect("cat /proc/mounts", mounts);
    if mounts.contains("ext4") { ssh } else { ssh.expect("cat /root/.ssh/authorized_keys", keys) }
}

const MEMORY: &str = "rootfs / rootfs rw 0 0\ntmpfs / tmpfs rw,relatime,mode=755 0 0\nproc /proc proc rw 0 0\n";

/// Up to the look at the disk.
fn ready() -> ScriptedSsh {
    live(MEMORY, KEYS)
        .expect("cat /etc/resolv.conf", "search lan\nnameserver 10.0.0.162\nnameserver ; reboot\n")
        .expect("sh -c *modprobe*", "")
}

/// Up to the end of setup-alpine.
fn set_up() -> ScriptedSsh {
    let ssh = ready().expect("cat /proc/partitions", EMPTY).expect("sh -c *head -c 1048576* /dev/sda", "0\n");
    let ssh = ssh.expect("chpasswd -c SHA512", "").with_stdin(&format!("root:{PASSWORD}\n"));
    ssh.expect("sh -c *setup-alpine -e -f* /dev/sda", "Installation is complete. Please reboot.\n")
}

/// Up to the completed system.
fn completed() -> ScriptedSsh {
    let ssh = set_up().expect("cat /proc/partitions", PARTED);
    let ssh = ssh.expect("sh -c *mktemp -d* /dev/sda3 /dev/sda2 /dev/sda1", "/tmp/pmx-root.x /dev/sda3\n");
    let ssh = ssh.expect("cat /tmp/pmx-root.x/etc/apk/repositories", "http://m/alpine/v3.22/main\n#http://m/alpine/v3.22/community\n");
    let ssh = ssh.expect("cat /tmp/pmx-root.x/etc/alpine-release", "3.22.1\n");
    let ssh = ssh.expect("sh -c *cat >\"$1\"* /tmp/pmx-root.x/etc/apk/repositories", "");
    ssh.with_stdin("http://m/alpine/v3.22/main\nhttp://m/alpine/v3.22/community\n")
}

#[tokio::test]
async fn a_netbooted_machine_is_installed_proven_and_its_key_pinned() {
    let ssh = completed().expect("sh -c *apk add -U qemu-guest-agent* /tmp/pmx-root.x", "").with_stdin(KEYS);
    let scene = scene(ssh.expect("sh -c *livekey* /tmp/pmx-root.x", FOUND).expect("sh -c *umount* /tmp/pmx-root.x", ""));
    let outcome = scene.call("alpine/install", "install", globals(), arguments()).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("installed Alpine 3.22.1 as fresh on /dev/sda", true));
    let state = json!({
        "host": "10.0.0.200", "hostname": "fresh", "disk": "/dev/sda", "rootDevice": "/dev/sda3", "release": "3.22.1", "rootPassword": true,
        "hostKey": "ssh-ed25519 HOST",
    });
    assert_eq!(written(&outcome), state);
    let called = scene.ssh.called();
    assert!(called.iter().all(|call| call.target.pinning == Pinning::ThisBoot), "a netboot's key is nobody's pin");
    assert!(called.iter().all(|call| !call.command.contains("hunter2")), "no password in any command");
    assert!(!format!("{outcome:?} {:?}", scene.told.all()).contains("hunter2"));
    let log = scene.ssh.log();
    let of = |what: &str| log.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!((of("wait"), of("forget")), (2, 2), "a login for the work and one that pins; both ends of the boot");
    assert_eq!(log.last().map(String::as_str), Some("forget 10.0.0.200"));
    let deadline = called.iter().find(|call| call.command.contains("setup-alpine")).unwrap().deadline;
    assert_eq!(deadline.as_secs(), 900);
}

#[tokio::test]
async fn the_answer_file_has_every_answer() {
    let ssh = completed().expect("sh -c *apk add*", "").expect("sh -c *livekey*", FOUND).expect("sh -c *umount*", "");
    let scene = scene(ssh);
    scene.call("alpine/install", "install", globals(), arguments()).await.unwrap();
    let called = scene.ssh.called();
    let file = &called.iter().find(|call| call.command.contains("setup-alpine")).unwrap().stdin;
    let read = answers(&String::from_utf8_lossy(file));
    let expected = [
        ("KEYMAPOPTS", "us us"),
        ("HOSTNAMEOPTS", "-n fresh"),
        ("DEVDOPTS", "mdev"),
        ("INTERFACESOPTS", "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n\thostname fresh\n"),
        ("DNSOPTS", "10.0.0.162"),
        ("TIMEZONEOPTS", "UTC"),
        ("PROXYOPTS", "none"),
        ("APKREPOSOPTS", "-c -1"),
        ("USEROPTS", "none"),
        ("SSHDOPTS", "openssh"),
        ("ROOTSSHKEY", KEYS),
        ("NTPOPTS", "chrony"),
        ("DISKOPTS", "-m sys /dev/sda"),
        ("LBUOPTS", "none"),
        ("APKCACHEOPTS", "none"),
    ];
    assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// The variables of an answer file, as a shell that sources it has them.
fn answers(file: &str) -> Vec<(String, String)> {
    let names: Vec<&str> = file.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| name.chars().all(|c| c.is_ascii_uppercase())).collect();
    let print: String = names.iter().map(|name| format!("printf '%s\\0' \"${name}\"\n")).collect();
    let mut shell = Command::new("sh").stdin(Stdio::piped()).stdout(Stdio::piped()).env_clear().spawn().unwrap();
    shell.stdin.take().unwrap().write_all(format!("{file}\n{print}").as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    assert!(output.status.success(), "{file}");
    let text = String::from_utf8(output.stdout).unwrap();
    names.into_iter().map(str::to_owned).zip(text.split('\0').map(str::to_owned)).collect()
}

proptest! {
    #![proptest_config(crate::walks::cases(24))]
    #[test]
    fn no_key_and_no_disk_can_leave_its_quotes(keys in "[^\\x00]{0,40}", disk in "[^\\x00]{0,20}") {
        let file = Answers { hostname: "a", disk: &disk, keys: &keys, dns: &[] }.text().unwrap();
        let script = format!("{file}printf '%s\\0%s\\0' \"$ROOTSSHKEY\" \"$DISKOPTS\"");
        let output = Command::new("sh").args(["-c", &script]).env_clear().output().unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{keys}\0-m sys {disk}\0"));
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused_before_anything_is_asked() {
    let long = "a".repeat(64);
    let hostile = ["", "a b", "-a", "a-", "a..b", "$(reboot)", "a\nb", "é", long.as_str()];
    let names = hostile.map(|name| json!({"hostname": name, "password": PASSWORD}));
    let passwords = ["", "a\nroot2:b", "a\rb", "a\u{0}b"].map(|text| json!({"hostname": "fresh", "password": text}));
    let disks = ["", "sda", "/dev/sda1", "/dev/sda; reboot", "/dev/../sda", "/dev/nvme0n1p1", "/dev/loop0", "/dev/mapper/x"]
        .map(|disk| json!({"hostname": "fresh", "password": PASSWORD, "disk": disk}));
    for arguments in names.into_iter().chain(passwords).chain(disks) {
        let scene = scene(ScriptedSsh::new());
        let failure = scene.call("alpine/install", "install", globals(), arguments.clone()).await.unwrap_err();
        assert_eq!((failure.kind, failure.acted), (FailureKind::Yours, Acted::No), "{arguments}");
        assert!(!failure.message.contains("root2"), "{}", failure.message);
        assert!(scene.ssh.log().is_empty(), "{arguments}");
    }
    for wrong in [json!({"hostname": 5}), json!({"hostname": "a", "force": "yes"}), json!({"hostname": "a", "disk": ["x"]}), json!({})] {
        scene(ScriptedSsh::new()).call("alpine/install", "install", globals(), wrong).await.unwrap_err();
    }
}

#[tokio::test]
async fn only_the_machine_that_was_shown_is_erased() {
    let shown = |text: Json| Some(Value::from(text));
    let vm = json!({"vmName": "fresh", "uuid": UUID, "madeBy": "0193567890abcdef0193567890abcde0"});
    let cases: [(Option<Value>, bool, &str, &str); 6] = [
        (None, false, "", "no version of the machine was shown"),
        (shown(vm.clone()), true, "", "this run did not make it"),
        (shown(vm.clone()), false, "fresh", "[protect] vms in the Pmxfile names it"),
        (shown(json!({"vmName": "fresh"})), false, "", "has no SMBIOS uuid"),
        (shown(json!({"vmName": "fresh", "uuid": "99999999-2222-4333-8444-555555555555"})), false, "", "nothing was erased"),
        (shown(json!({"vmName": "fresh", "uuid": UUID, "madeBy": null})), true, "", "this run did not make it"),
    ];
    for (shown, own_only, protected, says) in cases {
        let mut scene = Scene::ssh(ScriptedSsh::new());
        scene.ctx.guard.shown = shown;
        scene.ctx.guard.own_only = own_only;
        scene.ctx.guard.protected = vec!["tftp-server".to_owned(), protected.to_owned()];
        let failure = scene.call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused, "{says}");
        assert!(failure.message.contains(says), "{}", failure.message);
        assert!(scene.ssh.log().is_empty(), "{says}");
    }
}

#[tokio::test]
async fn an_address_that_belongs_to_another_machine_by_now_is_left_alone() {
    for told in ["99999999-2222-4333-8444-555555555555\n", ""] {
        let scene = scene(ScriptedSsh::new().expect("cat /sys/class/dmi/id/product_uuid", told));
        let failure = scene.call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
        assert_eq!((failure.kind, failure.acted), (FailureKind::Refused, Acted::No));
        assert!(failure.message.contains("10.0.0.200"), "{}", failure.message);
    }
    let off = scene(ScriptedSsh::new()).call("alpine/install", "install", json!({"sshHost": null}), arguments()).await.unwrap_err();
    assert_eq!(off.message, "thing: the VM is off, it has no address");
}

#[tokio::test]
async fn what_is_no_netbooted_alpine_is_left_alone() {
    let bare = || reached().expect_output("cat /etc/alpine-release", 1, "", "No such file");
    let user = || reached().expect("cat /etc/alpine-release", "3.22.1\n").expect("id -u", "1000\n");
    let disk = "rootfs / rootfs rw 0 0\n/dev/sda3 / ext4 rw 0 0\n";
    for (ssh, force, kind, says) in [
        (bare(), false, FailureKind::Theirs, "does not run Alpine"),
        (user(), false, FailureKind::Yours, "only root may install"),
        (live(disk, ""), false, FailureKind::Refused, "runs from /dev/sda3 (ext4): it is installed"),
        (live(disk, ""), true, FailureKind::Refused, "runs from /dev/sda3 (ext4): it is installed"),
        (live(MEMORY, "# nobody\n\n"), false, FailureKind::Theirs, "no keys in /root/.ssh/authorized_keys"),
    ] {
        let arguments = json!({"hostname": "fresh", "password": PASSWORD, "force": force});
        let failure = scene(ssh).call("alpine/install", "install", globals(), arguments).await.unwrap_err();
        assert_eq!((failure.kind, failure.acted), (kind, Acted::No), "{says}");
        assert!(failure.message.contains(says), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_disk_that_holds_something_is_erased_with_force_only() {
    let data = || ready().expect("cat /proc/partitions", EMPTY).expect("sh -c *head -c 1048576*", "812\n");
    let parts = || ready().expect("cat /proc/partitions", PARTED);
    for (ssh, holds) in [(data(), "data, but no partitions"), (parts(), "the partitions sda1, sda2, sda3")] {
        let failure = scene(ssh).call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
        assert_eq!(failure.message, format!("10.0.0.200: /dev/sda holds {holds}; nothing was erased"));
        assert_eq!((failure.kind, failure.acted), (FailureKind::Refused, Acted::No));
    }
    let ssh = parts()
        .expect("sh -c *head -c 1048576 /dev/zero* /dev/sda1 /dev/sda2 /dev/sda3 /dev/sda", "")
        .expect("chpasswd -c SHA512", "")
        .expect_output("sh -c *setup-alpine*", 1, "", "ERROR: no space\n");
    let forced = scene(ssh);
    let arguments = json!({"hostname": "fresh", "password": PASSWORD, "force": true});
    let failure = forced.call("alpine/install", "install", globals(), arguments).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("10.0.0.200: setup-alpine ended with exit code 1", Acted::Maybe));
    assert_eq!(failure.tail, ["ERROR: no space"]);
    assert!(forced.told.has("warn 10.0.0.200: /dev/sda holds the partitions sda1, sda2, sda3, which is erased now"));
}

#[tokio::test]
async fn a_mounted_disk_is_never_erased() {
    let mounts = format!("{MEMORY}/dev/sda10 /media/other xfs rw 0 0\n/dev/sda1 /media/sda1 vfat ro 0 0\n");
    let ssh = live(&mounts, KEYS).expect("cat /etc/resolv.conf", "").expect("sh -c *modprobe*", "").expect("cat /proc/partitions", PARTED);
    let arguments = json!({"hostname": "fresh", "password": PASSWORD, "force": true});
    let failure = scene(ssh).call("alpine/install", "install", globals(), arguments).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.200: /dev/sda1 is mounted at /media/sda1; nothing was erased");
    assert_eq!((failure.kind, failure.acted), (FailureKind::Refused, Acted::No));
}

#[tokio::test]
async fn a_disk_may_appear_late_but_not_never_and_not_twice() {
    let late =
        ready().expect("cat /proc/partitions", NO_DISK).expect("cat /proc/partitions", NO_DISK).expect("cat /proc/partitions", PARTED);
    let scene_late = scene(late);
    let failure = scene_late.call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
    assert!(failure.message.contains("/dev/sda holds"), "{}", failure.message);
    assert!(scene_late.told.has("phase the disk 60"));
    let failure =
        scene(ready().always("cat /proc/partitions", NO_DISK)).call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.200: a disk has not appeared within 60 s: no disk is there");
    let two = format!("{EMPTY}   8       16   33554432 sdb\n");
    let failure =
        scene(ready().expect("cat /proc/partitions", &two)).call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.kind), ("10.0.0.200: there are several disks (/dev/sda, /dev/sdb)", FailureKind::Yours));
    let named = json!({"hostname": "fresh", "password": PASSWORD, "disk": "/dev/vda"});
    let failure =
        scene(ready().always("cat /proc/partitions", &two)).call("alpine/install", "install", globals(), named).await.unwrap_err();
    assert!(failure.message.contains("/dev/vda has not appeared within 60 s: there is /dev/sda, /dev/sdb"), "{}", failure.message);
}

#[tokio::test]
async fn without_a_password_root_is_closed_but_not_locked_out() {
    let ssh = ready().expect("cat /proc/partitions", EMPTY).expect("sh -c *head -c*", "0\n");
    let ssh = ssh.expect_output("chpasswd -e", 1, "", "chpasswd: read-only\n").with_stdin("root:*\n");
    let failure = scene(ssh).call("alpine/install", "install", globals(), json!({"hostname": "fresh"})).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("10.0.0.200: setting root's password ended with exit code 1", Acted::Maybe));
}

#[tokio::test]
async fn a_system_that_is_not_whole_is_told_whole_and_unmounted() {
    let found = FOUND.replace("password=set", "password=empty").replace("kernel=yes\n", "").replace("agent=yes\n", "");
    let ssh = completed().expect("sh -c *apk add*", "").expect("sh -c *livekey*", &found).expect("sh -c *umount*", "");
    let failure = scene(ssh).call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
    let says = "10.0.0.200: the system on /dev/sda3 is not whole: root's password is not as it should be; there is no kernel in /boot; \
                the guest agent does not start at boot";
    assert_eq!((failure.message.as_str(), failure.acted), (says, Acted::Maybe));
    let ssh = completed().expect_output("sh -c *apk add*", 1, "", "ERROR: unable to select packages\n").expect("sh -c *umount*", "");
    let failure = scene(ssh).call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
    assert_eq!(failure.tail, ["ERROR: unable to select packages"]);
    let ssh = set_up().expect("cat /proc/partitions", EMPTY).expect_output("sh -c *mktemp -d*", 1, "", "");
    let failure = scene(ssh).call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
    assert_eq!(failure.message, "10.0.0.200: no Alpine is on /dev/sda after the installation");
}

#[tokio::test]
async fn another_key_on_the_disk_is_not_pinned() {
    let found = FOUND.replace("hostkey=ssh-ed25519 HOST", "hostkey=ssh-ed25519 OTHER");
    let ssh = completed().expect("sh -c *apk add*", "").expect("sh -c *livekey*", &found).expect("sh -c *umount*", "");
    let scene = scene(ssh);
    let outcome = scene.call("alpine/install", "install", globals(), arguments()).await.unwrap();
    assert_eq!(written(&outcome)["hostKey"], json!(null));
    assert!(scene.told.has("shows another host key than now"));
    assert_eq!(scene.ssh.log().iter().filter(|line| line.starts_with("wait")).count(), 1);
}

#[tokio::test]
async fn a_cancelled_installation_may_have_acted() {
    let ssh = ready().expect("cat /proc/partitions", EMPTY).expect("sh -c *head -c*", "0\n").expect("chpasswd -c SHA512", "");
    let scene = scene(ssh);
    scene.told.cancel_at("phase setup-alpine");
    let failure = scene.call("alpine/install", "install", globals(), arguments()).await.unwrap_err();
    assert_eq!((failure.kind, failure.acted), (FailureKind::Cancelled, Acted::Maybe));
}

#[test]
fn disks_are_told_from_partitions_and_other_devices() {
    let text = "major minor  #blocks  name\n\n 259 0 1 nvme0n1\n 259 1 1 nvme0n1p1\n 253 0 1 vda\n 253 1 1 vda1\n 7 0 1 loop0\n 252 0 1 dm-0\n 179 0 1 mmcblk0\n 179 1 1 mmcblk0p2\n 8 0 1 sda\n 65 0 1 sdaa\n 65 1 1 sdaa1\n";
    let shown: Vec<String> = disks(text).iter().map(|disk| format!("{}: {}", disk.name, disk.partitions.join(" "))).collect();
    assert_eq!(shown, ["nvme0n1: nvme0n1p1", "vda: vda1", "mmcblk0: mmcblk0p2", "sda: ", "sdaa: sdaa1"]);
    assert_eq!((wanted("auto").unwrap(), wanted("/dev/nvme0n1").unwrap()), (None, Some("nvme0n1")));
}

#[test]
fn names_and_servers() {
    for name in ["a", "fresh", "Slate-2", "vm.lan", &"a".repeat(63)] {
        check_hostname(name).unwrap();
    }
    assert_eq!(name_servers("nameserver 10.0.0.1\nnameserver fe80::1\n#nameserver 9.9.9.9\nnameserver x y\n").len(), 2);
}

#[test]
fn the_community_repository_stands_beside_the_main_one() {
    let both = "http://m/v3.22/main\nhttp://m/v3.22/community\n";
    assert_eq!(repositories(both, "3.22.1"), both);
    assert_eq!(repositories("http://m/v3.22/main\n# http://m/v3.22/community\n", "3.22.1"), both);
    assert_eq!(repositories("http://m/v3.22/main\n", "3.22.1"), both);
    let base = "http://dl-cdn.alpinelinux.org/alpine";
    assert_eq!(repositories("/media/cdrom/apks\n", "3.22.1"), format!("/media/cdrom/apks\n{base}/v3.22/main\n{base}/v3.22/community\n"));
    assert_eq!(repositories("", "20260101"), format!("{base}/edge/main\n{base}/edge/community\n"));
}

#[test]
fn what_hosts_say_is_read_however_spoiled() {
    let mounts = "none / tmpfs rw 0 0\n/dev/sda3 /mnt ext4 rw,relatime 0 0\n";
    let seeds =
        [EMPTY, PARTED, mounts, "nameserver 10.0.0.1\nnameserver fd00::1\nsearch lan\n", "http://dl-cdn/v3.22/main\n#http://x/community\n"];
    crate::walks::feed(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = (disks(&text), name_servers(&text), wanted(&text), check_hostname(&text));
        assert!(repositories(&text, &text).len() <= 20 * text.len() + 200);
        Ok(())
    });
}
