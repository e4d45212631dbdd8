//! HTTP as models speak it: requests whose secrets stay secrets, answers with the server's own reason, errors that say whether the request may have acted.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::secret::Secret;

/// The methods in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Acts.
    Post,
    /// Replaces.
    Put,
    /// Removes; parameters go into the query, never into a body.
    Delete,
}

/// A header's or parameter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// May be shown.
    Plain(String),
    /// Must not.
    Secret(Secret),
}

impl Field {
    /// The text for the wire.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose(),
        }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}
impl From<String> for Field {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}
impl From<Secret> for Field {
    fn from(secret: Secret) -> Self {
        Self::Secret(secret)
    }
}

/// How the server's certificate is judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trust {
    /// The certificate authorities of the system.
    System,
    /// A PEM file with one or more authorities.
    CaFile(PathBuf),
    /// The SHA-256 of the leaf certificate: 64 hex digits, colons and case ignored.
    Fingerprint(String),
    /// Nothing is checked; pmx warns on every run.
    Skip,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// `https://host:port/path`, without a query.
    pub url: String,
    /// Query parameters (GET, DELETE), percent-encoded by the client.
    pub query: Vec<(String, Field)>,
    /// Form parameters (POST, PUT): every byte but letters, digits and `-_.~` is percent-encoded, because Proxmox cuts values at a bare `=` or `;`.
    pub form: Vec<(String, Field)>,
    /// Headers beyond the usual.
    pub headers: Vec<(String, Field)>,
    /// How the certificate is judged.
    pub trust: Trust,
    /// From the first byte of the connection to the last byte of the answer.
    pub deadline: Duration,
}

impl Request {
    /// A request without parameters, with the system's trust and 30 seconds.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            query: Vec::new(),
            form: Vec::new(),
            headers: Vec::new(),
            trust: Trust::System,
            deadline: Duration::from_secs(30),
        }
    }
}

/// One answer, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code; Proxmox uses 595 to 599 too.
    pub status: u16,
    /// The phrase of the status line as the server wrote it.
    pub reason: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, at most 64 MiB.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum HttpError {
    /// No connection: the request was certainly not seen.
    #[error("could not connect to {host}: {cause}")]
    Connect {
        /// `host:port` as configured.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// The certificate was refused: the request was certainly not seen.
    #[error("the certificate of {host} is not trusted: {cause}")]
    Untrusted {
        /// `host:port`.
        host: String,
        /// Which check failed, and for a pin both fingerprints.
        cause: String,
    },
    /// The address map is closed and does not name this address.
    #[error("{host} is not in the profile's connect map, and the profile is closed: nothing was dialled")]
    OffTheMap {
        /// `host:port`.
        host: String,
    },
    /// The deadline passed; the request may have acted.
    #[error("no answer from {host} within {seconds} s ({request})")]
    Deadline {
        /// `host:port`.
        host: String,
        /// The deadline in seconds.
        seconds: u64,
        /// Method and path.
        request: String,
    },
    /// The connection broke after the request was sent; it may have acted.
    #[error("{host} closed the connection during {request}: {cause}")]
    Broken {
        /// `host:port`.
        host: String,
        /// Method and path.
        request: String,
        /// What the system said.
        cause: String,
    },
    /// The request could not be built: a bug or a malformed URL.
    #[error("`{url}` cannot be requested: {cause}")]
    Malformed {
        /// The URL as given.
        url: String,
        /// Why not.
        cause: String,
    },
}

impl HttpError {
    /// Whether the server certainly did not see the request, so that even a POST may be sent again.
    pub const fn certainly_not_sent(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Untrusted { .. } | Self::OffTheMap { .. } | Self::Malformed { .. })
    }
}

/// An HTTP client. One for the whole process; it keeps connections alive per host and trust.
pub trait Http: Send + Sync {
    /// Sends one request. A kept connection that the server closed while idle is replaced without notice (GET, or nothing was written yet); anything
    /// that may have acted is an error, never repeated here.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, HttpError>>;
}
