//! Finding VMs: every machine that the account may see, on all nodes, and the one that a name means.

use std::time::Duration;

use serde_json::Value as Json;

use crate::event::{Lasting, Stream};
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::proxmox::api::{Api, number, text};
use crate::model::proxmox::rights;
use crate::model::proxmox::vm::look::{address, look_at};
use crate::model::proxmox::vm::state::Status;
use crate::model::proxmox::vm::{Globals, Named};
use crate::name::nearest;

/// What a lookup waits for: the answers of several requests.
pub const PHASE: &str = "the VM's state";

/// One VM as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub vmid: u32,
    /// Its name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// Whether it runs, as far as the list knows.
    pub status: Status,
    /// Whether its node answers.
    pub reachable: bool,
    /// The whole row: its node's own list tells of each VM what `status/current` does.
    pub row: Json,
}

impl Entry {
    /// `calamity (vmid 107)`.
    pub fn label(&self) -> String {
        format!("{} (vmid {})", self.name, self.vmid)
    }
}

/// Every VM that the account may see.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// By vmid.
    pub entries: Vec<Entry>,
    /// Nodes that do not answer.
    pub offline: Vec<String>,
}

impl Fleet {
    /// Reads the lists of all nodes. The nodes' own lists are the truth; the cluster's list, a cache of about ten seconds, only knows the VMs of nodes
    /// that do not answer. An empty list is believed only from an account that has the right to see VMs.
    pub async fn read(api: &Api<'_>) -> Result<Self, Failure> {
        let own = format!("/nodes/{}/qemu", api.node);
        let (nodes, cached, list) =
            futures_util::future::join3(api.get("/nodes", &[]), api.get("/cluster/resources", &[("type", "vm")]), api.get(&own, &[])).await;
        let nodes = rows(nodes?);
        let name = |row: &Json| text(row, "node");
        let offline = |row: &Json| text(row, "status").as_deref() == Some("offline");
        let mut fleet = Self { entries: Vec::new(), offline: nodes.iter().filter(|row| offline(row)).filter_map(name).collect() };
        let online: Vec<String> = nodes.iter().filter(|row| !offline(row)).filter_map(name).collect();
        let others: Vec<&String> = online.iter().filter(|name| **name != api.node).collect();
        let paths: Vec<String> = others.iter().map(|name| format!("/nodes/{name}/qemu")).collect();
        let lists = futures_util::future::join_all(paths.iter().map(|path| api.get(path, &[]))).await;
        if online.contains(&api.node) {
            fleet.add(&api.node, &rows(list?));
        } else if !fleet.offline.contains(&api.node) {
            return Err(wrong_node(api, &online));
        }
        for (name, list) in others.into_iter().zip(lists) {
            match list {
                Ok(list) => fleet.add(name, &rows(list)),
                // A node that died a moment ago is still listed as online; its guests are unknown, not gone.
                Err(error) if error.passing() => fleet.offline.push(name.clone()),
                Err(error) => return Err(error.into()),
            }
        }
        fleet.add_unreachable(&rows(cached?));
        fleet.entries.sort_by(|a, b| (a.vmid, &a.node).cmp(&(b.vmid, &b.node)));
        if fleet.entries.is_empty() {
            must_see(api).await?;
        }
        Ok(fleet)
    }

    fn add(&mut self, node: &str, rows: &[Json]) {
        self.entries.extend(rows.iter().filter_map(|row| entry(row, node, true)));
    }

    fn add_unreachable(&mut self, cached: &[Json]) {
        for row in cached.iter().filter(|row| text(row, "type").as_deref() == Some("qemu")) {
            let Some(node) = text(row, "node").filter(|node| self.offline.contains(node)) else { continue };
            // A guest that was moved away from its dead node is in the list of the other one already.
            let found = entry(row, &node, false).filter(|found| self.entries.iter().all(|known| known.vmid != found.vmid));
            self.entries.extend(found);
        }
    }

    /// All VMs of that name.
    pub fn named(&self, name: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.name == name).collect()
    }

    /// The one VM of that name; the failure lists those there are, or the nearest name.
    pub fn one(&self, api: &Api<'_>, name: &str) -> Result<&Entry, Failure> {
        match self.named(name)[..] {
            [only] => Ok(only),
            [] => Err(self.missing(api, name)),
            ref several => {
                let list: Vec<String> = several.iter().map(|entry| format!("{}@{}", entry.vmid, entry.node)).collect();
                Err(Failure::theirs(format!("{}: the name `{name}` has {} VMs: {}", api.host(), several.len(), list.join(", ")))
                    .help("rename all but one: pmx never guesses which is meant"))
            }
        }
    }

    fn missing(&self, api: &Api<'_>, name: &str) -> Failure {
        let mut names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "there are no VMs".to_owned(),
            None => format!("VMs there are: {}", names.join(", ")),
        };
        let unseen = if self.offline.is_empty() { String::new() } else { format!(" (offline: {})", self.offline.join(", ")) };
        Failure::theirs(format!("{}: there is no VM `{name}`{unseen}", api.host())).help(help)
    }
}

fn rows(list: Json) -> Vec<Json> {
    if let Json::Array(rows) = list { rows } else { Vec::new() }
}

fn entry(row: &Json, node: &str, reachable: bool) -> Option<Entry> {
    let vmid = u32::try_from(number(row, "vmid")?).ok()?;
    let name = text(row, "name").unwrap_or_else(|| format!("VM {vmid}"));
    let status = if reachable { Status::read(&text(row, "status").unwrap_or_default()) } else { Status::Unknown };
    Some(Entry { vmid, name, node: node.to_owned(), status, reachable, row: row.clone() })
}

fn wrong_node(api: &Api<'_>, online: &[String]) -> Failure {
    let near = nearest(&api.node, online.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::yours(format!("{}: there is no node `{}`", api.host(), api.node)).help(format!("nodes there are: {}{near}", online.join(", ")))
}

/// Fails unless the account may see VMs at all: without the right Proxmox answers with an empty list, not with an error.
async fn must_see(api: &Api<'_>) -> Result<(), Failure> {
    let permissions = api.get("/access/permissions", &[]).await?;
    let sees = |(path, rights): (&String, &Json)| {
        let place = path == "/" || path == "/vms" || path.starts_with("/vms/") || path.starts_with("/pool");
        place && rights.get("VM.Audit").is_some()
    };
    if permissions.as_object().is_some_and(|paths| paths.iter().any(sees)) {
        return Ok(());
    }
    let subject = api.subject().await.unwrap_or_else(|| "USER@REALM".to_owned());
    let grant = |path: &str, role: &str| rights::grant(path, &subject, role);
    Err(Failure::theirs(format!("{}: {subject} cannot see any VM: VM.Audit on /vms is missing", api.host())).help(format!(
        "on a Proxmox node: `{}`; to create VMs also `{}` and `{}`{}",
        grant("/vms", "PVEVMAdmin"),
        grant("/storage", "PVEDatastoreUser"),
        grant("/sdn/zones", "PVESDNUser"),
        if subject.contains('!') { "; a token with privilege separation needs its user to have the same rights" } else { "" },
    )))
}

/// `lookup(vmName)`.
pub(super) async fn lookup(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, Named { vm_name }) = call.typed::<Globals, _>()?;
    let api = globals.api(ctx)?;
    ctx.reporter.phase(PHASE, None);
    let fleet = Fleet::read(&api).await?;
    let entry = fleet.one(&api, &vm_name)?;
    let seen = look_at(&api, entry).await?;
    let vm = seen.vm(address(&api, &seen).await?);
    // Said and not stored: what grows by itself would make every look another state.
    if let (Status::Running, Some(seconds)) = (vm.status, number(&seen.current, "uptime")) {
        ctx.reporter.line(Stream::Out, &format!("up for {}", Lasting(Duration::from_secs(seconds))));
    }
    let summary = match (&vm.ip, vm.status) {
        (Some(ip), _) => format!("{} runs at {ip} on {}", vm.label(), vm.node),
        (None, Status::Running) => format!("{} runs on {}, address: {}", vm.label(), vm.node, vm.ip_source),
        (None, _) => format!("{} is off, on {}", vm.label(), vm.node),
    };
    Ok(Outcome::unchanged(summary).write("vm", vm_name, vm.attributes()?))
}
