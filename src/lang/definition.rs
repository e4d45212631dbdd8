//! Definitions: named instances of model types, one file each.

use std::collections::BTreeMap;
use std::sync::Arc;

use litemap::LiteMap;

use crate::lang::template::Template;
use crate::source::{Diagnostic, Source, Span, Spanned};

/// Arguments by name.
pub type Arguments = LiteMap<String, Argument>;

/// One argument as written.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Where its key stands.
    pub key: Span,
    /// What it is set to.
    pub template: Spanned<Template>,
}

/// One definition; the file's stem is its name.
#[derive(Clone, Debug)]
pub struct Definition {
    /// `fleet`.
    pub name: String,
    /// The file.
    pub source: Arc<Source>,
    /// `type`, such as `proxmox/vm`.
    pub kind: Spanned<String>,
    /// One sentence.
    pub description: Option<String>,
    /// `[global]`.
    pub global: Arguments,
    /// `[methods.<m>]`: defaults of one method's arguments.
    pub methods: BTreeMap<String, (Span, Arguments)>,
}

/// The definition; its name is the stem of the file's name, and all that is wrong with the file at once; `None` when too little is right to go on.
pub fn parse(source: &Arc<Source>) -> (Option<Definition>, Vec<Diagnostic>) {
    crate::lang::lower::definition::parse(source)
}
