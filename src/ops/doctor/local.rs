//! What lies on this machine: the store with its key, and the vaults.

use std::collections::BTreeSet;

use super::{Files, Finding, Health, Told};
use crate::event::RunState;
use crate::lang::definition::Arguments;
use crate::lang::template::{Ref, Root};
use crate::ops::front::Front;
use crate::ops::site::Site;
use crate::ops::{secrets, world};
use crate::plan::refs::each_ref;
use crate::vault::Vaults;
use crate::vault::key::StoreKey;

/// Runs looked at for one that died.
const RUNS: usize = 100;

/// The store and its key.
pub(super) fn store(site: &Site, front: &Front, tell: Told<'_>) {
    let place = site.store_dir();
    let mut store = match world::open(site) {
        Ok(Some(store)) => store,
        Ok(None) => return tell(Finding::new("store", Health::Note, format!("none at {} yet: the first build makes it", place.display()))),
        Err(complaint) => return tell(Finding { help: complaint.help.into_iter().collect(), ..bad("store", complaint.message) }),
    };
    match store.index_defects() {
        Ok(defects) if defects.is_empty() => tell(Finding::good("store", format!("{} opens, its index is sound", place.display()))),
        Ok(defects) => tell(bad("store", defects.join("; ")).help("`pmx fsck` tells what is lost")),
        Err(error) => tell(bad("store", error.to_string()).help("`pmx fsck` tells what is lost")),
    }
    for run in store.runs(RUNS).unwrap_or_default().into_iter().filter(|run| run.state == RunState::Interrupted).take(3) {
        let message = format!("run {} ({}) by {} was interrupted", run.id.short(), run.targets.join(" "), run.actor);
        tell(Finding::new("store", Health::Note, message).help(format!("`pmx run {}` tells how far it came", run.id.short())));
    }
    key(site, front, store.id(), tell);
}

/// The store's key, wherever it is.
fn key(site: &Site, front: &Front, id: &str, tell: Told<'_>) {
    let found = match world::given_key(site, front, id) {
        Ok(None) => front.config.as_deref().map_or(Ok(None), |config| StoreKey::load(config, id, None)).map_err(|e| (e.to_string(), None)),
        Ok(given) => Ok(given),
        Err(complaint) => Err((complaint.message, complaint.help)),
    };
    match found {
        Ok(Some(key)) if key.rotating() => {
            tell(
                Finding::new("key", Health::Note, "a new key is there, and not everything is sealed with it yet")
                    .help("`pmx vault rotate` ends it"),
            );
        }
        Ok(Some(_)) => tell(Finding::good("key", "the store's key is here, and nobody else reads it")),
        Ok(None) => {
            let message = format!("the key of store {id} is not on this machine: its secrets stay closed, and file vaults with them");
            tell(bad("key", message).help("copy it from the machine that made the store: pmx/keys/ below ~/.config, mode 0600"));
        }
        Err((message, help)) => tell(Finding { help: help.into_iter().collect(), ..bad("key", message) }),
    }
}

/// Every vault, and every key that the project's files ask for.
pub(super) async fn vaults(site: &Site, front: &Front, project: &Files, tell: Told<'_>) {
    let opened = match world::open_or_create(site, front) {
        Ok(opened) => opened,
        // Told with the store already.
        Err(_) => return,
    };
    let vaults = match secrets::vaults(site, front, &opened.key) {
        Ok(vaults) => vaults,
        Err(complaint) => return tell(bad("vaults", complaint.message)),
    };
    drop(opened.store);
    let asked = asked(project);
    for name in vaults.names() {
        tell(one(&vaults, name, asked.iter().filter(|(vault, _)| vault == name).map(|(_, key)| key.as_str())).await);
    }
}

async fn one(vaults: &Vaults, name: &str, keys: impl Iterator<Item = &str>) -> Finding {
    let topic = format!("vault {name}");
    let mut good = Vec::new();
    let mut finding = Finding::good(topic, "");
    let mut wrong = Vec::new();
    for key in keys {
        match vaults.get(name, key).await {
            Ok(_) => good.push(key.to_owned()),
            Err(error) => wrong.push(error.to_string()),
        }
    }
    finding.message = match (wrong.is_empty(), good.is_empty()) {
        (true, true) => "nothing asks for a key of it".to_owned(),
        (true, false) => format!("holds what the files ask for: {}", good.join(", ")),
        (false, _) => {
            finding.health = Health::Bad;
            wrong.join("; ")
        }
    };
    finding
}

/// Every `vault.get("vault", "key")` with literal arguments in definitions and workflows.
fn asked(project: &Files) -> BTreeSet<(String, String)> {
    let mut asked = BTreeSet::new();
    let mut take = |reference: &Ref| {
        if let Root::Vault(Some(vault), Some(key)) = &*reference.root {
            asked.insert((vault.clone(), key.clone()));
        }
    };
    let of_definitions = project
        .definitions
        .values()
        .flat_map(|definition| definition.methods.values().map(|(_, arguments)| arguments).chain([&definition.global]));
    let of_steps = project.workflows.values().flat_map(|workflow| &workflow.steps).map(|step| &step.with);
    for argument in of_definitions.chain(of_steps).flat_map(Arguments::values) {
        each_ref(&argument.template.value, &mut take);
    }
    asked
}

fn bad(topic: &str, message: impl Into<String>) -> Finding {
    Finding::new(topic, Health::Bad, message)
}
