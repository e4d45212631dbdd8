//! Lowering of `[input.<name>]`: type, default, pattern and enum checked against each other.

use crate::lang::lower::arguments;
use crate::lang::lower::tree::{Reader, Table};
use crate::lang::types::{Field, Kind, Type};
use crate::source::{Diagnostic, Span, Spanned};
use crate::value::Value;

const TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "list", "map"];

/// One input.
pub(in crate::lang) fn read(reader: &mut Reader, name: &Spanned<String>, table: &Table<'_>) -> Spanned<Field> {
    reader.known(table, &["type", "description", "default", "pattern", "enum"]);
    check_identifier(reader, name);
    let mut ty = kind(reader, table);
    words(reader, table, &mut ty);
    pattern(reader, table, &mut ty);
    let default = table.entries.get("default").and_then(|node| {
        let value = arguments::literal(reader, "default", node)?;
        let span = reader.span(node);
        if let Err(why) = ty.accepts(&value) {
            reader.complain(Diagnostic::yours(format!("the default of input `{}` {why}", name.value)).at(&span, ""));
        }
        Some(ty.shape(value))
    });
    let doc = reader.string(table, "description").map(|text| text.value).unwrap_or_default();
    Spanned::new(Field { ty, required: default.is_none(), default, doc }, name.span.clone())
}

fn check_identifier(reader: &mut Reader, name: &Spanned<String>) {
    let first = name.value.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let plain = first && name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !plain && !name.value.trim().is_empty() {
        let complaint = Diagnostic::yours(format!("`{}` cannot be the name of an input", name.value)).at(&name.span, "");
        reader.complain(complaint.help("expressions read it as `inputs.name`: letters, digits and `_`, a letter first"));
    }
}

fn kind(reader: &mut Reader, table: &Table<'_>) -> Type {
    if !table.entries.contains_key("type") {
        reader.missing(table, "type", "type = \"string\"");
    }
    let any = Type::default();
    let Some(word) = reader.filled(table, "type") else { return any };
    Type::of(match word.value.as_str() {
        "string" => Kind::String,
        "number" => Kind::Float,
        "integer" => Kind::Int,
        "boolean" => Kind::Bool,
        "list" => Kind::List(Box::new(any)),
        "map" => Kind::Map(Box::new(any)),
        other => {
            let complaint = Diagnostic::yours(format!("`{other}` is not a type of inputs")).at(&word.span, "");
            let near = crate::name::nearest(other, TYPES).map(|near| format!("did you mean `{near}`?"));
            reader.complain(complaint.help(near.unwrap_or_else(|| format!("types are {}", TYPES.join(", ")))));
            return any;
        }
    })
}

fn words(reader: &mut Reader, table: &Table<'_>, ty: &mut Type) {
    let Some(words) = reader.strings(table, "enum") else { return };
    if !matches!(ty.kind, Kind::String | Kind::Any) {
        reader.complain(Diagnostic::yours(format!("`enum` is for strings, this input is of type {ty}")).at(&words.span, ""));
        return;
    }
    if words.value.is_empty() {
        reader.complain(Diagnostic::yours("`enum` names no word").at(&words.span, ""));
        return;
    }
    let mut known: Vec<String> = Vec::new();
    for word in words.value {
        if known.contains(&word.value) {
            reader.complain(Diagnostic::yours(format!("`enum` names `{}` twice", word.value)).at(&word.span, ""));
        }
        known.push(word.value);
    }
    ty.kind = Kind::Enum(known);
}

fn pattern(reader: &mut Reader, table: &Table<'_>, ty: &mut Type) {
    let Some(pattern) = reader.filled(table, "pattern") else { return };
    if !matches!(ty.kind, Kind::String | Kind::Enum(_) | Kind::Any) {
        reader.complain(Diagnostic::yours(format!("`pattern` is for strings, this input is of type {ty}")).at(&pattern.span, ""));
        return;
    }
    match crate::lang::cel::pattern::check(&pattern.value) {
        Ok(()) => ty.pattern = Some(pattern.value),
        Err(why) => {
            reader.complain(Diagnostic::yours(format!("`{}` is not a regular expression: {why}", pattern.value)).at(&pattern.span, ""));
            return;
        }
    }
    let Kind::Enum(words) = &ty.kind else { return };
    let strangers: Vec<String> = words.iter().filter(|word| ty.accepts(&Value::String((*word).clone())).is_err()).cloned().collect();
    if let Some(word) = strangers.first() {
        let span = table.entries.get("enum").map(|node| reader.span(node)).unwrap_or_else(|| Span::new(&reader.source, 0..0));
        reader.complain(Diagnostic::yours(format!("the word `{word}` of `enum` does not match `pattern`")).at(&span, ""));
    }
}
