//! Tailscale: machines that join a tailnet.
//!
//! Holds: the type tailscale/node
//! Imports: model, secret, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: puts a key where others may read it, waits for ever for a key that is refused

pub mod node;
