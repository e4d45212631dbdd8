//! Storages and the volumes on them: names, sizes, and the lines that making one prints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Volume {
    /// Bytes.
    pub size: u64,
    /// Bytes taken on disk.
    pub used: u64,
    /// `raw`, `qcow2`, `iso`, …
    pub format: String,
    /// The VM that owns it.
    pub vmid: Option<u32>,
    /// Unix seconds.
    pub ctime: i64,
    /// `images`, `iso`, `backup`, …
    pub content: String,
    /// The base volume of a linked clone.
    pub parent: Option<String>,
}

/// One storage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Storage {
    /// `dir` or `lvmthin`.
    pub kind: String,
    /// What it may hold.
    pub content: Vec<String>,
    /// Bytes in all.
    pub size: u64,
}

/// All storages and volumes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Shelf {
    /// By name.
    pub storages: BTreeMap<String, Storage>,
    /// By volume id, `local:101/vm-101-disk-0.raw`.
    pub volumes: BTreeMap<String, Volume>,
}

/// A volume to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The storage's name.
    pub storage: &'a str,
    /// The owner.
    pub vmid: u32,
    /// Bytes.
    pub size: u64,
    /// `raw` or `qcow2`; only a directory knows more than raw.
    pub format: &'a str,
    /// Unix seconds.
    pub now: i64,
}

impl Shelf {
    /// The storage, or Proxmox's words for its absence.
    ///
    /// # Errors
    /// `storage 'x' does not exist`.
    pub fn storage(&self, name: &str) -> Result<&Storage, String> {
        self.storages.get(name).ok_or_else(|| format!("storage '{name}' does not exist"))
    }

    /// Makes a disk with the lowest free number; returns its volume id and what the task prints.
    ///
    /// # Errors
    /// The storage is missing or holds no images.
    pub fn allocate(&mut self, wish: Wish<'_>) -> Result<(String, String), String> {
        let name = (0..1000)
            .map(|n| format!("vm-{}-disk-{n}", wish.vmid))
            .find(|name| !self.volumes.keys().any(|volid| stem(volid) == name))
            .ok_or_else(|| format!("unable to allocate an image name for VM {}", wish.vmid))?;
        self.allocate_as(wish, &name)
    }

    /// The same under a given name without its ending.
    ///
    /// # Errors
    /// The storage is missing or holds no images.
    pub fn allocate_as(&mut self, wish: Wish<'_>, name: &str) -> Result<(String, String), String> {
        let storage = self.storage(wish.storage)?;
        if !storage.content.iter().any(|content| content == "images") {
            return Err(format!("storage '{}' does not support content-type 'images'", wish.storage));
        }
        let is_dir = storage.kind == "dir";
        let format = if is_dir { wish.format } else { "raw" };
        let (volid, line) = if is_dir {
            let path = format!("{}/{name}.{format}", wish.vmid);
            let line = formatting(&path, format, wish.size);
            (format!("{}:{path}", wish.storage), line)
        } else {
            (format!("{}:{name}", wish.storage), format!("  Logical volume \"{name}\" created."))
        };
        let used = if format == "qcow2" { 335_872 } else { 4096 };
        self.volumes.insert(
            volid.clone(),
            Volume {
                size: wish.size,
                used,
                format: format.to_owned(),
                vmid: Some(wish.vmid),
                ctime: wish.now,
                content: "images".into(),
                parent: None,
            },
        );
        Ok((volid, line))
    }

    /// The linked clone that stands on this volume, if any.
    pub fn child_of(&self, volid: &str) -> Option<&str> {
        self.volumes.iter().find(|(_, volume)| volume.parent.as_deref() == Some(volid)).map(|(child, _)| child.as_str())
    }

    /// Checks how the part after `storage:` is written.
    ///
    /// # Errors
    /// `unable to parse directory volume name 'abc'` and its sister for LVM.
    pub fn check_name(&self, storage: &str, name: &str) -> Result<(), String> {
        let storage = self.storage(storage)?;
        let is_dir = storage.kind == "dir";
        let good = if is_dir {
            let known =
                ["iso/", "vztmpl/", "backup/", "snippets/"].iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
            known || name.split_once('/').is_some_and(|(owner, file)| owner.parse::<u32>().is_ok() && file.contains('.'))
        } else {
            ["vm-", "base-"].iter().any(|prefix| name.starts_with(prefix))
        };
        if good {
            Ok(())
        } else {
            let sort = if is_dir { "directory" } else { "lvm" };
            Err(format!("unable to parse {sort} volume name '{name}'"))
        }
    }
}

/// The line that qemu-img prints for a new image in a directory.
pub fn formatting(path: &str, format: &str, size: u64) -> String {
    let file = format!("Formatting '/var/lib/vz/images/{path}', fmt={format}");
    if format == "qcow2" {
        format!(
            "{file} cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib size={size} lazy_refcounts=off refcount_bits=16"
        )
    } else {
        format!("{file} size={size} preallocation=off")
    }
}

/// The volume's name without storage, folder and ending.
pub fn stem(volid: &str) -> &str {
    let name = volid.rsplit([':', '/']).next().unwrap_or(volid);
    name.split('.').next().unwrap_or(name)
}

/// Bytes as a size in a drive's value: `1G`, `512M`, `4M`.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    UNITS
        .iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// The other way: `1G`, `512M`, a bare number of bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().find(|(_, c)| c.is_ascii_alphabetic()) {
        Some((at, 'K')) => (&text[..at], 1_u64 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        Some((at, 'T')) => (&text[..at], 1 << 40),
        Some(_) => return None,
        None => (text, 1),
    };
    let number: f64 = digits.parse().ok()?;
    (number >= 0.0).then_some((number * unit as f64) as u64)
}

/// The size that a drive's value names, `…,size=32G`.
pub fn drive_size(value: &str) -> Option<u64> {
    value.split(',').find_map(|part| part.strip_prefix("size=")).and_then(parse_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back() {
        for text in ["1G", "512M", "4M", "3T", "1536K"] {
            assert_eq!(size_text(parse_size(text).unwrap()), text);
        }
        assert_eq!(drive_size("local:1/vm-1-disk-0.raw,size=2G"), Some(2 << 30));
        assert_eq!(parse_size("lots"), None);
    }

    #[test]
    fn a_new_disk_takes_the_lowest_free_number() {
        let mut shelf = Shelf::default();
        shelf.storages.insert("lvm".into(), Storage { kind: "lvmthin".into(), content: vec!["images".into()], size: 1 << 40 });
        let wish = Wish { storage: "lvm", vmid: 7, size: 1 << 30, format: "qcow2", now: 0 };
        let (first, _) = shelf.allocate(wish).unwrap();
        let (second, _) = shelf.allocate(wish).unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("lvm:vm-7-disk-0", "lvm:vm-7-disk-1"));
        shelf.volumes.remove(&first);
        assert_eq!(shelf.allocate(wish).unwrap().0, first);
        assert_eq!(shelf.volumes[&first].format, "raw", "LVM knows only raw");
    }
}
