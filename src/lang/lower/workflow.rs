//! Lowering of workflow files.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use toml::de::{DeArray, DeTable};

use crate::lang::definition::Arguments;
use crate::lang::lower::tree::{Node, Reader, Table};
use crate::lang::lower::{arguments, definition, input, syntax};
use crate::lang::template::Expr;
use crate::lang::types::Field;
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
/// The header of a step as nearly everybody writes it.
const STEP: &str = "[[step]]";
/// A file that is longer is read in pieces of this size, in bytes.
const PIECE: usize = 64 * 1024;

/// See `workflow::parse`.
pub(in crate::lang) fn parse(source: &Arc<Source>) -> (Option<Workflow>, Vec<Diagnostic>) {
    let long = source.text.len() > PIECE;
    long.then(|| in_pieces(source, PIECE)).flatten().unwrap_or_else(|| whole(source))
}

/// The workflow read some steps at a time, because the tree of a file takes forty times its size; `None` where only the whole file shows what it is:
/// something is wrong with its syntax, or it is not a list of `[[step]]` to its end.
fn in_pieces(source: &Arc<Source>, least: usize) -> Option<(Option<Workflow>, Vec<Diagnostic>)> {
    let pieces = syntax::pieces(&source.text, STEP, least)?;
    let (head, rest) = pieces.split_first()?;
    let head = syntax::piece(&source.text[head.clone()]).filter(|entries| !entries.contains_key("step"))?;
    let mut reader = Reader::new(source);
    let name = definition::stem(&mut reader, "workflow");
    let (description, inputs) = preamble(&mut reader, &top(source, &head));
    let mut steps = Steps::default();
    // An estimate: a text of many lines may hold such lines, too.
    steps.list.reserve_exact(source.text.matches(STEP).count().min(MOST_STEPS));
    for piece in rest {
        let entries = syntax::piece(&source.text[piece.clone()])?;
        let (1, Some(items)) = (entries.len(), entries.get("step").and_then(|node| node.get_ref().as_array())) else { return None };
        reader.begins = piece.start;
        steps.read(&mut reader, items);
        if steps.seen > MOST_STEPS {
            return None;
        }
    }
    let workflow = name.map(|name| Workflow { name, source: Arc::clone(source), description, inputs, steps: steps.list });
    Some((workflow, reader.complaints))
}

fn top<'t>(source: &Arc<Source>, entries: &'t DeTable<'t>) -> Table<'t> {
    Table { entries, span: Span::new(source, 0..0), title: "a workflow".to_owned() }
}

fn preamble(reader: &mut Reader, table: &Table<'_>) -> (Option<String>, Inputs) {
    reader.known(table, &["description", "input", "step"]);
    let description = reader.string(table, "description").map(|text| text.value);
    (description, inputs(reader, table))
}

fn whole(source: &Arc<Source>) -> (Option<Workflow>, Vec<Diagnostic>) {
    let tree = match syntax::parse(source) {
        Ok(tree) => tree,
        Err(complaints) => return (None, complaints),
    };
    let mut reader = Reader::new(source);
    let name = definition::stem(&mut reader, "workflow");
    let table = top(source, tree.get_ref());
    let (description, inputs) = preamble(&mut reader, &table);
    let steps = steps(&mut reader, &table);
    let workflow = name.map(|name| Workflow { name, source: Arc::clone(source), description, inputs, steps });
    (workflow, reader.complaints)
}

type Inputs = BTreeMap<String, Spanned<Field>>;

fn inputs(reader: &mut Reader, table: &Table<'_>) -> Inputs {
    let tables = reader.tables(table, "input", "input");
    tables.into_iter().map(|(name, table)| (name.value.clone(), input::read(reader, &name, &table))).collect()
}

fn steps(reader: &mut Reader, table: &Table<'_>) -> Vec<Arc<Step>> {
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
    let mut steps = Steps::default();
    steps.list.reserve_exact(items.len());
    steps.read(reader, items);
    steps.list
}

/// The steps that were read so far.
#[derive(Default)]
struct Steps {
    list: Vec<Arc<Step>>,
    names: BTreeMap<String, Span>,
    /// How many stand in the file, those without a usable name among them.
    seen: usize,
}

impl Steps {
    fn read(&mut self, reader: &mut Reader, items: &DeArray<'_>) {
        self.seen += items.len();
        for item in items.iter() {
            let Some(step) = step(reader, item) else { continue };
            check_after(reader, &step, &self.names);
            if let Some(first) = self.names.insert(step.name.value.clone(), step.name.span.clone()) {
                let complaint = Diagnostic::yours(format!("two steps are called `{}`", step.name.value));
                reader.complain(complaint.at(&step.name.span, "").also(&first, "the first one").help("give each step its own name"));
            }
            self.list.push(Arc::new(step));
        }
    }
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

fn expr(reader: &mut Reader, table: &Table<'_>, key: &str) -> Option<Arc<Expr>> {
    let node = table.entries.get(key)?;
    let Some(text) = node.get_ref().as_str() else {
        reader.wrong_type(&format!("`{key}`"), "an expression in a string", node);
        return None;
    };
    match Expr::of_written(&reader.written(node, text)) {
        Ok(expr) => Some(Arc::new(expr)),
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

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &str = "\n[[step]]\nname = 'a'\ncall = 'fleet.start'\nwith = { vmName = \"${{ inputs.vm }}\" }\n";
    const MORE: &str = "[[step]]\nname = \"b\"\ncall = \"fleet.stop\"\nafter = [\"a\"]\n[step.with]\nvmName = '''\nü\n'''\n";

    /// What both ways make of a text; `None` for the pieces where they leave it to the whole.
    fn both(text: &str, least: usize) -> (Option<String>, String) {
        let source = Source::new("workflows/w.toml", text);
        // Where its lines begin is found by the first question, and shown from then on.
        source.line_column(0);
        (in_pieces(&source, least).map(|read| format!("{read:#?}")), format!("{:#?}", whole(&source)))
    }

    #[test]
    fn pieces_make_the_same_workflow() {
        let head = "description = 'ü'\n[input.vm]\ntype = \"string\"\ndescription = \"a machine\"\n";
        let texts = [
            format!("{head}{STEPS}{MORE}{MORE}"),
            format!("{MORE}{STEPS}"),
            // Wrong, but not in its syntax: unknown keys, names that stand twice or come too late.
            format!("{head}{MORE}{STEPS}{MORE}[[step]]\nnam = 1\n"),
            format!("x = 1\n{STEPS}"),
        ];
        for text in &texts {
            for least in [1, 40, 100, 10_000] {
                let (pieces, whole) = both(text, least);
                assert_eq!(pieces.as_deref(), Some(whole.as_str()), "{text}");
            }
        }
    }

    #[test]
    fn what_only_the_whole_file_shows_is_left_to_it() {
        let texts = [
            // A line that looks like a header inside a text, and inside a list.
            format!("description = '''\n[[step]]\n'''\n{STEPS}"),
            format!("{STEPS}confirm = \"\"\"\n[[step]]\n\"\"\"\n"),
            format!("{STEPS}after = [\n[[step]]\n]\n"),
            // `step` is something else already, or something else comes after the steps.
            format!("step = [{{ name = 'x', call = 'a.b' }}]\n{STEPS}"),
            format!("[step.with]\na = 1\n{STEPS}"),
            format!("{STEPS}{MORE}[input.vm]\ntype = \"string\"\n"),
            format!("{STEPS}{MORE}[step]\n"),
            // Not TOML; no step at all.
            format!("{STEPS}{MORE}[[step]\n"),
            "description = 'none'\n".to_owned(),
        ];
        for text in &texts {
            assert_eq!(both(text, 1).0, None, "{text}");
        }
    }

    #[test]
    fn the_steps_are_counted_over_all_pieces() {
        let text = "[[step]]\nname = 'a'\n".repeat(MOST_STEPS + 1);
        let (workflow, complaints) = parse(&Source::new("workflows/w.toml", text));
        assert!(workflow.is_some_and(|workflow| workflow.steps.is_empty()));
        assert!(complaints[0].message.ends_with("this one has 100001"), "{complaints:?}");
    }
}
