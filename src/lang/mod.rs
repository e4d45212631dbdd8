//! The language: from text to typed values.
//!
//! Holds: Pmxfile, definitions, workflows, templates, CEL and the types that check them
//! Imports: event, name, secret, source, value
//! Effects: none
//! Never: reads files, asks the store, decides an order

mod cel;
pub mod check;
pub mod definition;
mod eval;
mod fit;
mod lower;
pub mod pmxfile;
pub mod project;
pub mod steer;
pub mod template;
pub mod types;
pub mod workflow;

use std::collections::BTreeMap;

use definition::Definition;
use pmxfile::Pmxfile;
use workflow::Workflow;

/// A whole project as its files say it.
#[derive(Clone, Debug)]
pub struct Project {
    /// The Pmxfile.
    pub pmxfile: Pmxfile,
    /// Definitions by name.
    pub definitions: BTreeMap<String, Definition>,
    /// Workflows by name.
    pub workflows: BTreeMap<String, Workflow>,
}

/// Reads a time span as people write them: `90s`, `10m`, `1h30m`, `30d`. The error says how.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    lower::duration::parse(text).map_err(|why| format!("{why}; {}", lower::duration::HELP))
}
