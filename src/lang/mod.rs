//! The language: from text to typed values.
//!
//! Holds: Pmxfile, definitions, workflows, templates, CEL and the types that check them
//! Imports: name, secret, source, value
//! Effects: none
//! Never: reads files, asks the store, decides an order

pub mod types;
