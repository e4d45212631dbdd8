//! TCP that follows a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::locked;
use crate::wire::map::Address;
use crate::wire::tcp::{Conversation, Tcp, TcpError};

/// A TCP client whose conversations are scripted; where nothing is scripted, nobody listens. That is what a machine without the service does, so a method
/// that tries a port first needs no script for it.
#[derive(Clone, Default)]
pub struct ScriptedTcp {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    entries: VecDeque<Entry>,
    dialled: Vec<String>,
}

struct Entry {
    address: String,
    /// What is answered to each piece that is sent; an answer without bytes ends the conversation.
    answers: Result<VecDeque<Vec<u8>>, TcpError>,
    always: bool,
}

impl ScriptedTcp {
    /// An empty script.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next conversation with `address` answers each piece that is sent with one of these, in order.
    #[must_use]
    pub fn expect(self, address: &str, answers: &[&[u8]]) -> Self {
        self.push(address, Ok(answers.iter().map(|bytes| bytes.to_vec()).collect()), false)
    }

    /// Every conversation with `address` answers so, as long as no other is scripted.
    #[must_use]
    pub fn always(self, address: &str, answers: &[&[u8]]) -> Self {
        self.push(address, Ok(answers.iter().map(|bytes| bytes.to_vec()).collect()), true)
    }

    /// The next conversation with `address` does not come to be.
    #[must_use]
    pub fn expect_error(self, address: &str, error: TcpError) -> Self {
        self.push(address, Err(error), false)
    }

    /// The addresses that were dialled.
    pub fn dialled(&self) -> Vec<String> {
        locked(&self.script).dialled.clone()
    }

    /// Asserts that every expected conversation was held.
    pub fn finish(&self) {
        let left: Vec<String> = locked(&self.script).entries.iter().filter(|e| !e.always).map(|e| e.address.clone()).collect();
        assert!(left.is_empty(), "the TCP script was not used up; never dialled: {left:?}");
    }

    fn push(self, address: &str, answers: Result<VecDeque<Vec<u8>>, TcpError>, always: bool) -> Self {
        locked(&self.script).entries.push_back(Entry { address: address.to_owned(), answers, always });
        self
    }
}

struct Talk(VecDeque<Vec<u8>>, Option<Vec<u8>>);

impl Tcp for ScriptedTcp {
    fn connect<'a>(&'a self, to: &'a Address, _deadline: Duration) -> BoxFuture<'a, Result<Box<dyn Conversation>, TcpError>> {
        Box::pin(async move {
            let (mut script, address) = (locked(&self.script), to.to_string());
            script.dialled.push(address.clone());
            let once = script.entries.iter().position(|entry| entry.address == address && !entry.always);
            let answers = match once.and_then(|at| script.entries.remove(at)) {
                Some(entry) => entry.answers,
                None => match script.entries.iter().find(|entry| entry.address == address) {
                    Some(entry) => entry.answers.clone(),
                    None => Err(TcpError::Connect { address, cause: "Connection refused (os error 111)".to_owned(), refused: true }),
                },
            };
            answers.map(|answers| Box::new(Talk(answers, None)) as Box<dyn Conversation>)
        })
    }
}

impl Conversation for Talk {
    fn send<'a>(&'a mut self, _bytes: &'a [u8]) -> BoxFuture<'a, Result<(), TcpError>> {
        self.1 = self.0.pop_front();
        Box::pin(async { Ok(()) })
    }

    fn receive(&mut self) -> BoxFuture<'_, Result<Vec<u8>, TcpError>> {
        let bytes = self.1.take().unwrap_or_default();
        Box::pin(async { Ok(bytes) })
    }
}
