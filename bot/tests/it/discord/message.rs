//! A message with every state that it was ever in.

use std::time::Duration;

use serde_json::{Value, json};

use super::place::Place;
use super::{ChannelId, MessageId, UserId, ids};

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Where it stands.
    pub channel: ChannelId,
    /// Who wrote it.
    pub author: UserId,
    /// Only one person sees it, and the channel does not know of it.
    pub ephemeral: bool,
    /// It is gone.
    pub deleted: bool,
    /// It says "… is thinking" and nothing else yet.
    pub loading: bool,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// The interaction that it answers.
    pub asked: Option<u64>,
    /// What the author called it, so that it is not made twice.
    pub nonce: Option<Value>,
    /// Its states, the newest last; there is at least one.
    pub versions: Vec<Version>,
}

/// A state of a message.
#[derive(Clone, Debug, Default)]
pub struct Version {
    /// When, since the stand-in began.
    pub at: Duration,
    /// Its text.
    pub content: String,
    /// As they were sent.
    pub embeds: Vec<Value>,
    /// As they were sent.
    pub components: Vec<Value>,
    /// As it was sent.
    pub allowed_mentions: Option<Value>,
    /// Whom it would disturb: `@everyone`, `<@1>`, `reply`.
    pub pings: Vec<String>,
    /// As they were sent.
    pub flags: u64,
}

/// A button that is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// What stands on it.
    pub label: String,
    /// What a press sends; empty for a link.
    pub custom_id: String,
    /// 1 blurple, 2 grey, 3 green, 4 red, 5 a link.
    pub style: u64,
    /// Whether it can be pressed.
    pub disabled: bool,
}

impl Version {
    /// The state after a form was laid over this one.
    pub fn amended(&self, form: &Value, at: Duration, reply: bool) -> Self {
        let list = |key: &str, old: &Vec<Value>| match &form[key] {
            Value::Array(list) => list.clone(),
            Value::Null if form.get(key).is_some() => Vec::new(),
            _ => old.clone(),
        };
        let content = match &form["content"] {
            Value::String(text) => text.trim().to_owned(),
            Value::Null if form.get("content").is_some() => String::new(),
            _ => self.content.clone(),
        };
        let allowed = Some(&form["allowed_mentions"]).filter(|allowed| !allowed.is_null());
        Self {
            at,
            pings: pings(&content, allowed, reply),
            content,
            embeds: list("embeds", &self.embeds),
            components: list("components", &self.components),
            allowed_mentions: allowed.cloned(),
            flags: form["flags"].as_u64().unwrap_or(self.flags),
        }
    }

    /// Whether there is nothing to be seen; components alone do not count.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.embeds.is_empty()
    }
}

/// Whom a text would disturb. Backticks and backslashes do not help here, which is stricter than Discord is.
fn pings(content: &str, allowed: Option<&Value>, reply: bool) -> Vec<String> {
    let parsed =
        |kind: &str| allowed.is_none_or(|allowed| allowed["parse"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind)));
    let is = |one: &Value, id: &str| one == id || one.as_u64().is_some_and(|one| id.parse() == Ok(one));
    let listed =
        |kind: &str, id: &str| allowed.is_some_and(|allowed| allowed[kind].as_array().is_some_and(|ids| ids.iter().any(|one| is(one, id))));
    let mut found = Vec::new();
    for word in ["@everyone", "@here"] {
        if content.contains(word) && parsed("everyone") {
            found.push(word.to_owned());
        }
    }
    for piece in content.split("<@").skip(1) {
        let Some((inside, _)) = piece.split_once('>') else { continue };
        let kind = if inside.starts_with('&') { "roles" } else { "users" };
        let id = inside.trim_start_matches(['&', '!']);
        if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) && (parsed(kind) || listed(kind, id)) {
            found.push(format!("<@{inside}>"));
        }
    }
    let replied = allowed.is_none_or(|allowed| allowed["replied_user"].as_bool().unwrap_or(false));
    found.extend((reply && replied).then(|| "reply".to_owned()));
    found
}

impl Message {
    /// Its newest state.
    pub fn now(&self) -> &Version {
        self.versions.last().expect("a message has a state")
    }

    /// Everything that can be read in it, a line each.
    pub fn text(&self) -> String {
        let now = self.now();
        let mut lines = vec![now.content.clone()];
        for embed in &now.embeds {
            let mut add = |text: &Value| lines.extend(text.as_str().map(str::to_owned));
            add(&embed["author"]["name"]);
            add(&embed["title"]);
            add(&embed["description"]);
            for field in embed["fields"].as_array().into_iter().flatten() {
                add(&field["name"]);
                add(&field["value"]);
            }
            add(&embed["footer"]["text"]);
        }
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    /// The buttons to be seen.
    pub fn buttons(&self) -> Vec<Button> {
        let rows = self.now().components.iter().filter_map(|row| row["components"].as_array());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let button = |value: &Value| Button {
            label: text(&value["label"]),
            custom_id: text(&value["custom_id"]),
            style: value["style"].as_u64().unwrap_or_default(),
            disabled: value["disabled"].as_bool().unwrap_or_default(),
        };
        rows.flatten().filter(|value| value["type"] == 2).map(button).collect()
    }

    /// As it goes over the wire. `blank` leaves out what an application without MESSAGE_CONTENT may not read.
    pub fn json(&self, place: &Place, blank: bool) -> Value {
        let now = self.now();
        let mentions: Vec<Value> = place
            .users
            .iter()
            .filter(|user| now.content.contains(&format!("<@{}>", user.id)) || now.content.contains(&format!("<@!{}>", user.id)))
            .map(|user| place.user_json(user.id))
            .collect();
        let own = self.asked.is_some();
        let flags = now.flags & 4 | u64::from(self.ephemeral) << 6 | u64::from(self.loading) << 7;
        let mut json = json!({
            "id": self.id.to_string(), "channel_id": self.channel.to_string(), "author": place.user_json(self.author),
            "content": now.content, "timestamp": ids::time(self.id), "tts": false,
            "edited_timestamp": if self.versions.len() > 1 { json!(ids::now()) } else { Value::Null },
            "mention_everyone": now.pings.iter().any(|ping| ping.starts_with("@")), "mentions": mentions, "mention_roles": [],
            "attachments": [], "embeds": now.embeds, "components": shown(&now.components), "pinned": false, "flags": flags,
            "type": match (own, self.reply_to) { (true, _) => 20, (_, Some(_)) => 19, _ => 0 },
        });
        if let Some(nonce) = &self.nonce {
            json["nonce"] = nonce.clone();
        }
        if own {
            json["webhook_id"] = json!(place.application.to_string());
            json["application_id"] = json!(place.application.to_string());
        }
        if let Some(to) = self.reply_to {
            json["message_reference"] = json!({"type": 0, "channel_id": self.channel.to_string(), "message_id": to.to_string()});
        }
        if blank {
            json["content"] = json!("");
            json["embeds"] = json!([]);
            json["components"] = json!([]);
        }
        json
    }

    /// Whether an application without MESSAGE_CONTENT reads it nevertheless: its own, one that mentions it, one of a talk.
    pub fn is_open(&self, place: &Place) -> bool {
        let bot = place.bot;
        let mentioned = [format!("<@{bot}>"), format!("<@!{bot}>")].iter().any(|mention| self.now().content.contains(mention));
        let talk = place.channel_of(self.channel).is_some_and(|channel| channel.with.is_some());
        self.author == bot || mentioned || talk
    }
}

/// Components with the numbers that Discord gives them.
fn shown(rows: &[Value]) -> Vec<Value> {
    let mut rows = rows.to_vec();
    let mut number = 0;
    for row in &mut rows {
        number += 1;
        row["id"] = json!(number);
        for component in row["components"].as_array_mut().into_iter().flatten() {
            number += 1;
            component["id"] = json!(number);
        }
    }
    rows
}
