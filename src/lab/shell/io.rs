//! Where a command reads and writes: nothing, bytes, a file of the machine, or the far end of an SSH channel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::world::World;
use crate::lab::host::files::CAPACITY;

/// What goes to the far end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Standard output.
    Out(Vec<u8>),
    /// Standard error.
    Err(Vec<u8>),
    /// The shell ended; output of what it left in the background may follow.
    Exit(i32),
    /// The shell was killed by a signal.
    Killed,
}

/// Where input comes from.
pub enum Source {
    /// `/dev/null`, or closed.
    Empty,
    /// These bytes, read up to the position.
    Bytes(Vec<u8>, usize),
    /// The far end; what came and was not read yet stands first.
    Remote(mpsc::UnboundedReceiver<Vec<u8>>, Vec<u8>),
}

/// Standard input, shared by all that inherit it.
#[derive(Clone)]
pub struct Input(Arc<Mutex<Source>>);

impl Input {
    /// From `source`.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self(Arc::new(Mutex::new(source)))
    }

    /// Of these bytes.
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self::new(Source::Bytes(bytes, 0))
    }

    /// The next bytes, none at the end. Blocks for the far end.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        match &mut *lock(&self.0) {
            Source::Empty => Vec::new(),
            Source::Bytes(bytes, at) => {
                let rest = bytes.split_off((*at).min(bytes.len()));
                *at = bytes.len();
                rest
            }
            Source::Remote(channel, pending) if pending.is_empty() => channel.blocking_recv().unwrap_or_default(),
            Source::Remote(_, pending) => std::mem::take(pending),
        }
    }

    /// All that is left, at most what a machine holds.
    #[must_use]
    pub fn read_all(&self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let more = self.read();
            if more.is_empty() || all.len() as u64 > CAPACITY {
                return all;
            }
            all.extend(more);
        }
    }

    /// Up to and with the next newline; none at the end.
    #[must_use]
    pub fn read_line(&self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let mut more = self.read();
            if more.is_empty() {
                return (!line.is_empty()).then_some(line);
            }
            if let Some(end) = more.iter().position(|b| *b == b'\n') {
                let rest = more.split_off(end + 1);
                line.extend(more);
                self.give_back(rest);
                return Some(line);
            }
            line.extend(more);
        }
    }

    fn give_back(&self, rest: Vec<u8>) {
        match &mut *lock(&self.0) {
            Source::Empty => {}
            Source::Bytes(bytes, at) => {
                *bytes = rest;
                *at = 0;
            }
            Source::Remote(_, pending) => *pending = rest,
        }
    }
}

/// Where output goes.
#[derive(Clone)]
pub enum Sink {
    /// `/dev/null`, or closed.
    Null,
    /// Memory.
    Buffer(Arc<Mutex<Vec<u8>>>),
    /// The end of a file of the machine, by real path.
    File(World, String),
    /// The far end's standard output.
    RemoteOut(mpsc::Sender<Sent>),
    /// The far end's standard error.
    RemoteErr(mpsc::Sender<Sent>),
}

impl Sink {
    /// A buffer and the sink into it.
    #[must_use]
    pub fn buffer() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        (Self::Buffer(Arc::clone(&buffer)), buffer)
    }

    /// Writes all of it; false when it cannot be written (a full disk, a far end that is gone).
    pub fn write(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Null => true,
            Self::Buffer(buffer) => {
                let mut buffer = lock(buffer);
                let fits = (buffer.len() + bytes.len()) as u64 <= CAPACITY;
                if fits {
                    buffer.extend_from_slice(bytes);
                }
                fits
            }
            Self::File(world, path) => world.files(|files| files.append(path, bytes, 0o644)).is_ok(),
            Self::RemoteOut(far) => bytes.chunks(32 << 10).all(|part| far.blocking_send(Sent::Out(part.to_vec())).is_ok()),
            Self::RemoteErr(far) => bytes.chunks(32 << 10).all(|part| far.blocking_send(Sent::Err(part.to_vec())).is_ok()),
        }
    }
}

/// The three standard streams.
#[derive(Clone)]
pub struct Io {
    /// 0.
    pub stdin: Input,
    /// 1.
    pub stdout: Sink,
    /// 2.
    pub stderr: Sink,
}

/// The bytes in a buffer, taken out.
#[must_use]
pub fn take(buffer: &Mutex<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut *lock(buffer))
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
