//! What a test sees: messages, what was counted, and waits for both.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::rates::Limited;
use super::record::{Identify, Request, Violation};
use super::state::State;
use super::{ChannelId, Discord, Message, MessageId};

impl Discord {
    /// The messages of a channel as everyone sees them.
    pub fn messages(&self, channel: ChannelId) -> Vec<Message> {
        self.shared.look(|state| of(state, channel))
    }

    /// A message, gone or not.
    ///
    /// # Panics
    /// When there never was one.
    pub fn message(&self, id: MessageId) -> Message {
        let find = |state: &State| state.messages.iter().find(|message| message.id == id).cloned();
        self.shared.look(find).unwrap_or_else(|| panic!("there is no message {id}"))
    }

    /// Every message that ever was, those for one person and those that are gone among them.
    pub fn every_message(&self) -> Vec<Message> {
        self.shared.look(|state| state.messages.clone())
    }

    /// Waits until the messages of a channel give what is looked for.
    ///
    /// # Panics
    /// When they do not in time; with the messages that are there.
    pub async fn wait_for<T>(&self, channel: ChannelId, patience: Duration, wanted: impl Fn(&[Message]) -> Option<T>) -> T {
        self.until(&format!("what was wanted of channel {channel}"), patience, |state| wanted(&of(state, channel))).await
    }

    /// Waits until the bot has registered a command of this name; returns it.
    ///
    /// # Panics
    /// When it does not in time.
    pub async fn wait_command(&self, name: &str, patience: Duration) -> Value {
        let look = |state: &State| state.commands.named(state.place.guild, name).cloned();
        self.until(&format!("the command `{name}`"), patience, look).await
    }

    /// Waits until a session is on a line.
    ///
    /// # Panics
    /// When none is in time.
    pub async fn connected(&self, patience: Duration) {
        let look =
            |state: &State| state.sessions.live.iter().any(|session| session.line.is_some() && session.orders.is_empty()).then_some(());
        self.until("a connected session", patience, look).await;
    }

    /// Waits until no session is on a line.
    ///
    /// # Panics
    /// When one still is when the time is over.
    pub async fn disconnected(&self, patience: Duration) {
        let look = |state: &State| state.sessions.live.iter().all(|session| session.line.is_none()).then_some(());
        self.until("no session on a line", patience, look).await;
    }

    /// Waits until the state gives what is looked for.
    pub(super) async fn until<T>(&self, what: &str, patience: Duration, wanted: impl Fn(&State) -> Option<T>) -> T {
        let mut changes = self.shared.changes();
        let wait = async {
            loop {
                if let Some(found) = self.shared.look(&wanted) {
                    break found;
                }
                changes.changed().await.expect("the handle keeps the sender");
            }
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(found) => found,
            Err(_) => panic!("waited {patience:?} for {what}\n{}", self.story()),
        }
    }

    /// All that happened, for whoever reads why a test failed.
    pub fn story(&self) -> String {
        self.shared.look(|state| {
            let mut lines = Vec::new();
            for message in &state.messages {
                let who = state.place.user_of(message.author).map_or("?", |user| &user.name);
                let how = [(message.ephemeral, "ephemeral"), (message.deleted, "deleted"), (message.loading, "thinking")];
                let how: Vec<&str> = how.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
                let at = message.now().at.as_secs_f64();
                lines.push(format!("{at:8.3} {} {who}{how:?} ({} states): {}", message.id, message.versions.len(), message.text()));
            }
            lines.extend(state.record.violations.iter().map(|violation| format!("refused: {violation}")));
            for request in state.record.requests.iter().rev().take(20).rev() {
                lines.push(format!("{:8.3} {} {} → {}", request.at.as_secs_f64(), request.method, request.path, request.status));
            }
            lines.join("\n")
        })
    }

    /// Every refusal but those of limits.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.look(|state| state.record.violations.clone())
    }

    /// Refusals of limits.
    pub fn limited(&self) -> Vec<Limited> {
        self.shared.look(|state| state.record.limited.clone())
    }

    /// How many answers were 401, 403 or 429.
    pub fn invalid_requests(&self) -> usize {
        self.shared.look(|state| state.record.invalid)
    }

    /// Every IDENTIFY.
    pub fn identifies(&self) -> Vec<Identify> {
        self.shared.look(|state| state.record.identifies.clone())
    }

    /// How many sessions were resumed.
    pub fn resumes(&self) -> usize {
        self.shared.look(|state| state.record.resumes)
    }

    /// Every request.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.look(|state| state.record.requests.clone())
    }

    /// Whom any state of any of the bot's messages would disturb.
    pub fn pings(&self) -> Vec<(MessageId, String)> {
        let of = |message: &Message| {
            message.versions.iter().flat_map(|version| version.pings.clone()).map(|ping| (message.id, ping)).collect::<Vec<_>>()
        };
        self.shared.look(|state| state.messages.iter().filter(|message| message.author == state.place.bot).flat_map(of).collect())
    }

    /// Every token that was shown, right or wrong.
    pub fn seen_tokens(&self) -> BTreeSet<String> {
        self.shared.look(|state| state.record.tokens.clone())
    }

    /// The registered commands.
    pub fn commands(&self) -> Vec<Value> {
        self.shared.look(|state| state.commands.all())
    }
}

fn of(state: &State, channel: ChannelId) -> Vec<Message> {
    let seen = |message: &&Message| message.channel == channel && !message.ephemeral && !message.deleted;
    state.messages.iter().filter(seen).cloned().collect()
}
