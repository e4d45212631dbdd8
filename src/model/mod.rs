//! Models: the types of things pmx can act on, each one file, registered in one list.
//!
//! Holds: the contract between methods and the runner, schemas from Rust structs, the registry, and the model families
//! Imports: event, lang, name, secret, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: sees the store, CEL, the terminal or a clock other than its context's

pub mod contract;
pub mod schema;
