//! Making templates and expressions of texts.

use std::sync::Arc;

use crate::lang::cel::compile::compile;
use crate::lang::cel::program::{Fault, Indexed, Program, RawRef, RawRoot};
use crate::lang::cel::split::{Part, split, trimmed};
use crate::lang::cel::text::Written;
use crate::lang::template::{Expr, Index, Piece, Ref, Root, Template};
use crate::source::{Diagnostic, Span};
use crate::value::Value;

/// Prefixes that only a forgotten `${{ }}` explains, in a string that is one path from end to end.
const LOST: [&str; 5] = ["model.", "inputs.", "each.value", "each.key", "vault.get("];

impl Template {
    /// The template of a text that stands at `span`; everything that is wrong with its expressions at once.
    pub fn parse(text: &str, span: &Span) -> Result<Self, Vec<Diagnostic>> {
        Self::of_written(&Written::plain(text, span))
    }

    /// The template of a text with the way back to its file.
    pub(in crate::lang) fn of_written(written: &Written) -> Result<Self, Vec<Diagnostic>> {
        let parts = split(&written.value)
            .map_err(|wrong| vec![Diagnostic::yours(wrong.message).at(&written.at(wrong.range), "").help(wrong.help)])?;
        let mut complaints = Vec::new();
        let mut pieces = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) => {
                    complaints.extend(lost(&text, written));
                    pieces.push(Piece::Text(text));
                }
                Part::Expr(range) => match Expr::compiled(&written.part(range)) {
                    Ok(expr) => pieces.push(Piece::Expr(expr)),
                    Err(mut wrong) => complaints.append(&mut wrong),
                },
            }
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        Ok(match (pieces.pop(), pieces.is_empty()) {
            (None, _) => Self::Literal(Value::String(String::new())),
            (Some(Piece::Text(text)), true) => Self::Literal(Value::String(text)),
            (Some(Piece::Expr(expr)), true) => Self::Expr(Arc::new(expr)),
            (Some(last), false) => {
                pieces.push(last);
                Self::Text(pieces)
            }
        })
    }

    /// The value, when there is no expression inside.
    pub const fn as_literal(&self) -> Option<&Value> {
        if let Self::Literal(value) = self { Some(value) } else { None }
    }

    /// Whether there is no expression inside.
    pub const fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// Whether `holds` of every expression inside.
    pub fn every(&self, holds: &dyn Fn(&Expr) -> bool) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Expr(expr) => holds(expr),
            Self::Text(pieces) => pieces.iter().all(|piece| if let Piece::Expr(expr) = piece { holds(expr) } else { true }),
            Self::List(items) => items.iter().all(|item| item.value.every(holds)),
            Self::Map(fields) => fields.values().all(|field| field.value.every(holds)),
        }
    }

    /// Every expression inside, in the order of the text.
    pub fn exprs(&self) -> Vec<&Expr> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Expr(expr) => vec![&**expr],
            Self::Text(pieces) => pieces.iter().filter_map(|piece| if let Piece::Expr(expr) = piece { Some(expr) } else { None }).collect(),
            Self::List(items) => items.iter().flat_map(|item| item.value.exprs()).collect(),
            Self::Map(fields) => fields.values().flat_map(|field| field.value.exprs()).collect(),
        }
    }

    /// Every reference of every expression inside.
    pub fn refs(&self) -> impl Iterator<Item = &Ref> {
        self.exprs().into_iter().flat_map(|expr| &*expr.refs)
    }
}

impl Expr {
    /// The expression of a text that stands at `span`, with or without `${{ }}` around it.
    pub fn parse(text: &str, span: &Span) -> Result<Self, Vec<Diagnostic>> {
        Self::of_written(&Written::plain(text, span))
    }

    /// The expression of a text with the way back to its file, with or without `${{ }}` around it.
    pub(in crate::lang) fn of_written(written: &Written) -> Result<Self, Vec<Diagnostic>> {
        let all = trimmed(&written.value, 0..written.value.len());
        if !written.value[all.clone()].starts_with("${{") {
            return Self::compiled(&written.part(all));
        }
        match split(&written.value[all.clone()]) {
            Ok(parts) => match parts.as_slice() {
                [Part::Expr(range)] => Self::compiled(&written.part(all.start + range.start..all.start + range.end)),
                _ => {
                    Err(vec![Diagnostic::yours("text stands beside the expression").at(&written.inner(), "").help("write one expression")])
                }
            },
            Err(wrong) => Err(vec![Diagnostic::yours(wrong.message).at(&written.inner(), "").help(wrong.help)]),
        }
    }

    fn compiled(written: &Written) -> Result<Self, Vec<Diagnostic>> {
        match compile(&written.value) {
            Ok(program) => Ok(Self::of_program(program, written)),
            Err(faults) => Err(faults.into_iter().map(|fault| complaint(fault, written)).collect()),
        }
    }

    fn of_program(program: Arc<Program>, written: &Written) -> Self {
        let refs = program.refs.iter().map(|raw| reference(raw, written)).collect();
        Self { span: written.inner(), refs, program, written: Arc::new(written.clone()) }
    }

    /// Whether evaluating it needs neither CEL nor a vault: a plain path.
    pub fn is_plain(&self) -> bool {
        self.program.fast.is_some() && !self.refs.iter().any(|reference| matches!(*reference.root, Root::Vault(..)))
    }

    /// What was written, without the `${{ }}`.
    pub fn text(&self) -> &str {
        &self.program.text
    }
}

fn reference(raw: &RawRef, written: &Written) -> Ref {
    let root = match &raw.root {
        RawRoot::Whole(root) => Arc::clone(root),
        RawRoot::Indexed(indexed) => {
            let Indexed { def, spec, index: (program, range), path } = &**indexed;
            let index = Expr::of_program(Arc::clone(program), &written.part(range.clone()));
            let instance = Index::Computed(Box::new(index));
            Arc::new(Root::Resource { def: def.clone(), spec: spec.clone(), instance, path: path.clone() })
        }
    };
    Ref { root, span: written.at(raw.range.clone()), optional: raw.optional }
}

/// A fault of an expression as a complaint about its file.
pub(in crate::lang) fn complaint(fault: Fault, written: &Written) -> Diagnostic {
    let complaint = Diagnostic::yours(fault.message).at(&written.at(fault.range), "");
    match fault.help {
        Some(help) => complaint.help(help),
        None => complaint,
    }
}

/// Text that was meant as an expression: a lost `$`, brace, or both.
fn lost(text: &str, written: &Written) -> Option<Diagnostic> {
    let rooted = |inside: &str| {
        let inside = inside.trim_start();
        LOST.iter().chain(&["env.", "self.", "run."]).any(|prefix| inside.starts_with(prefix))
    };
    let braces = ["{{", "${", "$(", "{%"].into_iter().find(|open| text.match_indices(open).any(|(at, _)| rooted(&text[at + open.len()..])));
    if let Some(open) = braces {
        let message = format!("`{open}` does not begin an expression");
        return Some(Diagnostic::yours(message).at(&written.inner(), "").help("write ${{ … }}"));
    }
    let path = |c: char| c.is_alphanumeric() || "._-[]()\"', ?".contains(c);
    let whole =
        text == written.value && text.chars().all(path) && !text.contains(". ") && LOST.iter().any(|prefix| text.starts_with(prefix));
    let closed = !text.starts_with("vault.get(") || text.ends_with(')');
    let single = !text.starts_with("inputs.") && !text.starts_with("model.") || !text.contains(' ') || text.contains('"');
    if whole && closed && single {
        let complaint = Diagnostic::yours(format!("`{text}` is plain text here")).at(&written.inner(), "");
        return Some(complaint.help(format!("write ${{{{ {text} }}}} to read it")));
    }
    None
}
