//! Drives and network cards as configuration values: read, checked, and made real.

use super::schema::{MODELS, properties};
use crate::lab::world::World;
use crate::lab::world::storage::{Wish, size_text};

/// What a drive's value points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An empty CD drive.
    Empty,
    /// A volume that should be there.
    Volume(String),
    /// A disk to be made: storage and bytes.
    New(String, u64),
    /// A cloud-init drive to be made on that storage.
    CloudInit(String),
}

/// A drive's value, taken apart.
#[derive(Clone, Debug)]
pub struct Drive {
    /// What it points at.
    pub source: Source,
    /// All else, in the order given.
    pub options: Vec<(String, String)>,
}

/// Takes a drive's value apart.
///
/// # Errors
/// It has no file part.
pub fn parse(value: &str) -> Result<Drive, String> {
    let list = properties(value, Some("file")).map_err(|text| text.trim_end().to_owned())?;
    let file = list.iter().find(|(key, _)| *key == "file").map(|(_, file)| *file).ok_or("missing 'file'")?;
    let options = list.iter().filter(|(key, _)| *key != "file").map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let source = match file.split_once(':') {
        None => Source::Empty,
        Some((storage, "cloudinit")) => Source::CloudInit(storage.to_owned()),
        Some((storage, rest)) => rest.parse::<f64>().ok().filter(|size| *size >= 0.0).map_or_else(
            || Source::Volume(file.to_owned()),
            |gigabytes| Source::New(storage.to_owned(), (gigabytes * f64::from(1 << 30)) as u64),
        ),
    };
    Ok(Drive { source, options })
}

/// What can be refused before a task is started: an unknown storage, a name that cannot be.
///
/// # Errors
/// Proxmox's words.
pub fn check(world: &World, value: &str) -> Result<(), String> {
    let drive = parse(value)?;
    match &drive.source {
        Source::Empty => Ok(()),
        Source::New(storage, _) | Source::CloudInit(storage) => world.shelf.storage(storage).map(drop),
        Source::Volume(volid) => {
            let (storage, name) = volid.split_once(':').unwrap_or((volid, ""));
            world.shelf.storage(storage)?;
            world.shelf.check_name(storage, name)
        }
    }
}

/// Makes a drive real; returns the value to be stored and what the task prints.
///
/// # Errors
/// The volume does not exist, or the storage cannot hold it.
pub fn realise(world: &mut World, vmid: u32, key: &str, value: &str, now: i64) -> Result<(String, Vec<String>), String> {
    let mut drive = parse(value)?;
    let mut lines = Vec::new();
    let file = match &drive.source {
        Source::Empty => "none".to_owned(),
        Source::Volume(volid) => {
            let volume = world.shelf.volumes.get(volid).ok_or_else(|| format!("volume '{volid}' does not exist"))?;
            if volume.content == "images" && !drive.options.iter().any(|(name, _)| name == "size") {
                let size = size_text(volume.size);
                drive.options.push(("size".into(), size));
            }
            volid.clone()
        }
        Source::New(storage, size) => {
            let format = drive.options.iter().find(|(name, _)| name == "format").map_or("raw", |(_, format)| format.as_str());
            let (volid, line) = world.shelf.allocate(Wish { storage, vmid, size: *size, format, now })?;
            lines.push(line);
            let size = size_text(*size);
            drive.options.retain(|(name, _)| name != "format" && name != "size");
            drive.options.push(("size".into(), size));
            volid
        }
        Source::CloudInit(storage) => {
            let wish = Wish { storage, vmid, size: 4 << 20, format: "qcow2", now };
            let (volid, line) = world.shelf.allocate_as(wish, &format!("vm-{vmid}-cloudinit"))?;
            lines.push(line);
            drive.options.retain(|(name, _)| name != "media" && name != "format");
            drive.options.push(("media".into(), "cdrom".into()));
            volid
        }
    };
    drive.options.sort();
    let stored = drive.options.iter().fold(file, |text, (name, value)| format!("{text},{name}={value}"));
    if matches!(drive.source, Source::New(..) | Source::CloudInit(_)) {
        lines.push(format!("{key}: successfully created disk '{stored}'"));
    }
    Ok((stored, lines))
}

/// The volume that a stored drive's value names.
pub fn volume_of(value: &str) -> Option<&str> {
    value.split(',').next().filter(|file| file.contains(':'))
}

/// Whether a stored drive's value is a CD drive.
pub fn is_cd(value: &str) -> bool {
    value.split(',').any(|part| part == "media=cdrom")
}

/// A network card's value as it is stored: model and MAC first. `noise` makes the MAC when none is given.
pub fn tidy_net(value: &str, noise: u64) -> String {
    let list = properties(value, Some("model")).unwrap_or_default();
    let [_, _, _, _, _, a, b, c] = noise.to_be_bytes();
    let made = format!("BC:24:11:{a:02X}:{b:02X}:{c:02X}");
    let mut model = "virtio".to_owned();
    let mut mac = None;
    let mut rest = Vec::new();
    for (key, value) in list {
        match key {
            "model" => model = value.to_owned(),
            "macaddr" => mac = Some(value.to_uppercase()),
            key if MODELS.contains(&key) => {
                model = key.to_owned();
                mac = Some(value.to_uppercase());
            }
            key => rest.push(format!("{key}={value}")),
        }
    }
    rest.sort();
    rest.insert(0, format!("{model}={}", mac.unwrap_or(made)));
    rest.join(",")
}

/// The bridge of a network card.
pub fn bridge_of(value: &str) -> Option<&str> {
    value.split(',').find_map(|part| part.strip_prefix("bridge="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart() {
        assert_eq!(parse("local:1").unwrap().source, Source::New("local".into(), 1 << 30));
        assert_eq!(parse("local-lvm:0.5,iothread=1").unwrap().source, Source::New("local-lvm".into(), 1 << 29));
        assert_eq!(parse("none,media=cdrom").unwrap().source, Source::Empty);
        assert_eq!(parse("local:iso/x.iso,media=cdrom").unwrap().source, Source::Volume("local:iso/x.iso".into()));
        assert!(parse("local:1,size=1G,size=2G").is_err());
    }

    #[test]
    fn a_card_keeps_its_mac_and_gets_one_when_it_has_none() {
        assert_eq!(tidy_net("model=e1000,bridge=vmbr0", 0x0065_8C87), "e1000=BC:24:11:65:8C:87,bridge=vmbr0");
        assert_eq!(tidy_net("virtio=bc:24:11:00:00:01,bridge=vmbr0,firewall=1", 7), "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1");
    }
}
