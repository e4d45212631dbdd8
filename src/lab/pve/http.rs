//! The HTTP/1.1 server of the lab: connections with the lifetimes, header quirks and refusals of pveproxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::reply::Reply;
use crate::lab::running::Lab;

/// Requests that one connection may carry.
const PER_CONNECTION: u32 = 100;
/// Longest request head in bytes.
const LONGEST_HEAD: usize = 64 << 10;
/// Longest body in bytes: an upload of an ISO image of a test fits.
const LONGEST_BODY: usize = 256 << 20;
/// Connections at a time.
const CONNECTIONS: usize = 512;
/// How long a client may take to send a body or to take an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
#[derive(Debug, Default)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// The path as sent.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Accepts connections until it is dropped.
pub async fn serve(lab: Arc<Lab>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    let mut open = JoinSet::new();
    loop {
        if let Ok((stream, peer)) = listener.accept().await {
            open.spawn(welcome(Arc::clone(&lab), acceptor.clone(), stream, peer));
        }
        while open.try_join_next().is_some() {}
        if open.len() >= CONNECTIONS {
            open.join_next().await;
        }
    }
}

async fn welcome(lab: Arc<Lab>, acceptor: TlsAcceptor, stream: TcpStream, _peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let mut first = [0_u8; 1];
    let peeked = tokio::time::timeout(PATIENCE, stream.peek(&mut first)).await;
    if !matches!(peeked, Ok(Ok(1))) {
        return;
    }
    // 0x16 opens a TLS handshake; anything else is plain HTTP on the TLS port.
    let done = if first[0] == 0x16 {
        match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => converse(&lab, stream).await,
            _ => Ok(()),
        }
    } else {
        redirect(&lab, stream).await
    };
    // A client that went away in the middle is its own business.
    let _ = done;
}

async fn redirect(lab: &Lab, mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = Vec::new();
    let Some(request) = read_request(&mut stream, &mut buffer, lab.options.keep_alive).await? else { return Ok(()) };
    let host = request.header("host").map_or_else(|| lab.ready.api.to_string(), str::to_owned);
    let (status, reason) =
        if request.method == "GET" || request.method == "HEAD" { (301, "Moved Permanently") } else { (308, "Permanent Redirect") };
    let mut reply = Reply::empty(status, reason);
    reply.location = Some(format!("https://{host}{}", request.path));
    stream.write_all(&reply.bytes(&lab.clock.http_date(), false)).await?;
    stream.shutdown().await
}

/// Serves requests on one connection: at most 100, closed after 5 s without one and after any status of 400 and more.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(lab: &Arc<Lab>, mut stream: S) -> io::Result<()> {
    let mut buffer = Vec::new();
    for count in 1..=PER_CONNECTION {
        let Some(request) = read_request(&mut stream, &mut buffer, lab.options.keep_alive).await? else { break };
        let wants_close = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let Some(reply) = super::answer(lab, request).await else { return Ok(()) };
        let keep = reply.status < 400 && count < PER_CONNECTION && !wants_close;
        let bytes = reply.bytes(&lab.clock.http_date(), keep);
        tokio::time::timeout(PATIENCE, stream.write_all(&bytes)).await??;
        stream.flush().await?;
        if !keep {
            break;
        }
    }
    stream.shutdown().await
}

/// Reads one request; none when the client closed or stayed silent for too long.
async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    idle: Duration,
) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > LONGEST_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "request head too long"));
        }
        let Ok(count) = tokio::time::timeout(idle, stream.read_buf(buffer)).await else { return Ok(None) };
        if count? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut request = parse_head(&head);
    let length: usize = request.header("content-length").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    if length > LONGEST_BODY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "request body too long"));
    }
    if length > 0 && request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        stream.flush().await?;
    }
    while buffer.len() < length {
        let count = tokio::time::timeout(PATIENCE, stream.read_buf(buffer)).await??;
        if count == 0 {
            return Ok(None);
        }
    }
    request.body = buffer.drain(..length).collect();
    Ok(Some(request))
}

fn parse_head(head: &str) -> Request {
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or("").split(' ');
    let method = first.next().unwrap_or("").to_owned();
    let target = first.next().unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    Request { method, path: path.to_owned(), query: query.to_owned(), headers: headers.collect(), body: Vec::new() }
}

/// Where `needle` begins in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}
