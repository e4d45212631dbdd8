//! CEL behind one wall: compiling, references, evaluation and the guards against hostile expressions.
//!
//! An expression is compiled once to a [`program::Program`]. Compiling replaces every reference (`model.…`, `inputs.x`, `vault.get(…)`) by a call of
//! `@ref` with the number of a *site*; at run time the site is resolved on the thread that asked, with its scope, while CEL itself runs on a thread with
//! a large stack. Names with `@` cannot be written by users, so nobody else can call these functions. Everything of the `cel` crate ends here.

pub(in crate::lang) mod ast;
pub(in crate::lang) mod compile;
pub(in crate::lang) mod convert;
pub(in crate::lang) mod explain;
pub(in crate::lang) mod functions;
pub(in crate::lang) mod guard;
pub(in crate::lang) mod lower;
pub(in crate::lang) mod path;
pub(in crate::lang) mod pattern;
pub(in crate::lang) mod pool;
pub(in crate::lang) mod program;
pub(in crate::lang) mod resolve;
pub(in crate::lang) mod run;
pub(in crate::lang) mod site;
pub(in crate::lang) mod split;
pub(in crate::lang) mod text;

#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod eval_tests;
#[cfg(test)]
pub(in crate::lang) mod fake;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod refs_tests;
