//! Limits on what an expression may cost, and the functions that count it.
//!
//! The library has no limits of its own, so lowering wraps what loops or grows:
//!
//! - each turn of a loop passes `@step` (in the element of `map` and the condition of `filter`, where it keeps the shape that the interpreter runs in
//!   place) or `@tick` (in the condition of `all` and `exists`);
//! - whatever makes text, lists or maps passes `@size`, which charges a budget;
//! - what can grow more than its arguments together (`replace`, `join`) or take their square (`distinct`) is asked before it begins.
//!
//! A spent budget fails every later step at once, and is looked at after the evaluation, so `|| true` cannot swallow it.

use std::cell::Cell;

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, operators};
use cel::common::types::{CelBool, CelInt, CelList, CelMap, CelMapKey, CelString, DYN_TYPE, INT_TYPE, LIST_TYPE, STRING_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};

use crate::lang::cel::ast::{appends, binds, call, guarded};
use crate::value::Value;

/// Longest expression, in bytes.
pub(in crate::lang) const LONGEST: usize = 4096;
/// Deepest tree: keeps every recursion over it, dropping included, within the smallest stack.
pub(in crate::lang) const DEEPEST: usize = 256;
/// Loops within loops.
pub(in crate::lang) const DEEPEST_LOOPS: usize = 4;
/// Turns of all loops together.
pub(in crate::lang) const MOST_TICKS: u32 = 1_000_000;
/// Bytes of everything that is read or made on the way.
pub(in crate::lang) const MOST_BYTES: usize = 64 << 20;
/// What is said of more.
pub(in crate::lang) const TOO_MUCH: &str = "it reads or makes more than 64 MiB of text and lists";
/// Largest result, in bytes.
pub(in crate::lang) const LARGEST_RESULT: usize = 4 << 20;
/// What a value takes beside its text, in bytes.
const EACH: usize = 48;
/// Longest list for functions that take its square.
const LONGEST_SQUARE: usize = 2_000;
/// Longest regular expression, in bytes.
pub(in crate::lang) const LONGEST_PATTERN: usize = 1024;

/// The function that resolves a site.
pub(in crate::lang) const REF: &str = "@ref";

thread_local! {
    // Functions of the library are plain function pointers: the thread that evaluates is the only place where they can count.
    static SPENT: Cell<Spent> = const { Cell::new(Spent { ticks: 0, bytes: 0, broke: None }) };
}

/// What the present evaluation has cost.
#[derive(Clone, Copy, Default)]
struct Spent {
    ticks: u32,
    bytes: usize,
    broke: Option<&'static str>,
}

/// Begins a new evaluation on this thread.
pub(in crate::lang) fn reset() {
    SPENT.set(Spent::default());
}

/// The limit that the present evaluation ran into, if it did.
pub(in crate::lang) fn broken() -> Option<&'static str> {
    SPENT.get().broke
}

/// The error that ends an evaluation over its budget.
fn over(limit: &'static str) -> ExecutionError {
    SPENT.set(Spent { broke: Some(limit), ..SPENT.get() });
    ExecutionError::function_error("@limit", limit)
}

/// Counts one turn of a loop.
fn tick() -> Result<(), ExecutionError> {
    let spent = SPENT.get();
    if let Some(limit) = spent.broke {
        return Err(over(limit));
    }
    if spent.ticks >= MOST_TICKS {
        return Err(over("it goes round its loops more than 1,000,000 times"));
    }
    SPENT.set(Spent { ticks: spent.ticks + 1, ..spent });
    Ok(())
}

/// Charges bytes that are about to be made or just were.
pub(in crate::lang) fn charge(bytes: usize) -> Result<(), ExecutionError> {
    let spent = SPENT.get();
    let bytes = spent.bytes.saturating_add(bytes);
    if spent.broke.is_some() || bytes > MOST_BYTES {
        return Err(over(TOO_MUCH));
    }
    SPENT.set(Spent { bytes, ..spent });
    Ok(())
}

/// Roughly how many bytes a value would take as CEL's, counted before it is one.
pub(in crate::lang) fn weight(value: &Value) -> usize {
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Secret(secret) => secret.expose().len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(map) => map.iter().map(|(key, item)| EACH + key.len() + weight(item)).sum(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
    }
}

/// Roughly how many bytes a value holds, counted no further than the budget.
pub(in crate::lang) fn bytes(value: &dyn Val) -> usize {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return EACH + text.inner().len();
    }
    let mut sum = EACH;
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        for item in list.inner() {
            sum += bytes(item.as_ref());
            if sum > MOST_BYTES {
                break;
            }
        }
    } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        for (key, item) in map.inner() {
            sum += bytes(key.inner()) + bytes(item.as_ref());
            if sum > MOST_BYTES {
                break;
            }
        }
    }
    sum
}

/// Wraps what makes a value: it is charged.
pub(in crate::lang) fn sized(node: IdedExpr) -> IdedExpr {
    call(node.id, "@size", vec![node])
}

/// A call with its cost counted, where it can have one.
pub(in crate::lang) fn metered(id: u64, mut called: CallExpr) -> IdedExpr {
    let node = |expr| IdedExpr { id, expr: Expr::Call(expr) };
    match called.func_name.as_str() {
        operators::ADD => sized(node(called)),
        "replace" | "join" if called.target.is_some() => {
            called.func_name.insert(0, '@');
            node(called)
        }
        "distinct" => {
            called.target = called.target.map(|target| Box::new(call(target.id, "@short", vec![*target])));
            sized(node(called))
        }
        "matches" => {
            if let Some(pattern) = called.args.pop() {
                called.args.push(call(pattern.id, "@pattern", vec![pattern]));
            }
            node(called)
        }
        "lists.range" | "range" | "split" | "flatten" | "format" | "reverse" | "sort" | "slice" | "lowerAscii" | "upperAscii"
        | "substring" | "trim" | "quote" | "encode" | "decode" | "bytes" | "string" => sized(node(called)),
        _ => node(called),
    }
}

/// A lowered comprehension with its turns counted; `before` is the one that was written.
pub(in crate::lang) fn counted(id: u64, before: &ComprehensionExpr, mut loops: ComprehensionExpr) -> IdedExpr {
    if !binds(before) {
        loops.iter_range = call(loops.iter_range.id, "@items", vec![loops.iter_range]);
        if appends(before) {
            loops.accu_init = before.accu_init.clone();
            loops.loop_step = stepped(before, loops.loop_step);
        } else {
            loops.loop_cond = guarded(id, call(id, "@tick", Vec::new()), loops.loop_cond);
        }
    }
    IdedExpr { id, expr: Expr::Comprehension(Box::new(loops)) }
}

/// The appending step with `@step` around its condition and its element. Lowering has put `@size` around list and sum: they are taken off again, because
/// the interpreter knows the shape `@result + [element]` only bare.
fn stepped(before: &ComprehensionExpr, step: IdedExpr) -> IdedExpr {
    let conditional = matches!(&before.loop_step.expr, Expr::Call(called) if called.func_name == operators::CONDITIONAL);
    if !conditional {
        return append(step);
    }
    let IdedExpr { id, expr: Expr::Call(mut called) } = step else { return step };
    called.args = called
        .args
        .into_iter()
        .enumerate()
        .map(|(index, arg)| match index {
            0 => call(arg.id, "@step", vec![arg]),
            1 => append(arg),
            _ => arg,
        })
        .collect();
    IdedExpr { id, expr: Expr::Call(called) }
}

fn append(sum: IdedExpr) -> IdedExpr {
    let IdedExpr { id, expr: Expr::Call(mut called) } = bare(sum) else { return IdedExpr::default() };
    if let Some(list) = called.args.pop() {
        let IdedExpr { id, expr } = bare(list);
        let expr = match expr {
            Expr::List(mut list) => {
                list.elements = list.elements.into_iter().map(|item| call(item.id, "@step", vec![item])).collect();
                Expr::List(list)
            }
            other => other,
        };
        called.args.push(IdedExpr { id, expr });
    }
    IdedExpr { id, expr: Expr::Call(called) }
}

fn bare(node: IdedExpr) -> IdedExpr {
    match node.expr {
        Expr::Call(mut called) if called.func_name == "@size" && called.args.len() == 1 => called.args.pop().unwrap_or_default(),
        expr => IdedExpr { id: node.id, expr },
    }
}

type Args<'b, 'v> = Vec<CowVal<'b, 'v>>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

fn only<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))
}

fn step<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    tick()?;
    size(args)
}

fn size<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let value = only(args)?;
    charge(bytes(value.as_ref()))?;
    Ok(value)
}

fn count<'b, 'v>(_: Args<'b, 'v>) -> Answer<'b, 'v> {
    tick()?;
    Ok(CowVal::owned(CelBool::from(true)))
}

/// What a loop goes over: the keys of a map in their order, because the library's maps have none.
fn items<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let value = only(args)?;
    let Some(map) = value.downcast_ref::<CelMap<'_>>() else { return Ok(value) };
    let mut keys: Vec<&CelMapKey<'_>> = map.inner().keys().collect();
    keys.sort();
    let keys: Vec<Box<dyn Val + 'v>> = keys.into_iter().map(|key| key.inner().clone_as_boxed()).collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

fn short<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let value = only(args)?;
    if value.downcast_ref::<CelList<'_>>().is_some_and(|list| list.inner().len() > LONGEST_SQUARE) {
        return Err(over("it compares each with each in a list of more than 2,000 items"));
    }
    Ok(value)
}

fn pattern<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let value = only(args)?;
    if value.downcast_ref::<CelString<'_>>().is_some_and(|text| text.inner().len() > LONGEST_PATTERN) {
        return Err(over("its regular expression is longer than 1,024 bytes"));
    }
    Ok(value)
}

fn texts<'a>(args: &'a Args<'_, '_>) -> Vec<&'a str> {
    args.iter().filter_map(|arg| arg.downcast_ref::<CelString<'_>>()).map(|text| text.inner()).collect()
}

fn replace<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let limit = args.get(3).and_then(|arg| arg.downcast_ref::<CelInt>()).and_then(|number| usize::try_from(*number.inner()).ok());
    let texts = texts(&args);
    let [text, from, to] = texts.as_slice() else { return Err(ExecutionError::invalid_argument_count(3, args.len())) };
    // An empty `from` matches between all characters.
    let matches = if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
    let matches = limit.map_or(matches, |limit| matches.min(limit));
    charge(text.len().saturating_add(matches.saturating_mul(to.len())))?;
    let replaced = limit.map_or_else(|| text.replace(from, to), |limit| text.replacen(from, to, limit));
    Ok(CowVal::owned(CelString::from(replaced)))
}

fn join<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let separator = texts(&args).first().copied().unwrap_or_default().to_owned();
    let Some(list) = args.first().and_then(|arg| arg.downcast_ref::<CelList<'_>>()) else {
        return Err(ExecutionError::invalid_argument_count(1, args.len()));
    };
    let mut parts = Vec::with_capacity(list.inner().len());
    for item in list.inner() {
        let text = item.downcast_ref::<CelString<'_>>();
        let text =
            text.ok_or_else(|| ExecutionError::no_such_member_overload("join", vec!["list".into(), item.get_type().name().into()]))?;
        charge(text.inner().len() + separator.len())?;
        parts.push(text.inner());
    }
    Ok(CowVal::owned(CelString::from(parts.join(&separator))))
}

/// Adds the counting functions to an environment.
pub(in crate::lang) fn declare(env: &mut Env) -> Result<(), cel::DeclarationError> {
    env.add_overload("@step", "@step", vec![DYN_TYPE], step)?;
    env.add_overload("@size", "@size", vec![DYN_TYPE], size)?;
    env.add_overload("@tick", "@tick", vec![], count)?;
    env.add_overload("@items", "@items", vec![DYN_TYPE], items)?;
    env.add_overload("@short", "@short", vec![DYN_TYPE], short)?;
    env.add_overload("@pattern", "@pattern", vec![DYN_TYPE], pattern)?;
    env.add_member_overload("@replace", "@replace3", STRING_TYPE, vec![STRING_TYPE, STRING_TYPE], replace)?;
    env.add_member_overload("@replace", "@replace4", STRING_TYPE, vec![STRING_TYPE, STRING_TYPE, INT_TYPE], replace)?;
    env.add_member_overload("@join", "@join0", LIST_TYPE, vec![], join)?;
    env.add_member_overload("@join", "@join1", LIST_TYPE, vec![STRING_TYPE], join)?;
    Ok(())
}
