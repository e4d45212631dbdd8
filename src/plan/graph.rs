//! The graph: actions in program order and the edges between them, each with the conflict that made it.

use std::sync::Arc;

use litemap::LiteMap;

use crate::lang::template::{Each, Expr, Template};
use crate::lang::workflow::Options;
use crate::model::contract::{MethodRow, TypeRow};
use crate::name::{Place, ResourcePattern};
use crate::plan::variant::Variants;
use crate::source::{Span, Spanned};
use crate::value::Value;

/// An action's index in its graph: its place in program order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u32);

impl ActionId {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Actions in program order and the edges between them; every edge goes from a lower to a higher id, so there is no cycle by construction.
#[derive(Clone, Default)]
pub struct Graph {
    /// What was asked for, as typed.
    pub targets: Vec<String>,
    /// Actions; `ActionId` is the index.
    pub actions: Vec<Arc<Action>>,
    /// Edges, sorted by (to, from), one per pair and conflict; edges that a path implies are left out, except that each value edge stays (it names
    /// the reference).
    pub edges: Vec<Edge>,
    /// Observe steps that are another action: equal to it, and nothing between them could change what they see.
    pub merged: Vec<Merged>,
    /// Steps whose `if` is false for these inputs, so that they are no actions at all.
    pub omitted: Vec<Omitted>,
    /// Which definitions keep their single instances apart, and by which inputs.
    pub variants: Arc<Variants>,
}

/// A step that was merged into an equal Observe before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The step.
    pub step: String,
    /// The action that it is.
    pub into: ActionId,
}

/// A step that the inputs leave out.
#[derive(Clone, Debug, PartialEq)]
pub struct Omitted {
    /// The step.
    pub step: String,
    /// Its condition.
    pub condition: Span,
}

/// One edge: `to` waits for `from`.
#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// The earlier action.
    pub from: ActionId,
    /// The later action.
    pub to: ActionId,
    /// The conflict between them.
    pub why: Conflict,
}

/// Why one action waits for another.
#[derive(Clone, Debug, PartialEq)]
pub enum Conflict {
    /// It reads what the earlier one writes.
    Value {
        /// What is written and read.
        resource: Box<ResourcePattern>,
        /// The reference that reads it, where it stands.
        reference: Span,
    },
    /// It writes what the earlier one reads or writes.
    Order {
        /// The resource.
        resource: Box<ResourcePattern>,
        /// Whether the earlier one writes it (else it reads it).
        both_write: bool,
    },
    /// Both act at one place.
    Place(Box<Place>),
    /// `after` says so.
    After(Span),
}

/// One method call of the graph.
#[derive(Clone)]
pub struct Action {
    /// Its place in program order.
    pub id: ActionId,
    /// Its step's path, unique in the graph: `reboot-calamity/stop/stop-vm`; an implied refresh is `… (refresh fleet/vm/calamity)`.
    pub step: String,
    /// What it calls.
    pub call: BoundCall,
    /// When and how.
    pub flow: Flow,
    /// What it touches.
    pub touch: Touch,
    /// Where its expressions are evaluated.
    pub scopes: Scopes,
}

/// A call with its arguments merged, first wins: the step's `with`, the profile, `[methods.m]`, `[global]`, the method's default.
#[derive(Clone)]
pub struct BoundCall {
    /// The definition.
    pub def: String,
    /// Its type.
    pub kind: &'static TypeRow,
    /// The method.
    pub method: &'static MethodRow,
    /// Global arguments that were set.
    pub globals: Arc<Bounds>,
    /// The method's arguments that were set.
    pub arguments: Bounds,
    /// What keeps the definition's single instances apart: the values of the inputs that its arguments read, joined; `None` when they read none.
    pub variant: Option<String>,
    /// The inputs that `variant` is made of, sorted; when there are some and `variant` is `None`, their values are known only at run time
    /// (see [`Variants::text`]).
    pub variant_inputs: Arc<[String]>,
}

impl BoundCall {
    /// `fleet.stop`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.def, self.method.name)
    }
}

/// Arguments by name.
pub type Bounds = LiteMap<String, Bound>;

/// One argument as it will be evaluated.
#[derive(Clone)]
pub struct Bound {
    /// The template.
    pub template: Spanned<Template>,
    /// Where it was set.
    pub from: SetBy,
    /// What its schema says about secrecy.
    pub secrecy: Secrecy,
}

/// Whether an argument is secret, by its schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Anyone may see it.
    Plain,
    /// Counts by its keyed digest in the action key, never as its value.
    Secret,
    /// Opens an account: counts as the account in the action key, and reading it takes no lease.
    Credential,
}

impl Secrecy {
    /// What a type says.
    pub const fn of(ty: &crate::lang::types::Type) -> Self {
        match (ty.credential, ty.secret) {
            (true, _) => Self::Credential,
            (false, true) => Self::Secret,
            (false, false) => Self::Plain,
        }
    }
}

/// Where an argument was set; decides the scope in which it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetBy {
    /// The step's `with`: evaluated in the workflow's frame.
    Step,
    /// A profile: evaluated in the definition's frame.
    Profile,
    /// `[methods.m]`, likewise.
    Method,
    /// `[global]`, likewise.
    Global,
    /// The schema's default: a literal.
    Default,
    /// The runner: the instance that an implied refresh or a resource target names.
    Instance,
}

/// When and how an action runs.
#[derive(Clone, Default)]
pub struct Flow {
    /// Conditions, outermost first, each in its frame: all must hold.
    pub conditions: Vec<(Arc<Expr>, Arc<Frame>)>,
    /// A `for_each` whose list is known only at run time: expanded when the action becomes ready.
    pub loop_over: Option<Box<(Arc<Expr>, Arc<Frame>)>>,
    /// The step's switches, merged with those of enclosing steps.
    pub options: Options,
    /// For an implied refresh: what is refreshed and for whom.
    pub implied: Option<Box<Implied>>,
}

/// An implied refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Implied {
    /// What is refreshed.
    pub resource: ResourcePattern,
    /// The first reader.
    pub reader: String,
}

/// What an action touches, as far as files and inputs tell.
#[derive(Clone, Debug, Default)]
pub struct Touch {
    /// What its expressions read.
    pub reads: Vec<Read>,
    /// What its method writes.
    pub writes: Vec<Write>,
    /// Where its method acts.
    pub places: Vec<PlaceUse>,
}

/// One resource that is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Which.
    pub resource: ResourcePattern,
    /// The reference.
    pub reference: Span,
    /// Whether its absence is tolerated.
    pub optional: bool,
    /// Whether it is read for a credential argument only: such reads take no lease.
    pub credential: bool,
}

/// One resource that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which.
    pub resource: ResourcePattern,
    /// Whether it may not be written after all: under `if`, `for_each`, or a name known only at run time.
    pub possible: bool,
}

/// One place where an action acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceUse {
    /// Where.
    pub place: Place,
    /// Whether others may share it.
    pub shared: bool,
}

/// The frames of an action's expressions.
#[derive(Clone, Default)]
pub struct Scopes {
    /// The workflow's frame: `with`, `if`, `for_each`.
    pub outer: Arc<Frame>,
    /// The definition's frame: the workflow's inputs and the step's `with`.
    pub inner: Arc<Frame>,
}

/// Inputs by name.
pub type Inputs = LiteMap<String, InputValue>;

/// The inputs that expressions see.
#[derive(Clone, Default)]
pub struct Frame {
    /// Inputs by name.
    pub inputs: Inputs,
    /// The loop's item, when the list was known at plan time.
    pub each: Option<Arc<Each>>,
}

/// An input's value.
#[derive(Clone)]
pub enum InputValue {
    /// Known at plan time; shared, because a list that a loop runs over is in the frame of each of its rounds.
    Known(Arc<Value>),
    /// An expression over resources or secrets, evaluated in its own frame just before the action runs.
    Late(Arc<Spanned<Template>>, Arc<Frame>),
}
