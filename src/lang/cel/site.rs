//! Sites: the places of a program where it looks at its scope, and the chains of `.a["b"].?c` that they are read from.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};
use std::ops::Range;

/// One place where a program looks at its scope.
#[derive(Clone, Debug)]
pub(in crate::lang) struct Site {
    /// What is looked up.
    pub target: Target,
    /// The literal keys that are followed at once, so that errors can name them and secrets beside them stay untouched.
    pub path: Vec<String>,
    /// The only key of the map that is looked at next (by `has()` or `.?`): nothing beside it is handed to CEL.
    pub only: Option<String>,
    /// Its text.
    pub range: Range<usize>,
    /// Whether a missing resource is tolerated: the site is then an empty map.
    pub optional: bool,
}

/// What a site looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Target {
    /// One instance; its name is the argument.
    Resource {
        /// The definition.
        def: String,
        /// The spec.
        spec: String,
    },
    /// A map that holds the one instance that the argument names, or nothing.
    Perhaps {
        /// The definition.
        def: String,
        /// The spec.
        spec: String,
    },
    /// A map of all instances.
    All {
        /// The definition.
        def: String,
        /// The spec.
        spec: String,
    },
    /// A map of the names of all instances, without the instances: for what looks at the keys only.
    Names {
        /// The definition.
        def: String,
        /// The spec.
        spec: String,
    },
    /// One input.
    Input(String),
    /// All inputs.
    Inputs,
    /// One environment variable.
    Env(String),
    /// A map that holds that variable, or nothing.
    EnvPerhaps(String),
    /// `vault.get`; its arguments are the vault and the key.
    Vault,
    /// `each`.
    Each,
    /// `run`.
    Run,
    /// `self`.
    This,
}

/// A root and what is selected on it.
pub(in crate::lang) struct Chain<'e> {
    /// The name at its beginning.
    pub root: &'e str,
    /// The links after it.
    pub links: Vec<Link<'e>>,
}

/// One link of a chain.
pub(in crate::lang) struct Link<'e> {
    /// The key, when it is written out.
    pub key: Option<&'e str>,
    /// The expression in the brackets, for brackets.
    pub index: Option<&'e IdedExpr>,
    /// How it is selected.
    pub mode: Mode,
    /// The node that selects it.
    pub node: &'e IdedExpr,
}

/// How a link selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lang) enum Mode {
    /// `.a`, `["a"]`.
    Plain,
    /// `.?a`, `[?"a"]`.
    Optional,
    /// `has(….a)`.
    Test,
}

/// The chain that ends at `node`, if its beginning is a name.
pub(in crate::lang) fn chain(node: &IdedExpr) -> Option<Chain<'_>> {
    let mut links = Vec::new();
    let mut at = node;
    loop {
        match &at.expr {
            Expr::Ident(root) => {
                links.reverse();
                return Some(Chain { root, links });
            }
            Expr::Select(SelectExpr { operand, field, test }) => {
                let mode = if *test { Mode::Test } else { Mode::Plain };
                links.push(Link { key: Some(field), index: None, mode, node: at });
                at = operand;
            }
            Expr::Call(CallExpr { func_name, target: None, args }) if args.len() == 2 => {
                let mode = match func_name.as_str() {
                    operators::INDEX => Mode::Plain,
                    operators::OPT_INDEX | operators::OPT_SELECT => Mode::Optional,
                    _ => return None,
                };
                links.push(Link { key: literal(&args[1]), index: Some(&args[1]), mode, node: at });
                at = &args[0];
            }
            _ => return None,
        }
    }
}

/// The text of a string literal.
pub(in crate::lang) fn literal(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
