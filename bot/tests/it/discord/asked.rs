//! A handle on an interaction: what became of it.

use std::time::Duration;

use serde_json::Value;

use super::interaction::{FIRST, First};
use super::{Discord, Message};

/// An interaction that somebody sent.
#[derive(Clone)]
pub struct Asked {
    discord: Discord,
    /// Its id.
    pub id: u64,
    token: String,
}

impl Asked {
    /// A handle on the interaction of this id.
    pub(super) fn new(discord: Discord, id: u64, token: String) -> Self {
        Self { discord, id, token }
    }

    /// The token of its webhook.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its token is no good from now on, as after fifteen minutes.
    pub fn expire_token(&self) {
        self.discord.shared.change(|state| {
            if let Some(asked) = state.interactions.get_mut(&self.id) {
                asked.expired = true;
            }
        });
    }

    /// Waits for the first answer.
    ///
    /// # Panics
    /// When it does not come in time; after three seconds none can come any more.
    pub async fn first(&self) -> First {
        let patience = FIRST + Duration::from_secs(1);
        let what = format!("a first answer to interaction {}", self.id);
        self.discord.until(&what, patience, |state| state.interactions[&self.id].first.clone()).await
    }

    /// Waits for what an option can be completed to.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub async fn choices(&self) -> Vec<(String, Value)> {
        match self.first().await {
            First::Choices(choices) => choices,
            other => panic!("choices were asked for, and {other:?} came"),
        }
    }

    /// The message that its first answer made or edits, as it is now.
    pub fn message(&self) -> Option<Message> {
        self.discord.shared.look(|state| {
            let original = state.interactions[&self.id].original?;
            state.message_of(original).cloned()
        })
    }

    /// The messages after that.
    pub fn followups(&self) -> Vec<Message> {
        self.discord
            .shared
            .look(|state| state.interactions[&self.id].followups.iter().filter_map(|id| state.message_of(*id)).cloned().collect())
    }

    /// Waits until its message is as wanted.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn wait(&self, patience: Duration, wanted: impl Fn(&Message) -> bool) -> Message {
        let what = format!("what was wanted of the message of interaction {}", self.id);
        let look = |state: &super::state::State| {
            let original = state.interactions[&self.id].original?;
            state.message_of(original).filter(|message| wanted(message)).cloned()
        };
        self.discord.until(&what, patience, look).await
    }
}
