//! Variants: what keeps the single instances of a definition apart when its globals read inputs, so that `dockerEngine/result/atm10` is another
//! resource than `dockerEngine/result/slate`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::contract::{Instance, TypeRow};
use crate::name::ResourceName;
use crate::value::Value;

/// The definitions whose globals read inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variants(BTreeMap<String, Variant>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variant {
    inputs: Arc<[String]>,
    /// Spec and plain instance of each resource that is kept apart.
    singles: BTreeSet<(&'static str, &'static str)>,
}

impl Variants {
    /// Remembers that the globals of `def` read these inputs (sorted, each once).
    pub(super) fn insert(&mut self, def: &str, kind: &TypeRow, inputs: Vec<String>) {
        if inputs.is_empty() {
            return;
        }
        let writes = kind.methods.iter().flat_map(|method| method.writes);
        let singles = writes.filter_map(|write| if let Instance::Single(name) = write.instance { Some((write.spec, name)) } else { None });
        self.0.insert(def.to_owned(), Variant { inputs: inputs.into(), singles: singles.collect() });
    }

    /// The inputs that keep the single instances of `def` apart, sorted; none for most definitions.
    pub fn inputs(&self, def: &str) -> Arc<[String]> {
        self.0.get(def).map(|variant| Arc::clone(&variant.inputs)).unwrap_or_default()
    }

    /// The inputs whose values must replace the plain instance `name` (`dockerEngine/result/result`); none when the name means itself.
    pub fn of_single(&self, def: &str, spec: &str, instance: &str) -> Arc<[String]> {
        let fits = |variant: &&Variant| variant.singles.iter().any(|(s, i)| *s == spec && *i == instance);
        self.0.get(def).filter(fits).map(|variant| Arc::clone(&variant.inputs)).unwrap_or_default()
    }

    /// What `name` means among these inputs: `dockerEngine/result/result` is `dockerEngine/result/atm10` where `vmName` is `atm10`; any other name
    /// means itself. The error is the input that is missing.
    pub fn same_inputs(&self, name: &ResourceName, inputs: &BTreeMap<String, Value>) -> Result<ResourceName, String> {
        let names = self.of_single(&name.def, &name.spec, &name.instance);
        if names.is_empty() {
            return Ok(name.clone());
        }
        let values = names.iter().map(|input| inputs.get(input).ok_or_else(|| input.clone())).collect::<Result<Vec<_>, _>>()?;
        Ok(ResourceName::new(name.def.clone(), name.spec.clone(), Self::text(values)))
    }

    /// The instance name made of these inputs' values, in the order of the inputs' names. Different values never give one name.
    pub fn text<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
        let escaped = values.into_iter().map(|value| value.to_string().replace('\\', "\\\\").replace(',', "\\,"));
        escaped.collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_inputs_never_share_a_name() {
        let text = |values: &[&str]| Variants::text(&values.iter().map(|v| Value::from(*v)).collect::<Vec<_>>());
        assert_eq!(text(&["atm10"]), "atm10");
        assert_ne!(text(&["a,b", "c"]), text(&["a", "b,c"]));
        assert_ne!(text(&["a\\", "c"]), text(&["a", "\\,c"]));
    }
}
