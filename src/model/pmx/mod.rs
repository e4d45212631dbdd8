//! pmx itself on other machines: its project, its programs, its vaults.
//!
//! Holds: the type pmx/repo
//! Imports: digest, lang, model, source, value, wire
//! Effects: reads the project's own files; everything else goes through the context
//! Never: sends a store, a `.git` or an environment file, removes on the far side what it did not put there

pub mod repo;
