//! What a failed evaluation means: the smallest part that fails, and a sentence about it.

use cel::common::ast::{Expr, operators};
use cel::objects::Value as CelValue;
use cel::{Context, ExecutionError, IdedExpr};

use crate::lang::cel::ast::children;
use crate::lang::cel::guard;
use crate::lang::cel::program::{Fault, Program};
use crate::lang::cel::run::Trouble;

/// The trouble behind an error of the library, which says neither where nor, often, what.
pub(in crate::lang) fn trouble((program, code): (&Program, &IdedExpr), error: &ExecutionError, context: &Context<'_, '_>) -> Trouble {
    if let ExecutionError::FunctionError { function, message } = error
        && function == guard::REF
    {
        return match message.parse() {
            Ok(number) => Trouble::Site(number),
            Err(_) => Trouble::Broken("the question of an expression went unanswered".to_owned()),
        };
    }
    let node = smallest(code, error, context);
    let range = program.tree().1.get(&node.id).cloned().unwrap_or(0..program.text.len());
    Trouble::Cel(sentence(error, range))
}

/// The smallest node that fails with the same error, found from the top by evaluating children again. Sites answer from memory, so nothing is asked
/// twice. Bodies of loops cannot be evaluated without their names: there it ends at the loop.
fn smallest<'c>(root: &'c IdedExpr, error: &ExecutionError, context: &Context<'_, '_>) -> &'c IdedExpr {
    let mut at = root;
    loop {
        let next = candidates(at, context).into_iter().find(|child| {
            let failed = CelValue::resolve_val(child, context).err();
            guard::broken().is_none() && failed.as_ref() == Some(error)
        });
        match next {
            Some(child) => at = child,
            None => return at,
        }
    }
}

fn candidates<'c>(node: &'c IdedExpr, context: &Context<'_, '_>) -> Vec<&'c IdedExpr> {
    match &node.expr {
        Expr::Comprehension(loops) => vec![&loops.iter_range],
        Expr::Call(called) if called.func_name == operators::CONDITIONAL && called.args.len() == 3 => {
            let chosen = CelValue::resolve_val(&called.args[0], context)
                .ok()
                .and_then(|value| value.downcast_ref::<cel::common::types::CelBool>().map(|flag| if *flag.inner() { 1 } else { 2 }));
            chosen.map_or_else(|| vec![&called.args[0]], |index| vec![&called.args[index]])
        }
        _ => children(node),
    }
}

fn sentence(error: &ExecutionError, range: std::ops::Range<usize>) -> Fault {
    let fault = |message: String| Fault::new(range.clone(), message);
    match error {
        ExecutionError::NoSuchKey(key) => {
            fault(format!("there is no `{key}`")).help(format!("write .?{key} with .orValue(…), or ask has(…) first"))
        }
        ExecutionError::NoSuchOverload(overload) => {
            overloaded(overload.function().trim_start_matches('@'), overload.argument_types(), &range)
        }
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let symbol = symbol(operator);
            overloaded(symbol, &[kind(left), kind(right)], &range)
        }
        ExecutionError::ValuesNotComparable(left, right) => overloaded("<", &[kind(left), kind(right)], &range),
        ExecutionError::IndexOutOfBounds(index) => fault(format!("the list has no item {}", number(index))),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => fault("division by zero".to_owned()),
        ExecutionError::Overflow(..) => fault("the number does not fit 64 bits".to_owned()),
        ExecutionError::DuplicateKey(_) => fault("a map names one key twice".to_owned()),
        ExecutionError::UnsupportedKeyType(_) => fault("a key of a map is a string".to_owned()),
        ExecutionError::UnexpectedType { got, want } if want == "iterable" => {
            fault(format!("{} is not a list or map to go through", named(got)))
        }
        ExecutionError::UnexpectedType { got, want } => fault(format!("{} stands where {} is expected", named(got), named(want))),
        ExecutionError::UndeclaredReference(name) => fault(format!("`{}` is not known", name.trim_start_matches('@'))),
        ExecutionError::FunctionError { function, message } if function == "@index" => {
            fault(format!("the name in the brackets is {message}"))
        }
        ExecutionError::FunctionError { function, message } => fault(format!("`{function}`: {}", shown(message))),
        // The remaining ones print values of any size: their kind must do.
        _ => fault("the expression fails here".to_owned()),
    }
}

fn shown(message: &str) -> String {
    let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    line
}

fn overloaded(function: &str, types: &[String], range: &std::ops::Range<usize>) -> Fault {
    let symbol = operators_symbol(function).unwrap_or(function);
    let given: Vec<String> = types.iter().map(|ty| named(ty)).collect();
    let fault = Fault::new(range.clone(), format!("`{symbol}` does not work on {}", given.join(" and ")));
    let numbers = types.iter().any(|ty| ty == "int") && types.iter().any(|ty| ty == "double");
    let text = types.iter().any(|ty| ty == "string") && types.iter().any(|ty| ty == "int" || ty == "double" || ty == "bool");
    if numbers {
        fault.help("make both the same with double(…) or int(…)")
    } else if text {
        fault.help("make text of it with string(…), or a number with int(…)")
    } else if types.iter().any(|ty| ty == "null_type") {
        fault.help("one side is null: test it with `== null` first")
    } else {
        fault
    }
}

fn operators_symbol(function: &str) -> Option<&'static str> {
    Some(match function {
        "_+_" | "add" => "+",
        "_-_" | "sub" => "-",
        "_*_" | "mul" => "*",
        "_/_" | "div" => "/",
        "_%_" | "rem" => "%",
        "_<_" => "<",
        "_<=_" => "<=",
        "_>_" => ">",
        "_>=_" => ">=",
        "_&&_" => "&&",
        "_||_" => "||",
        "!_" => "!",
        "-_" => "-",
        "_[_]" | "_[?_]" => "[ ]",
        "_._" | "_?._" => ".",
        "in" | "@in" => "in",
        _ => return None,
    })
}

fn symbol(operator: &str) -> &str {
    operators_symbol(operator).unwrap_or(operator)
}

/// What a person calls a type of CEL.
fn named(ty: &str) -> String {
    match ty {
        "int" => "an integer",
        "uint" => "an unsigned integer",
        "double" => "a float",
        "string" => "a string",
        "bool" => "a boolean",
        "list" => "a list",
        "map" => "a map",
        "null_type" => "null",
        "bytes" => "bytes",
        "optional_type" => "an optional",
        other => return format!("`{other}`"),
    }
    .to_owned()
}

fn kind(value: &CelValue) -> String {
    match value {
        CelValue::Int(_) => "int",
        CelValue::UInt(_) => "uint",
        CelValue::Float(_) => "double",
        CelValue::String(_) => "string",
        CelValue::Bool(_) => "bool",
        CelValue::List(_) => "list",
        CelValue::Map(_) => "map",
        CelValue::Bytes(_) => "bytes",
        CelValue::Null => "null_type",
        _ => "value",
    }
    .to_owned()
}

/// An index is a number, or a key that may be a secret: only numbers are shown.
fn number(value: &CelValue) -> String {
    match value {
        CelValue::Int(number) => number.to_string(),
        _ => "of that kind".to_owned(),
    }
}
