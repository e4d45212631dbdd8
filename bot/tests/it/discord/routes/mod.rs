//! The routes of the API: which function answers which path.

mod applications;
mod callback;
mod channels;
mod guilds;
mod webhooks;

use serde_json::json;

use super::Gateway;
use super::refusal::{self, Refusal};
use super::rest::{Call, Reply};
use super::state::State;

/// Answers a request that may be made.
pub fn route(state: &mut State, call: &Call, parts: &[&str]) -> Result<Reply, Refusal> {
    match (call.method.as_str(), parts) {
        ("GET", ["gateway"]) => gateway(state, false),
        ("GET", ["gateway", "bot"]) => gateway(state, true),
        (_, ["users", rest @ ..]) => users(state, call, rest),
        (_, ["oauth2", "applications", "@me"] | ["applications", "@me"]) => applications::own(state, call),
        (_, ["applications", application, rest @ ..]) => applications::route(state, call, application, rest),
        (_, ["guilds", guild, rest @ ..]) => guilds::route(state, call, guild, rest),
        (_, ["channels", channel, rest @ ..]) => channels::route(state, call, channel, rest),
        ("POST", ["interactions", id, token, "callback"]) => callback::answer(state, call, id, token),
        (_, ["webhooks", application, token, rest @ ..]) => {
            let target = webhooks::Target { application, token, rest };
            webhooks::route(state, call, &target)
        }
        _ => Err(refusal::NOT_FOUND.into()),
    }
}

fn gateway(state: &State, bot: bool) -> Result<Reply, Refusal> {
    let url = match &state.gateway {
        Gateway::Here => state.sessions.url.clone(),
        Gateway::Elsewhere(url) => url.clone(),
        Gateway::Fails(status) => {
            return Ok(Reply { status: *status, body: json!({"message": "upstream connect error", "code": 0}) });
        }
    };
    if !bot {
        return Ok(Reply::ok(json!({"url": url})));
    }
    let left = 1000_usize.saturating_sub(state.record.identifies.len());
    let limit = json!({"total": 1000, "remaining": left, "reset_after": 86_400_000, "max_concurrency": 1});
    Ok(Reply::ok(json!({"url": url, "shards": 1, "session_start_limit": limit})))
}

fn users(state: &mut State, call: &Call, rest: &[&str]) -> Result<Reply, Refusal> {
    let place = &mut state.place;
    match (call.method.as_str(), rest) {
        ("GET", ["@me"]) => Ok(Reply::ok(place.user_json(place.bot))),
        ("POST", ["@me", "channels"]) => {
            let with = id(call.body["recipient_id"].as_str().unwrap_or_default());
            let with = with.filter(|id| place.user_of(*id).is_some()).ok_or(refusal::UNKNOWN_USER)?;
            let channel = place.talk(&mut state.ids, with);
            let channel = place.channel_of(channel).ok_or(refusal::UNKNOWN_CHANNEL)?;
            Ok(Reply::ok(place.channel_json(channel)))
        }
        ("GET", [user]) => {
            let user = id(user).and_then(|id| place.user_of(id)).ok_or(refusal::UNKNOWN_USER)?;
            Ok(Reply::ok(place.user_json(user.id)))
        }
        _ => Err(refusal::NOT_FOUND.into()),
    }
}

/// An id out of a path or a form.
fn id(text: &str) -> Option<u64> {
    text.parse().ok()
}
