//! Why: the reason for which a step of a run ran or did not, what its action key was made of, and which versions it read beside that.

use serde::Serialize;

use crate::digest::Digest;
use crate::event::{Ending, Event, Stamped, Time};
use crate::exec::past;
use crate::ops::history::trouble;
use crate::ops::{recipe, runs};
use crate::plan::key::{Field, Manifest};
use crate::source::Diagnostic;
use crate::store::Store;
use crate::store::words::{ActionRecord, RunRow};

/// Everything that is known of why.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    /// The run.
    pub run: String,
    /// The step.
    pub step: String,
    /// What it calls.
    pub call: String,
    /// Why it ran, or why not: the verdict in a sentence.
    pub verdict: String,
    /// How it ended; null when it did not, or was never reached.
    pub ending: Option<Ending>,
    /// What it did.
    pub summary: Option<String>,
    /// The action key; null when it never came to that.
    pub key: Option<Digest>,
    /// What the key is made of, by path.
    pub made_of: Vec<Field>,
    /// What differs from the call of the same subject before it; null when there was none.
    pub before: Option<Before>,
    /// The versions that its expressions read: no part of the key.
    pub reads: Vec<ReadVersion>,
    /// What it waited for, and why.
    pub waited_for: Vec<WaitedFor>,
}

/// The call of the same subject before this one.
#[derive(Clone, Debug, Serialize)]
pub struct Before {
    /// Its run.
    pub run: String,
    /// When it ended.
    pub at: Time,
    /// What differs; null when its arguments are not kept any more.
    pub differences: Option<Vec<Differs>>,
}

/// One part of the key that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// Its path.
    pub field: String,
    /// What it was; null when it was not set.
    pub old: Option<String>,
    /// What it is; null when it is not set any more.
    pub new: Option<String>,
    /// Both in a sentence.
    #[serde(skip)]
    pub sentence: String,
}

/// One version that was read.
#[derive(Clone, Debug, Serialize)]
pub struct ReadVersion {
    /// The resource.
    pub resource: String,
    /// Its number; null when the version is not here any more.
    pub version: Option<u64>,
    /// When it was written.
    pub at: Option<Time>,
    /// By which call.
    pub call: Option<String>,
    /// Of which run.
    pub run: Option<String>,
}

/// One action that it waited for.
#[derive(Clone, Debug, Serialize)]
pub struct WaitedFor {
    /// The step.
    pub step: String,
    /// Why, a sentence for each conflict.
    pub why: Vec<String>,
}

/// Runs that are looked through for an earlier call.
const RUNS: usize = 500;

/// Why `step` of the run that `part` names ran or did not.
pub fn why(store: &mut dyn Store, part: &str, step: &str) -> Result<Why, Vec<Diagnostic>> {
    let row = runs::find(store, part)?;
    let journal = past::journal(store, &row.id).map_err(|e| trouble(&e))?;
    let planned = planned(store, &row);
    let step = find_step(&row, step, (&journal, &planned)).map_err(|d| vec![d])?;
    let told = Told::of(&journal, &step);
    let line = planned.iter().find(|line| line.step == step);
    let record = past::records(store, &row.id, &journal).map_err(|e| trouble(&e))?.into_iter().rfind(|record| record.made.step == step);
    let call = told.call.clone().or_else(|| line.map(|line| line.call.clone())).unwrap_or_default();
    let mut why = Why {
        run: row.id.as_str().to_owned(),
        verdict: told.verdict(&row),
        step,
        call,
        ending: told.ending,
        summary: told.summary,
        key: None,
        made_of: Vec::new(),
        before: None,
        reads: Vec::new(),
        waited_for: line.map(|line| line.waits.clone()).unwrap_or_default(),
    };
    if let Some(record) = record {
        explain(store, &row, &record, &mut why)?;
    }
    Ok(why)
}

/// What the record adds: the key with its parts, the call before, the versions read.
fn explain(store: &mut dyn Store, row: &RunRow, record: &ActionRecord, why: &mut Why) -> Result<(), Vec<Diagnostic>> {
    let manifest = manifest(store, record)?;
    why.key = Some(record.made.key);
    why.made_of = manifest.as_ref().map(Manifest::walk).unwrap_or_default();
    why.before = before(store, row, record, manifest.as_ref())?;
    for (name, digest) in &record.reads {
        let version = store.version(digest).map_err(|e| trouble(&e))?;
        why.reads.push(ReadVersion {
            resource: name.to_string(),
            version: version.as_ref().map(|version| version.number),
            at: version.as_ref().map(|version| version.made.at),
            call: version.as_ref().map(|version| version.made.call.clone()),
            run: version.map(|version| version.made.run.as_str().to_owned()),
        });
    }
    Ok(())
}

fn manifest(store: &mut dyn Store, record: &ActionRecord) -> Result<Option<Manifest>, Vec<Diagnostic>> {
    let bytes = store.blob(&record.manifest).map_err(|e| trouble(&e))?;
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Manifest::stored))
}

/// The newest call of the same subject that was over before this run began, or earlier in this run.
fn before(
    store: &mut dyn Store,
    row: &RunRow,
    record: &ActionRecord,
    manifest: Option<&Manifest>,
) -> Result<Option<Before>, Vec<Diagnostic>> {
    let rows = store.runs(RUNS).map_err(|e| trouble(&e))?;
    for other in rows.into_iter().filter(|other| other.began <= row.began) {
        let records = store.records(&other.id).map_err(|e| trouble(&e))?;
        let earlier = |found: &ActionRecord| found.subject == record.subject && found.made.at < record.made.at && found.succeeded();
        let Some(found) = records.into_iter().rfind(earlier) else { continue };
        let old = self::manifest(store, &found)?;
        let differences = manifest.zip(old).map(|(new, old)| {
            let each = new.differences(&old).into_iter();
            each.map(|one| Differs { sentence: one.to_string(), field: one.field, old: one.old, new: one.new }).collect()
        });
        return Ok(Some(Before { run: found.made.run.as_str().to_owned(), at: found.made.at, differences }));
    }
    Ok(None)
}

/// One action of the graph as it was planned.
struct Line {
    step: String,
    call: String,
    waits: Vec<WaitedFor>,
}

/// The graph as it was drawn; empty when the drawing is not kept any more.
fn planned(store: &mut dyn Store, row: &RunRow) -> Vec<Line> {
    let Ok((_, drawing)) = recipe::find_recipe(store, row) else { return Vec::new() };
    let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let each = |value: &serde_json::Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let wait = |wait: &serde_json::Value| WaitedFor {
        step: text(wait, "step"),
        why: each(wait, "why").iter().filter_map(|why| why.as_str().map(str::to_owned)).collect(),
    };
    let line = |action: &serde_json::Value| Line {
        step: text(action, "step"),
        call: text(action, "call"),
        waits: each(action, "after").iter().map(wait).collect(),
    };
    each(&drawing, "actions").iter().map(line).collect()
}

/// The step that was meant: its whole path, or its last part where that is plain enough.
fn find_step(row: &RunRow, given: &str, (journal, planned): (&[Stamped], &[Line])) -> Result<String, Diagnostic> {
    let told = journal.iter().filter_map(|line| match &line.event {
        Event::ActionStarted { step, .. } | Event::ActionFinished { step, .. } => Some(step.clone()),
        _ => None,
    });
    let mut steps: Vec<String> = planned.iter().map(|line| line.step.clone()).chain(told).collect();
    steps.sort();
    steps.dedup();
    if steps.iter().any(|step| step == given) {
        return Ok(given.to_owned());
    }
    let fits: Vec<&String> = steps.iter().filter(|step| step.rsplit('/').next() == Some(given)).collect();
    match fits[..] {
        [only] => Ok(only.clone()),
        [] => {
            Err(Diagnostic::yours(format!("run {} has no step `{given}`", row.id.short()))
                .help(format!("its steps are {}", steps.join(", "))))
        }
        _ => {
            let named: Vec<&str> = fits.into_iter().map(String::as_str).collect();
            Err(Diagnostic::yours(format!("`{given}` names several steps: {}", named.join(", "))).help("give the whole path"))
        }
    }
}

/// What the journal tells of one step; its last life counts.
#[derive(Default)]
struct Told {
    call: Option<String>,
    why: Option<String>,
    ending: Option<Ending>,
    summary: Option<String>,
}

impl Told {
    fn of(journal: &[Stamped], wanted: &str) -> Self {
        let mut told = Self::default();
        for line in journal {
            match &line.event {
                Event::ActionStarted { step, call, why } if step == wanted => {
                    told = Self { call: Some(call.clone()), why: Some(why.clone()), ..Self::default() };
                }
                Event::ActionFinished { step, call, ending, summary, .. } if step == wanted => {
                    (told.call, told.ending, told.summary) = (Some(call.clone()), Some(*ending), Some(summary.clone()));
                }
                _ => {}
            }
        }
        told
    }

    /// Why it ran; for a step that did not run, its end says why.
    fn verdict(&self, row: &RunRow) -> String {
        match (&self.why, &self.summary) {
            (Some(why), _) => why.clone(),
            (None, Some(summary)) => summary.clone(),
            (None, None) => format!("not reached: the run {}", row.state),
        }
    }
}
