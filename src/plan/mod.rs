//! The plan: from workflows to a graph of actions, and the answers to "must it run?" and "why?".
//!
//! Holds: lowering, the graph with its edges, action keys, verdicts, explanations, and the graph's drawings
//! Imports: digest, event, lang, model, name, secret, source, store, value
//! Effects: none
//! Never: reads the store or the clock; the same files and inputs give the same graph

mod arrange;
mod bind;
pub mod draw;
mod edges;
mod expand;
pub mod explain;
pub mod graph;
pub mod inputs;
pub mod key;
mod known;
mod latest;
mod lower;
mod phases;
mod prune;
mod reduce;
mod refresh;
pub mod refs;
mod target;
mod touch;
pub mod variant;
pub mod verdict;
mod walk;
mod writers;

use crate::model::contract::TypeRow;

pub use expand::expand;
pub use lower::{lower, spend};
pub use target::Target;
pub use touch::ANY_FILE;

/// Finds a type by its name, `proxmox/vm`.
pub type Types<'a> = &'a dyn Fn(&str) -> Option<&'static TypeRow>;

#[cfg(test)]
mod draw_tests;
#[cfg(test)]
mod growth_tests;
#[cfg(test)]
mod hazard_tests;
#[cfg(test)]
mod inventory_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod kit;
#[cfg(test)]
mod lower_tests;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod verdict_tests;
#[cfg(test)]
mod world;
