//! Scopes: what an action's expressions see, answered from the store at the moment the action starts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;

use crate::exec::engine::Engine;
use crate::exec::view::Held;
use crate::lang::template::{Absent, Each, Scope, Seen};
use crate::name::{ResourceName, ResourcePattern};
use crate::plan::graph::{Frame, InputValue};
use crate::secret::Secret;
use crate::source::Diagnostic;
use crate::store::words::StoreError;
use crate::value::{Map, Value};

/// What the expressions of one action have read: each resource once, so that all of them see one version of it, whoever writes meanwhile.
#[derive(Default)]
pub struct Reads(RefCell<BTreeMap<ResourceName, Held>>);

impl Reads {
    /// The versions that were read, by resource.
    pub fn versions(&self) -> Vec<(ResourceName, Digest)> {
        self.0.borrow().iter().map(|(name, held)| (name.clone(), held.version.digest())).collect()
    }

    /// What was read of a resource.
    pub fn held(&self, name: &ResourceName) -> Option<Held> {
        self.0.borrow().get(name).cloned()
    }

    fn first(&self, name: &ResourceName, read: impl FnOnce() -> Result<Option<Held>, StoreError>) -> Result<Option<Held>, StoreError> {
        if let Some(held) = self.held(name) {
            return Ok(Some(held));
        }
        let held = read()?;
        if let Some(held) = &held {
            self.0.borrow_mut().insert(name.clone(), held.clone());
        }
        Ok(held)
    }
}

/// One frame of one action, inputs evaluated. Blocks on the store: only for threads that may.
pub struct RunScope<'a> {
    engine: &'a Engine,
    inputs: Map,
    each: Option<Arc<Each>>,
    def: &'a str,
    reads: &'a Reads,
}

/// How deep inputs may be handed from workflow to workflow; lowering refuses more.
const DEEPEST: usize = 40;

impl<'a> RunScope<'a> {
    /// Evaluates the inputs of `frame`, those that come from outer frames too; `reads` learns what they read.
    pub fn new(engine: &'a Engine, frame: &Frame, def: &'a str, reads: &'a Reads) -> Result<Self, Diagnostic> {
        Self::nested(engine, frame, def, (reads, 0))
    }

    fn nested(engine: &'a Engine, frame: &Frame, def: &'a str, (reads, depth): (&'a Reads, usize)) -> Result<Self, Diagnostic> {
        let mut inputs = Map::new();
        // Equal outer frames are one Arc, so each is evaluated once per action.
        let mut outer: Vec<(*const Frame, Self)> = Vec::new();
        for (name, value) in &frame.inputs {
            let value = match value {
                InputValue::Known(value) => Value::clone(value),
                InputValue::Late(template, from) if depth < DEEPEST => {
                    let id = Arc::as_ptr(from);
                    let index = match outer.iter().position(|(known, _)| *known == id) {
                        Some(index) => index,
                        None => {
                            outer.push((id, Self::nested(engine, from, def, (reads, depth + 1))?));
                            outer.len() - 1
                        }
                    };
                    template.value.eval(&outer[index].1)?.value
                }
                InputValue::Late(template, _) => {
                    return Err(Diagnostic::yours("inputs are handed on through too many workflows").at(&template.span, ""));
                }
            };
            inputs.insert(name.clone(), value);
        }
        Ok(Self { engine, inputs, each: frame.each.clone(), def, reads })
    }
}

fn seen(held: Held) -> Seen {
    Seen { attributes: held.attributes, version: held.version.number, at: held.version.made.at, run: held.version.made.run }
}

fn broken(error: &dyn std::fmt::Display) -> Absent {
    Absent { message: error.to_string(), help: Some("`pmx fsck` tells what is lost".to_owned()) }
}

impl Scope for RunScope<'_> {
    fn inputs(&self) -> &Map {
        &self.inputs
    }

    fn resource(&self, name: &ResourceName) -> Result<Seen, Absent> {
        let name = &self.engine.settings.variants.same_inputs(name, &self.inputs).map_err(|input| Absent {
            message: format!("{name} is kept apart by the input `{input}`, which is not given here"),
            help: None,
        })?;
        match self.reads.first(name, || self.engine.view.head_blocking(name)) {
            Ok(Some(held)) => Ok(seen(held)),
            Ok(None) => Err(Absent { message: format!("no version of {name} yet"), help: Some(self.engine.planner.how_to_read(name)) }),
            Err(error) => Err(broken(&error)),
        }
    }

    fn instances(&self, def: &str, spec: &str) -> Result<Vec<(String, Seen)>, Absent> {
        let pattern = ResourcePattern::all(def, spec);
        let heads = self.engine.view.keeper.call_blocking(move |store| store.heads(Some(&pattern))).map_err(|e| broken(&e))?;
        heads
            .into_iter()
            .filter_map(|version| {
                let held = self.reads.first(&version.resource, || self.engine.view.head_blocking(&version.resource));
                Some(held.map_err(|e| broken(&e)).transpose()?.map(|held| (version.resource.instance, seen(held))))
            })
            .collect()
    }

    fn vault(&self, vault: &str, key: &str) -> Result<Secret, Absent> {
        self.engine.secrets.get_blocking(vault, key)
    }

    fn each(&self) -> Option<Each> {
        self.each.as_deref().cloned()
    }

    fn run(&self) -> Map {
        let who = &self.engine.who;
        Map::from([
            ("id".to_owned(), who.run.as_str().into()),
            ("actor".to_owned(), who.actor.as_str().into()),
            ("target".to_owned(), who.targets.join(" ").into()),
        ])
    }

    fn this(&self) -> Map {
        Map::from([("name".to_owned(), self.def.into())])
    }

    fn env(&self, name: &str) -> Option<String> {
        self.engine.env.get(name).cloned()
    }

    fn why_missing(&self, name: &ResourceName, field: &str) -> Option<String> {
        let (name, field) = (name.clone(), field.to_owned());
        self.engine.view.keeper.call_blocking(move |store| lost_since(store, &name, &field))
    }
}

/// How far back to look for the version that still had a field.
const LOOK_BACK: usize = 200;

/// `fleet/vm/calamity has had no ip since 2026-11-23T14:02:11Z, when run 7f3a2b1 (fleet.stop) wrote version 12`.
pub fn lost_since(store: &mut dyn crate::store::Store, name: &ResourceName, field: &str) -> Option<String> {
    let chain = store.chain(name, None, LOOK_BACK).ok()?;
    let mut first_without = None;
    for version in chain {
        let attributes = crate::exec::view::attributes(store, None, &version).ok()?;
        if attributes.get(field).is_some_and(|value| *value != Value::Null) {
            break;
        }
        let source = attributes.get(&format!("{field}Source")).and_then(Value::as_str).map(str::to_owned);
        first_without = Some((version, source));
    }
    let (version, source) = first_without?;
    let made = &version.made;
    // A field whose value has to be found out says beside it where it came from, or why it did not.
    let source = source.map(|source| format!(": {source}")).unwrap_or_default();
    Some(format!(
        "{name} has had no {field} since {}, when run {} ({}) wrote version {}{source}",
        made.at,
        made.run.short(),
        made.call,
        version.number
    ))
}

/// The environment as it was when pmx started.
pub type Environment = BTreeMap<String, String>;
