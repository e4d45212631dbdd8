//! Binding: one call with its arguments merged from the step, the profile, the definition and the schema, and the frames of its expressions.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::lang::Project;
use crate::lang::definition::{Argument, Arguments, Definition};
use crate::lang::pmxfile::Profile;
use crate::lang::template::Template;
use crate::lang::types::Object;
use crate::model::contract::{MethodRow, TypeRow};
use crate::plan::Types;
use crate::plan::graph::{Bound, BoundCall, Bounds, Frame, InputValue, Inputs, Scopes, Secrecy, SetBy};
use crate::plan::known::Sight;
use crate::plan::refs;
use crate::plan::target::unknown_definition;
use crate::plan::variant::Variants;
use crate::source::{Diagnostic, Source, Span, Spanned};

/// Binds calls; what is equal for every call of a definition or method is worked out once.
pub(super) struct Binder<'a> {
    project: &'a Project,
    types: Types<'a>,
    profile: Option<&'a Profile>,
    defaults: Arc<Source>,
    definitions: BTreeMap<String, Result<Rc<Defined>, Diagnostic>>,
    methods: BTreeMap<(String, String), Result<Rc<Callable>, Diagnostic>>,
}

/// A definition with its type.
pub(super) struct Defined {
    pub name: String,
    pub kind: &'static TypeRow,
    globals: Arc<Bounds>,
    variant_inputs: Arc<[String]>,
}

/// A method of a definition, with the arguments that hold unless a step says otherwise.
pub(super) struct Callable {
    pub defined: Rc<Defined>,
    pub method: &'static MethodRow,
    schema: Object,
    base: Bounds,
}

/// What a step, target or refresh asks for.
pub(super) struct Asked<'s> {
    /// The definition and where it is named.
    pub def: &'s str,
    /// The method.
    pub method: &'s str,
    /// `with`, and who set it.
    pub with: (&'s Arguments, SetBy),
    /// The workflow's frame.
    pub outer: &'s Arc<Frame>,
    /// The place to complain about; `None` for a target.
    pub at: Option<&'s Span>,
}

impl<'a> Binder<'a> {
    pub fn new(project: &'a Project, types: Types<'a>, profile: Option<&'a Profile>) -> Self {
        let defaults = Source::new("(default)", "");
        Self { project, types, profile, defaults, definitions: BTreeMap::new(), methods: BTreeMap::new() }
    }

    /// Which definitions keep their single instances apart. Definitions of an unknown type are left to the complaint of whoever calls them.
    pub fn variants(&mut self) -> Variants {
        let mut variants = Variants::default();
        for name in self.project.definitions.keys() {
            if let Ok(defined) = self.defined(name) {
                variants.insert(name, defined.kind, defined.variant_inputs.to_vec());
            }
        }
        variants
    }

    /// The definition of that name.
    pub fn defined(&mut self, name: &str) -> Result<Rc<Defined>, Diagnostic> {
        if let Some(known) = self.definitions.get(name) {
            return known.clone();
        }
        let found = self.define(name).map(Rc::new);
        self.definitions.insert(name.to_owned(), found.clone());
        found
    }

    fn define(&self, name: &str) -> Result<Defined, Diagnostic> {
        let def = self.project.definitions.get(name).ok_or_else(|| unknown_definition(name, self.project))?;
        let kind = (self.types)(&def.kind.value).ok_or_else(|| {
            Diagnostic::yours(format!("there is no type `{}`", def.kind.value)).at(&def.kind.span, "").help("`pmx types` lists them")
        })?;
        let schema = (kind.globals)();
        let mut globals = Bounds::new();
        let layers = [(self.profiled(name, None), SetBy::Profile), (Some(&def.global), SetBy::Global)];
        for (field, spec) in &schema {
            if let Some(bound) = self.first(field, &layers, &schema) {
                globals.insert(field.clone(), bound);
            } else if spec.required {
                let complaint = Diagnostic::yours(format!("definition `{name}` does not set `{field}`, which {} needs", kind.name));
                return Err(complaint.at(&def.kind.span, "").help(format!("add `{field} = …` under `[global]`")));
            }
        }
        let mut inputs: Vec<String> =
            globals.values().flat_map(|bound| refs::inputs_read(&bound.template.value)).map(str::to_owned).collect();
        inputs.sort();
        inputs.dedup();
        Ok(Defined { name: name.to_owned(), kind, globals: Arc::new(globals), variant_inputs: inputs.into() })
    }

    /// The method of that definition.
    pub fn callable(&mut self, def: &str, method: &str) -> Result<Rc<Callable>, Diagnostic> {
        let key = (def.to_owned(), method.to_owned());
        if let Some(known) = self.methods.get(&key) {
            return known.clone();
        }
        let found = self.call(def, method).map(Rc::new);
        self.methods.insert(key, found.clone());
        found
    }

    fn call(&mut self, def: &str, method: &str) -> Result<Callable, Diagnostic> {
        let defined = self.defined(def)?;
        let row = defined.kind.method(method).ok_or_else(|| {
            let names = defined.kind.methods.iter().map(|row| row.name);
            let all = names.clone().collect::<Vec<_>>().join(", ");
            Diagnostic::yours(format!("`{def}` has no method `{method}`"))
                .help(format!("methods of {}: {all}", defined.kind.name))
                .did_you_mean(method, names)
        })?;
        let definition: Option<&Definition> = self.project.definitions.get(def);
        let schema = (row.arguments)();
        let layers = [
            (self.profiled(def, Some(method)), SetBy::Profile),
            (self.profiled(def, None), SetBy::Profile),
            (definition.and_then(|d| d.methods.get(method)).map(|(_, arguments)| arguments), SetBy::Method),
            (definition.map(|d| &d.global), SetBy::Global),
        ];
        let base = schema.keys().filter_map(|field| Some((field.clone(), self.first(field, &layers, &schema)?))).collect();
        Ok(Callable { defined, method: row, schema, base })
    }

    fn profiled(&self, def: &str, method: Option<&str>) -> Option<&'a Arguments> {
        self.profile?.definitions.get(def)?.get(&method.map(str::to_owned))
    }

    /// The first layer that sets `field`, else the schema's default.
    fn first(&self, field: &str, layers: &[(Option<&Arguments>, SetBy)], schema: &Object) -> Option<Bound> {
        let row = schema.get(field)?;
        let set = layers.iter().find_map(|(layer, from)| Some((layer.as_ref()?.get(field)?.template.clone(), *from)));
        let default = || {
            let template = Template::Literal(row.default.clone()?);
            Some((Spanned::new(template, Span::new(&self.defaults, 0..0)), SetBy::Default))
        };
        let (template, from) = set.or_else(default)?;
        Some(Bound { template, from, secrecy: Secrecy::of(&row.ty) })
    }

    /// The call with its arguments merged and its frames.
    pub fn bind(&mut self, asked: &Asked<'_>) -> Result<(BoundCall, Scopes), Diagnostic> {
        let placed = |complaint: Diagnostic| match (&complaint.at, asked.at) {
            (None, Some(span)) => complaint.at(span, ""),
            _ => complaint,
        };
        let callable = self.callable(asked.def, asked.method).map_err(placed)?;
        callable.bind(asked).map_err(placed)
    }
}

impl Callable {
    /// Whether some expression of the call, as far as the definition sets it, reads the input `name`.
    fn reads_input(&self, name: &str) -> bool {
        let bounds = self.defined.globals.values().chain(self.base.values());
        bounds.flat_map(|bound| refs::inputs_read(&bound.template.value)).any(|read| read == name)
    }

    /// The type of what `with` may set under this name: of the method's argument, or anything for an input.
    pub fn takes(&self, name: &str) -> Option<crate::lang::types::Type> {
        match self.schema.get(name) {
            Some(field) => Some(field.ty.clone()),
            None => self.reads_input(name).then(crate::lang::types::Type::default),
        }
    }

    /// Everything that `with` may name.
    pub fn names(&self) -> Vec<&str> {
        let bounds = self.defined.globals.values().chain(self.base.values());
        let read = bounds.flat_map(|bound| refs::inputs_read(&bound.template.value));
        self.schema.keys().map(String::as_str).chain(read).collect()
    }

    fn bind(&self, asked: &Asked<'_>) -> Result<(BoundCall, Scopes), Diagnostic> {
        let (with, from) = asked.with;
        let mut arguments = self.base.clone();
        for (name, argument) in with {
            if let Some(field) = self.schema.get(name) {
                let bound = Bound { template: argument.template.clone(), from, secrecy: Secrecy::of(&field.ty) };
                arguments.insert(name.clone(), bound);
            } else if !self.reads_input(name) {
                return Err(self.unknown_argument(name, argument));
            }
        }
        for (name, field) in &self.schema {
            if field.required && !arguments.contains_key(name) {
                let complaint = Diagnostic::yours(format!("`{name}` of {}.{} is not set", asked.def, asked.method));
                return Err(complaint.help(format!("add it to the step: `with = {{ {name} = … }}`")));
            }
        }
        let scopes = Scopes { outer: Arc::clone(asked.outer), inner: inner(asked.outer, with)? };
        let globals = Arc::clone(&self.defined.globals);
        for bound in globals.values().chain(arguments.values()) {
            let frame = if bound.from == SetBy::Step { &scopes.outer } else { &scopes.inner };
            if let Some(complaint) = refs::missing_in(&bound.template.value, frame) {
                return Err(match asked.at {
                    Some(span) => complaint.also(span, "for this step"),
                    None => complaint,
                });
            }
        }
        let variant_inputs = Arc::clone(&self.defined.variant_inputs);
        let variant = variant(&variant_inputs, &scopes.inner);
        let call = BoundCall {
            def: self.defined.name.clone(),
            kind: self.defined.kind,
            method: self.method,
            globals,
            arguments,
            variant,
            variant_inputs,
        };
        Ok((call, scopes))
    }

    fn unknown_argument(&self, name: &str, argument: &Argument) -> Diagnostic {
        let call = format!("{}.{}", self.defined.name, self.method.name);
        let mut names = self.names();
        names.sort_unstable();
        names.dedup();
        let help = if names.is_empty() { "it takes none".to_owned() } else { format!("it takes: {}", names.join(", ")) };
        Diagnostic::yours(format!("{call} takes no `{name}`")).at(&argument.key, "").help(help).did_you_mean(name, names)
    }
}

/// The definition's frame: the workflow's inputs and the step's `with`.
fn inner(outer: &Arc<Frame>, with: &Arguments) -> Result<Arc<Frame>, Diagnostic> {
    if with.is_empty() {
        return Ok(Arc::clone(outer));
    }
    let mut inputs = Inputs::with_capacity(outer.inputs.len() + with.len());
    inputs.extend(outer.inputs.iter().map(|(name, value)| (name.clone(), value.clone())));
    for (name, argument) in with {
        inputs.insert(name.clone(), input(outer, &argument.template)?);
    }
    Ok(Arc::new(Frame { inputs, each: outer.each.clone() }))
}

/// What a template of `frame` gives to an input: its value, or itself when that is known only at run time.
pub(super) fn input(frame: &Arc<Frame>, template: &Spanned<Template>) -> Result<InputValue, Diagnostic> {
    Ok(match Sight::of(frame).template(&template.value)? {
        Some(value) => InputValue::Known(Arc::new(value)),
        None => InputValue::Late(Arc::new(template.clone()), Arc::clone(frame)),
    })
}

/// The variant that these inputs of a frame make, if there are some and all are known.
pub(super) fn variant(inputs: &[String], frame: &Frame) -> Option<String> {
    let known = |name: &String| match frame.inputs.get(name) {
        Some(InputValue::Known(value)) => Some(&**value),
        _ => None,
    };
    let values = inputs.iter().map(known).collect::<Option<Vec<_>>>()?;
    (!inputs.is_empty()).then(|| Variants::text(values))
}

impl Defined {
    /// The inputs that its globals read, sorted.
    pub fn variant_inputs(&self) -> &[String] {
        &self.variant_inputs
    }
}
