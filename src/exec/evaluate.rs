//! Evaluation: from an action's templates to the values its method gets, checked against the method's schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::exec::engine::Engine;
use crate::exec::scope::RunScope;
use crate::lang::template::{Each, Evaluated, Scope};
use crate::lang::types::Object;
use crate::model::contract::{At, Failure};
use crate::name::ResourceName;
use crate::plan::graph::{Action, Bound, SetBy};
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
    /// The resources that were read, sorted.
    pub reads: Vec<ResourceName>,
    /// The machine that the host argument reads, if it reads one.
    pub machine: Option<ResourceName>,
    /// What keeps the definition's single instances apart.
    pub variant: Option<String>,
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

/// Whether all conditions of the action hold; the first that does not, as text.
pub async fn conditions(engine: &Arc<Engine>, action: &Action, each: Option<&Each>) -> Result<Option<String>, Failure> {
    if action.flow.conditions.is_empty() {
        return Ok(None);
    }
    let (engine, action, each) = (Arc::clone(engine), action.clone(), each.cloned());
    blocking(move || {
        for (condition, frame) in &action.flow.conditions {
            let scope = RunScope::new(&engine, frame, each.as_ref(), &action.call.def, &mut Vec::new()).map_err(|d| failed(&d))?;
            if !condition.eval_bool(&scope).map_err(|d| failed(&d))?.0 {
                return Ok(Some(condition.span.text().trim().to_owned()));
            }
        }
        Ok(None)
    })
    .await
}

/// The list or map of the action's loop.
pub async fn items(engine: &Arc<Engine>, action: &Action) -> Result<Value, Failure> {
    let (engine, action) = (Arc::clone(engine), action.clone());
    blocking(move || {
        let Some((list, frame)) = &action.flow.loop_over else { return Ok(Value::List(Vec::new())) };
        let scope = RunScope::new(&engine, frame, None, &action.call.def, &mut Vec::new()).map_err(|d| failed(&d))?;
        list.eval(&scope).map(|evaluated| evaluated.value).map_err(|d| failed(&d))
    })
    .await
}

/// All arguments of the action.
pub async fn values(engine: &Arc<Engine>, action: &Action, each: Option<&Each>) -> Result<Values, Failure> {
    let (engine, action, each) = (Arc::clone(engine), action.clone(), each.cloned());
    blocking(move || evaluate(&engine, &action, each.as_ref()).map_err(|d| failed(&d))).await
}

fn evaluate(engine: &Engine, action: &Action, each: Option<&Each>) -> Result<Values, Diagnostic> {
    let mut reads = Vec::new();
    let call = &action.call;
    let outer = RunScope::new(engine, &action.scopes.outer, each, &call.def, &mut reads)?;
    let inner = RunScope::new(engine, &action.scopes.inner, each, &call.def, &mut reads)?;
    let scopes = Scopes { outer: &outer, inner: &inner };
    let host = call.method.acts.iter().find_map(|acts| if let At::Host(argument) = acts.at { Some(argument) } else { None });
    let mut values = Values { variant: variant(action, inner.inputs()), ..Values::default() };
    let sides =
        [(&*call.globals, (call.kind.globals)(), &mut values.globals), (&call.arguments, (call.method.arguments)(), &mut values.arguments)];
    for (bound, schema, into) in sides {
        for (name, (value, read)) in scopes.evaluate_all(bound, &schema)? {
            if host == Some(name.as_str()) {
                values.machine = read.first().cloned();
            }
            reads.extend(read);
            into.insert(name, value);
        }
    }
    reads.sort();
    reads.dedup();
    values.reads = reads;
    Ok(values)
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
    fn evaluate_all(
        &self,
        bound: &BTreeMap<String, Bound>,
        schema: &Object,
    ) -> Result<BTreeMap<String, (Value, Vec<ResourceName>)>, Diagnostic> {
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
