//! Proxmox: nodes and their virtual machines, over the HTTP API.
//!
//! Holds: the API with its accounts, errors and tasks, the types proxmox/node and proxmox/vm
//! Imports: digest, event, model, name, secret, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: repeats a write that may have happened, matches a machine by name alone before destroying it

pub mod api;
pub mod node;
mod rights;
pub mod task;
#[cfg(test)]
mod tests;
pub mod vm;
