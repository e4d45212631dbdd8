//! The gateway's sessions: what each is told, in which order, and what it has missed.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

/// How many events a session can have missed and still be taken up again.
const KEPT: usize = 5000;

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It is served.
    Open,
    /// It is cut at once.
    Shut,
    /// It is accepted, and nothing is ever said.
    Silent,
}

/// What a connection is to do besides events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Cut it without a word.
    Drop,
    /// Ask the client to come again (op 7).
    Reconnect,
    /// Tell the client that its session is over (op 9), or that it may resume it.
    Invalidate(bool),
    /// Close it with a code.
    Close(u16),
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// What a RESUME names.
    pub id: String,
    /// What it listens to.
    pub intents: u64,
    /// The number of its newest event.
    pub seq: u64,
    /// Its newest events.
    pub log: VecDeque<(u64, String)>,
    /// The connection that carries it.
    pub line: Option<u64>,
    /// What that connection is to do.
    pub orders: VecDeque<Order>,
}

/// All sessions, and how the gateway behaves.
#[derive(Debug)]
pub struct Sessions {
    /// The ones that can be resumed or are connected.
    pub live: Vec<Session>,
    /// What becomes of a new connection.
    pub door: Door,
    /// What clients are told.
    pub heartbeat: Duration,
    /// Whether the portal's switches for privileged intents are on.
    pub privileged: bool,
    /// Heartbeats are not acknowledged.
    pub miss_acks: bool,
    /// A RESUME replays one event that the client had before.
    pub repeat_on_resume: bool,
    /// Every IDENTIFY is answered by a close with 4000.
    pub refuse_identifies: bool,
    /// Where it is.
    pub url: String,
    /// How many connections there were.
    pub lines: u64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            live: Vec::new(),
            door: Door::Open,
            heartbeat: Duration::from_millis(41_250),
            privileged: true,
            miss_acks: false,
            repeat_on_resume: false,
            refuse_identifies: false,
            url: String::new(),
            lines: 0,
        }
    }
}

impl Session {
    /// A session that begins.
    pub fn new(id: String, intents: u64, line: u64) -> Self {
        Self { id, intents, seq: 0, log: VecDeque::new(), line: Some(line), orders: VecDeque::new() }
    }

    /// Adds an event.
    pub fn push(&mut self, event: &str, data: &Value) {
        self.seq += 1;
        self.log.push_back((self.seq, json!({"op": 0, "t": event, "s": self.seq, "d": data}).to_string()));
        if self.log.len() > KEPT {
            self.log.pop_front();
        }
    }

    /// Whether every event behind `seq` is still known.
    pub fn remembers(&self, seq: u64) -> bool {
        self.log.front().map_or(seq == self.seq, |(first, _)| *first <= seq + 1)
    }
}

impl Sessions {
    /// Adds an event to every session that listens to it.
    pub fn dispatch(&mut self, event: &str, intent: u64, data: impl Fn(u64) -> Value) {
        for session in self.live.iter_mut().filter(|session| intent == 0 || session.intents & intent != 0) {
            let data = data(session.intents);
            session.push(event, &data);
        }
    }

    /// Gives an order to every connection that carries a session.
    pub fn order(&mut self, order: Order) {
        for session in self.live.iter_mut().filter(|session| session.line.is_some()) {
            session.orders.push_back(order);
        }
    }

    /// A session by its id.
    pub fn of(&mut self, id: &str) -> Option<&mut Session> {
        self.live.iter_mut().find(|session| session.id == id)
    }

    /// Ends a session for good.
    pub fn forget(&mut self, id: &str) {
        self.live.retain(|session| session.id != id);
    }
}
