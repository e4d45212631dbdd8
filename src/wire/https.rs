//! The HTTPS client, made for Proxmox's habits and good for any HTTP/1.1 server.
//!
//! - One reqwest client, and so one pool of connections, per (host, trust): a connection judged by one trust never serves another.
//! - Kept connections are dropped before the server's own 5 s idle close; a GET on one that died all the same is sent once more on a fresh one.
//! - A write is never repeated here, except by hyper when not one byte of it was written.
//! - The map decides what is dialled; `Host`, SNI and the certificate's name stay what was configured.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::ext::ReasonPhrase;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::Semaphore;

use crate::wire::http::{Field, Http, HttpError, Method, Request, Response, Trust};
use crate::wire::map::{Address, ConnectMap};
use crate::wire::{names, percent, tls};

#[cfg(test)]
#[path = "https_tests.rs"]
mod tests;

/// Requests in flight per host. pvedaemon and pveproxy have three workers each; one request more waits there, so that no worker is idle while an answer
/// travels here and the next request there. Any further one would only wait there instead of here.
pub const IN_FLIGHT: usize = 4;

/// pveproxy closes an idle connection after 5.0 s; below 4 s there is no race with it.
const IDLE: Duration = Duration::from_millis(3_500);

/// A dead address is told apart from a slow answer, because then the request was certainly not sent.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The largest body that is read.
const LARGEST_BODY: usize = 64 << 20;

/// More pools than any fleet has; beyond it all are dropped and made anew as they are needed.
const MOST_POOLS: usize = 256;

/// The process's HTTPS client.
pub struct HttpsClient {
    map: ConnectMap,
    in_flight: usize,
    pools: Mutex<BTreeMap<(Address, Trust), Pool>>,
    gates: Mutex<BTreeMap<Address, Arc<Semaphore>>>,
}

/// A client for one host and the address that stands in its URLs.
#[derive(Clone)]
struct Pool {
    client: Client,
    url: Address,
}

/// A request in the form that can be sent twice.
struct Prepared {
    host: Address,
    method: Method,
    path: String,
    request: Request,
}

impl HttpsClient {
    /// A client that dials as `map` says.
    pub fn new(map: ConnectMap) -> Self {
        Self { map, in_flight: IN_FLIGHT, pools: Mutex::default(), gates: Mutex::default() }
    }

    /// Another bound than [`IN_FLIGHT`]: for servers that are known to have more workers.
    #[must_use]
    pub fn with_in_flight(mut self, requests: usize) -> Self {
        self.in_flight = requests.max(1);
        self
    }

    fn gate(&self, host: &Address) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(host.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.in_flight))))
    }

    /// The pool for this host; with `fresh` a new one without any kept connection.
    fn pool(&self, host: &Address, trust: &Trust, fresh: bool) -> Result<Pool, HttpError> {
        let key = (host.clone(), trust.clone());
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key).filter(|_| !fresh) {
            return Ok(pool.clone());
        }
        let pool = Pool::new(&self.map, host, trust, self.in_flight)?;
        if pools.len() >= MOST_POOLS {
            pools.clear();
        }
        pools.insert(key, pool.clone());
        Ok(pool)
    }

    async fn exchange(&self, prepared: &Prepared) -> Result<Response, HttpError> {
        let pool = self.pool(&prepared.host, &prepared.request.trust, false)?;
        let error = match pool.send(prepared).await? {
            Ok(response) => return read(response, prepared).await,
            Err(error) => prepared.classify(&error),
        };
        if prepared.method != Method::Get || !matches!(error, HttpError::Broken { .. }) {
            return Err(error);
        }
        let pool = self.pool(&prepared.host, &prepared.request.trust, true)?;
        match pool.send(prepared).await? {
            Ok(response) => read(response, prepared).await,
            Err(error) => Err(prepared.classify(&error)),
        }
    }
}

impl Http for HttpsClient {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(async move {
            let prepared = Prepared::new(request)?;
            let gate = self.gate(&prepared.host);
            // Bounded without a deadline of its own: everyone ahead has one.
            let _place = gate.acquire().await.map_err(|e| prepared.broken(e.to_string()))?;
            let deadline = prepared.request.deadline;
            match tokio::time::timeout(deadline, self.exchange(&prepared)).await {
                Ok(answer) => answer,
                Err(_) => Err(prepared.late()),
            }
        })
    }
}

impl Pool {
    fn new(map: &ConnectMap, host: &Address, trust: &Trust, kept: usize) -> Result<Self, HttpError> {
        let dialled = map.resolve(host).map_err(|off| HttpError::OffTheMap { host: off.0.to_string() })?;
        let config = tls::client_config(trust, &host.host).map_err(|cause| HttpError::Untrusted { host: host.to_string(), cause })?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(config)
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(concat!("pmx/", env!("CARGO_PKG_VERSION")))
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_WITHIN)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(kept);
        // A name keeps its place in the URL, so that SNI carries it, and is resolved to the mapped host. An address would be dialled as it stands, so
        // the mapped one stands there instead.
        let url = if host.host.parse::<std::net::IpAddr>().is_ok() {
            dialled
        } else {
            builder = builder.dns_resolver(Arc::new(Elsewhere(dialled.host)));
            Address { host: host.host.clone(), port: dialled.port }
        };
        let client = builder.build().map_err(|e| HttpError::Malformed { url: host.to_string(), cause: chain(&e.without_url()) })?;
        Ok(Self { client, url })
    }

    /// The outer error is a request that cannot be built, the inner one a failed exchange.
    async fn send(&self, prepared: &Prepared) -> Result<Result<reqwest::Response, reqwest::Error>, HttpError> {
        let request = &prepared.request;
        let query = percent::pairs(&request.query);
        let mark = if query.is_empty() { "" } else { "?" };
        let text = zeroize::Zeroizing::new(format!("https://{}{}{mark}{}", self.url, prepared.path, *query));
        let url = Url::parse(&text).map_err(|e| prepared.malformed(e.to_string()))?;
        let method = match prepared.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        let host = prepared.host.to_string();
        let host = if prepared.host.port == 443 { host.trim_end_matches(":443") } else { &host };
        let mut builder = self.client.request(method, url).header(HOST, host);
        for (name, field) in &request.headers {
            let name =
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| prepared.malformed(format!("`{name}` is not a header's name")))?;
            let bad = |_| prepared.malformed(format!("the value of the header {name} holds a character that no header may"));
            let mut value = HeaderValue::from_str(field.expose()).map_err(bad)?;
            value.set_sensitive(matches!(field, Field::Secret(_)));
            builder = builder.header(name, value);
        }
        if matches!(prepared.method, Method::Post | Method::Put) {
            let form = percent::pairs(&request.form).as_bytes().to_vec();
            // Said also when it is zero: not every server takes a write without a length.
            let length = HeaderValue::from(form.len());
            builder = builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(CONTENT_LENGTH, length).body(form);
        }
        Ok(builder.send().await)
    }
}

/// Resolves every name to one other host.
struct Elsewhere(String);

impl Resolve for Elsewhere {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            // The port of the URL replaces this one.
            let found = names::addresses(&host, 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl Prepared {
    fn new(request: Request) -> Result<Self, HttpError> {
        let shown = request.url.split(['?', '#']).next().unwrap_or_default().to_owned();
        let malformed = |cause: &str| HttpError::Malformed { url: shown.clone(), cause: cause.to_owned() };
        if shown.len() < request.url.len() {
            return Err(malformed("parameters belong into the query fields, not into the URL"));
        }
        let url = Url::parse(&request.url).map_err(|e| malformed(&e.to_string()))?;
        if url.scheme() != "https" {
            return Err(malformed("only https is spoken"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HttpError::Malformed {
                url: String::from("https://…"),
                cause: "a user in the URL would be shown; use a header".to_owned(),
            });
        }
        let host = url.host_str().ok_or_else(|| malformed("it has no host"))?;
        if !request.form.is_empty() && matches!(request.method, Method::Get | Method::Delete) {
            return Err(malformed("GET and DELETE take no form: parameters go into the query"));
        }
        let host = Address::new(host, url.port().unwrap_or(443));
        Ok(Self { host, method: request.method, path: url.path().to_owned(), request })
    }

    fn shown(&self) -> String {
        let method = match self.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        format!("{method} {}", self.path)
    }

    fn broken(&self, cause: String) -> HttpError {
        HttpError::Broken { host: self.host.to_string(), request: self.shown(), cause }
    }

    fn malformed(&self, cause: String) -> HttpError {
        HttpError::Malformed { url: self.request.url.clone(), cause }
    }

    fn late(&self) -> HttpError {
        let seconds = self.request.deadline.as_secs();
        HttpError::Deadline { host: self.host.to_string(), seconds, request: self.shown() }
    }

    /// Sorts an error by what the server may have seen. Doubt counts as seen.
    fn classify(&self, error: &reqwest::Error) -> HttpError {
        let host = self.host.to_string();
        if !error.is_connect() {
            return self.broken(chain(error));
        }
        match refused_certificate(error) {
            Some(cause) => HttpError::Untrusted { host, cause },
            None if error.is_timeout() => {
                HttpError::Connect { host, cause: format!("no connection within {} s", CONNECT_WITHIN.as_secs()) }
            }
            None => HttpError::Connect { host, cause: chain(error) },
        }
    }
}

async fn read(mut response: reqwest::Response, prepared: &Prepared) -> Result<Response, HttpError> {
    let status = response.status();
    let phrase = response.extensions().get::<ReasonPhrase>();
    let phrase = phrase.map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned());
    let reason = phrase.unwrap_or_else(|| status.canonical_reason().unwrap_or_default().to_owned());
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let too_large = || prepared.broken(format!("the answer is larger than {} MiB", LARGEST_BODY >> 20));
    if response.content_length().is_some_and(|length| length > LARGEST_BODY as u64) {
        return Err(too_large());
    }
    // Proxmox's 401 has neither length nor body and ends with the connection, perhaps without TLS's farewell: nothing of it is missing.
    let ends_by_close = status.as_u16() >= 400 && response.content_length().is_none();
    let mut body = Vec::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) if ends_by_close && is_unexpected_end(&error) => break,
            Err(error) => return Err(prepared.broken(chain(&error))),
        };
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response { status: status.as_u16(), reason, headers, body })
}

/// The causes of an error, outermost left out: that one is reqwest's and names the URL with its query.
fn chain(error: &reqwest::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // Wrappers often repeat what they wrap.
        if !causes.iter().any(|known| known.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    if causes.is_empty() { "the exchange failed".to_owned() } else { causes.join(": ") }
}

fn is_unexpected_end(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof) {
            return true;
        }
        next = cause.source();
    }
    false
}

fn refused_certificate(error: &reqwest::Error) -> Option<String> {
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = next {
        // An io::Error hides what it carries from `source`.
        let carried = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = carried.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| cause.downcast_ref::<rustls::Error>());
        if let Some(why) = tls.and_then(tls::why_refused) {
            return Some(why);
        }
        next = match carried {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}
