//! Verification: walks every chain, run and blob of a store, and names each damage with all that it hurts.

use std::collections::BTreeMap;
use std::fmt;

use super::Store;
use super::words::{ActionRecord, RunRow, StoreError, Version};
use crate::digest::Digest;
use crate::name::{ResourceName, RunId};

/// How many versions or journal lines are held at once.
const PAGE: usize = 500;

/// Something that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// What is damaged or missing.
    pub what: String,
    /// How it is known.
    pub why: String,
    /// What is lost by it, `the content of fleet/vm/calamity@3`; empty for something that nothing names.
    pub hurts: Vec<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)?;
        match self.hurts.as_slice() {
            [] => f.write_str("; nothing names it"),
            hurts => write!(f, "; lost: {}", hurts.join(", ")),
        }
    }
}

/// Checks everything that `store` holds. An empty list means: every chain is whole from its head to its first version, every version, record and
/// journal line reads back, and every blob that is named is here, unless it was dropped on purpose, and is what its name says.
pub fn verify(store: &mut dyn Store) -> Vec<Damage> {
    let mut walk = Walk { store, damages: Vec::new(), named: BTreeMap::new() };
    walk.index();
    walk.rows();
    walk.chains();
    walk.runs();
    walk.blobs();
    walk.damages
}

struct Walk<'a> {
    store: &'a mut dyn Store,
    damages: Vec<Damage>,
    /// Every blob that something names, with all that names it.
    named: BTreeMap<Digest, Vec<String>>,
}

impl Walk<'_> {
    fn index(&mut self) {
        match self.store.index_defects() {
            Ok(defects) => {
                for why in defects {
                    self.damages.push(Damage { what: "the index".to_owned(), why, hurts: vec!["whatever it holds there".to_owned()] });
                }
            }
            Err(error) => self.failed(error, "whatever the index holds".to_owned()),
        }
    }

    fn rows(&mut self) {
        match self.store.damaged_rows() {
            Ok(damages) => self.damages.extend(damages),
            Err(error) => self.failed(error, "runs, journals, records, pins or sealed secrets".to_owned()),
        }
    }

    fn chains(&mut self) {
        match self.store.names() {
            Ok(names) => names.iter().for_each(|name| self.chain(name)),
            Err(error) => self.failed(error, "all resources".to_owned()),
        }
    }

    /// Walks one chain from its head down; a version that cannot be read is named and stepped over.
    fn chain(&mut self, name: &ResourceName) {
        let length = match self.store.length(name) {
            Ok(length) => length,
            Err(error) => return self.failed(error, name.to_string()),
        };
        let head = self.store.head(name);
        self.noted(head, || format!("the head of {name}"));
        if let Ok(top) = self.store.chain(name, None, 1)
            && let Some(top) = top.first().filter(|top| top.number > length)
        {
            let why = format!("it names version {length}, but there is a version {}", top.number);
            self.damages.push(Damage { what: format!("the head of {name}"), why, hurts: vec![format!("{name} after version {length}")] });
        }
        let mut next = length;
        // What the version above says its parent is; the outer None is for a version above that could not be read.
        let mut promised: Option<Option<Digest>> = None;
        while next > 0 {
            let page = self.store.chain(name, Some(next + 1), PAGE);
            // A page with a damaged version in it is no page: then one by one.
            let versions = match page {
                Ok(versions) if !versions.is_empty() => versions,
                _ => match self.store.chain(name, Some(next + 1), 1) {
                    Ok(one) => one,
                    Err(error) => {
                        self.failed(error, format!("{name}@{next}"));
                        (promised, next) = (None, next - 1);
                        continue;
                    }
                },
            };
            if versions.is_empty() {
                return self.missing(name, 1, next);
            }
            for version in &versions {
                if version.number < next {
                    self.missing(name, version.number + 1, next);
                    promised = None;
                }
                self.link(version, promised);
                promised = Some(version.parent);
                next = version.number.saturating_sub(1);
            }
        }
        if let Some(Some(parent)) = promised {
            let why = format!("version 1 names {} as its parent", parent.short());
            self.damages.push(Damage { what: format!("the chain of {name}"), why, hurts: vec![format!("what came before {name}@1")] });
        }
    }

    fn missing(&mut self, name: &ResourceName, from: u64, to: u64) {
        let hurts = if from == to { format!("{name}@{from}") } else { format!("{name}@{from} to {name}@{to}") };
        self.damages.push(Damage { what: format!("the chain of {name}"), why: "versions are missing".to_owned(), hurts: vec![hurts] });
    }

    fn link(&mut self, version: &Version, promised: Option<Option<Digest>>) {
        let name = format!("{}@{}", version.resource, version.number);
        let digest = version.digest();
        if let Some(promised) = promised
            && promised != Some(digest)
        {
            let parent = promised.map_or_else(|| "none".to_owned(), |parent| parent.short());
            let why = format!("version {} names {parent} as its parent, but {name} is {}", version.number + 1, digest.short());
            self.damages.push(Damage { what: format!("the chain of {}", version.resource), why, hurts: vec![name.clone()] });
        }
        self.names(version.content, format!("the content of {name}"));
        if let Some(log) = version.log {
            self.names(log, format!("the log of {name}"));
        }
    }

    fn runs(&mut self) {
        let runs = match self.store.runs(usize::MAX) {
            Ok(runs) => runs,
            Err(error) => return self.failed(error, "all runs".to_owned()),
        };
        for run in &runs {
            self.run(run);
        }
    }

    fn run(&mut self, run: &RunRow) {
        self.names(run.graph, format!("the graph of run {}", run.id));
        self.journal(&run.id);
        match self.store.records(&run.id) {
            Ok(records) => records.iter().for_each(|record| self.record(record)),
            Err(error) => self.failed(error, format!("the records of run {}", run.id)),
        }
    }

    fn journal(&mut self, run: &RunId) {
        let mut from = 0;
        loop {
            match self.store.journal(run, from, PAGE) {
                Ok(lines) if lines.is_empty() => return,
                Ok(lines) => from += lines.len() as u64,
                Err(error) => return self.failed(error, format!("the journal of run {run}")),
            }
        }
    }

    fn record(&mut self, record: &ActionRecord) {
        let action = format!("{} in run {}", record.made.step, record.made.run);
        self.names(record.manifest, format!("why {action}"));
        if let Some(log) = record.log {
            self.names(log, format!("the log of {action}"));
        }
        for output in &record.outputs {
            self.names(output.content, format!("the output {} of {action}", output.resource));
        }
    }

    fn blobs(&mut self) {
        match self.store.blob_names() {
            Ok(names) => names.into_iter().for_each(|name| {
                self.named.entry(name).or_default();
            }),
            Err(error) => self.failed(error, String::new()),
        }
        for (digest, hurts) in std::mem::take(&mut self.named) {
            let (what, why) = match self.store.blob(&digest) {
                Ok(Some(_)) => continue,
                Ok(None) if self.store.dropped(&digest).is_ok_and(|dropped| dropped) => continue,
                Ok(None) => (format!("blob {digest}"), "it is not here".to_owned()),
                Err(StoreError::Damaged { what, why }) => (what, why),
                Err(error) => (format!("blob {digest}"), error.to_string()),
            };
            self.damages.push(Damage { what, why, hurts });
        }
    }

    fn names(&mut self, blob: Digest, hurt: String) {
        self.named.entry(blob).or_default().push(hurt);
    }

    fn noted<T>(&mut self, result: Result<T, StoreError>, hurt: impl FnOnce() -> String) {
        if let Err(error) = result {
            self.failed(error, hurt());
        }
    }

    fn failed(&mut self, error: StoreError, hurt: String) {
        let (what, why) = match error {
            StoreError::Damaged { what, why } => (what, why),
            other => ("the store".to_owned(), other.to_string()),
        };
        let hurts = if hurt.is_empty() { Vec::new() } else { vec![hurt] };
        match self.damages.iter_mut().find(|known| known.what == what && known.why == why) {
            Some(known) => known.hurts.extend(hurts),
            None => self.damages.push(Damage { what, why, hurts }),
        }
    }
}
