//! What the store keeps: versions, records and runs as plain data, with the digest that chains versions.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Fields};
use crate::event::{Ending, RunState, Stamped, Time};
use crate::name::{Actor, ResourceName, RunId};
use crate::store::lease::Change;

/// One link of a resource's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The resource.
    pub resource: ResourceName,
    /// Its place in the chain, from 1.
    pub number: u64,
    /// The digest of the version before; `None` for the first.
    pub parent: Option<Digest>,
    /// The blob of its attributes: canonical JSON with markers in place of secrets.
    pub content: Digest,
    /// The action that wrote it.
    pub made: Made,
    /// The blob of the action's log, if it had one.
    pub log: Option<Digest>,
}

/// Who made a version, how and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The run.
    pub run: RunId,
    /// The step in it, `stop-calamity/stop-vm`.
    pub step: String,
    /// The call, `fleet.stop`.
    pub call: String,
    /// The action key.
    pub key: Digest,
    /// When.
    pub at: Time,
    /// Who asked.
    pub actor: Actor,
}

/// A version, with the bytes of its content where they were at hand.
pub type WithContent = (Version, Option<Vec<u8>>);

impl Version {
    /// The digest that names this version; every field counts, the parent too, so that a chain cannot be edited unnoticed.
    pub fn digest(&self) -> Digest {
        let mut fields = Fields::new("pmx version 1");
        fields.text(&self.resource.to_string()).number(self.number);
        fields.optional(self.parent.map(|digest| digest.hex()).as_deref());
        fields.bytes(self.content.as_bytes());
        fields.text(self.made.run.as_str()).text(&self.made.step).text(&self.made.call);
        fields.bytes(self.made.key.as_bytes()).number(self.made.at.0.cast_unsigned()).text(self.made.actor.as_str());
        fields.optional(self.log.map(|digest| digest.hex()).as_deref());
        fields.finish()
    }
}

/// A version to be written.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// The resource.
    pub resource: ResourceName,
    /// Its attributes: canonical JSON with markers in place of secrets.
    pub content: Vec<u8>,
    /// What the head must be: the version's digest, or `None` for a resource without versions. Anything else is [`StoreError::HeadMoved`].
    pub expected: Option<Digest>,
    /// Who makes it.
    pub made: Made,
    /// The blob of the log.
    pub log: Option<Digest>,
}

/// Everything that belongs together in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Versions, each moving a head.
    pub versions: Vec<NewVersion>,
    /// Sealed secrets by their keyed digest; known ones are left as they are.
    pub sealed: Vec<(Digest, Vec<u8>)>,
    /// Records of actions that ended.
    pub records: Vec<ActionRecord>,
    /// Journal lines of a run, appended in order.
    pub journal: Option<(RunId, Vec<Stamped>)>,
    /// The state a run has from now on, with its end time unless it is still running.
    pub state: Option<(RunId, RunState, Option<Time>)>,
    /// What becomes of a run's leases; nothing happens for what it does not hold.
    pub leases: Option<(RunId, Change)>,
}

/// What an action did: one row per action per run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// The run and the step, with the call, key, time and actor.
    pub made: Made,
    /// The call and what it acts on, `fleet.stop vm/calamity`: finds the record to compare with.
    pub subject: String,
    /// The blob that explains the key: the manifest of what went into it, secrets by account or keyed digest.
    pub manifest: Digest,
    /// How it ended.
    pub ending: Ending,
    /// What it did, in a sentence.
    pub summary: String,
    /// The versions it wrote or confirmed: resource and version digest. An Observe that lost the race for a head names its content instead.
    pub outputs: Vec<Output>,
    /// The versions its expressions read.
    pub reads: Vec<(ResourceName, Digest)>,
    /// The blob of its log.
    pub log: Option<Digest>,
    /// When it began; `made.at` is when it ended.
    pub began: Time,
}

impl ActionRecord {
    /// Whether it ran and succeeded. An action skipped as fresh did not look at the world: its record would make itself fresh for ever.
    pub const fn succeeded(&self) -> bool {
        matches!(self.ending, Ending::Done | Ending::Unchanged)
    }
}

/// One output of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The resource.
    pub resource: ResourceName,
    /// The blob of its attributes.
    pub content: Digest,
    /// The version in the chain; `None` when the head had moved on and the observation stayed outside.
    pub version: Option<Digest>,
}

/// Text that is JSON as the value it means; as text, should it be no JSON.
fn as_json<S: serde::Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.serialize_str(text),
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// The targets as typed.
    pub targets: Vec<String>,
    /// The inputs as canonical JSON, secrets redacted; shown as the object that it is.
    #[serde(serialize_with = "as_json")]
    pub inputs: String,
    /// Who asked.
    pub actor: Actor,
    /// When it began.
    pub began: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// How it stands.
    pub state: RunState,
    /// The blob of its graph as it was planned.
    pub graph: Digest,
    /// The version of pmx that ran it.
    pub version: String,
}

/// What somebody asked for over chat, allowed or not, and what became of it. Written when it is heard, and again with every answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// The id of the message or press, as the chat gives it: hearing it twice is hearing it once.
    pub id: String,
    /// When it was heard.
    pub at: Time,
    /// Who asked.
    pub actor: Actor,
    /// Where: the channel, or that it was a private message.
    pub place: String,
    /// What was asked for: `stop calamity`, or the meaning of a pressed button.
    pub asked: String,
    /// What was answered: `refused: …`, or how it stands; empty until there is an answer.
    pub answer: String,
    /// The run that it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Where the answer stands, as the chat names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posted: Option<String>,
    /// Whether the answer is the last one.
    pub settled: bool,
}

/// Which of two formats is older, and what to do. Nothing is converted in passing: an older pmx may still be at work on it.
fn kin(found: &str, known: u32) -> &'static str {
    match found.parse::<u32>() {
        Ok(found) if found > known => ", and a newer pmx made this store: use that one",
        Ok(found) if found > 0 => ", and an older pmx made this store: use that one, or move the store away to begin a new one",
        _ => "",
    }
}

/// What a run is asked for by somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Who asks.
    pub by: Actor,
    /// Whether what runs is cancelled too; else it may end, and nothing new starts.
    pub now: bool,
}

/// What can go wrong in a store.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// Somebody else wrote the resource first.
    #[error("{name} has moved on: expected version {expected}, found {found}")]
    HeadMoved {
        /// The resource.
        name: ResourceName,
        /// What was expected, short.
        expected: String,
        /// What is there, short.
        found: String,
    },
    /// A row or blob is not what its digest says.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// Which blob, version or row.
        what: String,
        /// How it is known.
        why: String,
    },
    /// A content that `pmx gc` has dropped.
    #[error("{what} was dropped by `pmx gc`")]
    Dropped {
        /// The content of which version.
        what: String,
    },
    /// The directory was written by another format.
    #[error("{path} has store format {found}; this pmx reads and writes format {known}{}", kin(.found, *.known))]
    Format {
        /// The store's directory.
        path: String,
        /// What its FORMAT file says.
        found: String,
        /// What is known here.
        known: u32,
    },
    /// The file system or SQLite refused.
    #[error("could not {attempt}: {cause}")]
    Io {
        /// What was attempted with what.
        attempt: String,
        /// What the system said.
        cause: String,
    },
}
