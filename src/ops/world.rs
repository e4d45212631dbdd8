//! The world: the store with its key, and the clients, as a profile arranges them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::exec::keeper::Keeper;
use crate::ops::front::Front;
use crate::ops::history::told;
use crate::ops::site::Site;
use crate::source::Diagnostic;
use crate::store::Store;
use crate::store::dir::DirStore;
use crate::vault::command::{CommandVault, PLACEHOLDER};
use crate::vault::key::StoreKey;
use crate::vault::{Vault, VaultError};
use crate::wire::Wire;
use crate::wire::clock::SystemClock;
use crate::wire::hostkey::Pins;
use crate::wire::https::HttpsClient;
use crate::wire::map::ConnectMap;
use crate::wire::russh_client::{SshClient, SshSettings};
use crate::wire::tcp::TcpClient;

/// A store and its key.
pub struct Opened {
    /// The store.
    pub store: Box<dyn Store>,
    /// Its key.
    pub key: Arc<StoreKey>,
}

/// The store of the project, made if there is none.
pub fn open_or_create(site: &Site, front: &Front) -> Result<Opened, Diagnostic> {
    let store = DirStore::open_or_create(&site.store_dir()).map_err(|error| told(&error))?;
    let key = key(site, front, store.id())?;
    Ok(Opened { store: Box::new(store), key })
}

/// The store of the project with its key, if both are there and sound.
pub fn open_if_there(site: &Site, front: &Front) -> Option<Opened> {
    let store = DirStore::open_durable(&site.store_dir()).ok()??;
    let key = key(site, front, store.id()).ok()?;
    Some(Opened { store: Box::new(store), key })
}

/// The store of the project, if there is one. Its key stays unread: commands that only show do not need it.
pub fn open(site: &Site) -> Result<Option<Box<dyn Store>>, Diagnostic> {
    let store = DirStore::open(&site.store_dir()).map_err(|error| told(&error))?;
    Ok(store.map(|store| Box::new(store) as Box<dyn Store>))
}

/// The store of the project with its key; that there is none is the user's mistake.
pub fn open_with_key(site: &Site, front: &Front) -> Result<Opened, Diagnostic> {
    let missing = || Diagnostic::yours("this project has no store yet, so there is no run").help("`pmx build` makes one");
    let store = open(site)?.ok_or_else(missing)?;
    let key = key(site, front, store.id())?;
    Ok(Opened { store, key })
}

/// The key of the store `id`: as `PMX_STORE_KEY` has it, else as the Pmxfile's program tells it, else from its file, made on first use.
pub fn key(site: &Site, front: &Front, id: &str) -> Result<Arc<StoreKey>, Diagnostic> {
    if let Some(key) = given_key(site, front, id)? {
        return Ok(Arc::new(key));
    }
    StoreKey::load_or_make(config(front)?, id, None).map(Arc::new).map_err(|error| Diagnostic::yours(error.to_string()))
}

/// The key of the store `id` where it is in no file of pmx's own.
pub fn given_key(site: &Site, front: &Front, id: &str) -> Result<Option<StoreKey>, Diagnostic> {
    if let Some(text) = front.env.get("PMX_STORE_KEY") {
        return StoreKey::from_text("PMX_STORE_KEY", text).map(Some).map_err(|error| Diagnostic::yours(error.to_string()));
    }
    let Some(words) = &site.pmxfile.store_key else { return Ok(None) };
    told_key(&words.value, id).map(Some).map_err(|error| {
        let help = format!(
            "put one there under {id} (64 hex digits; `openssl rand -hex 32` makes some). On a host without a keyring, take `key` out of [store]: it is then \
             a file of mode 0600 below ~/.config/pmx/keys; or give it as PMX_STORE_KEY"
        );
        Diagnostic::yours(error.to_string()).at(&words.span, "").help(help)
    })
}

/// How long a keyring may take to tell the key: somebody may have to unlock it.
const UNLOCK: Duration = Duration::from_secs(60);

/// The key as a program tells it.
fn told_key(words: &[String], id: &str) -> Result<StoreKey, VaultError> {
    let place = words.first().cloned().unwrap_or_default();
    let words: Vec<String> = words.iter().map(|word| word.replace("{id}", PLACEHOLDER)).collect();
    let vault = CommandVault::new("[store] key", &words, UNLOCK)?;
    let refuse = |why: String| VaultError::StoreKey { place: place.clone(), why };
    // A thread of its own: whoever asks may be inside a runtime, which must not wait.
    let asked = std::thread::scope(|scope| {
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| refuse(e.to_string()))?;
            runtime.block_on(vault.get(id))
        };
        scope.spawn(ask).join().unwrap_or_else(|_| Err(refuse("it could not be asked".to_owned())))
    });
    match asked {
        Ok(text) => StoreKey::from_text(&place, text.expose()),
        Err(VaultError::Program { why, .. }) => Err(refuse(why)),
        Err(other) => Err(other),
    }
}

/// The directory below which keys lie.
pub fn config(front: &Front) -> Result<&Path, Diagnostic> {
    front.config.as_deref().ok_or_else(|| {
        let message = "neither HOME nor XDG_CONFIG_HOME is set, so there is no place for the store's key";
        Diagnostic::yours(message).help("set HOME, or give the key as PMX_STORE_KEY (64 hex digits)")
    })
}

/// The clients of one process, with the profile's addresses and the store's pins.
pub fn wire(site: &Site, front: &Front, keeper: &Keeper) -> Result<Wire, Diagnostic> {
    let map = connect_map(site)?;
    let pins: Arc<dyn Pins> = Arc::new(StorePins { keeper: keeper.clone() });
    let home = front.home.clone().unwrap_or_else(|| site.root.clone());
    let mut settings = SshSettings::new(map.clone(), home);
    settings.agent_socket = front.env.get("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()).map(Into::into);
    Ok(Wire {
        http: Arc::new(HttpsClient::new(map.clone())),
        ssh: Arc::new(SshClient::new(settings, pins)),
        tcp: Arc::new(TcpClient::new(map)),
        clock: Arc::new(SystemClock::new()),
    })
}

fn connect_map(site: &Site) -> Result<ConnectMap, Diagnostic> {
    let Some(profile) = site.settings() else { return Ok(ConnectMap::open()) };
    let rules = profile.connect.iter().map(|(from, to)| (from.value.as_str(), to.value.as_str()));
    ConnectMap::parse(rules, profile.closed).map_err(|error| {
        let complaint = Diagnostic::yours(error.to_string());
        match profile.connect.first() {
            Some((from, _)) => complaint.at(&from.span, ""),
            None => complaint,
        }
    })
}

/// Host keys live in the store: a profile's pins are its own.
struct StorePins {
    keeper: Keeper,
}

impl Pins for StorePins {
    fn get(&self, identity: &str) -> Result<Option<String>, String> {
        let identity = identity.to_owned();
        self.keeper.call_blocking(move |store| store.pin(&identity)).map_err(|error| error.to_string())
    }

    fn set(&self, identity: &str, key_line: &str) -> Result<(), String> {
        let (identity, key_line) = (identity.to_owned(), key_line.to_owned());
        self.keeper.call_blocking(move |store| store.set_pin(&identity, Some(&key_line))).map_err(|error| error.to_string())
    }
}
