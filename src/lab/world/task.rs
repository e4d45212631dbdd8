//! The ledger of tasks: who started what when, its log, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Finished tasks that are kept.
const KEEP: usize = 1000;

/// One task.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// Its name: `UPID:node:pid:pstart:starttime:type:id:user:`.
    pub upid: String,
    /// Process id.
    pub pid: u32,
    /// Start of that process in hundredths of a second since the node's boot.
    pub pstart: u64,
    /// Unix seconds.
    pub start: i64,
    /// `qmstart`, `qmdestroy`, …
    pub kind: String,
    /// Usually the vmid; may be empty.
    pub id: String,
    /// The account, with `!token` when a token was used.
    pub user: String,
    /// What it printed.
    pub log: Vec<String>,
    /// Unix seconds of its end.
    pub end: Option<i64>,
    /// `OK`, `WARNINGS: 1`, or the error.
    pub exit: Option<String>,
}

/// All tasks; finished ones in the order of their end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The last process id given out.
    pub last_pid: u32,
    /// Tasks under way.
    pub active: Vec<Task>,
    /// Tasks that ended, oldest first.
    pub finished: Vec<Task>,
}

/// What a new task is.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The node's name.
    pub node: &'a str,
    /// Unix seconds.
    pub start: i64,
    /// Hundredths of a second since the node's boot.
    pub pstart: u64,
    /// `qmstart`, …
    pub kind: &'a str,
    /// vmid or other id.
    pub id: &'a str,
    /// The account.
    pub user: &'a str,
}

impl Ledger {
    /// The next process id: workers of a real node leave gaps.
    pub const fn next_pid(&mut self, step: u32) -> u32 {
        self.last_pid = if self.last_pid > 4_000_000 { 500 } else { self.last_pid + 1 + step };
        self.last_pid
    }

    /// Opens a task and returns its UPID.
    pub fn open(&mut self, opening: &Opening<'_>, step: u32) -> String {
        let Opening { node, start, pstart, kind, id, user } = opening;
        let pid = self.next_pid(step);
        let upid = format!("UPID:{node}:{pid:08X}:{pstart:08X}:{start:08X}:{kind}:{id}:{user}:");
        self.active.push(Task {
            upid: upid.clone(),
            pid,
            pstart: *pstart,
            start: *start,
            kind: (*kind).to_owned(),
            id: (*id).to_owned(),
            user: (*user).to_owned(),
            log: Vec::new(),
            end: None,
            exit: None,
        });
        upid
    }

    /// The task of that name.
    pub fn find(&self, upid: &str) -> Option<&Task> {
        self.active.iter().chain(self.finished.iter().rev()).find(|task| task.upid == upid)
    }

    /// Adds a line to a running task's log.
    pub fn log(&mut self, upid: &str, line: &str) {
        if let Some(task) = self.active.iter_mut().find(|task| task.upid == upid) {
            task.log.extend(line.lines().map(str::to_owned));
        }
    }

    /// Ends a task: `exit` is `OK`, `WARNINGS: n`, or the error.
    pub fn close(&mut self, upid: &str, exit: &str, now: i64) {
        let Some(place) = self.active.iter().position(|task| task.upid == upid) else { return };
        let mut task = self.active.remove(place);
        task.log.push(match exit {
            "OK" => "TASK OK".to_owned(),
            warned if warned.starts_with("WARNINGS: ") => format!("TASK {warned}"),
            failed => format!("TASK ERROR: {failed}"),
        });
        task.end = Some(now);
        task.exit = Some(exit.to_owned());
        self.finished.push(task);
        if self.finished.len() > KEEP {
            self.finished.drain(..self.finished.len() - KEEP);
        }
    }

    /// Ends what was under way when the lab stopped, as a killed worker ends: no last line, `unexpected status`.
    pub fn interrupt_all(&mut self, now: i64) {
        for mut task in std::mem::take(&mut self.active) {
            task.end = Some(now);
            task.exit = Some("unexpected status".to_owned());
            self.finished.push(task);
        }
    }
}

/// Whether an exit text counts as success.
pub fn is_success(exit: &str) -> bool {
    exit == "OK" || exit.starts_with("WARNINGS: ")
}

impl Task {
    /// The account without its token.
    pub fn owner(&self) -> &str {
        self.user.split('!').next().unwrap_or("")
    }

    /// `user` (and `tokenid`) as every answer shows them.
    pub fn put_user(&self, row: &mut Map<String, Value>) {
        row.insert("user".into(), json!(self.owner()));
        if let Some((_, token)) = self.user.split_once('!') {
            row.insert("tokenid".into(), json!(token));
        }
    }
}
