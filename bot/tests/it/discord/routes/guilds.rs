//! `/guilds`: the guild, its roles, channels and members.

use serde_json::Value;

use super::super::refusal::{self, Refusal};
use super::super::rest::{Call, Reply};
use super::super::state::State;

/// What is asked of the guild; it can only be read.
pub fn route(state: &State, call: &Call, guild: &str, rest: &[&str]) -> Result<Reply, Refusal> {
    let place = &state.place;
    if super::id(guild) != Some(place.guild) {
        return Err(refusal::UNKNOWN_GUILD.into());
    }
    if call.method != "GET" {
        return Err(refusal::MISSING_PERMISSIONS.into());
    }
    match rest {
        [] => Ok(Reply::ok(place.guild_json())),
        ["roles"] => Ok(Reply::ok(place.roles_json())),
        ["channels"] => Ok(Reply::ok(place.channels_json())),
        ["members"] => members(state, call),
        ["members", user] => {
            let user = super::id(user).and_then(|id| place.user_of(id)).ok_or(refusal::UNKNOWN_MEMBER)?;
            Ok(Reply::ok(place.member_json(user.id, true)))
        }
        _ => Err(refusal::NOT_FOUND.into()),
    }
}

/// A page of all members, for an application that may know who is there.
fn members(state: &State, call: &Call) -> Result<Reply, Refusal> {
    if !state.sessions.privileged {
        return Err(refusal::MISSING_ACCESS.into());
    }
    let number = |key: &str| call.query.get(key).and_then(|text| text.parse::<u64>().ok());
    let (after, limit) = (number("after").unwrap_or(0), number("limit").unwrap_or(1).clamp(1, 1000));
    let page = state.place.users.iter().filter(|user| user.id > after).take(usize::try_from(limit).unwrap_or(1));
    Ok(Reply::ok(page.map(|user| state.place.member_json(user.id, true)).collect::<Vec<Value>>()))
}
