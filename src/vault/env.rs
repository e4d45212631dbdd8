//! The environment vault: keys are the variables behind a prefix, as they were when the process began.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Vault, VaultError, secret};
use crate::secret::Secret;

/// A vault in the environment. `key` is looked for as `PREFIXkey`, then as `PREFIXKEY` in capitals: `tailscaleAuthKey` is `…TAILSCALE_AUTH_KEY`.
pub struct EnvVault {
    name: String,
    prefix: String,
    variables: Arc<BTreeMap<String, String>>,
}

impl EnvVault {
    /// The vault `name` over those of `variables` that begin with `prefix`.
    pub fn new(name: impl Into<String>, prefix: impl Into<String>, variables: Arc<BTreeMap<String, String>>) -> Self {
        Self { name: name.into(), prefix: prefix.into(), variables }
    }

    fn find(&self, key: &str) -> Result<Secret, VaultError> {
        let (exact, capital) = (format!("{}{key}", self.prefix), format!("{}{}", self.prefix, capitals(key)));
        // An empty variable is how shells and compose files say "not set".
        let found = [&exact, &capital].into_iter().find_map(|name| self.variables.get(name).filter(|text| !text.is_empty()));
        found.map(|text| secret(&self.name, key, text)).ok_or_else(|| VaultError::NoKey {
            vault: self.name.clone(),
            key: key.to_owned(),
            known: self.keys(),
            remedy: format!("export {capital} or {exact}"),
        })
    }

    fn keys(&self) -> Vec<String> {
        let set = self.variables.iter().filter(|(_, text)| !text.is_empty());
        set.filter_map(|(name, _)| name.strip_prefix(&self.prefix)).filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    fn cannot<T>(&self, attempt: &'static str, key: &str) -> Result<T, VaultError> {
        let why = format!("it is the environment of this process; change {}{} where it is set", self.prefix, capitals(key));
        Err(VaultError::Cannot { vault: self.name.clone(), attempt, why })
    }
}

/// `tailscaleAuthKey` as `TAILSCALE_AUTH_KEY`; whatever is no letter or digit becomes `_`.
fn capitals(key: &str) -> String {
    let mut out = String::new();
    let mut lower_before = false;
    for letter in key.chars() {
        if letter.is_ascii_uppercase() && lower_before {
            out.push('_');
        }
        lower_before = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        out.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' });
    }
    out
}

impl Vault for EnvVault {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(async move { self.find(key) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, VaultError>> {
        Box::pin(async move { Ok(self.keys()) })
    }

    fn set<'a>(&'a self, key: &'a str, _: &'a Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move { self.cannot("keep a secret", key) })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move { self.cannot("remove a key", key) })
    }
}
