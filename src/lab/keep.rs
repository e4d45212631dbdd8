//! The lab's state directory: one JSON file written by temp and rename, the certificate, and the lock that keeps a second lab out.
#![expect(clippy::disallowed_methods, reason = "the lab owns its state directory")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::hosts::{Host, PROXY};
use super::world::World;
use super::{LabError, Options};

/// The open state directory; its lock is held as long as this lives.
#[derive(Debug)]
pub struct Keep {
    dir: PathBuf,
    _lock: File,
}

/// A TLS identity and its fingerprint.
pub struct Identity {
    /// For the acceptor.
    pub tls: Arc<rustls::ServerConfig>,
    /// SHA-256 of the certificate: upper-case hex with colons.
    pub fingerprint: String,
}

fn host_file(vmid: u32) -> String {
    format!("host-{vmid}.json")
}

impl Keep {
    /// Opens (or makes) the directory and takes its lock.
    ///
    /// # Errors
    /// The directory cannot be made, or another lab holds it.
    pub fn open(dir: &Path) -> Result<Self, LabError> {
        fs::create_dir_all(dir).map_err(|source| LabError::State { what: "make", path: dir.to_owned(), source })?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|source| LabError::State { what: "open", path: path.clone(), source })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(LabError::Busy(dir.to_owned())),
            Err(fs::TryLockError::Error(source)) => Err(LabError::State { what: "lock", path, source }),
        }
    }

    /// A file of the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Removes a left-over file, quietly when there is none.
    ///
    /// # Errors
    /// The file is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), LabError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(LabError::State { what: "remove", path, source }),
            _ => Ok(()),
        }
    }

    /// The text of a file; none when it is not there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<String>, LabError> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LabError::State { what: "read", path, source }),
        }
    }

    /// Writes a file so that a crash leaves the old one or the new one, never a piece.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, name: &str, text: &[u8]) -> Result<(), LabError> {
        let path = self.path(name);
        let failed = |source| LabError::State { what: "write", path: path.clone(), source };
        let mut temp = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.dir).map_err(failed)?;
        temp.write_all(text).map_err(failed)?;
        temp.as_file().sync_data().map_err(failed)?;
        temp.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// The saved world, or the one that `options` describe when there is none yet.
    ///
    /// # Errors
    /// The file is not a world of this layout.
    pub fn world(&self, options: &Options, now: f64) -> Result<World, LabError> {
        let Some(text) = self.read("world.json")? else { return Ok(super::world::seed::world(&options.node, options.seed, now)) };
        let unreadable = |why: String| LabError::Unreadable { path: self.path("world.json"), why };
        let world: World = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        if world.format == World::FORMAT {
            Ok(world)
        } else {
            Err(unreadable(format!("format {}, this lab writes {}", world.format, World::FORMAT)))
        }
    }

    /// The saved insides of these VMs and of the proxy host.
    ///
    /// # Errors
    /// A file is there and is not one.
    pub fn hosts(&self, vmids: impl Iterator<Item = u32>) -> Result<BTreeMap<u32, Host>, LabError> {
        let mut hosts = BTreeMap::new();
        for vmid in vmids.chain([PROXY]) {
            let name = host_file(vmid);
            if let Some(text) = self.read(&name)? {
                let host =
                    serde_json::from_str(&text).map_err(|error| LabError::Unreadable { path: self.path(&name), why: error.to_string() })?;
                hosts.insert(vmid, host);
            }
        }
        Ok(hosts)
    }

    /// Saves a machine's inside, or removes it when there is none any more.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_host(&self, vmid: u32, text: Option<&[u8]>) -> Result<(), LabError> {
        text.map_or_else(|| self.remove(&host_file(vmid)), |text| self.write(&host_file(vmid), text))
    }

    /// The TLS identity, made on first use and the same ever after.
    ///
    /// # Errors
    /// The certificate cannot be made, stored or loaded.
    pub fn identity(&self, node: &str) -> Result<Identity, LabError> {
        let broken = |error: &dyn std::fmt::Display| LabError::Certificate(error.to_string());
        if self.read("certificate.pem")?.is_none() {
            let names = vec![node.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned(), "10.0.0.4".to_owned()];
            let made = rcgen::generate_simple_self_signed(names).map_err(|error| broken(&error))?;
            self.write("key.pem", made.signing_key.serialize_pem().as_bytes())?;
            self.write("certificate.pem", made.cert.pem().as_bytes())?;
        }
        let certificate = CertificateDer::from_pem_file(self.path("certificate.pem")).map_err(|error| broken(&error))?;
        let key = PrivateKeyDer::from_pem_file(self.path("key.pem")).map_err(|error| broken(&error))?;
        let hash = ring::digest::digest(&ring::digest::SHA256, &certificate);
        let fingerprint = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| broken(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(|error| broken(&error))?;
        Ok(Identity { tls: Arc::new(tls), fingerprint })
    }
}
