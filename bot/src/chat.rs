//! The words of chat: who said what where, what is shown in answer, and the few things that a chat must be able to do.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use pmx::event::Time;
use pmx::name::Actor;

/// A role of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its id.
    pub id: u64,
    /// Its name, where it is known.
    pub name: String,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user's id.
    pub id: u64,
    /// The user's name: unique on Discord, unlike what is shown.
    pub name: String,
    /// The roles of the member.
    pub roles: Vec<Role>,
}

impl Who {
    /// As the store knows whoever asks: `discord:<id>/<name>`.
    pub fn actor(&self) -> Actor {
        Actor::new("discord", &format!("{}/{}", self.id, self.name))
    }
}

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The Discord server; none in a private message.
    pub guild: Option<u64>,
    /// In how many servers the bot is.
    pub guilds: usize,
    /// The channel.
    pub channel: u64,
    /// The channel's name, where it is known.
    pub name: Option<String>,
}

impl Spot {
    /// For people and the audit: `#clankers`.
    pub fn label(&self) -> String {
        match (&self.guild, &self.name) {
            (None, _) => "a private message".to_owned(),
            (Some(_), Some(name)) => format!("#{name}"),
            (Some(_), None) => format!("channel {}", self.channel),
        }
    }
}

/// What opens an interaction for fifteen minutes. Shows as nothing, so that it cannot get into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// A token.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, for the request that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

/// How an answer gets to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// As a reply to a message.
    Message {
        /// The message.
        message: u64,
    },
    /// To a command or press, within three seconds, and then for fifteen minutes.
    Interaction {
        /// Its id.
        id: u64,
        /// What opens it.
        token: Token,
    },
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A message in a channel, as it was typed.
    Said(String),
    /// A command with its argument.
    Command {
        /// The command.
        name: String,
        /// The VM, as typed.
        vm: Option<String>,
    },
    /// A command is being typed: what could stand for the VM?
    Typing {
        /// The command.
        name: String,
        /// What stands there by now.
        typed: String,
    },
    /// A button.
    Press {
        /// What the button means.
        button: String,
        /// The message that carries it.
        message: u64,
    },
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The id of the message, command or press: the same again is a repetition.
    pub id: u64,
    /// When it reached the bot.
    pub at: Time,
    /// Who.
    pub who: Who,
    /// Where.
    pub spot: Spot,
    /// What.
    pub ask: Ask,
    /// How to answer.
    pub route: Route,
}

/// What a card is about, as a colour; never the only sign of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It goes on.
    Busy,
    /// It is as it should be.
    Good,
    /// It went wrong.
    Bad,
    /// It waits for somebody, or was stopped.
    Open,
}

/// A button below a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// What it means to the bot, at most 100 characters.
    pub id: String,
    /// What it says, at most 80 characters.
    pub label: String,
    /// Whether it does something that hurts somebody.
    pub danger: bool,
}

/// One message. All its texts are ready to be shown: escaped, and within Discord's limits (see `card`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// The title, at most 256 characters.
    pub title: String,
    /// The text, at most 4096 characters.
    pub body: String,
    /// The last line, at most 1024 characters here.
    pub footer: String,
    /// Its tone.
    pub tone: Tone,
    /// At most five.
    pub buttons: Vec<Button>,
}

/// Where an answer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The channel.
    pub channel: u64,
    /// The message.
    pub message: u64,
    /// What opens the interaction that it answers, until when; afterwards it is edited as any message.
    pub token: Option<(Token, Time)>,
}

impl Posted {
    /// As the store keeps it: `channel/message`.
    pub fn text(&self) -> String {
        format!("{}/{}", self.channel, self.message)
    }

    /// As it was kept.
    pub fn read(text: &str) -> Option<Self> {
        let (channel, message) = text.split_once('/')?;
        Some(Self { channel: channel.parse().ok()?, message: message.parse().ok()?, token: None })
    }
}

/// Why something could not be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatError {
    /// The message is not there any more.
    Gone,
    /// The interaction was answered before, or cannot be answered any more.
    Late(String),
    /// Discord refuses it, and will again.
    Refused(String),
    /// It may well succeed a moment later.
    Passing(String),
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the message is not there any more"),
            Self::Late(why) | Self::Refused(why) | Self::Passing(why) => f.write_str(why),
        }
    }
}

/// Shorthand for what a chat promises.
pub type Doing<'a, T> = BoxFuture<'a, Result<T, ChatError>>;

/// All that the bot needs of a chat.
pub trait Chat: Send + Sync {
    /// Says that an answer comes: to a command with a message that says so, to a press without one. Nothing for messages.
    fn defer<'a>(&'a self, heard: &'a Heard) -> Doing<'a, ()>;
    /// Answers so that only whoever asked sees it, where Discord can do that; only before `defer`.
    fn whisper<'a>(&'a self, heard: &'a Heard, card: &'a Card) -> Doing<'a, ()>;
    /// Answers for all to see, after `defer`. For a press, that is the message with the button.
    fn answer<'a>(&'a self, heard: &'a Heard, card: &'a Card) -> Doing<'a, Posted>;
    /// Writes a message that answers nothing. `nonce` makes a repetition harmless.
    fn post<'a>(&'a self, channel: u64, nonce: &'a str, card: &'a Card) -> Doing<'a, Posted>;
    /// Replaces what a message shows.
    fn edit<'a>(&'a self, posted: &'a Posted, card: &'a Card) -> Doing<'a, ()>;
    /// Offers completions, at most 25.
    fn choices<'a>(&'a self, heard: &'a Heard, choices: &'a [String]) -> Doing<'a, ()>;
}
