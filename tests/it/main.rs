//! The one integration binary: the real `pmx` in a sandbox, and the real components it works on.
#![expect(clippy::disallowed_methods, reason = "tests own files, processes, the environment and the clock of their sandbox")]

mod at;
mod bad_input;
mod bounds;
mod canary;
mod cancel;
mod care;
mod commands;
mod destroy;
mod faults;
mod fleet;
mod instructions;
mod interrupt;
mod kill;
mod kills;
mod lab_profile;
mod lab_transcripts;
mod leases;
mod lifecycle;
mod linked;
mod main_job;
mod mistakes;
mod normal;
mod process;
mod query;
mod races;
mod real;
mod real_smoke;
mod real_types;
mod repeats;
mod resume;
#[expect(dead_code, reason = "the bot's tests share it, and start programs of their own in it")]
mod sandbox;
mod schemas;
mod secrets;
mod settings;
mod spellings;
mod vaults;
mod workflows;
