//! The Pmxfile: the project's root and all that is said once for the whole project.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::lang::definition::Arguments;
use crate::source::{Diagnostic, Source, Span, Spanned};

/// A project's settings. Paths are as written, relative to the file's directory.
#[derive(Clone, Debug)]
pub struct Pmxfile {
    /// The file.
    pub source: Arc<Source>,
    /// `[project] name`.
    pub name: String,
    /// `[store] path`, `store` by default.
    pub store: PathBuf,
    /// `[store] key`: the program that tells the store's key, from a keyring say; `{id}` is replaced by the store's id.
    pub store_key: Option<Spanned<Vec<String>>>,
    /// `[run]`.
    pub run: RunSettings,
    /// `[vault.<name>]`.
    pub vaults: BTreeMap<String, VaultSettings>,
    /// `[protect] vms`: names that delete refuses.
    pub protected: Vec<Spanned<String>>,
    /// `[bot]`.
    pub bot: Option<BotSettings>,
    /// `[at.<name>]`.
    pub ats: BTreeMap<String, AtSettings>,
    /// `[profile.<name>]`.
    pub profiles: BTreeMap<String, Profile>,
}

/// `[run]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSettings {
    /// Actions at once; 16 by default.
    pub jobs: usize,
    /// Actions at once per SSH host and per Proxmox node; 4 by default.
    pub per_host: usize,
}

/// `[vault.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct VaultSettings {
    /// Where it is written.
    pub span: Span,
    /// Which kind.
    pub kind: VaultKind,
}

/// The kinds of vaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultKind {
    /// `kind = "file"`, `path`: sealed with the store's key.
    File(PathBuf),
    /// `kind = "env"`, `prefix`: key `k` is the variable `<prefix>K` in upper case with `_`.
    Env(String),
    /// `kind = "command"`, `command = ["pass", "{key}"]`, `timeout` in seconds (30).
    Command {
        /// The argument vector; `{key}` is replaced in each word.
        words: Vec<String>,
        /// Deadline in seconds.
        seconds: u64,
    },
}

/// `[bot]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BotSettings {
    /// Where it is written.
    pub span: Span,
    /// Channel, id or name.
    pub channel: Option<Spanned<String>>,
    /// Role, id or name.
    pub role: Option<Spanned<String>>,
    /// The Discord server's id. Without it, names of channels and roles mean something only while the bot is in one server.
    pub guild: Option<Spanned<String>>,
    /// The role, id or name, of those who may destroy things. Nobody without it.
    pub admins: Option<Spanned<String>>,
    /// How long a user waits before the same VM is steered again; 5 s by default.
    pub cooldown: Duration,
    /// Prefix of chat commands, `!` by default.
    pub prefix: String,
    /// `[bot.vm.<name>]`.
    pub vms: BTreeMap<String, BotVm>,
}

/// `[bot.vm.<name>]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BotVm {
    /// Where it is written.
    pub span: Span,
    /// What users may do: start, stop, reboot, update, status, or whatever else a workflow `<action>-<vm>` or `<action>-vm` does.
    pub actions: Vec<Spanned<String>>,
    /// The call that tells its state, `calamityTerraria.status`.
    pub status: Option<Spanned<String>>,
}

/// `[at.<name>]`: another machine that works on this project, for `pmx --at <name> …`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtSettings {
    /// An address, a name or an alias of the ssh config; the table's own name otherwise.
    pub host: Option<String>,
    /// The user; the ssh config's otherwise.
    pub user: Option<String>,
    /// The port; the ssh config's otherwise.
    pub port: Option<u16>,
    /// The directory of the project there; the home of that user otherwise.
    pub dir: Option<String>,
    /// The program there; `bin/pmx` in that directory, or the `pmx` of its PATH otherwise.
    pub program: Option<String>,
}

/// `[profile.<name>]`: another store, other vaults, other addresses for the same files.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where it is written.
    pub span: Span,
    /// Its store.
    pub store: Option<PathBuf>,
    /// The directory where file vaults live instead of their own directories.
    pub vaults: Option<PathBuf>,
    /// An address that `connect` does not name is an error.
    pub closed: bool,
    /// Address patterns and where they lead, as written.
    pub connect: Vec<(Spanned<String>, Spanned<String>)>,
    /// The command that makes the profile's machines ready.
    pub start: Option<Spanned<Vec<String>>>,
    /// What answers when they are: `host:port`, or the path of a unix socket below the project.
    pub ready: Option<Spanned<String>>,
    /// Arguments that replace those of definitions: by definition, then `None` for `[global]` or the method's name.
    pub definitions: BTreeMap<String, BTreeMap<Option<String>, Arguments>>,
}

/// The Pmxfile, and all that is wrong with the file at once; `None` when too little is right to go on.
pub fn parse(source: &Arc<Source>) -> (Option<Pmxfile>, Vec<Diagnostic>) {
    crate::lang::lower::pmxfile::parse(source)
}
