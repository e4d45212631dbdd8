//! Minecraft: servers in tmux sessions, by their ping, their console and their log.
//!
//! Holds: the type minecraft/server
//! Imports: model, secret, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: takes a server that does not answer for an empty one, kills a JVM, types what a player wrote into a shell

pub mod server;
