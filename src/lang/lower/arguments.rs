//! Argument tables: values of any shape with templates in their strings.

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::lang::definition::{Argument, Arguments};
use crate::lang::lower::tree::{Node, Reader, Table, whole};
use crate::lang::template::Template;
use crate::source::{Diagnostic, Spanned};
use crate::value::{Map, Value};

/// Deepest nesting of an argument: deeper ones would overflow the stacks of everything that walks values.
const DEEPEST: usize = 32;

/// Every entry of the table as an argument.
pub(in crate::lang) fn read(reader: &mut Reader, table: &Table<'_>) -> Arguments {
    let mut arguments = Arguments::with_capacity(table.entries.len());
    for (key, node) in table.entries {
        let name = Spanned::new(key.get_ref().to_string(), reader.span(key));
        reader.check_name(&name, "the name of an argument");
        if let Some(template) = template(reader, &name.value, node, 0) {
            let span = template.span;
            arguments.insert(name.value, Argument { key: name.span, template: Spanned::new(template.value, span) });
        }
    }
    arguments
}

/// One value as a template; `None` after a complaint.
pub(in crate::lang) fn template(reader: &mut Reader, what: &str, node: &Node<'_>, depth: usize) -> Option<Spanned<Template>> {
    let span = reader.span(node);
    if depth > DEEPEST {
        reader.complain(Diagnostic::yours(format!("`{what}` is nested deeper than {DEEPEST} levels")).at(&span, ""));
        return None;
    }
    let template = match node.get_ref() {
        DeValue::String(text) => match Template::of_written(&reader.written(node, text)) {
            Ok(template) => template,
            Err(complaints) => {
                complaints.into_iter().for_each(|complaint| reader.complain(complaint));
                return None;
            }
        },
        DeValue::Integer(_) => match whole(node.get_ref()) {
            Some(number) => Template::Literal(Value::Int(number)),
            None => {
                reader.wrong_type(&format!("`{what}`"), "an integer of 64 bits", node);
                return None;
            }
        },
        DeValue::Float(number) => Template::Literal(Value::Float(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))),
        DeValue::Boolean(flag) => Template::Literal(Value::Bool(*flag)),
        DeValue::Datetime(_) => {
            reader.wrong_type(&format!("`{what}`"), "a string, number, boolean, list or table", node);
            return None;
        }
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| template(reader, what, item, depth + 1)).collect();
            list(items.into_iter().collect::<Option<Vec<_>>>()?)
        }
        DeValue::Table(entries) => {
            let mut fields = BTreeMap::new();
            for (key, item) in entries {
                let field = template(reader, &format!("{what}.{}", key.get_ref()), item, depth + 1);
                fields.insert(key.get_ref().to_string(), field);
            }
            map(fields.into_iter().map(|(key, field)| field.map(|field| (key, field))).collect::<Option<BTreeMap<_, _>>>()?)
        }
    };
    Some(Spanned::new(template, span))
}

fn list(items: Vec<Spanned<Template>>) -> Template {
    let literals: Option<Vec<Value>> = items.iter().map(|item| item.value.as_literal().cloned()).collect();
    literals.map_or(Template::List(items), |values| Template::Literal(Value::List(values)))
}

fn map(fields: BTreeMap<String, Spanned<Template>>) -> Template {
    let literals: Option<Map> = fields.iter().map(|(key, field)| Some((key.clone(), field.value.as_literal()?.clone()))).collect();
    literals.map_or(Template::Map(fields), |values| Template::Literal(Value::Map(values)))
}

/// A value without expressions, for defaults and words of an enum.
pub(in crate::lang) fn literal(reader: &mut Reader, what: &str, node: &Node<'_>) -> Option<Value> {
    let template = template(reader, what, node, 0)?;
    if let Some(value) = template.value.as_literal() {
        return Some(value.clone());
    }
    let complaint = Diagnostic::yours(format!("`{what}` must be a plain value, not an expression")).at(&template.span, "");
    reader.complain(complaint.help("a step's `with` may hold expressions"));
    None
}
