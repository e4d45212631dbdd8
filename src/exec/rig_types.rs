//! The types of the rig: things that can be looked at, made, poked and dropped, and a login whose ticket runs out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::exec::rig::behaviour;
use crate::lang::types::{Field, Kind, Object, Type};
use crate::model::contract::{
    Acts, At, Call, Context, Effect, Failure, Instance, MethodRow, Observer, Outcome, RunFn, SpecRow, TypeRow, Writes,
};
use crate::secret::{Origin, Secret};
use crate::value::{Map, Value};

/// Definitions of every rig: `fleet` has things, `login` gives tickets, `api` needs one, `box` acts on the host of the thing `a`, `bare` on a host that is no thing, `each` keeps its
/// results apart by the input `vm`.
pub const DEFINITIONS: [(&str, &str); 6] = [
    ("definitions/fleet.toml", "type = \"test/thing\"\n"),
    ("definitions/login.toml", "type = \"test/login\"\n[global]\npassword = '${{ vault.get(\"v\", \"password\") }}'\n"),
    ("definitions/api.toml", "type = \"test/thing\"\n[global]\nticket = '${{ model.login.resource.login.login.attributes.ticket }}'\n"),
    ("definitions/box.toml", "type = \"test/thing\"\n[global]\nhost = '${{ model.fleet.resource.thing.a.attributes.ip }}'\n"),
    ("definitions/bare.toml", "type = \"test/thing\"\n[global]\nhost = '10.0.0.9'\n"),
    ("definitions/each.toml", "type = \"test/thing\"\n[global]\ntag = '${{ inputs.vm == \"none\" }}'\n"),
];

const THING: Writes = Writes { spec: "thing", instance: Instance::Argument("name") };
const ALL: Writes = Writes { spec: "thing", instance: Instance::All };
const LOGIN: Writes = Writes { spec: "login", instance: Instance::Single("login") };
const RESULT: Writes = Writes { spec: "result", instance: Instance::Single("result") };
const ALONE: &[Acts] = &[Acts { at: At::Machine(THING), shared: false }];
const HOST: &[Acts] = &[Acts { at: At::Host("host"), shared: false }];

static ROWS: [TypeRow; 2] = [
    TypeRow {
        name: "test/thing",
        revision: 1,
        doc: "",
        globals: || fields("host ticket* tag"),
        specs: &[
            spec("thing", Some(Observer { one: "look", argument: Some("name"), all: Some("sync") }), Some(Duration::from_secs(300))),
            spec("seen", None, None),
            spec("note", None, None),
            spec("result", None, None),
        ],
        methods: &[
            method("look", Effect::Observe, || fields("name! x"), (&[THING], ALONE), |c, a| call(c, a, "look")),
            method("sync", Effect::Observe, || fields(""), (&[ALL], &[]), |c, a| call(c, a, "sync")),
            MethodRow {
                fresh: Duration::from_secs(600),
                ..method("glance", Effect::Observe, || fields("of! x key$"), (&[by("seen", "of")], &[]), |c, a| call(c, a, "glance"))
            },
            method("stat", Effect::Observe, || fields("x"), (&[RESULT], HOST), |c, a| call(c, a, "stat")),
            method("put", Effect::Converge, || fields("name! x key$"), (&[THING], ALONE), |c, a| call(c, a, "put")),
            method("create", Effect::Act, || fields("name! x"), (&[THING], ALONE), |c, a| call(c, a, "create")),
            method("note", Effect::Act, || fields("as! x key$"), (&[by("note", "as")], &[]), |c, a| call(c, a, "note")),
            MethodRow {
                by_command: true,
                ..method("order", Effect::Act, || fields("as! x"), (&[by("note", "as")], &[]), |c, a| call(c, a, "order"))
            },
            method("poke", Effect::Act, || fields("x"), (&[RESULT], HOST), |c, a| call(c, a, "poke")),
            method("wipe", Effect::Destroy, || fields("x"), (&[RESULT], HOST), |c, a| call(c, a, "wipe")),
            method("drop", Effect::Destroy, || fields("name!"), (&[THING], ALONE), |c, a| call(c, a, "drop")),
        ],
    },
    TypeRow {
        name: "test/login",
        revision: 1,
        doc: "",
        globals: || fields("password*"),
        specs: &[spec("login", Some(Observer { one: "auth", argument: None, all: None }), Some(Duration::from_secs(3600)))],
        methods: &[MethodRow {
            fresh: Duration::from_secs(3600),
            ..method("auth", Effect::Observe, || fields(""), (&[LOGIN], &[]), |c, a| call(c, a, "auth"))
        }],
    },
];

/// The type of that name.
pub fn find(name: &str) -> Option<&'static TypeRow> {
    ROWS.iter().find(|row| row.name == name)
}

const fn spec(name: &'static str, observer: Option<Observer>, trust: Option<Duration>) -> SpecRow {
    SpecRow { name, doc: "", attributes: Object::new, observer, trust }
}

const fn by(spec: &'static str, argument: &'static str) -> Writes {
    Writes { spec, instance: Instance::Argument(argument) }
}

const fn method(
    name: &'static str,
    effect: Effect,
    arguments: fn() -> Object,
    (writes, acts): (&'static [Writes], &'static [Acts]),
    run: RunFn,
) -> MethodRow {
    MethodRow { name, doc: "", effect, by_command: false, arguments, writes, acts, fresh: Duration::ZERO, phases: &[], run }
}

/// `name!` must be set, `key$` is a secret, `ticket*` a credential.
fn fields(line: &str) -> Object {
    let field = |word: &str| {
        let bare = word.trim_end_matches(['!', '*', '$']);
        let credential = word.ends_with('*');
        let ty = Type { secret: credential || word.ends_with('$'), credential, nullable: true, ..Type::of(Kind::Any) };
        (bare.to_owned(), Field { ty, required: word.ends_with('!'), default: None, doc: String::new() })
    };
    line.split_whitespace().map(field).collect()
}

fn call<'a>(ctx: &'a Context, call: Call, method: &'static str) -> BoxFuture<'a, Result<Outcome, Failure>> {
    match behaviour(ctx, method) {
        Some(does) => does(ctx.clone(), call),
        None => Box::pin(async move { Ok(usual(ctx, &call)) }),
    }
}

/// What methods do that were told nothing: they write their arguments; a login gives a new ticket each time.
pub fn usual(ctx: &Context, call: &Call) -> Outcome {
    static TICKETS: AtomicU64 = AtomicU64::new(1000);
    if ctx.who.def == "login" {
        let ticket = format!("ticket-{}", TICKETS.fetch_add(1, Ordering::SeqCst));
        return outcome(ctx, call, ticket_of(&ticket));
    }
    let plain = call.arguments.iter().filter(|(_, value)| !matches!(value, Value::Secret(_)));
    outcome(ctx, call, Value::Map(plain.map(|(name, value)| (name.clone(), value.clone())).collect()))
}

/// The attributes of a login.
pub fn ticket_of(text: &str) -> Value {
    Value::Map(Map::from([("ticket".to_owned(), Value::Secret(Secret::new(text, Origin::Computed)))]))
}

/// An outcome that writes these attributes to the resource that the arguments name.
pub fn outcome(ctx: &Context, call: &Call, attributes: Value) -> Outcome {
    let text = |name: &str| call.arguments.get(name).map(Value::to_string).unwrap_or_default();
    let specs = [("as", "note"), ("of", "seen"), ("name", "thing")];
    let named = specs.into_iter().find(|(argument, _)| call.arguments.contains_key(*argument));
    let (spec, instance) = match named {
        _ if ctx.who.def == "login" => ("login", "login".to_owned()),
        Some((argument, spec)) => (spec, text(argument)),
        None => ("result", "result".to_owned()),
    };
    Outcome::changed("did it").write(spec, instance, attributes)
}
