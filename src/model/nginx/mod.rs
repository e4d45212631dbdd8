//! nginx: proxies for TCP and UDP in front of the game servers.
//!
//! Holds: the type nginx/stream
//! Imports: model, value, wire
//! Effects: none of its own: everything goes through the context
//! Never: touches the proxy of another VM, leaves a configuration behind that nginx does not serve

pub mod stream;
