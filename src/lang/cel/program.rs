//! A compiled expression, shared by all places that hold the same text.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use cel::IdedExpr;

use crate::lang::cel::site::Site;
use crate::lang::template::Root;
use crate::value::Value;

/// A compiled expression. Ranges are bytes of `text`.
#[derive(Debug)]
pub(in crate::lang) struct Program {
    /// What was written.
    pub text: String,
    /// The tree as parsed, macros expanded: what checks look at.
    pub tree: IdedExpr,
    /// The tree as it runs: references are calls of `@ref`, loops and growing calls are metered.
    pub code: IdedExpr,
    /// Where each node of the tree stands, whole.
    pub places: BTreeMap<u64, Range<usize>>,
    /// What it refers to, in the order of the text.
    pub refs: Vec<RawRef>,
    /// What `@ref` resolves; its first argument is the index here.
    pub sites: Vec<Site>,
    /// The expression without CEL, when it is a plain path or literal.
    pub fast: Option<Fast>,
}

/// A way to the value that needs neither CEL nor a thread.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::lang) enum Fast {
    /// The value itself.
    Literal(Value),
    /// A site and its arguments.
    Site(usize, Vec<Fast>),
}

/// One reference, with places relative to the program's text.
#[derive(Clone, Debug)]
pub(in crate::lang) struct RawRef {
    /// What it refers to.
    pub root: RawRoot,
    /// Its text.
    pub range: Range<usize>,
    /// Whether absence is tolerated.
    pub optional: bool,
    /// The root as every place of this text has it, where no index needs a place of its own.
    pub shared: OnceLock<Arc<Root>>,
}

/// Like `template::Root`, with indices as programs.
#[derive(Clone, Debug)]
pub(in crate::lang) enum RawRoot {
    /// A resource or a whole spec.
    Resource {
        /// The definition.
        def: String,
        /// The spec.
        spec: String,
        /// Which instance.
        instance: RawIndex,
        /// The literal keys that follow.
        path: Vec<String>,
    },
    /// An input.
    Input(Option<String>),
    /// A secret.
    Vault(Option<String>, Option<String>),
    /// The loop's item.
    Each,
    /// The run.
    Run,
    /// The definition.
    This,
    /// An environment variable.
    Env(String),
}

/// Like `template::Index`.
#[derive(Clone, Debug)]
pub(in crate::lang) enum RawIndex {
    /// A literal name.
    Name(String),
    /// Known before the run: the program of the index and its place in the text.
    Computed(Arc<Program>, Range<usize>),
    /// Known only at run time.
    Any,
}

/// Something wrong with an expression, relative to its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lang) struct Fault {
    /// Where.
    pub range: Range<usize>,
    /// What.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Fault {
    /// A fault at this place.
    pub fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self { range, message: message.into(), help: None }
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
