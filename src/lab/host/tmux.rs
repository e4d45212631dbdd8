//! A machine's or a container's tmux server: sessions with one pane each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::console::Program;

/// The most lines a pane remembers; tmux's own default is 2000.
pub const HISTORY: usize = 2000;

/// The sessions of one tmux server.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Tmux {
    /// By name. A server without sessions is not running.
    pub sessions: BTreeMap<String, Session>,
}

/// One session: a single window with a single pane.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Session {
    /// Made, seconds since 1970.
    pub created: i64,
    /// What runs in the pane.
    pub program: Program,
    /// Process id of the pane's first process.
    pub pid: u32,
    /// The pane's history, oldest first; the last entry is the line where the cursor stands.
    pub lines: Vec<String>,
    /// What was typed and not yet submitted.
    pub typed: String,
}
