//! The HTTPS client against a real TLS server that misbehaves as told.
#![expect(clippy::disallowed_methods, reason = "tests write CA files")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::secret::{Origin, Secret};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What the server does with one request.
#[derive(Clone)]
enum Act {
    Answer(&'static str),
    /// Reads the request and closes without a word.
    Close,
    Hang,
    Slow(u64),
}

struct Server {
    port: u16,
    fingerprint: String,
    pem: String,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Server {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn client(&self) -> HttpsClient {
        let to = format!("127.0.0.1:{}", self.port);
        HttpsClient::new(ConnectMap::parse([("pve.test:8006", to.as_str()), ("10.9.9.9:8006", to.as_str())], true).unwrap())
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let mut request = Request::new(method, format!("https://pve.test:8006{path}"));
        request.trust = Trust::Fingerprint(self.fingerprint.clone());
        request
    }
}

/// Starts a server for the names `pve.test` and `10.9.9.9` that plays `acts` (then answers OK) and closes connections that are idle for `idle` ms.
async fn serve(acts: Vec<Act>, idle: u64) -> Server {
    let made = rcgen::generate_simple_self_signed(["pve.test".to_owned(), "10.9.9.9".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        port: listener.local_addr().unwrap().port(),
        fingerprint: tls::fingerprint(made.cert.der()),
        pem: made.cert.pem(),
        seen: Arc::default(),
        connections: Arc::default(),
        most_at_once: Arc::default(),
    };
    let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
    let now = Arc::new(AtomicUsize::new(0));
    let (seen, connections, most) = (Arc::clone(&server.seen), Arc::clone(&server.connections), Arc::clone(&server.most_at_once));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, acts, seen, most) = (acceptor.clone(), Arc::clone(&acts), Arc::clone(&seen), Arc::clone(&most));
            let (connections, now) = (Arc::clone(&connections), Arc::clone(&now));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                connections.fetch_add(1, Ordering::SeqCst);
                while let Ok(Some(request)) = tokio::time::timeout(Duration::from_millis(idle), receive(&mut stream)).await {
                    seen.lock().unwrap().push(request);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Answer(OK));
                    let answer = match act {
                        Act::Answer(text) => text,
                        Act::Close => return,
                        Act::Hang => std::future::pending().await,
                        Act::Slow(ms) => {
                            tokio::time::sleep(Duration::from_millis(ms)).await;
                            OK
                        }
                    };
                    now.fetch_sub(1, Ordering::SeqCst);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    stream.flush().await.unwrap();
                }
            });
        }
    });
    server
}

async fn receive<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(|n| n.parse().unwrap()));
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
}

#[tokio::test]
async fn certificates_are_judged_by_the_trust() {
    let server = serve(Vec::new(), 5_000).await;
    let dir = tempfile::tempdir().unwrap();
    let (good, empty) = (dir.path().join("ca.pem"), dir.path().join("empty.pem"));
    std::fs::write(&good, &server.pem).unwrap();
    std::fs::write(&empty, "").unwrap();
    let plain = server.fingerprint.replace(':', "").to_lowercase();
    let wrong = "00".repeat(32);
    let shown = vec!["00"; 32].join(":");
    let table = [
        (Trust::Fingerprint(server.fingerprint.clone()), "https://pve.test:8006/", Ok(())),
        (Trust::Fingerprint(plain), "https://10.9.9.9:8006/", Ok(())),
        (Trust::Fingerprint(wrong), "https://pve.test:8006/", Err(format!("is {}, but {shown} is pinned", server.fingerprint))),
        (Trust::Fingerprint("12:34".into()), "https://pve.test:8006/", Err("not a SHA-256 in 64 hex digits".into())),
        (Trust::CaFile(good.clone()), "https://pve.test:8006/", Ok(())),
        (Trust::CaFile(good), "https://10.9.9.9:8006/", Ok(())),
        (Trust::CaFile(empty), "https://pve.test:8006/", Err("holds no certificate".into())),
        (Trust::CaFile(dir.path().join("none.pem")), "https://pve.test:8006/", Err("cannot be read".into())),
        (Trust::Skip, "https://pve.test:8006/", Ok(())),
        (Trust::System, "https://pve.test:8006/", Err(format!("fingerprint is {}", server.fingerprint))),
    ];
    let client = server.client();
    for (trust, url, expected) in table {
        let mut request = Request::new(Method::Get, url);
        request.trust = trust.clone();
        match (client.send(request).await, expected) {
            (Ok(response), Ok(())) => assert_eq!(response.body, b"ok"),
            (Err(error @ HttpError::Untrusted { .. }), Err(said)) => {
                assert!(error.to_string().contains(&said), "{error}");
                assert!(error.certainly_not_sent());
            }
            (got, expected) => panic!("{trust:?}: {got:?}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn the_name_in_the_certificate_must_be_the_configured_one() {
    let server = serve(Vec::new(), 5_000).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, &server.pem).unwrap();
    let to = format!("127.0.0.1:{}", server.port);
    let client = HttpsClient::new(ConnectMap::parse([("other.test:8006", to.as_str())], true).unwrap());
    let mut request = Request::new(Method::Get, "https://other.test:8006/");
    request.trust = Trust::CaFile(ca);
    let error = client.send(request).await.unwrap_err();
    assert!(matches!(error, HttpError::Untrusted { .. }) && error.to_string().contains("other.test"), "{error}");
}

#[tokio::test]
async fn the_servers_own_words_arrive() {
    let phrase = "HTTP/1.1 500 VM 100 is locked (backup) - can't lock file '/var/lock/qemu-server/lock-100.conf'\r\nX-A: b\r\nConnection: close\r\n\r\n";
    let pseudo = "HTTP/1.1 596 Broken pipe\r\nContent-Length: 0\r\n\r\n";
    let twice = "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n";
    let bare = "HTTP/1.1 403\r\nContent-Length: 0\r\n\r\n";
    let server = serve([phrase, pseudo, twice, bare].map(Act::Answer).to_vec(), 5_000).await;
    let client = server.client();
    let first = client.send(server.request(Method::Get, "/a")).await.unwrap();
    assert_eq!(
        (first.status, first.reason.as_str()),
        (500, "VM 100 is locked (backup) - can't lock file '/var/lock/qemu-server/lock-100.conf'")
    );
    assert_eq!(first.header("x-a"), Some("b"));
    let second = client.send(server.request(Method::Get, "/b")).await.unwrap();
    assert_eq!((second.status, second.reason.as_str()), (596, "Broken pipe"));
    assert_eq!(client.send(server.request(Method::Get, "/c")).await.unwrap().status, 200);
    assert_eq!(client.send(server.request(Method::Get, "/d")).await.unwrap().status, 403);
}

#[tokio::test]
async fn requests_look_as_proxmox_wants_them() {
    let server = serve(Vec::new(), 5_000).await;
    let client = server.client();
    let mut post = server.request(Method::Post, "/api2/json/x");
    post.form = vec![("net0".into(), "virtio,bridge=vmbr0;é".into()), ("p".into(), Secret::new("a&b", Origin::Computed).into())];
    post.headers = vec![("CSRFPreventionToken".into(), Secret::new("6B:abc", Origin::Computed).into())];
    client.send(post).await.unwrap();
    client.send(server.request(Method::Put, "/empty")).await.unwrap();
    let mut delete = Request::new(Method::Delete, "https://10.9.9.9:8006/vm");
    delete.trust = Trust::Skip;
    delete.query = vec![("purge".into(), "1".into()), ("a b".into(), "c=d".into())];
    client.send(delete).await.unwrap();
    let seen = server.seen();
    let post = seen[0].to_lowercase();
    assert!(
        seen[0].starts_with("POST /api2/json/x HTTP/1.1\r\n") && seen[0].ends_with("net0=virtio%2Cbridge%3Dvmbr0%3B%C3%A9&p=a%26b"),
        "{}",
        seen[0]
    );
    assert!(post.contains("host: pve.test:8006") && post.contains("content-length: ") && !post.contains("transfer-encoding"), "{post}");
    assert!(post.contains("csrfpreventiontoken: 6b:abc") && post.contains("application/x-www-form-urlencoded"), "{post}");
    assert!(seen[1].to_lowercase().contains("content-length: 0"), "{}", seen[1]);
    assert!(seen[2].starts_with("DELETE /vm?purge=1&a%20b=c%3Dd HTTP/1.1\r\n"), "{}", seen[2]);
    assert!(seen[2].contains("10.9.9.9:8006") && !seen[2].to_lowercase().contains("content-length"), "{}", seen[2]);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let server = serve(Vec::new(), 300).await;
    let client = server.client();
    for method in [Method::Get, Method::Post] {
        client.send(server.request(Method::Get, "/")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        client.send(server.request(method, "/after")).await.unwrap();
    }
    assert_eq!(server.seen().len(), 4);
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_write_that_may_have_been_seen_is_not_repeated() {
    let server = serve(vec![Act::Answer(OK), Act::Close, Act::Answer(OK), Act::Answer(OK), Act::Close], 5_000).await;
    let client = server.client();
    client.send(server.request(Method::Get, "/1")).await.unwrap();
    let answer = client.send(server.request(Method::Get, "/dies")).await.unwrap();
    assert_eq!(answer.body, b"ok");
    client.send(server.request(Method::Get, "/2")).await.unwrap();
    let mut post = server.request(Method::Post, "/dies");
    post.form = vec![("password".into(), Secret::new("hunter2", Origin::Computed).into())];
    post.query = vec![("token".into(), Secret::new("hunter3", Origin::Computed).into())];
    let error = client.send(post).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken { .. }) && !error.certainly_not_sent(), "{error:?}");
    assert!(error.to_string().contains("POST /dies") && !error.to_string().contains("hunter"), "{error}");
    let lines: Vec<String> = server.seen().iter().map(|text| text.lines().next().unwrap_or_default().to_owned()).collect();
    assert_eq!(lines, ["GET /1", "GET /dies", "GET /dies", "GET /2", "POST /dies?token=hunter3"].map(|line| format!("{line} HTTP/1.1")));
}

#[tokio::test]
async fn a_get_is_sent_at_most_twice() {
    let server = serve(vec![Act::Close, Act::Close], 5_000).await;
    let error = server.client().send(server.request(Method::Get, "/")).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn errors_say_whether_the_request_may_have_acted() {
    let huge = "HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\nx";
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nx";
    let server = serve(vec![Act::Hang, Act::Answer(huge), Act::Answer(cut)], 500).await;
    let client = server.client();
    let mut hanging = server.request(Method::Post, "/hang");
    hanging.deadline = Duration::from_millis(300);
    let late = client.send(hanging).await.unwrap_err();
    assert!(matches!(late, HttpError::Deadline { .. }) && !late.certainly_not_sent(), "{late:?}");
    let huge = client.send(server.request(Method::Get, "/huge")).await.unwrap_err();
    assert!(huge.to_string().contains("larger than 64 MiB"), "{huge}");
    let cut = client.send(server.request(Method::Post, "/cut")).await.unwrap_err();
    assert!(matches!(cut, HttpError::Broken { .. }), "{cut:?}");
    let off = client.send(Request::new(Method::Get, "https://10.0.0.1:8006/")).await.unwrap_err();
    assert!(matches!(off, HttpError::OffTheMap { .. }) && off.certainly_not_sent(), "{off:?}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = HttpsClient::new(ConnectMap::open()).send(Request::new(Method::Post, format!("https://{free}/"))).await.unwrap_err();
    assert!(matches!(refused, HttpError::Connect { .. }) && refused.to_string().contains("refused"), "{refused:?}");
}

#[tokio::test]
async fn malformed_requests_are_named_without_their_secrets() {
    let client = HttpsClient::new(ConnectMap::open());
    for (url, said) in [
        ("http://pve/", "only https"),
        ("https://pve/?a=1", "query fields"),
        ("nonsense", "`nonsense`"),
        ("https://root:hunter2@pve/", "a user in the URL"),
    ] {
        let error = client.send(Request::new(Method::Get, url)).await.unwrap_err();
        assert!(matches!(error, HttpError::Malformed { .. }), "{error:?}");
        assert!(error.to_string().contains(said) && !error.to_string().contains("hunter2"), "{error}");
    }
    let server = serve(Vec::new(), 5_000).await;
    let mut request = server.request(Method::Get, "/");
    request.headers = vec![("authorization".into(), Secret::new("hunter2\nx: y", Origin::Computed).into())];
    let error = server.client().send(request).await.unwrap_err();
    assert!(error.to_string().contains("header authorization") && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn so_many_requests_per_host_are_in_flight_and_no_more() {
    let server = serve(vec![Act::Slow(50); 12], 5_000).await;
    let client = server.client();
    let all = futures_util::future::join_all((0..12).map(|_| client.send(server.request(Method::Get, "/")))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(server.most_at_once.load(Ordering::SeqCst), IN_FLIGHT);
}
