//! The query: one expression over the newest versions in the store, or over those of an earlier moment, without a run.

mod known;
mod meant;

use std::sync::Arc;

use crate::event::Time;
use crate::lang::project::{Sources, parse};
use crate::lang::template::{Expr, Ref, Root};
use crate::name::ResourceName;
use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::ops::planner::ProjectPlanner;
use crate::ops::site::{self, Site};
use crate::source::{Diagnostic, Source, Span};
use crate::store::Store;
use crate::value::Value;
use known::Known;

/// What the place of an expression is called in complaints.
const PLACE: &str = "query";

/// The definitions of a project, for whoever has to say what was meant.
pub type Definitions<'a> = dyn Fn() -> Option<ProjectPlanner> + 'a;

/// The definitions of the project that `front` stands in, as far as they can be read; workflows are not looked at.
pub fn definitions(front: &Front) -> Option<ProjectPlanner> {
    let site = Site::find(front).ok()?;
    let definitions = site::read_all(&site.root, "definitions").unwrap_or_default();
    let sources = Sources { pmxfile: Arc::clone(&site.pmxfile.source), definitions, workflows: Vec::new() };
    let (project, _) = parse(&sources);
    Some(ProjectPlanner { project: Arc::new(project?), profile: site.settings().cloned() })
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    expr: Expr,
    /// The moment whose knowledge is asked for; now without.
    then: Option<Time>,
}

impl Question {
    /// Reads what was typed, with or without `${{ }}` around it, and refuses what only a run has.
    pub fn parse(cel: &str, then: Option<Time>) -> Result<Self, Vec<Diagnostic>> {
        let span = Span::new(&Source::new(PLACE, cel), 0..cel.len());
        let expr = Expr::parse(cel, &span).map_err(|complaints| named(cel, &span).map_or(complaints, |complaint| vec![complaint]))?;
        let refused: Vec<Diagnostic> = expr.refs.iter().filter_map(refused).collect();
        if refused.is_empty() { Ok(Self { expr, then }) } else { Err(refused) }
    }

    /// The value. Secrets are closed: whatever touched one is secret whole.
    pub fn answer(&self, store: &mut dyn Store, definitions: &Definitions<'_>) -> Result<Value, Vec<Diagnostic>> {
        let known = Known::new(store, definitions, self.then);
        known.name_what_is_tolerated(&self.expr.refs)?;
        let evaluated = self.expr.eval(&known);
        // First, because `has(…)` takes a store that cannot be read for one that has nothing.
        if let Some(error) = known.broken() {
            return Err(trouble(&error));
        }
        let value = evaluated.map_err(|complaint| vec![known.told(complaint)])?.value;
        match unsayable(&value) {
            Some(number) => {
                let complaint = Diagnostic::yours(format!("the expression gives {number}, for which JSON has no word"));
                Err(vec![complaint.at(&self.expr.span, "")])
            }
            None => Ok(value),
        }
    }
}

/// What is said of `fleet/vm/calamity`, as every other command calls it.
fn named(cel: &str, span: &Span) -> Option<Diagnostic> {
    let name: ResourceName = cel.trim().parse().ok()?;
    if cel.contains(|c: char| "()[]{}'\"=,?".contains(c)) {
        return None;
    }
    let help = format!(r#"write model.{}.resource.{}["{}"], or `pmx show {name}`"#, name.def, name.spec, name.instance);
    Some(Diagnostic::yours(format!("`{name}` is a name and no expression")).at(span, "").help(help))
}

/// Why a query has no such thing; `None` for resources, which it has.
fn refused(reference: &Ref) -> Option<Diagnostic> {
    let (message, help) = match &*reference.root {
        Root::Resource { .. } => return None,
        Root::Vault(vault, key) => {
            let word = |name: &Option<String>, other: &str| name.clone().unwrap_or_else(|| other.to_owned());
            let help = format!("`pmx vault get {} {}` prints one", word(vault, "VAULT"), word(key, "KEY"));
            ("a query opens no secrets".to_owned(), help)
        }
        Root::Input(_) => ("a query has no inputs".to_owned(), "write the value itself".to_owned()),
        Root::Each => {
            ("`each` is only known inside `for_each`".to_owned(), "a loop here is list.filter(x, …) or list.map(x, …)".to_owned())
        }
        Root::Run => ("a query is no run".to_owned(), "the run that wrote a version is model.….run".to_owned()),
        Root::This => ("a query stands in no definition".to_owned(), "write model.<definition>.…".to_owned()),
        Root::Env(_) => ("a query knows the store, not the environment".to_owned(), "let the shell write the value here".to_owned()),
    };
    Some(Diagnostic::yours(message).at(&reference.span, "").help(help))
}

/// The first number inside that JSON has no form for. Depth is bounded by CEL and by the store's JSON.
fn unsayable(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) if !number.is_finite() => Some(*number),
        Value::List(items) => items.iter().find_map(unsayable),
        Value::Map(map) => map.values().find_map(unsayable),
        _ => None,
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
