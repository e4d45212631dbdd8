//! Touch: what an action reads and writes and where it acts, as far as files and inputs tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lang::template::{Expr, Index, Ref, Root, Template};
use crate::model::contract::{At, Instance, Writes};
use crate::name::{Place, ResourceName, ResourcePattern};
use crate::plan::graph::{Bound, BoundCall, Flow, Frame, InputValue, PlaceUse, Read, Scopes, Secrecy, SetBy, Touch, Write};
use crate::plan::known::{Sight, missing_input, name_text};
use crate::plan::refs::each_ref;
use crate::plan::variant::Variants;
use crate::source::{Diagnostic, Span};
use crate::value::{Map, Value};

/// The path of a shared file whose name is known only at run time: it meets every file of its host.
pub const ANY_FILE: &str = "*";

/// What the action touches.
pub(super) fn of(call: &BoundCall, scopes: &Scopes, flow: &Flow, variants: &Variants) -> Result<Touch, Diagnostic> {
    let seen = Seen { call, scopes, variants };
    let mut reads = Reads::default();
    for bound in call.globals.values().chain(call.arguments.values()) {
        seen.template(&bound.template.value, seen.frame(bound), bound.secrecy == Secrecy::Credential, &mut reads)?;
    }
    for (expr, frame) in flow.conditions.iter().chain(flow.loop_over.as_deref()) {
        seen.expr(expr, frame, false, &mut reads)?;
    }
    let mut writes: Vec<Write> = Vec::with_capacity(call.method.writes.len());
    let open = !flow.conditions.is_empty() || flow.loop_over.is_some();
    for row in call.method.writes {
        let (resource, named) = seen.written(row)?;
        match writes.iter_mut().find(|write| write.resource == resource) {
            Some(same) => same.possible &= open || !named,
            None => writes.push(Write { resource, possible: open || !named }),
        }
    }
    reads.list.shrink_to_fit();
    Ok(Touch { reads: reads.list, writes, places: seen.places()? })
}

/// Reads, each resource once, in the order in which they were found.
#[derive(Default)]
struct Reads {
    list: Vec<Read>,
    known: BTreeMap<ResourcePattern, usize>,
    /// Inputs that were followed, by frame and name: two inputs may name each other's sources any number of times.
    followed: BTreeSet<(usize, String)>,
}

impl Reads {
    fn add(&mut self, read: Read) {
        match self.known.get(&read.resource) {
            Some(at) => {
                let known = &mut self.list[*at];
                known.optional &= read.optional;
                known.credential &= read.credential;
            }
            None => {
                self.known.insert(read.resource.clone(), self.list.len());
                self.list.push(read);
            }
        }
    }
}

/// An action's expressions and what they can see.
#[derive(Clone, Copy)]
struct Seen<'a> {
    call: &'a BoundCall,
    scopes: &'a Scopes,
    variants: &'a Variants,
}

impl<'a> Seen<'a> {
    const fn frame(self, bound: &Bound) -> &'a Arc<Frame> {
        if matches!(bound.from, SetBy::Step) { &self.scopes.outer } else { &self.scopes.inner }
    }

    fn sight<'f>(self, frame: &'f Frame) -> Sight<'f>
    where
        'a: 'f,
    {
        Sight { frame, this: Some((self.call.def.as_str(), self.call.kind.name)) }
    }

    fn template(self, template: &Template, frame: &Arc<Frame>, credential: bool, reads: &mut Reads) -> Result<(), Diagnostic> {
        let mut found = Vec::new();
        each_ref(template, &mut |reference| found.push(reference));
        found.into_iter().try_for_each(|reference| self.reference(reference, frame, credential, reads))
    }

    fn expr(self, expr: &Expr, frame: &Arc<Frame>, credential: bool, reads: &mut Reads) -> Result<(), Diagnostic> {
        expr.refs.iter().try_for_each(|reference| self.reference(reference, frame, credential, reads))
    }

    fn reference(self, reference: &Ref, frame: &Arc<Frame>, credential: bool, reads: &mut Reads) -> Result<(), Diagnostic> {
        match &*reference.root {
            Root::Resource { def, spec, instance, .. } => {
                let instance = self.instance((def, spec), instance, &reference.span, frame)?;
                let resource = ResourcePattern { def: def.clone(), spec: spec.clone(), instance };
                reads.add(Read { resource, reference: reference.span.clone(), optional: reference.optional, credential });
                Ok(())
            }
            Root::Input(Some(name)) => self.input(name, frame, credential, reads),
            Root::Input(None) => frame.inputs.keys().try_for_each(|name| self.input(name, frame, credential, reads)),
            Root::Vault(..) | Root::Each | Root::Run | Root::This | Root::Env(_) => Ok(()),
        }
    }

    /// Follows an input to the expression that gives it. The chain is as deep as workflows are nested.
    fn input(self, name: &str, frame: &Arc<Frame>, credential: bool, reads: &mut Reads) -> Result<(), Diagnostic> {
        match frame.inputs.get(name) {
            Some(InputValue::Late(template, from)) if reads.followed.insert((Arc::as_ptr(frame) as usize, name.to_owned())) => {
                self.template(&template.value, from, credential, reads)
            }
            _ => Ok(()),
        }
    }

    /// The instance that a reference means; `None` is every one.
    fn instance(self, (def, spec): (&str, &str), index: &Index, at: &Span, frame: &Arc<Frame>) -> Result<Option<String>, Diagnostic> {
        let name = match index {
            Index::Name(name) => name.clone(),
            Index::Any => return Ok(None),
            Index::Computed(expr) => match self.sight(frame).expr(expr)? {
                None => return Ok(None),
                Some(value) => name_text(&value)
                    .map_err(|kind| Diagnostic::yours(format!("{kind} cannot name an instance of {def}/{spec}")).at(&expr.span, ""))?,
            },
        };
        self.same_inputs(ResourceName::new(def, spec, name), at, frame)
    }

    fn same_inputs(self, name: ResourceName, at: &Span, frame: &Frame) -> Result<Option<String>, Diagnostic> {
        let inputs = self.variants.of_single(&name.def, &name.spec, &name.instance);
        let mut known = Map::new();
        for input in inputs.iter() {
            match frame.inputs.get(input) {
                Some(InputValue::Known(value)) => known.insert(input.clone(), Value::clone(value)),
                Some(InputValue::Late(..)) => return Ok(None),
                None => {
                    let complaint = missing_input(input, at, frame);
                    let help = format!("`{name}` is one per {}; give that input here, or name the instance", inputs.join(" and "));
                    return Err(complaint.help(help));
                }
            };
        }
        Ok(self.variants.same_inputs(&name, &known).ok().map(|name| name.instance))
    }

    /// What a row of the method's declaration writes, and whether its name is known.
    fn written(self, row: &Writes) -> Result<(ResourcePattern, bool), Diagnostic> {
        let (instance, named) = match row.instance {
            Instance::All => (None, true),
            Instance::Single(name) if self.call.variant_inputs.is_empty() => (Some(name.to_owned()), true),
            Instance::Single(_) => (self.call.variant.clone(), self.call.variant.is_some()),
            Instance::Argument(argument) => {
                let name = self.named_by(argument, row.spec)?;
                let named = name.is_some();
                (name, named)
            }
        };
        Ok((ResourcePattern { def: self.call.def.clone(), spec: row.spec.to_owned(), instance }, named))
    }

    fn bound(self, argument: &str) -> Option<&'a Bound> {
        self.call.arguments.get(argument).or_else(|| self.call.globals.get(argument))
    }

    fn value(self, bound: &Bound) -> Result<Option<Value>, Diagnostic> {
        self.sight(self.frame(bound)).template(&bound.template.value)
    }

    fn named_by(self, argument: &str, spec: &str) -> Result<Option<String>, Diagnostic> {
        let Some(bound) = self.bound(argument) else {
            let call = self.call.name();
            return Err(Diagnostic::yours(format!("{call} names the {spec} that it writes by `{argument}`, which is not set")));
        };
        let text = |value: Value| {
            name_text(&value).map_err(|kind| Diagnostic::yours(format!("{kind} cannot name a {spec}")).at(&bound.template.span, ""))
        };
        self.value(bound)?.map(text).transpose()
    }

    fn places(self) -> Result<Vec<PlaceUse>, Diagnostic> {
        let mut places: Vec<PlaceUse> = Vec::new();
        for acts in self.call.method.acts {
            for place in self.at(&acts.at)? {
                match places.iter_mut().find(|known| known.place == place) {
                    Some(known) => known.shared &= acts.shared,
                    None => places.push(PlaceUse { place, shared: acts.shared }),
                }
            }
        }
        Ok(places)
    }

    fn at(self, at: &At) -> Result<Vec<Place>, Diagnostic> {
        match at {
            At::Host(argument) => self.hosts(argument),
            At::Machine(row) => Ok(vec![Place::Machine(self.written(row)?.0)]),
            At::File(host, path) => {
                let path = match self.bound(path) {
                    Some(bound) => self.value(bound)?.map_or_else(|| ANY_FILE.to_owned(), |value| value.to_string()),
                    None => return Ok(Vec::new()),
                };
                Ok(self.hosts(host)?.into_iter().map(|host| Place::File(host.to_string(), path.clone())).collect())
            }
        }
    }

    /// The machines whose addresses the argument reads, else the host that it names. An address that is null or empty is no place: nothing is done there.
    fn hosts(self, argument: &str) -> Result<Vec<Place>, Diagnostic> {
        let Some(bound) = self.bound(argument) else { return Ok(Vec::new()) };
        let mut reads = Reads::default();
        self.template(&bound.template.value, self.frame(bound), false, &mut reads)?;
        if !reads.list.is_empty() {
            return Ok(reads.list.into_iter().map(|read| Place::Machine(read.resource)).collect());
        }
        Ok(match self.value(bound)? {
            Some(Value::String(host)) if !host.is_empty() => vec![Place::Host(host)],
            Some(_) => Vec::new(),
            // The environment or a vault names it: the same text is the same host.
            None => vec![Place::Host(bound.template.span.text().to_owned())],
        })
    }
}
