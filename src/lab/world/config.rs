//! A VM's configuration: values, pending changes, snapshots, and the digest of its file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Keys whose values Proxmox answers as numbers (integers and booleans of its schema); `memory` and `agent` stay strings.
const NUMBERS: &[&str] = &[
    "acpi",
    "autostart",
    "balloon",
    "ciupgrade",
    "cores",
    "cpulimit",
    "cpuunits",
    "freeze",
    "kvm",
    "localtime",
    "migrate_speed",
    "numa",
    "onboot",
    "protection",
    "reboot",
    "shares",
    "snaptime",
    "sockets",
    "tablet",
    "tdf",
    "template",
    "vcpus",
];

/// Keys that take effect on a running VM at once; all others wait as pending until the next start.
const HOT: &[&str] = &["description", "hookscript", "lock", "name", "onboot", "protection", "shares", "startup", "tags", "vmstatestorage"];

/// The names of disks and CD drives in the order in which Proxmox looks through them.
pub const DRIVES: &[(&str, u32)] = &[("ide", 4), ("scsi", 31), ("virtio", 16), ("sata", 6)];

/// What one snapshot keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// The values at that time.
    pub values: BTreeMap<String, String>,
    /// Unix seconds of its making.
    pub time: i64,
    /// The text given with it.
    pub description: String,
    /// The snapshot before it.
    pub parent: Option<String>,
}

/// A VM's configuration file, parsed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    /// Key to value, as the file holds them.
    pub values: BTreeMap<String, String>,
    /// Changes that wait for the next start; none deletes the key.
    pub pending: BTreeMap<String, Option<String>>,
    /// By name.
    pub snapshots: BTreeMap<String, Snapshot>,
    /// The snapshot that the present state grew from.
    pub parent: Option<String>,
    /// Still in the key order of its creation: the first rewrite changes the digest once.
    pub as_created: bool,
}

impl Config {
    /// A value of the running configuration.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A whole number of the running configuration.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// Whether a flag is set.
    pub fn flag(&self, key: &str) -> bool {
        self.number(key) == Some(1)
    }

    /// Puts a value, now or pending: on a running VM only hot keys change at once.
    pub fn put(&mut self, key: &str, value: String, running: bool) {
        if running && !HOT.contains(&key) {
            if self.get(key) == Some(value.as_str()) {
                self.pending.remove(key);
            } else {
                self.pending.insert(key.to_owned(), Some(value));
            }
        } else {
            self.pending.remove(key);
            self.values.insert(key.to_owned(), value);
        }
    }

    /// Takes a key away, now or pending.
    pub fn remove(&mut self, key: &str, running: bool) {
        self.pending.remove(key);
        if running && !HOT.contains(&key) && self.values.contains_key(key) {
            self.pending.insert(key.to_owned(), None);
        } else {
            self.values.remove(key);
        }
    }

    /// Applies what waited: done at each start.
    pub fn apply_pending(&mut self) {
        for (key, change) in std::mem::take(&mut self.pending) {
            match change {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
    }

    /// The values as they will be once pending changes are applied.
    pub fn coming(&self) -> BTreeMap<String, String> {
        let mut all = self.clone();
        all.apply_pending();
        all.values
    }

    /// The file's text: description first as comments, keys sorted (or, before the first rewrite, as created), then sections.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in self.get("description").unwrap_or("").lines() {
            let _ = writeln!(text, "#{line}");
        }
        let mut lines: Vec<String> =
            self.values.iter().filter(|(key, _)| *key != "description").map(|(key, value)| format!("{key}: {value}\n")).collect();
        if self.as_created {
            lines.reverse();
        }
        text.extend(lines);
        if let Some(parent) = &self.parent {
            let _ = writeln!(text, "parent: {parent}");
        }
        if !self.pending.is_empty() {
            text.push_str("\n[PENDING]\n");
            for (key, change) in &self.pending {
                let _ = match change {
                    Some(value) => writeln!(text, "{key}: {value}"),
                    None => writeln!(text, "delete: {key}"),
                };
            }
        }
        for (name, shot) in &self.snapshots {
            let _ = writeln!(text, "\n[{name}]");
            for (key, value) in &shot.values {
                let _ = writeln!(text, "{key}: {value}");
            }
            let _ = writeln!(text, "snaptime: {}", shot.time);
        }
        text
    }

    /// SHA-1 of the file's text in hex: what `digest` is compared with.
    pub fn digest(&self) -> String {
        let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, self.text().as_bytes());
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The drives in Proxmox's order: key and value.
    pub fn drives(&self) -> Vec<(String, String)> {
        let names = DRIVES.iter().flat_map(|(bus, count)| (0..*count).map(move |index| format!("{bus}{index}")));
        names.filter_map(|key| self.values.get(&key).map(|value| (key.clone(), value.clone()))).collect()
    }

    /// The network cards: key and value, by index.
    pub fn nets(&self) -> Vec<(String, String)> {
        (0..32)
            .map(|index| format!("net{index}"))
            .filter_map(|key| self.values.get(&key).map(|value| (key.clone(), value.clone())))
            .collect()
    }

    /// The devices of `boot: order=…`, empty when none is named.
    pub fn boot_order(&self) -> Vec<String> {
        let boot = self.get("boot").unwrap_or("");
        let order = boot.split(',').find_map(|part| part.trim().strip_prefix("order=")).unwrap_or("");
        order.split(';').map(str::trim).filter(|device| !device.is_empty()).map(str::to_owned).collect()
    }

    /// What `boot` becomes when a VM is created without one: first disk, first CD drive, first card; a blank when there is nothing.
    pub fn default_boot(&self) -> String {
        let drives = self.drives();
        let is_cd = |value: &str| value.contains("media=cdrom");
        let disk = drives.iter().find(|(_, value)| !is_cd(value));
        let cd = drives.iter().find(|(_, value)| is_cd(value));
        let net = self.nets().into_iter().next();
        let devices: Vec<String> = [disk.cloned(), cd.cloned(), net].into_iter().flatten().map(|(key, _)| key).collect();
        if devices.is_empty() { " ".to_owned() } else { format!("order={}", devices.join(";")) }
    }

    /// Whether the guest agent is switched on in `agent`.
    pub fn agent(&self) -> bool {
        let text = self.get("agent").unwrap_or("0");
        let mut parts = text.split(',');
        parts.any(|part| matches!(part.trim(), "1" | "enabled=1"))
    }

    /// Memory in MB (512 when the file says nothing).
    pub fn memory(&self) -> u64 {
        let text = self.get("memory").unwrap_or("512");
        text.trim_start_matches("current=").parse().unwrap_or(512)
    }

    /// Virtual CPUs: cores times sockets.
    pub fn cpus(&self) -> u64 {
        self.number("cores").unwrap_or(1) * self.number("sockets").unwrap_or(1)
    }
}

/// A configuration value as Proxmox answers it: a number where its schema says so.
pub fn typed(key: &str, value: &str) -> Value {
    if NUMBERS.contains(&key)
        && let Ok(number) = value.parse::<i64>()
    {
        return json!(number);
    }
    json!(value)
}

/// A whole map of values as Proxmox answers it.
pub fn typed_map(values: &BTreeMap<String, String>) -> Map<String, Value> {
    values.iter().map(|(key, value)| (key.clone(), typed(key, value))).collect()
}
