//! RCON: commands with their answers over TCP, where the server offers it.

use std::time::Duration;

use crate::model::contract::{Context, Failure};
use crate::secret::Secret;
use crate::wire::map::Address;
use crate::wire::tcp::{Conversation, TcpError};

/// Longer commands make the server end the conversation.
const LONGEST: usize = 1446;
/// One piece of an answer holds at most 4 KiB of text.
const LARGEST_PIECE: usize = 4096 + 64;
/// An answer has no end mark of its own; this is far more than any list of players.
const MOST_PIECES: usize = 256;

const LOGIN: i32 = 3;
const COMMAND: i32 = 2;
/// No server knows it: its answer marks the end of the one before.
const FENCE: i32 = 200;

/// Where, and with which password.
pub struct Door<'a> {
    /// The host.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The password.
    pub password: &'a Secret,
}

/// Why a command brought no answer.
pub enum RconError {
    /// Nobody listens there: there may be another way.
    Absent,
    /// Anything else.
    Failed(Failure),
}

struct Packet {
    id: i32,
    body: Vec<u8>,
}

/// Runs commands one after the other and returns the answer of each.
pub async fn run(ctx: &Context, door: &Door<'_>, commands: &[&str], deadline: Duration) -> Result<Vec<String>, RconError> {
    let address = Address::new(door.host, door.port);
    let mut line = Line { conversation: ctx.wire.tcp.connect(&address, deadline).await.map_err(|_| RconError::Absent)?, held: Vec::new() };
    let told = |error: TcpError| RconError::Failed(Failure::theirs(format!("RCON: {error}")));
    line.send(1, LOGIN, door.password.expose()).await.map_err(told)?;
    if line.receive().await.map_err(told)?.id == -1 {
        let help = "rcon must be the `rcon.password` of server.properties";
        return Err(RconError::Failed(Failure::yours(format!("{address} refused the RCON password")).help(help)));
    }
    let mut answers = Vec::new();
    for (at, command) in commands.iter().enumerate() {
        if command.len() > LONGEST {
            return Err(RconError::Failed(Failure::yours(format!("a command of {} bytes; RCON takes at most {LONGEST}", command.len()))));
        }
        let id = 2 + 2 * i32::try_from(at).unwrap_or(0);
        answers.push(answer(&mut line, id, command).await.map_err(told)?);
    }
    Ok(answers)
}

/// Vanilla drops the second of two packets that arrive together, so the fence is sent when the answer has begun.
async fn answer(line: &mut Line, id: i32, command: &str) -> Result<String, TcpError> {
    line.send(id, COMMAND, command).await?;
    let first = line.receive().await?;
    if first.id != id {
        return Err(broken("the answer is to another command"));
    }
    let mut text = first.body;
    line.send(id + 1, FENCE, "").await?;
    for _ in 0..MOST_PIECES {
        let packet = line.receive().await?;
        if packet.id == id + 1 {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        text.extend_from_slice(&packet.body);
    }
    Err(broken("the answer has no end"))
}

fn broken(cause: &str) -> TcpError {
    TcpError::Broken { address: "RCON".to_owned(), cause: cause.to_owned() }
}

struct Line {
    conversation: Box<dyn Conversation>,
    held: Vec<u8>,
}

impl Line {
    async fn send(&mut self, id: i32, kind: i32, body: &str) -> Result<(), TcpError> {
        let mut bytes = Vec::with_capacity(body.len() + 14);
        bytes.extend_from_slice(&i32::try_from(body.len() + 10).unwrap_or(i32::MAX).to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(body.as_bytes());
        bytes.extend_from_slice(&[0, 0]);
        self.conversation.send(&bytes).await
    }

    async fn receive(&mut self) -> Result<Packet, TcpError> {
        loop {
            if let Some(length) = word(&self.held, 0) {
                let length = usize::try_from(length).ok().filter(|length| (10..=LARGEST_PIECE).contains(length));
                let end = 4 + length.ok_or_else(|| broken("the answer is of another protocol"))?;
                if self.held.len() >= end {
                    let id = word(&self.held, 4).unwrap_or(-1);
                    let body = self.held[12..end - 2].to_vec();
                    self.held.drain(..end);
                    return Ok(Packet { id, body });
                }
            }
            let more = self.conversation.receive().await?;
            if more.is_empty() {
                return Err(broken("the server ended the conversation"));
            }
            self.held.extend_from_slice(&more);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<i32> {
    bytes.get(at..at + 4)?.try_into().ok().map(i32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    /// A server that says these bytes in small pieces, whatever it hears.
    struct Says(Vec<u8>, usize);

    impl Conversation for Says {
        fn send<'a>(&'a mut self, _: &'a [u8]) -> BoxFuture<'a, Result<(), TcpError>> {
            Box::pin(std::future::ready(Ok(())))
        }
        fn receive(&mut self) -> BoxFuture<'_, Result<Vec<u8>, TcpError>> {
            let end = (self.1 + 1000).min(self.0.len());
            let piece = self.0[self.1..end].to_vec();
            self.1 = end;
            Box::pin(std::future::ready(Ok(piece)))
        }
    }

    #[test]
    fn answers_are_read_or_refused_however_spoiled() {
        let packet = |id: i32, body: &str| {
            let length = i32::try_from(body.len() + 10).unwrap();
            [&length.to_le_bytes()[..], &id.to_le_bytes(), &0_i32.to_le_bytes(), body.as_bytes(), &[0, 0]].concat()
        };
        let one = [packet(2, "There are 0 of a max of 20 players online: "), packet(3, "Unknown request c8")].concat();
        let many = [packet(2, &"x".repeat(4096)), packet(2, &"y".repeat(4096)), packet(2, "z"), packet(3, "")].concat();
        crate::walks::feed(&[one, many], |bytes| {
            let mut line = Line { conversation: Box::new(Says(bytes.to_vec(), 0)), held: Vec::new() };
            let text = answer(&mut line, 2, "list").now_or_never().unwrap().map_err(|e| e.to_string())?;
            assert!(text.len() <= 3 * bytes.len());
            Ok(())
        });
    }
}
