//! A compiled expression, shared by all places that hold the same text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cel::IdedExpr;

use crate::lang::cel::lower::{Lowering, fast};
use crate::lang::cel::path::{self, Tree};
use crate::lang::cel::site::Site;
use crate::lang::template::Root;
use crate::value::Value;

/// A compiled expression. Ranges are bytes of `text`.
#[derive(Debug)]
pub(in crate::lang) struct Program {
    /// What was written.
    pub text: String,
    /// Its tree, and the tree as it runs; of a plain path they are made anew for the few who look at them: a large workflow has very many, each with a
    /// text of its own.
    kept: Option<Box<(Tree, IdedExpr)>>,
    /// What it refers to, in the order of the text.
    pub refs: Box<[RawRef]>,
    /// What `@ref` resolves; its first argument is the index here.
    pub sites: Box<[Site]>,
    /// The expression without CEL, when it is a plain path or literal.
    pub fast: Option<Fast>,
}

impl Program {
    /// A program of a tree and its places, or everything that is wrong with it.
    pub fn new(text: &str, parsed: IdedExpr, places: BTreeMap<u64, Range<usize>>) -> Result<Self, Vec<Fault>> {
        let mut lowering = Lowering::new(text, &places);
        let code = lowering.expr(&parsed);
        let Lowering { mut refs, sites, faults, .. } = lowering;
        if !faults.is_empty() {
            return Err(faults);
        }
        refs.sort_by_key(|found| (found.range.start, std::cmp::Reverse(found.range.end)));
        let fast = fast(&code);
        let kept = Some(Box::new(((parsed, places), code)));
        Ok(Self { text: text.to_owned(), kept, refs: refs.into(), sites: sites.into(), fast })
    }

    /// The program of a plain path, without its trees; `None` when the text is something else.
    pub fn plain(text: &str) -> Option<Result<Self, Vec<Fault>>> {
        let (parsed, places) = path::parse(text)?;
        let small = |program: Self| if program.fast.is_some() { Self { kept: None, ..program } } else { program };
        Some(Self::new(text, parsed, places).map(small))
    }

    /// The tree as parsed, macros expanded, and where each node stands, whole: what checks look at.
    pub fn tree(&self) -> Cow<'_, Tree> {
        match &self.kept {
            Some(kept) => Cow::Borrowed(&kept.0),
            None => Cow::Owned(path::parse(&self.text).unwrap_or_default()),
        }
    }

    /// The tree as it runs: references are calls of `@ref`, loops and growing calls are metered.
    pub fn code(&self) -> Cow<'_, IdedExpr> {
        match &self.kept {
            Some(kept) => Cow::Borrowed(&kept.1),
            None => {
                let (parsed, places) = &*self.tree();
                Cow::Owned(Lowering::new(&self.text, places).expr(parsed))
            }
        }
    }
}

/// A way to the value that needs neither CEL nor a thread.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::lang) enum Fast {
    /// The value itself.
    Literal(Value),
    /// A site and its arguments.
    Site(usize, Box<[Fast]>),
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
}

/// What a reference refers to.
#[derive(Clone, Debug)]
pub(in crate::lang) enum RawRoot {
    /// The same for all places that hold the text.
    Whole(Arc<Root>),
    /// A resource whose instance is known before the run: the index has places of its own.
    Indexed(Box<Indexed>),
}

/// A resource by an index that is an expression.
#[derive(Clone, Debug)]
pub(in crate::lang) struct Indexed {
    /// The definition.
    pub def: String,
    /// The spec.
    pub spec: String,
    /// The program of the index, and its place in the text.
    pub index: (Arc<Program>, Range<usize>),
    /// The literal keys that follow.
    pub path: Vec<String>,
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
