//! A Discord of our own: API v10 over TLS and its gateway on this machine's loopback, as strict as the real one, driven by a test.
//!
//! * Everything is one [`state::State`] under one lock; requests, gateway lines and tests change it, and everyone who waits is told of each change.
//! * It lives on a thread and a runtime of its own, so that a test may block; the last handle that is dropped ends it.
//! * Lengths are counted in Unicode code points, as the API does.
//! * Stricter than the real one, on purpose: names of commands are ASCII, mentions in backticks count as pings, and an edit over the channel's route
//!   leaves "… is thinking" standing. What is not imitated (uploads, modals, polls, threads, reactions, Components V2, zlib) is refused with status 501
//!   and stands among the violations.

mod asked;
mod commands;
mod form;
mod gateway;
mod ids;
mod interaction;
mod limits;
mod message;
mod people;
mod place;
mod rates;
mod record;
mod refusal;
mod rest;
mod routes;
mod seen;
mod session;
mod state;
mod tls;
mod weather;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use state::State;

pub use asked::Asked;
pub use interaction::First;
pub use message::Message;
pub use session::Door;

/// Somebody, or the bot.
pub type UserId = u64;
/// A channel of the guild, or a talk.
pub type ChannelId = u64;
/// A role of the guild.
pub type RoleId = u64;
/// A message.
pub type MessageId = u64;

/// The one token that is good.
const TOKEN: &str = "MTE4.stand-in.4dfb1c0a7e";

/// What `GET /gateway` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// Where the stand-in's own is.
    Here,
    /// An error of this status.
    Fails(u16),
    /// This address.
    Elsewhere(String),
}

/// What requests, lines and tests share.
pub struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl Shared {
    /// Changes the state, and tells everyone who waits.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = self.quietly(change);
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Changes the state where nobody else can care.
    pub fn quietly<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the state.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.quietly(|state| look(state))
    }

    /// What says that something has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// A handle on a running stand-in.
#[derive(Clone)]
pub struct Discord {
    shared: Arc<Shared>,
    running: Arc<Running>,
}

struct Running {
    rest: SocketAddr,
    folder: tempfile::TempDir,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Discord {
    /// Starts one, with a guild in which nobody is but its owner and the bot.
    ///
    /// # Panics
    /// When there is no loopback to bind to.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("pmx-discord-").tempdir().expect("a temporary directory can be made");
        let acceptor = tls::acceptor(&folder.path().join("ca.pem"));
        let shared = Arc::new(Shared { state: Mutex::new(State::new(TOKEN)), changed: watch::Sender::new(0) });
        let bind = || {
            let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("loopback can be bound to");
            socket.set_nonblocking(true).expect("a socket can be made to wait for nobody");
            let at = socket.local_addr().expect("a bound socket has an address");
            (socket, at)
        };
        let ((rest_socket, rest), (line_socket, line)) = (bind(), bind());
        shared.quietly(|state| state.sessions.url = format!("ws://{line}"));
        let (end, ended) = oneshot::channel();
        let inside = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async move {
                let listen = |socket| tokio::net::TcpListener::from_std(socket).expect("the socket is one of this runtime");
                let serving = async {
                    tokio::join!(
                        rest::serve(listen(rest_socket), acceptor, Arc::clone(&inside)),
                        gateway::serve(listen(line_socket), Arc::clone(&inside))
                    )
                };
                tokio::select! { _ = serving => {}, _ = ended => {} }
            });
        });
        let running = Running { rest, folder, end: Some(end), thread: Some(thread) };
        Self { shared, running: Arc::new(running) }
    }

    /// The token that the bot is to have.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// The certificate of the authority that REST is to be trusted by: `PMX_DISCORD_CA`.
    pub fn ca_file(&self) -> std::path::PathBuf {
        self.folder().join("ca.pem")
    }

    /// Where REST is, whatever its name: `PMX_DISCORD_AT`.
    pub fn rest_at(&self) -> SocketAddr {
        self.running.rest
    }

    fn folder(&self) -> &Path {
        self.running.folder.path()
    }
}
