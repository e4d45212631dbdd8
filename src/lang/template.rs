//! Templates and expressions: strings with `${{ … }}` in them, what they refer to, and their evaluation in a scope.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Time;
use crate::lang::cel::program::Program;
use crate::lang::cel::text::Written;
use crate::name::{ResourceName, RunId};
use crate::secret::Secret;
use crate::source::{Span, Spanned};
use crate::value::{Map, Value};

/// A value that may hold expressions.
#[derive(Clone, Debug)]
pub enum Template {
    /// No expression inside.
    Literal(Value),
    /// A string that is one expression: keeps the expression's type.
    Expr(Arc<Expr>),
    /// Text around expressions: makes a string.
    Text(Vec<Piece>),
    /// A list with expressions inside.
    List(Vec<Spanned<Template>>),
    /// A table with expressions inside.
    Map(BTreeMap<String, Spanned<Template>>),
}

/// One piece of a text template.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Text as it is.
    Text(String),
    /// An expression.
    Expr(Expr),
}

/// One CEL expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// Where it stands, without the `${{ }}`.
    pub span: Span,
    /// Everything it refers to, in the order of the text; indices inside references are listed as references of their own too.
    pub refs: Arc<[Ref]>,
    /// The compiled expression, shared with every equal one.
    pub(in crate::lang) program: Arc<Program>,
    /// The text with the way back to its file.
    pub(in crate::lang) written: Arc<Written>,
}

/// One reference of an expression.
#[derive(Clone, Debug)]
pub struct Ref {
    /// What it refers to.
    pub root: Arc<Root>,
    /// Its text, `model.fleet.resource.vm["calamity"].attributes.ip`.
    pub span: Span,
    /// Whether its absence is tolerated: `has(…)`, `.?`.
    pub optional: bool,
}

/// What a reference refers to.
#[derive(Clone, Debug)]
pub enum Root {
    /// `model.<def>.resource.<spec>.<instance>…`.
    Resource {
        /// The definition.
        def: String,
        /// The spec.
        spec: String,
        /// Which instance.
        instance: Index,
        /// What follows: `attributes`, `ip`.
        path: Vec<String>,
    },
    /// `inputs.<name>`; `None` is `inputs` as a whole.
    Input(Option<String>),
    /// `vault.get("vault", "key")`; `None` where the argument is not a literal.
    Vault(Option<String>, Option<String>),
    /// `each.key`, `each.value`.
    Each,
    /// `run.…`.
    Run,
    /// `self.…`.
    This,
    /// `env.<name>`.
    Env(String),
}

/// Which instance of a spec a reference means.
#[derive(Clone, Debug)]
pub enum Index {
    /// A literal name.
    Name(String),
    /// An expression over `inputs`, `each` and `self` only: known before the run.
    Computed(Box<Expr>),
    /// Known only at run time: every instance.
    Any,
}

/// What an expression may look at. Implementations answer for one action at one moment.
///
/// All questions come on the thread that called `eval`, each at most once per evaluation, and only for what the evaluation really reaches. A missing
/// resource is tolerated where the reference says so (`has(…)`, `.?`); a missing secret never is.
pub trait Scope {
    /// All inputs of the workflow; inside a definition, the step's `with` too.
    fn inputs(&self) -> &Map;
    /// The present version of a resource; the error says what is missing and what to do.
    fn resource(&self, name: &ResourceName) -> Result<Seen, Absent>;
    /// Every instance of a spec, for an expression that looks at all of them.
    fn instances(&self, def: &str, spec: &str) -> Result<Vec<(String, Seen)>, Absent>;
    /// The names of every instance of a spec, for an expression that counts them or goes over them.
    fn names(&self, def: &str, spec: &str) -> Result<Vec<String>, Absent> {
        Ok(self.instances(def, spec)?.into_iter().map(|(instance, _)| instance).collect())
    }
    /// A secret. May block: it is asked on the thread that called `eval`, so call that where blocking is allowed.
    fn vault(&self, vault: &str, key: &str) -> Result<Secret, Absent>;
    /// The loop's item, inside `for_each`.
    fn each(&self) -> Option<Each> {
        None
    }
    /// `run`: id, actor, target; empty where nothing runs.
    fn run(&self) -> Map {
        Map::new()
    }
    /// `self`: name, type; empty outside a definition.
    fn this(&self) -> Map {
        Map::new()
    }
    /// An environment variable; none where there is no environment.
    fn env(&self, _name: &str) -> Option<String> {
        None
    }
    /// Why the field of a resource is missing, if history knows: `fleet/vm/calamity has had no ip since 14:02, when …`.
    fn why_missing(&self, name: &ResourceName, field: &str) -> Option<String>;
}

/// A version as an expression sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Its attributes, secrets as `Value::Secret`.
    pub attributes: Arc<Value>,
    /// Its number in the chain.
    pub version: u64,
    /// When it was written.
    pub at: Time,
    /// By which run.
    pub run: RunId,
}

/// One item of a loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Each {
    /// The index of a list, the key of a map.
    pub key: Value,
    /// The item.
    pub value: Value,
}

/// Something an expression asked for is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// What is missing: a lower-case fragment with its name.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// What an expression or template came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The value; secret whole when the expression touched a secret.
    pub value: Value,
    /// The resources it read, sorted.
    pub reads: Vec<ResourceName>,
}
