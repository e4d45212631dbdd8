//! The runner: takes a graph, acts on the world, and keeps what came of it.
//!
//! Holds: the driver, the state of actions, one action's life, leases, refreshes, and the store's keeper
//! Imports: digest, event, lang, model, name, plan, secret, source, store, value, wire
//! Effects: none of its own: the world through wire, the store through its keeper
//! Never: reads files of the project, decides an order, prints

pub mod act;
pub mod claims;
pub mod drive;
pub mod engine;
pub mod evaluate;
pub mod guard;
pub mod herald;
pub mod horizon;
pub mod keep;
pub mod keeper;
pub mod lease;
pub mod outline;
pub mod past;
pub mod plain;
pub mod queue;
pub mod refresh;
pub mod reporter;
pub mod scope;
pub mod settle;
pub mod state;
pub mod tries;
pub mod view;

#[cfg(test)]
mod fresh_tests;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod keeper_tests;
#[cfg(test)]
mod keys_tests;
#[cfg(test)]
mod kill_tests;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod rig_clock;
#[cfg(test)]
mod rig_store;
#[cfg(test)]
mod rig_types;
#[cfg(test)]
mod spoiled_tests;
#[cfg(test)]
mod value_tests;
