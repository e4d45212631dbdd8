//! The Server List Ping: who plays, how many may, which version; answered only by a server that lets players in.

use std::time::Duration;

use serde_json::Value as Json;

use crate::model::contract::Context;
use crate::model::minecraft::server::Players;
use crate::wire::map::Address;
use crate::wire::tcp::{Conversation, TcpError};

/// From the first byte to the last.
const WITHIN: Duration = Duration::from_secs(5);
/// An icon and the list of a large pack's mods come to about 100 KiB.
const LONGEST: usize = 128 << 10;
/// Asks for a status, not for a game.
const STATUS: u8 = 1;

/// Why a ping brought nothing.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum PingError {
    /// No conversation.
    #[error("{0}")]
    Tcp(#[from] TcpError),
    /// Something that is no Minecraft server, or one with `enable-status=false`.
    #[error("no status: {0}")]
    NoStatus(&'static str),
}

/// Asks the server at `host`. The host's own name goes into the request, because a router in front may choose the server by it.
pub async fn ping(ctx: &Context, host: &str, port: u16) -> Result<Players, PingError> {
    let address = Address::new(host, port);
    let mut conversation = ctx.wire.tcp.connect(&address, WITHIN).await?;
    conversation.send(&request(&address.host, port)).await?;
    let reply = reply(conversation.as_mut()).await?;
    let json = json(&reply).ok_or(PingError::NoStatus("the answer is none"))?;
    read(&json).ok_or(PingError::NoStatus("the answer names no players"))
}

/// Handshake and status request, both framed.
fn request(host: &str, port: u16) -> Vec<u8> {
    let mut handshake = vec![0];
    // Any protocol may ask; -1 is what those send that do not know the server's.
    put_number(&mut handshake, u32::MAX);
    put_number(&mut handshake, u32::try_from(host.len()).unwrap_or(u32::MAX));
    handshake.extend_from_slice(host.as_bytes());
    handshake.extend_from_slice(&port.to_be_bytes());
    handshake.push(STATUS);
    let mut bytes = Vec::with_capacity(handshake.len() + 4);
    put_number(&mut bytes, u32::try_from(handshake.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&handshake);
    bytes.extend_from_slice(&[1, 0]);
    bytes
}

/// One frame without its length, however many pieces it comes in.
async fn reply(conversation: &mut dyn Conversation) -> Result<Vec<u8>, PingError> {
    let mut bytes = Vec::new();
    loop {
        match number(&bytes) {
            Number::Is(length, at) if length as usize > LONGEST || length == 0 => {
                return Err(PingError::NoStatus(if at > 0 && length > 0 { "the answer is too long" } else { "the answer is empty" }));
            }
            Number::Is(length, at) if bytes.len() >= at + length as usize => return Ok(bytes[at..at + length as usize].to_vec()),
            Number::Bad => return Err(PingError::NoStatus("the answer is of another protocol")),
            _ => {}
        }
        let more = conversation.receive().await?;
        if more.is_empty() {
            return Err(PingError::NoStatus("the server ended the conversation"));
        }
        bytes.extend_from_slice(&more);
    }
}

/// The JSON in a status reply: packet 0, then a string with its length.
fn json(frame: &[u8]) -> Option<Json> {
    let rest = frame.strip_prefix(&[0])?;
    let Number::Is(length, at) = number(rest) else { return None };
    serde_json::from_slice(rest.get(at..at.checked_add(length as usize)?)?).ok()
}

fn read(json: &Json) -> Option<Players> {
    let players = json.get("players")?;
    let count = |key: &str| players.get(key).and_then(Json::as_u64).and_then(|count| u32::try_from(count).ok());
    let sample = players.get("sample").and_then(Json::as_array).into_iter().flatten();
    // Plugins write advertisements into the sample, and hidden players stand there as `Anonymous Player`.
    let names = sample.filter_map(|row| row.get("name")?.as_str()).filter(|name| plausible(name)).map(str::to_owned);
    // What answers for a server that sleeps, a router in front of it, says `0 of 0`: nobody could join that.
    if count("max") == Some(0) {
        return None;
    }
    let version = json.pointer("/version/name").and_then(Json::as_str).map(str::to_owned);
    Some(Players { online: count("online")?, max: count("max"), names: names.collect(), version })
}

/// A player's name; players of the other edition have a `.` in front.
fn plausible(name: &str) -> bool {
    let bare = name.strip_prefix('.').unwrap_or(name);
    (1..=16).contains(&bare.len()) && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Seven bits a byte, the lowest first.
fn put_number(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

enum Number {
    /// A number and how many bytes it takes.
    Is(u32, usize),
    More,
    Bad,
}

fn number(bytes: &[u8]) -> Number {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_or(Number::Bad, |value| Number::Is(value, at + 1));
        }
    }
    if bytes.len() >= 5 { Number::Bad } else { Number::More }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_handshake_and_a_question() {
        let mut expected = vec![17, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 7];
        expected.extend_from_slice(b"a.local");
        expected.extend_from_slice(&[0x63, 0xdd, 1, 1, 0]);
        assert_eq!(request("a.local", 25565), expected);
    }

    #[test]
    fn numbers_take_up_to_five_bytes() {
        for value in [0, 1, 127, 128, 25565, 2_097_151, u32::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, value);
            assert!(matches!(number(&bytes), Number::Is(read, at) if read == value && at == bytes.len()), "{value}");
            assert!(matches!(number(&bytes[..bytes.len() - 1]), Number::More), "{value}");
        }
        assert!(matches!(number(&[0x80; 5]), Number::Bad) && matches!(number(&[0xff, 0xff, 0xff, 0xff, 0x7f]), Number::Bad));
    }

    #[test]
    fn a_sample_holds_players_and_other_things() {
        let json = serde_json::json!({
            "version": {"name": "1.21.1", "protocol": 767},
            "players": {"max": 20, "online": 4, "sample": [{"name": "Keeb"}, {"name": "§aVote for us!"}, {"name": "Anonymous Player"}, {"name": ".Bed"}]},
        });
        let players = read(&json).unwrap();
        assert_eq!((players.online, players.max, players.names), (4, Some(20), vec!["Keeb".to_owned(), ".Bed".to_owned()]));
        assert_eq!(read(&serde_json::json!({"players": {"max": 1}})), None, "unknown is not nobody");
        assert_eq!(read(&serde_json::json!({"description": "asleep"})), None);
        assert_eq!(read(&serde_json::json!({"players": {"max": 0, "online": 0}})), None, "a router answers while the server sleeps");
    }

    /// A server that says these bytes in small pieces, and then nothing.
    struct Says(Vec<u8>, usize);

    impl Conversation for Says {
        fn send<'a>(&'a mut self, _: &'a [u8]) -> futures_util::future::BoxFuture<'a, Result<(), TcpError>> {
            Box::pin(std::future::ready(Ok(())))
        }
        fn receive(&mut self) -> futures_util::future::BoxFuture<'_, Result<Vec<u8>, TcpError>> {
            let end = (self.1 + 4000).min(self.0.len());
            let piece = self.0[self.1..end].to_vec();
            self.1 = end;
            Box::pin(std::future::ready(Ok(piece)))
        }
    }

    #[test]
    fn answers_are_read_or_refused_however_spoiled() {
        let answer = |json: &str| {
            let mut packet = vec![0];
            put_number(&mut packet, u32::try_from(json.len()).unwrap());
            packet.extend_from_slice(json.as_bytes());
            let mut frame = Vec::new();
            put_number(&mut frame, u32::try_from(packet.len()).unwrap());
            [frame, packet].concat()
        };
        let small = answer(r#"{"version":{"name":"1.21.1"},"players":{"max":20,"online":1,"sample":[{"name":"Keeb","id":"x"}]}}"#);
        let large = answer(&format!(r#"{{"players":{{"max":20,"online":0}},"favicon":"{}"}}"#, "A".repeat(60_000)));
        crate::walks::feed(&[small, large], |bytes| {
            use futures_util::FutureExt as _;
            let frame = reply(&mut Says(bytes.to_vec(), 0)).now_or_never().unwrap().map_err(|e| e.to_string())?;
            assert!(frame.len() <= LONGEST);
            let json = json(&frame).ok_or("no JSON")?;
            read(&json).map(drop).ok_or_else(|| "no players".to_owned())
        });
    }
}
