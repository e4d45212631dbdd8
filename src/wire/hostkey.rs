//! Host keys: pins that outlive the process, keys that are trusted for one boot, and the judgement between seen and known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::wire::ssh::{Pinning, SshError};

/// Where pins live. Both calls may block for the length of one small transaction.
pub trait Pins: Send + Sync {
    /// The key pinned for `identity` (`vm:<smbios uuid>`, `host:<name>`), as a line `ssh-ed25519 AAAA…`. An error is not "no pin": a store that cannot be
    /// read must not make every host a stranger.
    fn get(&self, identity: &str) -> Result<Option<String>, String>;

    /// Pins a key, replacing the pin that is there. Called only after a login with that key has worked.
    fn set(&self, identity: &str, key_line: &str) -> Result<(), String>;
}

/// Pins that end with the process.
#[derive(Debug, Default)]
pub struct MemoryPins(Mutex<BTreeMap<String, String>>);

impl MemoryPins {
    /// No pins yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Pins for MemoryPins {
    fn get(&self, identity: &str) -> Result<Option<String>, String> {
        Ok(locked(&self.0).get(identity).cloned())
    }

    fn set(&self, identity: &str, key_line: &str) -> Result<(), String> {
        locked(&self.0).insert(identity.to_owned(), key_line.to_owned());
        Ok(())
    }
}

/// The host keys that this process knows.
pub(super) struct HostKeys {
    pins: Arc<dyn Pins>,
    this_boot: Mutex<BTreeMap<String, String>>,
}

impl HostKeys {
    pub(super) fn new(pins: Arc<dyn Pins>) -> Self {
        Self { pins, this_boot: Mutex::default() }
    }

    /// The key that the host must show; `None` when any will do.
    pub(super) fn known(&self, identity: &str, pinning: Pinning) -> Result<Option<PublicKey>, SshError> {
        let line = match pinning {
            Pinning::Pinned => {
                self.pins.get(identity).map_err(|e| SshError::Local(format!("the host key pin of {identity} cannot be read: {e}")))?
            }
            Pinning::ThisBoot => locked(&self.this_boot).get(identity).cloned(),
            Pinning::Replace => None,
        };
        let parse = |line: String| PublicKey::from_openssh(&line);
        let unreadable =
            |e| SshError::Local(format!("the host key pin of {identity} is not a public key ({e}); remove it to pin the host anew"));
        line.map(parse).transpose().map_err(unreadable)
    }

    /// Remembers the key of a host on which a login has just worked.
    pub(super) fn learn(&self, identity: &str, pinning: Pinning, seen: &PublicKey) -> Result<(), SshError> {
        let line = line(seen)?;
        match pinning {
            Pinning::ThisBoot => {
                locked(&self.this_boot).insert(identity.to_owned(), line);
                Ok(())
            }
            Pinning::Pinned | Pinning::Replace => {
                let failed = |e| SshError::Local(format!("the host key of {identity} cannot be pinned: {e}"));
                if self.pins.get(identity).map_err(failed)?.as_ref() == Some(&line) {
                    return Ok(());
                }
                self.pins.set(identity, &line).map_err(failed)
            }
        }
    }

    /// The machine goes away: its next boot may show another key.
    pub(super) fn next_boot(&self, identity: &str) {
        locked(&self.this_boot).remove(identity);
    }
}

/// Whether both are the same key, whatever their comments say.
pub(super) fn same(a: &PublicKey, b: &PublicKey) -> bool {
    a.key_data() == b.key_data()
}

/// `SHA256:…`, as `ssh-keygen -l` shows it.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Our order of host key algorithms, those of the known key first: a host that gained another kind of key since has not changed.
pub(super) fn preferred(known: Option<&PublicKey>, usual: &[Algorithm]) -> Vec<Algorithm> {
    let Some(known) = known.map(PublicKey::algorithm) else { return usual.to_vec() };
    let fits = |algorithm: &&Algorithm| match (*algorithm, &known) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (algorithm, known) => algorithm == known,
    };
    let first = usual.iter().filter(|algorithm| fits(algorithm));
    first.chain(usual.iter().filter(|algorithm| !fits(algorithm))).cloned().collect()
}

fn line(key: &PublicKey) -> Result<String, SshError> {
    let bare = PublicKey::new(key.key_data().clone(), "");
    bare.to_openssh().map_err(|e| SshError::Local(format!("the host's key cannot be written down: {e}")))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILIG2T/B0l0gaqj3puu510tu9N1OkQ4znY3LYuEm5zCF a comment";

    fn key(line: &str) -> PublicKey {
        PublicKey::from_openssh(line).unwrap()
    }

    #[test]
    fn each_pinning_knows_its_own_keys() {
        let pins = Arc::new(MemoryPins::new());
        let keys = HostKeys::new(Arc::<MemoryPins>::clone(&pins));
        assert!(keys.known("vm:1", Pinning::Pinned).unwrap().is_none());
        keys.learn("vm:1", Pinning::ThisBoot, &key(OTHER)).unwrap();
        assert!(keys.known("vm:1", Pinning::Pinned).unwrap().is_none());
        assert!(same(&keys.known("vm:1", Pinning::ThisBoot).unwrap().unwrap(), &key(OTHER)));
        keys.next_boot("vm:1");
        assert!(keys.known("vm:1", Pinning::ThisBoot).unwrap().is_none());
        keys.learn("vm:1", Pinning::Pinned, &key(ED25519)).unwrap();
        assert!(keys.known("vm:1", Pinning::Replace).unwrap().is_none());
        keys.learn("vm:1", Pinning::Replace, &key(OTHER)).unwrap();
        assert_eq!(pins.get("vm:1").unwrap().unwrap(), OTHER.trim_end_matches(" a comment"));
    }

    #[test]
    fn a_broken_pin_is_not_a_missing_one() {
        let pins = Arc::new(MemoryPins::new());
        pins.set("host:a", "nonsense").unwrap();
        let error = HostKeys::new(pins).known("host:a", Pinning::Pinned).unwrap_err();
        assert!(error.to_string().contains("host:a") && error.certainly_not_begun(), "{error}");
    }

    #[test]
    fn the_known_kind_of_key_is_asked_for_first() {
        let usual = [Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: None }, Algorithm::Ed25519];
        assert_eq!(preferred(Some(&key(ED25519)), &usual)[0], Algorithm::Ed25519);
        assert_eq!(preferred(None, &usual), usual);
    }

    #[test]
    fn pins_are_read_or_refused_however_spoiled() {
        crate::walks::feed(&[ED25519, OTHER], |bytes| {
            let pins = Arc::new(MemoryPins::new());
            pins.set("host:a", &String::from_utf8_lossy(bytes)).unwrap();
            HostKeys::new(pins).known("host:a", Pinning::Pinned).map(drop).map_err(|e| e.to_string())
        });
    }
}
