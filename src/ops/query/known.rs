//! What a query knows: the store as an expression sees it, each resource in one version, every secret closed.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::digest::Digest;
use crate::event::Time;
use crate::exec::{scope, view};
use crate::lang::template::{Absent, Scope, Seen};
use crate::model::contract::SpecRow;
use crate::model::schema::shared;
use crate::name::{ResourceName, ResourcePattern};
use crate::ops::planner::{ProjectPlanner, find};
use crate::ops::query::Definitions;
use crate::secret::{Origin, Secret};
use crate::store::Store;
use crate::store::words::{StoreError, Version};
use crate::value::{Map, Value};

/// What stands for a secret wherever an expression looks at one: nothing of it is opened, and its digest is not shown either.
const CLOSED: &str = "[secret]";

/// The same value with a closed mark in place of each secret. Depth is bounded by the store's JSON.
fn closed(value: Value) -> Value {
    match value {
        Value::Secret(_) => Value::Secret(Secret::new(CLOSED, Origin::Computed)),
        Value::List(items) => Value::List(items.into_iter().map(closed).collect()),
        Value::Map(map) => Value::Map(map.into_iter().map(|(key, item)| (key, closed(item))).collect()),
        plain => plain,
    }
}

/// The store as an expression sees it: each resource in one version, whoever writes meanwhile.
pub struct Known<'a> {
    store: RefCell<&'a mut dyn Store>,
    /// The moment whose knowledge counts; now without.
    pub(super) then: Option<Time>,
    definitions: &'a Definitions<'a>,
    /// The versions that were looked at, by the digest of the resource's name: there may be a hundred thousand.
    versions: RefCell<BTreeMap<Digest, Digest>>,
    /// What was read last: an expression mostly looks at several fields of one resource in turn.
    last: RefCell<Option<(ResourceName, Seen)>>,
    /// What was not there: looking for what was meant waits until it is known to matter.
    pub(super) missing: RefCell<BTreeSet<ResourcePattern>>,
    /// The first trouble of the store.
    broken: RefCell<Option<StoreError>>,
    /// All names and definitions, for complaints.
    everything: OnceCell<(BTreeSet<ResourceName>, Option<ProjectPlanner>)>,
    /// There are none.
    inputs: Map,
}

impl<'a> Known<'a> {
    /// Nothing was looked at yet; `then` is the moment whose knowledge counts, now without.
    pub fn new(store: &'a mut dyn Store, definitions: &'a Definitions<'a>, then: Option<Time>) -> Self {
        Self {
            store: RefCell::new(store),
            then,
            definitions,
            versions: RefCell::default(),
            last: RefCell::default(),
            missing: RefCell::default(),
            broken: RefCell::default(),
            everything: OnceCell::new(),
            inputs: Map::new(),
        }
    }

    /// The first trouble that the store had.
    pub fn broken(&self) -> Option<StoreError> {
        self.broken.take()
    }

    /// What the store says; its trouble is kept aside.
    fn ask<T>(&self, ask: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>) -> Result<T, Absent> {
        ask(&mut **self.store.borrow_mut()).map_err(|error| {
            let absent = Absent { message: error.to_string(), help: None };
            self.broken.borrow_mut().get_or_insert(error);
            absent
        })
    }

    fn version(&self, name: &ResourceName) -> Result<Option<Version>, Absent> {
        let key = Digest::of(name.to_string().as_bytes());
        let looked_at = self.versions.borrow().get(&key).copied();
        let version = self.ask(|store| match (looked_at, self.then) {
            (Some(digest), _) => store.version(&digest),
            (None, Some(then)) => store.version_at(name, then),
            (None, None) => store.head(name),
        })?;
        if let (None, Some(version)) = (looked_at, &version) {
            self.versions.borrow_mut().insert(key, version.digest());
        }
        Ok(version)
    }

    /// All names in the store, and the definitions.
    pub(super) fn everything(&self) -> &(BTreeSet<ResourceName>, Option<ProjectPlanner>) {
        self.everything.get_or_init(|| (self.ask(|store| store.names()).unwrap_or_default().into_iter().collect(), (self.definitions)()))
    }

    /// What the type of a definition says of a spec.
    pub(super) fn spec(&self, def: &str, spec: &str) -> Option<&'static SpecRow> {
        let (_, planner) = self.everything();
        find(&planner.as_ref()?.project.definitions.get(def)?.kind.value)?.spec(spec)
    }

    fn absent(&self, wanted: ResourcePattern) -> Absent {
        let message = self.absence(&wanted);
        self.missing.borrow_mut().insert(wanted);
        Absent { message, help: None }
    }

    /// What is said of something that is not there.
    pub(super) fn absence(&self, wanted: &ResourcePattern) -> String {
        match self.then {
            Some(then) => format!("no version of {wanted} was there at {then}"),
            None => format!("no version of {wanted} yet"),
        }
    }
}

impl Scope for Known<'_> {
    fn inputs(&self) -> &Map {
        &self.inputs
    }

    fn resource(&self, name: &ResourceName) -> Result<Seen, Absent> {
        if let Some((last, seen)) = &*self.last.borrow()
            && last == name
        {
            return Ok(seen.clone());
        }
        let version = self.version(name)?.ok_or_else(|| self.absent(name.clone().into()))?;
        let attributes = self.ask(|store| view::attributes(store, None, &version))?;
        let seen = Seen { attributes: Arc::new(closed(attributes)), version: version.number, at: version.made.at, run: version.made.run };
        *self.last.borrow_mut() = Some((name.clone(), seen.clone()));
        Ok(seen)
    }

    fn instances(&self, def: &str, spec: &str) -> Result<Vec<(String, Seen)>, Absent> {
        let all = self.names(def, spec)?;
        let one = |instance: String| Ok((instance.clone(), self.resource(&ResourceName::new(def, spec, instance))?));
        all.into_iter().map(one).collect()
    }

    fn names(&self, def: &str, spec: &str) -> Result<Vec<String>, Absent> {
        let names = self.ask(|store| {
            let names = store.names()?.into_iter().filter(|name| name.def == def && name.spec == spec);
            let Some(then) = self.then else { return Ok(names.map(|name| name.instance).collect()) };
            let mut known = |name: ResourceName| Ok(store.version_at(&name, then)?.map(|version| version.resource.instance));
            names.filter_map(|name| known(name).transpose()).collect::<Result<Vec<String>, _>>()
        })?;
        if names.is_empty() { Err(self.absent(ResourcePattern::all(def, spec))) } else { Ok(names) }
    }

    fn vault(&self, _: &str, _: &str) -> Result<Secret, Absent> {
        Err(Absent { message: "a query opens no secrets".to_owned(), help: None })
    }

    /// Told of fields that the type has, and of the newest version: any other name is a slip.
    fn why_missing(&self, name: &ResourceName, field: &str) -> Option<String> {
        let row = self.spec(&name.def, &name.spec).filter(|_| self.then.is_none())?;
        let known = shared(row.attributes).contains_key(field);
        known.then(|| scope::lost_since(&mut **self.store.borrow_mut(), name, field)).flatten()
    }
}
