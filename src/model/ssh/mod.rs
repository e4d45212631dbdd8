//! SSH: any host, by commands and files.
//!
//! Holds: the type ssh/host
//! Imports: digest, model, secret, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: puts a secret into a command's arguments

pub mod host;
#[cfg(test)]
mod tests;
