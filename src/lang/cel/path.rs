//! Plain paths, `model.fleet.resource.vm["calamity"].attributes.ip`: the commonest expressions, read without CEL's parser and without a thread for it.
//!
//! What is read here is read as CEL reads it, node for node and place for place: a test compares the two. Whatever is not plainly such a path is left to
//! CEL, which also says what is wrong with it.

use std::collections::BTreeMap;
use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, SelectExpr, operators};

/// Names that a path begins with; `vault` begins a call.
const ROOTS: [&str; 6] = ["inputs", "model", "each", "run", "self", "env"];
/// Words that are no names to CEL.
const WORDS: [&str; 4] = ["in", "true", "false", "null"];
/// More links than any path has: the walks over a tree recurse once per link.
const LONGEST: usize = 16;

/// A tree with the places of its nodes.
pub(in crate::lang) type Tree = (IdedExpr, BTreeMap<u64, Range<usize>>);

/// The tree of a plain path; `None` when the text is something else.
pub(in crate::lang) fn parse(text: &str) -> Option<Tree> {
    let end = name(text)?;
    ROOTS.contains(&&text[..end]).then_some(())?;
    let mut path = Path { text, at: end, ids: 0, places: BTreeMap::new() };
    let mut tree = path.node(Expr::Ident(text[..end].to_owned()), 0..end);
    for _ in 0..LONGEST {
        let rest = &text[path.at..];
        if rest.is_empty() {
            return Some((tree, path.places));
        }
        tree = match rest.strip_prefix('.') {
            Some(rest) => path.select(tree, rest)?,
            None => path.index(tree, rest.strip_prefix('[')?)?,
        };
    }
    None
}

/// How many bytes of the beginning are a name.
fn name(text: &str) -> Option<usize> {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let end = text.bytes().position(|byte| !inside(byte)).unwrap_or(text.len());
    let begins = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    (begins && end > 0 && !WORDS.contains(&&text[..end])).then_some(end)
}

/// A path being read: ids count nodes as CEL's parser does, in the order in which it meets them.
struct Path<'t> {
    text: &'t str,
    at: usize,
    ids: u64,
    places: BTreeMap<u64, Range<usize>>,
}

impl Path<'_> {
    fn node(&mut self, expr: Expr, place: Range<usize>) -> IdedExpr {
        self.ids += 1;
        self.places.insert(self.ids, place);
        IdedExpr { id: self.ids, expr }
    }

    /// `.name`; `rest` follows the dot.
    fn select(&mut self, operand: IdedExpr, rest: &str) -> Option<IdedExpr> {
        let field = &rest[..name(rest)?];
        self.at += 1 + field.len();
        let select = SelectExpr { operand: Box::new(operand), field: field.to_owned(), test: false };
        Some(self.node(Expr::Select(select), 0..self.at))
    }

    /// `["name"]`; `rest` follows the bracket.
    fn index(&mut self, target: IdedExpr, rest: &str) -> Option<IdedExpr> {
        let quote = rest.chars().next().filter(|quote| ['"', '\''].contains(quote))?;
        let inside = &rest[1..];
        let length = inside.find(quote)?;
        let key = &inside[..length];
        // An empty text may be the beginning of one between triple quotes; escapes are CEL's to undo.
        if key.is_empty() || key.contains(|c: char| c == '\\' || c.is_control()) || !inside[length + 1..].starts_with(']') {
            return None;
        }
        let literal = self.at + 1..self.at + 1 + length + 2;
        debug_assert_eq!(self.text[literal.clone()].len(), length + 2);
        self.at = literal.end + 1;
        let mut call = self.node(Expr::Unspecified, 0..self.at);
        let key = self.node(Expr::Literal(LiteralValue::String(key.to_owned().into())), literal);
        call.expr = Expr::Call(CallExpr { func_name: operators::INDEX.to_owned(), target: None, args: vec![target, key] });
        Some(call)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lang::cel::{ast, compile};

    /// Whether it is read here; if so, CEL must read the same.
    fn same(text: &str) -> bool {
        let Some((tree, places)) = parse(text) else { return false };
        let (theirs, info) = compile::tree(text).unwrap_or_else(|errors| panic!("CEL refuses {text:?}: {:?}", errors.errors.len()));
        assert_eq!(tree, theirs, "{text:?}");
        assert_eq!(places, ast::places(&theirs, &info, text), "{text:?}");
        true
    }

    #[test]
    fn the_commonest_paths_are_read_here_and_as_cel_reads_them() {
        for text in [
            "inputs.vmName",
            "self.name",
            "each.value",
            "each.value.list",
            "env.HOME",
            "run.id",
            "inputs",
            "model.keebDev02.resource.node.node.attributes.ticket",
            "model.fleet.resource.vm[\"calamity\"].attributes.ip",
            "model.fleet.resource['vm'][\"all the mons\"].attributes['ip']",
            "model.a.resource.b[\"é[x].y\"].c_1._d",
            "model.a.resource.b[\"it's\"].c",
        ] {
            assert!(same(text), "{text}");
        }
    }

    #[test]
    fn what_is_something_else_is_left_to_cel() {
        for text in [
            "",
            " inputs.x",
            "inputs.x ",
            "inputs.",
            "inputs.x.",
            "inputs..x",
            "inputs.1x",
            "inputs.in",
            "inputs.true",
            "inputs.x[0]",
            "inputs[\"\"]",
            "inputs[\"\"\"x\"\"\"]",
            "inputs[\"a\\n\"]",
            "inputs[\"a\nb\"]",
            "inputs.?x",
            "inputs.x()",
            "inputs.x + 1",
            "inputs.`a-b`",
            "vault.get(\"a\", \"b\")",
            "fleet.x",
            "inputs\"x\"",
            "inputs.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a",
        ] {
            assert_eq!(parse(text).map(|(tree, _)| tree), None, "{text:?}");
        }
    }

    #[test]
    fn words_that_cel_reserves_are_fields_to_both_or_to_neither() {
        let reserved = ["as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package"];
        let more = ["namespace", "return", "var", "void", "while", "has", "all", "type", "int", "_", "__x", "r", "b", "rb"];
        for word in reserved.into_iter().chain(more) {
            same(&format!("inputs.{word}"));
            same(&format!("inputs.a.{word}[\"{word}\"]"));
        }
    }

    proptest! {
        #![proptest_config(crate::walks::cases(2000))]

        #[test]
        fn whatever_is_read_here_is_read_alike_by_cel(text in "(inputs|model|each|self|run|env|vault|x)((\\.[a-z_]{1,3}[0-9A-Z]?)|(\\[\"[ -~é]{0,4}\"\\])|(\\['[ -~]{0,3}'\\])|(\\.?[ -~]))*") {
            same(&text);
        }
    }
}
