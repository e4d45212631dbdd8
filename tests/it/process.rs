//! Processes that a test starts: waited for with a deadline, and ended by their ids with everything they started.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Waits until `ready` says so.
///
/// # Panics
/// After `limit`, naming `what`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < limit, "{what} did not happen within {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a signal, by its name without `SIG`, to processes by their ids; ids that are gone are no error.
pub fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let ids: Vec<String> = pids.iter().map(u32::to_string).collect();
    // The shell has kill built in; a program of that name is not on every machine.
    let script = format!("kill -{name} {} 2>/dev/null", ids.join(" "));
    let _ = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status();
}

/// Ids of a process and of all that it started, directly or not, as far as their parents still live.
pub fn tree(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(pid, of)| **of == parent && !found.contains(pid)).map(|(pid, _)| *pid).collect::<Vec<_>>());
        at += 1;
    }
    found
}

/// Ids of the processes whose environment holds `variable`, a text of the form `NAME=value`.
pub fn marked(variable: &str) -> Vec<u32> {
    let has = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    parents().into_keys().filter(has).collect()
}

/// Ids of the processes whose last argument is `word`.
pub fn listed(word: &str) -> Vec<u32> {
    let ends = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).rev().nth(1).is_some_and(|last| last == word.as_bytes())
    };
    parents().into_keys().filter(ends).collect()
}

/// The process that started another, while both live.
pub fn parent(pid: u32) -> Option<u32> {
    parents().get(&pid).copied()
}

/// The most memory that a process ever had resident, in bytes; `None` when it is gone.
pub fn most_resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// The bytes that a process has read so far, from files, pipes and sockets; `None` when it is gone.
pub fn bytes_read(pid: u32) -> Option<u64> {
    let counts = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    counts.lines().find_map(|line| line.strip_prefix("rchar: "))?.parse().ok()
}

fn parents() -> BTreeMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let pids = entries.into_iter().filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let parent = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; what follows the last bracket is state and parent.
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

/// A process of a test; dropping it asks it to end, waits, and kills what is left of it and of its children.
pub struct Process {
    child: Child,
    patience: Duration,
}

impl Process {
    /// Starts `command` without standard input; on drop it has `patience` to end by itself.
    pub fn start(command: &mut Command, patience: Duration) -> Self {
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, patience }
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.runs() {
            return;
        }
        let all = tree(self.id());
        signal("TERM", &[self.id()]);
        let began = Instant::now();
        while self.runs() && began.elapsed() < self.patience {
            std::thread::sleep(Duration::from_millis(10));
        }
        signal("KILL", &all);
        let _ = self.child.wait();
    }
}

#[test]
fn a_dropped_process_takes_its_children_with_it() {
    let mark = format!("PMX_TEST_MARK={}", std::process::id());
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' TERM; sleep 60 & sleep 60"]).env("PMX_TEST_MARK", std::process::id().to_string());
    let parent = Process::start(&mut command, Duration::from_millis(50));
    wait_until("the shell has both children", Duration::from_secs(10), || tree(parent.id()).len() == 3 && marked(&mark).len() == 3);
    drop(parent);
    wait_until("all of them are gone", Duration::from_secs(10), || marked(&mark).is_empty());
}
