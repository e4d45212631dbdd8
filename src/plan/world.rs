//! A simulated world for tests: places that effects change and Observes read, a store of versions, and methods whose outputs depend on all that they
//! were allowed to see. No two effects at one place commute unless both are shared, no two writes of one resource do, and every read shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::event::Time;
use crate::lang::template::{Absent, Each, Scope, Seen};
use crate::model::contract::{Acts, At, Effect, Instance, SpecRow, TypeRow, Writes};
use crate::name::{ResourceName, ResourcePattern, RunId};
use crate::plan::expand;
use crate::plan::graph::{Action, ActionId, Bound, Bounds, Frame, Graph, InputValue, SetBy};
use crate::plan::rows::{by, fields, method, observed, single, spec};
use crate::secret::Secret;
use crate::value::{Map, Value};

const VM: Writes = by("vm", "vm");
const ALL: Writes = Writes { spec: "vm", instance: Instance::All };
const ALONE: &[Acts] = &[Acts { at: At::Machine(VM), shared: false }];
const HOST: &[Acts] = &[Acts { at: At::Host("host"), shared: false }];

static FLEET: TypeRow = TypeRow {
    name: "test/fleet",
    revision: 1,
    doc: "",
    globals: || fields(""),
    specs: &[spec("vm", observed("look", Some("vm"), Some("sync")), Some(300)), NOTE],
    methods: &[
        method("look", Effect::Observe, || fields("vm!"), &[VM], ALONE),
        method("sync", Effect::Observe, || fields(""), &[ALL], &[Acts { at: At::Machine(ALL), shared: false }]),
        method("push", Effect::Converge, || fields("vm! x"), &[VM], ALONE),
        method("quiet", Effect::Converge, || fields("vm! x"), &[VM], &[]),
        method("note", Effect::Act, || fields("as! x"), &[by("note", "as")], &[]),
        method("peek", Effect::Observe, || fields("as! x"), &[by("note", "as")], &[]),
        method("calm", Effect::Act, || fields("as! vm! x"), &[by("note", "as")], &[Acts { at: At::Machine(VM), shared: false }]),
    ],
};
const NOTE: SpecRow = spec("note", None, None);

static SERVICE: TypeRow = TypeRow {
    name: "test/service",
    revision: 1,
    doc: "",
    globals: || fields("host!"),
    specs: &[spec("out", observed("stat", None, None), Some(60)), spec("sent", None, None)],
    methods: &[
        method("poke", Effect::Act, || fields("x"), &[single("out", "out")], HOST),
        method("send", Effect::Converge, || fields("as! x"), &[by("sent", "as")], &[Acts { at: At::Host("host"), shared: true }]),
        method("stat", Effect::Observe, || fields(""), &[single("out", "out")], HOST),
    ],
};

/// The world's types.
pub fn types(name: &str) -> Option<&'static TypeRow> {
    [&FLEET, &SERVICE].into_iter().find(|row| row.name == name)
}

/// The definitions of the world: two machines, `a` and `b`, and a service on each.
pub const DEFINITIONS: [(&str, &str); 3] = [
    ("definitions/fleet.toml", "type = \"test/fleet\"\n"),
    ("definitions/svca.toml", "type = \"test/service\"\n[global]\nhost = '${{ model.fleet.resource.vm[\"a\"].attributes.addr }}'\n"),
    ("definitions/svcb.toml", "type = \"test/service\"\n[global]\nhost = '${{ model.fleet.resource.vm[\"b\"].attributes.addr }}'\n"),
];

/// What there is: places, every version of every resource, and what each action came to.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    salt: u64,
    /// Whether two Observes of one thing see the same; otherwise each action leaves its own mark.
    plain: bool,
    places: BTreeMap<String, Spot>,
    store: BTreeMap<ResourceName, Vec<(String, Value)>>,
    results: BTreeMap<String, i64>,
}

/// A place: what exclusive effects did, each on top of all before, and what shared ones did, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Spot {
    chain: i64,
    sum: i64,
}

fn hash(parts: &[&dyn std::fmt::Debug]) -> i64 {
    let digest = Digest::of(format!("{parts:?}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest.as_bytes()[..8]);
    i64::from_le_bytes(bytes) >> 2
}

impl World {
    /// A world; each salt gives another one.
    pub fn new(salt: u64) -> Self {
        let mut world = Self { salt, plain: false, places: BTreeMap::new(), store: BTreeMap::new(), results: BTreeMap::new() };
        let seeds =
            ["fleet/vm/a", "fleet/vm/b", "fleet/note/n0", "fleet/note/n1", "svca/out/out", "svcb/out/out", "svca/sent/s0", "svcb/sent/s0"];
        for name in seeds {
            let name: ResourceName = name.parse().unwrap();
            world.write("seed", &name, hash(&[&salt, &name]));
        }
        world
    }

    /// The same world, but two Observes of one thing see the same.
    #[must_use]
    pub fn plainly(self) -> Self {
        Self { plain: true, ..self }
    }

    /// What is left when it does not matter who looked how often: places, and the present state of each resource.
    pub fn rest(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let heads = self.store.iter().map(|(name, versions)| (name.clone(), versions.last().map(|(_, attributes)| attributes.clone())));
        (self.places.clone(), heads.collect::<Vec<_>>())
    }

    /// Runs all actions of a graph in this order.
    pub fn run(mut self, graph: &Graph, order: &[ActionId]) -> Self {
        for id in order {
            self.action(graph, &graph.actions[id.index()]);
        }
        self
    }

    fn action(&mut self, graph: &Graph, action: &Action) {
        if let Some((list, frame)) = action.flow.loop_over.as_deref() {
            let items = list.eval(&self.scope(frame)).unwrap().value;
            let expanded = expand(action, &items, &graph.variants).unwrap();
            self.results.insert(action.step.clone(), hash(&[&items.display()]));
            for action in &expanded.actions {
                self.action(&expanded, action);
            }
            return;
        }
        for (condition, frame) in &action.flow.conditions {
            if condition.eval(&self.scope(frame)).unwrap().value != Value::Bool(true) {
                self.results.insert(action.step.clone(), 0);
                return;
            }
        }
        let globals = self.evaluated(action, &action.call.globals);
        let arguments = self.evaluated(action, &action.call.arguments);
        self.perform(action, &globals, &arguments);
    }

    /// Evaluates arguments, and holds that whatever they read was declared.
    fn evaluated(&self, action: &Action, bounds: &Bounds) -> Map {
        let value = |(name, bound): (&String, &Bound)| {
            let frame = if bound.from == SetBy::Step { &action.scopes.outer } else { &action.scopes.inner };
            let found = bound.template.value.eval(&self.scope(frame)).unwrap_or_else(|e| panic!("{}: {e}", action.step));
            for read in &found.reads {
                assert!(action.touch.reads.iter().any(|known| known.resource.contains(read)), "{} reads {read} in secret", action.step);
            }
            (name.clone(), found.value)
        };
        bounds.iter().map(value).collect()
    }

    fn perform(&mut self, action: &Action, globals: &Map, arguments: &Map) {
        let text = |name: &str| arguments.get(name).map(ToString::to_string).unwrap_or_default();
        let mark = if self.plain && !action.call.method.effect.acts() { "" } else { action.step.as_str() };
        let asked = hash(&[&mark, &Value::Map(arguments.clone()).display(), &Value::Map(globals.clone()).display()]);
        let host = globals.get("host").map(ToString::to_string).and_then(|address| Some(address.split_once('#')?.0.to_owned()));
        let place = host.unwrap_or_else(|| text("vm"));
        let spot = self.places.get(&place).cloned().unwrap_or_default();
        let def = &action.call.def;
        let (wrote, result) = match action.call.method.name {
            "look" | "stat" => (true, hash(&[&asked, &spot.chain, &spot.sum])),
            "push" | "poke" => {
                let chain = hash(&[&asked, &spot.chain, &spot.sum]);
                self.places.insert(place.clone(), Spot { chain, ..spot });
                (true, chain)
            }
            "send" => {
                let sent = hash(&[&asked, &spot.chain]);
                self.places.insert(place.clone(), Spot { sum: spot.sum.wrapping_add(sent), ..spot });
                (true, sent)
            }
            "quiet" | "note" | "peek" | "calm" => (true, asked),
            "sync" => {
                for vm in ["a", "b"] {
                    let spot = self.places.get(vm).cloned().unwrap_or_default();
                    let seen = hash(&[&asked, &vm, &spot.chain, &spot.sum]);
                    self.declared(action, &ResourceName::new(def.clone(), "vm", vm), seen);
                }
                (false, asked)
            }
            other => panic!("the world knows no {other}"),
        };
        self.results.insert(action.step.clone(), result);
        if wrote {
            let row = &action.call.method.writes[0];
            let instance = match row.instance {
                Instance::Argument(argument) => text(argument),
                Instance::Single(name) => name.to_owned(),
                Instance::All => panic!("only sync writes all"),
            };
            self.declared(action, &ResourceName::new(def.clone(), row.spec, instance), result);
        }
    }

    /// Writes a version, and holds that it was declared.
    fn declared(&mut self, action: &Action, name: &ResourceName, result: i64) {
        let known = |pattern: &ResourcePattern| pattern.contains(name);
        assert!(action.touch.writes.iter().any(|write| known(&write.resource)), "{} writes {name} in secret", action.step);
        self.write(&action.step, name, result);
    }

    fn write(&mut self, step: &str, name: &ResourceName, result: i64) {
        let result = hash(&[&self.salt, &result]);
        let lists: [&[&str]; 4] = [&[], &["a"], &["b"], &["b", "a"]];
        let list = lists[(result.unsigned_abs() >> 8) as usize % 4];
        let attributes = Map::from([
            ("v".to_owned(), Value::Int(result)),
            ("addr".to_owned(), Value::String(format!("{}#{result}", name.instance))),
            ("pick".to_owned(), Value::from(if (result >> 3) & 1 == 0 { "a" } else { "b" })),
            ("list".to_owned(), Value::List(list.iter().map(|name| Value::from(*name)).collect())),
        ]);
        self.store.entry(name.clone()).or_default().push((step.to_owned(), Value::Map(attributes)));
    }

    fn scope<'w>(&'w self, frame: &Arc<Frame>) -> Eyes<'w> {
        let mut eyes = Eyes { world: self, inputs: Map::new(), each: frame.each.clone() };
        for (name, value) in &frame.inputs {
            let value = match value {
                InputValue::Known(value) => Value::clone(value),
                InputValue::Late(template, from) => template.value.eval(&self.scope(from)).unwrap().value,
            };
            eyes.inputs.insert(name.clone(), value);
        }
        eyes
    }
}

/// What an expression sees of the world.
struct Eyes<'w> {
    world: &'w World,
    inputs: Map,
    each: Option<Arc<Each>>,
}

fn seen(version: &[(String, Value)]) -> Option<Seen> {
    let (_, attributes) = version.last()?;
    let run: RunId = "0".repeat(32).parse().unwrap();
    Some(Seen { attributes: attributes.clone().into(), version: version.len() as u64, at: Time(0), run })
}

fn absent(what: &str) -> Absent {
    Absent { message: format!("no {what}"), help: None }
}

impl Scope for Eyes<'_> {
    fn inputs(&self) -> &Map {
        &self.inputs
    }
    fn resource(&self, name: &ResourceName) -> Result<Seen, Absent> {
        self.world.store.get(name).and_then(|versions| seen(versions)).ok_or_else(|| absent(&name.to_string()))
    }
    fn instances(&self, def: &str, spec: &str) -> Result<Vec<(String, Seen)>, Absent> {
        let fits = |name: &&ResourceName| name.def == def && name.spec == spec;
        let names = self.world.store.keys().filter(fits);
        Ok(names.filter_map(|name| Some((name.instance.clone(), seen(&self.world.store[name])?))).collect())
    }
    fn vault(&self, _: &str, _: &str) -> Result<Secret, Absent> {
        Err(absent("vault"))
    }
    fn each(&self) -> Option<Each> {
        self.each.as_deref().cloned()
    }
    fn why_missing(&self, _: &ResourceName, _: &str) -> Option<String> {
        None
    }
}
