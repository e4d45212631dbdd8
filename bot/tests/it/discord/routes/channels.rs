//! `/channels`: messages are written, read, edited and taken away.

use serde_json::Value;

use super::super::message::{Message, Version};
use super::super::refusal::{self, Refusal};
use super::super::rest::{Call, Reply};
use super::super::state::State;
use super::super::{ChannelId, MessageId, limits};

/// What is asked of a channel.
pub fn route(state: &mut State, call: &Call, channel: &str, rest: &[&str]) -> Result<Reply, Refusal> {
    let channel = super::id(channel).and_then(|id| state.place.channel_of(id)).ok_or(refusal::UNKNOWN_CHANNEL)?;
    if channel.hidden {
        return Err(refusal::MISSING_ACCESS.into());
    }
    let (id, muted) = (channel.id, channel.muted);
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::ok(state.place.channel_json(channel))),
        ("GET", ["messages"]) => Ok(Reply::ok(list(state, call, id))),
        ("POST", ["messages"] | ["typing"]) if muted => Err(refusal::MISSING_PERMISSIONS.into()),
        ("POST", ["typing"]) => Ok(Reply::done()),
        ("POST", ["messages"]) => create(state, call, id),
        (method, ["messages", message]) => {
            let message = super::id(message).ok_or(refusal::UNKNOWN_MESSAGE)?;
            one(state, call, method, (id, message))
        }
        _ => Err(refusal::NOT_FOUND.into()),
    }
}

/// A message that everybody in the channel sees.
fn seen(state: &State, channel: ChannelId, id: MessageId) -> Result<&Message, Refusal> {
    let found = state.message_of(id).filter(|message| message.channel == channel && !message.ephemeral);
    found.ok_or_else(|| refusal::UNKNOWN_MESSAGE.into())
}

fn one(state: &mut State, call: &Call, method: &str, (channel, id): (ChannelId, MessageId)) -> Result<Reply, Refusal> {
    let message = seen(state, channel, id)?;
    let own = message.author == state.place.bot;
    match method {
        "GET" => Ok(Reply::ok(json(state, message))),
        "PATCH" if !own => Err(refusal::ANOTHERS_MESSAGE.into()),
        "PATCH" => {
            limits::message(&call.body)?;
            if message.now().amended(&call.body, state.began.elapsed(), false).is_empty() && !message.loading {
                return Err(refusal::EMPTY_MESSAGE.into());
            }
            state.amend(id, &call.body);
            Ok(Reply::ok(json(state, seen(state, channel, id)?)))
        }
        "DELETE" if !own => Err(refusal::MISSING_PERMISSIONS.into()),
        "DELETE" => {
            state.delete(id);
            Ok(Reply::done())
        }
        _ => Err(refusal::NOT_FOUND.into()),
    }
}

/// A message as the bot reads it over REST: here the portal's switch counts, and not a session's intents.
fn json(state: &State, message: &Message) -> Value {
    message.json(&state.place, !state.sessions.privileged && !message.is_open(&state.place))
}

fn create(state: &mut State, call: &Call, channel: ChannelId) -> Result<Reply, Refusal> {
    let form = &call.body;
    limits::message(form)?;
    if let Some(again) = repeated(state, form, channel) {
        return Ok(Reply::ok(json(state, again)));
    }
    let reply_to = reply_to(state, form, channel)?;
    let version = Version::default().amended(form, state.began.elapsed(), reply_to.is_some());
    if version.is_empty() {
        return Err(refusal::EMPTY_MESSAGE.into());
    }
    let author = state.place.bot;
    let mut message = state.draft(channel, author, version);
    message.reply_to = reply_to;
    message.nonce = Some(form["nonce"].clone()).filter(|nonce| !nonce.is_null());
    let id = state.post(message);
    Ok(Reply::ok(json(state, seen(state, channel, id)?)))
}

/// The message that was made by the same form before, where the form wants to be known again.
fn repeated<'a>(state: &'a State, form: &Value, channel: ChannelId) -> Option<&'a Message> {
    let nonce = Some(&form["nonce"]).filter(|nonce| !nonce.is_null() && form["enforce_nonce"] == true)?;
    state
        .messages
        .iter()
        .find(|message| message.channel == channel && message.author == state.place.bot && message.nonce.as_ref() == Some(nonce))
}

fn reply_to(state: &State, form: &Value, channel: ChannelId) -> Result<Option<MessageId>, Refusal> {
    let reference = &form["message_reference"];
    let Some(text) = reference["message_id"].as_str() else { return Ok(None) };
    let found = super::id(text).and_then(|id| seen(state, channel, id).ok()).map(|message| message.id);
    if found.is_none() && reference["fail_if_not_exists"] != false {
        let mut faults = super::super::form::Faults::default();
        faults.add("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message");
        faults.end()?;
    }
    Ok(found)
}

/// The newest first, as many as asked for, before or behind one of them.
fn list(state: &State, call: &Call, channel: ChannelId) -> Vec<Value> {
    let number = |key: &str| call.query.get(key).and_then(|text| text.parse::<u64>().ok());
    let limit = usize::try_from(number("limit").unwrap_or(50).clamp(1, 100)).unwrap_or(50);
    let (before, after) = (number("before").unwrap_or(u64::MAX), number("after").unwrap_or(0));
    let all = state.messages.iter().filter(|message| message.channel == channel && !message.ephemeral && !message.deleted);
    let mut found: Vec<&Message> = all.filter(|message| message.id < before && message.id > after).collect();
    if call.query.contains_key("after") {
        found.truncate(limit);
    }
    found.into_iter().rev().take(limit).map(|message| json(state, message)).collect()
}
