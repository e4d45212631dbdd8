//! `/webhooks`: what comes after the first answer to an interaction, as long as its token is good.

use super::super::MessageId;
use super::super::interaction::{First, Interaction};
use super::super::limits;
use super::super::message::Message;
use super::super::refusal::{self, Refusal};
use super::super::rest::{Call, Reply};
use super::super::state::State;

/// What the path says.
pub struct Target<'a> {
    /// Whose webhook.
    pub application: &'a str,
    /// The interaction's token.
    pub token: &'a str,
    /// What is behind it.
    pub rest: &'a [&'a str],
}

/// What is asked of an interaction's webhook.
pub fn route(state: &mut State, call: &Call, target: &Target<'_>) -> Result<Reply, Refusal> {
    if super::id(target.application) != Some(state.place.application) {
        return Err(refusal::UNKNOWN_WEBHOOK.into());
    }
    let found = state.interactions.iter().find(|(_, asked)| asked.token == target.token && !asked.is_over());
    let (id, asked) = found.map(|(id, asked)| (*id, asked.clone())).ok_or(refusal::WEBHOOK_TOKEN)?;
    if matches!(asked.first, None | Some(First::Choices(_))) {
        return Err(refusal::UNKNOWN_WEBHOOK.into());
    }
    match (call.method.as_str(), target.rest) {
        ("POST", []) => follow_up(state, call, id, &asked),
        (method, ["messages", message]) => {
            let message = named(&asked, message)?;
            one(state, call, method, message)
        }
        _ => Err(refusal::NOT_FOUND.into()),
    }
}

fn named(asked: &Interaction, message: &str) -> Result<MessageId, Refusal> {
    let found = match message {
        "@original" => asked.original,
        text => super::id(text).filter(|id| asked.original == Some(*id) || asked.followups.contains(id)),
    };
    found.ok_or_else(|| refusal::UNKNOWN_MESSAGE.into())
}

fn one(state: &mut State, call: &Call, method: &str, id: MessageId) -> Result<Reply, Refusal> {
    let message = state.message_of(id).ok_or(refusal::UNKNOWN_MESSAGE)?;
    match method {
        "GET" => Ok(Reply::ok(message.json(&state.place, false))),
        "PATCH" => {
            limits::message(&call.body)?;
            if message.now().amended(&call.body, state.began.elapsed(), false).is_empty() {
                return Err(refusal::EMPTY_MESSAGE.into());
            }
            edit(state, call, id)
        }
        "DELETE" => {
            state.delete(id);
            Ok(Reply::done())
        }
        _ => Err(refusal::NOT_FOUND.into()),
    }
}

fn edit(state: &mut State, call: &Call, id: MessageId) -> Result<Reply, Refusal> {
    if let Some(message) = state.message_mut(id) {
        message.loading = false;
    }
    state.amend(id, &call.body);
    let message = state.message_of(id).ok_or(refusal::UNKNOWN_MESSAGE)?;
    Ok(Reply::ok(message.json(&state.place, false)))
}

/// A further message; the first one behind "… is thinking" takes that one's place, and its being ephemeral or not.
fn follow_up(state: &mut State, call: &Call, id: u64, asked: &Interaction) -> Result<Reply, Refusal> {
    let thinking =
        asked.original.and_then(|original| state.message_of(original)).filter(|message| message.loading).map(|message| message.id);
    if let Some(original) = thinking {
        return one(state, call, "PATCH", original);
    }
    let made = super::callback::post(state, id, &call.body)?;
    if let Some(asked) = state.interactions.get_mut(&id) {
        asked.followups.push(made);
    }
    let json = |message: &Message| message.json(&state.place, false);
    Ok(Reply::ok(state.message_of(made).map(json).ok_or(refusal::UNKNOWN_MESSAGE)?))
}
