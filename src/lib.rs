//! pmx: a build system whose rules act on a fleet of virtual machines.
//!
//! A *definition* names an instance of a *model type*: `fleet` is a `proxmox/vm`. A *method* of it reads resources, acts on the world, and writes
//! *resources*: `fleet.stop` writes `fleet/vm/calamity`. A *workflow* is a list of steps, each a method call or another workflow. `pmx build` lowers
//! the list to a graph whose edges are conflicts: one step reads what another writes, both write one thing, both act at one place. Whatever has no
//! conflict runs at the same time, and every legal order gives what the list in order would give.
//!
//! Every output is stored under the hash of its content, and a resource's name points at a chain of versions that name their parents by digest. So
//! the store is also the record of who did what to which machine, when and why.
//!
//! The rooms, lowest first; a room imports only rooms above it in this list, and `tests/tidy.rs` holds them to it:
//!
//! - words: [`digest`], [`name`], [`secret`], [`value`], [`source`], [`event`]: plain values without effects;
//! - [`files`]: files that outlive a crash;
//! - [`store`]: versions, records and runs on disk or in memory; [`lang`]: from text to typed values; [`wire`]: HTTPS, SSH and the clock; [`vault`]:
//!   where secrets come from. None of these four knows another;
//! - [`model`]: the types of things pmx can act on, a file each;
//! - [`plan`]: the graph, its reasons and its drawings, all pure;
//! - [`exec`]: runs a graph;
//! - [`ops`]: use cases, without printing;
//! - [`cli`]: the front door.
//!
//! [`lab`] stands apart: a practice fleet that speaks the real protocols. Nothing but its own command knows that it is there.

pub mod cli;
pub mod digest;
pub mod event;
pub mod exec;
pub mod files;
pub mod lab;
pub mod lang;
pub mod model;
pub mod name;
pub mod ops;
pub mod plan;
pub mod secret;
pub mod source;
pub mod store;
pub mod value;
pub mod vault;
#[cfg(test)]
mod walks;
pub mod wire;
