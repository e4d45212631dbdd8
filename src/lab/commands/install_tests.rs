//! A new VM from netboot to a system on its disk, power that comes and goes, and what is kept.

use crate::lab::host::HostState;
use crate::lab::host::state::Root;
use crate::lab::rig::Rig;

const ANSWERS: &str = "KEYMAPOPTS='us us'\nHOSTNAMEOPTS='-n fresh'\nDISKOPTS='-m sys /dev/sda'\nROOTSSHKEY='ssh-ed25519 AAAA me'\n";

#[test]
fn a_netbooted_machine_is_installed_and_boots_from_its_disk() {
    let rig = Rig::new("fresh");
    assert!(rig.ok("cat /proc/mounts").starts_with("tmpfs / tmpfs"));
    assert_eq!(rig.run("[ -b /dev/sda ]").status, 1, "the driver is not loaded yet");
    rig.ok("modprobe virtio_scsi && [ -b /dev/sda ] && cat /sys/block/sda/size");
    rig.ok(&format!("cat > /tmp/answers <<'E'\n{ANSWERS}E\necho root:secret | chpasswd"));
    let refused = rig.run("setup-alpine -e -f /tmp/answers </dev/null");
    assert!(refused.status == 1 && refused.out.contains("(y/n) [n]"), "ERASE_DISKS must name the disks: {refused:?}");
    let stuck = rig.run("ERASE_DISKS=/dev/sda timeout 5 setup-alpine -f /tmp/answers </dev/null");
    assert!(stuck.status == 124 && stuck.out.contains("Please retry."), "{stuck:?}");
    rig.ok("ERASE_DISKS=/dev/sda setup-alpine -e -f /tmp/answers </dev/null");
    rig.ok("mount /dev/sda3 /mnt && chroot /mnt apk add qemu-guest-agent && chroot /mnt rc-update add qemu-guest-agent default");
    assert_eq!(rig.ok("cat /mnt/etc/hostname; chroot /mnt cat /etc/hostname"), "fresh\nfresh\n");
    rig.ok("echo mine > /mnt/etc/motd && umount /mnt && ! [ -e /mnt/etc ]");
    rig.ok("echo live > /root/gone");
    let before = rig.ok("cat /proc/sys/kernel/random/boot_id");
    rig.look(|host| {
        host.power_off();
        host.power_on(false);
    });
    assert_ne!(rig.ok("cat /proc/sys/kernel/random/boot_id"), before);
    assert!(rig.ok("cat /proc/mounts").starts_with("/dev/sda3 / ext4"));
    assert_eq!(rig.ok("hostname; cat /etc/motd; cat /root/.ssh/authorized_keys; ls /root"), "fresh\nmine\nssh-ed25519 AAAA me\n");
    assert!(rig.ok("grep ^root: /etc/shadow").starts_with("root:$6$"));
    assert_eq!(rig.run("rc-service qemu-guest-agent status").status, 0, "it is in the default runlevel");
}

#[test]
fn a_netboot_forgets_all_but_its_disks() {
    let rig = Rig::new("fresh");
    rig.ok("echo x > /root/x && apk add tmux && modprobe virtio_scsi");
    rig.look(|host| host.host_key = "kept?".to_owned());
    rig.look(|host| {
        host.power_off();
        host.power_on(true);
    });
    assert_eq!(rig.run("ls /root/x").status, 1);
    assert_eq!(rig.run("tmux -V").status, 127);
    assert!(rig.look(|host| host.host_key.is_empty() && host.disks.len() == 1 && host.boot.root == Root::Memory));
}

#[test]
fn disks_that_are_late_are_nowhere_until_they_come() {
    let rig = Rig::new("fresh");
    rig.set(|faults| faults.disks_hidden = true);
    rig.ok("modprobe virtio_scsi");
    assert_eq!(rig.run("[ -b /dev/sda ] || cat /sys/block/sda/size").status, 1);
    assert_eq!(rig.ok("cat /proc/partitions; lsblk -n").trim(), "major minor  #blocks  name");
    rig.set(|faults| faults.disks_hidden = false);
    rig.ok("[ -b /dev/sda ] && cat /sys/block/sda/size && lsblk -n | grep sda");
}

#[test]
fn an_installed_machine_keeps_its_system_through_a_netboot() {
    let rig = Rig::new("slate");
    rig.ok("echo x > /root/x");
    let boot = |net| {
        rig.look(|host| {
            host.power_off();
            host.power_on(net);
        });
    };
    boot(true);
    assert_eq!(rig.run("ls /root/x").status, 1);
    boot(false);
    assert_eq!(rig.ok("cat /root/x; hostname"), "x\nslate\n");
}

#[test]
fn power_off_kills_the_game_and_the_restart_policy_brings_it_back() {
    let rig = Rig::new("calamity");
    rig.look(HostState::power_off);
    let state = "docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' tmodloader";
    assert!(rig.look(|host| host.docker.containers["tmodloader"].world.as_ref().is_some_and(|w| w.saved_at == 0)), "nobody saved");
    rig.look(|host| host.power_on(false));
    assert_eq!(rig.ok(state), "running 0\n");
    rig.ok("docker stop -t 60 tmodloader");
    rig.look(|host| {
        host.power_off();
        host.power_on(false);
    });
    assert_eq!(rig.ok(state), "exited 0\n", "unless-stopped leaves what was stopped by hand");
}

#[test]
fn the_state_survives_json() {
    for name in ["calamity", "allthemons", "slate", "tftp-server", "treehouse", "new"] {
        let rig = Rig::new(name);
        rig.ok("printf 'a\\0b\\377' > /root/binary; printf 'base64:x' > /root/odd");
        let before = rig.look(|host| serde_json::to_value(&*host).expect("JSON"));
        let back: HostState = serde_json::from_value(before.clone()).expect("the same type");
        assert_eq!(serde_json::to_value(&back).expect("JSON"), before);
        assert_eq!(*back.files.read("/root/binary").expect("a file"), b"a\0b\xff");
        assert_eq!(*back.files.read("/root/odd").expect("a file"), b"base64:x");
    }
}

#[test]
fn a_bad_tailscale_key_waits_until_the_timeout_and_a_good_one_runs() {
    let rig = Rig::new("factorio");
    rig.ok("apk add tailscale && rc-service tailscale start && umask 077 && echo tskey-bad-1 > /run/key");
    let bad = rig.run("tailscale up --timeout=60s --auth-key=file:/run/key");
    assert!(bad.status == 1 && bad.err.contains("timeout waiting"), "{bad:?}");
    rig.ok("echo tskey-auth-1 > /run/key && tailscale up --timeout=60s --auth-key=file:/run/key");
    let status: serde_json::Value = serde_json::from_str(&rig.ok("tailscale status --json")).expect("JSON");
    assert_eq!((status["BackendState"].as_str(), status["Self"]["DNSName"].as_str()), (Some("Running"), Some("factorio.practice.ts.net.")));
}
