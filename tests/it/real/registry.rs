//! An image registry on loopback with as much of the registry's HTTP API as `docker push` and `docker pull` use; images live in memory.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A running registry; an engine on the same machine reaches it without TLS, because it stands on loopback.
pub struct Registry {
    /// `127.0.0.1:<port>`: the beginning of its images' names.
    pub address: String,
    over: Arc<AtomicBool>,
}

/// What was pushed: blobs by digest, manifests by `<name>/<tag or digest>` with their types, uploads by number.
#[derive(Default)]
struct Images {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    uploads: BTreeMap<usize, Vec<u8>>,
    begun: usize,
}

struct Request {
    method: String,
    path: String,
    query: String,
    kind: String,
    body: Vec<u8>,
}

struct Response {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Registry {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let (over, images) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Images::default())));
        let stop = Arc::clone(&over);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (images, stop) = (Arc::clone(&images), Arc::clone(&stop));
                std::thread::spawn(move || converse(stream, &images, &stop));
            }
        });
        Self { address, over }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the one that accepts.
        let _ = TcpStream::connect(&self.address);
    }
}

/// Answers one connection until it ends. What is no HTTP (the engine tries TLS first) ends it at once.
fn converse(stream: TcpStream, images: &Mutex<Images>, over: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let Ok(mut out) = stream.try_clone() else { return };
    let mut input = BufReader::new(stream);
    while let Some(request) = read(&mut input) {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let response = images.lock().unwrap_or_else(PoisonError::into_inner).answer(&request);
        let mut head = format!("HTTP/1.1 {}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n", response.status);
        let length = response.body.len();
        for (name, value) in response.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        let body = if request.method == "HEAD" { &[][..] } else { &response.body };
        if out.write_all(head.as_bytes()).and_then(|()| out.write_all(body)).is_err() {
            return;
        }
    }
}

fn read(input: &mut BufReader<TcpStream>) -> Option<Request> {
    let first = line(input)?;
    let [method, target, _] = first.split(' ').collect::<Vec<_>>()[..] else { return None };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request =
        Request { method: method.to_owned(), path: path.to_owned(), query: query.to_owned(), kind: String::new(), body: Vec::new() };
    let (mut length, mut chunked) = (0, false);
    loop {
        let header = line(input)?;
        let Some((name, value)) = header.split_once(':') else { break };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => length = value.parse().ok()?,
            ("transfer-encoding", value) => chunked = value == "chunked",
            ("content-type", value) => request.kind = value.to_owned(),
            _ => {}
        }
    }
    while chunked {
        let size = usize::from_str_radix(line(input)?.split(';').next()?, 16).ok()?;
        take(input, size, &mut request.body)?;
        line(input)?;
        chunked = size > 0;
    }
    take(input, length, &mut request.body)?;
    Some(request)
}

fn line(input: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    input.by_ref().take(16 << 10).read_until(b'\n', &mut bytes).ok().filter(|read| *read > 0)?;
    String::from_utf8(bytes).ok().map(|text| text.trim_end().to_owned())
}

fn take(input: &mut BufReader<TcpStream>, size: usize, into: &mut Vec<u8>) -> Option<()> {
    let read = input.by_ref().take(size as u64).read_to_end(into).ok()?;
    (read == size).then_some(())
}

fn digest(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    format!("sha256:{}", hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn response(status: &'static str) -> Response {
    Response { status, headers: Vec::new(), body: Vec::new() }
}

impl Response {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl Images {
    fn answer(&mut self, request: &Request) -> Response {
        let rest = request.path.strip_prefix("/v2/").unwrap_or_default();
        if rest.is_empty() {
            return response("200 OK");
        }
        if let Some((name, upload)) = rest.split_once("/blobs/uploads/") {
            return self.upload(request, name, upload);
        }
        if let Some((_, wanted)) = rest.split_once("/blobs/") {
            let Some(blob) = self.blobs.get(wanted) else { return response("404 Not Found") };
            let found = response("200 OK").header("Docker-Content-Digest", wanted).header("Content-Type", "application/octet-stream");
            return Response { body: blob.clone(), ..found };
        }
        let Some((name, tag)) = rest.split_once("/manifests/") else { return response("404 Not Found") };
        if request.method == "PUT" {
            let digest = digest(&request.body);
            for reference in [tag, &digest] {
                self.manifests.insert(format!("{name}/{reference}"), (request.kind.clone(), request.body.clone()));
            }
            return response("201 Created").header("Docker-Content-Digest", digest).header("Location", request.path.clone());
        }
        let Some((kind, body)) = self.manifests.get(&format!("{name}/{tag}")) else { return response("404 Not Found") };
        let found = response("200 OK").header("Docker-Content-Digest", digest(body)).header("Content-Type", kind.clone());
        Response { body: body.clone(), ..found }
    }

    /// `POST` begins an upload, `PATCH` goes on with it, `PUT` ends it.
    fn upload(&mut self, request: &Request, name: &str, upload: &str) -> Response {
        if request.method == "POST" {
            self.begun += 1;
            self.uploads.insert(self.begun, Vec::new());
            return response("202 Accepted").header("Location", format!("/v2/{name}/blobs/uploads/{}", self.begun)).header("Range", "0-0");
        }
        let number = upload.parse().unwrap_or(0);
        let Some(so_far) = self.uploads.get_mut(&number) else { return response("404 Not Found") };
        so_far.extend_from_slice(&request.body);
        if request.method == "PATCH" {
            let range = format!("0-{}", so_far.len().saturating_sub(1));
            return response("202 Accepted").header("Location", request.path.clone()).header("Range", range);
        }
        let blob = self.uploads.remove(&number).unwrap_or_default();
        let digest = digest(&blob);
        if !request.query.replace("%3A", ":").contains(&digest) {
            return response("400 Bad Request");
        }
        self.blobs.insert(digest.clone(), blob);
        response("201 Created").header("Docker-Content-Digest", digest.clone()).header("Location", format!("/v2/{name}/blobs/{digest}"))
    }
}
