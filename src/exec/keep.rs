//! Keeping: what an action found in the store when it began, and what it leaves there when it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::event::{Ending, Event, Left, Time};
use crate::exec::engine::Engine;
use crate::exec::evaluate::{Machine, Values, uuid};
use crate::exec::reporter::Reporter;
use crate::exec::view;
use crate::model::contract::{Acted, Effect, Failure, FailureKind, Instance, Outcome, Writes, Written};
use crate::name::{BadName, ResourceName, ResourcePattern};
use crate::plan::graph::{Action, ActionId};
use crate::plan::key::Manifest;
use crate::store::Store;
use crate::store::words::{ActionRecord, Commit, Made, NewVersion, Output, StoreError, Version};
use crate::value::Value;

/// What the store knew before, by `spec/instance`.
pub type Previous = BTreeMap<(String, String), Value>;

/// What the store knew when an action began.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The action key.
    pub key: Digest,
    /// What went into it.
    pub manifest: Manifest,
    /// The call and what it writes: finds the record to compare with.
    pub subject: String,
    /// The versions its expressions read.
    pub reads: Vec<(ResourceName, Digest)>,
    /// What it will write, as far as its values tell.
    pub names: Vec<ResourcePattern>,
    /// Their heads, those of wildcards, and those of what the same key wrote before, when it began: an Observe moves a head only from here.
    pub heads: BTreeMap<ResourceName, Version>,
    /// The attributes of those heads that it may write; filled for an action that runs, by [`recall`].
    pub previous: Previous,
    /// The machine where it acts, if its place is one; likewise.
    pub machine: Option<Machine>,
    /// What keeps the definition's single instances apart.
    pub variant: Option<String>,
    /// The newest successful record with the same key.
    pub same_key: Option<ActionRecord>,
    /// The newest record with the same subject, with its manifest; only where the key may have changed.
    pub same_subject: Option<(ActionRecord, Option<Manifest>)>,
}

impl Attempt {
    /// The first resource that it will write, if that is a single one: what a Destroy destroys.
    pub fn subject_resource(&self) -> Option<ResourceName> {
        self.names.iter().find_map(ResourcePattern::exact)
    }
}

fn ours(error: StoreError) -> Failure {
    Failure::bug(error.to_string())
}

/// Reads what the store knows before an action begins.
pub async fn begin(
    engine: &Arc<Engine>,
    action: &Action,
    (key, manifest): (Digest, Manifest),
    names: Vec<ResourcePattern>,
    values: &Values,
) -> Result<Attempt, Failure> {
    let (variant, reads) = (values.variant.clone(), values.reads.clone());
    let looks = !action.call.method.effect.acts();
    let call = action.call.name();
    let job = move |store: &mut dyn Store| -> Result<Attempt, StoreError> {
        let mut heads = BTreeMap::new();
        for pattern in &names {
            heads.extend(store.heads(Some(pattern))?.into_iter().map(|version| (version.resource.clone(), version)));
        }
        let mut subject = call;
        for name in &names {
            subject.push_str(&format!(" {}/{}", name.spec, name.instance.as_deref().unwrap_or("*")));
        }
        // An effect runs whatever is known of it.
        let same_key = if looks { store.record_by_key(&key)? } else { None };
        for output in same_key.iter().flat_map(|record| &record.outputs) {
            if heads.contains_key(&output.resource) {
                continue;
            }
            if let Some(version) = store.head(&output.resource)? {
                heads.insert(output.resource.clone(), version);
            }
        }
        let changed = looks && (same_key.is_none() || heads.values().any(|head| head.made.key != key));
        let same_subject = match if changed { store.record_by_subject(&subject)? } else { None } {
            Some(record) => {
                let manifest = store.blob(&record.manifest)?.and_then(|bytes| String::from_utf8(bytes).ok()).map(Manifest::stored);
                Some((record, manifest))
            }
            None => None,
        };
        let (previous, machine) = (Previous::new(), None);
        Ok(Attempt { variant, key, manifest, subject, reads, names, heads, previous, machine, same_key, same_subject })
    };
    engine.view.keeper.look(job).await.map_err(ours)
}

/// Reads what only an action that runs needs to know: what its heads hold, and which machine it acts on.
pub async fn recall(engine: &Arc<Engine>, action: &Action, attempt: &mut Attempt) -> Result<(), Failure> {
    let (sealer, redactor) = (Arc::clone(&engine.view.sealer), engine.view.redactor.clone());
    let machine = machine_of(action);
    let own = |version: &&Version| attempt.names.iter().any(|name| name.contains(&version.resource));
    let heads: Vec<Version> = attempt.heads.values().filter(own).cloned().collect();
    let job = move |store: &mut dyn Store| -> Result<(Previous, Option<Machine>), StoreError> {
        let mut previous = Previous::new();
        for version in heads {
            let attributes = view::attributes(store, Some((&*sealer, &redactor)), &version)?;
            previous.insert((version.resource.spec, version.resource.instance), attributes);
        }
        let machine = match machine {
            Some(name) => {
                let attributes = store.head(&name)?.map(|version| view::attributes(store, None, &version)).transpose()?;
                Some(Machine { uuid: attributes.as_ref().and_then(uuid), name })
            }
            None => None,
        };
        Ok((previous, machine))
    };
    (attempt.previous, attempt.machine) = engine.view.keeper.look(job).await.map_err(ours)?;
    Ok(())
}

/// The machine whose resource the action's place names, if it is one.
fn machine_of(action: &Action) -> Option<ResourceName> {
    action.touch.places.iter().find_map(|used| match &used.place {
        crate::name::Place::Machine(pattern) => pattern.exact(),
        _ => None,
    })
}

/// An action that ended well.
pub struct Ended<'a> {
    /// What was known when it began.
    pub attempt: &'a Attempt,
    /// What it did.
    pub outcome: Outcome,
    /// How it ended.
    pub ending: Ending,
    /// When it began.
    pub began: Time,
    /// Holds its log.
    pub reporter: &'a Reporter,
}

/// An action that failed.
pub struct Lost<'a> {
    /// What was known when it began.
    pub attempt: &'a Attempt,
    /// Why.
    pub failure: &'a Failure,
    /// When it began.
    pub began: Time,
    /// Its log.
    pub log: Option<String>,
}

/// The event that ends an action which began at `began`.
pub fn finished(engine: &Engine, action: &Action, (ending, summary, left): (Ending, &str, Option<Left>), began: Time) -> Event {
    let seconds = engine.wire.clock.now().since(began).as_secs_f64();
    Event::ActionFinished { step: action.step.clone(), call: action.call.name(), ending, summary: summary.to_owned(), seconds, left }
}

/// What a failure leaves to be done.
pub const fn left(failure: &Failure) -> Left {
    match failure.acted {
        Acted::No => Left::All,
        Acted::Maybe => Left::Unclear,
    }
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
        reads: attempt.reads.clone(),
        log: None,
        began,
    }
}

/// Stores what a method did: its versions, its record, the journal lines and its end, in one transaction. Returns its summary, redacted.
pub async fn outcome(engine: &Arc<Engine>, action: &Action, ended: Ended<'_>) -> Result<String, Failure> {
    let Ended { attempt, outcome, ending, began, reporter } = ended;
    let writes = pack(engine, action, outcome.writes, attempt)?;
    // Only now every secret that the method found is known, so that neither its log nor its summary shows one.
    let (log, summary) = (reporter.log(), engine.herald.redacted(&outcome.summary));
    let base = record(engine, action, attempt, (ending, summary.clone(), began));
    let mut outside: Vec<ResourceName> = Vec::new();
    // Each lost race names one resource, so the bound is one more than there are resources; effects may meet an Observe a few times more.
    for _ in 0..writes.len() + 5 {
        let told = finished(engine, action, (ending, &summary, None), began);
        let observes = action.call.method.effect == Effect::Observe;
        let storing = Storing {
            base: base.clone(),
            writes: writes.clone(),
            manifest: attempt.manifest.clone(),
            log: log.clone(),
            outside: outside.clone(),
            heads: attempt.heads.clone(),
            observes,
        };
        match engine.herald.commit_ending(ends(action, None), move |store| storing.build(store, told)).await {
            Ok(_) => return Ok(summary),
            Err(StoreError::HeadMoved { name, .. }) if observes => outside.push(name),
            Err(StoreError::HeadMoved { .. }) => {}
            Err(error) => return Err(ours(error)),
        }
    }
    Err(Failure::bug(format!("the heads that {} writes move faster than it can store them", action.call.name())))
}

/// The transaction that ends an action.
struct Storing {
    base: ActionRecord,
    writes: Vec<PackedWrite>,
    manifest: Manifest,
    log: Option<String>,
    /// Resources whose race an Observe lost: their content is named outside the chain.
    outside: Vec<ResourceName>,
    heads: BTreeMap<ResourceName, Version>,
    observes: bool,
}

impl Storing {
    fn build(self, store: &mut dyn Store, finished: Event) -> Result<(Commit, Vec<Event>), StoreError> {
        let log = self.log.map(|text| store.put_blob(text.as_bytes())).transpose()?;
        store.put_blob(self.manifest.as_str().as_bytes())?;
        let mut commit = Commit::default();
        let mut events = Vec::new();
        let mut record = ActionRecord { log, ..self.base };
        for (resource, packed) in self.writes {
            let content = store.put_blob(&packed.content)?;
            commit.sealed.extend(packed.sealed);
            let mut output = Output { resource: resource.clone(), content, version: None };
            if !self.outside.contains(&resource) {
                let head = store.head(&resource)?;
                let known = if self.observes { self.heads.get(&resource) } else { head.as_ref() };
                let expected = known.map(Version::digest);
                let new = NewVersion { expected, content: packed.content, made: record.made.clone(), log, resource };
                let version = next(&new, known);
                output.version = Some(version.digest());
                let changed = known.is_none_or(|head| head.content != version.content);
                events.push(Event::Stored { step: record.made.step.clone(), resource: version.resource, version: version.number, changed });
                commit.versions.push(new);
            }
            record.outputs.push(output);
        }
        commit.records.push(record);
        events.push(finished);
        Ok((commit, events))
    }
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

/// The writes of a method under their names, secrets sealed. What it did not declare is refused: nobody waited for it and no lease covers it.
fn pack(engine: &Engine, action: &Action, writes: Vec<Written>, attempt: &Attempt) -> Result<Vec<PackedWrite>, Failure> {
    let call = &action.call;
    let mut packed: Vec<PackedWrite> = Vec::new();
    for written in writes {
        let single =
            |writes: &&Writes| writes.spec == written.spec && matches!(writes.instance, Instance::Single(name) if name == written.instance);
        let instance = match (&attempt.variant, call.method.writes.iter().find(single)) {
            (Some(variant), Some(_)) => variant.clone(),
            _ => written.instance,
        };
        let name = ResourceName::new(call.def.clone(), written.spec, instance);
        sound(&name).map_err(|why| Failure::bug(format!("{} wrote a resource without a proper name: {why}", call.name())))?;
        if !attempt.names.iter().any(|declared| declared.contains(&name)) {
            return Err(Failure::bug(format!("{} wrote {name}, which it does not declare", call.name())));
        }
        if packed.iter().any(|(known, _)| *known == name) {
            return Err(Failure::bug(format!("{} wrote {name} twice", call.name())));
        }
        packed.push((name, engine.view.pack(&written.attributes)));
    }
    Ok(packed)
}

/// Whether a name that was put together can be read again: a store full of names that nobody can type is no use.
pub fn sound(name: &ResourceName) -> Result<(), BadName> {
    name.to_string().parse::<ResourceName>().map(drop)
}

/// Tells that an observation was fresh and notes a record that names the versions it confirms. Both reach the store with the next transaction of the run:
/// nothing was done, so that a run whose process dies before it looks again at nothing more than its like.
pub async fn confirmed(engine: &Arc<Engine>, action: &Action, attempt: &Attempt, told: Event) -> Result<(), Failure> {
    let now = engine.wire.clock.now();
    let mut base = record(engine, action, attempt, (Ending::Fresh, "fresh".to_owned(), now));
    let output =
        |version: &Version| Output { resource: version.resource.clone(), content: version.content, version: Some(version.digest()) };
    base.outputs = attempt.heads.values().map(output).collect();
    // The record of the run that looked names the same manifest; it may have lost it to `gc` since.
    let known = attempt.same_key.as_ref().is_some_and(|record| record.manifest == base.manifest);
    let manifest = (!known).then(|| attempt.manifest.as_str().as_bytes().to_vec());
    engine.herald.confirm(base, manifest, told).await.map_err(ours)
}

/// Stores that an action failed. A store that cannot take even this is told as a warning: the failure itself must not be hidden by it.
pub async fn failed(engine: &Arc<Engine>, action: &Action, lost: Lost<'_>) {
    let ending = ending(lost.failure);
    let base = record(engine, action, lost.attempt, (ending, lost.failure.message.clone(), lost.began));
    let told = finished(engine, action, (ending, &lost.failure.message, Some(left(lost.failure))), lost.began);
    let (manifest, log, last) = (lost.attempt.manifest.clone(), lost.log, told.clone());
    let commit = move |store: &mut dyn Store| {
        store.put_blob(manifest.as_str().as_bytes())?;
        let log = log.map(|text| store.put_blob(text.as_bytes())).transpose()?;
        Ok((Commit { records: vec![ActionRecord { log, ..base }], ..Commit::default() }, vec![told]))
    };
    if let Err(error) = engine.herald.commit_ending(ends(action, Some(lost.failure)), commit).await {
        let message = format!("the failure could not be stored: {error}");
        engine.herald.tell(Event::Warning { step: Some(action.step.clone()), message });
        engine.herald.tell(last);
    }
}

/// The action as one whose leases end with it. Observations have none, and whoever may have left something at work keeps them to the end of the run.
fn ends(action: &Action, failure: Option<&Failure>) -> Option<ActionId> {
    let over = failure.is_none_or(|failure| !lingers(failure));
    (action.call.method.effect.acts() && over).then_some(action.id)
}

/// Whether an effect that failed so may still be at work somewhere.
pub fn lingers(failure: &Failure) -> bool {
    failure.acted == Acted::Maybe || failure.kind == FailureKind::Cancelled
}

/// How an action with this failure ended.
pub fn ending(failure: &Failure) -> Ending {
    if failure.kind == FailureKind::Cancelled { Ending::Cancelled } else { Ending::Failed }
}
