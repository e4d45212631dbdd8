//! The replacement of a store's key in its file: what is there at each moment opens everything.
//!
//! | after | the file holds | a crash here leaves |
//! |---|---|---|
//! | `begin` | the old key | everything as it was |
//! | `add` | the new key, which seals, and the old one | both kinds of values, and both keys; whoever begins again goes on |
//! | `finish` | the new key | nothing that the old one would be needed for: its caller has looked |
//!
//! Each step is a rename of a synced file. Who uses the key holds its file locked shared, so it is replaced under nobody.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::key::{Bytes, Hold, StoreKey, fresh, held, path, real, written};
use super::{VaultError, io};
use crate::files::Disk;

/// The right to replace the key of a store.
pub struct Rotation {
    path: PathBuf,
    words: Vec<Bytes>,
    _lock: Option<File>,
}

impl Rotation {
    /// Takes the key of the store `id` for itself alone; `None` when it is in no file. Refused after a second while anybody uses it.
    pub fn begin(config: &Path, id: &str) -> Result<Option<Self>, VaultError> {
        let path = real(path(config, id)?);
        let Some((words, lock)) = held(&path, Hold::Alone)? else { return Ok(None) };
        Ok(Some(Self { path, words, _lock: lock }))
    }

    /// The key as the file has it now.
    pub fn key(&self) -> StoreKey {
        StoreKey::from_words(&self.words)
    }

    /// Puts a new key before the old one, unless that has been done before.
    pub fn add(&mut self) -> Result<(), VaultError> {
        if self.words.len() == 1 {
            let new = fresh(&self.path)?;
            self.replace(vec![new, self.words[0].clone()])?;
        }
        Ok(())
    }

    /// Takes the old key away. Nothing may be sealed with it any more.
    pub fn finish(&mut self) -> Result<(), VaultError> {
        self.replace(vec![self.words[0].clone()])
    }

    fn replace(&mut self, words: Vec<Bytes>) -> Result<(), VaultError> {
        let told = |e: std::io::Error| io(format!("replace the store's key {}", self.path.display()), &e);
        let draft = written(&Disk, &self.path, &words)?;
        // Locked before it has the name: nobody gets hold of it in between.
        let file = draft.hold().map_err(told)?;
        draft.place(&self.path).map_err(told)?;
        (self.words, self._lock) = (words, Some(file));
        Ok(())
    }
}
