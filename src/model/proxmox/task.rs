//! Proxmox's tasks: their ids, and waiting for their end with the log streamed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value as Json;

use crate::event::Stream;
use crate::model::contract::Failure;
use crate::model::proxmox::api::{Api, ApiError, text};
use crate::model::wait::{Wait, cancelled};

/// Lines of a log asked for at once; Proxmox gives 50 when it is not told.
const PAGE: u64 = 500;
/// Pages read of one log at most: half a million lines.
const PAGES: usize = 1000;
/// How long a new task may be unknown to its own node.
const UNKNOWN: Duration = Duration::from_secs(5);
/// How often `unexpected status` (the end of the log is still being written, or its worker was killed) is read again.
const REREADS: u32 = 5;
/// How long the node may be out of reach in the middle of a wait.
const LOST: Duration = Duration::from_secs(60);
/// The wait for a task that an earlier try began.
pub const LEFT: &str = "a Proxmox task of the interrupted run";
/// Its deadline.
pub const LEFT_DEADLINE: Duration = Duration::from_secs(1800);
/// Lines kept for a failure's tail.
const TAIL: usize = 8;

/// The id of a task: `UPID:node:pid:pstart:starttime:type:id:user:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upid {
    /// The node that runs it: the one to ask.
    pub node: String,
    /// `qmstart`, `vzdump`, …
    pub kind: String,
    /// Mostly a vmid; may be empty.
    pub id: String,
    /// Who began it, with `!token` for API tokens.
    pub user: String,
    text: String,
}

/// A text that is not a task's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the id of a Proxmox task")]
pub struct NotAUpid(String);

impl FromStr for Upid {
    type Err = NotAUpid;

    fn from_str(text: &str) -> Result<Self, NotAUpid> {
        let refuse = || NotAUpid(text.chars().take(120).collect());
        let parts: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, start, kind, id, user, ""] = parts[..] else { return Err(refuse()) };
        let hex = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
            lengths.contains(&part.len()) && part.chars().all(|c| c.is_ascii_hexdigit())
        };
        let named = |part: &str| !part.is_empty() && !part.contains(|c: char| c == '/' || c.is_whitespace());
        let good_node = named(node) && node.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        // `pstart` grows to 9 digits on a node that has been up for 497 days.
        if !(good_node && hex(pid, 8..=8) && hex(pstart, 8..=9) && hex(start, 8..=8) && named(kind) && named(user)) {
            return Err(refuse());
        }
        Ok(Self { node: node.into(), kind: kind.into(), id: id.into(), user: user.into(), text: text.into() })
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A task that ended well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The log's warnings, when it ended with some.
    pub warnings: Vec<String>,
}

/// A task that ended badly: its own words and what is around them.
#[derive(Clone, Debug)]
pub struct TaskError {
    /// The exit status it left, empty when it never came to that.
    pub exit: String,
    /// The same for the runner.
    pub failure: Failure,
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> Self {
        Self { exit: String::new(), failure }
    }
}
impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        error.failure
    }
}
impl From<ApiError> for TaskError {
    fn from(error: ApiError) -> Self {
        Self::from(Failure::from(error))
    }
}

/// Waits for the task whose id is `data`, the answer of the request that began it. Its id is in the journal before the wait begins.
///
/// - `OK` and `WARNINGS: n` are success; warnings are told and returned.
/// - Passing faults of the network do not end the wait before a minute; the task runs on without us.
/// - When the run is cancelled, the task is stopped too.
pub async fn wait(api: &Api<'_>, data: &Json, phase: &str, deadline: Duration) -> Result<Done, TaskError> {
    let given = data.as_str().unwrap_or_default();
    let upid: Upid = given.parse().map_err(|e| Failure::theirs(format!("{}: {e}", api.host())).maybe_acted())?;
    api.ctx.reporter.task(given).await.map_err(Failure::maybe_acted)?;
    follow(api, upid, phase, deadline).await
}

/// What became of the tasks that an earlier try had begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reattached {
    /// Whether the last of them ended well: what it did, this action did.
    pub done: bool,
}

/// Waits for the tasks that an earlier try of this very action began before its process died, each by its id, with its log streamed. A task that failed is
/// told: what it left undone is for the method, which looks.
pub async fn reattach(api: &Api<'_>) -> Result<Reattached, Failure> {
    let mut found = Reattached::default();
    for upid in api.ctx.unfinished.iter().filter_map(|id| id.parse::<Upid>().ok()) {
        let named = format!("{} of {} ({upid})", upid.kind, upid.id);
        match api.get(&format!("/nodes/{}/tasks/{upid}/status", upid.node), &[]).await {
            Err(error) if error.reason().contains("no such task") => {
                api.ctx.reporter.warn(&format!("{named}, which the interrupted run began, is not known to the node any more"));
                continue;
            }
            Err(error) => return Err(Failure::from(error).maybe_acted()),
            Ok(_) => api.ctx.reporter.line(Stream::Log, &format!("attached to {named} of the interrupted run")),
        }
        match follow(api, upid, LEFT, LEFT_DEADLINE).await {
            Ok(_) => found.done = true,
            // No exit: the wait itself ended, by its deadline, a cancel, or the network.
            Err(error) if error.exit.is_empty() => return Err(error.failure),
            Err(error) => {
                found.done = false;
                api.ctx.reporter.warn(&format!("{named}, which the interrupted run began, ended with: {}", error.exit));
            }
        }
    }
    Ok(found)
}

async fn follow(api: &Api<'_>, upid: Upid, phase: &str, deadline: Duration) -> Result<Done, TaskError> {
    let mut watch = Watch { api, upid, next: 0, lines: Vec::new(), lost: None, rereads: 0 };
    let mut wait = Wait::begin(api.ctx, phase, deadline, (Duration::from_millis(30), Duration::from_secs(1)));
    let mut streamed = Duration::ZERO;
    loop {
        if let Some(exit) = watch.exit(wait.lasted()).await? {
            watch.stream().await;
            return watch.judge(&exit);
        }
        if wait.lasted().saturating_sub(streamed) >= Duration::from_secs(1) {
            streamed = wait.lasted();
            watch.stream().await;
        }
        let why = watch.lines.last().cloned().unwrap_or_else(|| format!("task {} runs", watch.upid));
        match wait.again(&why).await {
            Ok(true) => {}
            Ok(false) => return Err(watch.late(&wait).into()),
            Err(_) => return Err(watch.cancel().await.into()),
        }
    }
}

struct Watch<'a> {
    api: &'a Api<'a>,
    upid: Upid,
    next: u64,
    lines: Vec<String>,
    lost: Option<Duration>,
    rereads: u32,
}

impl Watch<'_> {
    fn path(&self, rest: &str) -> String {
        format!("/nodes/{}/tasks/{}{rest}", self.upid.node, self.upid)
    }

    /// The exit status, once there is one. `lasted` is how long the wait has lasted.
    async fn exit(&mut self, lasted: Duration) -> Result<Option<String>, Failure> {
        let status = match self.api.get(&self.path("/status"), &[]).await {
            Ok(status) => status,
            Err(error) if error.reason().contains("no such task") && lasted < UNKNOWN => return Ok(None),
            Err(error) if error.passing() && lasted.saturating_sub(*self.lost.get_or_insert(lasted)) < LOST => return Ok(None),
            // The effect was begun: whatever goes wrong from here on, the world may have changed.
            Err(error) => return Err(Failure::from(error).maybe_acted()),
        };
        self.lost = None;
        if text(&status, "status").as_deref() != Some("stopped") {
            return Ok(None);
        }
        let exit = text(&status, "exitstatus").unwrap_or_else(|| "unexpected status".to_owned()).trim().to_owned();
        if exit == "unexpected status" && self.rereads < REREADS {
            self.rereads += 1;
            return Ok(None);
        }
        Ok(Some(exit))
    }

    /// Reads what is new of the log. A log that cannot be read (another user's, a passing fault) is no reason to fail.
    async fn stream(&mut self) {
        for _ in 0..PAGES {
            let (start, limit) = (self.next.to_string(), PAGE.to_string());
            let Ok(page) = self.api.get(&self.path("/log"), &[("start", &start), ("limit", &limit)]).await else { return };
            let rows: Vec<String> = page.as_array().map(|rows| rows.iter().filter_map(|row| text(row, "t")).collect()).unwrap_or_default();
            // The one row of an empty log is not a line of it.
            if rows.is_empty() || rows == ["no content"] {
                return;
            }
            self.next += rows.len() as u64;
            let full = rows.len() as u64 == PAGE;
            // The last line of a log repeats the exit status, which the outcome or the failure tells.
            for line in rows.into_iter().filter(|line| !line.starts_with("TASK ")) {
                self.api.ctx.reporter.line(Stream::Log, &line);
                self.lines.push(line);
            }
            if !full {
                return;
            }
        }
    }

    fn judge(&self, exit: &str) -> Result<Done, TaskError> {
        if exit == "OK" {
            return Ok(Done::default());
        }
        if exit.starts_with("WARNINGS") {
            let warns = |line: &&String| line.to_ascii_lowercase().starts_with("warn");
            let mut warnings: Vec<String> = self.lines.iter().filter(warns).cloned().collect();
            if warnings.is_empty() {
                warnings.push(format!("task {} ended with {exit}", self.upid));
            }
            warnings.iter().for_each(|line| self.api.ctx.reporter.warn(line));
            return Ok(Done { warnings });
        }
        let tail = self.tail();
        let message = if exit == "unexpected status" {
            format!("{}: task {} ended without saying how: its worker may have been killed", self.api.host(), self.upid)
        } else {
            format!("{}: {} of {} failed: {exit}", self.api.host(), self.upid.kind, self.upid.id)
        };
        Err(TaskError { exit: exit.to_owned(), failure: Failure::theirs(message).maybe_acted().tail(tail) })
    }

    fn late(&self, wait: &Wait<'_>) -> Failure {
        Failure::theirs(format!("{}: task {} still runs after {} s", self.api.host(), self.upid, wait.seconds()))
            .maybe_acted()
            .help("it was left running in Proxmox; build the same target again when it has ended")
            .tail(self.tail())
    }

    async fn cancel(&self) -> Failure {
        let stopped = match self.api.delete(&self.path(""), &[]).await {
            Ok(_) => "was told to stop".to_owned(),
            Err(error) => format!("could not be stopped: {error}"),
        };
        cancelled(format!("the run was cancelled: task {} {stopped}", self.upid)).maybe_acted().tail(self.tail())
    }

    fn tail(&self) -> Vec<String> {
        self.lines[self.lines.len().saturating_sub(TAIL)..].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_or_refused_however_spoiled() {
        let seeds = ["UPID:pve2:0000017D:0002C75E:6B04272F:qmstart:101:root@pam:", "UPID:a-b:0000017D:0002C75E1:6B04272F:vzdump::x@pve!t:"];
        crate::walks::feed(&seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            text.parse::<Upid>().map(|upid| assert_eq!(upid.to_string(), text)).map_err(|e| e.to_string())
        });
    }
}
