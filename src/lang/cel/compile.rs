//! Compiling: parse, limit, lower; each text once.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use cel::common::ast::SourceInfo;
use cel::{Env, IdedExpr, ParseError, ParseErrors, extensions};

use crate::lang::cel::ast;
use crate::lang::cel::guard;
use crate::lang::cel::program::{Fault, Program};
use crate::lang::cel::{pool, run};

/// Programs that are kept for the next place that holds the same text.
const MOST_KEPT: usize = 4096;
/// Longest wait for the parser: 4 KiB take it milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

static KEPT: LazyLock<Mutex<HashMap<String, Arc<Program>>>> = LazyLock::new(Mutex::default);

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    let extended = [extensions::strings, extensions::lists, extensions::math, extensions::encoders, guard::declare, run::declare];
    let declared = extended.into_iter().try_for_each(|extension| env.add_extension(extension));
    debug_assert_eq!(declared, Ok(()), "two extensions declare one function");
    Arc::new(env)
});

/// The environment of all programs.
pub(in crate::lang) fn env() -> Arc<Env> {
    Arc::clone(&ENV)
}

/// The program of an expression, or everything that is wrong with it.
pub(in crate::lang) fn compile(text: &str) -> Result<Arc<Program>, Vec<Fault>> {
    if text.len() > guard::LONGEST {
        let message = format!("the expression is {} bytes long, more than {}", text.len(), guard::LONGEST);
        return Err(vec![Fault::new(0..text.len(), message)]);
    }
    if text.trim().is_empty() {
        return Err(vec![Fault::new(0..text.len(), "the expression is empty")]);
    }
    if let Some(known) = KEPT.lock().unwrap_or_else(PoisonError::into_inner).get(text) {
        return Ok(Arc::clone(known));
    }
    let program = Arc::new(match Program::plain(text) {
        Some(program) => program?,
        None if pool::is_ours() => parse(text)?,
        None => parse_elsewhere(text)?,
    });
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert(text.to_owned(), Arc::clone(&program));
    Ok(program)
}

fn parse_elsewhere(text: &str) -> Result<Program, Vec<Fault>> {
    let ours = |message: &str| vec![Fault::new(0..text.len(), message)];
    let (send, receive) = sync_channel(1);
    let owned = text.to_owned();
    pool::run(Box::new(move || drop(send.send(parse(&owned))))).map_err(|error| ours(&format!("no thread to parse it on: {error}")))?;
    // The channel closes when the parser panics: it is a library that reads hostile text.
    receive.recv_timeout(PATIENCE).map_err(|_| ours("the parser gave up on this expression"))?
}

/// The tree of a text. Fields may be escaped with backticks, so that every key can be selected with a dot.
pub(in crate::lang) fn tree(text: &str) -> Result<(IdedExpr, SourceInfo), ParseErrors> {
    ENV.parser().enable_ident_escape_syntax(true).parse_with_source_info(text)
}

fn parse(text: &str) -> Result<Program, Vec<Fault>> {
    let (tree, info) = tree(text).map_err(|errors| {
        // Half-built nodes are reported too, and sorted first: the grammar's own complaint says more.
        let with = |part: &str| errors.errors.iter().find(|error| error.msg.contains(part));
        vec![syntax(text, with("Recursion limit").or(with("Syntax error")).or(errors.errors.first()))]
    })?;
    if ast::depth(&tree, guard::DEEPEST) > guard::DEEPEST {
        return Err(vec![Fault::new(0..text.len(), format!("the expression is nested deeper than {} levels", guard::DEEPEST))]);
    }
    let places = ast::places(&tree, &info, text);
    Program::new(text, tree, places)
}

/// The first syntax error in a plain sentence. The library's own text is never formatted: its `Display` panics on columns beyond 65,535.
fn syntax(text: &str, error: Option<&ParseError>) -> Fault {
    let Some(error) = error else { return Fault::new(0..text.len(), "not an expression") };
    let at = offset(text, error.pos);
    let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
    let said = error.msg.as_str();
    let quoted = said.split('\'').nth(1).unwrap_or_default();
    let message = if said.contains("Recursion limit") || said.contains("limit exceeded") {
        "the expression is nested too deeply".to_owned()
    } else if quoted == "<EOF>" || said.contains("at input '<EOF>'") || at >= text.len() {
        "the expression ends too early".to_owned()
    } else if said.contains("token recognition error") {
        format!("`{}` cannot stand here", shown(quoted))
    } else if said.starts_with("Syntax error") || said.contains("expecting") {
        format!("`{}` is not expected here", shown(&text[at..end]))
    } else {
        shown(said)
    };
    let fault = Fault::new(at..end.max(at), message);
    match hint(text) {
        Some(hint) => fault.help(hint),
        None => fault,
    }
}

fn shown(text: &str) -> String {
    text.trim().chars().take(60).collect()
}

/// The byte at line (from 1) and column (from 1, in characters).
fn offset(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line).unwrap_or(1).max(1);
    let column = usize::try_from(column).unwrap_or(1).max(1);
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let rest = text.get(start..).unwrap_or_default();
    rest.char_indices().nth(column - 1).map_or(text.len(), |(at, _)| start + at)
}

fn hint(text: &str) -> Option<&'static str> {
    let words = || text.split(|c: char| !c.is_alphanumeric());
    if text.matches('"').count() % 2 == 1 || text.matches('\'').count() % 2 == 1 {
        Some("a quote is missing")
    } else if text.matches('(').count() != text.matches(')').count() || text.matches('[').count() != text.matches(']').count() {
        Some("a bracket is missing")
    } else if text.match_indices("?.").any(|(at, _)| text[at + 2..].starts_with(|c: char| c.is_alphabetic())) {
        Some("optional selection is written `.?`")
    } else if text.contains('=') && !["==", "!=", "<=", ">="].iter().any(|compare| text.contains(compare)) {
        Some("compare with `==`")
    } else if words().any(|word| matches!(word, "and" | "or" | "not")) {
        Some("write `&&`, `||` and `!`")
    } else if text.contains("has(") && text.contains("has()") {
        Some("write has(a.b), or \"key\" in map")
    } else {
        None
    }
}
