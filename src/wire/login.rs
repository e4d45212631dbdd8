//! Logging in: keys of the ssh config, of the agent, and the usual key files, until the host accepts one.
#![expect(clippy::disallowed_methods, reason = "reads the user's key files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, Handler};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey, load_public_key};

use crate::wire::hostkey;
use crate::wire::sshconfig::Route;

/// Tried when the ssh config names no key for the host.
const USUAL: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// A bound only: sshd hangs up after six refusals unless it is told otherwise.
const MOST_AGENT_KEYS: usize = 16;

/// Where keys come from.
pub(super) struct Keys {
    pub(super) home: PathBuf,
    pub(super) agent: Option<PathBuf>,
}

/// How a login ended.
pub(super) enum Login {
    Accepted,
    /// What was offered.
    Denied(String),
    /// The connection broke; nothing had been accepted.
    Broken(String),
}

/// What has been tried so far.
struct Attempt<'a, H: Handler> {
    handle: &'a mut Handle<H>,
    user: &'a str,
    rsa: Option<HashAlg>,
    offered: Vec<String>,
    tried: Vec<PublicKey>,
    refusals: usize,
}

/// Whether to go on with the next key.
enum Step {
    Accepted,
    Next,
    Broken(String),
}

impl Keys {
    /// Asks for entry without a key first, as every client does (hosts that know the caller otherwise, such as Tailscale's, let it in), then offers one
    /// key after the other: those that the config names, the agent's, the usual files.
    pub(super) async fn log_in<H: Handler>(&self, handle: &mut Handle<H>, route: &Route) -> Login {
        let rsa = handle.best_supported_rsa_hash().await.ok().flatten().flatten();
        let mut attempt = Attempt { handle, user: &route.user, rsa, offered: Vec::new(), tried: Vec::new(), refusals: 0 };
        let asked = attempt.handle.authenticate_none(&route.user).await;
        let mut outcome = attempt.step(asked);
        attempt.refusals = 0;
        if matches!(outcome, Step::Next) {
            outcome = self.files(&mut attempt, &route.keys, true).await;
        }
        if matches!(outcome, Step::Next) {
            outcome = self.agent(&mut attempt, route).await;
        }
        if matches!(outcome, Step::Next) && route.keys.is_empty() {
            let usual: Vec<PathBuf> = USUAL.iter().map(|name| self.home.join(".ssh").join(name)).collect();
            outcome = self.files(&mut attempt, &usual, false).await;
        }
        let offered = attempt.offered.join(", ");
        match outcome {
            Step::Accepted => Login::Accepted,
            Step::Next if offered.is_empty() => Login::Denied("none: there is no agent and no key file".to_owned()),
            Step::Next => Login::Denied(offered),
            // After several refusals sshd hangs up: that is an answer, not an accident.
            Step::Broken(_) if attempt.refusals > 1 => Login::Denied(format!("{offered}; then it hung up")),
            Step::Broken(cause) => Login::Broken(cause),
        }
    }

    async fn files<H: Handler>(&self, attempt: &mut Attempt<'_, H>, paths: &[PathBuf], named: bool) -> Step {
        for path in paths {
            let shown = self.shown(path);
            let text = match std::fs::read_to_string(path) {
                Ok(text) => zeroize::Zeroizing::new(text),
                Err(error) if named || error.kind() != std::io::ErrorKind::NotFound => {
                    attempt.offered.push(format!("{shown} (skipped: {error})"));
                    continue;
                }
                Err(_) => continue,
            };
            match russh::keys::decode_secret_key(&text, None) {
                Ok(key) if attempt.knows(key.public_key()) => {}
                Ok(key) => {
                    attempt.offered.push(shown);
                    attempt.tried.push(key.public_key().clone());
                    let key = PrivateKeyWithHashAlg::new(Arc::new(key), attempt.rsa);
                    let result = attempt.handle.authenticate_publickey(attempt.user, key).await;
                    match attempt.step(result) {
                        Step::Next => {}
                        end => return end,
                    }
                }
                Err(russh::keys::Error::KeyIsEncrypted) => {
                    attempt.offered.push(format!("{shown} (encrypted, skipped: add it to the agent)"))
                }
                Err(error) => attempt.offered.push(format!("{shown} (skipped: {error})")),
            }
        }
        Step::Next
    }

    async fn agent<H: Handler>(&self, attempt: &mut Attempt<'_, H>, route: &Route) -> Step {
        let Some(socket) = &self.agent else { return Step::Next };
        let mut agent = match AgentClient::connect_uds(socket).await {
            Ok(agent) => agent,
            Err(error) => return attempt.note(format!("agent (skipped: {error})")),
        };
        let identities = match agent.request_identities().await {
            Ok(identities) => identities,
            Err(error) => return attempt.note(format!("agent (skipped: {error})")),
        };
        let named: Vec<PublicKey> = if route.only_these { public_halves(&route.keys) } else { Vec::new() };
        let mut offered = 0;
        let mut outcome = Step::Next;
        for identity in identities.into_iter().take(MOST_AGENT_KEYS) {
            let AgentIdentity::PublicKey { key, .. } = identity else { continue };
            if attempt.knows(&key) || (route.only_these && !named.iter().any(|known| hostkey::same(known, &key))) {
                continue;
            }
            offered += 1;
            let hash = if key.algorithm().is_rsa() { attempt.rsa } else { None };
            attempt.tried.push(key.clone());
            match attempt.handle.authenticate_publickey_with(attempt.user, key, hash, &mut agent).await {
                Ok(result) => outcome = attempt.step(Ok(result)),
                // An agent that does not sign (locked, asked and refused) leaves the connection usable.
                Err(_) if !attempt.handle.is_closed() => continue,
                Err(error) => outcome = Step::Broken(error.to_string()),
            }
            if !matches!(outcome, Step::Next) {
                break;
            }
        }
        attempt.offered.push(format!("agent: {offered} {}", if offered == 1 { "key" } else { "keys" }));
        outcome
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.home).map_or_else(|_| path.display().to_string(), |below| format!("~/{}", below.display()))
    }
}

impl<H: Handler> Attempt<'_, H> {
    fn knows(&self, key: &PublicKey) -> bool {
        self.tried.iter().any(|known| hostkey::same(known, key))
    }

    fn note(&mut self, note: String) -> Step {
        self.offered.push(note);
        Step::Next
    }

    fn step(&mut self, result: Result<AuthResult, russh::Error>) -> Step {
        match result {
            Ok(AuthResult::Success) => Step::Accepted,
            Ok(AuthResult::Failure { .. }) => {
                self.refusals += 1;
                Step::Next
            }
            Err(error) => Step::Broken(error.to_string()),
        }
    }
}

/// The `.pub` files beside key files that only the agent can use.
fn public_halves(keys: &[PathBuf]) -> Vec<PublicKey> {
    let halves = keys.iter().filter_map(|path| {
        let mut name = path.clone().into_os_string();
        name.push(".pub");
        load_public_key(Path::new(&name)).ok()
    });
    halves.collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn key_files_are_read_or_refused_however_spoiled() {
        use russh::keys::ssh_key::{LineEnding, private::Ed25519Keypair};
        let key = russh::keys::PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32])).to_openssh(LineEnding::LF).unwrap();
        crate::walks::feed(&[key.as_bytes()], |bytes| {
            russh::keys::decode_secret_key(&String::from_utf8_lossy(bytes), None).map(drop).map_err(|error| error.to_string())
        });
    }
}
