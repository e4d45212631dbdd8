//! Evaluation: from an action's templates to the values its method gets, checked against the method's schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::exec::engine::Engine;
use crate::exec::plain;
use crate::exec::scope::{Reads, RunScope};
use crate::lang::template::{Evaluated, Expr, Scope};
use crate::lang::types::Object;
use crate::model::contract::{At, Failure};
use crate::model::schema::shared;
use crate::name::ResourceName;
use crate::plan::graph::{Action, Bounds, Frame, SetBy};
use crate::plan::variant::Variants;
use crate::source::{Diagnostic, Fault};
use crate::value::{Map, Value};

/// The values of one call.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Global arguments.
    pub globals: Map,
    /// The method's arguments.
    pub arguments: Map,
    /// The versions that were read, by resource.
    pub reads: Vec<(ResourceName, Digest)>,
    /// The host that the method logs in to, as its argument says.
    pub host: Option<String>,
    /// The machine that the host argument reads, if it reads one.
    pub machine: Option<Machine>,
    /// What keeps the definition's single instances apart.
    pub variant: Option<String>,
}

/// The machine behind an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its resource.
    pub name: ResourceName,
    /// Its smbios uuid, when it is known.
    pub uuid: Option<String>,
}

/// Why an action cannot begin, with the place in the user's file: mostly that file's fault, but not when a machine did not tell what it asks for.
pub fn failed(diagnostic: &Diagnostic) -> Failure {
    let message = match &diagnostic.at {
        Some((span, _)) => format!("{span}: {}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let failure = if diagnostic.fault == Fault::Theirs { Failure::theirs(message) } else { Failure::yours(message) };
    match &diagnostic.help {
        Some(help) => failure.help(help.clone()),
        None => failure,
    }
}

/// Runs `job` on a thread that may block.
async fn blocking<R: Send + 'static>(job: impl FnOnce() -> Result<R, Failure> + Send + 'static) -> Result<R, Failure> {
    match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        Err(panic) => Err(Failure::bug(format!("evaluating an expression: {panic}"))),
    }
}

/// What the expressions of an action came to.
#[derive(Clone, Debug)]
pub enum Evaluation {
    /// A condition is false: its text.
    Not(String),
    /// All conditions hold, and these are the arguments.
    Values(Box<Values>),
}

/// The conditions of the action and, when all hold, its arguments; all of them see the same versions.
pub async fn action(engine: &Arc<Engine>, action: &Action) -> Result<Evaluation, Failure> {
    if plain::action(action) {
        return all(engine, action);
    }
    let (engine, action) = (Arc::clone(engine), action.clone());
    blocking(move || all(&engine, &action)).await
}

fn all(engine: &Engine, action: &Action) -> Result<Evaluation, Failure> {
    let reads = Reads::default();
    for condition in &action.flow.conditions {
        if !holds(engine, action, condition, &reads).map_err(|d| failed(&d))? {
            return Ok(Evaluation::Not(condition.0.span.text().trim().to_owned()));
        }
    }
    evaluate(engine, action, &reads).map(|values| Evaluation::Values(Box::new(values))).map_err(|d| failed(&d))
}

fn holds(engine: &Engine, action: &Action, (condition, frame): &(Arc<Expr>, Arc<Frame>), reads: &Reads) -> Result<bool, Diagnostic> {
    let scope = RunScope::new(engine, frame, &action.call.def, reads)?;
    Ok(condition.eval_bool(&scope)?.0)
}

/// What the loop of an action goes over.
#[derive(Clone, Debug)]
pub enum Items {
    /// A condition is false whatever the item: its text.
    Not(String),
    /// The list or map.
    Of(Value),
}

/// The list or map of the action's loop. A condition that is false without knowing an item guards the list too: `if` may ask whether there is one.
pub async fn items(engine: &Arc<Engine>, action: &Action) -> Result<Items, Failure> {
    let (engine, action) = (Arc::clone(engine), action.clone());
    blocking(move || {
        let Some((list, frame)) = action.flow.loop_over.as_deref() else { return Ok(Items::Of(Value::List(Vec::new()))) };
        let reads = Reads::default();
        for condition in &action.flow.conditions {
            // A condition that cannot be told yet is asked again for each item, and complains there.
            if let Ok(false) = holds(&engine, &action, condition, &reads) {
                return Ok(Items::Not(condition.0.span.text().trim().to_owned()));
            }
        }
        let scope = RunScope::new(&engine, frame, &action.call.def, &reads).map_err(|d| failed(&d))?;
        list.eval(&scope).map(|evaluated| Items::Of(evaluated.value)).map_err(|d| failed(&d))
    })
    .await
}

fn evaluate(engine: &Engine, action: &Action, reads: &Reads) -> Result<Values, Diagnostic> {
    let call = &action.call;
    let outer = RunScope::new(engine, &action.scopes.outer, &call.def, reads)?;
    let inner = RunScope::new(engine, &action.scopes.inner, &call.def, reads)?;
    let scopes = Scopes { outer: &outer, inner: &inner };
    let host = call.method.acts.iter().find_map(|acts| if let At::Host(argument) = acts.at { Some(argument) } else { None });
    let mut values = Values { variant: variant(action, inner.inputs()), ..Values::default() };
    let sides = [
        (&*call.globals, shared(call.kind.globals), &mut values.globals),
        (&call.arguments, shared(call.method.arguments), &mut values.arguments),
    ];
    for (bound, schema, into) in sides {
        for (name, (value, read)) in scopes.evaluate_all(bound, schema)? {
            if host == Some(name.as_str()) {
                values.host = Some(value.to_string()).filter(|_| value != Value::Null);
                values.machine = machine(&read, reads);
            }
            into.insert(name, value);
        }
    }
    values.reads = reads.versions();
    Ok(values)
}

/// Whose address was read: the resource that has a uuid, because the name of a machine may be read from another resource.
fn machine(read: &[ResourceName], reads: &Reads) -> Option<Machine> {
    let of = |name: &ResourceName| Machine { name: name.clone(), uuid: reads.held(name).and_then(|held| uuid(&held.attributes)) };
    let all: Vec<Machine> = read.iter().map(of).collect();
    all.iter().find(|machine| machine.uuid.is_some()).or_else(|| all.first()).cloned()
}

/// The smbios uuid of a machine, if its attributes have one.
pub fn uuid(attributes: &Value) -> Option<String> {
    attributes.get("uuid").and_then(Value::as_str).filter(|uuid| !uuid.is_empty()).map(str::to_owned)
}

fn variant(action: &Action, inputs: &Map) -> Option<String> {
    let call = &action.call;
    if call.variant.is_some() || call.variant_inputs.is_empty() {
        return call.variant.clone();
    }
    let values = call.variant_inputs.iter().map(|name| inputs.get(name)).collect::<Option<Vec<_>>>()?;
    Some(Variants::text(values))
}

struct Scopes<'a> {
    outer: &'a dyn Scope,
    inner: &'a dyn Scope,
}

impl Scopes<'_> {
    fn evaluate_all(&self, bound: &Bounds, schema: &Object) -> Result<BTreeMap<String, (Value, Vec<ResourceName>)>, Diagnostic> {
        let mut values = BTreeMap::new();
        for (name, bound) in bound {
            let scope = if bound.from == SetBy::Step { self.outer } else { self.inner };
            let Evaluated { value, reads } = bound.template.value.eval(scope)?;
            let Some(field) = schema.get(name) else {
                return Err(Diagnostic::yours(format!("there is no argument `{name}`")).at(&bound.template.span, ""));
            };
            field.ty.accepts(&value).map_err(|why| Diagnostic::yours(format!("`{name}` {why}")).at(&bound.template.span, ""))?;
            values.insert(name.clone(), (field.ty.shape(value), reads));
        }
        for (name, field) in schema {
            match (values.contains_key(name), &field.default) {
                (false, Some(default)) => {
                    values.insert(name.clone(), (default.clone(), Vec::new()));
                }
                (false, None) if field.required => return Err(Diagnostic::yours(format!("the argument `{name}` is missing"))),
                _ => {}
            }
        }
        Ok(values)
    }
}
