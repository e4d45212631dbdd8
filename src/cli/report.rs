//! Complaints on the terminal: the message, the file with line and caret, and what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use crate::source::{Diagnostic, Fault, Severity, floor};

/// One complaint as text, without a final newline.
pub fn render(complaint: &Diagnostic, colour: bool) -> String {
    let level = match (complaint.severity, complaint.fault) {
        (Severity::Warning, _) => Level::WARNING,
        (Severity::Error, Fault::Refused) => Level::ERROR.with_name("refused"),
        (Severity::Error, Fault::Ours) => Level::ERROR.with_name("bug"),
        (Severity::Error, _) => Level::ERROR,
    };
    let mut group: Group<'_> = Group::with_title(level.primary_title(complaint.message.as_str()));
    let primary = complaint.at.iter().map(|(span, label)| (span, label, AnnotationKind::Primary));
    let others = complaint.also.iter().map(|(span, label)| (span, label, AnnotationKind::Context));
    for (span, label, kind) in primary.chain(others) {
        let path = span.source.name.to_string_lossy().into_owned();
        let mut annotation = kind.span(clamp(&span.source.text, span.range()));
        if !label.is_empty() {
            annotation = annotation.label(label.as_str());
        }
        group = group.element(Snippet::source(span.source.text.as_str()).path(path).annotation(annotation));
    }
    if let Some(help) = &complaint.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group]).trim_end().to_owned()
}

/// A range that fits the text and ends on characters: a caret must never bring the report down.
fn clamp(text: &str, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = floor(text, range.start);
    start..floor(text, range.end).max(start)
}

/// A complaint as JSON: severity, fault, message, help, and the place as file, line, column.
#[derive(Serialize)]
pub struct JsonComplaint {
    severity: &'static str,
    fault: &'static str,
    message: String,
    help: Option<String>,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
}

impl From<&Diagnostic> for JsonComplaint {
    fn from(complaint: &Diagnostic) -> Self {
        let place = complaint.at.as_ref().map(|(span, _)| (span, span.source.line_column(span.start())));
        Self {
            severity: if complaint.severity == Severity::Error { "error" } else { "warning" },
            fault: match complaint.fault {
                Fault::Yours => "yours",
                Fault::Theirs => "theirs",
                Fault::Refused => "refused",
                Fault::Ours => "ours",
            },
            message: complaint.message.clone(),
            help: complaint.help.clone(),
            file: place.map(|(span, _)| span.source.name.display().to_string()),
            line: place.map(|(_, (line, _))| line),
            column: place.map(|(_, (_, column))| column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, Span};

    #[test]
    fn a_complaint_shows_file_line_and_caret() {
        let source = Source::new("workflows/x.toml", "[[step]]\nnam = \"a\"\n");
        let complaint = Diagnostic::yours("unknown key `nam`").at(&Span::new(&source, 9..12), "").help("did you mean `name`?");
        insta::assert_snapshot!(render(&complaint, false), @r#"
        error: unknown key `nam`
         --> workflows/x.toml:2:1
          |
        2 | nam = "a"
          | ^^^
          |
          = help: did you mean `name`?
        "#);
    }

    #[test]
    fn spans_outside_the_text_do_not_panic() {
        let source = Source::new("x", "ü");
        let complaint = Diagnostic::yours("odd").at(&Span::new(&source, 1..99), "here");
        assert!(render(&complaint, true).contains("odd"));
    }
}
