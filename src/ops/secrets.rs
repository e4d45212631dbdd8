//! Secrets: the project's vaults, opened when an expression asks, each key once per run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::exec::engine::Secrets;
use crate::lang::pmxfile::VaultKind;
use crate::lang::template::Absent;
use crate::ops::front::Front;
use crate::ops::site::Site;
use crate::secret::{Redactor, Secret};
use crate::source::Diagnostic;
use crate::vault::command::CommandVault;
use crate::vault::env::EnvVault;
use crate::vault::file::FileVault;
use crate::vault::key::StoreKey;
use crate::vault::{Vault, Vaults};

/// The vaults that the Pmxfile names, under its profile. Nothing is opened yet.
pub fn vaults(site: &Site, front: &Front, key: &StoreKey) -> Result<Vaults, Diagnostic> {
    let variables = Arc::new(front.env.clone());
    let mut vaults = Vaults::new();
    for (name, settings) in &site.pmxfile.vaults {
        let vault: Box<dyn Vault> = match &settings.kind {
            VaultKind::File(path) => {
                let path = site.vault_file(name).unwrap_or_else(|| site.root.join(path));
                Box::new(FileVault::new(name, path, key))
            }
            VaultKind::Env(prefix) => Box::new(EnvVault::new(name, prefix, Arc::clone(&variables))),
            VaultKind::Command { words, seconds } => {
                let vault = CommandVault::new(name, words, Duration::from_secs(*seconds));
                Box::new(vault.map_err(|error| Diagnostic::yours(error.to_string()).at(&settings.span, ""))?)
            }
        };
        vaults.add(name, vault);
    }
    Ok(vaults)
}

/// The vaults of one run, each key asked for once.
pub struct RunSecrets {
    vaults: Vaults,
    runtime: tokio::runtime::Handle,
    redactor: Redactor,
    known: Mutex<BTreeMap<(String, String), Secret>>,
}

impl RunSecrets {
    /// These vaults for one run. Must be made inside the runtime that waits for vaults of kind `command`.
    pub fn new(vaults: Vaults, redactor: Redactor) -> Self {
        Self { vaults, runtime: tokio::runtime::Handle::current(), redactor, known: Mutex::default() }
    }
}

impl Secrets for RunSecrets {
    fn get_blocking(&self, vault: &str, key: &str) -> Result<Secret, Absent> {
        let id = (vault.to_owned(), key.to_owned());
        if let Some(secret) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(secret.clone());
        }
        let secret = self.runtime.block_on(self.vaults.get(vault, key));
        let secret = secret.map_err(|error| Absent { message: error.to_string(), help: None })?;
        self.redactor.learn(&secret);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, secret.clone());
        Ok(secret)
    }
}
