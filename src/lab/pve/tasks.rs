//! Tasks: the lists, one task's status and log, and stopping it.

use serde_json::{Map, Value, json};

use super::reply::{Answer, Fail};
use super::schema::{Kind, opt};
use super::{Call, May, Route, Run};
use crate::lab::world::task::{Task, is_success};

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/nodes/{node}/tasks", May::Anyone, LIST, Run::Now(list)),
    Route::read("/nodes/{node}/tasks/{upid}", May::Anyone, &[], Run::Index("name", &["log", "status"])),
    Route::read("/nodes/{node}/tasks/{upid}/status", May::Anyone, &[], Run::Now(status)).behind(),
    Route::read("/nodes/{node}/tasks/{upid}/log", May::Anyone, LOG, Run::Now(log)).behind(),
    Route::work("DELETE", "/nodes/{node}/tasks/{upid}", May::Anyone, &[], Run::Now(interrupt)),
    Route::read("/cluster/tasks", May::Anyone, &[], Run::Now(cluster)),
];

const LIST: &[super::Param] = &[
    opt("start", Kind::Int(0, i64::MAX)),
    opt("limit", Kind::Int(0, i64::MAX)),
    opt("vmid", Kind::Vmid),
    opt("errors", Kind::Bool),
    opt("source", Kind::Enum(&["archive", "active", "all"])),
    opt("typefilter", Kind::Text),
    opt("userfilter", Kind::Text),
    opt("since", Kind::Int(0, i64::MAX)),
    opt("until", Kind::Int(0, i64::MAX)),
    opt("statusfilter", Kind::Text),
];
const LOG: &[super::Param] = &[opt("start", Kind::Int(0, i64::MAX)), opt("limit", Kind::Int(0, i64::MAX)), opt("download", Kind::Bool)];

fn row(task: &Task) -> Map<String, Value> {
    let node = task.upid.split(':').nth(1).unwrap_or("");
    let mut row = Map::new();
    for (key, value) in [("upid", json!(task.upid)), ("node", json!(node)), ("type", json!(task.kind)), ("id", json!(task.id))] {
        row.insert(key.into(), value);
    }
    row.insert("pid".into(), json!(task.pid));
    row.insert("pstart".into(), json!(task.pstart));
    row.insert("starttime".into(), json!(task.start));
    task.put_user(&mut row);
    row
}

/// Whether the caller may see tasks of others.
fn sees_all(call: &Call) -> bool {
    let node = call.lab.read(|world| world.site.node.clone());
    call.may(&format!("/nodes/{node}"), "Sys.Audit")
}

/// Own tasks: a token sees only its own, a user those of his tokens too.
fn is_mine(call: &Call, task: &Task) -> bool {
    if call.actor.token.is_some() { task.user == call.actor.name() } else { task.owner() == call.actor.user }
}

fn list(call: &Call) -> Result<Answer, Fail> {
    let all = sees_all(call);
    let source = call.text("source").unwrap_or("archive");
    let wanted = |task: &&Task| {
        let failed = task.exit.as_deref().is_none_or(|exit| !is_success(exit));
        (all || is_mine(call, task))
            && call.text("vmid").is_none_or(|vmid| task.id == vmid)
            && (!call.flag("errors") || failed)
            && call.text("typefilter").is_none_or(|kind| task.kind == kind)
            && call.text("userfilter").is_none_or(|user| task.user.contains(user))
            && call.number("since").is_none_or(|since| task.start >= since)
            && call.number("until").is_none_or(|until| task.start <= until)
    };
    let rows: Vec<Map<String, Value>> = call.lab.read(|world| {
        let active = world.ledger.active.iter().rev().filter(|_| source != "archive");
        let finished = world.ledger.finished.iter().rev().filter(|_| source != "active");
        let each = active.chain(finished).filter(wanted);
        each.map(|task| {
            let mut row = row(task);
            match (&task.exit, task.end) {
                (Some(exit), Some(end)) => {
                    row.insert("status".into(), json!(exit));
                    row.insert("endtime".into(), json!(end));
                }
                _ => drop(row.insert("status".into(), json!("RUNNING"))),
            }
            row
        })
        .collect()
    });
    let total = rows.len();
    let start = call.number("start").unwrap_or(0) as usize;
    let limit = call.number("limit").unwrap_or(50) as usize;
    let page: Vec<Value> = rows.into_iter().skip(start).take(limit).map(Value::Object).collect();
    // The list of active tasks tells no total.
    Ok(Answer { data: Value::Array(page), total: (source != "active").then_some(total) })
}

fn cluster(call: &Call) -> Result<Answer, Fail> {
    let all = sees_all(call);
    let mut rows: Vec<((i64, u32), Value)> = call.lab.read(|world| {
        let each = world.ledger.active.iter().chain(&world.ledger.finished).filter(|task| all || is_mine(call, task));
        each.map(|task| {
            let mut row = row(task);
            row.remove("pid");
            row.remove("pstart");
            if let (Some(exit), Some(end)) = (&task.exit, task.end) {
                row.insert("status".into(), json!(exit));
                row.insert("endtime".into(), json!(end));
                row.insert("saved".into(), json!("1"));
            }
            ((task.start, task.pid), Value::Object(row))
        })
        .collect()
    });
    rows.sort_by_key(|(start, _)| std::cmp::Reverse(*start));
    Ok(Value::Array(rows.into_iter().take(25).map(|(_, row)| row).collect()).into())
}

/// Whether a text is written as a UPID.
fn is_upid(text: &str) -> bool {
    let pieces: Vec<&str> = text.split(':').collect();
    let hex = |piece: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&piece.len()) && piece.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    matches!(pieces.as_slice(), ["UPID", node, pid, pstart, start, kind, _, user, ""]
        if !node.is_empty() && hex(pid, 8..=8) && hex(pstart, 8..=9) && hex(start, 8..=8) && !kind.is_empty() && !user.is_empty())
}

/// The task that a call names, if the caller may see it.
fn find(call: &Call) -> Result<Task, Fail> {
    let upid = call.text("upid").unwrap_or("");
    if !is_upid(upid) {
        return Err(Fail::param("upid", "unable to parse worker upid"));
    }
    let node = call.lab.read(|world| world.site.node.clone());
    let owner = upid.split(':').nth(7).unwrap_or("");
    let mine = owner == call.actor.name() || (call.actor.token.is_none() && owner.split('!').next() == Some(call.actor.user.as_str()));
    if !mine && !sees_all(call) {
        return Err(Fail::Denied(format!("Permission check failed (/nodes/{node}, Sys.Audit)")));
    }
    let task = call.lab.read(|world| world.ledger.find(upid).cloned());
    task.ok_or_else(|| Fail::param("upid", "no such task"))
}

fn status(call: &Call) -> Result<Answer, Fail> {
    let task = find(call)?;
    let mut row = row(&task);
    match &task.exit {
        Some(exit) => {
            row.insert("status".into(), json!("stopped"));
            row.insert("exitstatus".into(), json!(exit));
        }
        None => drop(row.insert("status".into(), json!("running"))),
    }
    Ok(Value::Object(row).into())
}

fn log(call: &Call) -> Result<Answer, Fail> {
    let task = find(call)?;
    let start = call.number("start").unwrap_or(0) as usize;
    let limit = match call.number("limit") {
        Some(0) => usize::MAX,
        Some(limit) => limit as usize,
        None => 50,
    };
    if task.log.is_empty() {
        return Ok(Answer { data: json!([{"n": 1, "t": "no content"}]), total: Some(1) });
    }
    let rows = task.log.iter().enumerate().skip(start).take(limit).map(|(at, line)| json!({"n": at + 1, "t": line}));
    Ok(Answer { data: Value::Array(rows.collect()), total: Some(task.log.len()) })
}

fn interrupt(call: &Call) -> Result<Answer, Fail> {
    let task = find(call)?;
    let node = call.lab.read(|world| world.site.node.clone());
    if !is_mine(call, &task) && !call.may(&format!("/nodes/{node}"), "Sys.Modify") {
        return Err(Fail::Denied(format!("Permission check failed (/nodes/{node}, Sys.Modify)")));
    }
    call.lab.interrupt(&task.upid);
    Ok(Answer::null())
}
