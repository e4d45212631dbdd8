//! Workflows: lists of steps in program order, one file each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::lang::definition::Arguments;
use crate::lang::template::Expr;
use crate::lang::types::Field;
use crate::source::{Diagnostic, Source, Span, Spanned};

/// One workflow; the file's stem is its name.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// `stop-calamity`.
    pub name: String,
    /// The file.
    pub source: Arc<Source>,
    /// One sentence.
    pub description: Option<String>,
    /// `[input.<name>]`.
    pub inputs: BTreeMap<String, Spanned<Field>>,
    /// `[[step]]`, in order; shared, so that those of a large workflow can be given back one by one.
    pub steps: Vec<Arc<Step>>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// The table's place.
    pub span: Span,
    /// Its name, unique in the workflow.
    pub name: Spanned<String>,
    /// What it runs.
    pub what: What,
    /// `with`.
    pub with: Arguments,
    /// `if`: a CEL boolean.
    pub condition: Option<Arc<Expr>>,
    /// `for_each`: a CEL list or map.
    pub for_each: Option<Arc<Expr>>,
    /// `after`: names of earlier steps of this workflow.
    pub after: Vec<Spanned<String>>,
    /// The rest.
    pub options: Options,
}

/// What a step runs.
#[derive(Clone, Debug)]
pub enum What {
    /// `call = "def.method"`.
    Call {
        /// The definition's name.
        def: Spanned<String>,
        /// The method's name.
        method: Spanned<String>,
    },
    /// `workflow = "name"`.
    Workflow(Spanned<String>),
}

/// A step's switches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `timeout`: the whole action must end within it.
    pub timeout: Option<Duration>,
    /// `retry = { times, backoff }`.
    pub retry: Option<Retry>,
    /// `fresh`: how old an observation may be to be taken as it is.
    pub fresh: Option<Duration>,
    /// `always`: runs whatever happened before, once something before it acted.
    pub always: bool,
    /// `optional`: its failure does not fail the run.
    pub optional: bool,
    /// `unordered`: the rule of places does not order it.
    pub unordered: bool,
    /// `confirm`: the question to ask before it acts.
    pub confirm: Option<String>,
}

/// `retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts beyond the first.
    pub times: u32,
    /// The wait before the second attempt; doubled for each further one.
    pub backoff: Duration,
}

/// The workflow; its name is the stem of the file's name, and all that is wrong with the file at once; `None` when too little is right to go on.
pub fn parse(source: &Arc<Source>) -> (Option<Workflow>, Vec<Diagnostic>) {
    crate::lang::lower::workflow::parse(source)
}
