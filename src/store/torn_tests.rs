//! Torn logs: wherever the write-ahead log of the index ends after a crash, and whatever lies behind that, each version that was acknowledged before it is
//! there, every chain verifies, and no head points into nothing. The same for a checkpoint that was cut between any two pages.
#![expect(clippy::disallowed_methods, reason = "tears the files of a store on purpose; how often, the environment says")]
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Store;
use super::conformance::{append, line, made, name, run_id, run_row};
use super::dir::DirStore;
use super::verify::verify;
use super::words::{ActionRecord, Commit, Output, RunRow};
use crate::digest::Digest;
use crate::event::{Ending, RunState, Time};
use crate::walks::swift;

/// At how many random bytes logs are torn; `PMX_TEARS` says otherwise.
const TEARS: usize = 1000;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// How far a write-ahead log is in use: behind that may lie frames of the one before it, with other salts.
fn used(log: &[u8]) -> usize {
    let page = |log: &[u8]| u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let (Some(salts), true) = (log.get(16..24), log.len() > HEADER) else { return log.len().min(HEADER) };
    let frame = FRAME_HEADER + page(log);
    let frames = log[HEADER..].chunks_exact(frame).take_while(|one| one[8..16] == *salts).count();
    HEADER + frames * frame
}

/// The ends of its frames, the end of its header first.
fn boundaries(log: &[u8]) -> Vec<usize> {
    let frame = FRAME_HEADER + u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    (HEADER..=used(log)).step_by(frame).collect()
}

/// A version that was acknowledged when the log was so long.
struct Ack {
    length: usize,
    version: Digest,
    content: Vec<u8>,
}

/// A store whose files can be copied while it is open.
struct Bench {
    _dir: tempfile::TempDir,
    root: PathBuf,
    store: DirStore,
    acks: Vec<Ack>,
    turn: u64,
}

impl Bench {
    fn new() -> Self {
        let dir = swift();
        let root = dir.path().join("store");
        let store = DirStore::open_or_create(&root).unwrap();
        Self { _dir: dir, root, store, acks: Vec::new(), turn: 0 }
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.root.join("index.db-wal")).unwrap()
    }

    /// So many runs with a version of each kind, a record, a pin and journal lines.
    fn work(&mut self, runs: u64) {
        for _ in 0..runs {
            self.turn += 1;
            let turn = self.turn;
            let graph = self.store.put_blob(format!("graph {turn}").as_bytes()).unwrap();
            self.store.begin_run(RunRow { graph, ..run_row(turn, 1) }).unwrap();
            let large: Vec<u8> = (0..5000).map(|at| Digest::of(&[at as u8, turn as u8]).as_bytes()[at % 32]).collect();
            for (resource, content) in [("fleet/vm/a", format!("{{\"turn\":{turn}}}").into_bytes()), ("fleet/vm/b", large)] {
                let version = append(&mut self.store, resource, &content, 1);
                self.acks.push(Ack { length: used(&self.log()), version: version.digest(), content });
            }
            self.store.set_pin(&format!("vm:{turn}"), Some("ssh-ed25519 AAAA")).unwrap();
            self.end(turn);
        }
    }

    fn end(&mut self, turn: u64) {
        let manifest = self.store.put_blob(b"manifest").unwrap();
        let head = self.store.head(&name("fleet/vm/a")).unwrap().unwrap();
        let mut made = made(7);
        made.run = run_id(turn);
        let record = ActionRecord {
            made,
            subject: "fleet.stop vm/a".to_owned(),
            manifest,
            ending: Ending::Done,
            summary: "stopped".to_owned(),
            outputs: vec![Output { resource: name("fleet/vm/a"), content: head.content, version: Some(head.digest()) }],
            reads: Vec::new(),
            log: None,
            began: Time(3),
        };
        let journal = Some((run_id(turn), (0..4).map(|at| line("waiting for somebody", at)).collect()));
        let state = Some((run_id(turn), RunState::Succeeded, Some(Time(90))));
        self.store.commit(Commit { records: vec![record], journal, state, ..Commit::default() }).unwrap();
        // Its lock stays: giving it back would fold the log in.
    }

    /// Folds the log into the index, so that the next transaction begins it anew. What was acknowledged before is there without it.
    fn fold(&mut self) {
        let other = rusqlite::Connection::open(self.root.join("index.db")).unwrap();
        let busy: i64 = other.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
        self.acks.iter_mut().for_each(|ack| ack.length = 0);
    }

    /// A copy of the files, which can be written over again and again.
    fn copy(&self) -> Copy<'_> {
        let dir = swift();
        let root = dir.path().join("store");
        copy(&self.root, &root);
        Copy { index: fs::read(self.root.join("index.db")).unwrap(), log: self.log(), _dir: dir, root, acks: &self.acks }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

struct Copy<'a> {
    _dir: tempfile::TempDir,
    root: PathBuf,
    index: Vec<u8>,
    log: Vec<u8>,
    acks: &'a [Ack],
}

impl Copy<'_> {
    /// Opens what a crash left: this index, this log. Everything acknowledged at a length up to `held` is there, and what is there is whole.
    fn survives(&self, index: &[u8], log: &[u8], held: usize, place: &str) {
        let _ = fs::remove_file(self.root.join("index.db-shm"));
        fs::write(self.root.join("index.db"), index).unwrap();
        fs::write(self.root.join("index.db-wal"), log).unwrap();
        let mut store = DirStore::open(&self.root).unwrap_or_else(|error| panic!("{place}: {error}")).expect("a store");
        let here =
            |store: &mut DirStore, ack: &Ack| store.version(&ack.version).unwrap_or_else(|error| panic!("{place}: {error}")).is_some();
        let there: Vec<bool> = self.acks.iter().map(|ack| here(&mut store, ack)).collect();
        let promised = self.acks.iter().filter(|ack| ack.length <= held).count();
        let first_gone = there.iter().position(|here| !here).unwrap_or(there.len());
        assert!(first_gone >= promised, "{place}: {promised} versions were acknowledged, {first_gone} are there");
        assert!(there[first_gone..].iter().all(|here| !here), "{place}: a version is there and one before it is not");
        if let Some(last) = self.acks[..first_gone].last() {
            let version = store.version(&last.version).unwrap().unwrap();
            assert_eq!(store.blob(&version.content).unwrap().as_ref(), Some(&last.content), "{place}");
        }
        let damages = verify(&mut store);
        assert!(damages.is_empty(), "{place}: {damages:?}");
        // And it works on.
        if held.is_multiple_of(8) {
            append(&mut store, "fleet/vm/a", b"after", 2);
            assert_eq!(verify(&mut store), [], "{place}");
        }
    }

    /// Tears the log at `at` in one of these ways, or in all: cut there, followed by noise, followed by what the file held before (`stale`), with a hole
    /// there. How many stores that made.
    fn torn(&self, at: usize, stale: &[u8], way: Option<usize>) -> usize {
        let held = &self.log[..at];
        let noise: Vec<u8> = (0..at % 9000 / 32 + 2).flat_map(|number| *Digest::of(&[number as u8, at as u8]).as_bytes()).collect();
        let mut tears = vec![("cut", held.to_vec()), ("cut, then noise", [held, &noise].concat())];
        if stale.len() > at {
            tears.push(("cut, then what lay there before", [held, &stale[at..]].concat()));
        }
        if self.log.len() > at + 512 {
            tears.push(("a hole", [held, &[0; 512], &self.log[at + 512..]].concat()));
        }
        let count = tears.len();
        let chosen = tears.iter().enumerate().filter(|(number, _)| way.is_none_or(|way| way % count == *number));
        for (_, (how, log)) in chosen {
            self.survives(&self.index, log, at, &format!("{how} at byte {at} of {}", self.log.len()));
        }
        if way.is_none() { count } else { 1 }
    }
}

/// As many bytes inside `range` as were asked for, the same each time.
fn bytes(range: Range<usize>, count: usize) -> impl Iterator<Item = usize> {
    let random = |number: usize| u64::from_le_bytes(Digest::of(&number.to_le_bytes()).as_bytes()[..8].try_into().unwrap()) as usize;
    (0..count).map(move |number| range.start + random(number) % range.len())
}

fn tears() -> usize {
    std::env::var("PMX_TEARS").ok().map_or(TEARS, |text| text.parse().expect("PMX_TEARS is how many bytes are torn at"))
}

#[test]
fn a_log_torn_anywhere_keeps_what_was_acknowledged_before_it() {
    let mut bench = Bench::new();
    bench.work(5);
    let first = bench.copy();
    let (frames, mut stores) = (boundaries(&first.log), 0);
    assert!(frames.len() > 40 && bench.acks.iter().all(|ack| frames.contains(&ack.length)), "acknowledgements are at frames");
    stores += frames.iter().map(|at| first.torn(*at, &[], None)).sum::<usize>();
    stores += bytes(0..used(&first.log), tears() / 2).enumerate().map(|(way, at)| first.torn(at, &[], Some(way))).sum::<usize>();
    let (mut boundaries_tried, stale) = (frames.len(), first.log.clone());
    drop(first);

    bench.fold();
    bench.work(3);
    let second = bench.copy();
    assert_ne!(second.log[16..24], stale[16..24], "the log has begun anew");
    let frames = boundaries(&second.log);
    assert!(frames.len() > 20 && used(&second.log) < second.log.len(), "old frames lie behind the new ones");
    stores += frames.iter().map(|at| second.torn(*at, &stale, None)).sum::<usize>();
    stores +=
        bytes(0..used(&second.log), tears() - tears() / 2).enumerate().map(|(way, at)| second.torn(at, &stale, Some(way))).sum::<usize>();
    boundaries_tried += frames.len();
    println!("torn at {boundaries_tried} frame boundaries and {} random bytes: {stores} stores, all of them whole", tears());
}

#[test]
fn a_checkpoint_cut_between_any_two_pages_loses_nothing() {
    let mut bench = Bench::new();
    bench.work(3);
    bench.fold();
    bench.work(3);
    let (before, log) = (fs::read(bench.root.join("index.db")).unwrap(), bench.log());
    bench.fold();
    let after = fs::read(bench.root.join("index.db")).unwrap();
    assert_ne!(before, after);
    let page = 4096;
    let copy = bench.copy();
    let everything = usize::MAX;
    for pages in 0..=after.len() / page {
        // The first pages written, the last ones written, and a page cut in its middle.
        let (start, end) = (pages * page, before.len().max(pages * page));
        let forward = [&after[..start], before.get(start..).unwrap_or_default()].concat();
        let backward = [before.get(..start).unwrap_or(&before), &after[start.min(before.len())..]].concat();
        let middle = (start + page / 2).min(after.len());
        let cut = [&after[..middle], before.get(middle..).unwrap_or_default()].concat();
        for (how, index) in [("forward", forward), ("backward", backward), ("cut", cut)] {
            copy.survives(&index, &log, everything, &format!("a checkpoint, {how}, at page {pages} of {end}"));
        }
    }
    println!("a checkpoint of {} pages, cut in 3 ways at each", after.len() / page);
}
