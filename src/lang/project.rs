//! A whole project out of its sources.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::lang::{Project, definition, pmxfile, workflow};
use crate::source::{Diagnostic, Severity, Source, Span};

/// The files of a project, read by whoever may read files.
#[derive(Clone, Debug)]
pub struct Sources {
    /// `Pmxfile.toml`.
    pub pmxfile: Arc<Source>,
    /// `definitions/*.toml`; the stem of each name is the definition's name.
    pub definitions: Vec<Arc<Source>>,
    /// `workflows/*.toml`, likewise.
    pub workflows: Vec<Arc<Source>>,
}

/// Most files of one kind: a bound for hostile trees.
const MOST_FILES: usize = 10_000;

/// The project and everything that is wrong with its files, sorted by file and place. The project is there when the Pmxfile could be read; files that
/// could not be lowered are missing in it, so check for errors before using it.
pub fn parse(sources: &Sources) -> (Option<Project>, Vec<Diagnostic>) {
    let (pmxfile, mut complaints) = pmxfile::parse(&sources.pmxfile);
    let definitions = each(&sources.definitions, &mut complaints, definition::parse, |definition| definition.name.clone());
    let workflows = each(&sources.workflows, &mut complaints, workflow::parse, |workflow| workflow.name.clone());
    sort(&mut complaints);
    (pmxfile.map(|pmxfile| Project { pmxfile, definitions, workflows }), complaints)
}

fn each<T>(
    sources: &[Arc<Source>],
    complaints: &mut Vec<Diagnostic>,
    parse: impl Fn(&Arc<Source>) -> (Option<T>, Vec<Diagnostic>),
    name: impl Fn(&T) -> String,
) -> BTreeMap<String, T> {
    let mut found: BTreeMap<String, (Arc<Source>, T)> = BTreeMap::new();
    if let Some(source) = sources.get(MOST_FILES) {
        complaints.push(Diagnostic::yours(format!("more than {MOST_FILES} files")).at(&Span::new(source, 0..0), ""));
    }
    for source in sources.iter().take(MOST_FILES) {
        let (parsed, mut found_complaints) = parse(source);
        complaints.append(&mut found_complaints);
        let Some(parsed) = parsed else { continue };
        let name = name(&parsed);
        if let Some((first, _)) = found.get(&name) {
            let complaint = Diagnostic::yours(format!("two files are called `{name}`")).at(&Span::new(source, 0..0), "");
            complaints.push(complaint.also(&Span::new(first, 0..0), "the first one"));
            continue;
        }
        found.insert(name, (Arc::clone(source), parsed));
    }
    found.into_iter().map(|(name, (_, parsed))| (name, parsed)).collect()
}

/// Puts complaints in the order of a reader: by file, then by place, errors first where they share one.
pub fn sort(complaints: &mut [Diagnostic]) {
    let key = |complaint: &Diagnostic| {
        let place = complaint.at.as_ref().map(|(span, _)| (span.source.name.clone(), span.start()));
        (place, complaint.severity, complaint.message.clone())
    };
    complaints.sort_by_cached_key(key);
}

/// Whether one of them is an error.
pub fn has_errors(complaints: &[Diagnostic]) -> bool {
    complaints.iter().any(|complaint| complaint.severity == Severity::Error)
}
