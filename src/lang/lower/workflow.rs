//! Lowering of workflow files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::lang::definition::Arguments;
use crate::lang::lower::tree::{Node, Reader, Table};
use crate::lang::lower::{arguments, definition, input, syntax};
use crate::lang::template::Expr;
use crate::lang::workflow::{Options, Retry, Step, What, Workflow};
use crate::source::{Diagnostic, Source, Span, Spanned};

const STEP_KEYS: [&str; 15] = [
    "name",
    "description",
    "call",
    "workflow",
    "with",
    "if",
    "for_each",
    "after",
    "timeout",
    "retry",
    "fresh",
    "always",
    "optional",
    "unordered",
    "confirm",
];

/// Most steps of one workflow: a bound for hostile files, far above what anybody writes.
const MOST_STEPS: usize = 100_000;

/// See `workflow::parse`.
pub(in crate::lang) fn parse(source: &Arc<Source>) -> (Option<Workflow>, Vec<Diagnostic>) {
    let tree = match syntax::parse(source) {
        Ok(tree) => tree,
        Err(complaints) => return (None, complaints),
    };
    let mut reader = Reader::new(source);
    let name = definition::stem(&mut reader, "workflow");
    let table = Table { entries: tree.get_ref(), span: Span::new(source, 0..0), title: "a workflow".to_owned() };
    reader.known(&table, &["description", "input", "step"]);
    let description = reader.string(&table, "description").map(|text| text.value);
    let inputs = inputs(&mut reader, &table);
    let steps = steps(&mut reader, &table);
    let workflow = name.map(|name| Workflow { name, source: Arc::clone(source), description, inputs, steps });
    (workflow, reader.complaints)
}

fn inputs(reader: &mut Reader, table: &Table<'_>) -> BTreeMap<String, Spanned<crate::lang::types::Field>> {
    let tables = reader.tables(table, "input", "input");
    tables.into_iter().map(|(name, table)| (name.value.clone(), input::read(reader, &name, &table))).collect()
}

fn steps(reader: &mut Reader, table: &Table<'_>) -> Vec<Step> {
    let Some(node) = table.entries.get("step") else {
        reader.missing(table, "step", "[[step]]");
        return Vec::new();
    };
    let Some(items) = node.get_ref().as_array() else {
        reader.wrong_type("`step`", "a list of tables, each written [[step]]", node);
        return Vec::new();
    };
    if items.is_empty() || items.len() > MOST_STEPS {
        let message = format!("a workflow has 1 to {MOST_STEPS} steps, this one has {}", items.len());
        let span = reader.span(node);
        reader.complain(Diagnostic::yours(message).at(&span, ""));
        return Vec::new();
    }
    let mut steps: Vec<Step> = Vec::with_capacity(items.len());
    let mut names = BTreeMap::new();
    for item in items.iter() {
        let Some(step) = step(reader, item) else { continue };
        check_after(reader, &step, &names);
        if let Some(first) = names.insert(step.name.value.clone(), step.name.span.clone()) {
            let complaint = Diagnostic::yours(format!("two steps are called `{}`", step.name.value));
            reader.complain(complaint.at(&step.name.span, "").also(&first, "the first one").help("give each step its own name"));
        }
        steps.push(step);
    }
    steps
}

fn check_after(reader: &mut Reader, step: &Step, earlier: &BTreeMap<String, Span>) {
    for name in &step.after {
        if earlier.contains_key(&name.value) {
            continue;
        }
        let complaint = if name.value == step.name.value {
            Diagnostic::yours(format!("step `{}` cannot be after itself", name.value)).at(&name.span, "")
        } else {
            let complaint = Diagnostic::yours(format!("no earlier step is called `{}`", name.value)).at(&name.span, "");
            complaint.did_you_mean(&name.value, earlier.keys().map(String::as_str))
        };
        reader.complain(complaint);
    }
}

fn step(reader: &mut Reader, node: &Node<'_>) -> Option<Step> {
    let table = reader.as_table(node, "a step")?;
    reader.known(&table, &STEP_KEYS);
    if !table.entries.contains_key("name") {
        reader.missing(&table, "name", "name = \"…\"");
    }
    let name = reader.string(&table, "name");
    if let Some(name) = &name {
        check_step_name(reader, name);
    }
    reader.string(&table, "description");
    let what = what(reader, &table);
    let with = with(reader, &table);
    let condition = expr(reader, &table, "if");
    let for_each = expr(reader, &table, "for_each");
    let after = reader.strings(&table, "after").map(|names| names.value).unwrap_or_default();
    let options = options(reader, &table);
    // A step without a usable name or call would only cause echoes.
    Some(Step { span: table.span.clone(), name: name?, what: what?, with, condition, for_each, after, options })
}

/// A step's name is a part of paths (`reboot/stop/stop-vm`) and of command lines.
fn check_step_name(reader: &mut Reader, name: &Spanned<String>) {
    reader.check_name(name, "the name of a step");
    if name.value.contains('/') || name.value.contains("${{") {
        let complaint = Diagnostic::yours(format!("`{}` cannot be the name of a step", name.value)).at(&name.span, "");
        reader.complain(complaint.help("a name is plain text without `/` and expressions"));
    }
}

fn what(reader: &mut Reader, table: &Table<'_>) -> Option<What> {
    match (table.entries.contains_key("call"), table.entries.contains_key("workflow")) {
        (true, false) => call(reader, table),
        (false, true) => reader.filled(table, "workflow").map(What::Workflow),
        (false, false) => {
            reader.missing(table, "call", "call = \"definition.method\"` or `workflow = \"name\"");
            None
        }
        (true, true) => {
            let span = table.entries.get("workflow").map_or_else(|| table.span.clone(), |node| reader.span(node));
            let complaint = Diagnostic::yours("a step has either `call` or `workflow`, not both").at(&span, "");
            reader.complain(complaint.help("make two steps of it"));
            None
        }
    }
}

fn call(reader: &mut Reader, table: &Table<'_>) -> Option<What> {
    let text = reader.filled(table, "call")?;
    match reference(&text) {
        Some((def, method)) => Some(What::Call { def, method }),
        None => {
            let complaint = Diagnostic::yours(format!("`{}` is not a call", text.value)).at(&text.span, "");
            reader.complain(complaint.help("write `definition.method`, such as `fleet.start`"));
            None
        }
    }
}

/// `definition.method` in two, each with its place.
pub(in crate::lang) fn reference(text: &Spanned<String>) -> Option<(Spanned<String>, Spanned<String>)> {
    let (def, method) = text.value.split_once('.')?;
    let usable = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    if !usable(def) || !usable(method) {
        return None;
    }
    let exact = text.span.text() == text.value;
    let part = |range| if exact { text.span.part(range) } else { text.span.clone() };
    let method_at = part(def.len() + 1..text.value.len());
    Some((Spanned::new(def.to_owned(), part(0..def.len())), Spanned::new(method.to_owned(), method_at)))
}

fn with(reader: &mut Reader, table: &Table<'_>) -> Arguments {
    reader.table(table, "with", "`with`").map(|with| arguments::read(reader, &with)).unwrap_or_default()
}

fn expr(reader: &mut Reader, table: &Table<'_>, key: &str) -> Option<Expr> {
    let node = table.entries.get(key)?;
    let Some(text) = node.get_ref().as_str() else {
        reader.wrong_type(&format!("`{key}`"), "an expression in a string", node);
        return None;
    };
    match Expr::of_written(&reader.written(node, text)) {
        Ok(expr) => Some(expr),
        Err(complaints) => {
            complaints.into_iter().for_each(|complaint| reader.complain(complaint));
            None
        }
    }
}

fn options(reader: &mut Reader, table: &Table<'_>) -> Options {
    Options {
        timeout: timeout(reader, table),
        retry: retry(reader, table),
        fresh: reader.duration(table, "fresh"),
        always: reader.flag(table, "always"),
        optional: reader.flag(table, "optional"),
        unordered: reader.flag(table, "unordered"),
        confirm: confirm(reader, table),
    }
}

fn timeout(reader: &mut Reader, table: &Table<'_>) -> Option<Duration> {
    let timeout = reader.duration(table, "timeout")?;
    if timeout.is_zero() {
        let span = table.entries.get("timeout").map_or_else(|| table.span.clone(), |node| reader.span(node));
        reader.complain(
            Diagnostic::yours("`timeout` is 0, so the step could never end in time").at(&span, "").help("remove it, or write more"),
        );
        return None;
    }
    Some(timeout)
}

/// The question before a step: plain text, because it is asked before anything is evaluated.
fn confirm(reader: &mut Reader, table: &Table<'_>) -> Option<String> {
    let text = reader.filled(table, "confirm")?;
    if text.value.contains("${{") {
        let complaint = Diagnostic::yours("`confirm` is asked before expressions are evaluated").at(&text.span, "");
        reader.complain(complaint.help("write plain text"));
        return None;
    }
    Some(text.value)
}

fn retry(reader: &mut Reader, table: &Table<'_>) -> Option<Retry> {
    let retry = reader.table(table, "retry", "`retry`")?;
    reader.known(&retry, &["times", "backoff"]);
    if !retry.entries.contains_key("times") {
        reader.missing(&retry, "times", "times = 3");
    }
    let times = reader.integer(&retry, "times", 1..=100)?;
    let backoff = reader.duration(&retry, "backoff").unwrap_or(Duration::from_secs(1));
    Some(Retry { times: u32::try_from(times).unwrap_or(u32::MAX), backoff })
}
