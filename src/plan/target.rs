//! Targets: what `pmx build` is asked for, as text and as meant.

use std::fmt;

use crate::lang::Project;
use crate::name::ResourcePattern;
use crate::source::Diagnostic;

/// How many workflows a complaint lists.
const LISTED: usize = 20;

/// What `pmx build` is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A workflow by its name.
    Workflow(String),
    /// A method call, `fleet.stop`.
    Method {
        /// The definition.
        def: String,
        /// The method.
        method: String,
    },
    /// A resource, `fleet/vm/calamity`, or every instance of a spec, `fleet/vm/*`: its observation.
    Resource(ResourcePattern),
}

impl Target {
    /// Reads a target by its form alone: a slash makes a resource, a dot a method call, anything else is a workflow.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        if text.contains('/') {
            return text.parse().map(Self::Resource).map_err(|e| {
                Diagnostic::yours(e.to_string())
                    .help("a target is a workflow, a method call such as fleet.stop, or a resource such as fleet/vm/x")
            });
        }
        match text.split_once('.') {
            Some((def, method)) if !def.is_empty() && !method.is_empty() => {
                Ok(Self::Method { def: def.to_owned(), method: method.to_owned() })
            }
            Some(_) => Err(Diagnostic::yours(format!("`{text}` is no method call")).help("write definition.method, such as fleet.stop")),
            None if text.is_empty() => Err(Diagnostic::yours("the target is empty").help("name a workflow, a method call or a resource")),
            None => Ok(Self::Workflow(text.to_owned())),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workflow(name) => f.write_str(name),
            Self::Method { def, method } => write!(f, "{def}.{method}"),
            Self::Resource(pattern) => write!(f, "{pattern}"),
        }
    }
}

/// The complaint about a workflow that does not exist; a definition of that name is told apart.
pub(super) fn unknown_workflow(name: &str, project: &Project) -> Diagnostic {
    let complaint = Diagnostic::yours(format!("there is no workflow `{name}`"));
    if project.definitions.contains_key(name) {
        return complaint.help(format!("`{name}` is a definition: call a method of it, `{name}.…`, or see `pmx describe {name}`"));
    }
    let names = || project.workflows.keys().chain(project.definitions.keys()).map(String::as_str);
    if crate::name::nearest(name, names()).is_some() {
        return complaint.did_you_mean(name, names());
    }
    let workflows: Vec<&str> = project.workflows.keys().map(String::as_str).take(LISTED).collect();
    let more = if project.workflows.len() > LISTED { ", …" } else { "" };
    match workflows.as_slice() {
        [] => complaint.help("the project has no workflows; a target may also be a method call, such as fleet.sync"),
        there => complaint.help(format!("workflows: {}{more}; a method call is written such as fleet.sync", there.join(", "))),
    }
}

/// The complaint about a definition that does not exist.
pub(super) fn unknown_definition(name: &str, project: &Project) -> Diagnostic {
    Diagnostic::yours(format!("there is no definition `{name}`")).did_you_mean(name, project.definitions.keys().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_decides() {
        assert_eq!(Target::parse("stop-vm").unwrap(), Target::Workflow("stop-vm".into()));
        assert_eq!(Target::parse("fleet.stop").unwrap(), Target::Method { def: "fleet".into(), method: "stop".into() });
        // A dot or a slash inside an instance is part of its name.
        for resource in ["fleet/vm/VM 102", "testVmSsh/file//etc/conf.d/x", "fleet/vm/*"] {
            assert_eq!(Target::parse(resource).unwrap().to_string(), resource);
            assert!(matches!(Target::parse(resource).unwrap(), Target::Resource(_)), "{resource}");
        }
        for bad in ["", ".", "fleet.", ".stop", "fleet/", "fleet/vm"] {
            assert!(Target::parse(bad).is_err(), "{bad:?}");
        }
    }
}
