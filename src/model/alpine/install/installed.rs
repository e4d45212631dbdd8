//! The system on the disk, mounted beside the running one: completed, then looked through for everything that it needs to come up by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::alpine::install::disk::Disk;
use crate::model::contract::Failure;
use crate::model::remote::{Remote, tail};
use crate::wire::command::Command;
use crate::wire::ssh::{Exec, Input};

/// The wait for its packages.
pub const PHASE: &str = "the guest agent to be installed";
/// Its deadline.
pub const DEADLINE: Duration = Duration::from_secs(300);
/// Where mirrors are when the installer left none.
const MIRROR: &str = "http://dl-cdn.alpinelinux.org/alpine";

/// Mounts the first partition that holds a system, with what a program inside needs. The last partition comes first: boot and swap lie before the root.
const MOUNT: &str = r#"dir=$(mktemp -d /tmp/pmx-root.XXXXXX) || exit 1
for part in "$@"; do
  mount "$part" "$dir" 2>/dev/null || continue
  if [ -f "$dir/etc/alpine-release" ]; then
    mount -t proc proc "$dir/proc" && mount -t sysfs sysfs "$dir/sys" && mount -o bind /dev "$dir/dev" || exit 1
    chroot "$dir" mount /boot >/dev/null 2>&1 || :
    printf '%s %s\n' "$dir" "$part"
    exit 0
  fi
  umount "$dir"
done
rmdir "$dir"
exit 1"#;

const UNMOUNT: &str = r#"sync
for at in boot dev sys proc; do umount "$1/$at" 2>/dev/null || :; done
umount "$1" && rmdir "$1""#;

/// The running system's host keys go along where the installer left them behind: the one key that can be pinned is the one that shows now.
const COMPLETE: &str = r#"umask 077
mkdir -p "$1/root/.ssh" "$1/etc/ssh" && chmod 700 "$1/root/.ssh" && chmod 755 "$1/etc/ssh" || exit 1
cat >"$1/root/.ssh/authorized_keys" || exit 1
for key in /etc/ssh/ssh_host_*; do
  [ ! -f "$key" ] || [ -e "$1$key" ] || cp -p "$key" "$1$key" || exit 1
done
[ -s "$1/etc/resolv.conf" ] || cp /etc/resolv.conf "$1/etc/resolv.conf" || exit 1
chroot "$1" apk add -U qemu-guest-agent </dev/null || exit 1
chroot "$1" rc-update add sshd default && chroot "$1" rc-update add qemu-guest-agent default"#;

/// Says what is there, a line each. Of root's password only its kind.
const CHECK: &str = r#"say() { printf '%s=%s\n' "$1" "$2"; }
say release "$(cat "$1/etc/alpine-release")"
say hostname "$(cat "$1/etc/hostname")"
case $(grep '^root:' "$1/etc/shadow") in
  'root:$'*) say password set ;;
  'root:*:'*) say password locked ;;
  'root::'*) say password empty ;;
  *) say password unusable ;;
esac
say fstab "$(grep -c '[[:space:]]/[[:space:]]' "$1/etc/fstab" 2>/dev/null)"
say keys "$(grep -c . "$1/root/.ssh/authorized_keys")"
for kernel in "$1"/boot/vmlinuz-*; do [ ! -f "$kernel" ] || say kernel yes; done
boots() { chroot "$1" rc-update show default | grep -q "^ *$2 *|.*default"; }
if boots "$1" sshd; then say sshd yes; fi
if boots "$1" qemu-guest-agent; then say agent yes; fi
say hostkey "$(cut -d ' ' -f 1,2 "$1/etc/ssh/ssh_host_ed25519_key.pub" 2>/dev/null)"
say livekey "$(cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub 2>/dev/null)""#;

/// A mounted system.
pub struct Mounted<'a> {
    remote: &'a Remote<'a>,
    dir: String,
    /// The partition of its root.
    pub device: String,
}

/// What the look through a system told.
pub struct Found {
    /// Alpine's release.
    pub release: String,
    /// Its SSH host key, where it is the one that shows now.
    pub host_key: Option<String>,
}

fn script(text: &str) -> Command {
    Command::new("sh").args(["-c", text, "sh"])
}

impl<'a> Mounted<'a> {
    /// Mounts the system on the disk.
    pub async fn new(remote: &'a Remote<'a>, disk: &Disk) -> Result<Self, Failure> {
        let parts = disk.partitions.iter().rev().map(|name| format!("/dev/{name}"));
        let output = remote.act(Exec::new(script(MOUNT).args(parts), DEADLINE)).await?;
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        let ([dir, device], 0) = (words.as_slice(), output.status) else {
            let message = format!("{}: no Alpine is on {} after the installation", remote.target.host, disk.path());
            return Err(Failure::theirs(message).tail(tail(&output)));
        };
        Ok(Self { remote, dir: (*dir).to_owned(), device: (*device).to_owned() })
    }

    /// Unmounts it; what is not written out is lost at the next power cut.
    pub async fn unmount(self) -> Result<(), Failure> {
        let output = self.remote.act(Exec::new(script(UNMOUNT).arg(&self.dir), DEADLINE)).await?;
        if output.status == 0 { Ok(()) } else { Err(self.remote.failed(&format!("unmounting {}", self.device), &output)) }
    }

    /// Repositories, keys, the guest agent and the services that start at boot.
    pub async fn complete(&self, keys: &str) -> Result<(), Failure> {
        self.remote.ctx.reporter.phase(PHASE, Some(DEADLINE));
        let path = format!("{}/etc/apk/repositories", self.dir);
        let before = self.read(&path).await?.unwrap_or_default();
        let release = self.read(&format!("{}/etc/alpine-release", self.dir)).await?.unwrap_or_default();
        let after = repositories(&before, release.trim());
        if after != before {
            self.write(script(r#"cat >"$1""#).arg(path), &after, "writing the repositories").await?;
        }
        self.write(script(COMPLETE).arg(&self.dir), keys, "completing the installed system").await
    }

    async fn read(&self, path: &str) -> Result<Option<String>, Failure> {
        let output = self.remote.look(Command::new("cat").arg(path)).await?;
        Ok(Some(output.stdout).filter(|_| output.status == 0))
    }

    async fn write(&self, command: Command, input: &str, what: &str) -> Result<(), Failure> {
        let exec = Exec { input: Input::Bytes(input.as_bytes().to_vec()), ..Exec::new(command, DEADLINE) };
        let output = self.remote.act(exec).await?;
        if output.status == 0 { Ok(()) } else { Err(self.remote.failed(what, &output)) }
    }

    /// Looks through it, and says everything that is missing at once.
    pub async fn check(&self, hostname: &str, password: bool) -> Result<Found, Failure> {
        let output = self.remote.look(script(CHECK).arg(&self.dir)).await?;
        let told: BTreeMap<&str, &str> = output.stdout.lines().filter_map(|line| line.split_once('=')).collect();
        let is = |name: &str, value: &str| told.get(name) == Some(&value);
        let some = |name: &str| told.get(name).and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 0);
        let checks = [
            (is("hostname", hostname), "its name is another one"),
            (is("password", if password { "set" } else { "locked" }), "root's password is not as it should be"),
            (some("fstab"), "/etc/fstab has no root file system"),
            (some("keys"), "no key lets root in"),
            (is("kernel", "yes"), "there is no kernel in /boot"),
            (is("sshd", "yes"), "sshd does not start at boot"),
            (is("agent", "yes"), "the guest agent does not start at boot"),
        ];
        let missing: Vec<&str> = checks.into_iter().filter(|(holds, _)| !holds).map(|(_, why)| why).collect();
        if output.status != 0 || !missing.is_empty() {
            let message = format!("{}: the system on {} is not whole: {}", self.remote.target.host, self.device, missing.join("; "));
            return Err(Failure::theirs(message).tail(output.stdout.lines().map(str::to_owned).collect()));
        }
        let text = |name: &str| told.get(name).copied().unwrap_or_default().to_owned();
        let host_key = Some(text("hostkey")).filter(|key| !key.is_empty() && *key == text("livekey"));
        Ok(Found { release: text("release"), host_key })
    }
}

/// The repositories with the community one beside each main one; where the installer left none, those of the release.
pub fn repositories(before: &str, release: &str) -> String {
    let bare = |line: &str| line.trim().trim_start_matches('#').trim().to_owned();
    let is_url = |line: &str| line.starts_with("http://") || line.starts_with("https://");
    let mains = before.lines().map(str::trim).filter(|line| is_url(line)).filter_map(|line| line.strip_suffix("/main"));
    let mut bases: Vec<String> = mains.map(str::to_owned).collect();
    let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
    if bases.is_empty() {
        let number: Vec<&str> = release.split('.').take(2).collect();
        let numbered = number.len() == 2 && number.iter().all(|part| part.chars().all(|c| c.is_ascii_digit()));
        let branch = if numbered { format!("v{}", number.join(".")) } else { "edge".to_owned() };
        bases.push(format!("{MIRROR}/{branch}"));
        lines.push(format!("{MIRROR}/{branch}/main"));
    }
    for base in bases {
        let wanted = format!("{base}/community");
        match lines.iter_mut().find(|line| bare(line) == wanted) {
            Some(line) => *line = wanted,
            None => lines.push(wanted),
        }
    }
    lines.join("\n") + "\n"
}
