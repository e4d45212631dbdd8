//! The file vault: a TOML file whose keys are plain and whose values are sealed, each on its own, with a key derived from the store's.
//!
//! ```toml
//! # comments are yours and stay
//! password = "pmx1:A…"
//! ```
#![expect(clippy::disallowed_methods, reason = "owns the vault file; waits a bounded time for another process that writes it")]

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use futures_util::future::BoxFuture;
use toml_edit::DocumentMut;

use super::key::StoreKey;
use super::seal::SealKey;
use super::{Vault, VaultError, io, plain_key, secret};
use crate::files::{Disk, Draft, holder, make_way};
use crate::secret::Secret;

/// How a sealed value begins: the format of the text around the sealed bytes.
const SEALED: &str = "pmx1:";

/// The largest vault file in bytes.
const LARGEST: u64 = 4 << 20;

/// How often, and how far apart, a writer asks for its turn: 5 seconds in all.
const TURNS: u32 = 250;
const TURN: Duration = Duration::from_millis(20);

/// A vault in a TOML file.
pub struct FileVault {
    name: String,
    path: PathBuf,
    key: SealKey,
}

impl FileVault {
    /// The vault `name` in the file at `path`, which need not exist yet, sealed for the store that `key` belongs to.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, key: &StoreKey) -> Self {
        Self { name: name.into(), path: path.into(), key: key.for_vault_files() }
    }

    fn read(&self) -> Result<DocumentMut, VaultError> {
        let told = |e: std::io::Error| io(format!("read vault {} ({})", self.name, self.path.display()), &e);
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(file) => file.take(LARGEST + 1).read_to_string(&mut text).map(|_| ()).map_err(told)?,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(told(e)),
        }
        if text.len() as u64 > LARGEST {
            return Err(told(std::io::Error::other(format!("it is larger than {LARGEST} bytes"))));
        }
        // The parser's own message quotes the line, which may hold what somebody typed in plain.
        text.parse().map_err(|e: toml_edit::TomlError| {
            let line = e.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            told(std::io::Error::other(format!("line {line} is not TOML: {}", e.message())))
        })
    }

    fn write(&self, document: &DocumentMut) -> Result<(), VaultError> {
        let told = |e: std::io::Error| io(format!("write vault {} ({})", self.name, self.path.display()), &e);
        // A linked vault stays a link: what it points at is replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut draft = Draft::new(&Disk, holder(&path), 0o600).map_err(told)?;
        draft.write(document.to_string().as_bytes()).map_err(told)?;
        draft.place(&path).map_err(told)
    }

    /// Reads, changes and writes the file while no other writer does. The lock is on its directory: the file itself is replaced.
    async fn change(&self, edit: impl FnOnce(&mut DocumentMut) -> Result<(), VaultError> + Send) -> Result<(), VaultError> {
        let directory = holder(&self.path);
        let told = |e: std::io::Error| io(format!("lock {} to write vault {}", directory.display(), self.name), &e);
        make_way(&Disk, directory, 0o777).map_err(told)?;
        let lock = File::open(directory).map_err(told)?;
        let mut turns = 0;
        while let Err(refused) = lock.try_lock() {
            match refused {
                TryLockError::WouldBlock if turns < TURNS => tokio::time::sleep(TURN).await,
                TryLockError::WouldBlock => return Err(told(std::io::Error::other("another process has held it for 5 s"))),
                TryLockError::Error(e) => return Err(told(e)),
            }
            turns += 1;
        }
        let mut document = self.read()?;
        edit(&mut document)?;
        self.write(&document)
    }

    fn no_key(&self, key: &str, document: &DocumentMut) -> VaultError {
        let remedy = format!("`pmx vault set {} {key}` adds it", self.name);
        VaultError::NoKey { vault: self.name.clone(), key: key.to_owned(), known: keys(document), remedy }
    }

    fn open(&self, key: &str) -> Result<Secret, VaultError> {
        let document = self.read()?;
        let item = document.get(key).ok_or_else(|| self.no_key(key, &document))?;
        let unreadable = |why: String| VaultError::Unreadable { vault: self.name.clone(), key: key.to_owned(), why };
        // Whatever stands there in plain must not reach a message.
        let sealed = item.as_str().and_then(|text| text.strip_prefix(SEALED));
        let sealed = sealed.ok_or_else(|| unreadable(format!("its value in {} is not sealed", self.path.display())))?;
        let bytes = BASE64.decode(sealed).map_err(|_| unreadable("its sealed value is cut or mistyped".to_owned()))?;
        let plain = self.key.open(&context(key), &bytes).map_err(|refusal| unreadable(refusal.to_string()))?;
        let text = std::str::from_utf8(&plain).map_err(|_| unreadable("it is not text".to_owned()))?;
        Ok(secret(&self.name, key, text))
    }
}

impl Vault for FileVault {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Secret, VaultError>> {
        Box::pin(async move { self.open(key) })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, VaultError>> {
        Box::pin(async move { Ok(keys(&self.read()?)) })
    }

    fn set<'a>(&'a self, key: &'a str, secret: &'a Secret) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move {
            plain_key(&self.name, key)?;
            if secret.expose().is_empty() {
                let why = "the secret is empty".to_owned();
                return Err(VaultError::Cannot { vault: self.name.clone(), attempt: "keep it", why });
            }
            let sealed = format!("{SEALED}{}", BASE64.encode(self.key.seal(&context(key), secret.expose().as_bytes())));
            self.change(|document| {
                let mut value = toml_edit::Value::from(sealed);
                if let Some(before) = document.get(key).and_then(toml_edit::Item::as_value) {
                    *value.decor_mut() = before.decor().clone();
                }
                // Indexing leaves the key as it stands, with the comments above it.
                document[key] = toml_edit::Item::Value(value);
                Ok(())
            })
            .await
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        Box::pin(async move { self.change(|document| document.remove(key).map(|_| ()).ok_or_else(|| self.no_key(key, document))).await })
    }
}

fn keys(document: &DocumentMut) -> Vec<String> {
    let mut keys: Vec<String> = document.iter().map(|(key, _)| key.to_owned()).collect();
    keys.sort_unstable();
    keys
}

/// What a value is sealed for: its key, so that two values of a file cannot change places. Not the vault's name: a vault may be renamed.
fn context(key: &str) -> String {
    format!("vault key {key}")
}
