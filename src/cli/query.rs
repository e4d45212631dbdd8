//! `pmx query`: the value of one expression.

use crate::cli::args::QueryArgs;
use crate::cli::exit::Exit;
use crate::cli::log::store;
use crate::cli::out::Out;
use crate::ops::front::Front;
use crate::ops::query::{self, Question};
use crate::source::Diagnostic;
use crate::value::Value;

/// `pmx query`.
pub fn run(front: &Front, args: &QueryArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let question = Question::parse(&args.cel, args.as_of)?;
    let mut store = store(front)?;
    let value = question.answer(&mut *store, &|| query::definitions(front))?;
    match &value {
        value if out.json => out.json(value),
        Value::List(_) | Value::Map(_) => out.pretty(&value),
        Value::Secret(_) => out.line("[secret]"),
        plain => out.line(plain.to_string()),
    }
    Ok(Exit::Done)
}
