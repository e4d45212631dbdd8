//! The gateway: one WebSocket after another, each a session's line to its client.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Shared;
use super::record::{Identify, Violation};
use super::refusal::Refusal;
use super::session::{Door, Order, Session};
use super::state::{GUILD_MEMBERS, GUILDS, MESSAGE_CONTENT, State};

/// How long a client may take for the handshake, and how long it may stay unknown.
const PATIENCE: Duration = Duration::from_secs(30);
/// Every intent that there is.
const INTENTS: u64 = 0x1_FFFF | 0b11 << 20 | 0b11 << 24;
/// Intents that want a switch in the portal: who is there, who is online, what is written.
const PRIVILEGED: u64 = GUILD_MEMBERS | 1 << 8 | MESSAGE_CONTENT;
/// How many frames a client may send in a minute.
const SENDS: usize = 120;
/// How large a client's frame may be, in bytes.
const FRAME: usize = 4096;

/// The reason of a close that a test ordered.
const ORDERED: &str = "ordered";

/// How a line ends.
enum End {
    /// Cut without a word.
    Cut,
    /// Closed with a code and a reason.
    Closed(u16, &'static str),
}

struct Line {
    shared: Arc<Shared>,
    socket: WebSocketStream<TcpStream>,
    number: u64,
    session: Option<String>,
    sent: u64,
    beat: Instant,
    began: Instant,
    sends: VecDeque<Instant>,
}

/// Serves until the runtime ends.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        match shared.look(|state| state.sessions.door) {
            Door::Shut => drop(stream),
            Door::Silent => drop(tokio::spawn(silent(stream, Arc::clone(&shared)))),
            Door::Open => drop(tokio::spawn(connection(stream, Arc::clone(&shared)))),
        }
    }
}

/// Holds a connection until the door is another.
async fn silent(stream: TcpStream, shared: Arc<Shared>) {
    let mut changed = shared.changes();
    while shared.look(|state| state.sessions.door) == Door::Silent {
        if changed.changed().await.is_err() {
            break;
        }
    }
    drop(stream);
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let mut query = String::new();
    let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        query = request.uri().query().unwrap_or_default().to_owned();
        Ok(response)
    };
    let Ok(Ok(socket)) = timeout(PATIENCE, tokio_tungstenite::accept_hdr_async(stream, look)).await else { return };
    let number = shared.change(|state| {
        state.sessions.lines += 1;
        state.sessions.lines
    });
    let now = Instant::now();
    let mut line = Line { shared, socket, number, session: None, sent: 0, beat: now, began: now, sends: VecDeque::new() };
    let end = if !query.split('&').any(|pair| pair == "v=10") {
        End::Closed(4012, "Invalid API version.")
    } else if query.contains("encoding=etf") || query.contains("compress=") {
        End::Closed(4002, "the stand-in speaks plain JSON only")
    } else {
        line.serve().await
    };
    line.end(end).await;
}

impl Line {
    async fn serve(&mut self) -> End {
        let interval = self.shared.look(|state| state.sessions.heartbeat);
        let hello = json!({"op": 10, "s": null, "t": null, "d": {"heartbeat_interval": interval.as_millis() as u64, "_trace": []}});
        if self.say(&hello).await.is_err() {
            return End::Cut;
        }
        let mut changed = self.shared.changes();
        loop {
            // An order may come behind another.
            loop {
                match self.work().await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(end) => return end,
                }
            }
            if let Err(end) = self.wait(&mut changed, interval).await {
                return end;
            }
        }
    }

    /// Waits for whatever comes first: a frame, a change, or the end of patience.
    async fn wait(&mut self, changed: &mut watch::Receiver<u64>, interval: Duration) -> Result<(), End> {
        if self.session.is_none() && self.began.elapsed() > PATIENCE {
            return Err(End::Closed(4003, "Not authenticated."));
        }
        // A client may be late by a good part of its interval.
        if self.session.is_some() && self.beat.elapsed() > interval * 2 + Duration::from_secs(5) {
            return Err(End::Closed(4009, "Session timed out."));
        }
        let look_again = Duration::from_secs(1);
        tokio::select! {
            frame = self.socket.next() => self.frame(frame.and_then(Result::ok)).await,
            end = changed.changed() => end.map_err(|_| End::Cut),
            () = tokio::time::sleep(look_again) => Ok(()),
        }
    }

    async fn say(&mut self, value: &Value) -> Result<(), End> {
        self.socket.send(Frame::Text(value.to_string())).await.map_err(|_| End::Cut)
    }

    /// Sends what the session has for this line, and carries out one order if there is one.
    async fn work(&mut self) -> Result<bool, End> {
        let Some(id) = self.session.clone() else { return Ok(false) };
        let (number, sent) = (self.number, self.sent);
        let work = self.shared.quietly(|state| {
            let session = state.sessions.of(&id).filter(|session| session.line == Some(number))?;
            let events: Vec<(u64, String)> = session.log.iter().filter(|(seq, _)| *seq > sent).cloned().collect();
            Some((events, session.orders.pop_front()))
        });
        // The session has gone to another line, or is over.
        let Some((events, order)) = work else { return Err(End::Cut) };
        for (seq, text) in events {
            self.socket.send(Frame::Text(text)).await.map_err(|_| End::Cut)?;
            self.sent = seq;
        }
        match order {
            None => return Ok(false),
            Some(Order::Drop) => return Err(End::Cut),
            Some(Order::Close(code)) => return Err(End::Closed(code, ORDERED)),
            Some(Order::Reconnect) => self.say(&json!({"op": 7, "d": null, "s": null, "t": null})).await?,
            Some(Order::Invalidate(resumable)) => {
                if !resumable {
                    self.shared.change(|state| state.sessions.forget(&id));
                    self.session = None;
                    self.began = Instant::now();
                }
                self.say(&json!({"op": 9, "d": resumable, "s": null, "t": null})).await?;
            }
        }
        Ok(true)
    }

    async fn frame(&mut self, frame: Option<Frame>) -> Result<(), End> {
        let text = match frame {
            Some(Frame::Text(text)) => text,
            Some(Frame::Close(close)) => {
                // A client that says goodbye this way ends its session.
                if close.is_none_or(|close| [1000, 1001].contains(&u16::from(close.code)))
                    && let Some(id) = self.session.take()
                {
                    self.shared.change(|state| state.sessions.forget(&id));
                }
                return Err(End::Cut);
            }
            Some(Frame::Ping(_) | Frame::Pong(_)) => return Ok(()),
            Some(_) => return Err(End::Closed(4002, "Error while decoding payload.")),
            None => return Err(End::Cut),
        };
        let now = Instant::now();
        self.sends.retain(|at| now - *at < Duration::from_secs(60));
        self.sends.push_back(now);
        if self.sends.len() > SENDS {
            return Err(End::Closed(4008, "You are being rate limited."));
        }
        let parsed = serde_json::from_str::<Value>(&text).ok().filter(|_| text.len() <= FRAME);
        let Some(payload) = parsed else { return Err(End::Closed(4002, "Error while decoding payload.")) };
        match (payload["op"].as_u64(), self.session.is_some()) {
            (Some(1), _) => self.heartbeat().await,
            (Some(2), false) => self.identify(&payload["d"]),
            (Some(6), false) => self.resume(&payload["d"]).await,
            (Some(2 | 6), true) => Err(End::Closed(4005, "Already authenticated.")),
            (Some(3 | 4 | 8 | 14 | 31), true) => Ok(()),
            (Some(3 | 4 | 8 | 14 | 31), false) => Err(End::Closed(4003, "Not authenticated.")),
            _ => Err(End::Closed(4001, "Unknown opcode.")),
        }
    }

    async fn heartbeat(&mut self) -> Result<(), End> {
        self.beat = Instant::now();
        if self.shared.look(|state| state.sessions.miss_acks) {
            return Ok(());
        }
        self.say(&json!({"op": 11, "d": null, "s": null, "t": null})).await
    }

    fn identify(&mut self, said: &Value) -> Result<(), End> {
        let token = said["token"].as_str().unwrap_or_default().trim_start_matches("Bot ").to_owned();
        let number = self.number;
        let gateway = self.shared.look(|state| state.sessions.url.clone());
        let id = self.shared.change(|state| {
            state.record.tokens.insert(token.clone());
            state.record.identifies.push(Identify { at: state.began.elapsed(), intents: said["intents"].as_u64().unwrap_or_default() });
            if state.sessions.refuse_identifies {
                return Err(End::Closed(4000, ORDERED));
            }
            let intents = judged(state, said, &token)?;
            let id = format!("{:032x}", u128::from(state.ids.next()) << 32);
            let mut session = Session::new(id.clone(), intents, number);
            session.push("READY", &ready(state, &id, &gateway));
            if intents & GUILDS != 0 {
                session.push("GUILD_CREATE", &state.place.guild_create(intents & GUILD_MEMBERS != 0));
            }
            state.sessions.live.push(session);
            Ok(id)
        })?;
        self.session = Some(id);
        self.beat = Instant::now();
        Ok(())
    }

    async fn resume(&mut self, said: &Value) -> Result<(), End> {
        let token = said["token"].as_str().unwrap_or_default().trim_start_matches("Bot ").to_owned();
        let (id, seq) = (said["session_id"].as_str().unwrap_or_default().to_owned(), said["seq"].as_u64().unwrap_or_default());
        let number = self.number;
        let found = self.shared.change(|state| {
            state.record.tokens.insert(token.clone());
            if token != state.token {
                return Err(End::Closed(4004, "Authentication failed."));
            }
            let again = u64::from(state.sessions.repeat_on_resume);
            let Some(session) = state.sessions.of(&id).filter(|session| session.remembers(seq)) else { return Ok(None) };
            if seq > session.seq {
                return Err(End::Closed(4007, "Invalid seq."));
            }
            session.line = Some(number);
            session.orders.clear();
            session.push("RESUMED", &json!({"_trace": []}));
            state.record.resumes += 1;
            Ok(Some(seq.saturating_sub(again)))
        })?;
        let Some(sent) = found else { return self.say(&json!({"op": 9, "d": false, "s": null, "t": null})).await };
        self.session = Some(id);
        self.sent = sent;
        self.beat = Instant::now();
        Ok(())
    }

    async fn end(&mut self, end: End) {
        let id = self.session.take();
        let number = self.number;
        self.shared.change(|state| {
            if let Some(session) = id.and_then(|id| state.sessions.of(&id)).filter(|session| session.line == Some(number)) {
                session.line = None;
            }
            if let End::Closed(code @ 4001..=4014, reason) = end
                && reason != ORDERED
            {
                let refusal = Refusal { status: 0, code: code.into(), message: reason.to_owned(), errors: None };
                state.record.violations.push(Violation { method: "GATEWAY".to_owned(), path: "/".to_owned(), refusal });
            }
        });
        if let End::Closed(code, reason) = end {
            let close = CloseFrame { code: code.into(), reason: Cow::from(reason) };
            let _ = timeout(Duration::from_secs(2), self.socket.close(Some(close))).await;
            // Until the client has answered: what it has not read would be lost with the connection.
            let rest = async { while self.socket.next().await.is_some_and(|frame| frame.is_ok()) {} };
            let _ = timeout(Duration::from_secs(2), rest).await;
        }
    }
}

/// What an IDENTIFY asks for, when it may have it.
fn judged(state: &State, said: &Value, token: &str) -> Result<u64, End> {
    if token != state.token {
        return Err(End::Closed(4004, "Authentication failed."));
    }
    let shard = &said["shard"];
    if !shard.is_null() && shard != &json!([0, 1]) {
        return Err(End::Closed(4010, "Invalid shard."));
    }
    if !said["properties"].is_object() {
        return Err(End::Closed(4002, "Error while decoding payload."));
    }
    let Some(intents) = said["intents"].as_u64().filter(|intents| intents & !INTENTS == 0) else {
        return Err(End::Closed(4013, "Invalid intent(s)."));
    };
    if intents & PRIVILEGED != 0 && !state.sessions.privileged {
        return Err(End::Closed(4014, "Disallowed intent(s)."));
    }
    Ok(intents)
}

fn ready(state: &State, session: &str, gateway: &str) -> Value {
    let place = &state.place;
    json!({
        "v": 10, "user": place.user_json(place.bot), "user_settings": {}, "session_type": "normal", "session_id": session,
        "resume_gateway_url": gateway, "shard": [0, 1], "private_channels": [], "presences": [], "relationships": [],
        "guilds": [{"id": place.guild.to_string(), "unavailable": true}], "guild_join_requests": [], "geo_ordered_rtc_regions": [],
        "application": {"id": place.application.to_string(), "flags": flags(state)}, "auth": {}, "_trace": [],
    })
}

/// The application's flags: which of the portal's switches are on.
pub fn flags(state: &State) -> u64 {
    if state.sessions.privileged { 1 << 13 | 1 << 15 | 1 << 19 } else { 0 }
}
