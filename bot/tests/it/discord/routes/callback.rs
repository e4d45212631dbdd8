//! `/interactions/…/callback`: the first answer to an interaction.

use serde_json::Value;

use super::super::commands::each_choice;
use super::super::form::Faults;
use super::super::interaction::{FIRST, First, Interaction, Kind};
use super::super::message::Version;
use super::super::refusal::{self, Refusal};
use super::super::rest::{Call, Reply};
use super::super::state::State;
use super::super::{MessageId, limits};

/// Takes the first answer.
pub fn answer(state: &mut State, call: &Call, id: &str, token: &str) -> Result<Reply, Refusal> {
    let id = super::id(id).ok_or(refusal::UNKNOWN_INTERACTION)?;
    let asked = state.interactions.get(&id).filter(|asked| asked.token == token).cloned().ok_or(refusal::UNKNOWN_INTERACTION)?;
    if asked.first.is_some() {
        return Err(refusal::ACKNOWLEDGED.into());
    }
    if asked.born.elapsed() > FIRST {
        return Err(refusal::UNKNOWN_INTERACTION.into());
    }
    let data = &call.body["data"];
    let ephemeral = data["flags"].as_u64().unwrap_or_default() & 64 != 0;
    let (first, original) = match (call.body["type"].as_u64(), asked.kind) {
        (Some(4), Kind::Command | Kind::Press(_)) => {
            let message = post(state, id, data)?;
            (First::Message { ephemeral }, Some(message))
        }
        (Some(5), Kind::Command | Kind::Press(_)) => (First::Deferred { ephemeral }, Some(thinking(state, id, &asked, ephemeral))),
        (Some(6), Kind::Press(message)) => (First::DeferredUpdate, Some(message)),
        (Some(7), Kind::Press(message)) => {
            limits::message(data)?;
            let old = state.message_of(message).ok_or(refusal::UNKNOWN_MESSAGE)?;
            if old.now().amended(data, state.began.elapsed(), false).is_empty() {
                return Err(refusal::EMPTY_MESSAGE.into());
            }
            state.amend(message, data);
            (First::Update, Some(message))
        }
        (Some(8), Kind::Autocomplete) => (First::Choices(choices(data)?), None),
        (Some(9), _) => return Err(Refusal::not_imitated("modals")),
        _ => {
            let mut faults = Faults::default();
            faults.add("type", "INTERACTION_CALLBACK_TYPE_INVALID", "This type of answer does not fit the interaction");
            return faults.end().map(|()| Reply::done());
        }
    };
    if let Some(asked) = state.interactions.get_mut(&id) {
        asked.first = Some(first);
        asked.original = original;
    }
    Ok(Reply::done())
}

/// Writes a message in answer to an interaction.
pub fn post(state: &mut State, id: u64, form: &Value) -> Result<MessageId, Refusal> {
    limits::message(form)?;
    let asked = state.interactions.get(&id).cloned().ok_or(refusal::UNKNOWN_INTERACTION)?;
    let version = Version::default().amended(form, state.began.elapsed(), false);
    if version.is_empty() {
        return Err(refusal::EMPTY_MESSAGE.into());
    }
    let author = state.place.bot;
    let mut message = state.draft(asked.channel, author, version);
    message.asked = Some(id);
    message.ephemeral = form["flags"].as_u64().unwrap_or_default() & 64 != 0;
    Ok(state.post(message))
}

fn thinking(state: &mut State, id: u64, asked: &Interaction, ephemeral: bool) -> MessageId {
    let author = state.place.bot;
    let version = Version { at: state.began.elapsed(), ..Version::default() };
    let mut message = state.draft(asked.channel, author, version);
    message.asked = Some(id);
    message.ephemeral = ephemeral;
    message.loading = true;
    state.post(message)
}

fn choices(data: &Value) -> Result<Vec<(String, Value)>, Refusal> {
    let mut faults = Faults::default();
    if data["choices"].is_null() {
        faults.required("data.choices");
    }
    let list = faults.list(data, "data.choices", 25);
    each_choice(&mut faults, list, "data.choices");
    faults.end()?;
    Ok(list.iter().map(|choice| (choice["name"].as_str().unwrap_or_default().to_owned(), choice["value"].clone())).collect())
}
