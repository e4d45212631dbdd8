//! A check-up of everything a build relies on: files, store, key, vaults, Proxmox accounts, and the hosts behind the definitions.
//!
//! It changes nothing at the machines and stops at nothing: each finding is told as it is made, and says what to do about it.

mod hosts;
mod local;
mod nodes;

use std::sync::Arc;

use serde::Serialize;

use crate::lang::Project;
use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::ops::site::Site;
use crate::ops::{project, ready, world};
use crate::source::{Diagnostic, Severity};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Good,
    /// Worth knowing; builds work.
    Note,
    /// Builds fail on it, or may.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to: `files`, `store`, `vault proxmox-vault`, `keebDev02`, `calamity`.
    pub topic: String,
    /// How it is.
    pub health: Health,
    /// What was found: a lower-case fragment.
    pub message: String,
    /// What to do, one command or sentence each.
    pub help: Vec<String>,
}

impl Finding {
    fn new(topic: impl Into<String>, health: Health, message: impl Into<String>) -> Self {
        Self { topic: topic.into(), health, message: message.into(), help: Vec::new() }
    }

    fn good(topic: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(topic, Health::Good, message)
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }
}

/// Takes each finding as it is made.
pub type Told<'a> = &'a mut (dyn FnMut(Finding) + Send);

/// Looks at everything. Errors are what keeps it from beginning: no project, files that cannot be read.
pub async fn doctor(front: &Front, tell: Told<'_>) -> Result<(), Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let loaded = project::check(&site)?;
    tell(files(&loaded));
    ready::make_ready(&site, front).await.map_err(|d| vec![d])?;
    local::store(&site, front, tell);
    let Some(project) = loaded.project else { return Ok(()) };
    local::vaults(&site, front, &project, tell).await;
    nodes::look(front, &project, tell).await;
    hosts::look(&site, front, &project, tell).await
}

fn files(loaded: &project::Loaded) -> Finding {
    let errors = loaded.complaints.iter().filter(|complaint| complaint.severity == Severity::Error).count();
    let warnings = loaded.complaints.len() - errors;
    match (errors, warnings) {
        (0, 0) => Finding::good("files", "Pmxfile, definitions and workflows are clean"),
        (0, warnings) => Finding::new("files", Health::Note, format!("{warnings} warnings")).help("`pmx check` shows them"),
        (errors, _) => Finding::new("files", Health::Bad, format!("{errors} errors")).help("`pmx check` shows them"),
    }
}

/// Forgets the pinned host key of `name`: a VM's name, a host's name, or an identity as errors show it (`vm:<uuid>`, `host:<name>`). Returns the identities
/// whose pins went.
pub fn forget(front: &Front, name: &str) -> Result<Vec<String>, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let missing = || {
        let message = format!("no host key is pinned for `{name}`");
        vec![Diagnostic::yours(message).help("give the VM's name, the host's name, or the identity that the error shows, `vm:<uuid>`")]
    };
    let mut store = world::open(&site).map_err(|d| vec![d])?.ok_or_else(missing)?;
    let mut identities = vec![name.to_owned(), format!("host:{name}"), format!("machine:{name}")];
    for head in store.heads(None).map_err(|e| trouble(&e))?.into_iter().filter(|head| head.resource.instance == name) {
        identities.push(format!("machine:{}", head.resource));
        let attributes = crate::exec::view::attributes(&mut *store, None, &head).map_err(|e| trouble(&e))?;
        identities.extend(attributes.get("uuid").and_then(|uuid| uuid.as_str()).map(|uuid| format!("vm:{uuid}")));
    }
    let mut forgotten = Vec::new();
    for identity in identities {
        if store.pin(&identity).map_err(|e| trouble(&e))?.is_some() {
            store.set_pin(&identity, None).map_err(|e| trouble(&e))?;
            forgotten.push(identity);
        }
    }
    if forgotten.is_empty() { Err(missing()) } else { Ok(forgotten) }
}

/// A project whose files are worth looking into further.
type Files = Arc<Project>;
