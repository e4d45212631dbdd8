//! A raw HTTPS client for the lab: it sees status lines, every header and every byte, which a library would hide.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use pmx::lab::control::Client as Control;
use pmx::lab::{Options, Ready, Seed};

/// A lab that runs in this process until it is dropped or stopped.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub ready: Ready,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Result<(), pmx::lab::LabError>>,
}

/// Options of a fast lab in `dir` on free ports.
pub fn options(dir: &Path, seed: Seed) -> Options {
    let mut options = Options::new(dir);
    options.listen = ([127, 0, 0, 1], 0).into();
    options.ssh_port = 0;
    options.pace = 0.02;
    options.seed = seed;
    if seed == Seed::Bare {
        options.node = "pve".into();
    }
    options
}

impl Bench {
    pub async fn start(seed: Seed) -> Self {
        Self::start_with(seed, |_| {}).await
    }

    pub async fn start_with(seed: Seed, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), seed);
        change(&mut options);
        let (ready, stop, task) = run(options).await;
        Self { dir, ready, stop: Some(stop), task }
    }

    /// Stops the lab and starts another one on the same state.
    pub async fn restart(mut self, seed: Seed) -> Self {
        drop(self.stop.take());
        (&mut self.task).await.unwrap().unwrap();
        let (ready, stop, task) = run(options(self.dir.path(), seed)).await;
        Self { dir: self.dir, ready, stop: Some(stop), task }
    }

    pub async fn control(&self) -> Control {
        Control::connect(self.dir.path()).await.unwrap()
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(&self.ready, self.dir.path()).await
    }

    /// A client that is logged in as root.
    pub async fn root(&self) -> Session {
        Session::log_in(self, "root@pam", "pmx-lab").await
    }
}

async fn run(options: Options) -> (Ready, oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), pmx::lab::LabError>>) {
    let (tell, told) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(pmx::lab::serve(options, tell, async {
        let _ = stopped.await;
    }));
    (told.await.expect("the lab becomes ready"), stop, task)
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status_line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn status(&self) -> u16 {
        self.status_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn reason(&self) -> &str {
        self.status_line.splitn(3, ' ').nth(2).unwrap_or("")
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn data(&self) -> Value {
        self.json()["data"].clone()
    }
}

/// One TLS connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(ready: &Ready, dir: &Path) -> Self {
        let certificate = CertificateDer::from_pem_file(dir.join("certificate.pem")).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(ready.api).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are and reads one answer; none when the server closed without one.
    pub async fn raw(&mut self, bytes: &[u8]) -> Option<Reply> {
        self.stream.write_all(bytes).await.ok()?;
        self.read().await
    }

    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Option<Reply> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.raw(&bytes).await
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(count) if count > 0)
    }

    async fn read(&mut self) -> Option<Reply> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "Content-Length").map(|(_, length)| length.parse::<usize>().unwrap());
        let length = match length {
            Some(length) => {
                while self.buffer.len() < length {
                    assert!(self.more().await, "the body is shorter than its Content-Length");
                }
                length
            }
            None => {
                while self.more().await {}
                self.buffer.len()
            }
        };
        let body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        Some(Reply { status_line, headers, body })
    }
}

/// Percent-encodes everything that is not a letter, a digit or one of `-._~`.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub fn form(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

/// A login.
pub struct Session {
    pub ready: Ready,
    pub dir: std::path::PathBuf,
    pub ticket: String,
    pub csrf: String,
}

impl Session {
    pub async fn log_in(bench: &Bench, user: &str, password: &str) -> Self {
        let body = form(&[("username", user), ("password", password)]);
        let reply = bench.connect().await.send("POST", "/api2/json/access/ticket", &[], Some(body.as_bytes())).await.unwrap();
        assert_eq!(reply.status(), 200, "{reply:?}");
        let data = reply.data();
        let text = |key: &str| data[key].as_str().unwrap().to_owned();
        Self { ready: bench.ready.clone(), dir: bench.dir.path().to_owned(), ticket: text("ticket"), csrf: text("CSRFPreventionToken") }
    }

    /// One request on a connection of its own.
    pub async fn call(&self, method: &str, path: &str, pairs: &[(&str, &str)]) -> Reply {
        self.try_call(method, path, pairs).await.expect("an answer")
    }

    pub async fn try_call(&self, method: &str, path: &str, pairs: &[(&str, &str)]) -> Option<Reply> {
        let cookie = format!("PVEAuthCookie={}", self.ticket);
        let headers = [("Cookie", cookie.as_str()), ("CSRFPreventionToken", self.csrf.as_str())];
        let encoded = form(pairs);
        let mut connection = Connection::open(&self.ready, &self.dir).await;
        let full = format!("/api2/json{path}");
        if matches!(method, "GET" | "DELETE") {
            let full = if encoded.is_empty() { full } else { format!("{full}?{encoded}") };
            connection.send(method, &full, &headers, None).await
        } else {
            connection.send(method, &full, &headers, Some(encoded.as_bytes())).await
        }
    }

    /// Waits for a task; returns its status and its log.
    pub async fn wait(&self, upid: &str) -> (Value, Value) {
        let node = upid.split(':').nth(1).unwrap();
        let path = format!("/nodes/{node}/tasks/{}", encode(upid));
        for _ in 0..600 {
            let status = self.call("GET", &format!("{path}/status"), &[]).await.data();
            if status["status"] == "stopped" {
                let log = self.call("GET", &format!("{path}/log"), &[]).await.json();
                return (status, log);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("task {upid} never ended");
    }

    /// Calls, expects a UPID and returns how the task ended.
    pub async fn task(&self, method: &str, path: &str, pairs: &[(&str, &str)]) -> String {
        let reply = self.call(method, path, pairs).await;
        assert_eq!(reply.status(), 200, "{reply:?}");
        let (status, _) = self.wait(reply.data().as_str().unwrap()).await;
        status["exitstatus"].as_str().unwrap().to_owned()
    }
}
