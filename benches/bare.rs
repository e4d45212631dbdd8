//! Floors: the libraries that pmx stands on, without anything of pmx. Commands over SSH on one connection per host, four at once on each; requests to one
//! node, so many at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use reqwest::header::AUTHORIZATION;
use russh::ChannelMsg;
use russh::client::{Config, Handle, Handler};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
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

/// How long it takes to read all of these paths of a node, so many at once.
pub fn requests(port: u16, certificate: &str, paths: &[String], at_once: usize) -> Duration {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).expect("it is PEM")).expect("it is a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("ring knows them");
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    clocked(|| {
        let client =
            reqwest::Client::builder().tls_backend_preconfigured(tls).http1_only().tcp_nodelay(true).build().expect("a client can be made");
        let read = |path: &String| {
            let request =
                client.get(format!("https://127.0.0.1:{port}/api2/json{path}")).header(AUTHORIZATION, "PVEAPIToken=root@pam!pmx=bench");
            async move {
                let answer = request.send().await.expect("the node answers");
                assert!(answer.status().is_success() && !answer.bytes().await.expect("the answer is whole").is_empty());
            }
        };
        runtime.block_on(stream::iter(paths.iter().map(read)).buffer_unordered(at_once).collect::<Vec<()>>());
    })
}
