//! Programs and files inside the guest, reached through its agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::agent;
use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Route, Run};
use crate::lab::commands;
use crate::lab::hosts::machine;
use crate::lab::shell::io::{Input, Io, Sink, take};
use crate::lab::shell::{STACK, Shell, World as Process};

/// Only who may do anything in the guest may run programs in it.
const ALL: May = May::Agent("VM.GuestAgent.Unrestricted");

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/agent/exec", ALL, EXEC, Run::Later(exec)),
    Route::read("/nodes/{node}/qemu/{vmid}/agent/exec-status", ALL, EXEC_STATUS, Run::Later(exec_status)).behind(),
    Route::read("/nodes/{node}/qemu/{vmid}/agent/file-read", ALL, &[need("file", Kind::Text)], Run::Later(file_read)).behind(),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/agent/file-write", ALL, FILE_WRITE, Run::Later(file_write)),
];

const EXEC: &[super::Param] = &[need("command", Kind::List), opt("input-data", Kind::Text)];
const EXEC_STATUS: &[super::Param] = &[need("pid", Kind::Int(0, i64::MAX))];
const FILE_WRITE: &[super::Param] = &[need("file", Kind::Text), need("content", Kind::Text), opt("encode", Kind::Bool)];

/// Programs that the shell has built in and that a system has as files too.
const BUILT_IN: &[&str] = &["echo", "printf", "test", "[", "true", "false", "pwd"];
/// Most that is read of a file, as Proxmox limits it.
const LONGEST: usize = 16 << 20;
/// Ended programs whose results are kept.
const KEEP: usize = 200;

/// What came of a program; none while it runs.
#[derive(Clone, Debug, Default)]
struct Ended {
    code: i32,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Programs that were started through agents, by vmid and process id.
#[derive(Debug, Default)]
pub struct Started(Mutex<BTreeMap<(u32, i64), Option<Ended>>>);

impl Started {
    fn put(&self, vmid: u32, pid: i64, ended: Option<Ended>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((vmid, pid), ended);
        if all.len() > KEEP {
            all.pop_first();
        }
    }

    fn get(&self, vmid: u32, pid: i64) -> Option<Option<Ended>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(vmid, pid)).cloned()
    }
}

fn process(call: &Call) -> Process {
    Process::new(machine(&call.lab, call.vmid()), "root", commands::find)
}

fn exec(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        agent::reached(&call).await?;
        let mut words = call.params.get("command").cloned().unwrap_or_default();
        if let [one] = &words[..] {
            // One text without list is split as Proxmox splits a list parameter.
            words = one.split(['\0', ';', ',', ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        }
        let program = words.first().cloned().unwrap_or_default();
        let base = program.rsplit('/').next().unwrap_or("").to_owned();
        let process = process(&call);
        if commands::find(&process, &base).is_none() && !BUILT_IN.contains(&base.as_str()) {
            // qemu-ga answers in curly quotes, which no reason phrase survives.
            let said = format!("Failed to execute child process \u{201c}{program}\u{201d} (No such file or directory)");
            return Err(Fail::Died(format!("Agent error: Guest agent command failed, error was '{said}'")));
        }
        let pid = i64::from(call.lab.change(|world| world.ledger.next_pid(3)));
        call.lab.started.put(call.vmid(), pid, None);
        let input = call.text("input-data").unwrap_or("").as_bytes().to_vec();
        start(&call, process, words, (pid, input)).map_err(|error| format!("Agent error: {error}"))?;
        Ok(json!({ "pid": pid }).into())
    }
    .boxed()
}

/// Runs a program on a thread of its own, as the shell behind SSH does.
fn start(call: &Call, process: Process, words: Vec<String>, (pid, input): (i64, Vec<u8>)) -> std::io::Result<()> {
    let (lab, vmid) = (Arc::clone(&call.lab), call.vmid());
    let work = move || {
        let ((stdout, out), (stderr, err)) = (Sink::buffer(), Sink::buffer());
        let mut shell = Shell::new(process, Io { stdin: Input::bytes(input), stdout, stderr });
        let code = shell.program(&words);
        lab.started.put(vmid, pid, Some(Ended { code, out: take(&out), err: take(&err) }));
    };
    std::thread::Builder::new().name("lab-agent".into()).stack_size(STACK).spawn(work).map(drop)
}

fn exec_status(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        agent::reached(&call).await?;
        let pid = call.number("pid").unwrap_or(0);
        let known = call.lab.started.get(call.vmid(), pid).ok_or_else(|| "Agent error: Invalid parameter 'pid'".to_owned())?;
        let Some(ended) = known else { return Ok(json!({"exited": 0}).into()) };
        let mut row = json!({"exited": 1, "exitcode": ended.code});
        for (name, bytes) in [("out", &ended.out), ("err", &ended.err)] {
            if !bytes.is_empty() {
                row[format!("{name}-data")] = json!(String::from_utf8_lossy(bytes));
                row[format!("{name}-truncated")] = json!(0);
            }
        }
        Ok(row.into())
    }
    .boxed()
}

fn file_read(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        agent::reached(&call).await?;
        let path = call.text("file").unwrap_or("");
        let bytes = process(&call).read(path).map_err(|_| refused(path, "r"))?;
        let shown = &bytes[..bytes.len().min(LONGEST)];
        let mut row = json!({"content": String::from_utf8_lossy(shown), "bytes-read": shown.len()});
        if shown.len() < bytes.len() {
            row["truncated"] = json!(1);
        }
        Ok(row.into())
    }
    .boxed()
}

fn refused(path: &str, mode: &str) -> String {
    format!("Agent error: failed to open file '{path}' (mode: '{mode}'): No such file or directory")
}

fn file_write(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        agent::reached(&call).await?;
        let (path, content) = (call.text("file").unwrap_or(""), call.text("content").unwrap_or(""));
        process(&call).files(|files| files.write(path, content.as_bytes().to_vec(), 0o644)).map_err(|_| refused(path, "wb"))?;
        Ok(Value::Null.into())
    }
    .boxed()
}
