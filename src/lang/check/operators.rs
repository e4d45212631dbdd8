//! Types of operators.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, operators};

use crate::lang::cel::site::literal;
use crate::lang::check::infer::Inference;
use crate::lang::check::scene::either;
use crate::lang::types::{Kind, Type};

/// The type that an operator gives; complains where its sides cannot go together.
pub(super) fn operator(inference: &mut Inference<'_, '_>, node: &IdedExpr, called: &CallExpr) -> Type {
    match called.func_name.as_str() {
        operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => return inference.indexed(called),
        operators::CONDITIONAL => return conditional(inference, called),
        _ => {}
    }
    let types: Vec<Type> = called.args.iter().map(|arg| inference.node(arg)).collect();
    match (called.func_name.as_str(), types.as_slice()) {
        (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, _) => {
            for (ty, arg) in types.iter().zip(&called.args) {
                decides(inference, ty, arg);
            }
            Type::of(Kind::Bool)
        }
        (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
            compared(inference, node, called, (left, right));
            Type::of(Kind::Bool)
        }
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, [left, right]) => {
            if !ordered(left, right) {
                clash(inference, node, called, (left, right));
            }
            Type::of(Kind::Bool)
        }
        (operators::IN, [item, of]) => {
            contained(inference, node, called, (item, of));
            Type::of(Kind::Bool)
        }
        (operators::ADD, [left, right]) => added(inference, node, called, (left, right)),
        (operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO, [left, right]) => {
            match (&left.kind, &right.kind) {
                (Kind::Int, Kind::Int) => Type::of(Kind::Int),
                (Kind::Float, Kind::Float) => Type::of(Kind::Float),
                (Kind::Any, _) | (_, Kind::Any) => Type::default(),
                _ => clash(inference, node, called, (left, right)),
            }
        }
        (operators::NEGATE, [only]) => match only.kind {
            Kind::Int | Kind::Float | Kind::Any => only.clone(),
            _ => {
                inference.complain(inference.range(node), format!("`-` does not work on {only}"), None);
                Type::default()
            }
        },
        (operators::NOT_STRICTLY_FALSE, _) => Type::of(Kind::Bool),
        _ => Type::default(),
    }
}

fn conditional(inference: &mut Inference<'_, '_>, called: &CallExpr) -> Type {
    let [condition, then, otherwise] = called.args.as_slice() else { return Type::default() };
    let ty = inference.node(condition);
    decides(inference, &ty, condition);
    let then = inference.node(then);
    let otherwise = inference.node(otherwise);
    either(then, otherwise)
}

fn decides(inference: &mut Inference<'_, '_>, ty: &Type, at: &IdedExpr) {
    if !matches!(ty.kind, Kind::Bool | Kind::Any) {
        let help = "compare it, such as `== \"running\"`".to_owned();
        inference.complain(inference.range(at), format!("a condition is true or false, not {ty}"), Some(help));
    }
}

/// The family within which values can be equal.
fn family(ty: &Type) -> Option<u8> {
    Some(match &ty.kind {
        Kind::Any | Kind::Null => return None,
        Kind::Bool => 0,
        Kind::Int | Kind::Float => 1,
        Kind::String | Kind::Enum(_) => 2,
        Kind::List(_) => 3,
        Kind::Map(_) | Kind::Object(_) => 4,
    })
}

fn compared(inference: &mut Inference<'_, '_>, node: &IdedExpr, called: &CallExpr, (left, right): (&Type, &Type)) {
    if let (Some(one), Some(other)) = (family(left), family(right))
        && one != other
    {
        let message = format!("{left} and {right} are never equal");
        inference.complain(inference.range(node), message, number_in_quotes(called, left, right));
        return;
    }
    for (words, at) in [(&left.kind, called.args.get(1)), (&right.kind, called.args.first())] {
        if let (Kind::Enum(words), Some(at)) = (words, at)
            && let Some(word) = literal(at)
        {
            is_word(inference, words, word, at);
        }
    }
}

fn is_word(inference: &mut Inference<'_, '_>, words: &[String], word: &str, at: &IdedExpr) {
    if !words.iter().any(|known| known == word) {
        let near = crate::name::nearest(word, words.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let message = format!("`{word}` is none of {}", words.join(", "));
        inference.complain(inference.range(at), message, near);
    }
}

fn number_in_quotes(called: &CallExpr, left: &Type, right: &Type) -> Option<String> {
    let number = |ty: &Type| matches!(ty.kind, Kind::Int | Kind::Float | Kind::Bool);
    let quoted = called.args.iter().filter_map(literal).any(|text| text.parse::<f64>().is_ok() || text == "true" || text == "false");
    (quoted && (number(left) || number(right))).then(|| "write it without the quotes".to_owned())
}

fn contained(inference: &mut Inference<'_, '_>, node: &IdedExpr, called: &CallExpr, (item, of): (&Type, &Type)) {
    match &of.kind {
        Kind::Any | Kind::Map(_) | Kind::Object(_) => {}
        Kind::List(known) => {
            if let (Some(one), Some(other)) = (family(item), family(known))
                && one != other
            {
                inference.complain(inference.range(node), format!("{item} is never in {of}"), number_in_quotes(called, item, known));
            } else if let (Kind::Enum(words), Some(word), Some(at)) =
                (&known.kind, called.args.first().and_then(literal), called.args.first())
            {
                is_word(inference, words, word, at);
            }
        }
        _ => {
            let help = matches!(of.kind, Kind::String).then(|| "for text write text.contains(…)".to_owned());
            inference.complain(inference.range(node), format!("`in` looks into a list or map, not {of}"), help);
        }
    }
}

fn ordered(left: &Type, right: &Type) -> bool {
    match (family(left), family(right)) {
        (Some(one), Some(other)) => one == other && one <= 2,
        _ => left.kind != Kind::Null && right.kind != Kind::Null,
    }
}

fn added(inference: &mut Inference<'_, '_>, node: &IdedExpr, called: &CallExpr, (left, right): (&Type, &Type)) -> Type {
    match (&left.kind, &right.kind) {
        (Kind::Int, Kind::Int) => Type::of(Kind::Int),
        (Kind::Float, Kind::Float) => Type::of(Kind::Float),
        (Kind::String | Kind::Enum(_), Kind::String | Kind::Enum(_)) => Type::of(Kind::String),
        (Kind::List(one), Kind::List(other)) => Type::of(Kind::List(Box::new(either((**one).clone(), (**other).clone())))),
        (Kind::Any, _) | (_, Kind::Any) => Type::default(),
        _ => clash(inference, node, called, (left, right)),
    }
}

fn clash(inference: &mut Inference<'_, '_>, node: &IdedExpr, called: &CallExpr, (left, right): (&Type, &Type)) -> Type {
    let symbol = called.func_name.trim_matches('_');
    let text = |ty: &Type| matches!(ty.kind, Kind::String | Kind::Enum(_));
    let number = |ty: &Type| matches!(ty.kind, Kind::Int | Kind::Float);
    let help = if text(left) != text(right) && (number(left) || number(right)) {
        Some("make text of the number with string(…)".to_owned())
    } else if number(left) && number(right) {
        Some("make both the same with double(…) or int(…)".to_owned())
    } else {
        None
    };
    inference.complain(inference.range(node), format!("`{symbol}` does not work on {left} and {right}"), help);
    Type::default()
}
