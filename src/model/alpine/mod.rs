//! Alpine Linux: putting it on a disk, and the overlay that the diskless machines boot with.
//!
//! Holds: the types alpine/install and alpine/overlay
//! Imports: model, secret, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: puts a password into a command's arguments, erases a disk of a machine that was not proven

mod boot;
pub mod install;
pub mod overlay;
