//! `/applications`: the bot's own, and its commands.

use serde_json::{Value, json};

use super::super::commands::Scope;
use super::super::gateway;
use super::super::refusal::{self, Refusal};
use super::super::rest::{Call, Reply};
use super::super::state::State;

/// The application itself.
pub fn own(state: &State, call: &Call) -> Result<Reply, Refusal> {
    if call.method != "GET" {
        return Err(Refusal::not_imitated("a change of the application"));
    }
    let owner = state.place.users.get(1).map_or(0, |user| user.id);
    Ok(Reply::ok(json!({
        "id": state.place.application.to_string(), "name": "pmx", "icon": null, "description": "", "summary": "", "type": null,
        "bot_public": false, "bot_require_code_grant": false, "verify_key": "0".repeat(64), "owner": state.place.user_json(owner),
        "team": null, "flags": gateway::flags(state), "rpc_origins": null,
    })))
}

/// Its commands, everywhere or in a guild.
pub fn route(state: &mut State, call: &Call, application: &str, rest: &[&str]) -> Result<Reply, Refusal> {
    if super::id(application) != Some(state.place.application) {
        return Err(refusal::MISSING_ACCESS.into());
    }
    let (guild, rest) = match rest {
        ["guilds", guild, rest @ ..] => (super::id(guild).filter(|id| *id == state.place.guild).ok_or(refusal::MISSING_ACCESS)?, rest),
        rest => (0, rest),
    };
    let scope = Scope { application: state.place.application, guild };
    match (call.method.as_str(), rest) {
        ("GET", ["commands"]) => Ok(Reply::ok(state.commands.of(guild).to_vec())),
        ("GET", ["commands", id]) => {
            let command = state.commands.of(guild).iter().find(|command| command["id"] == *id).ok_or(refusal::UNKNOWN_COMMAND)?;
            Ok(Reply::ok(command.clone()))
        }
        ("PUT", ["commands"]) => state.commands.replace(&mut state.ids, scope, &call.body).map(|made| Reply::ok(Value::Array(made))),
        (_, ["commands", ..]) => Err(Refusal::not_imitated("commands one by one")),
        _ => Err(refusal::NOT_FOUND.into()),
    }
}
