//! Vaults: where `vault.get(vault, key)` finds its secrets, and the key that seals those of a store.
//!
//! Holds: the trait, three kinds (sealed file, environment, command), the store's key, the table of a project's vaults
//! Imports: digest, files, name, secret
//! Effects: vault files, key files, the programs of command vaults
//! Never: prints or logs a secret, puts one into an argv, reads the environment

pub mod command;
pub mod env;
pub mod file;
pub mod key;
mod seal;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use futures_util::future::BoxFuture;

use crate::name::nearest;
use crate::secret::{Origin, Secret};

/// A named collection of secrets.
pub trait Vault: Send + Sync {
    /// The secret of that key; it remembers vault and key as its origin.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, VaultError>>;
    /// The keys, in order. A kind that cannot list them says so.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, VaultError>>;
    /// Keeps a secret under that key, replacing an older one.
    fn set<'a>(&'a self, key: &'a str, secret: &'a Secret) -> BoxFuture<'a, Result<(), VaultError>>;
    /// Removes a key, which must be there.
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), VaultError>>;
}

/// The vaults of a project by name.
#[derive(Default)]
pub struct Vaults(BTreeMap<String, Box<dyn Vault>>);

impl Vaults {
    /// No vaults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a vault under `name`, replacing an older one of that name.
    pub fn add(&mut self, name: impl Into<String>, vault: Box<dyn Vault>) {
        self.0.insert(name.into(), vault);
    }

    /// The vault of that name; the error names those that exist.
    pub fn vault(&self, name: &str) -> Result<&dyn Vault, VaultError> {
        let known = || self.0.keys().cloned().collect();
        self.0.get(name).map(AsRef::as_ref).ok_or_else(|| VaultError::NoVault { vault: name.to_owned(), known: known() })
    }

    /// The secret that `vault.get(vault, key)` means.
    pub async fn get(&self, vault: &str, key: &str) -> Result<Secret, VaultError> {
        self.vault(vault)?.get(key).await
    }

    /// The names of the vaults, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What can go wrong with a vault or a store's key. No variant ever holds a secret.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum VaultError {
    /// The Pmxfile has no vault of that name.
    #[error("there is no vault `{vault}`{}; add [vault.{vault}] to the Pmxfile", Known("vaults", vault, known))]
    NoVault {
        /// The name asked for.
        vault: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The vault has no such key.
    #[error("vault {vault} has no key `{key}`{}; {remedy}", Known("keys", key, known))]
    NoKey {
        /// The vault.
        vault: String,
        /// The key asked for.
        key: String,
        /// The keys that exist.
        known: Vec<String>,
        /// What to do: the command that sets it, the variable to export.
        remedy: String,
    },
    /// A key that no vault of this kind could keep.
    #[error("`{key}` cannot be a key of vault {vault}: {why}")]
    BadKey {
        /// The vault.
        vault: String,
        /// The key.
        key: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The value is there but cannot be used.
    #[error("key `{key}` of vault {vault} cannot be read: {why}; `pmx vault set {vault} {key}` replaces it")]
    Unreadable {
        /// The vault.
        vault: String,
        /// The key.
        key: String,
        /// Why not.
        why: String,
    },
    /// The kind of vault cannot do that.
    #[error("vault {vault} cannot {attempt}: {why}")]
    Cannot {
        /// The vault.
        vault: String,
        /// What was asked of it.
        attempt: &'static str,
        /// Why not, and what to do instead.
        why: String,
    },
    /// The program of a command vault failed, or said nothing, or took too long.
    #[error("could not get key `{key}` of vault {vault} from {program}: {why}")]
    Program {
        /// The vault.
        vault: String,
        /// The key.
        key: String,
        /// The program, without its arguments.
        program: String,
        /// How it ended, with the first line of its standard error.
        why: String,
    },
    /// The key of a store cannot be used.
    #[error("the store's key ({place}) cannot be used: {why}")]
    StoreKey {
        /// Its file, or `PMX_STORE_KEY`.
        place: String,
        /// Why, and what to do.
        why: String,
    },
    /// The file system refused.
    #[error("could not {attempt}: {cause}")]
    Io {
        /// What was attempted with what.
        attempt: String,
        /// What the system said.
        cause: String,
    },
}

/// The nearest name, or all of them: kind, the name given, the names known.
struct Known<'a>(&'static str, &'a str, &'a [String]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind, given, known) = self;
        if let Some(near) = nearest(given, known.iter().map(String::as_str)) {
            write!(f, "; did you mean `{near}`?")?;
        }
        match known {
            [] => Ok(()),
            known => write!(f, " ({kind} there: {})", known.join(", ")),
        }
    }
}

/// A secret from a vault, with its origin.
fn secret(vault: &str, key: &str, text: impl Into<String>) -> Secret {
    Secret::new(text, Origin::Vault { vault: vault.to_owned(), key: key.to_owned() })
}

/// The file system's refusal.
fn io(attempt: String, cause: &std::io::Error) -> VaultError {
    VaultError::Io { attempt, cause: cause.to_string() }
}

/// Refuses keys that are empty, too long to be meant, or hold control characters.
fn plain_key(vault: &str, key: &str) -> Result<(), VaultError> {
    let bad = |why| Err(VaultError::BadKey { vault: vault.to_owned(), key: key.chars().take(80).collect(), why });
    match key {
        "" => bad("it is empty"),
        key if key.len() > 200 => bad("it is longer than 200 bytes"),
        key if key.contains(char::is_control) => bad("it holds control characters"),
        _ => Ok(()),
    }
}
