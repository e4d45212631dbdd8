//! Models: the types of things pmx can act on, each one file, registered in one list.
//!
//! Holds: the contract between methods and the runner, schemas from Rust structs, the registry, and the model families
//! Imports: digest, event, lang, name, secret, source, value, wire
//! Effects: reads the local files that a method sends; everything else goes through the context
//! Never: sees the store, CEL, the terminal or a clock other than its context's

pub mod alpine;
pub mod console;
pub mod contract;
pub mod docker;
pub mod doubt;
pub mod leftover;
pub mod local;
pub mod minecraft;
pub mod nginx;
pub mod pmx;
pub mod proxmox;
pub mod registry;
pub mod remote;
pub mod rows;
#[cfg(test)]
mod scene;
pub mod schema;
pub mod ssh;
pub mod tailscale;
pub mod terraria;
pub mod wait;
