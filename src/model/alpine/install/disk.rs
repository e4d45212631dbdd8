//! The disk to install on: waited for, chosen without guessing, and looked at before anything on it is lost.

use std::time::Duration;

use crate::model::contract::{Context, Failure};
use crate::model::remote::{Remote, tail};
use crate::model::wait::Wait;
use crate::wire::command::Command;
use crate::wire::ssh::Exec;

/// The wait for the disk.
pub const PHASE: &str = "the disk";
/// Its deadline. A controller is scanned within seconds.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The only disk there is.
pub const AUTO: &str = "auto";

/// A netbooted kernel has no driver for a disk that it did not boot from. One that does not exist is no failure: the disk decides.
const LOAD: &str = r#"for module in virtio_pci virtio_scsi virtio_blk sd_mod; do modprobe "$module" || :; done"#;
/// Writes zeros where partition tables and file systems have their marks. A partition may be smaller than that.
const WIPE: &str = r#"for device; do head -c 1048576 /dev/zero 2>/dev/null 1<>"$device" || :; done; sync"#;
/// Bytes other than zero at the beginning, where every partition table and file system has its mark.
const MARKS: &str = r#"head -c 1048576 "$1" | tr -d '\000' | wc -c"#;

/// A disk and its partitions, by their names in `/dev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// `sda`.
    pub name: String,
    /// `sda1`, `sda2`, in order.
    pub partitions: Vec<String>,
}

impl Disk {
    /// `/dev/sda`.
    pub fn path(&self) -> String {
        format!("/dev/{}", self.name)
    }
}

/// Whether a name in `/dev` is that of a whole disk.
fn is_disk(name: &str) -> bool {
    let letters = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase());
    let numbers = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit());
    let lettered = ["sd", "vd", "xvd", "hd"].iter().any(|kind| name.strip_prefix(kind).is_some_and(letters));
    let nvme = name.strip_prefix("nvme").and_then(|rest| rest.split_once('n')).is_some_and(|(unit, space)| numbers(unit) && numbers(space));
    lettered || nvme || name.strip_prefix("mmcblk").is_some_and(numbers)
}

/// The disks in a `/proc/partitions`.
pub fn disks(partitions: &str) -> Vec<Disk> {
    let names: Vec<&str> = partitions.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)).collect();
    let parts = |disk: &str| {
        let numbered = disk.ends_with(|c: char| c.is_ascii_digit());
        let prefix = if numbered { format!("{disk}p") } else { disk.to_owned() };
        let number =
            |name: &str| name.strip_prefix(&prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()));
        names.iter().filter(|name| number(name)).map(|name| (*name).to_owned()).collect()
    };
    names.iter().filter(|name| is_disk(name)).map(|name| Disk { name: (*name).to_owned(), partitions: parts(name) }).collect()
}

/// What the user named: `None` is [`AUTO`].
pub fn wanted(disk: &str) -> Result<Option<&str>, Failure> {
    if disk == AUTO {
        return Ok(None);
    }
    match disk.strip_prefix("/dev/") {
        Some(name) if is_disk(name) => Ok(Some(name)),
        _ => Err(Failure::yours(format!("`{disk}` is no whole disk")).help("`/dev/sda`, `/dev/vda`, `/dev/nvme0n1`, or `auto`")),
    }
}

/// All disks that are there now.
pub async fn present(remote: &Remote<'_>) -> Result<Vec<Disk>, Failure> {
    let output = remote.look(Command::new("cat").arg("/proc/partitions")).await?;
    if output.status == 0 { Ok(disks(&output.stdout)) } else { Err(remote.failed("looking for disks", &output)) }
}

/// Loads the drivers and waits for the disk.
pub async fn find(ctx: &Context, remote: &Remote<'_>, wanted: Option<&str>) -> Result<Disk, Failure> {
    // Looked up rather than acted: a driver that is loaded already changes nothing that anybody could miss, and one that is not there is no news.
    let loaded = remote.look(Command::new("sh").args(["-c", LOAD])).await?;
    let mut wait = Wait::begin(ctx, PHASE, DEADLINE, (Duration::from_millis(250), Duration::from_secs(5)));
    loop {
        let there = present(remote).await?;
        let names = || there.iter().map(Disk::path).collect::<Vec<_>>().join(", ");
        let found = match wanted {
            Some(name) => there.iter().find(|disk| disk.name == name),
            None if there.len() > 1 => {
                let message = format!("{}: there are several disks ({})", remote.target.host, names());
                return Err(Failure::yours(message).help("name the one to erase: `disk = \"/dev/sda\"`"));
            }
            None => there.first(),
        };
        if let Some(disk) = found {
            return Ok(disk.clone());
        }
        let seen = if there.is_empty() { "no disk is there".to_owned() } else { format!("there is {}", names()) };
        if !wait.again(&seen).await? {
            let what = wanted.map_or_else(|| "a disk".to_owned(), |name| format!("/dev/{name}"));
            let message = format!("{}: {what} has not appeared within {} s: {seen}", remote.target.host, wait.seconds());
            // Drivers that cannot be loaded are the usual reason: a netboot whose modloop is another kernel's.
            return Err(Failure::theirs(message).help("does the VM have a disk on a virtio controller?").tail(tail(&loaded)));
        }
    }
}

/// Where the disk or a partition of it is mounted.
pub fn mounted<'a>(mounts: &'a str, disk: &Disk) -> Option<(&'a str, &'a str)> {
    let own =
        |device: &str| device.strip_prefix("/dev/").is_some_and(|name| name == disk.name || disk.partitions.iter().any(|p| p == name));
    let entries = mounts.lines().filter_map(|line| line.split_once(' '));
    entries.filter(|(device, _)| own(device)).map(|(device, rest)| (device, rest.split(' ').next().unwrap_or_default())).next()
}

/// Takes away what is on the disk, so that nothing old can be taken for what an installer wrote.
pub async fn wipe(remote: &Remote<'_>, disk: &Disk) -> Result<(), Failure> {
    let parts = disk.partitions.iter().map(|name| format!("/dev/{name}"));
    let command = Command::new("sh").args(["-c", WIPE, "sh"]).args(parts).arg(disk.path());
    let output = remote.act(Exec::new(command, DEADLINE)).await?;
    if output.status == 0 { Ok(()) } else { Err(remote.failed(&format!("wiping {}", disk.path()), &output).maybe_acted()) }
}

/// What is on the disk, in words; `None` when it is empty.
pub async fn content(remote: &Remote<'_>, disk: &Disk) -> Result<Option<String>, Failure> {
    if !disk.partitions.is_empty() {
        return Ok(Some(format!("the partitions {}", disk.partitions.join(", "))));
    }
    let output = remote.look(Command::new("sh").args(["-c", MARKS, "sh"]).arg(disk.path())).await?;
    match (output.status, output.stdout.trim().parse::<u64>()) {
        (0, Ok(0)) => Ok(None),
        (0, Ok(_)) => Ok(Some("data, but no partitions".to_owned())),
        _ => Err(remote.failed(&format!("looking at {}", disk.path()), &output)),
    }
}
