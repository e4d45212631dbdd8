//! Plain TCP conversations for protocols that need neither TLS nor SSH: a game's ping, its remote console.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wire::map::{Address, ConnectMap};
use crate::wire::names;

/// How much one look at the socket may bring.
const CHUNK: usize = 16 << 10;

/// Why a conversation came to nothing.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum TcpError {
    /// Nobody answered at that address.
    #[error("could not connect to {address}: {cause}")]
    Connect {
        /// `host:port`.
        address: String,
        /// What the system said.
        cause: String,
        /// Whether the machine said that nobody listens there.
        refused: bool,
    },
    /// The address map is closed and does not name this address.
    #[error("{address} is not in the profile's connect map, and the profile is closed: nothing was dialled")]
    OffTheMap {
        /// `host:port`.
        address: String,
    },
    /// The deadline passed.
    #[error("{address}: no end within {seconds} s")]
    Deadline {
        /// `host:port`.
        address: String,
        /// The deadline in seconds.
        seconds: u64,
    },
    /// The connection broke.
    #[error("{address}: the connection broke: {cause}")]
    Broken {
        /// `host:port`.
        address: String,
        /// What the system said.
        cause: String,
    },
}

/// A TCP client.
pub trait Tcp: Send + Sync {
    /// Opens a conversation that must be over, from this call to its last byte, within `deadline`.
    fn connect<'a>(&'a self, to: &'a Address, deadline: Duration) -> BoxFuture<'a, Result<Box<dyn Conversation>, TcpError>>;
}

/// An open conversation; dropping it ends it.
pub trait Conversation: Send {
    /// Sends all of `bytes`.
    fn send<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), TcpError>>;
    /// The next bytes, as many as there are; none when the other side has ended it.
    fn receive(&mut self) -> BoxFuture<'_, Result<Vec<u8>, TcpError>>;
}

/// The real client, with the profile's addresses.
pub struct TcpClient {
    map: ConnectMap,
}

impl TcpClient {
    /// A client that dials what `map` says.
    pub const fn new(map: ConnectMap) -> Self {
        Self { map }
    }
}

struct Open {
    stream: TcpStream,
    address: String,
    until: tokio::time::Instant,
    deadline: Duration,
}

impl Tcp for TcpClient {
    fn connect<'a>(&'a self, to: &'a Address, deadline: Duration) -> BoxFuture<'a, Result<Box<dyn Conversation>, TcpError>> {
        Box::pin(async move {
            let address = to.to_string();
            let dialled = self.map.resolve(to).map_err(|_| TcpError::OffTheMap { address: address.clone() })?;
            let dialling = tokio::time::timeout(deadline, names::connect(&dialled.host, dialled.port));
            // The timer counts from here, as the dialling does: together they are one deadline.
            let until = now() + deadline;
            let done = dialling.await.map_err(|_| TcpError::Deadline { address: address.clone(), seconds: deadline.as_secs() })?;
            let stream = done.map_err(|e| TcpError::Connect {
                address: address.clone(),
                cause: e.to_string(),
                refused: e.kind() == std::io::ErrorKind::ConnectionRefused,
            })?;
            let _: Result<(), std::io::Error> = stream.set_nodelay(true);
            Ok(Box::new(Open { stream, address, until, deadline }) as Box<dyn Conversation>)
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline that spans several awaits needs a moment, and this is the wire")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

impl Open {
    fn late(&self) -> TcpError {
        TcpError::Deadline { address: self.address.clone(), seconds: self.deadline.as_secs() }
    }

    fn broken(&self, cause: &std::io::Error) -> TcpError {
        TcpError::Broken { address: self.address.clone(), cause: cause.to_string() }
    }
}

impl Conversation for Open {
    fn send<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, Result<(), TcpError>> {
        Box::pin(async move {
            let done = tokio::time::timeout_at(self.until, self.stream.write_all(bytes)).await;
            done.map_err(|_| self.late())?.map_err(|e| self.broken(&e))
        })
    }

    fn receive(&mut self) -> BoxFuture<'_, Result<Vec<u8>, TcpError>> {
        Box::pin(async move {
            let mut bytes = vec![0; CHUNK];
            let done = tokio::time::timeout_at(self.until, self.stream.read(&mut bytes)).await;
            let count = done.map_err(|_| self.late())?.map_err(|e| self.broken(&e))?;
            bytes.truncate(count);
            Ok(bytes)
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, Address) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, Address::new("127.0.0.1", port))
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_is_told() {
        let (listener, at) = listener().await;
        let map = format!("127.0.0.1:{}", at.port);
        let client = TcpClient::new(ConnectMap::parse([("game.lab:25565", map.as_str())], true).unwrap());
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(&asked).await.unwrap();
        };
        let talk = async {
            let mut open = client.connect(&Address::new("game.lab", 25565), Duration::from_secs(5)).await.unwrap();
            open.send(b"ping").await.unwrap();
            assert_eq!(open.receive().await.unwrap(), b"ping");
            assert!(open.receive().await.unwrap().is_empty());
        };
        tokio::join!(serve, talk);
        let off = client.connect(&at, Duration::from_secs(5)).await.err().unwrap();
        assert!(matches!(off, TcpError::OffTheMap { .. }), "{off}");
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline_and_nobody_is_refused() {
        let (listener, at) = listener().await;
        let client = TcpClient::new(ConnectMap::open());
        let mut open = client.connect(&at, Duration::from_millis(200)).await.unwrap();
        assert!(matches!(open.receive().await.unwrap_err(), TcpError::Deadline { .. }));
        drop(listener);
        let error = client.connect(&at, Duration::from_secs(5)).await.err().unwrap();
        assert!(matches!(error, TcpError::Connect { refused: true, .. }), "{error}");
    }
}
