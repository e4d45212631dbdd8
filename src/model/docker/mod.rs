//! Docker: containers on a host, over SSH.
//!
//! Holds: the types docker/compose and docker/engine
//! Imports: digest, model, secret, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: removes volumes, stops a container without time to save, puts a variable's value into a command

pub mod compose;
pub mod engine;
