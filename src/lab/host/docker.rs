//! A machine's container engine: images, containers, and what compose labels them with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::tmux::Tmux;

/// The engine of one machine.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Docker {
    /// By name.
    pub containers: BTreeMap<String, Container>,
    /// What each reference (`name:tag`) names now.
    pub images: BTreeMap<String, Image>,
    /// What the registry will give at the next pull, by reference; a reference that is not here brings what is here already, or a first image.
    pub registry: BTreeMap<String, Image>,
    /// Engine networks beside the built-in ones, by name.
    pub networks: Vec<String>,
}

/// One image.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// `sha256:…`.
    pub id: String,
    /// Made, seconds since 1970.
    pub created: i64,
    /// Size in bytes.
    pub size: u64,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// What the image's command does.
    pub starts: Starts,
}

/// What a container's command does.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Starts {
    /// Runs until it is stopped.
    #[default]
    Forever,
    /// Ends at once with this status.
    Ends(i32),
    /// A tModLoader server in a tmux of its own.
    Terraria,
}

/// One container.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The image reference it was made from.
    pub image: String,
    /// The image's id at that time.
    pub image_id: String,
    /// Labels: compose's and the user's own.
    pub labels: BTreeMap<String, String>,
    /// How it was made.
    pub config: ContainerConfig,
    /// How it is.
    pub state: ContainerState,
    /// Its log: seconds since 1970, line; oldest first, bounded.
    pub log: Vec<(i64, String)>,
    /// The tmux inside.
    pub tmux: Tmux,
    /// Files inside, by path, that `sh -c` may read and write.
    pub files: super::files::Files,
}

/// How a container was made.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct ContainerConfig {
    /// Made, seconds since 1970.
    pub created: i64,
    /// Environment, `A=b`.
    pub env: Vec<String>,
    /// Command and arguments.
    pub command: Vec<String>,
    /// Published ports: host, container, protocol.
    pub ports: Vec<(u16, u16, String)>,
    /// Binds, `/src:/dst:ro`.
    pub volumes: Vec<String>,
    /// `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: String,
    /// Seconds that a stop waits before it kills, from `stop_grace_period`; none means the engine's 10.
    pub grace: Option<u64>,
    /// What the command does.
    pub starts: Starts,
}

/// How a container is.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct ContainerState {
    /// `created`, `running`, `exited`.
    pub status: String,
    /// Of the last run.
    pub exit_code: i32,
    /// Last start, seconds since 1970; 0 for never.
    pub started_at: i64,
    /// Last end, seconds since 1970; 0 for never.
    pub finished_at: i64,
    /// Process id on the host while it runs, else 0.
    pub pid: u32,
    /// Ended by the kernel for want of memory.
    pub oom: bool,
    /// `""`, `starting`, `healthy`, `unhealthy`.
    pub health: String,
    /// Stopped by hand: `unless-stopped` does not bring it back at boot.
    pub stopped_by_hand: bool,
}
