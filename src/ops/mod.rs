//! Use cases: what a person asks of pmx, one file each, without printing anything.
//!
//! Holds: finding and reading a project, building, resuming, cancelling, planning, drawing, history, queries, checking, describing, the way to another machine
//! Imports: digest, event, exec, files, lang, model, name, plan, secret, source, store, value, vault, wire
//! Effects: reads the project's files, opens the store, starts a profile's machines
//! Never: prints, reads the environment, knows who calls

pub mod at;
pub mod build;
pub mod cancel;
pub mod chat;
pub mod describe;
pub mod doctor;
pub mod front;
pub mod gc;
pub mod history;
pub mod init;
pub mod log;
pub mod plan;
pub mod planner;
pub mod project;
pub mod query;
pub mod ready;
pub mod recipe;
pub mod repeat;
pub mod resume;
pub mod rotate;
pub mod runs;
pub mod schema;
pub mod secrets;
pub mod site;
mod stopping;
pub mod why;
pub mod world;
