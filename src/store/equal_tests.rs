//! Random sequences of operations give the same answers on both backends.

use std::sync::Arc;

use proptest::prelude::*;

use super::Store;
use super::conformance::{line, name, new_version, run_id, run_row};
use super::dir::DirStore;
use super::lease::{Ask, Change, Claim, Spot};
use super::memory::MemoryStore;
use super::verify::verify;
use super::words::{Commit, NewVersion, StoreError};
use crate::digest::Digest;
use crate::event::{RunState, Time};
use crate::name::ResourcePattern;

const NAMES: [&str; 5] = ["fleet/vm/a", "fleet/vm/a b", "fleet/vm-x/a", "fleet/vm//etc", "dockerEngine/result/ä"];

/// Claims on members of one spec: `X` is exclusive, `S` shared.
const CLAIMS: [&str; 6] = ["Xa", "Xa Xb", "Sa", "Sb Xc", "X*", "Sa Sb Sc"];

fn claims_of(text: &str) -> Arc<[Claim]> {
    let claim = |(number, word): (u32, &str)| {
        let member = Some(word[1..].to_owned()).filter(|member| member != "*");
        let spot = Spot { group: "resource fleet/vm".to_owned(), member };
        Claim { number, spot, shared: word.starts_with('S'), step: word.to_owned() }
    };
    (0..).zip(text.split_whitespace()).map(claim).collect()
}

/// Which head a new version expects.
#[derive(Clone, Debug)]
enum Expect {
    Head,
    Nothing,
    Before,
}

/// One call, by small numbers: resources, contents, runs, handles and times collide often.
#[derive(Clone, Debug)]
enum Op {
    Commit { versions: Vec<(usize, u8, Expect)>, journal: Option<(u64, usize)>, state: Option<(u64, bool)>, at: i64 },
    Blob(usize),
    Begin(u64),
    End(u64),
    Lease(u64, usize, bool),
    Change(u64, u32, bool),
    Leave(u64),
    Settled(u64, u64),
    Orphan(u64),
    Pin(u8, Option<u8>),
    VersionAt(usize, i64),
    Chain(usize, Option<u64>, usize),
    Journal(u64, u64, usize),
    Find(String),
    Die,
}

fn op() -> impl Strategy<Value = Op> {
    let run = 0..4_u64;
    let expect = prop_oneof![8 => Just(Expect::Head), 1 => Just(Expect::Nothing), 1 => Just(Expect::Before)];
    let versions = proptest::collection::vec((0..NAMES.len(), any::<u8>(), expect), 0..3);
    let journal = proptest::option::of((run.clone(), 0..3_usize));
    let state = proptest::option::weighted(0.3, (run.clone(), any::<bool>()));
    prop_oneof![
        6 => (versions, journal, state, -2..50_i64).prop_map(|(versions, journal, state, at)| Op::Commit { versions, journal, state, at }),
        1 => prop_oneof![Just(0), Just(4096), Just(4097), 0..9000_usize].prop_map(Op::Blob),
        3 => run.clone().prop_map(Op::Begin),
        1 => run.clone().prop_map(Op::End),
        4 => (run.clone(), 0..CLAIMS.len(), any::<bool>()).prop_map(|(run, claims, wait)| Op::Lease(run, claims, wait)),
        2 => (run.clone(), 0..3_u32, any::<bool>()).prop_map(|(run, number, used)| Op::Change(run, number, used)),
        1 => run.clone().prop_map(Op::Leave),
        1 => (run.clone(), run.clone()).prop_map(|(heir, dead)| Op::Settled(heir, dead)),
        1 => run.clone().prop_map(Op::Orphan),
        1 => (0..3_u8, proptest::option::of(any::<u8>())).prop_map(|(identity, key)| Op::Pin(identity, key)),
        1 => (0..NAMES.len(), -3..55_i64).prop_map(|(resource, at)| Op::VersionAt(resource, at)),
        1 => (0..NAMES.len(), proptest::option::of(0..6_u64), 0..4_usize).prop_map(|(resource, before, limit)| Op::Chain(resource, before, limit)),
        1 => (run, 0..5_u64, 0..4_usize).prop_map(|(run, from, limit)| Op::Journal(run, from, limit)),
        1 => "[0-4%_]{0,2}".prop_map(Op::Find),
        1 => Just(Op::Die),
    ]
}

/// An answer as text; what the file system says differs between the backends, and so only its kind counts.
fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Io { .. }) => "refused".to_owned(),
        other => format!("{other:?}"),
    }
}

fn commit_of(store: &mut dyn Store, versions: &[(usize, u8, Expect)], at: i64) -> Vec<NewVersion> {
    let mut made = Vec::new();
    for (resource, content, expect) in versions {
        let head = store.head(&name(NAMES[*resource])).unwrap();
        let expected = match expect {
            Expect::Head => head.map(|head| head.digest()),
            Expect::Nothing => None,
            Expect::Before => head.and_then(|head| head.parent),
        };
        made.push(new_version(NAMES[*resource], &[*content % 5], expected, at));
    }
    made
}

fn perform(store: &mut dyn Store, op: &Op) -> String {
    match op {
        Op::Commit { versions, journal, state, at } => {
            let versions = commit_of(store, versions, *at);
            let journal = journal.map(|(run, lines)| (run_id(run), (0..lines).map(|n| line(&n.to_string(), *at)).collect()));
            let state = state.map(|(run, ended)| {
                let state = if ended { RunState::Succeeded } else { RunState::Running };
                (run_id(run), state, ended.then_some(Time(*at)))
            });
            told(store.commit(Commit { versions, journal, state, ..Commit::default() }))
        }
        Op::Blob(size) => told(store.put_blob(&vec![1; *size])),
        Op::Begin(run) => told(store.begin_run(run_row(*run, i64::try_from(*run % 2).unwrap()))),
        Op::End(run) => told(store.end_run(&run_id(*run))),
        Op::Lease(run, claims, wait) => {
            let ask = Ask { run: run_id(*run), claims: claims_of(CLAIMS[*claims]), at: Time(7), wait: *wait };
            told(store.lease(&ask))
        }
        Op::Change(run, number, used) => {
            let used_by = if *used { vec![(*number, "another step".to_owned())] } else { Vec::new() };
            let change = Change { used: used_by, released: if *used { Vec::new() } else { vec![*number] }, all: *number == 2 && *used };
            told(store.commit(Commit { leases: Some((run_id(*run), change)), ..Commit::default() }))
        }
        Op::Leave(run) => told(store.leave(&run_id(*run))),
        Op::Settled(heir, dead) => told(store.settled(&run_id(*heir), &run_id(*dead))),
        Op::Orphan(run) => told(store.orphan(&run_id(*run))),
        Op::Pin(identity, key) => {
            let (identity, key) = (identity.to_string(), key.map(|key| key.to_string()));
            format!("{}, before {}", told(store.set_pin(&identity, key.as_deref())), told(store.pin(&identity)))
        }
        Op::VersionAt(resource, at) => told(store.version_at(&name(NAMES[*resource]), Time(*at))),
        Op::Chain(resource, before, limit) => told(store.chain(&name(NAMES[*resource]), *before, *limit)),
        Op::Journal(run, from, limit) => told(store.journal(&run_id(*run), *from, *limit)),
        Op::Find(part) => told(store.find_runs(part)),
        Op::Die => String::new(),
    }
}

/// All that can be read.
fn everything(store: &mut dyn Store) -> String {
    let mut all =
        vec![told(store.requests()), told(store.heads(None)), told(store.names()), told(store.runs(usize::MAX)), told(store.blob_names())];
    all.push(told(store.heads(Some(&ResourcePattern::all("fleet", "vm")))));
    for resource in NAMES {
        all.push(told(store.chain(&name(resource), None, usize::MAX)));
        all.push(told(store.length(&name(resource))));
    }
    all.extend((0..4).map(|run| told(store.journal(&run_id(run), 0, usize::MAX))));
    all.join("\n")
}

proptest! {
    #![proptest_config(crate::walks::cases(32))]

    #[test]
    fn both_backends_answer_alike(ops in proptest::collection::vec((op(), 0..2_usize), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("store");
        let origin = MemoryStore::new();
        let open_memory = || -> Box<dyn Store> { Box::new(origin.another()) };
        let open_directory = || -> Box<dyn Store> { Box::new(DirStore::open_or_create(&root).unwrap()) };
        let mut memory = [open_memory(), open_memory()];
        let mut files = [open_directory(), open_directory()];
        for (op, handle) in &ops {
            if matches!(op, Op::Die) {
                // The old handle goes first, as a process does before its successor starts.
                memory[*handle] = Box::new(MemoryStore::new());
                memory[*handle] = open_memory();
                files[*handle] = Box::new(MemoryStore::new());
                files[*handle] = open_directory();
            }
            prop_assert_eq!(perform(&mut *memory[*handle], op), perform(&mut *files[*handle], op), "{:?}", op);
        }
        // Waiting small blobs of the other handle are written when it ends.
        let graph = Digest::of(b"graph");
        let mut last: [Box<dyn Store>; 2] = {
            drop((memory, files));
            [open_memory(), open_directory()]
        };
        let [memory, files] = &mut last;
        prop_assert_eq!(everything(&mut **memory), everything(&mut **files));
        for store in &mut last {
            let damages: Vec<_> = verify(&mut **store).into_iter().filter(|damage| !damage.what.contains(&graph.to_string())).collect();
            prop_assert_eq!(damages, vec![]);
        }
    }
}
