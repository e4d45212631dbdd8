//! REST: from a TLS connection to a request, through token and limits to its route, and the answer back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::record::Violation;
use super::refusal::{self, Refusal};
use super::state::State;
use super::{Shared, rates, routes};

/// How long a client may take for a handshake or for a body.
const PATIENCE: Duration = Duration::from_secs(10);
/// How large a body may be, in bytes.
const BODY: usize = 1 << 20;
/// Where the version of the API stands before every path.
const ROOT: &str = "/api/v10";

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// In capitals.
    pub method: String,
    /// As it was asked for, without the query.
    pub path: String,
    /// What stood behind the question mark.
    pub query: BTreeMap<String, String>,
    /// The header.
    pub authorization: String,
    /// The header.
    pub agent: String,
    /// The body; null when there is none.
    pub body: Value,
    /// Whether there was a body that is no JSON.
    pub garbled: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Of HTTP.
    pub status: u16,
    /// Null for none.
    pub body: Value,
}

impl Reply {
    /// What was asked for.
    pub fn ok(body: impl Into<Value>) -> Self {
        Self { status: 200, body: body.into() }
    }

    /// It is done, and there is nothing to say.
    pub fn done() -> Self {
        Self { status: 204, body: Value::Null }
    }
}

impl Call {
    /// The parts of the path behind the version.
    pub fn parts(&self) -> Vec<&str> {
        self.path.strip_prefix(ROOT).map(|path| path.split('/').filter(|part| !part.is_empty()).collect()).unwrap_or_default()
    }

    async fn read(request: Request<Incoming>) -> Self {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (authorization, agent, kind) = (header("authorization"), header("user-agent"), header("content-type"));
        let query = request.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let query = query.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let body = timeout(PATIENCE, Limited::new(request.into_body(), BODY).collect()).await;
        let bytes = body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes);
        let parsed = match bytes.as_deref() {
            Some([]) => Some(Value::Null),
            Some(bytes) if kind.starts_with("application/json") => serde_json::from_slice(bytes).ok(),
            _ => None,
        };
        Self { method, path, query, authorization, agent, garbled: parsed.is_none(), body: parsed.unwrap_or_default() }
    }
}

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let answer = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move {
            let call = Call::read(request).await;
            Ok::<_, Infallible>(shared.change(|state| reply(state, call)))
        }
    });
    // A client that goes away in the middle of an answer is nobody's fault.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

fn reply(state: &mut State, call: Call) -> Response<Full<Bytes>> {
    let (reply, headers) = match state.rates.take(&call) {
        Err((limited, headers)) => {
            let body = rates::body(&limited);
            state.record.limited.push(limited);
            state.record.invalid += 1;
            (Reply { status: 429, body }, headers)
        }
        Ok(headers) => {
            let reply = guarded(state, &call).unwrap_or_else(|refusal| {
                state.record.invalid += usize::from([401, 403].contains(&refusal.status));
                let reply = Reply { status: refusal.status, body: refusal.body() };
                state.record.violations.push(Violation { method: call.method.clone(), path: call.path.clone(), refusal });
                reply
            });
            (reply, headers)
        }
    };
    state.record.request(call, reply.status, state.began.elapsed());
    let text = if reply.body.is_null() { String::new() } else { reply.body.to_string() };
    let mut response = Response::builder().status(reply.status).header("content-type", "application/json").header("via", "1.1 google");
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(text))).expect("the headers are good")
}

/// Whoever asks has to be a bot that says who it is; then it is the route's turn.
fn guarded(state: &mut State, call: &Call) -> Result<Reply, Refusal> {
    state.record.tokens.extend(call.authorization.strip_prefix("Bot ").map(str::to_owned));
    if !call.agent.starts_with("DiscordBot (") {
        return Err(refusal::NO_AGENT.into());
    }
    let parts = call.parts();
    // These are open to everybody: what they need is in the path.
    let open = matches!(parts.first(), Some(&"interactions" | &"webhooks")) || parts == ["gateway"];
    if !open && call.authorization != format!("Bot {}", state.token) {
        return Err(refusal::UNAUTHORIZED.into());
    }
    if call.garbled {
        return Err(refusal::NO_JSON.into());
    }
    routes::route(state, call, &parts)
}
