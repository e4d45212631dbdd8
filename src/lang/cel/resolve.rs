//! Resolving sites in a scope, on the thread that asked: reads are noted, secrets are remembered, absence becomes a complaint that says what to do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::lang::cel::guard;
use crate::lang::cel::program::{Fast, Program};
use crate::lang::cel::run::Answer;
use crate::lang::cel::site::{Site, Target};
use crate::lang::cel::text::Written;
use crate::lang::template::{Absent, Scope, Seen};
use crate::name::ResourceName;
use crate::secret::{Origin, Secret};
use crate::source::{Diagnostic, Fault, Severity, Span};
use crate::value::{Map, Value};

/// One evaluation's view of its scope.
pub(in crate::lang) struct Resolver<'s> {
    scope: &'s dyn Scope,
    program: &'s Program,
    written: &'s Written,
    /// The resources that were read.
    pub reads: BTreeSet<ResourceName>,
    /// The secrets that were handed to CEL.
    pub touched: Vec<Secret>,
    /// The first complaint that CEL may not swallow.
    pub fatal: Option<Diagnostic>,
    /// The attributes that were there and null.
    pub nulls: Vec<(ResourceName, String)>,
    /// All complaints, by number.
    complaints: Vec<Diagnostic>,
    /// Answers by site and arguments: functions of CEL must be pure, and failed parts are evaluated again to find the smallest.
    answers: BTreeMap<(usize, String), Answer>,
}

impl<'s> Resolver<'s> {
    /// A view that has seen nothing yet.
    pub fn new(scope: &'s dyn Scope, program: &'s Program, written: &'s Written) -> Self {
        let (reads, touched, nulls) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self { scope, program, written, reads, touched, fatal: None, nulls, complaints: Vec::new(), answers: BTreeMap::new() }
    }

    /// The complaint behind a refusal.
    pub fn complaint(&mut self, refused: usize) -> Diagnostic {
        self.fatal.clone().or_else(|| self.complaints.get(refused).cloned()).unwrap_or_else(|| Diagnostic::yours("the expression fails"))
    }

    /// The value of a plain path, without CEL.
    pub fn fast(&mut self, fast: &Fast) -> Answer {
        match fast {
            Fast::Literal(value) => Ok(value.clone()),
            Fast::Site(number, args) => {
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    let value = self.fast(arg)?;
                    value.each_secret(&mut |secret| self.touched.push(secret.clone()));
                    values.push(value);
                }
                self.look(*number, &values)
            }
        }
    }

    /// The value of a site for CEL: its secrets count as touched.
    pub fn answer(&mut self, number: usize, args: &[Value]) -> Answer {
        // Arguments are computed by CEL, so a secret among them is plain text here; the key never leaves this table.
        let key = (number, Value::List(args.to_vec()).display());
        if let Some(known) = self.answers.get(&key) {
            return known.clone();
        }
        let answer = self.look(number, args);
        if let Ok(value) = &answer {
            // Each name that is looked up later is held against all of them: one that is the last one again would only make that longer.
            let last =
                |touched: &[Secret], secret: &Secret| touched.last().is_some_and(|last| last == secret && last.origin() == secret.origin());
            value.each_secret(&mut |secret| {
                if !last(&self.touched, secret) {
                    self.touched.push(secret.clone());
                }
            });
        }
        self.answers.insert(key, answer.clone());
        answer
    }

    fn refuse(&mut self, complaint: Diagnostic) -> Answer {
        self.complaints.push(complaint);
        Err(self.complaints.len() - 1)
    }

    /// A refusal that `||`, `.?` and `exists` cannot swallow.
    fn refuse_for_good(&mut self, complaint: Diagnostic) -> Answer {
        if self.fatal.is_none() {
            self.fatal = Some(complaint.clone());
        }
        self.refuse(complaint)
    }

    fn absent(&mut self, span: &Span, absent: Absent) -> Answer {
        let complaint = Diagnostic::yours(absent.message).at(span, "");
        self.refuse_for_good(match absent.help {
            Some(help) => complaint.help(help),
            None => complaint,
        })
    }

    fn look(&mut self, number: usize, args: &[Value]) -> Answer {
        let program = self.program;
        let Some(site) = program.sites.get(number) else { return self.refuse(Diagnostic::yours("the expression is broken")) };
        let span = self.written.at(site.range.clone());
        match &site.target {
            Target::Resource { def, spec } => self.resource(site, &span, (def, spec), args),
            Target::Perhaps { def, spec } => self.perhaps(site, &span, (def, spec), args),
            Target::All { def, spec } => self.all(&span, def, spec),
            Target::Names { def, spec } => self.names(&span, def, spec),
            Target::Input(name) => self.input(site, &span, name),
            Target::Inputs => Ok(Value::Map(limited(self.scope.inputs(), site.only.as_deref()))),
            Target::Env(name) => match self.scope.env(name) {
                Some(text) => self.follow(site, &span, "the environment", Value::String(text)),
                None => self.refuse(Diagnostic::yours(format!("the environment variable `{name}` is not set")).at(&span, "")),
            },
            Target::EnvPerhaps(name) => {
                Ok(Value::Map(self.scope.env(name).map(|text| (name.clone(), Value::String(text))).into_iter().collect()))
            }
            Target::Vault => self.vault(&span, args),
            Target::Each => match self.scope.each() {
                Some(each) => {
                    let fields = Map::from([("key".to_owned(), each.key), ("value".to_owned(), each.value)]);
                    self.follow(site, &span, "each", Value::Map(fields))
                }
                None => {
                    let complaint = Diagnostic::yours("`each` is only known inside `for_each`").at(&span, "");
                    self.refuse(complaint)
                }
            },
            Target::Run => self.follow(site, &span, "run", Value::Map(self.scope.run())),
            Target::This => self.follow(site, &span, "self", Value::Map(self.scope.this())),
        }
    }

    fn input(&mut self, site: &Site, span: &Span, name: &str) -> Answer {
        let inputs = self.scope.inputs();
        match inputs.get(name) {
            Some(value) => {
                let value = value.clone();
                self.follow(site, span, &format!("input `{name}`"), value)
            }
            None => {
                let complaint = Diagnostic::yours(format!("there is no input `{name}`")).at(span, "");
                let near = crate::name::nearest(name, inputs.keys().map(String::as_str));
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if inputs.is_empty() => format!("pass it with -i {name}=…, or in the step's `with`"),
                    None => format!("inputs here are {}", listed(inputs.keys())),
                };
                self.refuse(complaint.help(help))
            }
        }
    }

    fn vault(&mut self, span: &Span, args: &[Value]) -> Answer {
        let [Value::String(vault), Value::String(key)] = args else {
            return self.refuse(Diagnostic::yours("the names of a vault and its key are strings").at(span, ""));
        };
        match self.scope.vault(vault, key) {
            Ok(secret) => Ok(Value::Secret(secret)),
            Err(absent) => self.absent(span, absent),
        }
    }

    /// The name that an instance's index came to.
    fn name(&mut self, span: &Span, (def, spec): (&str, &str), args: &[Value]) -> Result<ResourceName, usize> {
        let wrong = match args.first() {
            Some(Value::String(name))
                if self.touched.iter().any(|secret| !secret.expose().is_empty() && name.contains(secret.expose())) =>
            {
                "a secret cannot name a resource".to_owned()
            }
            Some(Value::String(name)) if name.is_empty() || name.contains(char::is_control) => {
                "the name of an instance is empty or no text".to_owned()
            }
            Some(Value::String(name)) => return Ok(ResourceName::new(def, spec, name)),
            Some(Value::Secret(_)) => "a secret cannot name a resource".to_owned(),
            Some(other) => format!("the name of an instance is a string, not {}", other.kind()),
            None => "the name of an instance is missing".to_owned(),
        };
        match self.refuse_for_good(Diagnostic::yours(wrong).at(span, "")) {
            Err(refused) => Err(refused),
            Ok(_) => Err(0),
        }
    }

    fn resource(&mut self, site: &Site, span: &Span, place: (&str, &str), args: &[Value]) -> Answer {
        let name = self.name(span, place, args)?;
        self.reads.insert(name.clone());
        match self.scope.resource(&name) {
            Ok(seen) => self.field(site, span, &name, seen),
            Err(_) if site.optional => Ok(Value::Map(Map::new())),
            Err(absent) => self.absent(span, absent),
        }
    }

    fn perhaps(&mut self, site: &Site, span: &Span, place: (&str, &str), args: &[Value]) -> Answer {
        let name = self.name(span, place, args)?;
        self.reads.insert(name.clone());
        let found = self.scope.resource(&name).ok().map(|seen| (name.instance.clone(), as_value(&seen)));
        let _ = site;
        Ok(Value::Map(found.into_iter().collect()))
    }

    fn all(&mut self, span: &Span, def: &str, spec: &str) -> Answer {
        match self.scope.instances(def, spec) {
            Ok(instances) => {
                let mut found = Map::new();
                for (instance, seen) in instances {
                    self.reads.insert(ResourceName::new(def, spec, instance.clone()));
                    found.insert(instance, as_value(&seen));
                }
                Ok(Value::Map(found))
            }
            Err(absent) => self.absent(span, absent),
        }
    }

    fn names(&mut self, span: &Span, def: &str, spec: &str) -> Answer {
        match self.scope.names(def, spec) {
            Ok(names) => {
                self.reads.extend(names.iter().map(|name| ResourceName::new(def, spec, name)));
                Ok(Value::Map(names.into_iter().map(|name| (name, Value::Null)).collect()))
            }
            Err(absent) => self.absent(span, absent),
        }
    }

    fn field(&mut self, site: &Site, span: &Span, name: &ResourceName, seen: Seen) -> Answer {
        // A large text inside is shared, not copied, on the way to the field that is meant.
        let (top, depth) = match site.path.first() {
            Some(first) if first == "attributes" => (Cow::Borrowed(&*seen.attributes), 1),
            _ => (Cow::Owned(as_value(&seen)), 0),
        };
        match walk(&top, &site.path[depth..]).map_err(|missing| Missing { at: missing.at + depth, ..missing }) {
            Ok(found) => {
                if let (Value::Null, [attributes, key]) = (found, site.path.as_slice())
                    && attributes == "attributes"
                {
                    self.nulls.push((name.clone(), key.clone()));
                }
                // Before it is copied.
                if guard::weight(found) > guard::MOST_BYTES {
                    return self.refuse(Diagnostic::yours(guard::TOO_MUCH).at(span, ""));
                }
                Ok(pruned(found.clone(), site.only.as_deref()))
            }
            Err(Missing { at, fields, null }) => {
                let key = &site.path[at];
                // `attributes.ip`: history may know since when the field is gone.
                let told = (at == 1 && site.path[0] == "attributes").then(|| self.scope.why_missing(name, key)).flatten();
                if let Some(told) = told {
                    let help = format!("when the machine tells it again, `pmx build {name}` reads it");
                    return self.refuse(Diagnostic::new(Severity::Error, Fault::Theirs, told).at(span, "").help(help));
                }
                let inside = if at <= 1 { name.to_string() } else { format!("`{}` of {name}", site.path[1..at].join(".")) };
                self.refuse(no_field(&inside, key, &fields, null).at(span, ""))
            }
        }
    }

    fn follow(&mut self, site: &Site, span: &Span, what: &str, value: Value) -> Answer {
        match walk(&value, &site.path) {
            Ok(found) => Ok(pruned(found.clone(), site.only.as_deref())),
            Err(Missing { at, fields, null }) => {
                let inside = if at == 0 { what.to_owned() } else { format!("`{}` of {what}", site.path[..at].join(".")) };
                self.refuse(no_field(&inside, &site.path[at], &fields, null).at(span, ""))
            }
        }
    }
}

/// A version as expressions see it.
fn as_value(seen: &Seen) -> Value {
    Value::Map(Map::from([
        ("attributes".to_owned(), Value::clone(&seen.attributes)),
        ("version".to_owned(), Value::Int(i64::try_from(seen.version).unwrap_or(i64::MAX))),
        ("at".to_owned(), Value::String(seen.at.to_string())),
        ("run".to_owned(), Value::String(seen.run.to_string())),
    ]))
}

/// Where a path ends too early.
struct Missing {
    at: usize,
    fields: Vec<String>,
    null: bool,
}

fn walk<'v>(value: &'v Value, path: &[String]) -> Result<&'v Value, Missing> {
    let mut value = value;
    for (at, key) in path.iter().enumerate() {
        value = match value {
            Value::Map(map) => map.get(key).ok_or_else(|| Missing { at, fields: map.keys().cloned().collect(), null: false })?,
            other => return Err(Missing { at, fields: Vec::new(), null: *other == Value::Null }),
        };
    }
    Ok(value)
}

fn no_field(inside: &str, key: &str, fields: &[String], null: bool) -> Diagnostic {
    if null {
        return Diagnostic::yours(format!("{inside} is null, it has no `{key}`"));
    }
    let complaint = Diagnostic::yours(format!("{inside} has no `{key}`"));
    if crate::name::nearest(key, fields.iter().map(String::as_str)).is_some() {
        return complaint.did_you_mean(key, fields.iter().map(String::as_str));
    }
    if fields.is_empty() { complaint } else { complaint.help(format!("it has {}", listed(fields.iter()))) }
}

fn listed<'n>(names: impl Iterator<Item = &'n String>) -> String {
    let names: Vec<&str> = names.take(20).map(String::as_str).collect();
    names.join(", ")
}

fn limited(map: &Map, only: Option<&str>) -> Map {
    match only {
        Some(key) => map.get_key_value(key).map(|(key, value)| (key.clone(), value.clone())).into_iter().collect(),
        None => map.clone(),
    }
}

fn pruned(value: Value, only: Option<&str>) -> Value {
    match (value, only) {
        (Value::Map(map), Some(key)) => {
            // Whether a secret is there is no secret: `has(x.ticket)` must not taint.
            Value::Map(limited(&map, Some(key)))
        }
        (value, _) => value,
    }
}

/// A value whose expression touched secrets: every leaf of it is secret. A text that is one of the secrets unchanged keeps its origin.
pub(in crate::lang) fn sealed(value: Value, touched: &[Secret]) -> Result<Value, &'static str> {
    if touched.is_empty() {
        return Ok(value);
    }
    Ok(match value {
        Value::Null => Value::Null,
        Value::Secret(secret) => Value::Secret(secret),
        Value::String(text) => {
            let mut origins = touched.iter().filter(|secret| secret.expose() == text).map(Secret::origin);
            let first = origins.next().cloned();
            let origin = first.filter(|first| origins.all(|other| other == first)).unwrap_or(Origin::Computed);
            Value::Secret(Secret::new(text, origin))
        }
        Value::List(items) => Value::List(items.into_iter().map(|item| sealed(item, touched)).collect::<Result<_, _>>()?),
        Value::Map(map) => {
            let tells = |key: &str| touched.iter().any(|secret| !secret.expose().is_empty() && key.contains(secret.expose()));
            if map.keys().any(|key| tells(key)) {
                return Err("a secret cannot be a key of a map");
            }
            Value::Map(map.into_iter().map(|(key, item)| sealed(item, touched).map(|item| (key, item))).collect::<Result<_, _>>()?)
        }
        plain => Value::Secret(Secret::new(plain.to_string(), Origin::Computed)),
    })
}
