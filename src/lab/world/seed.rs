//! The state in which a new lab begins: the ten VMs of the fleet, or an empty node for tests of the protocol.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::account::{Accounts, User};
use super::config::Config;
use super::storage::{Shelf, Storage, Volume};
use super::task::Ledger;
use super::vm::{Guest, Run, Vm};
use super::{Keys, Site, World};

/// What a new lab begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seed {
    /// The ten VMs of the fleet, two storages, a network that boots Alpine.
    #[default]
    Fleet,
    /// No VM, one storage `local`, nothing on the network to boot from.
    Bare,
}

/// A VM of the fleet: vmid, name, cores, MB, GB of disk (0: none), running, Docker inside.
type Row = (u32, &'static str, u32, u32, u64, bool, bool);

const FLEET: &[Row] = &[
    (100, "slate", 4, 4096, 32, true, true),
    (101, "atm10", 8, 16384, 64, false, false),
    (102, "", 1, 512, 8, false, false),
    (103, "tftp-server", 1, 1024, 16, true, false),
    (104, "satisfactory", 4, 12288, 40, false, false),
    (105, "meatballcraft", 4, 8192, 40, false, false),
    (106, "factorio", 2, 4096, 16, false, false),
    (107, "calamity", 4, 8192, 32, true, true),
    (108, "allthemons", 6, 12288, 64, true, false),
    (109, "gold-image", 1, 1024, 0, false, false),
];

/// 2⁻⁸ of the hash decides nothing: uuid and MAC of a seeded VM are the same in every lab, so that examples and tests can name them.
fn stable(what: &str) -> [u8; 16] {
    let hash = ring::digest::digest(&ring::digest::SHA256, what.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    bytes
}

/// A fresh world.
pub fn world(node: &str, seed: Seed, now: f64) -> World {
    let mut accounts = Accounts::default();
    accounts.users.insert("root@pam".into(), User::default());
    let secret = uuid::Uuid::new_v4().simple().to_string() + &uuid::Uuid::new_v4().simple().to_string();
    let mut world = World {
        format: World::FORMAT,
        site: Site { node: node.to_owned(), seed, booted: now - 400_000.0 },
        keys: Keys { secret, epoch: 0 },
        clock_offset: 0,
        vms: BTreeMap::new(),
        ledger: Ledger { last_pid: 900, ..Ledger::default() },
        accounts,
        pools: BTreeMap::new(),
        shelf: shelf(seed),
        faults: Vec::new(),
    };
    if seed == Seed::Fleet {
        for row in FLEET {
            add(&mut world, row, now);
        }
    }
    let root = world.hash_password("root@pam", super::ROOT_PASSWORD);
    if let Some(user) = world.accounts.users.get_mut("root@pam") {
        user.password = Some(root);
    }
    world
}

fn shelf(seed: Seed) -> Shelf {
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
    let mut shelf = Shelf::default();
    let local = match seed {
        Seed::Bare => words(&["images", "snippets", "vztmpl", "backup", "iso", "rootdir"]),
        Seed::Fleet => words(&["iso", "vztmpl", "backup"]),
    };
    shelf.storages.insert("local".into(), Storage { kind: "dir".into(), content: local, size: 100 << 30 });
    if seed == Seed::Fleet {
        let thin = Storage { kind: "lvmthin".into(), content: words(&["images", "rootdir"]), size: 900 << 30 };
        shelf.storages.insert("local-lvm".into(), thin);
    }
    shelf
}

fn add(world: &mut World, row: &Row, now: f64) {
    let &(vmid, name, cores, memory, disk, running, docker) = row;
    let bytes = stable(&format!("pmx lab {vmid}"));
    let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let gen_id = uuid::Builder::from_random_bytes(stable(&format!("pmx lab generation {vmid}"))).into_uuid();
    let mac = format!("BC:24:11:{:02X}:{:02X}:{:02X}", bytes[3], bytes[4], bytes[5]);
    let created = 1_700_000_000 + i64::from(vmid);
    let mut config = Config::default();
    let mut put = |key: &str, value: String| config.values.insert(key.to_owned(), value);
    put("agent", "1".into());
    put("cores", cores.to_string());
    put("memory", memory.to_string());
    put("meta", format!("creation-qemu=9.2.0,ctime={created}"));
    if !name.is_empty() {
        put("name", name.to_owned());
    }
    put("net0", format!("virtio={mac},bridge=vmbr0"));
    put("numa", "0".into());
    put("ostype", "l26".into());
    put("scsihw", "virtio-scsi-single".into());
    put("smbios1", format!("uuid={uuid}"));
    put("sockets", "1".into());
    put("vmgenid", gen_id.to_string());
    if disk > 0 {
        let volid = format!("local-lvm:vm-{vmid}-disk-0");
        put("boot", "order=scsi0;net0".into());
        put("scsi0", format!("{volid},size={disk}G"));
        let size = disk << 30;
        let volume =
            Volume { size, used: size / 3, format: "raw".into(), vmid: Some(vmid), ctime: created, content: "images".into(), parent: None };
        world.shelf.volumes.insert(volid, volume);
    } else {
        put("boot", "order=net0".into());
    }
    let last = if name == "tftp-server" { 191 } else { u8::try_from(vmid).unwrap_or(u8::MAX) };
    let mut vm = Vm::new(config, Ipv4Addr::new(10, 0, 0, last));
    vm.installed = disk > 0;
    vm.docker = docker;
    if running {
        let pid = world.ledger.next_pid(7);
        let started = now - 250_000.0 - f64::from(vmid);
        vm.run = Some(Run { pid, started, booted: started, paused: false, agent_socket: true, guest: Guest::Installed });
    }
    world.vms.insert(vmid, vm);
}
