//! The front: what the front door read of its surroundings, once, for all rooms behind it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::name::Actor;

/// The surroundings of one invocation.
#[derive(Clone, Debug)]
pub struct Front {
    /// The working directory: where the search for a Pmxfile begins.
    pub cwd: PathBuf,
    /// The user's home directory, if there is one: ssh keys and config.
    pub home: Option<PathBuf>,
    /// Where pmx keeps the keys of stores: `$XDG_CONFIG_HOME/pmx` or `~/.config/pmx`.
    pub config: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The profile that was asked for.
    pub profile: Option<String>,
    /// Who asks.
    pub actor: Actor,
    /// The running program, for a profile whose start command is `pmx …`.
    pub program: PathBuf,
}
