//! Replacing a store's key: everything that was sealed with the old one is sealed with a new one, and at no moment is anything without its key.
//!
//! - Refused while a run is in progress, and while anybody else has the key open: they would go on sealing with the old one.
//! - First it is seen whether everything opens: a rotation that could not end is not begun.
//! - The new key is put before the old one, secrets of the store are sealed anew in one transaction, each vault's file in one rename; the old key goes last,
//!   after it was seen that nothing needs it. Wherever this dies, everything opens, and the next rotation goes on from there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::ops::site::Site;
use crate::ops::{runs, world};
use crate::source::Diagnostic;
use crate::store::Store;
use crate::vault::VaultError;
use crate::vault::file::FileVault;
use crate::vault::key::StoreKey;
use crate::vault::rotation::Rotation;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// Secrets of the store that were sealed anew.
    pub store: u64,
    /// Values that were sealed anew, by their vault's file.
    pub vaults: BTreeMap<String, usize>,
    /// Whether this went on with a rotation that had not come to its end.
    pub resumed: bool,
    /// Where the old key still stands, which this could not take away: `PMX_STORE_KEY`, a program.
    pub old_key_in: Option<String>,
}

/// The steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Everything opens.
    Look,
    /// The new key is there.
    Add,
    /// The store's secrets.
    Store,
    /// The vaults' files.
    Vaults,
    /// Nothing needs the old key.
    Prove,
    /// The old key goes.
    Finish,
}

const STEPS: [Step; 6] = [Step::Look, Step::Add, Step::Store, Step::Vaults, Step::Prove, Step::Finish];

/// Replaces the key of the project's store.
pub async fn rotate(front: &Front) -> Result<Rotated, Vec<Diagnostic>> {
    walk(front, &STEPS).await
}

async fn walk(front: &Front, steps: &[Step]) -> Result<Rotated, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let none = || vec![Diagnostic::yours("this project has no store yet, so there is no key to replace")];
    let mut store = world::open(&site).map_err(|d| vec![d])?.ok_or_else(none)?;
    runs::idle(&mut *store, "seals with the key that it has")?;
    let mut work = Work::begin(&site, front, store)?;
    for step in steps {
        work.take(*step).await?;
    }
    Ok(work.done)
}

fn failed(error: &VaultError) -> Vec<Diagnostic> {
    match error {
        VaultError::KeyInUse { .. } => runs::not_now(error.to_string()),
        other => vec![Diagnostic::yours(other.to_string())],
    }
}

/// Where the key is.
enum Source {
    /// In pmx's own file.
    File(Rotation),
    /// Elsewhere; the place is for people.
    Given(Box<StoreKey>, String),
}

impl Source {
    /// Asks something of the key as it is now.
    fn with<T>(&self, ask: impl FnOnce(&StoreKey) -> T) -> T {
        match self {
            Self::File(rotation) => ask(&rotation.key()),
            Self::Given(key, _) => ask(key),
        }
    }
}

/// A rotation under way.
struct Work {
    store: Box<dyn Store>,
    source: Source,
    /// The vaults' names by their files.
    files: BTreeMap<PathBuf, String>,
    done: Rotated,
}

impl Work {
    fn begin(site: &Site, front: &Front, store: Box<dyn Store>) -> Result<Self, Vec<Diagnostic>> {
        let source = match world::given_key(site, front, store.id()).map_err(|d| vec![d])? {
            Some(key) => given(key, site, front)?,
            None => {
                let config = world::config(front).map_err(|d| vec![d])?;
                let missing = || vec![Diagnostic::yours(format!("the key of store {} is not on this machine", store.id()))];
                Source::File(Rotation::begin(config, store.id()).map_err(|e| failed(&e))?.ok_or_else(missing)?)
            }
        };
        let mut work = Self { store, source, files: vaults(site, front)?, done: Rotated::default() };
        match &work.source {
            Source::File(rotation) => work.done.resumed = rotation.key().rotating(),
            Source::Given(_, place) => work.done.old_key_in = Some(place.clone()),
        }
        Ok(work)
    }

    async fn take(&mut self, step: Step) -> Result<(), Vec<Diagnostic>> {
        match (step, &mut self.source) {
            (Step::Add, Source::File(rotation)) => rotation.add().map_err(|e| failed(&e)),
            (Step::Finish, Source::File(rotation)) => rotation.finish().map_err(|e| failed(&e)),
            (Step::Add | Step::Finish, Source::Given(..)) => Ok(()),
            (Step::Look, _) => self.count().map(drop),
            (Step::Store, _) => self.reseal_store(),
            (Step::Vaults, _) => self.reseal_vaults().await,
            (Step::Prove, _) => match self.count()? {
                0 => Ok(()),
                left => Err(failed(&VaultError::StoreKey {
                    place: "the old one".to_owned(),
                    why: format!("{left} values are sealed with it still; it stays, and another `pmx vault rotate` goes on"),
                })),
            },
        }
    }

    fn vaults(&self) -> Vec<(String, FileVault)> {
        self.source
            .with(|key| self.files.iter().map(|(path, name)| (path.display().to_string(), FileVault::new(name, path, key))).collect())
    }

    /// How many values an older key has sealed; an error where one does not open.
    fn count(&mut self) -> Result<u64, Vec<Diagnostic>> {
        let mut stale = 0;
        let seen = self.source.with(|key| {
            self.store.reseal(&mut |sealed| {
                key.reseal(sealed).map(|new| {
                    stale += u64::from(new.is_some());
                    None
                })
            })
        });
        seen.map_err(|e| trouble(&e))?;
        for (_, vault) in self.vaults() {
            stale += vault.stale().map_err(|e| failed(&e))? as u64;
        }
        Ok(stale)
    }

    fn reseal_store(&mut self) -> Result<(), Vec<Diagnostic>> {
        let changed = self.source.with(|key| self.store.reseal(&mut |sealed| key.reseal(sealed)));
        self.done.store = changed.map_err(|e| trouble(&e))?;
        Ok(())
    }

    async fn reseal_vaults(&mut self) -> Result<(), Vec<Diagnostic>> {
        for (path, vault) in self.vaults() {
            let count = vault.reseal().await.map_err(|e| failed(&e))?;
            self.done.vaults.insert(path, count);
        }
        Ok(())
    }
}

/// A key that pmx cannot replace where it is: the new one must be there already.
fn given(key: StoreKey, site: &Site, front: &Front) -> Result<Source, Vec<Diagnostic>> {
    let program = site.pmxfile.store_key.as_ref().and_then(|words| words.value.first());
    let program = program.filter(|_| !front.env.contains_key("PMX_STORE_KEY"));
    let place = program.map_or_else(|| "PMX_STORE_KEY".to_owned(), |program| format!("`{program}`"));
    if key.rotating() {
        return Ok(Source::Given(Box::new(key), place));
    }
    let message = format!("the store's key comes from {place}, where pmx cannot put a new one");
    let help = "put 64 new hex digits (`openssl rand -hex 32`) before the old ones there, with a blank between, and run this again: everything is then sealed \
                with the first key, and the second may go";
    Err(vec![Diagnostic::yours(message).help(help)])
}

/// The files that the store's key seals: those of every profile that has the same store.
fn vaults(site: &Site, front: &Front) -> Result<BTreeMap<PathBuf, String>, Vec<Diagnostic>> {
    let profiles = site.pmxfile.profiles.keys().map(|name| Some(name.clone()));
    let mut files = BTreeMap::new();
    for profile in std::iter::once(None).chain(profiles) {
        let other = Site::find(&Front { profile, ..front.clone() })?;
        if other.store_dir() != site.store_dir() {
            continue;
        }
        for name in other.pmxfile.vaults.keys() {
            // What is linked is one file under two names.
            let path = other.vault_file(name).map(|path| std::fs::canonicalize(&path).unwrap_or(path));
            files.extend(path.map(|path| (path, name.clone())));
        }
    }
    Ok(files)
}

#[cfg(test)]
#[path = "rotate_tests.rs"]
mod tests;
