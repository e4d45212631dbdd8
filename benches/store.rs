//! The store: versions written one by one and read back, in this process, beside bare SQLite; and `pmx log` of 10,000 versions beside git and sqlite3.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pmx::digest::Digest;
use pmx::event::{RunState, Time};
use pmx::name::{Actor, ResourceName, RunId};
use pmx::store::Store;
use pmx::store::dir::DirStore;
use pmx::store::words::{Commit, Made, NewVersion, RunRow};

use crate::harness::{Contender, Harness, Work, clocked, pmx, run};

/// Versions that are written one by one.
const WRITES: usize = 200;
/// Versions of the long chain.
const LONG: usize = 10_000;

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    let dir = tempfile::Builder::new().prefix("pmx-bench-").tempdir().expect("a temporary directory can be made");
    writes(harness, dir.path());
    logs(harness, dir.path());
}

fn writes(harness: &mut Harness, dir: &Path) {
    let mut writer = Writer::new(&dir.join("writes"));
    let db = rusqlite::Connection::open(dir.join("bare.db")).expect("SQLite makes a file");
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)")
        .expect("it makes a table");
    let mut count = 0;
    let case = harness.contest(
        format!("{WRITES} versions of 1 KiB, each synced"),
        vec![
            Contender::ours("pmx store", Work::Own(Box::new(|_| clocked(|| (0..WRITES).for_each(|_| writer.write(1)))))),
            Contender::peer(
                "SQLite FULL",
                &[],
                Work::Own(Box::new(|_| {
                    clocked(|| {
                        for _ in 0..WRITES {
                            count += 1;
                            db.execute("INSERT INTO t (body) VALUES (?1)", [&content(count)]).expect("it takes a row");
                        }
                    })
                })),
            ),
        ],
    );
    harness.goal("write of one 1 KiB version, synced", ("≤ 1.2 × SQLite FULL", 1.2), case.ratio("pmx store", "SQLite FULL"), "×");
    let name = writer.name.clone();
    harness.contest(
        format!("{WRITES} versions of 1 KiB read back"),
        vec![
            Contender::ours("pmx store", Work::Own(Box::new(|_| read(&mut writer.store, &name)))),
            Contender::peer("SQLite", &[], Work::Own(Box::new(|_| bare(&db)))),
        ],
    );
}

fn read(store: &mut DirStore, name: &ResourceName) -> Duration {
    clocked(|| {
        let chain = store.chain(name, None, WRITES).expect("the chain is there");
        let bytes: usize = chain.iter().map(|version| store.blob(&version.content).expect("it reads").map_or(0, |bytes| bytes.len())).sum();
        assert!(bytes >= WRITES * 1000, "{bytes}");
    })
}

fn bare(db: &rusqlite::Connection) -> Duration {
    clocked(|| {
        let mut statement = db.prepare_cached("SELECT body FROM t ORDER BY id DESC LIMIT ?1").expect("it is SQL");
        let rows = statement.query_map([WRITES as i64], |row| row.get::<_, Vec<u8>>(0)).expect("it reads");
        let bytes: usize = rows.map(|row| row.expect("a row").len()).sum();
        assert!(bytes >= WRITES * 1000, "{bytes}");
    })
}

fn logs(harness: &mut Harness, dir: &Path) {
    let project = dir.join("project");
    std::fs::create_dir_all(&project).expect("a folder can be made");
    std::fs::write(project.join("Pmxfile.toml"), "[project]\nname = \"bench\"\n").expect("a file can be written");
    let mut writer = Writer::new(&project.join("store"));
    (0..LONG / 100).for_each(|_| writer.write(100));
    drop(writer);
    fast_import(dir);
    let db = dir.join("log.db");
    let sql = "SELECT number, at, actor, call FROM versions ORDER BY number DESC";
    let plain = rusqlite::Connection::open(&db).expect("SQLite makes a file");
    plain
        .execute_batch("CREATE TABLE versions (number INTEGER PRIMARY KEY, at INTEGER, actor TEXT, call TEXT); BEGIN")
        .expect("it makes a table");
    for number in 0..LONG {
        plain.execute("INSERT INTO versions VALUES (?1, ?1, 'cli:root@bench', 'fleet.lookup')", [number as i64]).expect("it takes a row");
    }
    plain.execute_batch("COMMIT").expect("it commits");
    let ours = |words: &'static [&'static str]| {
        let project = project.clone();
        let work = move |_: usize| {
            let mut command = pmx();
            command.args(words).current_dir(&project).env("HOME", &project);
            command
        };
        Work::Process(Box::new(work))
    };
    let case = harness.contest(
        format!("the log of {LONG} versions"),
        vec![
            Contender::ours("pmx log", ours(&["log", "bench/thing/one"])),
            Contender::ours("pmx log -n 1", ours(&["log", "bench/thing/one", "-n", "1"])),
            Contender::ours("pmx log, until its first line", Work::Own(Box::new(|_| first_line(&project)))),
            Contender::peer(
                "git log",
                &["git"],
                Work::Process(Box::new(|_| {
                    let mut command = Command::new("git");
                    command.args(["log", "--format=%H %at %an %s"]).current_dir(dir.join("git"));
                    command
                })),
            ),
            Contender::peer(
                "sqlite3",
                &["sqlite3"],
                Work::Process(Box::new(|_| {
                    let mut command = Command::new("sqlite3");
                    command.arg(&db).arg(sql);
                    command
                })),
            ),
        ],
    );
    harness.goal(format!("pmx log of {LONG} versions"), ("≤ 15 ms", 15.0), case.median("pmx log"), "ms");
    let first = case.median("pmx log, until its first line");
    harness.goal(format!("pmx log of {LONG} versions, first line"), ("≤ 10 ms", 10.0), first, "ms");
}

/// How long one waits for something to read.
fn first_line(project: &Path) -> Duration {
    let mut command = pmx();
    command.args(["log", "bench/thing/one"]).current_dir(project).env("HOME", project).stdin(Stdio::null()).stdout(Stdio::piped());
    let began = Instant::now();
    let mut child = command.spawn().expect("pmx starts");
    let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
    let (mut line, mut rest) = (String::new(), String::new());
    out.read_line(&mut line).expect("it can be read");
    let took = began.elapsed();
    out.read_to_string(&mut rest).expect("it can be read");
    assert!(child.wait().expect("it ends").success() && rest.lines().count() >= LONG - 1, "the log is whole");
    took
}

/// The same history for git.
fn fast_import(dir: &Path) {
    if crate::harness::find("git").is_none() {
        return;
    }
    let repository = dir.join("git");
    run(Command::new("git").args(["init", "-q"]).arg(&repository));
    let stream: String = (1..=LONG)
        .map(|number| {
            let body = String::from_utf8(content(number)).expect("it is text");
            format!(
                "commit refs/heads/main\ncommitter bench <b@b> {number} +0000\ndata 3\nrun\nM 644 inline thing\ndata {}\n{body}\n",
                body.len()
            )
        })
        .collect();
    std::fs::write(dir.join("stream"), stream).expect("a file can be written");
    let input = std::fs::File::open(dir.join("stream")).expect("it is there");
    let mut command = Command::new("git");
    command.args(["fast-import", "--quiet"]).current_dir(&repository).stdin(Stdio::from(input)).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("git starts").success(), "git takes the stream");
    run(Command::new("git").args(["symbolic-ref", "HEAD", "refs/heads/main"]).current_dir(&repository));
}

/// A KiB of JSON that differs by its number.
fn content(number: usize) -> Vec<u8> {
    format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(1000)).into_bytes()
}

/// Writes versions of one resource, or of many.
pub struct Writer {
    /// The store.
    pub store: DirStore,
    name: ResourceName,
    head: Option<Digest>,
    made: Made,
    count: usize,
}

impl Writer {
    /// A new store at `place`, with one run.
    pub fn new(place: &Path) -> Self {
        let mut store = DirStore::open_or_create(place).expect("a store can be made");
        let run: RunId = "0193567890abcdef0193567890abcdef".parse().expect("it is an id");
        let actor: Actor = "cli:root@bench".parse().expect("it is an actor");
        let row = RunRow {
            id: run.clone(),
            targets: vec!["bench".to_owned()],
            inputs: "{}".to_owned(),
            actor: actor.clone(),
            began: Time(0),
            ended: None,
            state: RunState::Running,
            graph: store.put_blob(b"{}").expect("it takes a blob"),
            version: "bench".to_owned(),
        };
        store.begin_run(row).expect("a run can begin");
        let made = Made { run, step: "bench/step".to_owned(), call: "bench.look".to_owned(), key: Digest::of(b"key"), at: Time(0), actor };
        Self { store, name: ResourceName::new("bench", "thing", "one"), head: None, made, count: 0 }
    }

    /// The first version of each of these resources, all with this content, in one transaction.
    pub fn first(&mut self, names: Vec<ResourceName>, content: &[u8]) {
        let first = |resource| NewVersion { resource, content: content.to_vec(), expected: None, made: self.made.clone(), log: None };
        let versions = names.into_iter().map(first).collect();
        self.store.commit(Commit { versions, ..Commit::default() }).expect("the store takes versions");
    }

    /// `count` versions of one resource, in one transaction.
    pub fn write(&mut self, count: usize) {
        let mut versions = Vec::with_capacity(count);
        let mut head = self.head;
        for _ in 0..count {
            self.count += 1;
            let made = Made { at: Time(self.count as i64), ..self.made.clone() };
            let new = NewVersion { resource: self.name.clone(), content: content(self.count), expected: head, made, log: None };
            let version = pmx::store::words::Version {
                resource: new.resource.clone(),
                number: self.count as u64,
                parent: head,
                content: Digest::of(&new.content),
                made: new.made.clone(),
                log: None,
            };
            head = Some(version.digest());
            versions.push(new);
        }
        self.head = head;
        self.store.commit(Commit { versions, ..Commit::default() }).expect("the store takes versions");
    }
}
