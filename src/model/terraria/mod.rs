//! Terraria: servers in containers, by their console.
//!
//! Holds: the type terraria/server
//! Imports: model, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: takes a console that does not answer for an empty server, types what a player wrote into a shell

pub mod server;
