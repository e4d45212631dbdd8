//! Refreshes: which method observes a resource, and the call that an implied refresh or a resource target becomes.

use crate::lang::definition::Arguments;
use crate::model::contract::Instance;
use crate::name::ResourcePattern;
use crate::plan::bind::Binder;
use crate::plan::lower::given;
use crate::plan::variant::Variants;
use crate::source::Diagnostic;
use crate::value::Value;

/// How a resource is observed.
pub(super) struct Observation {
    /// The method of its definition.
    pub method: &'static str,
    /// Its arguments: the instance's name, if it takes one.
    pub with: Arguments,
}

/// How `pattern` is observed; `None` when nothing observes it. An unknown definition or spec is an error that names the nearest.
pub(super) fn observer(binder: &mut Binder<'_>, pattern: &ResourcePattern, variants: &Variants) -> Result<Option<Observation>, Diagnostic> {
    let defined = binder.defined(&pattern.def)?;
    let row = defined.kind.spec(&pattern.spec).ok_or_else(|| {
        let names = defined.kind.specs.iter().map(|row| row.name);
        let all = names.clone().collect::<Vec<_>>().join(", ");
        Diagnostic::yours(format!("`{}` has no resources called `{}`", pattern.def, pattern.spec))
            .help(format!("{} writes: {all}", defined.kind.name))
            .did_you_mean(&pattern.spec, names)
    })?;
    let Some(observer) = row.observer else { return Ok(None) };
    let with = |name: &str, value: &str| Arguments::from_iter([given(format!("(refresh of {pattern})"), name, &Value::from(value))]);
    Ok(match (&pattern.instance, observer.argument) {
        (None, Some(_)) => observer.all.map(|method| Observation { method, with: Arguments::new() }),
        // Which of the single instances is meant is known only at run time.
        (None, None) if !variants.inputs(&pattern.def).is_empty() => {
            observer.all.map(|method| Observation { method, with: Arguments::new() })
        }
        (None, None) => Some(Observation { method: observer.all.unwrap_or(observer.one), with: Arguments::new() }),
        (Some(instance), Some(argument)) => Some(Observation { method: observer.one, with: with(argument, instance) }),
        // The instance of a definition that one input keeps apart is that input's value.
        (Some(instance), None) => match &*variants.inputs(&pattern.def) {
            [input] => Some(Observation { method: observer.one, with: with(input, instance) }),
            _ => Some(Observation { method: observer.one, with: Arguments::new() }),
        },
    })
}

/// The complaint about a resource target that nothing observes: it names the methods that write it.
pub(super) fn unobservable(binder: &mut Binder<'_>, pattern: &ResourcePattern) -> Diagnostic {
    let complaint = Diagnostic::yours(format!("nothing observes {pattern}"));
    let Ok(defined) = binder.defined(&pattern.def) else { return complaint };
    let fits = |instance: &Instance| match (instance, &pattern.instance) {
        (Instance::Single(single), Some(name)) => *single == name || !defined.variant_inputs().is_empty(),
        _ => true,
    };
    let writes =
        |row: &&crate::model::contract::MethodRow| row.writes.iter().any(|write| write.spec == pattern.spec && fits(&write.instance));
    let writers: Vec<String> = defined.kind.methods.iter().filter(writes).map(|row| format!("{}.{}", pattern.def, row.name)).collect();
    match writers.as_slice() {
        [] => complaint.help("no method writes it"),
        [only] => complaint.help(format!("{only} writes it")),
        several => complaint.help(format!("these write it: {}", several.join(", "))),
    }
}
