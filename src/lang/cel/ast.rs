//! Walking and building syntax trees: children, places, depth, and the few shapes that macros leave behind.

use std::collections::BTreeMap;
use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators};

use crate::lang::cel::site::literal;
use crate::lang::cel::split::balance;
use crate::source::{ceil, floor};

/// The children of a node, in the order of evaluation.
pub(in crate::lang) fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Struct(object) => object.entries.iter().flat_map(|entry| of_entry(&entry.expr)).collect(),
        Expr::Comprehension(loops) => {
            vec![&loops.accu_init, &loops.iter_range, &loops.loop_cond, &loops.loop_step, &loops.result]
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn of_entry(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        EntryExpr::StructField(field) => vec![&field.value],
    }
}

/// How many levels the tree has, counted without recursion and no further than `most`.
pub(in crate::lang) fn depth(root: &IdedExpr, most: usize) -> usize {
    let mut level = vec![root];
    let mut count = 0;
    while !level.is_empty() && count <= most {
        count += 1;
        level = level.into_iter().flat_map(children).collect();
    }
    count
}

/// Where each node stands, whole. The parser knows only the token of each operator: a node is the union of its token and its children, with the brackets
/// that this leaves open.
pub(in crate::lang) fn places(root: &IdedExpr, info: &SourceInfo, text: &str) -> BTreeMap<u64, Range<usize>> {
    let mut places = BTreeMap::new();
    place(root, info, text, &mut places);
    places
}

fn place(node: &IdedExpr, info: &SourceInfo, text: &str, places: &mut BTreeMap<u64, Range<usize>>) -> Option<Range<usize>> {
    // `has(a.b)` is known by its bracket, which is no part of the path.
    let test = matches!(&node.expr, Expr::Select(select) if select.test);
    let own = info.offset_for(node.id).filter(|_| !test).map(|(start, stop)| {
        let start = floor(text, start as usize);
        start..ceil(text, (stop as usize).saturating_add(1)).max(start)
    });
    let union = |left: Option<Range<usize>>, right: Option<Range<usize>>| match (left, right) {
        (Some(left), Some(right)) => Some(left.start.min(right.start)..left.end.max(right.end)),
        (left, right) => left.or(right),
    };
    let whole = children(node).into_iter().map(|child| place(child, info, text, places)).fold(own, union)?;
    // `a.b` is known by its dot: the name after it belongs to it.
    let whole = match &node.expr {
        Expr::Select(select) if test => whole.start..after_field(text, whole.end, &select.field),
        Expr::Select(select) => whole.start..after_name(text, whole.end, &select.field),
        Expr::Call(called) if called.func_name == operators::OPT_SELECT => {
            let mark = text[whole.end..].starts_with('?');
            let key = called.args.get(1).and_then(literal).unwrap_or_default();
            whole.start..after_name(text, whole.end + usize::from(mark), key)
        }
        // `f(a)` is known by its bracket: the name before it belongs to it.
        Expr::Call(called) if called.target.is_none() && text[..whole.start].ends_with(&called.func_name) => {
            whole.start - called.func_name.len()..whole.end
        }
        _ => whole,
    };
    let whole = balance(text, whole);
    places.insert(node.id, whole.clone());
    Some(whole)
}

fn after_name(text: &str, end: usize, field: &str) -> usize {
    let rest = &text[end..];
    let name = rest.trim_start();
    let escaped = format!("`{field}`");
    let length = [field, &escaped].into_iter().find(|form| name.starts_with(*form)).map(str::len);
    length.map_or(end, |length| end + (rest.len() - name.len()) + length)
}

/// Like `after_name`, across the dot as well.
fn after_field(text: &str, end: usize, field: &str) -> usize {
    let rest = &text[end..];
    let dot = rest.trim_start();
    match dot.strip_prefix('.') {
        Some(after) => after_name(text, end + (rest.len() - after.len()), field),
        None => end,
    }
}

/// A call of a global function, with the id (and so the place) of the node that it stands for.
pub(in crate::lang) fn call(id: u64, name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}

/// An integer literal.
pub(in crate::lang) fn integer(id: u64, number: i64) -> IdedExpr {
    IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(number.into())) }
}

/// `condition ? then : false`.
pub(in crate::lang) fn guarded(id: u64, condition: IdedExpr, then: IdedExpr) -> IdedExpr {
    let never = IdedExpr { id, expr: Expr::Literal(LiteralValue::Boolean(false.into())) };
    call(id, operators::CONDITIONAL, vec![condition, then, never])
}

/// Whether a comprehension only binds a name, as `sortBy` does: it runs no step.
pub(in crate::lang) fn binds(loops: &ComprehensionExpr) -> bool {
    matches!(&loops.iter_range.expr, Expr::List(list) if list.elements.is_empty())
        && matches!(&loops.loop_cond.expr, Expr::Literal(LiteralValue::Boolean(flag)) if !*flag.inner())
}

/// Whether a comprehension appends (`map`, `filter`): the interpreter runs those in place as long as the shape is kept.
pub(in crate::lang) fn appends(loops: &ComprehensionExpr) -> bool {
    let accumulator = |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if *name == loops.accu_var);
    let append = |node: &IdedExpr| match &node.expr {
        Expr::Call(call) if call.func_name == operators::ADD && call.args.len() == 2 => {
            accumulator(&call.args[0]) && matches!(call.args[1].expr, Expr::List(_))
        }
        _ => false,
    };
    if !accumulator(&loops.result) || !matches!(loops.loop_cond.expr, Expr::Literal(_)) {
        return false;
    }
    match &loops.loop_step.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL && call.args.len() == 3 => {
            append(&call.args[1]) && accumulator(&call.args[2])
        }
        _ => append(&loops.loop_step),
    }
}
