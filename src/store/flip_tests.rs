//! Flipped bytes: whatever byte of a store changes, `verify` says so, or nothing that can be read has changed.
#![expect(clippy::disallowed_methods, reason = "spoils the files of a store on purpose; how often, the environment says")]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Store;
use super::conformance::{append, line, made, name, run_id, run_row};
use super::dir::DirStore;
use super::verify::verify;
use super::words::{ActionRecord, Commit, Output};
use crate::digest::Digest;
use crate::event::{Ending, RunState, Time};

/// How many bytes are flipped; `PMX_FLIPS` says otherwise.
const FLIPS: u64 = 1500;

/// A store with chains, large and small contents, records, journals, pins and secrets.
fn filled(root: &Path) -> Vec<Digest> {
    let mut store = DirStore::open_or_create(root).unwrap();
    let mut large = Vec::new();
    for run in 1..=6 {
        let graph = store.put_blob(format!("graph {run}").as_bytes()).unwrap();
        let log: Vec<u8> = (0..9000).map(|at| Digest::of(&[at as u8, run as u8]).as_bytes()[at % 32]).collect();
        large.push(store.put_blob(&log).unwrap());
        store.begin_run(super::words::RunRow { graph, ..run_row(run, i64::try_from(run).unwrap()) }).unwrap();
        let version = append(&mut store, "fleet/vm/calamity", format!("{{\"turn\":{run}}}").as_bytes(), 10);
        append(&mut store, "keebDev02/node/node", b"{\"ticket\":1}", 11);
        let mut made = made(7);
        made.run = run_id(run);
        let record = ActionRecord {
            made,
            subject: "fleet.stop vm/calamity".to_owned(),
            manifest: store.put_blob(b"manifest").unwrap(),
            ending: Ending::Done,
            summary: "stopped calamity".to_owned(),
            outputs: vec![Output { resource: name("fleet/vm/calamity"), content: version.content, version: Some(version.digest()) }],
            reads: Vec::new(),
            log: large.last().copied(),
            began: Time(3),
        };
        let journal = Some((run_id(run), (0..8).map(|at| line("waiting for somebody", at)).collect()));
        let sealed = vec![(Digest::of(&[run as u8]), vec![run as u8; 60])];
        let state = Some((run_id(run), RunState::Succeeded, Some(Time(90))));
        store.commit(Commit { records: vec![record], journal, sealed, state, ..Commit::default() }).unwrap();
        store.set_pin(&format!("vm:{run}"), Some("ssh-ed25519 AAAA")).unwrap();
        store.end_run(&run_id(run)).unwrap();
    }
    large
}

/// Everything that can be read from a store, as text.
fn told(root: &Path, large: &[Digest]) -> Option<String> {
    let mut store = DirStore::open(root).ok()??;
    let mut all = store.id().to_owned();
    for head in store.heads(None).ok()? {
        all.push_str(&format!("{:?}", store.chain(&head.resource, None, 100).ok()?));
        all.push_str(&format!("{:?}", store.blob(&head.content).ok()?));
    }
    for run in store.runs(100).ok()? {
        all.push_str(&format!("{run:?}{:?}{:?}", store.records(&run.id).ok()?, store.journal(&run.id, 0, 100).ok()?));
    }
    for digest in large {
        all.push_str(&Digest::of(&store.blob(digest).ok()??).to_string());
    }
    for number in 1..=6 {
        all.push_str(&format!("{:?}{:?}", store.pin(&format!("vm:{number}")).ok()?, store.sealed(&Digest::of(&[number])).ok()?));
    }
    Some(all)
}

fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut open = vec![root.to_path_buf()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
        }
    }
    found.sort();
    found
}

/// What fsck says of the store at `root`: the damages, or why it does not open.
fn complaints(root: &Path) -> Vec<String> {
    match DirStore::open(root) {
        Ok(Some(mut store)) => verify(&mut store).iter().map(ToString::to_string).collect(),
        Ok(None) => vec!["there is no store".to_owned()],
        Err(error) => vec![error.to_string()],
    }
}

#[test]
fn every_flipped_byte_is_found_or_hurts_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let large = filled(&root);
    assert_eq!(complaints(&root), Vec::<String>::new());
    let whole = told(&root, &large).unwrap();
    let files = files(&root);
    assert!(files.iter().all(|(path, _)| !path.to_string_lossy().ends_with("-wal")), "a closed store has no log left");
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let flips = std::env::var("PMX_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(FLIPS);
    let (mut found, mut harmless) = (0_u64, 0_u64);
    for flip in 0..flips {
        // Any bytes will do as long as they are the same each time.
        let random = Digest::of(&flip.to_le_bytes());
        let (at, mask) = random.as_bytes().split_at(8);
        let mut at = (u64::from_le_bytes(at.try_into().unwrap()) % bytes) as usize;
        let mask = 1 << (mask[0] % 8);
        let (path, plain) = files
            .iter()
            .find(|(_, plain)| {
                if at < plain.len() {
                    true
                } else {
                    at -= plain.len();
                    false
                }
            })
            .unwrap();
        let mut flipped = plain.clone();
        flipped[at] ^= mask;
        fs::write(path, &flipped).unwrap();
        let complaints = complaints(&root);
        if complaints.is_empty() {
            assert_eq!(told(&root, &large).as_ref(), Some(&whole), "byte {at} of {} with {mask:#04x} tells another story", path.display());
            harmless += 1;
        } else {
            let place = root.display().to_string();
            let names = complaints.iter().any(|complaint| complaint.contains("; lost: ") || complaint.contains(&place));
            assert!(names, "byte {at} of {}: nobody says what it hurts: {complaints:?}", path.display());
            found += 1;
        }
        // A look at a damaged index may leave its own files beside it.
        for end in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(root.join(format!("index.db{end}")));
        }
        fs::write(path, plain).unwrap();
    }
    assert_eq!(complaints(&root), Vec::<String>::new());
    let _ = writeln!(std::io::stderr(), "{flips} flips in {bytes} bytes: {found} found, {harmless} in unused space");
    // Most of so small an index is the unused end of its pages.
    assert!(found * 10 > flips, "{found} found, {harmless} harmless");
}
