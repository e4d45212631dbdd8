//! Templates against the types that they must fill.

use crate::lang::check::Checker;
use crate::lang::check::fits::fits;
use crate::lang::check::infer::infer;
use crate::lang::check::scene::{Scene, either};
use crate::lang::template::{Expr, Piece, Template};
use crate::lang::types::{Field, Kind, Object, Type};
use crate::source::{Diagnostic, Spanned};
use crate::value::Value;

/// Whether a template can fill `want`; `what` is its name in messages: "`waitSeconds` of fleet.start".
pub(super) fn check(checker: &mut Checker<'_>, scene: &Scene, what: &str, template: &Spanned<Template>, want: &Type) {
    match &template.value {
        Template::Literal(value) => literal(checker, what, template, value, want),
        Template::Expr(expr) => {
            let have = infer(checker, scene, expr);
            expect(checker, what, expr, &have, want);
        }
        Template::Text(pieces) => {
            let have = text(checker, scene, pieces);
            if let Err(why) = fits(&have, want) {
                let complaint = Diagnostic::yours(format!("{what} {why}")).at(&template.span, "");
                checker.complain(complaint.help("text around an expression makes a string"));
            }
        }
        Template::List(items) => match &want.kind {
            Kind::List(item) => items.iter().for_each(|one| check(checker, scene, &format!("an item of {what}"), one, item)),
            // Anything goes, but a secret.
            Kind::Any => items.iter().for_each(|one| check(checker, scene, &format!("an item of {what}"), one, want)),
            _ => mismatch(checker, what, template, "a list", want),
        },
        Template::Map(fields) => match &want.kind {
            Kind::Map(item) => {
                fields.iter().for_each(|(name, one)| check(checker, scene, &format!("`{name}` in {what}"), one, item));
            }
            Kind::Object(known) => object(checker, scene, what, template, (fields.iter(), known)),
            Kind::Any => fields.iter().for_each(|(name, one)| check(checker, scene, &format!("`{name}` in {what}"), one, want)),
            _ => mismatch(checker, what, template, "a table", want),
        },
    }
}

fn literal(checker: &mut Checker<'_>, what: &str, template: &Spanned<Template>, value: &Value, want: &Type) {
    if let Err(why) = want.accepts(value) {
        let complaint = Diagnostic::yours(format!("{what} {why}")).at(&template.span, "");
        checker.complain(match (value, &want.kind) {
            (Value::Int(_) | Value::Float(_) | Value::Bool(_), Kind::String) => complaint.help("write it in quotes"),
            (Value::String(text), Kind::List(_)) => complaint.help(format!("write a list: [\"{text}\"]")),
            _ => complaint,
        });
    } else if want.secret && value.as_str().is_some_and(|text| !text.is_empty()) {
        let complaint = Diagnostic::warning(format!("{what} is a secret in plain text")).at(&template.span, "");
        checker.complain(complaint.help("put it in a vault: ${{ vault.get(\"vault\", \"key\") }}"));
    }
}

fn expect(checker: &mut Checker<'_>, what: &str, expr: &Expr, have: &Type, want: &Type) {
    if let Err(why) = fits(have, want) {
        let complaint = Diagnostic::yours(format!("{what} {why}")).at(&expr.span, "");
        checker.complain(match (&have.kind, &want.kind) {
            (Kind::Int | Kind::Float | Kind::Bool, Kind::String) => complaint.help("make text of it with string(…)"),
            (Kind::String, Kind::Int) => complaint.help("make a number of it with int(…)"),
            _ => complaint,
        });
    }
}

fn mismatch(checker: &mut Checker<'_>, what: &str, template: &Spanned<Template>, given: &str, want: &Type) {
    checker.complain(Diagnostic::yours(format!("{what} is {given}, expected {want}")).at(&template.span, ""));
}

fn object<'t>(
    checker: &mut Checker<'_>,
    scene: &Scene,
    what: &str,
    whole: &Spanned<Template>,
    (fields, known): (impl Iterator<Item = (&'t String, &'t Spanned<Template>)>, &Object),
) {
    let mut given = Vec::new();
    for (name, one) in fields {
        given.push(name);
        match known.get(name) {
            Some(field) => check(checker, scene, &format!("`{name}` in {what}"), one, &field.ty),
            None => {
                let complaint = Diagnostic::yours(format!("{what} has an unknown field `{name}`")).at(&one.span, "");
                checker.complain(crate::lang::check::unknown(complaint, name, known.keys()));
            }
        }
    }
    if let Some((name, _)) = known.iter().find(|(name, field)| field.required && !given.contains(name)) {
        checker.complain(Diagnostic::yours(format!("{what} has no field `{name}`, which is required")).at(&whole.span, ""));
    }
}

/// The type of what a template gives, with complaints about its expressions.
pub(super) fn type_of(checker: &mut Checker<'_>, scene: &Scene, template: &Template) -> Type {
    match template {
        Template::Literal(value) => of_value(value),
        Template::Expr(expr) => infer(checker, scene, expr),
        Template::Text(pieces) => text(checker, scene, pieces),
        Template::List(items) => {
            let types: Vec<Type> = items.iter().map(|item| type_of(checker, scene, &item.value)).collect();
            Type::of(Kind::List(Box::new(types.into_iter().reduce(either).unwrap_or_default())))
        }
        Template::Map(fields) => {
            let mut known = Object::new();
            for (name, field) in fields {
                let ty = type_of(checker, scene, &field.value);
                known.insert(name.clone(), Field { ty, required: true, default: None, doc: String::new() });
            }
            Type::of(Kind::Object(known))
        }
    }
}

fn text(checker: &mut Checker<'_>, scene: &Scene, pieces: &[Piece]) -> Type {
    let mut secret = false;
    for piece in pieces {
        let Piece::Expr(expr) = piece else { continue };
        let ty = infer(checker, scene, expr);
        secret |= ty.secret;
        if matches!(ty.kind, Kind::List(_) | Kind::Map(_) | Kind::Object(_) | Kind::Null) {
            let complaint = Diagnostic::yours(format!("{ty} cannot stand inside a text")).at(&expr.span, "");
            checker.complain(complaint.help("make text of it, such as list.join(\",\")"));
        }
    }
    Type { secret, ..Type::of(Kind::String) }
}

/// The type of a plain value.
pub(super) fn of_value(value: &Value) -> Type {
    Type::of(match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) => Kind::Int,
        Value::Float(_) => Kind::Float,
        Value::String(_) => Kind::String,
        Value::Secret(_) => return Type { secret: true, ..Type::of(Kind::String) },
        Value::List(items) => Kind::List(Box::new(items.iter().map(of_value).reduce(either).unwrap_or_default())),
        Value::Map(map) => {
            let field = |value| Field { ty: of_value(value), required: true, default: None, doc: String::new() };
            Kind::Object(map.iter().map(|(name, value)| (name.clone(), field(value))).collect())
        }
    })
}
