//! The runner: takes a graph, acts on the world, and keeps what came of it.
//!
//! Holds: the driver, the state of actions, one action's life, leases, refreshes, and the store's thread
//! Imports: digest, event, lang, model, name, plan, secret, source, store, value, wire
//! Effects: none of its own: the world through wire, the store through its keeper
//! Never: reads files of the project, decides an order, prints

pub mod act;
pub mod drive;
pub mod engine;
pub mod evaluate;
pub mod herald;
pub mod keep;
pub mod keeper;
pub mod lease;
pub mod refresh;
pub mod reporter;
pub mod scope;
pub mod state;
pub mod view;
