//! What is known before the run: the value of an expression or template that depends only on inputs, the loop's item and the definition itself.

use std::sync::Arc;

use crate::lang::template::{Absent, Each, Expr, Piece, Ref, Root, Scope, Seen, Template};
use crate::name::ResourceName;
use crate::plan::graph::{Frame, InputValue};
use crate::secret::Secret;
use crate::source::{Diagnostic, Span, Spanned};
use crate::value::{Map, Value};

/// What an expression can see before the run.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    /// Inputs and the loop's item.
    pub frame: &'a Frame,
    /// `self`: name and type of the definition; `None` in a workflow.
    pub this: Option<(&'a str, &'a str)>,
}

impl<'a> Sight<'a> {
    /// What a step's own expressions see.
    pub const fn of(frame: &'a Frame) -> Self {
        Self { frame, this: None }
    }

    /// The template's value; `None` when it is known only at run time.
    pub fn template(self, template: &Template) -> Result<Option<Value>, Diagnostic> {
        match template {
            Template::Literal(value) => Ok(Some(value.clone())),
            Template::Expr(expr) => self.expr(expr),
            Template::Text(pieces) => self.text(pieces),
            Template::List(items) => {
                let values = items.iter().map(|item| self.template(&item.value)).collect::<Result<Option<Vec<_>>, _>>()?;
                Ok(values.map(Value::List))
            }
            Template::Map(fields) => {
                let value = |(key, item): (&String, &Spanned<Template>)| Ok(self.template(&item.value)?.map(|value| (key.clone(), value)));
                Ok(fields.iter().map(value).collect::<Result<Option<Map>, Diagnostic>>()?.map(Value::Map))
            }
        }
    }

    fn text(self, pieces: &[Piece]) -> Result<Option<Value>, Diagnostic> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Expr(expr) => match self.expr(expr)? {
                    // A secret makes the whole text secret, and null or a list in a text is the evaluator's business to refuse.
                    Some(value @ (Value::String(_) | Value::Int(_) | Value::Bool(_))) => text.push_str(&value.to_string()),
                    _ => return Ok(None),
                },
            }
        }
        Ok(Some(Value::String(text)))
    }

    /// The expression's value; `None` when it is known only at run time.
    pub fn expr(self, expr: &Expr) -> Result<Option<Value>, Diagnostic> {
        if let [only] = &*expr.refs
            && let Some(found) = self.whole(expr.span.text().trim(), only)?
        {
            return Ok(found);
        }
        if !expr.refs.iter().all(|reference| self.knows(reference)) {
            return Ok(None);
        }
        self.evaluate(expr)
    }

    /// The commonest expressions are one reference and nothing else: they need no evaluator. `None`: it is something else.
    fn whole(self, text: &str, reference: &Ref) -> Result<Option<Option<Value>>, Diagnostic> {
        match &*reference.root {
            Root::Input(Some(name)) if text.strip_prefix("inputs.") == Some(name) => match self.frame.inputs.get(name) {
                Some(InputValue::Known(value)) => Ok(Some(Some(Value::clone(value)))),
                Some(InputValue::Late(..)) => Ok(Some(None)),
                None => Err(missing_input(name, &reference.span, self.frame)),
            },
            Root::Each => Ok(match (text, &self.frame.each) {
                ("each.value", Some(each)) => Some(Some(each.value.clone())),
                ("each.key", Some(each)) => Some(Some(each.key.clone())),
                _ => None,
            }),
            _ => Ok(None),
        }
    }

    fn knows(self, reference: &Ref) -> bool {
        let known = |value: &InputValue| matches!(value, InputValue::Known(_));
        match &*reference.root {
            Root::Input(Some(name)) => self.frame.inputs.get(name).map_or(reference.optional, known),
            Root::Input(None) => self.frame.inputs.values().all(known),
            Root::Each => self.frame.each.is_some(),
            Root::This => self.this.is_some(),
            Root::Resource { .. } | Root::Vault(..) | Root::Run | Root::Env(_) => false,
        }
    }

    fn evaluate(self, expr: &Expr) -> Result<Option<Value>, Diagnostic> {
        let read = |name: &str| {
            expr.refs
                .iter()
                .any(|reference| matches!(&*reference.root, Root::Input(only) if only.as_deref().is_none_or(|only| only == name)))
        };
        let known = |(name, value): (&String, &InputValue)| match value {
            InputValue::Known(value) if read(name) => Some((name.clone(), Value::clone(value))),
            _ => None,
        };
        let inputs = self.frame.inputs.iter().filter_map(known).collect();
        let this =
            self.this.map(|(name, kind)| [("name", name), ("type", kind)].map(|(key, text)| (key.to_owned(), Value::from(text))).into());
        let scope = Before { inputs, each: self.frame.each.clone(), this: this.unwrap_or_default() };
        expr.eval(&scope).map(|evaluated| Some(evaluated.value))
    }
}

/// The world before the run: inputs and the loop's item, nothing else.
struct Before {
    inputs: Map,
    each: Option<Arc<Each>>,
    this: Map,
}

impl Scope for Before {
    fn inputs(&self) -> &Map {
        &self.inputs
    }
    fn resource(&self, name: &ResourceName) -> Result<Seen, Absent> {
        Err(late(&name.to_string()))
    }
    fn instances(&self, def: &str, spec: &str) -> Result<Vec<(String, Seen)>, Absent> {
        Err(late(&format!("{def}/{spec}/*")))
    }
    fn vault(&self, vault: &str, key: &str) -> Result<Secret, Absent> {
        Err(late(&format!("{key} of vault {vault}")))
    }
    fn each(&self) -> Option<Each> {
        self.each.as_deref().cloned()
    }
    fn run(&self) -> Map {
        Map::new()
    }
    fn this(&self) -> Map {
        self.this.clone()
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn why_missing(&self, _: &ResourceName, _: &str) -> Option<String> {
        None
    }
}

fn late(what: &str) -> Absent {
    Absent { message: format!("{what} is known only in a run"), help: None }
}

/// The complaint about an input that nobody gives.
pub(super) fn missing_input(name: &str, at: &Span, frame: &Frame) -> Diagnostic {
    Diagnostic::yours(format!("no input `{name}` is given here"))
        .at(at, "read here")
        .help(format!("declare `[input.{name}]` in the workflow, or give it in the step: `with = {{ {name} = … }}`"))
        .did_you_mean(name, frame.inputs.keys().map(String::as_str))
}

/// The text of a value that names something; the error says what it is instead.
pub(super) fn name_text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) if text.is_empty() => Err("an empty text"),
        Value::String(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(other.kind()),
    }
}
