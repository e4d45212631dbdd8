//! What only a directory can suffer: absence, other formats, races to create, damage of every file, and processes that die or compete.
#![expect(clippy::disallowed_methods, reason = "damages files on purpose and starts the test binary as a second process")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::conformance::{append, line, name, new_version, run_id, run_row};
use super::dir::DirStore;
use super::lease::{Ask, Claim, Spot, Standing};
use super::schema::Index;
use super::verify::{Damage, verify};
use super::words::{Commit, StoreError, WithContent};
use super::{Store, admit};
use crate::digest::Digest;
use crate::event::{RunState, Time};
use crate::files::{Disk, Files};

fn fresh() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("deep/store");
    (directory, root)
}

fn open(root: &Path) -> DirStore {
    DirStore::open(root).unwrap().unwrap()
}

fn refusal(root: &Path) -> StoreError {
    DirStore::open(root).err().unwrap()
}

#[test]
fn looking_for_a_store_makes_none() {
    let (directory, root) = fresh();
    assert!(DirStore::open(&root).unwrap().is_none());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn another_format_is_refused_with_path_and_numbers() {
    let (_directory, root) = fresh();
    drop(DirStore::open_or_create(&root).unwrap());
    let old = ", and an older pmx made this store: use that one, or move the store away to begin a new one";
    let new = ", and a newer pmx made this store: use that one";
    for (text, found, kin) in [("1\n", "1", old), ("3\n", "3", new), ("", "", ""), ("one", "one", ""), ("-1", "-1", "")] {
        fs::write(root.join("FORMAT"), text).unwrap();
        let expected = format!("{} has store format {found}; this pmx reads and writes format 2{kin}", root.display());
        assert_eq!(refusal(&root).to_string(), expected);
        assert!(DirStore::open_or_create(&root).is_err(), "never written over");
    }
}

#[test]
fn many_creators_get_one_store() {
    let (_directory, root) = fresh();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| DirStore::open_or_create(&root).unwrap().id().to_owned())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // Of two that close the index at once each may leave its log to the other; the next to open it folds it in.
    let log = ["index.db-wal", "index.db-shm"];
    let names = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| !log.contains(&name.as_str())).collect();
    assert_eq!(names.len(), 4, "no temporary file is left: {names:?}");
}

#[test]
fn small_contents_come_with_their_versions() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    let large = vec![b'x'; 100_000];
    for (content, at) in [(&b"1"[..], 1), (&large, 2), (b"3", 3)] {
        append(&mut store, "fleet/vm/a", content, at);
    }
    let a = name("fleet/vm/a");
    let contents = |with: &[WithContent]| with.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>();
    let with = store.chain_with_contents(&a, None, 10).unwrap();
    // A large one is a file of its own.
    assert_eq!(contents(&with), [Some(b"3".to_vec()), None, Some(b"1".to_vec())]);
    let versions: Vec<_> = with.into_iter().map(|(version, _)| version).collect();
    assert_eq!(versions, store.chain(&a, None, 10).unwrap());
    assert_eq!(contents(&store.chain_with_contents(&a, Some(2), 10).unwrap()), [Some(b"1".to_vec())]);
    drop(store);
    let index = rusqlite::Connection::open(root.join("index.db")).unwrap();
    index.execute("UPDATE blobs SET bytes = CAST('2' AS BLOB) WHERE bytes = CAST('1' AS BLOB)", []).unwrap();
    let damaged = open(&root).chain_with_contents(&a, None, 10).unwrap_err();
    assert!(matches!(&damaged, StoreError::Damaged { what, .. } if what.starts_with("blob ")), "{damaged}");
}

#[test]
fn the_end_of_a_run_leaves_an_index_that_is_whole_by_itself() {
    // A process ends while its store closes; whoever copies the index alone then must not have half of it.
    let (directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    store.begin_run(run_row(1, 0)).unwrap();
    append(&mut store, "fleet/vm/a", b"one", 1);
    let alone = || {
        let copy = directory.path().join("alone");
        fs::create_dir_all(&copy).unwrap();
        fs::copy(root.join("index.db"), copy.join("index.db")).unwrap();
        fs::write(copy.join("FORMAT"), "2\n").unwrap();
        let found = DirStore::open(&copy).ok().flatten().and_then(|mut copy| copy.head(&name("fleet/vm/a")).unwrap());
        fs::remove_dir_all(&copy).unwrap();
        found.map(|version| version.number)
    };
    assert_eq!(alone(), None, "it is still in the log");
    store.end_run(&run_id(1)).unwrap();
    assert_eq!(alone(), Some(1));
}

#[test]
fn a_creation_cut_short_is_completed() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    append(&mut store, "fleet/vm/a", b"1", 1);
    let id = store.id().to_owned();
    drop(store);
    fs::remove_file(root.join("FORMAT")).unwrap();
    assert!(DirStore::open(&root).unwrap().is_none());
    let mut store = DirStore::open_or_create(&root).unwrap();
    assert_eq!(store.length(&name("fleet/vm/a")).unwrap(), 1);
    assert_eq!(store.id(), id);
}

#[test]
fn reading_leaves_no_trace() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    append(&mut store, "fleet/vm/a", b"1", 1);
    store.begin_run(run_row(1, 1)).unwrap();
    drop(store);
    let state = || -> BTreeMap<PathBuf, _> {
        let listed = fs::read_dir(&root).unwrap().chain(fs::read_dir(root.join("runs")).unwrap());
        listed.map(|entry| entry.unwrap()).map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap())).collect()
    };
    let before = state();
    let mut store = open(&root);
    store.heads(None).unwrap();
    assert_eq!(store.runs(5).unwrap()[0].state, RunState::Interrupted);
    store.commit(Commit::default()).unwrap();
    drop(store);
    assert_eq!(before, state());
}

fn blob_file(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.to_string();
    root.join("objects").join(&hex[..2]).join(&hex[2..])
}

fn named(damages: &[Damage], what: &str) -> Vec<String> {
    damages.iter().filter(|damage| damage.what.contains(what)).flat_map(|damage| damage.hurts.clone()).collect()
}

#[test]
fn a_damaged_blob_file_is_found_and_what_it_hurts_is_named() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    let content: Vec<u8> = (0..20_000_u32).flat_map(|i| Digest::of(&i.to_le_bytes()).as_bytes()[..2].to_vec()).collect();
    let version = append(&mut store, "fleet/vm/a", &content, 1);
    append(&mut store, "fleet/vm/a", &content, 2);
    let file = blob_file(&root, &version.content);
    let good = fs::read(&file).unwrap();
    let both = ["the content of fleet/vm/a@2", "the content of fleet/vm/a@1"];
    let mut wrong = good.clone();
    wrong[good.len() / 2] ^= 1;
    let other = zstd::bulk::compress(b"other bytes", 3).unwrap();
    for bytes in [&good[..good.len() / 2], &wrong, b"", b"no frame", &other] {
        fs::write(&file, bytes).unwrap();
        let error = store.blob(&version.content).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::Damaged { .. }) && text.contains(&file.display().to_string()), "{text}");
        assert_eq!(named(&verify(&mut store), &version.content.to_string()), both);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(store.blob(&version.content).unwrap(), None);
    assert_eq!(named(&verify(&mut store), &version.content.to_string()), both);
    // The same observation again brings the content back.
    append(&mut store, "fleet/vm/a", &content, 3);
    assert_eq!(verify(&mut store), []);
}

#[test]
fn a_damaged_index_is_a_clear_error() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    for number in 0..200 {
        append(&mut store, &format!("fleet/vm/{number}"), &[7; 2000], 1);
    }
    drop(store);
    let index = root.join("index.db");
    let good = fs::read(&index).unwrap();
    for bytes in [&good[..0], &good[..100], &good[..4096], b"this is no database, but a sentence that is long enough to be one...."] {
        fs::write(&index, bytes).unwrap();
        let error = refusal(&root);
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(&index.display().to_string()), "{error}");
    }
    let mut scratched = good.clone();
    let middle = good.len() / 2;
    scratched[middle..middle + 8192].fill(0xA5);
    for bytes in [&good[..good.len() - 8192], &scratched] {
        fs::write(&index, bytes).unwrap();
        let damages = DirStore::open(&root).map(|store| verify(&mut store.unwrap()));
        assert!(damages.as_ref().is_err() || damages.as_ref().is_ok_and(|damages| !damages.is_empty()), "{damages:?}");
    }
    fs::remove_file(&index).unwrap();
    assert!(refusal(&root).to_string().contains("index.db"));
    fs::write(&index, good).unwrap();
    assert_eq!(verify(&mut open(&root)), []);
}

/// Runs SQL behind the store's back.
fn edit(root: &Path, sql: &str) {
    assert_eq!(rusqlite::Connection::open(root.join("index.db")).unwrap().execute(sql, []).unwrap(), 1, "{sql}");
}

#[test]
fn an_edited_row_does_not_go_unnoticed() {
    let cases = [
        ("UPDATE versions SET step = 'innocent' WHERE number = 2", "version 2 of fleet/vm/a", "fleet/vm/a@2"),
        ("UPDATE versions SET actor = 'cli:somebody@else' WHERE number = 3", "version 3 of fleet/vm/a", "the head of fleet/vm/a"),
        ("UPDATE versions SET at = -at WHERE number = 1", "version 1 of fleet/vm/a", "fleet/vm/a@1"),
        ("UPDATE versions SET run = 'nonsense' WHERE number = 2", "the index", "fleet/vm/a@2"),
        ("DELETE FROM versions WHERE number = 2", "the chain of fleet/vm/a", "fleet/vm/a@2"),
        ("DELETE FROM versions WHERE number = 3", "the head of fleet/vm/a", "the head of fleet/vm/a"),
        ("UPDATE heads SET number = 2", "the head of fleet/vm/a", "fleet/vm/a after version 2"),
        ("UPDATE blobs SET bytes = x'00' WHERE bytes = x'32'", "blob ", "the content of fleet/vm/a@2"),
        ("DELETE FROM blobs WHERE bytes = x'32'", "blob ", "the content of fleet/vm/a@2"),
        ("UPDATE journal SET body = '{'", "line 0 of the journal", "the journal of run 00000000000000000000000000000001"),
    ];
    for (sql, what, hurt) in cases {
        let (_directory, root) = fresh();
        let mut store = DirStore::open_or_create(&root).unwrap();
        for number in 1..=3_u8 {
            append(&mut store, "fleet/vm/a", &[b'0' + number], number.into());
        }
        let mut row = run_row(1, 1);
        row.graph = store.put_blob(b"graph").unwrap();
        store.begin_run(row).unwrap();
        store.commit(Commit { journal: Some((run_id(1), vec![line("x", 1)])), ..Commit::default() }).unwrap();
        assert_eq!(verify(&mut store), [], "sound before: {sql}");
        drop(store);
        edit(&root, sql);
        let damages = verify(&mut open(&root));
        let hurts = named(&damages, what);
        assert!(hurts.iter().any(|named| named == hurt), "{sql}: {damages:#?}");
    }
}

#[test]
fn a_link_that_was_forged_with_its_digest_breaks_the_chain_above() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    let mut forged = append(&mut store, "fleet/vm/a", b"1", 1);
    append(&mut store, "fleet/vm/a", b"2", 2);
    forged.made.step = "innocent".to_owned();
    edit(&root, &format!("UPDATE versions SET step = 'innocent', digest = x'{}' WHERE number = 1", forged.digest()));
    let damages = verify(&mut store);
    assert_eq!(named(&damages, "the chain of fleet/vm/a"), ["fleet/vm/a@1"], "{damages:#?}");
}

#[test]
fn an_event_of_a_newer_pmx_is_read_as_a_warning() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    store.begin_run(run_row(1, 1)).unwrap();
    store.commit(Commit { journal: Some((run_id(1), vec![line("x", 1)])), ..Commit::default() }).unwrap();
    edit(&root, r#"UPDATE journal SET body = '{"at":"2030-01-01T00:00:00.000Z","event":"teleported"}'"#);
    let text = admit::line_text(&store.journal(&run_id(1), 0, 5).unwrap()[0]).unwrap();
    assert!(text.contains("warning") && text.contains("teleported"), "{text}");
}

/// Not a test of its own: the second process of the tests below, started with the store's path in `PMX_TEST_COMMITTER`. Appends versions for ever (the
/// bound is the parent's kill) and says each that was acknowledged.
#[test]
fn committer() {
    let Ok(root) = std::env::var("PMX_TEST_COMMITTER") else { return };
    let mut store = DirStore::open_or_create(Path::new(&root)).unwrap();
    let me = u64::from(std::process::id());
    store.begin_run(run_row(me, 1)).unwrap();
    store.lease(&everything(me)).unwrap();
    let mut out = std::io::stdout();
    for number in 0..100_000_i64 {
        let expected = store.head(&name("fleet/vm/a")).unwrap().map(|head| head.digest());
        // Every third content is a file.
        let content = format!("{number} of {me}").repeat(if number % 3 == 0 { 600 } else { 1 });
        let versions = vec![new_version("fleet/vm/a", content.as_bytes(), expected, number)];
        let journal = Some((run_id(me), vec![line(&number.to_string(), number)]));
        match store.commit(Commit { versions, journal, ..Commit::default() }) {
            Ok(versions) => writeln!(out, "ack {}", versions[0].digest()).unwrap(),
            Err(StoreError::HeadMoved { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks for every VM.
fn everything(run: u64) -> Ask {
    let spot = Spot { group: "resource fleet/vm".to_owned(), member: None };
    let claims = vec![Claim { number: 0, spot, shared: false, step: "all".to_owned() }].into();
    Ask { run: run_id(run), claims, at: Time(1), wait: true }
}

fn start_committer(root: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::dir_tests::committer", "--nocapture"]).env("PMX_TEST_COMMITTER", root);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Reads what a committer acknowledged: `wanted` versions, then its end by SIGKILL, then what was still in the pipe.
fn acknowledged(mut child: Child, wanted: usize) -> Vec<Digest> {
    let mut acks = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let parse = |line: String| line.rsplit_once("ack ").map(|(_, digest)| digest.parse::<Digest>().unwrap());
    while acks.len() < wanted {
        acks.extend(parse(lines.next().unwrap().unwrap()));
    }
    child.kill().unwrap();
    // A line cut by the kill is no acknowledgement.
    acks.extend(lines.map_while(Result::ok).filter(|line| line.len() >= 68).filter_map(parse));
    child.wait().unwrap();
    acks
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_after() {
    for round in 1..=3 {
        let (_directory, root) = fresh();
        let child = start_committer(&root);
        let run = run_id(u64::from(child.id()));
        let acks = acknowledged(child, 40 * round);
        let mut store = open(&root);
        for ack in &acks {
            assert!(store.version(ack).unwrap().is_some(), "{ack}");
        }
        let length = store.length(&name("fleet/vm/a")).unwrap();
        assert!(length >= acks.len() as u64);
        assert_eq!(store.journal(&run, 0, usize::MAX).unwrap().len() as u64, length, "version and line are one transaction");
        let damages: Vec<Damage> =
            verify(&mut store).into_iter().filter(|damage| damage.hurts != [format!("the graph of run {run}")]).collect();
        assert_eq!(damages, []);
        assert_eq!(store.runs(1).unwrap()[0].state, RunState::Interrupted);
        store.begin_run(run_row(7, 1)).unwrap();
        let Standing::Granted(lefts) = store.lease(&everything(7)).unwrap() else { panic!("the dead hold nothing") };
        assert_eq!(lefts.iter().map(|left| &left.run).collect::<Vec<_>>(), [&run], "and what they left is known");
        store.end_run(&run_id(7)).unwrap();
    }
}

#[test]
fn two_processes_write_one_chain() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    let children = [start_committer(&root), start_committer(&root)];
    let ids = children.each_ref().map(|child| run_id(u64::from(child.id())));
    let readers = children.map(|child| std::thread::spawn(move || acknowledged(child, 60)));
    let mut seen_alive = 0;
    while !readers.iter().all(std::thread::JoinHandle::is_finished) {
        // A third process reads beside the writers; nothing it sees is half written.
        for version in store.chain(&name("fleet/vm/a"), None, 5).unwrap() {
            assert!(store.blob(&version.content).unwrap().is_some());
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
        seen_alive += store.runs(5).unwrap().iter().filter(|row| row.state == RunState::Running).count();
    }
    let acks: Vec<Digest> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
    assert!(acks.iter().all(|ack| store.version(ack).unwrap().is_some()));
    assert!(store.length(&name("fleet/vm/a")).unwrap() >= acks.len() as u64);
    assert!(seen_alive > 0);
    let graphs = ids.map(|id| format!("the graph of run {id}"));
    let damages: Vec<Damage> =
        verify(&mut store).into_iter().filter(|damage| !damage.hurts.iter().all(|hurt| graphs.contains(hurt))).collect();
    assert_eq!(damages, []);
}

#[test]
fn what_is_gathered_is_there_only_when_it_is_released() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    let seen = |count: usize| assert_eq!(open(&root).names().unwrap().len(), count);
    store.gather().unwrap();
    let blob = store.put_blob(b"small").unwrap();
    append(&mut store, "fleet/vm/a", b"1", 1);
    // One that loses its race takes nothing of the others along.
    let lost = new_version("fleet/vm/a", b"2", Some(blob), 2);
    let lost = Commit { versions: vec![new_version("fleet/vm/lost", b"1", None, 2), lost], ..Commit::default() };
    assert!(matches!(store.commit(lost), Err(StoreError::HeadMoved { .. })));
    append(&mut store, "fleet/vm/b", b"1", 1);
    assert_eq!(store.names().unwrap().len(), 2, "its own handle sees it");
    seen(0);
    store.release().unwrap();
    seen(2);
    assert_eq!(open(&root).blob(&blob).unwrap().as_deref(), Some(&b"small"[..]));
    // The next commit is one by itself again.
    append(&mut store, "fleet/vm/c", b"1", 1);
    seen(3);
    store.gather().unwrap();
    append(&mut store, "fleet/vm/d", b"1", 1);
    drop(store);
    seen(3);
    assert!(verify(&mut open(&root)).is_empty());
}

#[test]
fn a_repeat_is_kept_until_something_is_taken_out() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    let key = |number: u8| Digest::of(&[number]);
    assert_eq!((store.repeat(&key(0)).unwrap(), store.newest_record().unwrap()), (None, 0));
    store.keep_repeat(&key(0), "first").unwrap();
    store.keep_repeat(&key(0), "second").unwrap();
    assert_eq!(open(&root).repeat(&key(0)).unwrap().as_deref(), Some("second"));
    (1..=16).for_each(|number| store.keep_repeat(&key(number), "more").unwrap());
    assert_eq!(store.repeat(&key(0)).unwrap(), None, "the oldest go");
    assert!(store.repeat(&key(1)).unwrap().is_some());
    store.drop_blobs(&[]).unwrap();
    assert_eq!(store.repeat(&key(1)).unwrap(), None);
}

#[test]
fn no_part_outlives_a_transaction_that_was_taken_back() {
    let (directory, root) = fresh();
    drop(DirStore::open_or_create(&root).unwrap());
    let (mut index, _) = Index::open(root.join("index.db")).unwrap();
    let pin = |index: &mut Index, name: &str| index.write_part(|rows| rows.set_pin(name, Some("key")));
    assert!(pin(&mut index, "none is open").is_err());
    index.open_transaction().unwrap();
    pin(&mut index, "first").unwrap();
    // As SQLite does by itself when the disk is full.
    index.db.execute_batch("ROLLBACK").unwrap();
    let refused = pin(&mut index, "second").unwrap_err().to_string();
    assert!(refused.ends_with("the transaction was taken back"), "{refused}");
    assert!(index.close_transaction().is_err());
    for name in ["none is open", "first", "second"] {
        assert_eq!(index.rows().pin(name).unwrap(), None, "{name}");
    }
    drop(directory);
}

#[test]
fn a_blob_that_is_not_written_twice_the_same_is_refused() {
    let (_directory, root) = fresh();
    let mut store = DirStore::open_or_create(&root).unwrap();
    let times = std::cell::Cell::new(0u8);
    let refused = store.put_written(&|to| {
        times.set(times.get() + 1);
        to.write_all(&[times.get(); 10_000])
    });
    let Err(StoreError::Io { cause, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((cause.as_str(), times.get()), ("it was not written twice the same", 2));
    assert_eq!(store.blob_names().unwrap(), []);
    let failing = store.put_written(&|_| Err(std::io::Error::other("no more")));
    assert!(matches!(&failing, Err(StoreError::Io { cause, .. }) if cause == "no more"), "{failing:?}");
}

/// The disk, and which files were synced on it.
#[derive(Default)]
struct Synced(Mutex<Vec<PathBuf>>);

impl Files for Synced {
    fn sync(&self, path: &Path, file: &File) -> std::io::Result<()> {
        self.0.lock().unwrap().push(path.to_path_buf());
        Disk.sync(path, file)
    }
}

#[test]
fn what_waited_for_nothing_is_durable_with_the_end_of_its_run() {
    let (directory, root) = fresh();
    let files = Arc::new(Synced::default());
    let mut store = DirStore::open_or_create_on(Arc::<Synced>::clone(&files), &root).unwrap();
    let log = root.join("index.db-wal");
    let mut run = |number: u64| {
        files.0.lock().unwrap().clear();
        store.begin_run(run_row(number, 1)).unwrap();
        let state = Some((run_id(number), RunState::Succeeded, Some(Time(9))));
        store.commit(Commit { state, ..Commit::default() }).unwrap();
        store.end_run(&run_id(number)).unwrap();
        // What a power cut leaves: the index, and the log only as far as it was synced.
        let left = directory.path().join(format!("left {number}"));
        fs::create_dir_all(&left).unwrap();
        for name in ["FORMAT", "index.db"].into_iter().chain(files.0.lock().unwrap().contains(&log).then_some("index.db-wal")) {
            fs::copy(root.join(name), left.join(name)).unwrap();
        }
        let states: Vec<RunState> = open(&left).runs(5).unwrap().into_iter().map(|row| row.state).collect();
        assert_eq!(states, vec![RunState::Succeeded; usize::try_from(number).unwrap()]);
        files.0.lock().unwrap().contains(&log)
    };
    assert!(!run(1), "folded into the index");
    let reader = rusqlite::Connection::open(root.join("index.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM runs;").unwrap();
    assert!(run(2), "somebody reads around the log, so that it is synced as it is");
    reader.execute_batch("COMMIT").unwrap();
    assert!(!run(3));
}

#[test]
fn a_transaction_that_waits_for_nothing_leaves_the_next_one_waiting() {
    let (_directory, root) = fresh();
    drop(DirStore::open_or_create(&root).unwrap());
    let (mut index, _) = Index::open(root.join("index.db")).unwrap();
    let full = |index: &Index| assert_eq!(index.db.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).unwrap(), 2);
    full(&index);
    index.write_unsynced(|rows| rows.set_pin("kept", Some("key"))).unwrap();
    full(&index);
    let refused = index.write_unsynced(|rows| {
        rows.set_pin("taken back", Some("key"))?;
        Err::<(), _>(StoreError::Io { attempt: "go on".to_owned(), cause: "no".to_owned() })
    });
    assert!(matches!(refused, Err(StoreError::Io { attempt, .. }) if attempt == "go on"));
    full(&index);
    index.open_transaction().unwrap();
    // SQLite refuses it here: the transaction stays as it was begun.
    assert!(index.write_unsynced(|_| Ok(())).is_err());
    index.abandon_transaction();
    full(&index);
    assert_eq!((index.rows().pin("kept").unwrap().as_deref(), index.rows().pin("taken back").unwrap()), (Some("key"), None));
}
