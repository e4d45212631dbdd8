//! The programs that read what is typed into a pane: the game servers' consoles.

use serde::{Deserialize, Serialize};

/// What runs in a pane.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Program {
    /// A login shell: what is typed is run.
    #[default]
    Shell,
    /// A tModLoader server's console.
    Terraria(Terraria),
    /// A Minecraft server's console.
    Minecraft(Minecraft),
}

/// A tModLoader server.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Terraria {
    /// Who is on, with their addresses, `("Keeb", "10.0.0.20:51234")`.
    pub players: Vec<(String, String)>,
    /// Seconds that saving the world takes.
    pub save_seconds: u64,
    /// When the world was last saved, seconds since 1970; 0 for never.
    pub saved_at: i64,
    /// What was said with `say`, oldest first.
    pub said: Vec<String>,
}

/// A Minecraft server.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Minecraft {
    /// Who is on.
    pub players: Vec<String>,
    /// Slots.
    pub max: u32,
    /// Operators.
    pub ops: Vec<String>,
    /// Ready for players from this second since 1970 on; 0 for at once.
    pub ready_at: i64,
    /// When the world was last saved, seconds since 1970; 0 for never.
    pub saved_at: i64,
    /// What was said with `say`, oldest first.
    pub said: Vec<String>,
}
