//! The command line as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::event::Time;

/// What an expression of `pmx query` may name, with examples.
const QUERY_HELP: &str = r#"model.<definition>.resource.<spec>["name"] is the newest version of a resource: its .attributes,
.version (a number), .at (a time) and .run. Without ["name"] it is a map of all there are, whose
names filter(n, …), map(n, …), all(n, …) and exists(n, …) go over; has(…) and .? ask whether
something is there. Secrets stay closed: what touches one is [secret].

Examples:
  pmx query 'model.fleet.resource.vm["calamity"].attributes.status'
  pmx query 'size(model.fleet.resource.vm)'
  pmx query 'model.fleet.resource.vm.filter(n,
               model.fleet.resource.vm[n].attributes.status == "running")'
  pmx query 'model.fleet.resource.vm.map(n,
               [n, model.fleet.resource.vm[n].attributes.?ip.orValue(null)])' --json"#;

/// A build system whose rules act on a fleet of virtual machines.
#[derive(Debug, Parser)]
#[command(name = "pmx", version, about, long_about = None, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 an action failed, 2 your files or arguments, 3 refused, 70 a bug of pmx, 130 interrupted.")]
pub struct Cli {
    /// Use a profile of the Pmxfile, such as `lab`.
    #[arg(long, global = true, value_name = "NAME", env = "PMX_PROFILE")]
    pub profile: Option<String>,
    /// Look for the project from this directory.
    #[arg(short = 'C', long = "directory", global = true, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Run the command on another machine that works on the project, over SSH: a name under `[at]` in the Pmxfile, an alias of the ssh config, or
    /// `user@host`; `:directory` behind it names the project there.
    #[arg(long, global = true, value_name = "HOST", conflicts_with = "directory")]
    pub at: Option<String>,
    /// Write JSON to standard output: one document, or one line per event.
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: When,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a project to start from.
    Init(InitArgs),
    /// Parse, type and lint everything.
    Check,
    /// Make it so: run workflows, calls, or the observation of resources.
    Build(BuildArgs),
    /// Say what a build would do, why, and in which order; change and contact nothing.
    Plan(PlanArgs),
    /// Draw the graph of targets, or of the whole project.
    Graph(GraphArgs),
    /// Tell the history of a resource, or of everything: newest first.
    Log(LogArgs),
    /// Show a version of a resource.
    Show(ShowArgs),
    /// Say what differs between two versions.
    Diff(DiffArgs),
    /// List resources with their newest version.
    Ls(LsArgs),
    /// Evaluate one CEL expression over the newest versions in the store, and print the value; contact nothing and change nothing.
    #[command(after_help = QUERY_HELP)]
    Query(QueryArgs),
    /// List runs, newest first.
    Runs(RunsArgs),
    /// Show one run.
    Run(RunArgs),
    /// Say why a step of a run ran or did not, and what its action key was made of.
    Why(WhyArgs),
    /// List what was asked for over chat, allowed or not, newest first.
    Audit(AuditArgs),
    /// Ask a run to stop, wherever it runs, and wait for its end.
    Cancel(CancelArgs),
    /// List the model types.
    Types(TypesArgs),
    /// Describe a type, a method, a definition or a workflow.
    Describe(DescribeArgs),
    /// Keep secrets.
    Vault(VaultArgs),
    /// Prove every version and blob of the store.
    Fsck,
    /// Look at everything a build relies on, and say what to do about what is wrong.
    Doctor(DoctorArgs),
    /// Drop old contents; who did what, when and why stays known.
    Gc(GcArgs),
    /// The practice fleet.
    Lab(LabArgs),
    /// Print the man page, or the completion script of a shell.
    Manual(ManualArgs),
    /// The end of `--at` over there: speaks with the `pmx` that asked, not with people.
    #[command(hide = true)]
    FarEnd,
    /// Any other word runs `pmx-<word>` from the PATH.
    #[command(external_subcommand)]
    External(Vec<String>),
}

/// `pmx init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The directory; made if it does not exist.
    // Not called `directory`: clap would fill the global `-C` with it too.
    #[arg(default_value = ".", value_name = "DIR")]
    pub place: PathBuf,
}

/// `pmx build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Workflows (`stop-calamity`), calls (`fleet.sync`), or resources (`fleet/vm/calamity`).
    #[arg(required_unless_present = "resume", value_name = "TARGET")]
    pub targets: Vec<String>,
    /// An input of the workflow: `-i vmName=calamity`.
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    pub inputs: Vec<String>,
    /// Go on with a run that was interrupted, failed or was cancelled, by its own graph and arguments; nothing that it finished is repeated.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["targets", "inputs"])]
    pub resume: Option<String>,
    /// What became of a step of which nobody knows whether it happened: `done` counts it as done, `again` does it again; repeatable.
    #[arg(long, value_name = "STEP=done|again", requires = "resume")]
    pub assume: Vec<String>,
    /// Actions at once.
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<usize>,
    /// After a failure, start what does not depend on it.
    #[arg(short, long)]
    pub keep_going: bool,
    /// Fail at once (exit code 3) where another run holds the lease, instead of waiting for it.
    #[arg(long)]
    pub no_wait: bool,
    /// Show the output of commands as it comes.
    #[arg(short, long)]
    pub verbose: bool,
    /// Confirm the destruction of NAME without asking; repeatable.
    #[arg(long, value_name = "NAME")]
    pub yes: Vec<String>,
}

/// `pmx plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Targets as for `build`.
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// An input of the workflow.
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    pub inputs: Vec<String>,
}

/// `pmx graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Targets as for `build`; the whole project without.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// An input of the workflow.
    #[arg(short, long = "input", value_name = "NAME=VALUE")]
    pub inputs: Vec<String>,
    /// As Graphviz DOT: `pmx graph stop-calamity --dot | dot -Tsvg`.
    #[arg(long, conflicts_with = "mermaid")]
    pub dot: bool,
    /// As Mermaid.
    #[arg(long)]
    pub mermaid: bool,
}

/// `pmx log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The resource, `fleet/vm/calamity`; every resource without.
    pub resource: Option<String>,
    /// At most so many versions.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `pmx show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// `fleet/vm/calamity`, `fleet/vm/calamity@3` (version 3) or `fleet/vm/calamity@2026-11-23T14:02:00Z` (as it was then).
    pub resource: String,
}

/// `pmx diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The earlier version, as for `show`.
    pub from: String,
    /// The later version; the newest version of the same resource without.
    pub to: Option<String>,
}

/// `pmx ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// Only names that begin so: `fleet/vm`.
    pub prefix: Option<String>,
}

/// `pmx query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// The expression, as in `${{ … }}`: `model.fleet.resource.vm["calamity"].attributes.status`.
    #[arg(value_name = "CEL")]
    pub cel: String,
    /// Answer from what was known then: `2026-11-23T14:02:00Z`.
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<Time>,
}

/// `pmx runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// At most so many.
    #[arg(short = 'n', long, value_name = "N", default_value = "20")]
    pub limit: usize,
}

/// `pmx run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run's id, or any unambiguous beginning or end of it.
    pub run: String,
    /// Show the log of one step.
    #[arg(long, value_name = "STEP")]
    pub log: Option<String>,
}

/// `pmx why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The run, as for `run`.
    pub run: String,
    /// The step: `stop-calamity/stop-vm`, or `stop-vm` where that is plain enough.
    pub step: String,
}

/// `pmx audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
}

/// `pmx cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The run, as for `run`.
    pub run: String,
    /// Cancel what runs too, on the other machines as well; a second `pmx cancel` means the same.
    #[arg(long)]
    pub now: bool,
    /// How long to wait for its end.
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    pub wait: u64,
}

/// `pmx describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// `proxmox/vm`, `proxmox/vm.start`, `fleet`, `fleet.start`, or `stop-calamity`.
    pub name: String,
}

/// `pmx types`.
#[derive(Debug, Args)]
pub struct TypesArgs {
    /// Print the JSON schema of such a file instead, for editors.
    #[arg(long, value_name = "FILE", value_enum)]
    pub schema: Option<SchemaOf>,
}

/// A file of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// `Pmxfile.toml`.
    Pmxfile,
    /// A file of `definitions/`.
    Definition,
    /// A file of `workflows/`.
    Workflow,
}

/// `pmx vault`.
#[derive(Debug, Args)]
pub struct VaultArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: VaultCommand,
}

/// The vault commands.
#[derive(Debug, Subcommand)]
pub enum VaultCommand {
    /// Store a secret, typed at a prompt or read from standard input.
    Set {
        /// The vault's name.
        vault: String,
        /// The key.
        key: String,
    },
    /// Print a secret.
    Get {
        /// The vault's name.
        vault: String,
        /// The key.
        key: String,
    },
    /// List the keys of a vault, or the vaults.
    List {
        /// The vault's name.
        vault: Option<String>,
    },
    /// Forget a secret.
    Rm {
        /// The vault's name.
        vault: String,
        /// The key.
        key: String,
    },
    /// Replace the store's key: secrets of the store and of all file vaults are sealed anew with a new one.
    Rotate,
}

/// `pmx doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Forget the pinned host key of a VM or host that was reinstalled on purpose; nothing else is done.
    #[arg(long, value_name = "NAME")]
    pub forget: Option<String>,
}

/// `pmx gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Keep the contents of so many versions of each resource, the newest ones; the newest of all always stays.
    #[arg(long, value_name = "N", default_value = "10")]
    pub keep: u64,
    /// Keep all that is younger: `90s`, `12h`, `30d`.
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = crate::lang::duration)]
    pub older_than: std::time::Duration,
    /// Only say what would go.
    #[arg(long)]
    pub dry_run: bool,
}

/// `pmx lab`.
#[derive(Debug, Args)]
pub struct LabArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: LabCommand,
    /// Where the practice fleet keeps its state.
    #[arg(long, global = true, value_name = "DIR", default_value = "store/lab/world")]
    pub state: PathBuf,
    /// The address of its Proxmox API.
    #[arg(long, global = true, value_name = "ADDRESS", default_value = "127.0.0.1:18006")]
    pub listen: std::net::SocketAddr,
    /// The port of its SSH hosts.
    #[arg(long, global = true, value_name = "PORT", default_value = "18022")]
    pub ssh_port: u16,
    /// How fast its machines are: 1 is as slow as real ones.
    #[arg(long, global = true, value_name = "FACTOR", default_value = "0.1")]
    pub pace: f64,
}

/// The lab commands.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Start the practice fleet in the background, unless it runs.
    Up,
    /// Run it in the foreground.
    Serve,
    /// Stop it; its state stays.
    Down,
    /// Say what its machines do.
    Status,
    /// Make its machines as they were at first; the store keeps what was done to them.
    Reset,
    /// Make it misbehave: `pmx lab fault calamity agent-absent`; without arguments, list the faults.
    Fault {
        /// A machine's name, or `all`.
        machine: Option<String>,
        /// The fault, such as `agent-absent` or `slow:500`; `none` clears.
        fault: Option<String>,
    },
}

/// `pmx manual`.
#[derive(Debug, Args)]
pub struct ManualArgs {
    /// The completion script of this shell instead of the man page.
    #[arg(long, value_name = "SHELL")]
    pub completion: Option<clap_complete::Shell>,
}
