//! An interaction: three seconds for its first answer, fifteen minutes for all others.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{ChannelId, MessageId, UserId};

/// How long an interaction waits for its first answer.
pub const FIRST: Duration = Duration::from_secs(3);
/// How long its token is good.
pub const TOKEN: Duration = Duration::from_secs(15 * 60);

/// What somebody did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sent a slash command.
    Command,
    /// Typed in an option of one.
    Autocomplete,
    /// Pressed a button of this message.
    Press(MessageId),
}

/// The first answer.
#[derive(Clone, Debug, PartialEq)]
pub enum First {
    /// A message at once.
    Message {
        /// For the person only.
        ephemeral: bool,
    },
    /// "… is thinking", a message later.
    Deferred {
        /// For the person only.
        ephemeral: bool,
    },
    /// Nothing to be seen; the message with the button is edited later.
    DeferredUpdate,
    /// The message with the button was edited.
    Update,
    /// What an option could be completed to: names and values.
    Choices(Vec<(String, Value)>),
}

/// An interaction.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// The token of its webhook.
    pub token: String,
    /// What was done.
    pub kind: Kind,
    /// By whom.
    pub user: UserId,
    /// Where.
    pub channel: ChannelId,
    /// When it was sent.
    pub born: Instant,
    /// How it was answered.
    pub first: Option<First>,
    /// The message that its first answer made or edits.
    pub original: Option<MessageId>,
    /// The messages after that.
    pub followups: Vec<MessageId>,
    /// Its token is no good any more, however young it is.
    pub expired: bool,
}

impl Interaction {
    /// Whether its webhook is closed.
    pub fn is_over(&self) -> bool {
        self.expired || self.born.elapsed() > TOKEN
    }
}
