//! The options of a VM's configuration: which exist, and what each may be.

use super::schema::Kind;

/// Numbered options: prefix, how many, kind.
const NUMBERED: &[(&str, u32, Kind)] = &[
    ("net", 32, Kind::Net),
    ("ide", 4, Kind::Text),
    ("scsi", 31, Kind::Text),
    ("virtio", 16, Kind::Text),
    ("sata", 6, Kind::Text),
    ("unused", 256, Kind::Text),
    ("ipconfig", 32, Kind::Text),
    ("serial", 4, Kind::Text),
    ("usb", 14, Kind::Text),
    ("hostpci", 16, Kind::Text),
    ("numa", 8, Kind::Text),
    ("parallel", 3, Kind::Text),
    ("efidisk", 1, Kind::Text),
    ("tpmstate", 1, Kind::Text),
    ("virtiofs", 10, Kind::Text),
];

const OS_TYPES: &[&str] = &["other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26", "solaris"];
const SCSI: &[&str] = &["lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"];
const LOCKS: &[&str] = &["backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete", "suspending", "suspended"];

/// Options with one name.
const SINGLE: &[(&str, Kind)] = &[
    ("acpi", Kind::Bool),
    ("affinity", Kind::Text),
    ("agent", Kind::Agent),
    ("arch", Kind::Enum(&["x86_64", "aarch64"])),
    ("args", Kind::Text),
    ("audio0", Kind::Text),
    ("autostart", Kind::Bool),
    ("balloon", Kind::Int(0, i64::MAX)),
    ("bios", Kind::Enum(&["seabios", "ovmf"])),
    ("boot", Kind::Boot),
    ("bootdisk", Kind::Text),
    ("cdrom", Kind::Text),
    ("cicustom", Kind::Text),
    ("cipassword", Kind::Text),
    ("citype", Kind::Enum(&["configdrive2", "nocloud", "opennebula"])),
    ("ciupgrade", Kind::Bool),
    ("ciuser", Kind::Text),
    ("cores", Kind::Int(1, i64::MAX)),
    ("cpu", Kind::Text),
    ("cpulimit", Kind::Text),
    ("cpuunits", Kind::Int(1, 262_144)),
    ("description", Kind::Text),
    ("freeze", Kind::Bool),
    ("hookscript", Kind::Text),
    ("hotplug", Kind::Text),
    ("hugepages", Kind::Enum(&["any", "2", "1024"])),
    ("ivshmem", Kind::Text),
    ("keyboard", Kind::Text),
    ("kvm", Kind::Bool),
    ("localtime", Kind::Bool),
    ("lock", Kind::Enum(LOCKS)),
    ("machine", Kind::Text),
    ("memory", Kind::Memory),
    ("name", Kind::Dns),
    ("nameserver", Kind::Text),
    ("numa", Kind::Bool),
    ("onboot", Kind::Bool),
    ("ostype", Kind::Enum(OS_TYPES)),
    ("protection", Kind::Bool),
    ("reboot", Kind::Bool),
    ("rng0", Kind::Text),
    ("scsihw", Kind::Enum(SCSI)),
    ("searchdomain", Kind::Text),
    ("shares", Kind::Int(0, 50_000)),
    ("smbios1", Kind::Text),
    ("sockets", Kind::Int(1, i64::MAX)),
    ("spice_enhancements", Kind::Text),
    ("sshkeys", Kind::Text),
    ("startdate", Kind::Text),
    ("startup", Kind::Text),
    ("tablet", Kind::Bool),
    ("tags", Kind::Text),
    ("tdf", Kind::Bool),
    ("template", Kind::Bool),
    ("vcpus", Kind::Int(1, i64::MAX)),
    ("vga", Kind::Text),
    ("vmgenid", Kind::Text),
    ("vmstatestorage", Kind::Text),
    ("watchdog", Kind::Text),
];

/// What an option may be; none when there is no such option.
pub fn kind(name: &str) -> Option<Kind> {
    let single = SINGLE.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    single.or_else(|| {
        let (prefix, digits) = name.split_at(name.find(|c: char| c.is_ascii_digit())?);
        let index: u32 = digits.parse().ok()?;
        let canonical = digits == "0" || !digits.starts_with('0');
        NUMBERED.iter().find(|(known, count, _)| *known == prefix && index < *count && canonical).map(|(_, _, kind)| *kind)
    })
}

/// Whether an option is a disk or a CD drive.
pub fn is_drive(name: &str) -> bool {
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    matches!(prefix, "ide" | "scsi" | "virtio" | "sata" | "efidisk" | "tpmstate") && kind(name).is_some()
}

/// `tags` as they are stored: lower case, sorted, each once, separated by semicolons.
pub fn tidy_tags(text: &str) -> String {
    let mut tags: Vec<String> =
        text.split([';', ',', ' ', '\0']).map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_lowercase).collect();
    tags.sort();
    tags.dedup();
    tags.join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_options_end_where_proxmox_ends_them() {
        assert!(kind("scsi30").is_some() && kind("scsi31").is_none());
        assert!(kind("ide3").is_some() && kind("ide4").is_none());
        assert!(kind("net01").is_none() && kind("net").is_none() && kind("bogus").is_none());
        assert!(is_drive("scsi0") && is_drive("efidisk0") && !is_drive("net0") && !is_drive("serial0"));
    }

    #[test]
    fn tags_are_stored_lower_sorted_and_once() {
        assert_eq!(tidy_tags("Zeta;alpha,beta gamma beta"), "alpha;beta;gamma;zeta");
    }
}
