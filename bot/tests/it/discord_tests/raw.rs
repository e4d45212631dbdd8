//! A client without any library of Discord's: what is sent is what the test says, and all that comes back is to be seen.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::discord::Discord;

/// How long anything may take: generous, because machines that test are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A client of REST.
pub struct Raw {
    http: reqwest::Client,
    authorization: String,
}

/// What was answered.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    pub body: Value,
    pub headers: BTreeMap<String, String>,
}

/// reqwest as the bot is to set it up: the real name, one more authority, another address.
pub fn http(discord: &Discord) -> reqwest::ClientBuilder {
    let pem = std::fs::read(discord.ca_file()).expect("the authority was written");
    let authority = reqwest::Certificate::from_pem(&pem).expect("the authority is a certificate");
    reqwest::Client::builder().use_rustls_tls().add_root_certificate(authority).resolve("discord.com", discord.rest_at())
}

impl Raw {
    /// A client that shows the good token.
    pub fn new(discord: &Discord) -> Self {
        Self::showing(discord, &format!("Bot {}", discord.token()))
    }

    /// A client that shows this in its header.
    pub fn showing(discord: &Discord, authorization: &str) -> Self {
        let http = http(discord).user_agent("DiscordBot (https://pmx.invalid, 1)").timeout(PATIENCE).build().expect("the client is good");
        Self { http, authorization: authorization.to_owned() }
    }

    /// Sends a request; null is no body.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Told {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        self.send_text(method, path, text).await
    }

    /// Sends a request whose body is this text.
    pub async fn send_text(&self, method: &str, path: &str, text: String) -> Told {
        let method = method.parse().expect("the method is one");
        let mut request =
            self.http.request(method, format!("https://discord.com/api/v10{path}")).header("authorization", &self.authorization);
        if !text.is_empty() {
            request = request.header("content-type", "application/json").body(text);
        }
        let answer = request.send().await.expect("the stand-in answers");
        let status = answer.status().as_u16();
        let headers =
            answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect();
        let text = answer.text().await.expect("the answer has a body");
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("the body is JSON") };
        Told { status, body, headers }
    }

    /// Sends a message, and says what its id is.
    pub async fn message(&self, channel: u64, form: Value) -> u64 {
        let told = self.send("POST", &format!("/channels/{channel}/messages"), form).await;
        assert_eq!(told.status, 200, "{told:?}");
        told.id()
    }
}

impl Told {
    /// Status and Discord's code.
    pub fn refusal(&self) -> (u16, u64) {
        (self.status, self.body["code"].as_u64().unwrap_or(u64::MAX))
    }

    /// The id of what was made.
    pub fn id(&self) -> u64 {
        self.body["id"].as_str().and_then(|id| id.parse().ok()).expect("it has an id")
    }

    /// The code of the first fault at a place of the form.
    pub fn fault(&self, place: &str) -> &str {
        let at = place.split('.').filter(|part| !part.is_empty()).fold(&self.body["errors"], |at, part| &at[part]);
        at["_errors"][0]["code"].as_str().unwrap_or("none")
    }
}

/// A line to the gateway.
pub struct Wire {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What came over a line.
#[derive(Debug, PartialEq)]
pub enum Came {
    /// A payload.
    Payload(Value),
    /// A close with its code.
    Closed(u16),
    /// The end without one.
    Cut,
}

impl Wire {
    /// Connects, with this behind the address.
    pub async fn connect(discord: &Discord, query: &str) -> Self {
        let url = Raw::new(discord).send("GET", "/gateway", Value::Null).await.body["url"].clone();
        let url = format!("{}/{query}", url.as_str().expect("there is an address"));
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("the gateway lets in");
        Self { socket }
    }

    /// Connects and reads the greeting.
    pub async fn greeted(discord: &Discord) -> Self {
        let mut wire = Self::connect(discord, "?v=10&encoding=json").await;
        assert!(matches!(wire.next().await, Came::Payload(hello) if hello["op"] == 10 && hello["d"]["heartbeat_interval"].is_u64()));
        wire
    }

    /// Connects and identifies with these intents; READY is read.
    pub async fn ready(discord: &Discord, intents: u64) -> (Self, Value) {
        let mut wire = Self::greeted(discord).await;
        wire.say(identify(discord.token(), intents)).await;
        let ready = wire.event("READY").await;
        (wire, ready)
    }

    /// Sends a payload.
    pub async fn say(&mut self, payload: Value) {
        self.say_text(payload.to_string()).await;
    }

    /// Sends a frame.
    pub async fn say_text(&mut self, text: String) {
        self.socket.send(Frame::Text(text)).await.expect("the line carries");
    }

    /// What comes next.
    pub async fn next(&mut self) -> Came {
        match tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something comes in time") {
            Some(Ok(Frame::Text(text))) => Came::Payload(serde_json::from_str(&text).expect("a payload is JSON")),
            Some(Ok(Frame::Close(Some(close)))) => Came::Closed(close.code.into()),
            _ => Came::Cut,
        }
    }

    /// The next event, which has to be this one.
    pub async fn event(&mut self, name: &str) -> Value {
        match self.next().await {
            Came::Payload(payload) if payload["op"] == 0 && payload["t"] == name => payload,
            other => panic!("{name} was to come, not {other:?}"),
        }
    }
}

/// The payload that says who one is.
pub fn identify(token: &str, intents: u64) -> Value {
    let properties = json!({"os": "linux", "browser": "pmx", "device": "pmx"});
    json!({"op": 2, "d": {"token": token, "intents": intents, "properties": properties, "compress": false, "shard": [0, 1]}})
}

/// The payload that takes up a session.
pub fn resume(token: &str, ready: &Value, seq: u64) -> Value {
    json!({"op": 6, "d": {"token": token, "session_id": ready["d"]["session_id"], "seq": seq}})
}
