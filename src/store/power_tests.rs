//! Power cuts and failing disks: whatever a file system may forget or refuse at any operation of the store's own files, what was acknowledged is there
//! afterwards, nothing is damaged, and the same again succeeds.
//!
//! Between its own transactions the index is taken as SQLite leaves it; what a cut in the middle of one leaves is told in `torn_tests`.
#![expect(clippy::disallowed_methods, reason = "lays out what is left of a store")]
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Store;
use super::conformance::{line, name, new_version, run_id, run_row};
use super::dir::DirStore;
use super::verify::verify;
use super::words::{Cancel, Commit, RunRow, StoreError};
use crate::digest::Digest;
use crate::event::{RunState, Time};
use crate::files::faulty::{Cut, FAULTS, Fault, Faulty, Left, Lie};
use crate::files::{Files, is_draft};
use crate::name::Actor;
use crate::walks::swift;

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let pieces = (0..length.div_ceil(32)).flat_map(|at| *Digest::of(&[seed, at as u8, (at >> 8) as u8]).as_bytes());
    pieces.take(length).collect()
}

/// Something that a store said it has kept.
#[derive(Clone)]
enum Promise {
    Store,
    Version(Digest, Vec<u8>),
    Run(u64, RunState),
    /// A content that may be missing from now on.
    Dropped(Digest),
}

/// A store at work on a file system, and what it promised so far.
struct Work {
    root: PathBuf,
    files: Arc<Faulty>,
    store: Option<DirStore>,
    promises: Vec<Promise>,
}

/// How many steps there are.
const STEPS: usize = 14;

impl Work {
    fn new(base: &Path, lie: Option<Lie>) -> Self {
        let root = base.join("deep/store");
        let index = Some(root.join("index.db"));
        let files = match lie {
            Some(lie) => Faulty::lying(base, index, lie),
            None => Faulty::new(base, index),
        };
        Self { root, files: Arc::new(files), store: None, promises: Vec::new() }
    }

    fn open(&mut self) -> Result<(), StoreError> {
        let files: Arc<dyn Files> = Arc::<Faulty>::clone(&self.files);
        self.store = Some(DirStore::open_or_create_on(files, &self.root)?);
        Ok(())
    }

    /// Appends a version; its log, if it has one, is kept first.
    fn append(&mut self, content: Vec<u8>, log: Option<&[u8]>) -> Result<(), StoreError> {
        let store = self.store.as_mut().unwrap();
        let log = log.map(|log| store.put_blob(log)).transpose()?;
        let expected = store.head(&name("fleet/vm/a"))?.map(|head| head.digest());
        let mut version = new_version("fleet/vm/a", &content, expected, 1);
        version.log = log;
        let lives = store.runs(1)?.first().is_some_and(|run| run.state == RunState::Running);
        let journal = lives.then(|| (run_id(1), vec![line("x", 1)]));
        let stored = store.commit(Commit { versions: vec![version], journal, ..Commit::default() })?;
        self.promises.push(Promise::Version(stored[0].digest(), content));
        Ok(())
    }

    /// One step of the work. After an error the same step may be asked for again.
    fn step(&mut self, number: usize) -> Result<(), StoreError> {
        match number {
            0 | 8 => {
                self.store = None;
                self.open()?;
                self.promises.push(Promise::Store);
            }
            1 => {
                let store = self.store.as_mut().unwrap();
                store.put_blob(&noise(9, 5000))?;
                let graph = store.put_blob(b"graph")?;
                store.begin_run(RunRow { graph, ..run_row(1, 1) })?;
            }
            2 | 3 => {
                self.append(noise(number as u8, 6000 * number), Some(&noise(7, 9000)))?;
                // Promised with the first commit, not with its beginning.
                self.promises.push(Promise::Run(1, RunState::Interrupted));
            }
            4 => self.append(b"small".to_vec(), None)?,
            5 => self.append(noise(2, 12_000), None)?,
            6 => {
                let store = self.store.as_mut().unwrap();
                store.ask_cancel(&run_id(1), &Cancel { by: Actor::new("cli", "root@slate"), now: true })?;
                store.cancel_asked(&run_id(1))?;
            }
            7 => {
                let store = self.store.as_mut().unwrap();
                let state = Some((run_id(1), RunState::Succeeded, Some(Time(9))));
                store.commit(Commit { state, ..Commit::default() })?;
                store.end_run(&run_id(1))?;
                self.promises.push(Promise::Run(1, RunState::Succeeded));
            }
            9 => self.append(noise(4, 7000), None)?,
            // The third version's content, and the log of the second and the third.
            10 => {
                let gone = [Digest::of(&noise(3, 18_000)), Digest::of(&noise(7, 9000))];
                self.promises.extend(gone.map(Promise::Dropped));
                self.files.promised(self.promises.len());
                self.store.as_mut().unwrap().drop_blobs(&gone)?;
            }
            11 => self.append(noise(3, 18_000), Some(&noise(7, 9000)))?,
            12 => drop(self.store.as_mut().unwrap().blob(&Digest::of(&noise(2, 12_000)))?),
            _ => self.append(noise(5, 5000), None)?,
        }
        self.files.promised(self.promises.len());
        Ok(())
    }

    /// All steps; every refusal must name a place below `base`, and not come twice. How many there were.
    fn all(&mut self, base: &Path) -> Result<usize, String> {
        let mut refusals = 0;
        for number in 0..STEPS {
            while let Err(error) = self.step(number) {
                self.files.heal();
                refusals += 1;
                let text = error.to_string();
                if !matches!(error, StoreError::Io { .. }) || !text.contains(&base.display().to_string()) || refusals > 1 {
                    return Err(format!("step {number} is refused in other words, or once more: {error:?}"));
                }
            }
        }
        Ok(refusals)
    }
}

/// Everything below a directory that is a draft or belongs to a run.
fn litter(root: &Path) -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![root.to_path_buf()], Vec::new());
    while let Some(directory) = open.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                open.push(path);
            } else if is_draft(name) || name.ends_with(".cancel") || (name.ends_with(".lock") && name != "keeping.lock") {
                found.push(path);
            }
        }
    }
    found
}

/// Whether the store at `root` has kept its promises, lets itself be swept clean, and works on.
fn judge(root: &Path, promises: &[Promise]) -> Result<(), String> {
    let told = |what: &str| {
        let what = what.to_owned();
        move |e: StoreError| format!("{what}: {e}")
    };
    let mut store = match DirStore::open(root).map_err(told("open"))? {
        Some(store) => store,
        None if promises.is_empty() => DirStore::open_or_create(root).map_err(told("make"))?,
        None => return Err("the store is gone".to_owned()),
    };
    kept(&mut store, promises)?;
    whole(&mut store)?;
    store.drop_blobs(&[]).map_err(told("sweep"))?;
    let litter = litter(root);
    if !litter.is_empty() {
        return Err(format!("swept, and there is still {litter:?}"));
    }
    for content in promises.iter().filter_map(|promise| if let Promise::Version(_, content) = promise { Some(content) } else { None }) {
        store.put_blob(content).map_err(told("keep again"))?;
    }
    let expected = store.head(&name("fleet/vm/a")).map_err(told("head"))?.map(|head| head.digest());
    let versions = vec![new_version("fleet/vm/a", &noise(99, 6000), expected, 1)];
    store.commit(Commit { versions, ..Commit::default() }).map_err(told("commit"))?;
    whole(&mut store)
}

fn kept(store: &mut DirStore, promises: &[Promise]) -> Result<(), String> {
    let dropped: BTreeSet<Digest> =
        promises.iter().filter_map(|promise| if let Promise::Dropped(digest) = promise { Some(*digest) } else { None }).collect();
    for (at, promise) in promises.iter().enumerate() {
        match promise {
            Promise::Version(digest, content) => {
                let version = store.version(digest).map_err(|e| e.to_string())?.ok_or_else(|| format!("version {digest} is gone"))?;
                let found = store.blob(&version.content).map_err(|e| e.to_string())?;
                // What was dropped and is named anew by a later version must be there again.
                let anew = promises[at..].iter().any(|later| matches!(later, Promise::Dropped(digest) if *digest == version.content));
                if found.as_ref() != Some(content) && !(found.is_none() && anew && dropped.contains(&version.content)) {
                    return Err(format!("the content of version {} is gone or another", version.number));
                }
            }
            Promise::Run(number, state) => {
                let rows = store.find_runs(run_id(*number).as_str()).map_err(|e| e.to_string())?;
                let row = rows.first().ok_or_else(|| format!("run {number} is gone"))?;
                if row.state != *state && *state == RunState::Succeeded {
                    return Err(format!("run {number} is {:?}", row.state));
                }
            }
            Promise::Store | Promise::Dropped(_) => {}
        }
    }
    Ok(())
}

fn whole(store: &mut DirStore) -> Result<(), String> {
    match verify(store).as_slice() {
        [] => Ok(()),
        damages => Err(damages.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

/// Judges what is left by a cut; the same leftovers with the same promises are judged once.
fn judge_left(left: &Left, cut: &Cut, promises: &[Promise]) -> Result<(), String> {
    let dir = swift();
    left.lay(dir.path());
    judge(&dir.path().join("deep/store"), &promises[..cut.promised]).map_err(|why| format!("the power went after `{}`: {why}", cut.after))
}

/// How many cuts there were, and how many different stores they left, all of them sound.
fn all_cuts(work: &Work) -> Result<(usize, usize), String> {
    let cuts = work.files.cuts();
    let mut judged: BTreeMap<Left, usize> = BTreeMap::new();
    let mut stores = 0;
    for cut in &cuts {
        for left in cut.left() {
            if judged.get(&left) == Some(&cut.promised) {
                continue;
            }
            judge_left(&left, cut, &work.promises)?;
            judged.insert(left, cut.promised);
            stores += 1;
        }
    }
    Ok((cuts.len(), stores))
}

#[test]
fn a_power_cut_after_any_operation_loses_nothing_that_was_acknowledged() {
    let dir = swift();
    let mut work = Work::new(dir.path(), None);
    assert_eq!(work.all(dir.path()), Ok(0));
    let (cuts, stores) = all_cuts(&work).unwrap();
    assert!(cuts > 60 && stores > cuts, "{cuts} cuts, {stores} stores");
    println!("{cuts} cuts of {} operations on files left {stores} different stores, all of them whole", work.files.operations());
}

#[test]
fn whatever_operation_fails_the_same_again_succeeds_and_outlives_a_power_cut() {
    let (mut tried, mut refused, mut stores) = (0, 0, 0);
    for fault in FAULTS {
        for number in 0.. {
            let dir = swift();
            let mut work = Work::new(dir.path(), None);
            work.files.strike(number, fault);
            let place = format!("{fault:?} at operation {number}");
            refused += work.all(dir.path()).unwrap_or_else(|why| panic!("{place}: {why}"));
            if number >= work.files.operations() {
                break;
            }
            let Some(struck) = work.files.heal() else { continue };
            tried += 1;
            whole(work.store.as_mut().unwrap()).unwrap_or_else(|why| panic!("{place}: {why}"));
            // At the first promise after it and at the last, with nothing kept that was not synced; before it all was as it is without faults.
            let cuts = work.files.cuts();
            let promises: Vec<&Cut> = cuts[struck..].iter().filter(|cut| cut.after.starts_with("promise")).collect();
            for cut in promises.iter().take(1).chain(promises.iter().skip(1).next_back()) {
                judge_left(&cut.least(), cut, &work.promises).unwrap_or_else(|why| panic!("{place}: {why}"));
                stores += 1;
            }
        }
    }
    assert!(tried > 200 && refused > 150, "{tried} faults, {refused} refusals");
    println!("{tried} faults, {refused} of them told to the caller, {stores} power cuts after them");
}

#[test]
fn a_sync_that_is_left_out_is_noticed() {
    let lies: [(&str, Lie); 5] = [
        ("blob files", |path| {
            path.display().to_string().contains("/objects/") && path.file_name().is_some_and(|name| is_draft(&name.to_string_lossy()))
        }),
        ("shelves", |path| path.parent().is_some_and(|above| above.ends_with("objects"))),
        ("objects", |path| path.ends_with("objects")),
        ("the store's directory", |path| path.ends_with("deep/store")),
        ("the directory above", |path| path.ends_with("deep")),
    ];
    for (what, lie) in lies {
        let dir = swift();
        let mut work = Work::new(dir.path(), Some(lie));
        assert_eq!(work.all(dir.path()), Ok(0));
        let found = all_cuts(&work);
        assert!(found.is_err(), "nobody missed the syncs of {what}");
    }
}

#[test]
fn a_fault_is_told_with_the_path_and_the_systems_words() {
    let dir = swift();
    let mut work = Work::new(dir.path(), None);
    work.step(0).unwrap();
    let before = work.files.operations();
    work.files.strike(before + 2, Fault::Full);
    let error = work.step(1).unwrap_err().to_string();
    let path = dir.path().join("deep/store/objects").display().to_string();
    assert!(error.starts_with(&format!("could not write the blob {path}/")) && error.contains("No space left on device"), "{error}");
}
