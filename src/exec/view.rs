//! The view: resources as a run sees them, with secrets sealed on the way in and opened on the way out.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::exec::keeper::Keeper;
use crate::exec::outline::Outline;
use crate::name::ResourceName;
use crate::secret::{Origin, Redactor, Sealer, Secret};
use crate::store::Store;
use crate::store::words::{StoreError, Version};
use crate::value::{Map, SEALED_KEY, Value, sealed_marker};

/// Reads and writes the contents of versions.
#[derive(Clone)]
pub struct View {
    /// The store.
    pub keeper: Keeper,
    /// Its key.
    pub sealer: Arc<dyn Sealer>,
    /// Learns every secret that is opened, so that no sink prints it.
    pub redactor: Redactor,
}

/// A version with its attributes.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The version.
    pub version: Version,
    /// Its attributes, secrets opened; shared by all that read them.
    pub attributes: Arc<Value>,
}

/// Attributes ready for the store.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Canonical JSON, a marker in place of each secret.
    pub content: Vec<u8>,
    /// The secrets, by keyed digest.
    pub sealed: Vec<(Digest, Vec<u8>)>,
}

impl View {
    /// The newest version of `name` with its attributes.
    pub async fn head(&self, name: &ResourceName) -> Result<Option<Held>, StoreError> {
        let (sealer, redactor, name) = (Arc::clone(&self.sealer), self.redactor.clone(), name.clone());
        self.keeper.look(move |store| open_head(store, &*sealer, &redactor, &name)).await
    }

    /// The same on a thread that may block.
    pub fn head_blocking(&self, name: &ResourceName) -> Result<Option<Held>, StoreError> {
        self.keeper.call_blocking(|store| open_head(store, &*self.sealer, &self.redactor, name))
    }

    /// Seals the secrets of `attributes` and writes the rest as canonical JSON. Text that holds a secret of this run, such as what a command printed,
    /// loses it: nothing plain of it may reach the store.
    pub fn pack(&self, attributes: &Value) -> Packed {
        let mut sealed = Vec::new();
        attributes.each_secret(&mut |secret| {
            self.redactor.learn(secret);
            let digest = self.sealer.keyed_digest(secret.expose().as_bytes());
            sealed.push((digest, self.sealer.seal(secret.expose().as_bytes())));
        });
        let marker = |secret: &Secret| sealed_marker(&self.sealer.keyed_digest(secret.expose().as_bytes()));
        Packed { content: self.clean(attributes).canonical(&marker).into_bytes(), sealed }
    }

    /// Depth is bounded by what methods return: structs, and JSON within serde_json's own limit of 128.
    fn clean(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redactor.clean(text)),
            Value::List(items) => Value::List(items.iter().map(|item| self.clean(item)).collect()),
            Value::Map(map) => Value::Map(map.iter().map(|(key, item)| (key.clone(), self.clean(item))).collect()),
            other => other.clone(),
        }
    }
}

fn open_head(store: &mut dyn Store, sealer: &dyn Sealer, redactor: &Redactor, name: &ResourceName) -> Result<Option<Held>, StoreError> {
    let Some(version) = store.head(name)? else { return Ok(None) };
    let attributes = attributes(store, Some((sealer, redactor)), &version)?;
    Ok(Some(Held { version, attributes: Arc::new(attributes) }))
}

/// The attributes of a version. Without a sealer secrets stay closed: they come back as secrets whose text is their marker, for commands that only show.
pub fn attributes(store: &mut dyn Store, key: Option<(&dyn Sealer, &Redactor)>, version: &Version) -> Result<Value, StoreError> {
    let value: Value = content(store, version, None)?;
    Opener { store, key, name: &version.resource, field: String::new() }.open(value)
}

/// The same for commands that show what changed: secrets closed, long texts cut. `bytes` is its content for who has read it already.
pub fn outline(store: &mut dyn Store, version: &Version, bytes: Option<Vec<u8>>) -> Result<Value, StoreError> {
    let Outline(value) = content(store, version, bytes)?;
    Opener { store, key: None, name: &version.resource, field: String::new() }.open(value)
}

/// Reads the blob of a version; its bytes are gone on return.
fn content<T: DeserializeOwned>(store: &mut dyn Store, version: &Version, bytes: Option<Vec<u8>>) -> Result<T, StoreError> {
    let what = || format!("the content of {} version {}", version.resource, version.number);
    let Some(bytes) = bytes.map_or_else(|| store.blob(&version.content), |bytes| Ok(Some(bytes)))? else {
        let why = format!("blob {} is not in the store", version.content);
        let dropped = store.dropped(&version.content)?;
        return Err(if dropped { StoreError::Dropped { what: what() } } else { StoreError::Damaged { what: what(), why } });
    };
    serde_json::from_slice(&bytes).map_err(|e| StoreError::Damaged { what: what(), why: format!("it is not JSON: {e}") })
}

struct Opener<'a> {
    store: &'a mut dyn Store,
    key: Option<(&'a dyn Sealer, &'a Redactor)>,
    name: &'a ResourceName,
    field: String,
}

impl Opener<'_> {
    /// Depth is bounded by serde_json's own limit of 128.
    fn open(&mut self, value: Value) -> Result<Value, StoreError> {
        match value {
            Value::Map(map) if map.len() == 1 && map.contains_key(SEALED_KEY) => self.secret(&map),
            Value::Map(map) => {
                let mut opened = Map::new();
                for (key, item) in map {
                    if self.field.is_empty() {
                        self.field.clone_from(&key);
                        opened.insert(key, self.open(item)?);
                        self.field.clear();
                    } else {
                        opened.insert(key, self.open(item)?);
                    }
                }
                Ok(Value::Map(opened))
            }
            Value::List(items) => items.into_iter().map(|item| self.open(item)).collect::<Result<_, _>>().map(Value::List),
            plain => Ok(plain),
        }
    }

    fn secret(&mut self, marker: &Map) -> Result<Value, StoreError> {
        let what = || format!("the secret {} of {}", self.field, self.name);
        let damaged = |why: String| StoreError::Damaged { what: what(), why };
        let text = marker.get(SEALED_KEY).and_then(Value::as_str).unwrap_or_default();
        let digest: Digest = text.parse().map_err(|e| damaged(format!("{e}")))?;
        let origin = Origin::Resource { name: self.name.clone(), field: self.field.clone() };
        let Some((sealer, redactor)) = self.key else {
            return Ok(Value::Secret(Secret::new(text, origin)));
        };
        let sealed = self.store.sealed(&digest)?.ok_or_else(|| damaged(format!("no sealed bytes for {digest}")))?;
        let plain = sealer.open(&sealed).ok_or_else(|| damaged("it was sealed with another key than the one in use: was the key file of this store replaced, or HOME or PMX_STORE_KEY changed?".to_owned()))?;
        let text = std::str::from_utf8(&plain).map_err(|_| damaged("it is not text".to_owned()))?;
        let secret = Secret::new(text, origin);
        redactor.learn(&secret);
        Ok(Value::Secret(secret))
    }
}
