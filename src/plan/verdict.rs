//! Verdicts: why an action runs or does not, each with what was and what is.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::digest::Digest;
use crate::event::{Lasting, Time};
use crate::model::contract::Effect;
use crate::name::{ResourceName, ResourcePattern, RunId};
use crate::plan::graph::{Action, Implied};
use crate::plan::key::{Difference, Manifest};
use crate::store::words::{ActionRecord, Version};

/// Why an action runs or does not.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Runs: it changes the world, and only looking tells whether there is something to do.
    EffectAlwaysRuns {
        /// Converge, Act or Destroy.
        effect: Effect,
    },
    /// Runs: an Observe without a window looks each time.
    AlwaysLooks,
    /// Runs: nothing like it was ever done here.
    NeverDone,
    /// Runs: an implied refresh of something that nobody has seen yet.
    NeverSeen {
        /// What is refreshed.
        resource: ResourcePattern,
        /// The first reader.
        reader: String,
    },
    /// Runs: it was done before with other arguments.
    KeyChanged {
        /// What differs; empty when the old manifest is not kept any more.
        differences: Vec<Difference>,
    },
    /// Runs: somebody wrote what it had written.
    OutputMoved {
        /// The resource.
        resource: ResourceName,
        /// The run that moved it.
        by: RunId,
        /// The step there.
        step: String,
    },
    /// Runs: what it had written is not here any more.
    OutputGone {
        /// The resource.
        resource: ResourceName,
    },
    /// Runs: what is known is too old.
    Expired {
        /// How old it is.
        age: Duration,
        /// How old it may be.
        window: Duration,
    },
    /// Does not run: what is known is young enough.
    Fresh {
        /// How old it is.
        age: Duration,
        /// How old it may be; `None` is for ever.
        window: Option<Duration>,
    },
}

impl Verdict {
    /// Whether the action runs.
    pub const fn runs(&self) -> bool {
        !matches!(self, Self::Fresh { .. })
    }
}

/// What the store knows about an action.
pub struct Evidence<'a> {
    /// The action's key now.
    pub key: Digest,
    /// The manifest that explains it.
    pub manifest: &'a Manifest,
    /// The newest successful record with this key.
    pub same_key: Option<&'a ActionRecord>,
    /// The newest record about this subject, and its manifest if that is kept: what the key differs from.
    pub same_subject: Option<(&'a ActionRecord, Option<&'a Manifest>)>,
    /// Present heads: of the outputs of `same_key`, and for an implied refresh of what it refreshes.
    pub heads: &'a BTreeMap<ResourceName, Version>,
    /// The moment to judge at.
    pub now: Time,
}

/// How old an observation may be to be taken as it is; `None` is for ever. The step's `fresh` first; then for an implied refresh what its spec lets
/// readers trust, for a step what its method says.
pub fn window(action: &Action) -> Option<Duration> {
    if action.flow.options.fresh.is_some() {
        return action.flow.options.fresh;
    }
    match &action.flow.implied {
        Some(implied) => action.call.kind.spec(&implied.resource.spec).and_then(|spec| spec.trust),
        None => Some(action.call.method.fresh),
    }
}

/// Whether the action must run, and why. Pure: the same evidence gives the same verdict.
pub fn verdict(action: &Action, evidence: &Evidence<'_>) -> Verdict {
    let effect = action.call.method.effect;
    if effect.acts() {
        return Verdict::EffectAlwaysRuns { effect };
    }
    let window = window(action);
    if window == Some(Duration::ZERO) {
        return Verdict::AlwaysLooks;
    }
    match &action.flow.implied {
        Some(implied) => match implied.resource.exact() {
            Some(name) => trusted(action, implied, evidence.heads.get(&name), evidence, window),
            None => done(implied, evidence, window),
        },
        None => observed(evidence, window),
    }
}

/// A single resource is trusted by the age of its head, whoever wrote it; a head that this very observation made under another key is not.
fn trusted(action: &Action, implied: &Implied, head: Option<&Version>, evidence: &Evidence<'_>, window: Option<Duration>) -> Verdict {
    let Some(head) = head else { return never_seen(implied) };
    if head.made.call == action.call.name() && head.made.key != evidence.key {
        return changed(evidence);
    }
    aged(evidence.now.since(head.made.at), window)
}

/// All instances of a spec are known only when all were looked at together: the record tells when. Heads that moved since are younger still.
fn done(implied: &Implied, evidence: &Evidence<'_>, window: Option<Duration>) -> Verdict {
    match evidence.same_key {
        Some(record) => aged(evidence.now.since(record.made.at), window),
        None if evidence.same_subject.is_some() => changed(evidence),
        None => never_seen(implied),
    }
}

fn never_seen(implied: &Implied) -> Verdict {
    Verdict::NeverSeen { resource: implied.resource.clone(), reader: implied.reader.clone() }
}

/// A step's observation is fresh when its key is equal, its outputs are still the heads, and it is young enough.
fn observed(evidence: &Evidence<'_>, window: Option<Duration>) -> Verdict {
    let Some(record) = evidence.same_key else {
        return if evidence.same_subject.is_some() { changed(evidence) } else { Verdict::NeverDone };
    };
    for output in &record.outputs {
        match evidence.heads.get(&output.resource) {
            None => return Verdict::OutputGone { resource: output.resource.clone() },
            Some(head) if output.version != Some(head.digest()) => {
                return Verdict::OutputMoved { resource: output.resource.clone(), by: head.made.run.clone(), step: head.made.step.clone() };
            }
            Some(_) => {}
        }
    }
    aged(evidence.now.since(record.made.at), window)
}

fn changed(evidence: &Evidence<'_>) -> Verdict {
    let old = evidence.same_subject.and_then(|(_, manifest)| manifest);
    Verdict::KeyChanged { differences: old.map(|old| evidence.manifest.differences(old)).unwrap_or_default() }
}

fn aged(age: Duration, window: Option<Duration>) -> Verdict {
    match window {
        Some(window) if age >= window => Verdict::Expired { age, window },
        window => Verdict::Fresh { age, window },
    }
}

/// One sentence, a lower-case fragment.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EffectAlwaysRuns { effect: Effect::Converge } => {
                f.write_str("runs: it looks first, and does nothing when all is so already")
            }
            Self::EffectAlwaysRuns { effect: Effect::Destroy } => f.write_str("runs: it cannot be undone, so it is never taken as done"),
            Self::EffectAlwaysRuns { .. } => f.write_str("runs: it happens again each time"),
            Self::AlwaysLooks => f.write_str("runs: it looks each time; `fresh = \"10m\"` in the step would take a younger look as it is"),
            Self::NeverDone => f.write_str("runs: it was never done here"),
            Self::NeverSeen { resource, reader } => write!(f, "runs: nothing is known of {resource} yet, and {reader} reads it"),
            Self::KeyChanged { differences } if differences.is_empty() => {
                f.write_str("runs: its arguments differ from last time; the old ones are not kept any more")
            }
            Self::KeyChanged { differences } => {
                let all: Vec<String> = differences.iter().map(ToString::to_string).collect();
                write!(f, "runs: {}", all.join("; "))
            }
            Self::OutputMoved { resource, by, step } => write!(f, "runs: {resource} was written since, by {step} of run {}", by.short()),
            Self::OutputGone { resource } => write!(f, "runs: {resource} is not in the store any more"),
            Self::Expired { age, window } => write!(f, "runs: what is known is {} old, and may be {}", Lasting(*age), Lasting(*window)),
            Self::Fresh { age, window: Some(window) } => {
                write!(f, "fresh: what is known is {} old, and may be {}", Lasting(*age), Lasting(*window))
            }
            Self::Fresh { age, window: None } => write!(f, "fresh: what is known is {} old, and stays true", Lasting(*age)),
        }
    }
}
