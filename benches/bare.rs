//! The floor of commands over SSH: the same library without anything of pmx, one connection per host, four commands at once on each.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::ChannelMsg;
use russh::client::{Config, Handle, Handler};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::task::JoinSet;

use crate::harness::clocked;

/// Commands at once on one connection; with more, sshd's default refuses some.
const AT_ONCE: usize = 4;

/// Takes any host's key: the server is our own.
struct Anybody;

impl Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// How long `commands` times `true` take on each of these hosts, logins included.
pub fn commands(hosts: &[String], port: u16, key: &Path, commands: usize) -> Duration {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    clocked(|| {
        runtime.block_on(async {
            let key = Arc::new(russh::keys::load_secret_key(key, None).expect("the key can be read"));
            let mut all = JoinSet::new();
            for host in hosts {
                all.spawn(host_commands(host.clone(), port, Arc::clone(&key), commands));
            }
            all.join_all().await;
        });
    })
}

async fn host_commands(host: String, port: u16, key: Arc<PrivateKey>, commands: usize) {
    let config = Arc::new(Config { nodelay: true, ..Config::default() });
    let mut handle = russh::client::connect(config, (host, port), Anybody).await.expect("sshd answers");
    let login = handle.authenticate_publickey("root", PrivateKeyWithHashAlg::new(key, None)).await.expect("sshd answers");
    assert!(login.success(), "the key opens the server");
    let handle = Arc::new(handle);
    let mut lanes = JoinSet::new();
    for lane in 0..AT_ONCE {
        let handle = Arc::clone(&handle);
        lanes.spawn(async move {
            for _ in (lane..commands).step_by(AT_ONCE) {
                command(&handle).await;
            }
        });
    }
    lanes.join_all().await;
}

async fn command(handle: &Handle<Anybody>) {
    let mut channel = handle.channel_open_session().await.expect("sshd opens a channel");
    channel.exec(true, "true").await.expect("sshd runs a command");
    let mut status = None;
    while let Some(message) = channel.wait().await {
        if let ChannelMsg::ExitStatus { exit_status } = message {
            status = Some(exit_status);
        }
    }
    assert_eq!(status, Some(0), "`true` succeeds");
}
