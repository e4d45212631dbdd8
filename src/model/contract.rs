//! The contract between a model's methods and the runner: what a type declares, what a method gets, what it gives back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::event::Stream;
use crate::lang::types::Object;
use crate::name::{Actor, ResourceName, RunId};
use crate::secret::{Credential, Secret};
use crate::value::{Map, Value};
use crate::wire::Wire;

/// What running a method does to the world; decides skipping, retrying and confirming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Reads the world.
    Observe,
    /// Makes the world so; looks first and does nothing when it is so.
    Converge,
    /// Happens again each time.
    Act,
    /// Cannot be undone: identity proof and confirmation.
    Destroy,
}

impl Effect {
    /// Whether it changes the world.
    pub const fn acts(self) -> bool {
        !matches!(self, Self::Observe)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Converge => "converge",
            Self::Act => "act",
            Self::Destroy => "destroy",
        })
    }
}

/// One model type: its row in the registry.
pub struct TypeRow {
    /// `proxmox/vm`.
    pub name: &'static str,
    /// Raised when the meaning of its methods changes: part of every action key.
    pub revision: u32,
    /// The manual page (Markdown), with a TOML example of a definition.
    pub doc: &'static str,
    /// Global arguments, from the struct's doc comments.
    pub globals: fn() -> Object,
    /// What its methods write.
    pub specs: &'static [SpecRow],
    /// What it can do.
    pub methods: &'static [MethodRow],
}

impl TypeRow {
    /// The method of that name.
    pub fn method(&self, name: &str) -> Option<&'static MethodRow> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The spec of that name.
    pub fn spec(&self, name: &str) -> Option<&'static SpecRow> {
        self.specs.iter().find(|spec| spec.name == name)
    }
}

/// One kind of resource that a type writes.
pub struct SpecRow {
    /// `vm`.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// The attributes, from the struct's doc comments.
    pub attributes: fn() -> Object,
    /// Which method observes an instance when a reader has no writer before it.
    pub observer: Option<Observer>,
    /// How long a reader may trust a version; `None` is for ever.
    pub trust: Option<Duration>,
}

/// How a spec is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observer {
    /// The method for one instance.
    pub one: &'static str,
    /// The argument of `one` that takes the instance's name; `None` when the spec has a single instance.
    pub argument: Option<&'static str>,
    /// The method that observes every instance at once.
    pub all: Option<&'static str>,
}

/// One method of a type.
pub struct MethodRow {
    /// `start`.
    pub name: &'static str,
    /// What it does, in a few sentences.
    pub doc: &'static str,
    /// What it does to the world.
    pub effect: Effect,
    /// Whether all that it does are commands over SSH that the journal has by name before they begin (`Remote::act`). Then the journal has its start with the
    /// name of the first, in one wait for the disk, and not by itself before the method is called.
    pub by_command: bool,
    /// Its arguments.
    pub arguments: fn() -> Object,
    /// What it writes.
    pub writes: &'static [Writes],
    /// Where it acts.
    pub acts: &'static [Acts],
    /// How long its outputs stay fresh when it is asked for by a step (Observe only); zero means it always runs.
    pub fresh: Duration,
    /// The waits it may go through, printed by `plan`.
    pub phases: &'static [PhaseRow],
    /// The method itself.
    pub run: RunFn,
}

/// A method's function.
pub type RunFn = for<'a> fn(&'a Context, Call) -> BoxFuture<'a, Result<Outcome, Failure>>;

/// One resource that a method writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes {
    /// The spec.
    pub spec: &'static str,
    /// Which instance.
    pub instance: Instance,
}

/// How the instance of a resource is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// By an argument of the method (or a global argument): `vm/{vmName}`.
    Argument(&'static str),
    /// The one instance of the definition, of this name; a definition whose arguments read `inputs` keeps them apart by those.
    Single(&'static str),
    /// Every instance: known only when it has run.
    All,
}

/// One place where a method acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acts {
    /// Where.
    pub at: At,
    /// Whether several may act there at once (uploads).
    pub shared: bool,
}

/// How a place is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The machine whose address this global argument (`sshHost`, `host`) reads, or the host it names.
    Host(&'static str),
    /// The machine that the written resource stands for: `fleet/vm/{vmName}`.
    Machine(Writes),
    /// A file on the host of the first argument, at the path of the second.
    File(&'static str, &'static str),
}

/// One named wait of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaseRow {
    /// `the guest agent`.
    pub name: &'static str,
    /// The argument that holds its deadline in seconds, if one does.
    pub argument: Option<&'static str>,
    /// Its deadline in seconds with that argument's default. What it is longer than the default is added to any other value. 0 for a wait made of
    /// requests alone, each of which has its own deadline.
    pub seconds: u64,
}

/// The evaluated arguments of one call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Global arguments.
    pub globals: Map,
    /// The method's arguments.
    pub arguments: Map,
}

impl Call {
    /// Both as typed structs. A mismatch is a bug of the checker, because every value was checked against the schema before.
    pub fn typed<G: DeserializeOwned, A: DeserializeOwned>(self) -> Result<(G, A), Failure> {
        let globals = Value::Map(self.globals).into_typed().map_err(|e| Failure::bug(format!("global arguments: {e}")))?;
        let arguments = Value::Map(self.arguments).into_typed().map_err(|e| Failure::bug(format!("arguments: {e}")))?;
        Ok((globals, arguments))
    }
}

/// What a method did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// The resources it wrote: whole states, never fragments.
    pub writes: Vec<Written>,
    /// A sentence for people: `stopped calamity (vmid 107)`, `calamity is off already`.
    pub summary: String,
    /// Whether the world was changed; `false` when it was so already. Observes leave it `false`.
    pub changed: bool,
}

impl Outcome {
    /// An outcome that changed the world.
    pub fn changed(summary: impl Into<String>) -> Self {
        Self { writes: Vec::new(), summary: summary.into(), changed: true }
    }

    /// An outcome that found nothing to do, or only looked.
    pub fn unchanged(summary: impl Into<String>) -> Self {
        Self { writes: Vec::new(), summary: summary.into(), changed: false }
    }

    /// Adds a resource. `attributes` must be the whole state.
    #[must_use]
    pub fn write(mut self, spec: &'static str, instance: impl Into<String>, attributes: Value) -> Self {
        self.writes.push(Written { spec, instance: instance.into(), attributes });
        self
    }
}

/// One resource as a method wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The spec.
    pub spec: &'static str,
    /// The instance's name; for `Instance::Single` its plain name, the runner keeps instances apart.
    pub instance: String,
    /// The attributes, secrets as `Value::Secret`.
    pub attributes: Value,
}

/// Why a method did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What went wrong, with host, request and their own words: a lower-case fragment.
    pub message: String,
    /// What kind of failure.
    pub kind: FailureKind,
    /// Whether the world may have changed.
    pub acted: Acted,
    /// Whether the same request may well succeed a moment later: no connection, a busy server. Only such failures are retried unasked.
    pub transient: bool,
    /// What to do about it.
    pub help: Option<String>,
    /// The last lines of the log or of stderr, oldest first.
    pub tail: Vec<String>,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Another machine or program said no, or did not answer.
    Theirs,
    /// An argument makes no sense.
    Yours,
    /// pmx refused: protection, identity.
    Refused,
    /// A bug of pmx.
    Ours,
    /// The run was cancelled.
    Cancelled,
}

/// Whether a failed method changed the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// Certainly not: it may be tried again.
    No,
    /// Perhaps: look before trying again.
    Maybe,
}

impl Failure {
    /// Another machine's failure before anything was changed.
    pub fn theirs(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: FailureKind::Theirs, acted: Acted::No, transient: false, help: None, tail: Vec::new() }
    }

    /// An argument that makes no sense.
    pub fn yours(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Yours, ..Self::theirs(message) }
    }

    /// A refusal of pmx.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Refused, ..Self::theirs(message) }
    }

    /// A bug of pmx.
    pub fn bug(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Ours, ..Self::theirs(message) }
    }

    /// The same, but the world may have changed.
    #[must_use]
    pub const fn maybe_acted(mut self) -> Self {
        self.acted = Acted::Maybe;
        self
    }

    /// The same, but it may well succeed a moment later.
    #[must_use]
    pub const fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the last lines of a log.
    #[must_use]
    pub fn tail(mut self, lines: Vec<String>) -> Self {
        self.tail = lines;
        self
    }
}

/// What a method sees of the run: everything it may know and do beyond its arguments.
#[derive(Clone)]
pub struct Context {
    /// The outside world.
    pub wire: Wire,
    /// Who acts.
    pub who: Who,
    /// What the store last knew of the resources that this call writes, by `spec/instance`; secrets opened.
    pub previous: BTreeMap<(String, String), Value>,
    /// Whose host key is expected at the call's host: `vm:<uuid>` of the machine it reads, or `host:<name>`.
    pub identity: String,
    /// What stands between a Destroy and the world.
    pub guard: Guard,
    /// Where progress goes.
    pub reporter: Arc<dyn Reporter>,
    /// Opens credentials and renews them.
    pub credentials: Arc<dyn Credentials>,
    /// The project's root, for relative paths in arguments.
    pub root: PathBuf,
    /// Remote tasks, oldest first, that an earlier try of this very action began before its process died: they are waited for, never begun again.
    pub unfinished: Vec<String>,
}

/// Who acts, in which run and step.
#[derive(Clone, Debug)]
pub struct Who {
    /// The run.
    pub run: RunId,
    /// Who asked.
    pub actor: Actor,
    /// The step.
    pub step: String,
    /// The definition.
    pub def: String,
}

/// The proofs that a Destroy asks for.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// VM names that are never deleted (`[protect] vms`).
    pub protected: Vec<String>,
    /// The version that was shown at confirmation: vmid, name and uuid are compared with the live VM directly before acting. `None`: no proof, refuse.
    pub shown: Option<Value>,
    /// Whether only a machine that carries this run's marker may be destroyed (`always` steps).
    pub own_only: bool,
}

/// Takes a method's progress. Redaction happens behind it.
pub trait Reporter: Send + Sync {
    /// The method now waits for `phase`, at most `deadline`.
    fn phase(&self, phase: &str, deadline: Option<Duration>);
    /// `sent` of `total` bytes have travelled. May be called for each piece: whoever hears it thins it out.
    fn transfer(&self, _sent: u64, _total: u64) {}
    /// A line of output.
    fn line(&self, stream: Stream, line: &str);
    /// Something worth knowing that is no failure.
    fn warn(&self, message: &str);
    /// A remote task was begun, or is about to be: resolves when its id is in the journal. A journal that cannot be written is a warning, but where it does not
    /// have the method's start either: then a failure, and nothing may begin.
    fn task<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Failure>>;
    /// Whether the run is being cancelled: a method ends its remote task and returns.
    fn cancelled(&self) -> BoxFuture<'_, ()>;
    /// What the method does now must be finished even if the run is cancelled, and it is given this long for it.
    fn insists(&self, _time: Duration) {}
}

/// Opens credentials at each request.
pub trait Credentials: Send + Sync {
    /// The present value; renews first when it is about to expire.
    fn open<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<Secret, Failure>>;
    /// The server refused `stale`: renews once for all holders and returns the new value; fails when it cannot be renewed.
    fn renew<'a>(&'a self, credential: &'a Credential, stale: &'a Secret) -> BoxFuture<'a, Result<Secret, Failure>>;
    /// A digest of `secret` that may be stored and compared in the clear. A runner keys it with its store's key (`Sealer::keyed_digest`); this provided one
    /// has no key and is only made slow to guess.
    fn keyed_digest(&self, secret: &Secret) -> Digest {
        let mut bytes = [0; 32];
        let rounds = std::num::NonZeroU32::MIN.saturating_add(99_999);
        ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, rounds, b"pmx secret digest 1", secret.expose().as_bytes(), &mut bytes);
        Digest::from_bytes(bytes)
    }
}

/// The name of the resource `spec/instance` of a definition.
pub fn resource(def: &str, spec: &str, instance: &str) -> ResourceName {
    ResourceName::new(def, spec, instance)
}
