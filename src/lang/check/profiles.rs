//! Checks of profiles: what they override must exist and fit, like in the definition itself.

use crate::lang::check::scene::Scene;
use crate::lang::check::{Checker, definitions, unknown};
use crate::lang::pmxfile::Profile;
use crate::source::{Diagnostic, Span};

/// Every override of every profile.
pub(super) fn check(checker: &mut Checker<'_>) {
    let profiles = &checker.project.pmxfile.profiles;
    for (name, profile) in profiles {
        if says_nothing_else(profile) && profiles.len() > 1 {
            let complaint = Diagnostic::warning(format!("profile `{name}` has overrides and nothing else")).at(&profile.span, "");
            let others = profiles.iter().filter(|(other, _)| *other != name);
            let complaint = others.fold(complaint, |complaint, (_, other)| complaint.also(&other.span, "another profile"));
            checker.complain(complaint.help("it works on the real store; was another profile meant?"));
        }
        for (def, overrides) in &profile.definitions {
            // The table's own place is not kept: its first argument shows the way.
            let first =
                overrides.values().flat_map(|arguments| arguments.values()).map(|argument| &argument.key).min_by_key(|key| key.start());
            let at: &Span = first.unwrap_or(&profile.span);
            if !checker.project.definitions.contains_key(def) {
                let complaint =
                    Diagnostic::yours(format!("profile `{name}` overrides `{def}`, but there is no such definition")).at(at, "");
                checker.complain(unknown(complaint, def, checker.project.definitions.keys()));
                continue;
            }
            let Some(schema) = checker.schema(def) else { continue };
            for (method, arguments) in overrides {
                let Some(method) = method else {
                    definitions::globals(checker, &Scene::open(), (def, arguments), schema);
                    continue;
                };
                match schema.methods.get(method) {
                    Some(row) => definitions::of_method(checker, &Scene::open(), (&format!("{def}.{method}"), arguments), &row.arguments),
                    None => {
                        let at = arguments.values().map(|argument| &argument.key).min_by_key(|key| key.start()).unwrap_or(at);
                        let complaint = Diagnostic::yours(format!("profile `{name}`: `{def}` has no method `{method}`")).at(at, "");
                        checker.complain(unknown(complaint, method, schema.methods.keys()));
                    }
                }
            }
        }
    }
}

/// Whether a profile neither moves the store nor names machines.
fn says_nothing_else(profile: &Profile) -> bool {
    let Profile { store, vaults, connect, start, ready, closed, .. } = profile;
    store.is_none() && vaults.is_none() && connect.is_empty() && start.is_none() && ready.is_none() && !closed
}
