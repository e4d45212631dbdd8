//! The key of a store: 32 random bytes in a file that only its owner reads, and what is derived from them.
#![expect(clippy::disallowed_methods, reason = "owns the key files below the configuration directory")]

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::seal::{Refusal, SealKey};
use super::{VaultError, io};
use crate::digest::Digest;
use crate::files::{Disk, Draft, Files, holder, make_way};
use crate::secret::Sealer;

/// Contexts of blake3's key derivation: one key per purpose, none of them the stored one. Changing a text makes everything sealed before unreadable.
const SEALING: &str = "pmx 2026-11 store: sealing of secrets 1";
const DIGESTING: &str = "pmx 2026-11 store: keyed digests of secrets 1";
const VAULTS: &str = "pmx 2026-11 vault files: sealing of values 1";

/// The key of one store.
pub struct StoreKey {
    sealing: SealKey,
    digesting: Zeroizing<[u8; 32]>,
    vaults: Zeroizing<[u8; 32]>,
}

impl StoreKey {
    /// The key of the store `id` from `<config>/pmx/keys/<id>`, made there if it is missing; `given` (64 hex digits, `PMX_STORE_KEY`) goes first and
    /// touches no file. Two processes that make it at once get the same one.
    pub fn load_or_make(config: &Path, id: &str, given: Option<&str>) -> Result<Self, VaultError> {
        Self::load_or_make_on(&Disk, config, id, given)
    }

    /// The same on some file system.
    pub(super) fn load_or_make_on(files: &dyn Files, config: &Path, id: &str, given: Option<&str>) -> Result<Self, VaultError> {
        if given.is_some()
            && let Some(key) = Self::load(config, id, given)?
        {
            return Ok(key);
        }
        let path = path(config, id)?;
        let told = |e: std::io::Error| io(format!("make the store's key {} durable", path.display()), &e);
        let bytes = match read(&path)? {
            // Before anything is sealed with it: whoever made it may have died before its name was durable, or may be at it.
            Some(bytes) => files.sync_directory(holder(&path)).map(|()| Some(bytes)).map_err(told)?,
            None => make(files, &path).and_then(|()| read(&path))?,
        };
        let gone = || VaultError::StoreKey { place: path.display().to_string(), why: "it vanished".to_owned() };
        bytes.map(|bytes| Self::from_bytes(&bytes)).ok_or_else(gone)
    }

    /// The same key if it exists; writes nothing.
    pub fn load(config: &Path, id: &str, given: Option<&str>) -> Result<Option<Self>, VaultError> {
        if let Some(text) = given {
            let why = || "64 hex digits are expected; `openssl rand -hex 32` makes some".to_owned();
            let bytes = hex(text).ok_or_else(|| VaultError::StoreKey { place: "PMX_STORE_KEY".to_owned(), why: why() })?;
            return Ok(Some(Self::from_bytes(&bytes)));
        }
        Ok(read(&path(config, id)?)?.map(|bytes| Self::from_bytes(&bytes)))
    }

    /// The key made of these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let derive = |context| Zeroizing::new(blake3::derive_key(context, bytes));
        Self { sealing: SealKey::new(&derive(SEALING)), digesting: derive(DIGESTING), vaults: derive(VAULTS) }
    }

    /// The key that seals the values of file vaults.
    pub(super) fn for_vault_files(&self) -> SealKey {
        SealKey::new(&self.vaults)
    }

    /// Why `sealed` does not open under this key, in words; `None` when it does.
    pub fn refusal(&self, sealed: &[u8]) -> Option<String> {
        self.sealing.open(CONTEXT, sealed).err().map(|refusal: Refusal| refusal.to_string())
    }
}

/// What the store's secrets are sealed for: they have no name but their keyed digest.
const CONTEXT: &str = "";

impl Sealer for StoreKey {
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        self.sealing.seal(CONTEXT, plain)
    }

    fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.sealing.open(CONTEXT, sealed).ok()
    }

    fn keyed_digest(&self, plain: &[u8]) -> Digest {
        Digest::keyed(&self.digesting, plain)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

fn path(config: &Path, id: &str) -> Result<PathBuf, VaultError> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let why = format!("`{}` is no store id: hex digits are expected", id.chars().take(80).collect::<String>());
        return Err(VaultError::StoreKey { place: config.join("pmx/keys").display().to_string(), why });
    }
    Ok(config.join("pmx/keys").join(id))
}

fn read(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, VaultError> {
    let told = |e: &std::io::Error| io(format!("read the store's key {}", path.display()), e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(told(&e)),
    };
    let refuse = |why: String| VaultError::StoreKey { place: path.display().to_string(), why };
    // The open file is asked, not the path: nobody can exchange it between.
    let mode = file.metadata().map_err(|e| told(&e))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(format!("others may read it (mode {mode:04o}); `chmod 600 {}` if nobody has", path.display())));
    }
    let mut text = Zeroizing::new(String::with_capacity(128));
    file.take(100).read_to_string(&mut text).map_err(|e| told(&e))?;
    hex(&text)
        .map(Some)
        .ok_or_else(|| refuse("64 hex digits are expected in it; put the right file back, a new key opens nothing".to_owned()))
}

fn make(files: &dyn Files, path: &Path) -> Result<(), VaultError> {
    let told = |e: std::io::Error| io(format!("make the store's key {}", path.display()), &e);
    let directory = holder(path);
    make_way(files, directory, 0o700).map_err(told)?;
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| told(std::io::Error::other("the kernel gives no random bytes")))?;
    let text = Zeroizing::new(blake3::Hash::from_bytes(*bytes).to_hex().to_string() + "\n");
    // Mode 0600 from its first moment; whole before it has its name; the name is given once.
    let mut draft = Draft::new(files, directory, 0o600).map_err(told)?;
    draft.write(text.as_bytes()).map_err(told)?;
    draft.place_new(path).map(drop).map_err(told)
}

fn hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    blake3::Hash::from_hex(text.trim()).ok().map(|hash| Zeroizing::new(*hash.as_bytes()))
}
