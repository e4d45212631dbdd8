//! The inside of one practice machine: its files, packages, containers and consoles, as plain data.
//!
//! Holds: `HostState` with all that lasts between connections, the constructors of the ten VMs, and the commands that exist on them
//! Imports: none
//! Effects: reads the clock
//! Never: runs a program of this machine or touches its files

pub mod compose;
pub mod console;
pub mod docker;
pub mod files;
pub mod fleet;
pub mod install;
pub mod nginx;
pub mod power;
pub mod proc;
pub mod settle;
pub mod state;
pub mod time;
pub mod tmux;
pub mod yaml;

pub use state::HostState;
