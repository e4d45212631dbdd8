//! The plan: from workflows to a graph of actions, and the answers to "must it run?" and "why?".
//!
//! Holds: lowering, the graph with its edges, action keys, verdicts, explanations, and the graph's drawings
//! Imports: digest, event, lang, model, name, secret, source, store, value
//! Effects: none
//! Never: reads the store or the clock; the same files and inputs give the same graph

pub mod graph;
