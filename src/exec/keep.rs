//! Keeping: what an action found in the store when it began, and what it leaves there when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::event::{Ending, Event, Time};
use crate::exec::act::Previous;
use crate::exec::engine::Engine;
use crate::exec::view;
use crate::model::contract::{Effect, Failure, Instance, Outcome, Written};
use crate::name::{ResourceName, ResourcePattern};
use crate::plan::graph::Action;
use crate::plan::key::Manifest;
use crate::store::Store;
use crate::store::words::{ActionRecord, Commit, Made, NewVersion, Output, StoreError, Version};
use crate::value::Value;

/// What the store knew when an action began.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The action key.
    pub key: Digest,
    /// What went into it.
    pub manifest: Manifest,
    /// The call and what it writes: finds the record to compare with.
    pub subject: String,
    /// The resources it will write, as far as they are known.
    pub exact: Vec<ResourceName>,
    /// Their heads, those of wildcards, and those of what the same key wrote before, when it began: an Observe moves a head only from here.
    pub heads: BTreeMap<ResourceName, Version>,
    /// The attributes of those heads.
    pub previous: Previous,
    /// The uuid of the machine it acts on.
    pub machine_uuid: Option<String>,
    /// What keeps the definition's single instances apart.
    pub variant: Option<String>,
    /// The newest successful record with the same key.
    pub same_key: Option<ActionRecord>,
    /// The newest record with the same subject, with its manifest.
    pub same_subject: Option<(ActionRecord, Option<Manifest>)>,
}

fn ours(error: StoreError) -> Failure {
    Failure::bug(error.to_string())
}

/// Reads what the store knows before an action begins.
pub async fn begin(
    engine: &Arc<Engine>,
    action: &Action,
    (key, manifest): (Digest, Manifest),
    (names, variant): (Vec<ResourcePattern>, Option<String>),
) -> Result<Attempt, Failure> {
    let (sealer, redactor) = (Arc::clone(&engine.view.sealer), engine.view.redactor.clone());
    let machine = machine_of(action);
    let call = action.call.name();
    let job = move |store: &mut dyn Store| -> Result<Attempt, StoreError> {
        let mut heads = BTreeMap::new();
        let mut previous = Previous::new();
        for pattern in &names {
            for version in store.heads(Some(pattern))? {
                let attributes = view::attributes(store, Some((&*sealer, &redactor)), &version)?;
                previous.insert((version.resource.spec.clone(), version.resource.instance.clone()), attributes);
                heads.insert(version.resource.clone(), version);
            }
        }
        let machine_uuid = match machine {
            Some(name) => store.head(&name)?.map(|version| view::attributes(store, None, &version)).transpose()?,
            None => None,
        };
        let mut subject = call;
        for name in &names {
            subject.push_str(&format!(" {}/{}", name.spec, name.instance.as_deref().unwrap_or("*")));
        }
        let same_subject = match store.record_by_subject(&subject)? {
            Some(record) => {
                let manifest = store.blob(&record.manifest)?.and_then(|bytes| String::from_utf8(bytes).ok()).map(Manifest::stored);
                Some((record, manifest))
            }
            None => None,
        };
        let same_key = store.record_by_key(&key)?;
        for output in same_key.iter().flat_map(|record| &record.outputs) {
            if let (false, Some(version)) = (heads.contains_key(&output.resource), store.head(&output.resource)?) {
                heads.insert(output.resource.clone(), version);
            }
        }
        Ok(Attempt {
            variant,
            key,
            manifest,
            subject,
            exact: names.iter().filter_map(ResourcePattern::exact).collect(),
            heads,
            previous,
            machine_uuid: machine_uuid.and_then(|attributes| attributes.get("uuid").and_then(Value::as_str).map(str::to_owned)),
            same_key,
            same_subject,
        })
    };
    engine.view.keeper.call(job).await.map_err(ours)
}

/// The machine whose resource the action's place names, if it is one.
fn machine_of(action: &Action) -> Option<ResourceName> {
    action.touch.places.iter().find_map(|used| match &used.place {
        crate::name::Place::Machine(pattern) => pattern.exact(),
        _ => None,
    })
}

/// An action that ended well.
pub struct Ended {
    /// What was known when it began.
    pub attempt: Attempt,
    /// What its expressions read.
    pub reads: Vec<ResourceName>,
    /// What it did.
    pub outcome: Outcome,
    /// How it ended.
    pub ending: Ending,
    /// When it began.
    pub began: Time,
    /// Its log.
    pub log: Option<String>,
}

/// An action that failed.
pub struct Lost<'a> {
    /// What was known when it began.
    pub attempt: Attempt,
    /// What its expressions read.
    pub reads: Vec<ResourceName>,
    /// Why.
    pub failure: &'a Failure,
    /// When it began.
    pub began: Time,
    /// Its log.
    pub log: Option<String>,
}

fn made(engine: &Engine, action: &Action, key: Digest) -> Made {
    Made {
        run: engine.who.run.clone(),
        step: action.step.clone(),
        call: action.call.name(),
        key,
        at: engine.wire.clock.now(),
        actor: engine.who.actor.clone(),
    }
}

/// A record without outputs.
fn record(engine: &Engine, action: &Action, attempt: &Attempt, (ending, summary, began): (Ending, String, Time)) -> ActionRecord {
    ActionRecord {
        made: made(engine, action, attempt.key),
        subject: attempt.subject.clone(),
        manifest: Digest::of(attempt.manifest.as_str().as_bytes()),
        ending,
        summary,
        outputs: Vec::new(),
        reads: Vec::new(),
        log: None,
        began,
    }
}

fn read_versions(store: &mut dyn Store, reads: &[ResourceName]) -> Result<Vec<(ResourceName, Digest)>, StoreError> {
    let mut versions = Vec::new();
    for name in reads {
        if let Some(version) = store.head(name)? {
            versions.push((name.clone(), version.digest()));
        }
    }
    Ok(versions)
}

/// Stores what a method did: its versions, its record and the journal lines, in one transaction.
pub async fn outcome(engine: &Arc<Engine>, action: &Action, ended: Ended) -> Result<(), Failure> {
    let Ended { attempt, reads, outcome, ending, began, log } = ended;
    let summary = engine.herald.redacted(&outcome.summary);
    let base = record(engine, action, &attempt, (ending, summary, began));
    let writes = pack(engine, action, outcome.writes, attempt.variant.as_ref())?;
    let observes = action.call.method.effect == Effect::Observe;
    let mut outside: Vec<ResourceName> = Vec::new();
    // Each lost race names one resource, so the bound is one more than there are resources; effects may meet an Observe a few times more.
    for _ in 0..writes.len() + 5 {
        let (base, writes, reads) = (base.clone(), writes.clone(), reads.clone());
        let (manifest, log, excluded, heads) = (attempt.manifest.clone(), log.clone(), outside.clone(), attempt.heads.clone());
        let stored = engine.herald.commit(move |store| {
            let log = log.map(|text| store.put_blob(text.as_bytes())).transpose()?;
            store.put_blob(manifest.as_str().as_bytes())?;
            let mut commit = Commit::default();
            let mut record = ActionRecord { log, reads: read_versions(store, &reads)?, ..base };
            for (resource, packed) in writes {
                let content = store.put_blob(&packed.content)?;
                commit.sealed.extend(packed.sealed);
                let mut output = Output { resource: resource.clone(), content, version: None };
                if !excluded.contains(&resource) {
                    let head = store.head(&resource)?;
                    let known = if observes { heads.get(&resource) } else { head.as_ref() };
                    let version = NewVersion {
                        expected: known.map(Version::digest),
                        content: packed.content,
                        made: record.made.clone(),
                        log,
                        resource,
                    };
                    output.version = Some(next(&version, known).digest());
                    commit.versions.push(version);
                }
                record.outputs.push(output);
            }
            commit.records.push(record);
            Ok(commit)
        });
        match stored.await {
            Ok(versions) => {
                announce(engine, action, &attempt, &versions);
                return Ok(());
            }
            Err(StoreError::HeadMoved { name, .. }) if observes => outside.push(name),
            Err(StoreError::HeadMoved { .. }) => {}
            Err(error) => return Err(ours(error)),
        }
    }
    Err(Failure::bug(format!("the heads that {} writes move faster than it can store them", action.call.name())))
}

/// The version that the store will make of `new`: its digest goes into the record of the same transaction.
fn next(new: &NewVersion, head: Option<&Version>) -> Version {
    Version {
        resource: new.resource.clone(),
        number: head.map_or(1, |version| version.number + 1),
        parent: head.map(Version::digest),
        content: Digest::of(&new.content),
        made: new.made.clone(),
        log: new.log,
    }
}

type PackedWrite = (ResourceName, view::Packed);

fn pack(engine: &Engine, action: &Action, writes: Vec<Written>, variant: Option<&String>) -> Result<Vec<PackedWrite>, Failure> {
    let call = &action.call;
    let name = |written: &Written| -> Result<ResourceName, Failure> {
        let declared = call.method.writes.iter().find(|writes| writes.spec == written.spec);
        let declared =
            declared.ok_or_else(|| Failure::bug(format!("{} wrote {}, which it does not declare", action.call.name(), written.spec)))?;
        let instance = match (declared.instance, variant) {
            (Instance::Single(_), Some(variant)) => variant.clone(),
            _ => written.instance.clone(),
        };
        Ok(ResourceName::new(call.def.clone(), written.spec, instance))
    };
    writes.into_iter().map(|written| Ok((name(&written)?, engine.view.pack(&written.attributes)))).collect()
}

fn announce(engine: &Engine, action: &Action, attempt: &Attempt, versions: &[Version]) {
    for version in versions {
        let before = attempt.heads.get(&version.resource);
        engine.herald.tell(Event::Stored {
            step: action.step.clone(),
            resource: version.resource.clone(),
            version: version.number,
            changed: before.is_none_or(|head| head.content != version.content),
        });
    }
}

/// Stores that an observation was fresh: a record that names the versions it confirms.
pub async fn confirmed(engine: &Arc<Engine>, action: &Action, attempt: &Attempt, reads: &[ResourceName]) -> Result<(), Failure> {
    let now = engine.wire.clock.now();
    let mut base = record(engine, action, attempt, (Ending::Fresh, "fresh".to_owned(), now));
    let output =
        |version: &Version| Output { resource: version.resource.clone(), content: version.content, version: Some(version.digest()) };
    base.outputs = attempt.heads.values().map(output).collect();
    let (manifest, reads) = (attempt.manifest.clone(), reads.to_vec());
    let commit = move |store: &mut dyn Store| {
        store.put_blob(manifest.as_str().as_bytes())?;
        let reads = read_versions(store, &reads)?;
        Ok(Commit { records: vec![ActionRecord { reads, ..base }], ..Commit::default() })
    };
    engine.herald.commit(commit).await.map(drop).map_err(ours)
}

/// Stores that an action failed. A store that cannot take even this is told as a warning: the failure itself must not be hidden by it.
pub async fn failed(engine: &Arc<Engine>, action: &Action, lost: Lost<'_>) {
    let ending = match lost.failure.kind {
        crate::model::contract::FailureKind::Cancelled => Ending::Cancelled,
        _ => Ending::Failed,
    };
    let base = record(engine, action, &lost.attempt, (ending, lost.failure.message.clone(), lost.began));
    let (manifest, reads, log) = (lost.attempt.manifest, lost.reads, lost.log);
    let commit = move |store: &mut dyn Store| {
        store.put_blob(manifest.as_str().as_bytes())?;
        let log = log.map(|text| store.put_blob(text.as_bytes())).transpose()?;
        let reads = read_versions(store, &reads)?;
        Ok(Commit { records: vec![ActionRecord { reads, log, ..base }], ..Commit::default() })
    };
    if let Err(error) = engine.herald.commit(commit).await {
        let message = format!("the failure could not be stored: {error}");
        engine.herald.tell(Event::Warning { step: Some(action.step.clone()), message });
    }
}
