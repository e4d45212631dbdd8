//! All that the stand-in knows; everything that happens changes it under one lock.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;

use super::commands::Commands;
use super::ids::Ids;
use super::interaction::Interaction;
use super::message::{Message, Version};
use super::place::Place;
use super::rates::Rates;
use super::record::Record;
use super::session::Sessions;
use super::{ChannelId, Gateway, MessageId, UserId};

/// Events of messages in channels, and in talks.
pub const GUILD_MESSAGES: u64 = 1 << 9;
/// Events of messages in talks.
pub const DIRECT_MESSAGES: u64 = 1 << 12;
/// What is in messages.
pub const MESSAGE_CONTENT: u64 = 1 << 15;
/// Who is in the guild.
pub const GUILD_MEMBERS: u64 = 1 << 1;
/// The guild, its roles and channels.
pub const GUILDS: u64 = 1;

/// The state.
#[derive(Debug)]
pub struct State {
    /// Where new ids come from.
    pub ids: Ids,
    /// The guild and who is in it.
    pub place: Place,
    /// In the order they were written.
    pub messages: Vec<Message>,
    /// What the bot has registered.
    pub commands: Commands,
    /// By their ids.
    pub interactions: BTreeMap<u64, Interaction>,
    /// The gateway's side.
    pub sessions: Sessions,
    /// What `GET /gateway` says.
    pub gateway: Gateway,
    /// Limits.
    pub rates: Rates,
    /// What was seen.
    pub record: Record,
    /// When the stand-in began.
    pub began: Instant,
    /// The one good token.
    pub token: String,
}

impl State {
    /// A guild with nothing in it.
    pub fn new(token: &str) -> Self {
        let mut ids = Ids::default();
        Self {
            place: Place::new(&mut ids),
            ids,
            messages: Vec::new(),
            commands: Commands::default(),
            interactions: BTreeMap::new(),
            sessions: Sessions::default(),
            gateway: Gateway::Here,
            rates: Rates::default(),
            record: Record::default(),
            began: Instant::now(),
            token: token.to_owned(),
        }
    }

    /// A message that is still there.
    pub fn message_of(&self, id: MessageId) -> Option<&Message> {
        self.messages.iter().find(|message| message.id == id && !message.deleted)
    }

    /// A message, to be changed.
    pub fn message_mut(&mut self, id: MessageId) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.id == id && !message.deleted)
    }

    /// A message with one state and no circumstances, in no channel's list yet.
    pub fn draft(&mut self, channel: ChannelId, author: UserId, version: Version) -> Message {
        Message {
            id: self.ids.next(),
            channel,
            author,
            ephemeral: false,
            deleted: false,
            loading: false,
            reply_to: None,
            asked: None,
            nonce: None,
            versions: vec![version],
        }
    }

    /// Puts a message where it belongs and tells whoever may know.
    pub fn post(&mut self, message: Message) -> MessageId {
        let id = message.id;
        self.messages.push(message);
        self.tell(id, "MESSAGE_CREATE");
        id
    }

    /// Lays a form over a message. The caller has judged it.
    pub fn amend(&mut self, id: MessageId, form: &Value) {
        let at = self.began.elapsed();
        if let Some(message) = self.message_mut(id) {
            let next = message.now().amended(form, at, false);
            message.versions.push(next);
            self.tell(id, "MESSAGE_UPDATE");
        }
    }

    /// Takes a message away.
    pub fn delete(&mut self, id: MessageId) {
        self.tell(id, "MESSAGE_DELETE");
        if let Some(message) = self.message_mut(id) {
            message.deleted = true;
        }
    }

    /// An event about a message, for every session that listens. Nobody is told of ephemeral ones this way.
    fn tell(&mut self, id: MessageId, event: &str) {
        let Some(message) = self.messages.iter().find(|message| message.id == id && !message.ephemeral) else { return };
        let Some(channel) = self.place.channel_of(message.channel).filter(|channel| !channel.hidden) else { return };
        let intent = if channel.with.is_some() { DIRECT_MESSAGES } else { GUILD_MESSAGES };
        let open = message.is_open(&self.place);
        let guild = channel.with.is_none().then(|| self.place.guild.to_string());
        let of = |blank: bool| {
            let mut data = if event == "MESSAGE_DELETE" {
                serde_json::json!({"id": id.to_string(), "channel_id": message.channel.to_string()})
            } else {
                message.json(&self.place, blank)
            };
            if let Some(guild) = &guild {
                data["guild_id"] = Value::from(guild.clone());
                if event != "MESSAGE_DELETE" {
                    data["member"] = self.place.member_json(message.author, false);
                }
            }
            data
        };
        self.sessions.dispatch(event, intent, |intents| of(!open && intents & MESSAGE_CONTENT == 0));
    }

    /// An event that does not depend on who reads it; `intent` 0 is for everybody.
    pub fn dispatch(&mut self, event: &str, intent: u64, data: &Value) {
        self.sessions.dispatch(event, intent, |_| data.clone());
    }
}
