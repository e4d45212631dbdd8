//! The promises of `Store` as scenarios, each run over every backend.

use super::Store;
use super::dir::DirStore;
use super::gc::{Sweep, sweep};
use super::memory::MemoryStore;
use super::verify::verify;
use super::words::{ActionRecord, AuditRow, Commit, Made, NewVersion, Output, RunRow, StoreError, Version};
use crate::digest::Digest;
use crate::event::{Ending, Event, RunState, Stamped, Time};
use crate::name::{Actor, ResourceName, ResourcePattern, RunId};

/// A place where stores are: each `open` is another process on the same store.
pub(super) trait Bench {
    fn open(&self) -> Box<dyn Store>;
}

pub(super) struct InMemory(pub MemoryStore);
impl Bench for InMemory {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.0.another())
    }
}

pub(super) struct InDirectory(pub tempfile::TempDir);
impl Bench for InDirectory {
    fn open(&self) -> Box<dyn Store> {
        Box::new(DirStore::open_or_create(&self.0.path().join("store")).unwrap())
    }
}

macro_rules! scenarios {
    ($($scenario:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $scenario() { super::$scenario(&super::InMemory(super::MemoryStore::new())) })*
        }
        mod directory {
            $(#[test] fn $scenario() { super::$scenario(&super::InDirectory(tempfile::tempdir().unwrap())) })*
        }
    };
}

pub(super) use scenarios;

scenarios![
    a_chain_grows_link_by_link,
    a_lost_swap_names_both_versions,
    a_commit_is_all_or_nothing,
    one_commit_may_write_a_resource_twice,
    blobs_of_every_size_come_back,
    version_at_takes_the_newest_not_after,
    a_journal_is_read_in_pages,
    records_are_found_by_key_and_subject,
    runs_are_listed_and_found_by_either_end,
    a_run_whose_holder_died_is_interrupted,
    a_run_is_begun_once,
    pins_are_set_replaced_and_removed,
    what_was_asked_is_heard_once_and_answered,
    strange_names_keep_apart_and_in_order,
    names_that_do_not_read_back_are_refused,
    a_thousand_versions_stay_in_order,
    two_handles_see_each_other,
    sealed_secrets_are_written_once,
    sealed_secrets_are_replaced_all_or_none,
    nothing_is_found_in_an_empty_store,
    dropped_blobs_are_gone_on_purpose,
    a_sweep_keeps_what_is_young_or_near_the_head,
];

pub(super) fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

pub(super) fn run_id(number: u64) -> RunId {
    format!("{number:032x}").parse().unwrap()
}

pub(super) fn made(at: i64) -> Made {
    Made {
        run: run_id(1),
        step: "stop-calamity/stop-vm".to_owned(),
        call: "fleet.stop".to_owned(),
        key: Digest::of(b"key"),
        at: Time(at),
        actor: Actor::new("cli", "root@slate"),
    }
}

pub(super) fn new_version(resource: &str, content: &[u8], expected: Option<Digest>, at: i64) -> NewVersion {
    NewVersion { resource: name(resource), content: content.to_vec(), expected, made: made(at), log: None }
}

pub(super) fn run_row(number: u64, began: i64) -> RunRow {
    RunRow {
        id: run_id(number),
        targets: vec!["stop-calamity".to_owned()],
        inputs: "{}".to_owned(),
        actor: Actor::new("discord", "1234/nick"),
        began: Time(began),
        ended: None,
        state: RunState::Running,
        graph: Digest::of(b"graph"),
        version: "0.1.0".to_owned(),
    }
}

fn record(key: &[u8], subject: &str, ending: Ending, run: u64) -> ActionRecord {
    let mut made = made(7);
    (made.key, made.run) = (Digest::of(key), run_id(run));
    ActionRecord {
        made,
        subject: subject.to_owned(),
        manifest: Digest::of(b"manifest"),
        ending,
        summary: "VM 102 is off".to_owned(),
        outputs: vec![Output { resource: name("fleet/vm/calamity"), content: Digest::of(b"c"), version: None }],
        reads: vec![(name("keebDev02/node/node"), Digest::of(b"v"))],
        log: Some(Digest::of(b"log")),
        began: Time(3),
    }
}

pub(super) fn line(text: &str, at: i64) -> Stamped {
    Stamped { at: Time(at), event: Event::Warning { step: None, message: text.to_owned() } }
}

/// Appends to the chain of `resource`, whatever its head is.
pub(super) fn append(store: &mut dyn Store, resource: &str, content: &[u8], at: i64) -> Version {
    let expected = store.head(&name(resource)).unwrap().map(|head| head.digest());
    let versions = vec![new_version(resource, content, expected, at)];
    store.commit(Commit { versions, ..Commit::default() }).unwrap().remove(0)
}

fn a_chain_grows_link_by_link(bench: &dyn Bench) {
    let mut store = bench.open();
    let first = append(&mut *store, "fleet/vm/calamity", b"{\"on\":true}", 1);
    let second = append(&mut *store, "fleet/vm/calamity", b"{\"on\":false}", 2);
    assert_eq!((first.number, first.parent), (1, None));
    assert_eq!((second.number, second.parent), (2, Some(first.digest())));
    assert_eq!(store.head(&name("fleet/vm/calamity")).unwrap(), Some(second.clone()));
    assert_eq!(store.version(&first.digest()).unwrap(), Some(first.clone()));
    assert_eq!(store.blob(&second.content).unwrap().unwrap(), b"{\"on\":false}");
    assert_eq!(store.chain(&name("fleet/vm/calamity"), None, 10).unwrap(), [second.clone(), first.clone()]);
    assert_eq!(store.chain(&name("fleet/vm/calamity"), Some(2), 10).unwrap(), [first]);
    assert_eq!(store.chain(&name("fleet/vm/calamity"), None, 1).unwrap(), [second]);
    assert_eq!(store.chain(&name("fleet/vm/calamity"), None, 0).unwrap(), []);
    assert_eq!(store.chain(&name("fleet/vm/calamity"), Some(0), 5).unwrap(), []);
    assert_eq!(store.chain(&name("fleet/vm/calamity"), Some(u64::MAX), usize::MAX).unwrap().len(), 2);
    assert_eq!(store.length(&name("fleet/vm/calamity")).unwrap(), 2);
}

fn a_lost_swap_names_both_versions(bench: &dyn Bench) {
    let mut store = bench.open();
    let first = append(&mut *store, "fleet/vm/calamity", b"1", 1);
    let second = append(&mut *store, "fleet/vm/calamity", b"2", 2);
    let mut swap = |resource: &str, expected| {
        store.commit(Commit { versions: vec![new_version(resource, b"3", expected, 3)], ..Commit::default() }).unwrap_err()
    };
    let moved = swap("fleet/vm/calamity", Some(first.digest()));
    let expected =
        format!("fleet/vm/calamity has moved on: expected version {}, found {}", first.digest().short(), second.digest().short());
    assert_eq!(moved.to_string(), expected);
    let StoreError::HeadMoved { expected, .. } = swap("fleet/vm/calamity", None) else { panic!("a first version is there") };
    assert_eq!(expected, "none");
    let StoreError::HeadMoved { found, .. } = swap("fleet/vm/other", Some(first.digest())) else { panic!("no version is there") };
    assert_eq!(found, "none");
    assert_eq!(store.head(&name("fleet/vm/calamity")).unwrap(), Some(second));
    assert_eq!(store.head(&name("fleet/vm/other")).unwrap(), None);
}

fn a_commit_is_all_or_nothing(bench: &dyn Bench) {
    let mut store = bench.open();
    append(&mut *store, "fleet/vm/b", b"b", 1);
    store.begin_run(run_row(1, 1)).unwrap();
    let commit = |last: NewVersion, run: RunId| Commit {
        versions: vec![new_version("fleet/vm/a", b"a", None, 2), last],
        sealed: vec![(Digest::of(b"secret"), b"sealed".to_vec())],
        records: vec![record(b"key", "fleet.stop vm/a", Ending::Done, 1)],
        journal: Some((run_id(1), vec![line("x", 1)])),
        state: Some((run, RunState::Succeeded, Some(Time(9)))),
        leases: None,
    };
    let lost = new_version("fleet/vm/b", b"b2", None, 2);
    assert!(matches!(store.commit(commit(lost, run_id(1))), Err(StoreError::HeadMoved { .. })));
    let stranger = store.commit(commit(new_version("fleet/vm/c", b"c", None, 2), run_id(99))).unwrap_err();
    assert!(stranger.to_string().contains("never begun"), "{stranger}");
    assert_eq!(store.heads(None).unwrap().len(), 1);
    assert_eq!(store.sealed(&Digest::of(b"secret")).unwrap(), None);
    assert_eq!(store.records(&run_id(1)).unwrap(), []);
    assert_eq!(store.journal(&run_id(1), 0, 10).unwrap(), []);
    assert_eq!(store.runs(1).unwrap()[0].state, RunState::Running);

    let stored = store.commit(commit(new_version("fleet/vm/c", b"c", None, 2), run_id(1))).unwrap();
    assert_eq!(stored.iter().map(|version| version.resource.instance.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(store.heads(None).unwrap().len(), 3);
    assert_eq!(store.sealed(&Digest::of(b"secret")).unwrap().unwrap(), b"sealed");
    let row = store.runs(1).unwrap().remove(0);
    assert_eq!((row.state, row.ended), (RunState::Succeeded, Some(Time(9))));
    assert_eq!(store.commit(Commit::default()).unwrap(), []);
}

fn one_commit_may_write_a_resource_twice(bench: &dyn Bench) {
    let mut store = bench.open();
    let first = new_version("fleet/vm/a", b"1", None, 1);
    let digest = {
        let mut trial = MemoryStore::new();
        trial.commit(Commit { versions: vec![first.clone()], ..Commit::default() }).unwrap()[0].digest()
    };
    let second = new_version("fleet/vm/a", b"2", Some(digest), 1);
    let stored = store.commit(Commit { versions: vec![first, second], ..Commit::default() }).unwrap();
    assert_eq!(stored.iter().map(|version| version.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(stored[1].parent, Some(stored[0].digest()));
}

fn blobs_of_every_size_come_back(bench: &dyn Bench) {
    let mut store = bench.open();
    let noise = |length: usize| -> Vec<u8> { (0..length).map(|i| Digest::of(&i.to_le_bytes()).as_bytes()[0]).collect() };
    let mut names = Vec::new();
    for size in [0, 1, 4095, 4096, 4097, 300_000] {
        let bytes = noise(size);
        let digest = store.put_blob(&bytes).unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(store.put_blob(&bytes).unwrap(), digest, "again, {size}");
        assert_eq!(store.blob(&digest).unwrap().unwrap(), bytes, "{size}");
        names.push(digest);
        // The same of what is written piece by piece, here backwards, so that it is new.
        let written: Vec<u8> = bytes.iter().rev().copied().collect();
        let digest = store.put_written(&|to| written.chunks(1000).try_for_each(|piece| to.write_all(piece))).unwrap();
        assert_eq!(digest, Digest::of(&written));
        assert_eq!(store.blob(&digest).unwrap().unwrap(), written, "written, {size}");
        names.push(digest);
    }
    let large = append(&mut *store, "a/b/c", &noise(10_000), 1);
    drop(store);
    let mut store = bench.open();
    names.push(large.content);
    for digest in &names {
        assert!(store.blob(digest).unwrap().is_some(), "after reopening");
    }
    names.sort();
    // Nothing and one byte are the same backwards.
    names.dedup();
    assert_eq!(store.blob_names().unwrap(), names);
    assert_eq!(store.blob(&Digest::of(b"never kept")).unwrap(), None);
    assert_eq!(verify(&mut *store), []);
}

fn version_at_takes_the_newest_not_after(bench: &dyn Bench) {
    let mut store = bench.open();
    // The third was stored while the clock stood behind the second.
    for (content, at) in [("1", 100), ("2", 300), ("3", 200)] {
        append(&mut *store, "fleet/vm/a", content.as_bytes(), at);
    }
    let mut number = |at| store.version_at(&name("fleet/vm/a"), Time(at)).unwrap().map(|version| version.number);
    assert_eq!([number(99), number(100), number(199), number(200), number(1000)], [None, Some(1), Some(1), Some(3), Some(3)]);
    assert_eq!(number(-1), None);
}

fn a_journal_is_read_in_pages(bench: &dyn Bench) {
    let mut store = bench.open();
    store.begin_run(run_row(1, 1)).unwrap();
    store.begin_run(run_row(2, 1)).unwrap();
    for round in 0..5 {
        let lines = (0..3).map(|i| line(&format!("{round}.{i}"), round)).collect();
        store.commit(Commit { journal: Some((run_id(1), lines)), ..Commit::default() }).unwrap();
        store.commit(Commit { journal: Some((run_id(2), vec![line("other", round)])), ..Commit::default() }).unwrap();
    }
    let page = store.journal(&run_id(1), 4, 3).unwrap();
    assert_eq!(page, [line("1.1", 1), line("1.2", 1), line("2.0", 2)]);
    assert_eq!(store.journal(&run_id(1), 13, 100).unwrap().len(), 2);
    assert_eq!(store.journal(&run_id(1), 15, 100).unwrap(), []);
    assert_eq!(store.journal(&run_id(1), u64::MAX, 100).unwrap(), []);
    assert_eq!(store.journal(&run_id(3), 0, 100).unwrap(), []);
    assert_eq!(store.journal(&run_id(2), 0, usize::MAX).unwrap().len(), 5);
    let endless = Event::ActionFinished {
        step: String::new(),
        call: String::new(),
        ending: Ending::Done,
        summary: String::new(),
        seconds: f64::INFINITY,
        left: None,
    };
    let commit = Commit { journal: Some((run_id(1), vec![Stamped { at: Time(0), event: endless }])), ..Commit::default() };
    assert!(store.commit(commit).is_err());
    assert!(store.commit(Commit { journal: Some((run_id(3), vec![])), ..Commit::default() }).is_err());
}

fn records_are_found_by_key_and_subject(bench: &dyn Bench) {
    let mut store = bench.open();
    let good = record(b"k1", "fleet.stop vm/a", Ending::Unchanged, 1);
    let failed = record(b"k1", "fleet.stop vm/a", Ending::Failed, 2);
    let fresh = record(b"k1", "fleet.stop vm/b", Ending::Fresh, 2);
    let skipped = record(b"k2", "fleet.stop vm/c", Ending::Skipped, 2);
    for record in [&good, &failed, &fresh, &skipped] {
        store.commit(Commit { records: vec![record.clone()], ..Commit::default() }).unwrap();
    }
    assert_eq!(store.record_by_key(&Digest::of(b"k1")).unwrap(), Some(good), "neither a failure nor a skip is a result");
    assert_eq!(store.record_by_key(&Digest::of(b"k2")).unwrap(), None);
    assert_eq!(store.record_by_subject("fleet.stop vm/a").unwrap(), Some(failed.clone()));
    assert_eq!(store.record_by_subject("fleet.stop vm/").unwrap(), None);
    assert_eq!(store.records(&run_id(2)).unwrap(), [failed, fresh, skipped]);
    let newer = record(b"k1", "fleet.stop vm/z", Ending::Done, 3);
    store.commit(Commit { records: vec![newer.clone()], ..Commit::default() }).unwrap();
    assert_eq!(store.record_by_key(&Digest::of(b"k1")).unwrap(), Some(newer));
}

fn runs_are_listed_and_found_by_either_end(bench: &dyn Bench) {
    let mut store = bench.open();
    for (number, began) in [(0xa1, 10), (0xa2, 30), (0xb1, 20)] {
        store.begin_run(run_row(number, began)).unwrap();
    }
    let ids = |rows: Vec<RunRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(store.runs(10).unwrap()), [run_id(0xa2), run_id(0xb1), run_id(0xa1)]);
    assert_eq!(ids(store.runs(1).unwrap()), [run_id(0xa2)]);
    assert_eq!(ids(store.find_runs("a1").unwrap()), [run_id(0xa1)]);
    assert_eq!(ids(store.find_runs("1").unwrap()), [run_id(0xb1), run_id(0xa1)]);
    assert_eq!(ids(store.find_runs("A1").unwrap()), [run_id(0xa1)], "digits as a person types them");
    assert_eq!(store.find_runs("0000").unwrap().len(), 3);
    assert_eq!(ids(store.find_runs(run_id(0xb1).as_str()).unwrap()), [run_id(0xb1)]);
    for nothing in ["%", "_1", "g", "a1a1", &"0".repeat(40)] {
        assert_eq!(store.find_runs(nothing).unwrap(), [], "{nothing}");
    }
    for number in 0..12 {
        store.begin_run(run_row(0xc00 + number, 40)).unwrap();
    }
    assert_eq!(store.find_runs("0").unwrap().len(), 10);
}

fn a_run_whose_holder_died_is_interrupted(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    for number in 1..=3 {
        mine.begin_run(run_row(number, i64::try_from(number).unwrap())).unwrap();
    }
    let states = |store: &mut dyn Store| store.runs(10).unwrap().into_iter().map(|row| row.state).collect::<Vec<_>>();
    assert_eq!(states(&mut *other), [RunState::Running; 3]);
    assert_eq!(states(&mut *mine), [RunState::Running; 3]);
    mine.commit(Commit { state: Some((run_id(3), RunState::Failed, Some(Time(9)))), ..Commit::default() }).unwrap();
    mine.end_run(&run_id(3)).unwrap();
    mine.end_run(&run_id(2)).unwrap();
    assert_eq!(states(&mut *other), [RunState::Failed, RunState::Interrupted, RunState::Running]);
    drop(mine);
    let died = [RunState::Failed, RunState::Interrupted, RunState::Interrupted];
    assert_eq!(states(&mut *other), died);
    assert_eq!(states(&mut *bench.open()), died, "looking does not take the lock");
    assert_eq!(other.find_runs("1").unwrap()[0].state, RunState::Interrupted);
}

fn a_run_is_begun_once(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    mine.begin_run(run_row(1, 1)).unwrap();
    for store in [&mut mine, &mut other] {
        let refused = store.begin_run(run_row(1, 5)).unwrap_err();
        assert!(refused.to_string().contains("it is running"), "{refused}");
    }
    other.end_run(&run_id(1)).unwrap();
    assert_eq!(other.runs(1).unwrap()[0].state, RunState::Running, "nobody ends what another process runs");
    drop(mine);
    let refused = other.begin_run(run_row(1, 5)).unwrap_err();
    assert!(refused.to_string().contains("there is a run of that id"), "{refused}");
    assert_eq!(other.runs(1).unwrap()[0], RunRow { state: RunState::Interrupted, ..run_row(1, 1) });
}

fn what_was_asked_is_heard_once_and_answered(bench: &dyn Bench) {
    let (mut one, mut other) = (bench.open(), bench.open());
    assert_eq!(one.audit(false, 10).unwrap(), []);
    let row = |id: &str| AuditRow {
        id: id.to_owned(),
        at: Time(1),
        actor: Actor::new("discord", "1/nick"),
        place: "#clankers".to_owned(),
        asked: "stop calamity".to_owned(),
        answer: String::new(),
        run: None,
        posted: None,
        settled: false,
    };
    assert!(one.heard(&row("1")).unwrap());
    assert!(!other.heard(&AuditRow { asked: "start calamity".to_owned(), ..row("1") }).unwrap(), "it was heard before");
    assert!(other.heard(&row("2")).unwrap());
    let answered =
        AuditRow { answer: "succeeded".to_owned(), run: Some(run_id(1)), posted: Some("5/6".to_owned()), settled: true, ..row("1") };
    other.answered(&answered).unwrap();
    assert_eq!(one.audit(false, 10).unwrap(), [row("2"), answered], "newest first");
    assert_eq!(one.audit(true, 10).unwrap(), [row("2")]);
    assert_eq!(one.audit(false, 1).unwrap(), [row("2")]);
    assert_eq!(one.damaged_rows().unwrap(), []);
}

fn pins_are_set_replaced_and_removed(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    let identity = "smbios 4c4c4544-0042 / ü";
    mine.set_pin(identity, Some("ssh-ed25519 AAAA")).unwrap();
    assert_eq!(other.pin(identity).unwrap().as_deref(), Some("ssh-ed25519 AAAA"));
    mine.set_pin(identity, Some("ssh-ed25519 BBBB")).unwrap();
    assert_eq!(other.pin(identity).unwrap().as_deref(), Some("ssh-ed25519 BBBB"));
    mine.set_pin(identity, None).unwrap();
    mine.set_pin("never pinned", None).unwrap();
    assert_eq!(other.pin(identity).unwrap(), None);
}

fn strange_names_keep_apart_and_in_order(bench: &dyn Bench) {
    let mut store = bench.open();
    let names = [
        "a b/vm/x",
        "a-b/vm/x",
        "a/vm/ ",
        "a/vm/%",
        "a/vm/*x",
        "a/vm/../../etc/passwd",
        "a/vm//etc/motd",
        "a/vm/A",
        "a/vm/VM 102",
        "a/vm/_",
        "a/vm/a",
        "a/vm/a%20b",
        "a/vm/a'b",
        "a/vm/a/b",
        "a/vm/ä",
        "a/vm/日本",
        "a/vm2/a",
        "a.b/vm/x",
    ];
    for text in names.iter().rev() {
        append(&mut *store, text, text.as_bytes(), 1);
    }
    let mut sorted: Vec<ResourceName> = names.iter().map(|text| name(text)).collect();
    sorted.sort();
    let of = |versions: Vec<Version>| versions.into_iter().map(|version| version.resource).collect::<Vec<_>>();
    assert_eq!(of(store.heads(None).unwrap()), sorted);
    assert_eq!(store.names().unwrap(), sorted);
    let spec: Vec<ResourceName> = sorted.iter().filter(|name| name.def == "a" && name.spec == "vm").cloned().collect();
    assert_eq!(of(store.heads(Some(&ResourcePattern::all("a", "vm"))).unwrap()), spec);
    for name in &sorted {
        let head = store.head(name).unwrap().unwrap();
        assert_eq!((head.number, &head.resource), (1, name));
        assert_eq!(store.blob(&head.content).unwrap().unwrap(), name.to_string().as_bytes());
        assert_eq!(of(store.heads(Some(&name.clone().into())).unwrap()), std::slice::from_ref(name));
    }
    assert_eq!(store.heads(Some(&ResourcePattern::all("a", "none"))).unwrap(), []);
}

fn names_that_do_not_read_back_are_refused(bench: &dyn Bench) {
    let mut store = bench.open();
    for (def, spec, instance) in [("a/b", "c", "d"), ("a", "b/c", "d"), ("", "b", "c"), ("a", "b", ""), ("a", "b", "c\nd")] {
        let mut version = new_version("a/b/c", b"x", None, 1);
        version.resource = ResourceName::new(def, spec, instance);
        let refused = store.commit(Commit { versions: vec![version], ..Commit::default() });
        assert!(matches!(refused, Err(StoreError::Io { .. })), "{def:?} {spec:?} {instance:?}: {refused:?}");
    }
    let mut version = new_version("a/b/c", b"x", None, 1);
    version.made.actor = Actor::new("cli", "");
    assert!(store.commit(Commit { versions: vec![version], ..Commit::default() }).is_err());
    assert_eq!(store.names().unwrap(), []);
}

fn a_thousand_versions_stay_in_order(bench: &dyn Bench) {
    let mut store = bench.open();
    let mut expected = None;
    for number in 0..1000_i64 {
        let version = new_version("fleet/vm/a", format!("{}", number % 7).as_bytes(), expected, number);
        expected = Some(store.commit(Commit { versions: vec![version], ..Commit::default() }).unwrap()[0].digest());
    }
    let chain = store.chain(&name("fleet/vm/a"), None, usize::MAX).unwrap();
    assert_eq!(chain.len(), 1000);
    assert!(chain.windows(2).all(|pair| pair[0].parent == Some(pair[1].digest()) && pair[0].number == pair[1].number + 1));
    let mut paged = Vec::new();
    let mut before = None;
    while let Some(last) = store.chain(&name("fleet/vm/a"), before, 64).unwrap().last().cloned() {
        paged.extend(store.chain(&name("fleet/vm/a"), before, 64).unwrap());
        before = Some(last.number);
    }
    assert_eq!(paged, chain);
    assert_eq!(verify(&mut *store), [], "seven contents for a thousand versions");
    assert_eq!(store.blob_names().unwrap().len(), 7);
}

fn two_handles_see_each_other(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    assert_eq!(mine.id(), other.id());
    assert_eq!(mine.id().len(), 32);
    let manifest = mine.put_blob(b"manifest").unwrap();
    let first = append(&mut *mine, "fleet/vm/a", b"1", 1);
    assert_eq!(other.blob(&manifest).unwrap().unwrap(), b"manifest", "a commit brings the blobs before it");
    assert_eq!(other.head(&name("fleet/vm/a")).unwrap(), Some(first.clone()));
    let second = append(&mut *other, "fleet/vm/a", b"2", 2);
    let late = Commit { versions: vec![new_version("fleet/vm/a", b"3", Some(first.digest()), 3)], ..Commit::default() };
    assert!(matches!(mine.commit(late), Err(StoreError::HeadMoved { .. })));
    assert_eq!(mine.head(&name("fleet/vm/a")).unwrap(), Some(second));
}

fn sealed_secrets_are_written_once(bench: &dyn Bench) {
    let mut store = bench.open();
    for bytes in [&b"first"[..], b"second"] {
        store.commit(Commit { sealed: vec![(Digest::of(b"s"), bytes.to_vec())], ..Commit::default() }).unwrap();
    }
    assert_eq!(store.sealed(&Digest::of(b"s")).unwrap().unwrap(), b"first");
}

fn sealed_secrets_are_replaced_all_or_none(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    let secrets: Vec<(Digest, Vec<u8>)> = [b"a", b"b", b"c"].iter().map(|name| (Digest::of(*name), name.to_vec())).collect();
    mine.commit(Commit { sealed: secrets.clone(), ..Commit::default() }).unwrap();
    let twice = |bytes: &[u8]| Ok((bytes != b"b").then(|| [bytes, bytes].concat()));
    mine.begin_run(run_row(1, 1)).unwrap();
    for store in [&mut mine, &mut other] {
        assert!(store.reseal(&mut { twice }).unwrap_err().to_string().contains("in progress"));
    }
    mine.end_run(&run_id(1)).unwrap();
    let mut seen = 0;
    let stops = other.reseal(&mut |bytes| {
        seen += 1;
        if seen == 3 { Err("it is not one of mine".to_owned()) } else { Ok(Some([bytes, b"!"].concat())) }
    });
    assert!(stops.unwrap_err().to_string().contains("it is not one of mine"));
    assert!(secrets.iter().all(|(name, bytes)| mine.sealed(name).unwrap().as_ref() == Some(bytes)), "all or none");
    assert_eq!(other.reseal(&mut { twice }).unwrap(), 2);
    let now: Vec<Vec<u8>> = secrets.iter().map(|(name, _)| mine.sealed(name).unwrap().unwrap()).collect();
    assert_eq!(now, [&b"aa"[..], b"b", b"cc"]);
    assert_eq!(other.damaged_rows().unwrap(), [], "the rows' sums are those of the new bytes");
}

fn dropped_blobs_are_gone_on_purpose(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    let small = append(&mut *mine, "fleet/vm/a", b"small", 1);
    let large = append(&mut *mine, "fleet/vm/a", &[7; 50_000], 2);
    let both = [small.content, large.content];
    mine.begin_run(run_row(1, 1)).unwrap();
    for store in [&mut mine, &mut other] {
        let refused = store.drop_blobs(&both).unwrap_err().to_string();
        assert!(refused.contains("in progress"), "{refused}");
    }
    let graph = mine.put_blob(b"graph").unwrap();
    mine.end_run(&run_id(1)).unwrap();
    assert_eq!(mine.drop_blobs(&[both[0], both[1], Digest::of(b"never kept")]).unwrap(), 2);
    for digest in &both {
        assert_eq!(other.blob(digest).unwrap(), None);
        assert!(other.dropped(digest).unwrap());
    }
    assert_eq!(other.blob(&graph).unwrap().unwrap(), b"graph");
    assert_eq!(other.length(&name("fleet/vm/a")).unwrap(), 2, "links stay");
    assert_eq!(verify(&mut *other), [], "dropped is not lost");

    // Observed again, kept again: then its loss would be a loss.
    append(&mut *other, "fleet/vm/a", b"small", 3);
    append(&mut *other, "fleet/vm/a", &[7; 50_000], 4);
    for digest in &both {
        assert!(mine.blob(digest).unwrap().is_some());
        assert!(!mine.dropped(digest).unwrap());
    }
}

fn a_sweep_keeps_what_is_young_or_near_the_head(bench: &dyn Bench) {
    let mut store = bench.open();
    for (number, content) in ["1", "2", "1", "3", "4"].iter().enumerate() {
        append(&mut *store, "fleet/vm/a", content.as_bytes(), i64::try_from(number).unwrap() * 10);
    }
    append(&mut *store, "fleet/vm/b", b"2", 0);
    let (young, old) = (store.put_blob(b"manifest of a young run").unwrap(), store.put_blob(b"manifest of an old run").unwrap());
    for (run, began, manifest) in [(1, 100, young), (2, 5, old)] {
        let graph = store.put_blob(format!("graph {run}").as_bytes()).unwrap();
        store.begin_run(RunRow { graph, ..run_row(run, began) }).unwrap();
        let record = ActionRecord { manifest, ..record(b"k", "s", Ending::Done, run) };
        store.commit(Commit { records: vec![record], ..Commit::default() }).unwrap();
        store.end_run(&run_id(run)).unwrap();
    }
    let go = |store: &mut dyn Store, keep, since| {
        let mut go = sweep(store, keep, Time(since)).unwrap().go;
        go.sort();
        go
    };
    let sorted = |texts: &[&str]| {
        let mut digests: Vec<Digest> = texts.iter().map(|text| Digest::of(text.as_bytes())).collect();
        digests.sort();
        digests
    };
    let runs = ["manifest of an old run", "graph 2"];
    // Of a only 4 stays by number; 2 stays because b's head is the same.
    assert_eq!(go(&mut *store, 1, 50), sorted(&["1", "3", runs[0], runs[1]]));
    assert_eq!(go(&mut *store, 0, 50), go(&mut *store, 1, 50), "a head is never dropped");
    assert_eq!(go(&mut *store, 2, 50), sorted(&["1", runs[0], runs[1]]));
    assert_eq!(go(&mut *store, 1, 20), sorted(&runs), "the first 1 is old, the third version is not");
    assert_eq!(go(&mut *store, 1, 0), []);
    let swept = sweep(&mut *store, 1, Time(50)).unwrap();
    assert_eq!(store.drop_blobs(&swept.go).unwrap(), 4);
    assert_eq!(store.blob_names().unwrap().len(), swept.stay);
    assert_eq!(sweep(&mut *store, 1, Time(50)).unwrap(), Sweep { go: vec![], stay: swept.stay });
}

fn nothing_is_found_in_an_empty_store(bench: &dyn Bench) {
    let mut store = bench.open();
    assert_eq!(store.head(&name("a/b/c")).unwrap(), None);
    assert_eq!(store.heads(None).unwrap(), []);
    assert_eq!(store.version(&Digest::of(b"x")).unwrap(), None);
    assert_eq!(store.version_at(&name("a/b/c"), Time(i64::MAX)).unwrap(), None);
    assert_eq!(store.runs(10).unwrap(), []);
    assert_eq!(store.record_by_subject("").unwrap(), None);
    assert_eq!(store.length(&name("a/b/c")).unwrap(), 0);
    assert_eq!(verify(&mut *store), []);
}
