//! The key of a store: 32 random bytes in a file that only its owner reads, and what is derived from them.
#![expect(
    clippy::disallowed_methods,
    reason = "owns the key files below the configuration directory; waits a bounded time for whoever replaces a key"
)]

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::seal::{Refusal, SealKeys};
use super::{VaultError, io};
use crate::digest::Digest;
use crate::files::{Disk, Draft, Files, holder, make_way};
use crate::secret::Sealer;

/// Contexts of blake3's key derivation: one key per purpose, none of them the stored one. Changing a text makes everything sealed before unreadable.
const SEALING: &str = "pmx 2026-11 store: sealing of secrets 1";
const DIGESTING: &str = "pmx 2026-11 store: keyed digests of secrets 1";
const VAULTS: &str = "pmx 2026-11 vault files: sealing of values 1";

/// The bytes of a key.
pub(super) type Bytes = Zeroizing<[u8; 32]>;

/// The key of one store: while it is being replaced the new one, which seals, and the old one, which opens what is still sealed with it.
pub struct StoreKey {
    sealing: SealKeys,
    digesting: Bytes,
    vaults: (Bytes, Vec<Bytes>),
    rotating: bool,
    /// The key's file, locked shared: nobody replaces the key while it is in use.
    _lock: Option<File>,
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
        match held(&path, Hold::Shared)? {
            // Before anything is sealed with it: whoever made it may have died before its name was durable, or may be at it.
            Some(_) => files.sync_directory(holder(&path)).map_err(told)?,
            None => make(files, &path)?,
        }
        Self::load(config, id, None)?
            .ok_or_else(|| VaultError::StoreKey { place: path.display().to_string(), why: "it vanished".to_owned() })
    }

    /// The same key if it exists; writes nothing.
    pub fn load(config: &Path, id: &str, given: Option<&str>) -> Result<Option<Self>, VaultError> {
        if let Some(text) = given {
            return Self::from_text("PMX_STORE_KEY", text).map(Some);
        }
        let path = path(config, id)?;
        let Some((words, lock)) = held(&path, Hold::Shared)? else { return Ok(None) };
        Ok(Some(Self { _lock: lock, ..Self::from_words(&words) }))
    }

    /// The key that somebody gave as text, from the place of that name: 64 hex digits, while it is being replaced those of the old key behind them.
    pub fn from_text(place: &str, text: &str) -> Result<Self, VaultError> {
        let why = || "64 hex digits are expected; `openssl rand -hex 32` makes some".to_owned();
        let words = words(text).ok_or_else(|| VaultError::StoreKey { place: place.to_owned(), why: why() })?;
        Ok(Self::from_words(&words))
    }

    /// The key made of these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self::from_words(&[Zeroizing::new(*bytes)])
    }

    /// The first of these keys, with the others for what they sealed.
    pub(super) fn from_words(words: &[Bytes]) -> Self {
        let derive = |context: &str, bytes: &Bytes| Zeroizing::new(blake3::derive_key(context, bytes.as_ref()));
        let (first, older) = (&words[0], &words[1..]);
        let all = |context: &str| older.iter().map(|bytes| derive(context, bytes)).collect::<Vec<_>>();
        Self {
            sealing: SealKeys::new(&derive(SEALING, first), &all(SEALING)),
            digesting: derive(DIGESTING, first),
            vaults: (derive(VAULTS, first), all(VAULTS)),
            rotating: !older.is_empty(),
            _lock: None,
        }
    }

    /// The keys that seal and open the values of file vaults.
    pub(super) fn for_vault_files(&self) -> SealKeys {
        SealKeys::new(&self.vaults.0, &self.vaults.1)
    }

    /// Whether an older key is still there, for what it sealed.
    pub const fn rotating(&self) -> bool {
        self.rotating
    }

    /// What an older key sealed, sealed anew; `None` when there is nothing to do. An error says why it does not open.
    pub fn reseal(&self, sealed: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let plain = self.sealing.open(CONTEXT, sealed).map_err(|refusal| refusal.to_string())?;
        Ok((!self.sealing.newest(sealed)).then(|| self.sealing.seal(CONTEXT, &plain)))
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

pub(super) fn path(config: &Path, id: &str) -> Result<PathBuf, VaultError> {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let why = format!("`{}` is no store id: hex digits are expected", id.chars().take(80).collect::<String>());
        return Err(VaultError::StoreKey { place: config.join("pmx/keys").display().to_string(), why });
    }
    Ok(config.join("pmx/keys").join(id))
}

/// Where the file itself lies: one that is linked stays a link.
pub(super) fn real(path: PathBuf) -> PathBuf {
    fs::canonicalize(&path).unwrap_or(path)
}

/// How a key's file is held open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// With others, as long as the key is used.
    Shared,
    /// Alone, to replace the key.
    Alone,
}

/// How often, and how far apart, a lock on a key is asked for: the seconds that sealing everything anew may take, or a moment for another's look.
const TURN: Duration = Duration::from_millis(20);
const SHARED_TURNS: u32 = 1500;
const ALONE_TURNS: u32 = 50;

/// How often a file is opened anew because it was replaced in between.
const REPLACED: u32 = 10;

/// Keys, and the lock on the file that they were read from, where its file system knows locks.
pub(super) type Found = (Vec<Bytes>, Option<File>);

/// The keys in the file at `path`, and the lock on it; `None` when there is no such file.
pub(super) fn held(path: &Path, hold: Hold) -> Result<Option<Found>, VaultError> {
    let told = |e: &std::io::Error| io(format!("read the store's key {}", path.display()), e);
    for _ in 0..REPLACED {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(told(&e)),
        };
        let locked = lock(&file, path, hold)?;
        let now = match fs::metadata(path) {
            Ok(now) => now,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(told(&e)),
        };
        let own = file.metadata().map_err(|e| told(&e))?;
        if (own.dev(), own.ino()) == (now.dev(), now.ino()) {
            let words = read(&mut file, path)?;
            return Ok(Some((words, locked.then_some(file))));
        }
    }
    Err(VaultError::KeyInUse { place: path.display().to_string() })
}

/// Locks a key's file; false where the file system knows no locks, which only readers put up with.
fn lock(file: &File, path: &Path, hold: Hold) -> Result<bool, VaultError> {
    let turns = if hold == Hold::Shared { SHARED_TURNS } else { ALONE_TURNS };
    for _ in 0..turns {
        match if hold == Hold::Shared { file.try_lock_shared() } else { file.try_lock() } {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => std::thread::sleep(TURN),
            Err(TryLockError::Error(_)) if hold == Hold::Shared => return Ok(false),
            Err(TryLockError::Error(e)) => return Err(io(format!("lock the store's key {}", path.display()), &e)),
        }
    }
    Err(VaultError::KeyInUse { place: path.display().to_string() })
}

/// Reads an open key file, if nobody else may.
fn read(file: &mut File, path: &Path) -> Result<Vec<Bytes>, VaultError> {
    let told = |e: &std::io::Error| io(format!("read the store's key {}", path.display()), e);
    let refuse = |why: String| VaultError::StoreKey { place: path.display().to_string(), why };
    // The open file is asked, not the path: nobody can exchange it between.
    let mode = file.metadata().map_err(|e| told(&e))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refuse(format!("others may read it (mode {mode:04o}); `chmod 600 {}` if nobody has", path.display())));
    }
    let mut text = Zeroizing::new(String::with_capacity(256));
    file.take(200).read_to_string(&mut text).map_err(|e| told(&e))?;
    words(&text).ok_or_else(|| refuse("64 hex digits are expected in it; put the right file back, a new key opens nothing".to_owned()))
}

fn make(files: &dyn Files, path: &Path) -> Result<(), VaultError> {
    // Whole before it has its name; the name is given once.
    written(files, path, &[fresh(path)?])?.place_new(path).map(drop).map_err(|e| cannot_make(path, &e))
}

fn cannot_make(path: &Path, error: &std::io::Error) -> VaultError {
    io(format!("make the store's key {}", path.display()), error)
}

/// A new key.
pub(super) fn fresh(path: &Path) -> Result<Bytes, VaultError> {
    let mut bytes = Zeroizing::new([0; 32]);
    let none = |_| cannot_make(path, &std::io::Error::other("the kernel gives no random bytes"));
    SystemRandom::new().fill(bytes.as_mut()).map_err(none)?;
    Ok(bytes)
}

/// A file with these keys beside `path`, which has no name of its own yet. Mode 0600 from its first moment.
pub(super) fn written<'a>(files: &'a dyn Files, path: &Path, words: &[Bytes]) -> Result<Draft<'a>, VaultError> {
    let told = |e: std::io::Error| cannot_make(path, &e);
    let directory = holder(path);
    make_way(files, directory, 0o700).map_err(told)?;
    let mut text = Zeroizing::new(String::with_capacity(words.len() * 65));
    for bytes in words {
        text.push_str(&blake3::Hash::from_bytes(**bytes).to_hex());
        text.push('\n');
    }
    let mut draft = Draft::new(files, directory, 0o600).map_err(told)?;
    draft.write(text.as_bytes()).map_err(told)?;
    Ok(draft)
}

/// One or two keys: 64 hex digits each, with white space or a comma between.
fn words(text: &str) -> Option<Vec<Bytes>> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let words: Vec<Bytes> =
        words.map(|word| blake3::Hash::from_hex(word).ok().map(|hash| Zeroizing::new(*hash.as_bytes()))).collect::<Option<_>>()?;
    matches!(words.len(), 1 | 2).then_some(words)
}
