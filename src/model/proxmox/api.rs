//! Proxmox's HTTP API as its models use it: where it is, whose account, one request at a time, the server's own reason in every error.

use std::time::Duration;

use jiff::fmt::rfc2822;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::model::contract::{Context, Failure};
use crate::secret::{Credential, Secret};
use crate::wire::http::{Field, HttpError, Method, Request, Response, Trust};

/// Proxmox answers a refused login after 3 s and proxies to another node for up to 30 s; the deadline lies above both.
const DEADLINE: Duration = Duration::from_secs(40);

/// Where the API is and how its certificate is judged: global arguments of every Proxmox type.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Address of the API: `https://10.0.0.4:8006`, `10.0.0.4`, with or without `/api2/json`. Without a scheme the port is 8006 unless given.
    pub api_url: String,
    /// The Proxmox node's exact name, as `pvesh get /nodes` shows it.
    pub node: String,
    /// SHA-256 fingerprint of the node's certificate: 64 hex digits, colons allowed. Comes before `caFile` and `skipTlsVerify`.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// PEM file of the certificate authority (a copy of `/etc/pve/pve-root-ca.pem`), relative to the project. Comes before `skipTlsVerify`.
    #[serde(default)]
    pub ca_file: Option<String>,
    /// Accept any certificate. pmx warns on every run.
    #[serde(default)]
    pub skip_tls_verify: bool,
}

impl Endpoint {
    /// `https://host:port`, without a path.
    pub fn base(&self) -> Result<String, Failure> {
        let given = self.api_url.trim();
        let bad = |why: &str| {
            Failure::yours(format!("`{given}` is no address of a Proxmox API: {why}")).help("write it as https://10.0.0.4:8006")
        };
        if given.to_ascii_lowercase().starts_with("http://") {
            return Err(bad("Proxmox speaks only HTTPS"));
        }
        let (rest, port) = match given.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (rest, ""),
            Some((scheme, _)) => return Err(bad(&format!("`{scheme}` is not https"))),
            None => (given, ":8006"),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.is_empty() || authority.contains(char::is_whitespace) || authority.contains('@') {
            return Err(bad("the host is missing"));
        }
        // An IPv6 address has colons of its own; only one behind its bracket begins a port.
        let has_port = authority.rsplit(']').next().unwrap_or_default().contains(':');
        Ok(format!("https://{authority}{}", if has_port { "" } else { port }))
    }

    /// How the certificate is judged: fingerprint, then authority file, then not at all if so asked, else the system's authorities.
    pub fn trust(&self, root: &std::path::Path) -> Result<Trust, Failure> {
        let given = |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        if let Some(pin) = given(&self.fingerprint) {
            let digits: String = pin.chars().filter(|c| *c != ':').collect();
            if digits.len() != 64 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(Failure::yours(format!("`{pin}` is no SHA-256 fingerprint: 64 hex digits are expected"))
                    .help("`pvenode cert info` on the node shows it"));
            }
            return Ok(Trust::Fingerprint(digits.to_ascii_lowercase()));
        }
        if let Some(file) = given(&self.ca_file) {
            return Ok(Trust::CaFile(root.join(file)));
        }
        Ok(if self.skip_tls_verify { Trust::Skip } else { Trust::System })
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Account {
    /// Nobody: the login itself.
    Nobody,
    /// A ticket or API token behind a handle, opened at each request and renewed when it is refused; the CSRF token goes with a ticket only.
    Handle {
        /// A ticket, or an API token as `user@realm!id=uuid`.
        ticket: Credential,
        /// Sent with writes.
        csrf: Option<Credential>,
    },
    /// A ticket or API token in hand.
    Open {
        /// As above.
        ticket: Secret,
        /// As above.
        csrf: Option<Secret>,
    },
}

/// Whether a ticket's text is an API token: it names user, realm and token id, and tickets begin with `PVE:`.
pub fn is_token(ticket: &Secret) -> bool {
    let text = ticket.expose();
    !text.starts_with("PVE:") && text.split_once('=').is_some_and(|(name, _)| name.contains('@') && name.contains('!'))
}

/// Whose ticket or token it is: the part before the secret. `None` for texts of neither form.
pub fn subject(ticket: &Secret) -> Option<String> {
    let text = ticket.expose();
    if is_token(ticket) {
        return text.split_once('=').map(|(name, _)| name.to_owned());
    }
    text.strip_prefix("PVE:")?.split_once(':').map(|(user, _)| user.to_owned())
}

/// The API of one endpoint, for one call of a method.
pub struct Api<'a> {
    /// The call's context.
    pub ctx: &'a Context,
    /// The node that the definition names.
    pub node: String,
    base: String,
    trust: Trust,
    account: Account,
}

/// One request before it is dressed with an account.
struct Ask<'q> {
    method: Method,
    path: &'q str,
    fields: Vec<(String, Field)>,
}

impl<'a> Api<'a> {
    /// The API at `endpoint`, asked by `account`. Warns when certificates are not checked.
    pub fn new(ctx: &'a Context, endpoint: &Endpoint, account: Account) -> Result<Self, Failure> {
        let base = endpoint.base()?;
        let trust = endpoint.trust(&ctx.root)?;
        if trust == Trust::Skip {
            ctx.reporter.warn(&format!(
                "the certificate of {} is not checked (skipTlsVerify): set `fingerprint` or `caFile`",
                base.trim_start_matches("https://")
            ));
        }
        Ok(Self { ctx, node: endpoint.node.clone(), base, trust, account })
    }

    /// `host:port`.
    pub fn host(&self) -> &str {
        self.base.trim_start_matches("https://")
    }

    /// `host:port` under the scheme, as `Endpoint::base` made it.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The same API for another account.
    #[must_use]
    pub fn with_account(self, account: Account) -> Self {
        Self { account, ..self }
    }

    /// Reads. `path` begins with a slash; the answer is the body's `data`.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Json, ApiError> {
        self.ask(Ask { method: Method::Get, path, fields: plain(query) }).await
    }

    /// Acts.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Json, ApiError> {
        self.ask(Ask { method: Method::Post, path, fields: plain(form) }).await
    }

    /// Replaces.
    pub async fn put(&self, path: &str, form: &[(&str, &str)]) -> Result<Json, ApiError> {
        self.ask(Ask { method: Method::Put, path, fields: plain(form) }).await
    }

    /// Removes. The parameters go into the query: Proxmox refuses a body, in 9.2 by dropping the connection.
    pub async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<Json, ApiError> {
        self.ask(Ask { method: Method::Delete, path, fields: plain(query) }).await
    }

    /// The login: the one write whose parameters hold a secret and which needs no account.
    pub async fn login(&self, username: &str, password: Secret) -> Result<Json, ApiError> {
        let fields = vec![("username".to_owned(), username.into()), ("password".to_owned(), password.into())];
        self.ask(Ask { method: Method::Post, path: "/access/ticket", fields }).await
    }

    /// Whose ticket or token is used; for messages about rights.
    pub async fn subject(&self) -> Option<String> {
        let (ticket, _) = self.open(Method::Get).await.ok()?;
        subject(&ticket?)
    }

    /// Reads, and tells the moment at which the server says that it answered, in seconds since 1970.
    pub async fn get_dated(&self, path: &str) -> Result<(Json, Option<i64>), ApiError> {
        let ask = Ask { method: Method::Get, path, fields: Vec::new() };
        let answer = self.answered(&ask).await?;
        let date = answer.header("date").and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp().as_second());
        Ok((self.judge(&ask, &answer)?, date))
    }

    async fn ask(&self, ask: Ask<'_>) -> Result<Json, ApiError> {
        let answer = self.answered(&ask).await?;
        self.judge(&ask, &answer)
    }

    async fn answered(&self, ask: &Ask<'_>) -> Result<Response, ApiError> {
        let (ticket, csrf) = self.open(ask.method).await.map_err(|e| self.error(ask, ErrorKind::Credential(Box::new(e))))?;
        let answer = self.send(ask, ticket.as_ref(), csrf.as_ref()).await?;
        let (401, Some(stale), Account::Handle { ticket: handle, .. }) = (answer.status, &ticket, &self.account) else {
            return Ok(answer);
        };
        if is_token(stale) {
            return Ok(answer);
        }
        // A 401 is given before the request reaches its handler, so that a write may be sent a second time as safely as a read.
        let renewed = self.ctx.credentials.renew(handle, stale).await;
        renewed.map_err(|e| self.error(ask, ErrorKind::Credential(Box::new(e))))?;
        let (ticket, csrf) = self.open(ask.method).await.map_err(|e| self.error(ask, ErrorKind::Credential(Box::new(e))))?;
        self.send(ask, ticket.as_ref(), csrf.as_ref()).await
    }

    /// Ticket and CSRF token for a request; the latter only where it counts.
    async fn open(&self, method: Method) -> Result<(Option<Secret>, Option<Secret>), Failure> {
        let (ticket, csrf) = match &self.account {
            Account::Nobody => return Ok((None, None)),
            Account::Open { ticket, csrf } => return Ok((Some(ticket.clone()), csrf.clone())),
            Account::Handle { ticket, csrf } => (self.ctx.credentials.open(ticket).await?, csrf),
        };
        let csrf = match csrf {
            Some(csrf) if method != Method::Get && !is_token(&ticket) => Some(self.ctx.credentials.open(csrf).await?),
            _ => None,
        };
        Ok((Some(ticket), csrf))
    }

    async fn send(&self, ask: &Ask<'_>, ticket: Option<&Secret>, csrf: Option<&Secret>) -> Result<Response, ApiError> {
        let mut request = Request::new(ask.method, format!("{}/api2/json{}", self.base, ask.path));
        match ask.method {
            Method::Get | Method::Delete => request.query = ask.fields.clone(),
            Method::Post | Method::Put => request.form = ask.fields.clone(),
        }
        if let Some(ticket) = ticket {
            let (header, prefix) = if is_token(ticket) { ("Authorization", "PVEAPIToken=") } else { ("Cookie", "PVEAuthCookie=") };
            let value = Secret::new(format!("{prefix}{}", ticket.expose()), ticket.origin().clone());
            request.headers.push((header.to_owned(), value.into()));
        }
        if let (Some(csrf), true) = (csrf, ask.method != Method::Get) {
            request.headers.push(("CSRFPreventionToken".to_owned(), csrf.clone().into()));
        }
        request.trust = self.trust.clone();
        request.deadline = DEADLINE;
        self.ctx.wire.http.send(request).await.map_err(|e| self.error(ask, ErrorKind::NoAnswer(e)))
    }

    fn judge(&self, ask: &Ask<'_>, answer: &Response) -> Result<Json, ApiError> {
        let body: Option<Json> = serde_json::from_slice(&answer.body).ok();
        if (200..300).contains(&answer.status) {
            let data = body.and_then(|mut body| body.get_mut("data").map(Json::take));
            return data.ok_or_else(|| self.error(ask, ErrorKind::Garbage { status: answer.status, start: beginning(&answer.body) }));
        }
        let reason = reason(answer, body.as_ref());
        let kind = match answer.status {
            // Statuses of the proxying node: it lost the other one, or the daemon died while answering. 502 to 504 are those of a proxy in front.
            595..=599 | 502..=504 => ErrorKind::Unclear { status: answer.status, reason },
            status => ErrorKind::Refused { status, reason, date: answer.header("date").map(str::to_owned) },
        };
        Err(self.error(ask, kind))
    }

    fn error(&self, ask: &Ask<'_>, kind: ErrorKind) -> ApiError {
        let verb = match ask.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        let write = ask.method != Method::Get;
        ApiError { host: self.host().to_owned(), request: format!("{verb} {}", ask.path), write, kind: Box::new(kind) }
    }
}

fn plain(fields: &[(&str, &str)]) -> Vec<(String, Field)> {
    fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(120).collect()
}

/// The most specific reason: what is wrong with which parameter, else the message, else the status line, else the body.
fn reason(answer: &Response, body: Option<&Json>) -> String {
    let parameter = |(key, text): (&String, &Json)| format!("{key}: {}", text.as_str().unwrap_or_default().trim().replace('\n', "; "));
    let errors = body.and_then(|body| body.get("errors")?.as_object());
    let mut errors: Vec<String> = errors.map(|errors| errors.iter().map(parameter).collect()).unwrap_or_default();
    errors.sort();
    let message = body.and_then(|body| body.get("message")?.as_str()).map(str::trim).filter(|text| !text.is_empty());
    let status = Some(answer.reason.trim()).filter(|text| !text.is_empty());
    if errors.is_empty() { message.or(status).map_or_else(|| beginning(&answer.body), str::to_owned) } else { errors.join(", ") }
}

/// A request that did not give what was asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{host}: {request}: {kind}")]
pub struct ApiError {
    /// `host:port`.
    pub host: String,
    /// Method and path.
    pub request: String,
    /// Whether the request was meant to change something.
    pub write: bool,
    /// What came instead.
    pub kind: Box<ErrorKind>,
}

/// What came instead of an answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ErrorKind {
    /// The server said no.
    #[error("{reason} ({status})")]
    Refused {
        /// The status code.
        status: u16,
        /// The most specific reason it gave.
        reason: String,
        /// Its clock, as the `Date` header has it.
        date: Option<String>,
    },
    /// A proxy on the way gave up: nobody knows whether the request acted.
    #[error("{reason} ({status}: the connection between Proxmox's own daemons broke)")]
    Unclear {
        /// The status code, mostly 595 to 599.
        status: u16,
        /// The reason it gave.
        reason: String,
    },
    /// No answer.
    #[error("{0}")]
    NoAnswer(HttpError),
    /// A good status with a body that is not the API's.
    #[error("the answer ({status}) is not that of a Proxmox API: `{start}`")]
    Garbage {
        /// The status code.
        status: u16,
        /// The body's beginning.
        start: String,
    },
    /// The account could not be opened.
    #[error("{0}")]
    Credential(Box<Failure>),
}

impl ApiError {
    /// The server's own reason, empty when there was no answer.
    pub fn reason(&self) -> &str {
        match &*self.kind {
            ErrorKind::Refused { reason, .. } | ErrorKind::Unclear { reason, .. } => reason,
            _ => "",
        }
    }

    /// The status of a clear refusal.
    pub const fn refused(&self) -> Option<u16> {
        if let ErrorKind::Refused { status, .. } = &*self.kind { Some(*status) } else { None }
    }

    /// Whether the request may have acted all the same.
    pub const fn maybe_acted(&self) -> bool {
        self.write
            && match &*self.kind {
                ErrorKind::Unclear { .. } | ErrorKind::Garbage { .. } => true,
                ErrorKind::NoAnswer(error) => !error.certainly_not_sent(),
                ErrorKind::Refused { .. } | ErrorKind::Credential(_) => false,
            }
    }

    /// Whether asking the same again may well succeed: the answer was lost, not refused.
    pub const fn passing(&self) -> bool {
        matches!(
            &*self.kind,
            ErrorKind::Unclear { .. }
                | ErrorKind::NoAnswer(HttpError::Connect { .. } | HttpError::Deadline { .. } | HttpError::Broken { .. })
        )
    }

    /// Whether the machine's configuration is not on the node that was asked: deleted, or moved to another.
    pub fn no_such_vm(&self) -> bool {
        self.refused() == Some(500) && self.reason().contains("Configuration file") && self.reason().contains("does not exist")
    }

    /// The right that is missing, as `(path, privilege)`.
    pub fn missing_right(&self) -> Option<(&str, &str)> {
        if self.refused() != Some(403) {
            return None;
        }
        self.reason().split_once('(')?.1.split_once(')')?.0.split_once(", ")
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let maybe = error.maybe_acted();
        let help = help(&error);
        let message = match *error.kind {
            ErrorKind::Credential(failure) => return *failure,
            _ => error.to_string(),
        };
        let mut failure = Self::theirs(message);
        failure.help = help;
        if maybe { failure.maybe_acted() } else { failure }
    }
}

fn help(error: &ApiError) -> Option<String> {
    if let Some((path, privilege)) = error.missing_right() {
        return Some(format!(
            "the account lacks {privilege} on {path}: `pveum acl modify {path} --users USER@REALM --roles PVEVMAdmin` (for a token: --tokens 'USER@REALM!ID')"
        ));
    }
    match &*error.kind {
        ErrorKind::Refused { status: 401, .. } => {
            Some("log in again, or check that the API token exists and its secret is right".to_owned())
        }
        ErrorKind::Garbage { .. } => Some("apiUrl must lead to a Proxmox API, such as https://10.0.0.4:8006".to_owned()),
        ErrorKind::NoAnswer(HttpError::Untrusted { .. }) => {
            Some("set `fingerprint` (`pvenode cert info` on the node shows it) or `caFile` (a copy of /etc/pve/pve-root-ca.pem)".to_owned())
        }
        _ => None,
    }
}

/// A field as text, whether Proxmox wrote it as text or number: it does both, by version.
pub fn text(json: &Json, key: &str) -> Option<String> {
    match json.get(key)? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(u8::from(*flag).to_string()),
        _ => None,
    }
}

/// A field as a whole number, whether Proxmox wrote it as text or number.
pub fn number(json: &Json, key: &str) -> Option<u64> {
    match json.get(key)? {
        Json::Number(number) => number.as_u64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    }
}
