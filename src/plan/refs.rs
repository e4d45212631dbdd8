//! References: every reference of a template, and the inputs that a set of templates needs.

use crate::lang::template::{Expr, Piece, Ref, Root, Template};
use crate::plan::graph::Frame;
use crate::plan::known::missing_input;
use crate::source::Diagnostic;

/// Calls `visit` with every expression of `template`, in the order of the text.
pub(super) fn each_expr<'t>(template: &'t Template, visit: &mut dyn FnMut(&'t Expr)) {
    match template {
        Template::Literal(_) => {}
        Template::Expr(expr) => visit(expr),
        Template::Text(pieces) => pieces.iter().for_each(|piece| {
            if let Piece::Expr(expr) = piece {
                visit(expr);
            }
        }),
        Template::List(items) => items.iter().for_each(|item| each_expr(&item.value, visit)),
        Template::Map(fields) => fields.values().for_each(|item| each_expr(&item.value, visit)),
    }
}

/// Calls `visit` with every reference of `template`, in the order of the text.
pub fn each_ref<'t>(template: &'t Template, visit: &mut dyn FnMut(&'t Ref)) {
    each_expr(template, &mut |expr| expr.refs.iter().for_each(&mut *visit));
}

/// The names of the inputs that `template` reads.
pub(super) fn inputs_read(template: &Template) -> Vec<&str> {
    let mut names = Vec::new();
    each_ref(template, &mut |reference| {
        if let Root::Input(Some(name)) = &*reference.root {
            names.push(name.as_str());
        }
    });
    names
}

/// The complaint about the first input that `template` reads and `frame` lacks.
pub(super) fn missing_in(template: &Template, frame: &Frame) -> Option<Diagnostic> {
    let mut missing = None;
    each_ref(template, &mut |reference| match &*reference.root {
        Root::Input(Some(name)) if missing.is_none() && !reference.optional && !frame.inputs.contains_key(name) => {
            missing = Some(missing_input(name, &reference.span, frame));
        }
        _ => {}
    });
    missing
}
