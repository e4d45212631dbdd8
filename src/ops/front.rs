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
    /// The user's configuration directory, `$XDG_CONFIG_HOME` or `~/.config`: the keys of stores lie in `pmx/keys` below it.
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
