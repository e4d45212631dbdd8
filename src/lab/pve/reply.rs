//! Answers: status line with Proxmox's own reason, headers in its order, JSON with keys in no order.

use serde_json::{Map, Value, json};

/// A body and its type.
#[derive(Clone, Debug)]
pub enum Body {
    /// No body: no length, no type, the connection closes.
    None,
    /// Plain words without a type.
    Text(String),
    /// JSON text.
    Json(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Reason phrase, as long as Proxmox's errors are.
    pub reason: String,
    /// The body.
    pub body: Body,
    /// Whether pvedaemon answered through pveproxy: then there are two `Connection` headers.
    pub proxied: bool,
    /// For redirects.
    pub location: Option<String>,
}

impl Reply {
    /// A status without body.
    pub fn empty(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.to_owned(), body: Body::None, proxied: false, location: None }
    }

    /// A status whose reason is its body too.
    pub fn text(status: u16, reason: &str) -> Self {
        Self { body: Body::Text(reason.to_owned()), ..Self::empty(status, reason) }
    }

    /// A status with JSON.
    pub fn json(status: u16, reason: &str, text: String) -> Self {
        Self { body: Body::Json(text), ..Self::empty(status, reason) }
    }

    /// The bytes on the wire; `keep` tells whether the connection stays.
    pub fn bytes(&self, date: &str, keep: bool) -> Vec<u8> {
        let reason = self.reason.lines().next().unwrap_or("");
        let mut head = format!("HTTP/1.1 {} {reason}\r\nCache-Control: max-age=0\r\n", self.status);
        if self.proxied || !keep {
            head.push_str("Connection: close\r\n");
        }
        if keep {
            head.push_str("Connection: Keep-Alive\r\n");
        }
        head.push_str(&format!("Date: {date}\r\n"));
        if let Some(location) = &self.location {
            head.push_str(&format!("Location: {location}\r\n"));
        }
        head.push_str("Pragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n");
        let body = match &self.body {
            Body::None if keep => {
                head.push_str("Content-Length: 0\r\n");
                ""
            }
            Body::None => "",
            Body::Text(text) => {
                head.push_str(&format!("Content-Length: {}\r\n", text.len()));
                text
            }
            Body::Json(text) => {
                head.push_str(&format!("Content-Length: {}\r\nContent-Type: application/json;charset=UTF-8\r\n", text.len()));
                text
            }
        };
        head.push_str(&format!("Expires: {date}\r\n\r\n"));
        head.push_str(body);
        head.into_bytes()
    }
}

/// JSON text with the keys of every object in an order drawn anew: Perl's hashes have none.
pub fn scramble(value: &Value, noise: &mut impl FnMut() -> u64) -> String {
    let mut text = String::new();
    write(value, noise, &mut text);
    text
}

// The depth is that of the lab's own answers, five at most: nothing from outside is nested here.
fn write(value: &Value, noise: &mut impl FnMut() -> u64, out: &mut String) {
    match value {
        Value::Array(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(item, noise, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            for at in (1..keys.len()).rev() {
                keys.swap(at, (noise() % (at as u64 + 1)) as usize);
            }
            out.push('{');
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write(&map[key], noise, out);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// What a handler answers when all is well.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// `data`.
    pub data: Value,
    /// `total`, beside lists that can be paged.
    pub total: Option<usize>,
}

impl From<Value> for Answer {
    fn from(data: Value) -> Self {
        Self { data, total: None }
    }
}

impl Answer {
    /// `data: null`.
    pub const fn null() -> Self {
        Self { data: Value::Null, total: None }
    }
}

/// Why a handler has no answer.
#[derive(Clone, Debug)]
pub enum Fail {
    /// 400 with a text per parameter.
    Params(Vec<(String, String)>),
    /// 500 with the text as reason.
    Died(String),
    /// 403 with the text as reason.
    Denied(String),
    /// 401 with a body: a login that failed.
    Login,
    /// 401 without a body.
    Unauthorized(String),
    /// 501 with the method and path.
    NoMethod(String),
    /// 596 without body: the daemon behind the proxy broke off.
    Broken,
}

impl From<String> for Fail {
    fn from(text: String) -> Self {
        Self::Died(text)
    }
}

impl Fail {
    /// A 400 about one parameter.
    pub fn param(name: &str, text: impl Into<String>) -> Self {
        Self::Params(vec![(name.to_owned(), text.into())])
    }

    /// Status, reason, message and errors.
    pub fn parts(&self) -> (u16, String, Option<String>, Option<Map<String, Value>>) {
        match self {
            Self::Params(errors) => {
                let text = "Parameter verification failed.";
                let errors = errors.iter().map(|(name, error)| (name.clone(), json!(error))).collect();
                (400, text.into(), Some(format!("{text}\n")), Some(errors))
            }
            Self::Died(text) => (500, text.clone(), Some(format!("{text}\n")), None),
            Self::Denied(text) => (403, text.clone(), Some(format!("{text}\n")), None),
            Self::Login => (401, "authentication failure".into(), Some("authentication failure\n".into()), None),
            Self::Unauthorized(text) => (401, text.clone(), None, None),
            Self::NoMethod(what) => {
                let text = format!("Method '{what}' not implemented");
                (501, text.clone(), Some(text), None)
            }
            Self::Broken => (596, "Broken pipe".into(), None, None),
        }
    }
}

/// An answer in the form of `/api2/json` or `/api2/extjs`.
pub fn render(result: &Result<Answer, Fail>, extjs: bool, noise: &mut impl FnMut() -> u64) -> Reply {
    let (status, reason, body) = match result {
        Ok(answer) => {
            let mut body = Map::from_iter([("data".to_owned(), answer.data.clone())]);
            if let Some(total) = answer.total {
                body.insert("total".into(), json!(total));
            }
            if extjs {
                body.insert("success".into(), json!(1));
            }
            (200, "OK".to_owned(), body)
        }
        Err(fail) => {
            let (status, reason, message, errors) = fail.parts();
            let Some(message) = message else { return Reply::empty(status, &reason) };
            let mut body = Map::from_iter([("data".to_owned(), Value::Null), ("message".to_owned(), json!(message))]);
            if let Some(errors) = errors {
                body.insert("errors".into(), Value::Object(errors));
            }
            if extjs {
                body.insert("success".into(), json!(0));
                body.insert("status".into(), json!(status));
            }
            (status, reason, body)
        }
    };
    let text = scramble(&Value::Object(body), noise);
    if extjs { Reply::json(200, "OK", text) } else { Reply::json(status, &reason, text) }
}
