//! Docker: containers on a host, over SSH.
//!
//! Holds: the type docker/compose
//! Imports: model, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: removes volumes, stops a container without time to save

pub mod compose;
