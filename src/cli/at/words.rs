//! What the two ends of `--at` say to one another, a line each.
//!
//! The far end begins with `pmx-at PROTOCOL VERSION`. Then the near end asks, once, and both say what there is to say until the far end tells how the
//! command ended. Everything is an object of JSON, but for events: `event ` and the line as `--json` writes it.

use serde::{Deserialize, Serialize};

use crate::exec::engine::{Doubt, Question, Recall};

/// Raised when one end would misunderstand the other. A new event, or a new field that may be missing, is no reason.
pub const PROTOCOL: u32 = 1;

/// How the far end's first line begins.
pub const HELLO: &str = "pmx-at ";

/// What stands before an event.
pub const EVENT: &str = "event ";

/// The near end says that it is still there this often, in seconds; after [`SILENCE`] without a word it counts as gone.
pub const HERE_EVERY: u64 = 5;
/// See [`HERE_EVERY`].
pub const SILENCE: u64 = 30;

/// The command, and what the far end has to know of whoever asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The protocol that the near end speaks.
    pub protocol: u32,
    /// Its version, for messages.
    pub version: String,
    /// The words of the command line, without `pmx` and `--at`.
    pub words: Vec<String>,
    /// The profile, from the command line or the environment.
    pub profile: Option<String>,
    /// Who asks: `user@host`.
    pub by: String,
    /// Whether standard output, and standard error, show colours.
    pub colour: (bool, bool),
    /// Columns of the terminal, if it says so.
    pub columns: Option<String>,
    /// Whether somebody is there who can be asked.
    pub somebody: bool,
    /// What the command reads from its standard input, if it reads it; perhaps a secret, which is why it is in no argument.
    pub input: Option<String>,
}

/// What the near end says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Near {
    /// The first word.
    Ask(Ask),
    /// The answer to a question.
    Answer {
        /// Which.
        id: u64,
        /// Whether to go on.
        yes: bool,
    },
    /// The answer to a doubt.
    Recall {
        /// Which.
        id: u64,
        /// What somebody knows.
        recall: Recall,
    },
    /// Ctrl-C.
    Stop {
        /// Whether what runs is cancelled too: it was the second.
        now: bool,
    },
    /// Still there.
    Here,
}

/// What the far end says, beside events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
pub enum Far {
    /// Text for standard output.
    Out {
        /// As it is, with the ends of its lines.
        text: String,
    },
    /// Text for standard error.
    Err {
        /// The same.
        text: String,
    },
    /// Asks whether to go on.
    Question {
        /// Which question.
        id: u64,
        /// The question.
        question: Question,
    },
    /// Asks what became of something.
    Doubt {
        /// Which question.
        id: u64,
        /// What nobody knows.
        doubt: Doubt,
    },
    /// The command ended so.
    End {
        /// The exit code.
        code: u8,
    },
}

/// One line of it. Whatever has no JSON form, a number that is none say, is left out of what may be shown before it comes here.
pub fn line(said: &impl Serialize) -> String {
    serde_json::to_string(said).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let ask = Ask {
            protocol: PROTOCOL,
            version: "1".into(),
            words: vec!["build".into(), "a\nb".into()],
            profile: None,
            by: "me@here".into(),
            colour: (true, false),
            columns: None,
            somebody: true,
            input: None,
        };
        for said in
            [Near::Ask(ask), Near::Answer { id: 1, yes: true }, Near::Recall { id: 2, recall: Recall::Again }, Near::Stop { now: true }]
        {
            let line = line(&said);
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Near>(&line).unwrap(), said);
        }
    }

    #[test]
    fn words_of_the_far_end_are_read_or_refused_however_spoiled() {
        let seeds = [line(&Far::Out { text: "a\n".into() }), line(&Far::End { code: 3 })];
        crate::walks::feed(&seeds, |bytes| serde_json::from_slice::<Far>(bytes).map(drop).map_err(|error| error.to_string()));
    }
}
