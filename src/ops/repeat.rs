//! Repeats: a build that would find everything as fresh as the one before is not worked out again.
//!
//! A run whose every action was fresh leaves a memo under a digest of all that decided it: files, targets, inputs, profile, types. The next build of the
//! same takes its verdicts over, unless anything was recorded in the store since or something has expired. `docs/design/0018-repeats.md`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Fields};
use crate::event::{Ending, Event, RunState, Stamped, Time};
use crate::exec::drive::Ran;
use crate::exec::horizon::Fresh;
use crate::exec::plain;
use crate::lang::project::Sources;
use crate::lang::template::{Expr, Root};
use crate::model::registry;
use crate::name::RunId;
use crate::ops::build::{Report, Request, summary};
use crate::ops::front::Front;
use crate::ops::recipe;
use crate::ops::world::Opened;
use crate::plan::graph::Graph;
use crate::plan::verdict::Verdict;
use crate::secret::Sealer as _;
use crate::store::Store;
use crate::store::words::{Commit, RunRow, StoreError};
use crate::wire::clock::{Clock as _, SystemClock};

/// Raised when a memo's form or what decides a build changes.
const DOMAIN: &str = "pmx repeat 1";

/// Graphs of fewer actions are worked out in less time than a memo is worth.
const LEAST: usize = 100;

/// What decides a build, taken before anything is worked out.
pub struct Deciding {
    key: Digest,
    /// The store's newest record then.
    records: u64,
}

/// What a run found that had nothing to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memo {
    /// That run.
    run: RunId,
    /// Its graph and inputs, as its row has them.
    graph: Digest,
    inputs: String,
    /// The newest record of the store when it ended.
    records: u64,
    /// When it ended, and when the first of all that it rested on ends, in milliseconds.
    ended: i64,
    end: Option<i64>,
    /// Its actions: step, call, when what is known was observed and how old that may be, in milliseconds.
    actions: Vec<(String, String, i64, Option<u64>)>,
}

/// What decides this build.
pub fn deciding(front: &Front, request: &Request, sources: &Sources, opened: &mut Opened) -> Result<Deciding, StoreError> {
    let mut fields = Fields::new(DOMAIN);
    fields.text(env!("CARGO_PKG_VERSION")).optional(front.profile.as_deref());
    for row in registry::types() {
        fields.text(row.name).number(u64::from(row.revision));
    }
    for texts in [&request.targets, &request.inputs] {
        fields.number(texts.len() as u64);
        for text in texts {
            fields.text(text);
        }
    }
    for (path, text) in recipe::texts(sources) {
        fields.text(&path).text(text);
    }
    // Keyed: a password may stand in a file, and its digest must not tell it.
    let key = opened.key.keyed_digest(fields.finish().as_bytes());
    Ok(Deciding { key, records: opened.store.newest_record()? })
}

/// What is known of such a build and holds still. A memo that cannot be read is none: everything is worked out again.
pub fn known(store: &mut dyn Store, deciding: &Deciding) -> Option<Memo> {
    let body = store.repeat(&deciding.key).ok().flatten()?;
    let memo: Memo = serde_json::from_str(&body).ok()?;
    let now = SystemClock::new().now();
    // A clock that went back tells no ages.
    let young = now.0 >= memo.ended && memo.end.is_none_or(|end| now.0 < end);
    (memo.records == deciding.records && young).then_some(memo)
}

/// Makes a run of a memo: nothing is compiled, asked or looked at.
pub fn play(front: &Front, request: &Request, store: &mut dyn Store, memo: Memo) -> Result<Report, StoreError> {
    let now = SystemClock::new().now();
    let run = RunId::from_uuid(uuid::Uuid::now_v7());
    let actions: Vec<(String, Ending, String)> = memo
        .actions
        .iter()
        .map(|(step, _, at, window)| {
            let window = window.map(Duration::from_millis);
            (step.clone(), Ending::Fresh, Verdict::Fresh { age: now.since(Time(*at)), window }.to_string())
        })
        .collect();
    let ran = Ran { state: RunState::Succeeded, actions, failures: Vec::new() };
    let row = RunRow {
        id: run.clone(),
        targets: request.targets.clone(),
        inputs: memo.inputs,
        actor: front.actor.clone(),
        began: now,
        ended: None,
        state: RunState::Running,
        graph: memo.graph,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let stamped = |event| Stamped { at: now, event };
    let count = u32::try_from(ran.actions.len()).unwrap_or(u32::MAX);
    let began = stamped(Event::RunStarted { run: run.clone(), targets: row.targets.clone(), actor: row.actor.clone(), actions: count });
    let repeats = stamped(Event::RunRepeats { of: memo.run });
    let ended = stamped(Event::RunFinished { run: run.clone(), state: ran.state, summary: summary(&ran) });
    write(store, row, (&began, &repeats, &ended), ran.state)?;
    (request.listener)(&began);
    (request.listener)(&repeats);
    for ((_, call, ..), (step, ending, summary)) in memo.actions.into_iter().zip(&ran.actions) {
        let (step, ending, summary) = (step.clone(), *ending, summary.clone());
        (request.listener)(&stamped(Event::ActionFinished { step, call, ending, summary, seconds: 0.0, left: None }));
    }
    (request.listener)(&ended);
    Ok(Report { run, ran })
}

/// The row and the journal of a run that has ended already. Both are durable with the end of its lock: one wait for the disk.
fn write(store: &mut dyn Store, row: RunRow, lines: (&Stamped, &Stamped, &Stamped), state: RunState) -> Result<(), StoreError> {
    let (run, ended) = (row.id.clone(), lines.2.at);
    let lines = vec![lines.0.clone(), lines.1.clone(), lines.2.clone()];
    store.begin_run(row)?;
    let commit = Commit { journal: Some((run.clone(), lines)), state: Some((run.clone(), state, Some(ended))), ..Commit::default() };
    let written = store.commit(commit).map(drop);
    written.and(store.end_run(&run))
}

/// Whether the verdicts of this graph rest on nothing but its files, its inputs, the store and the clock.
pub fn repeatable(graph: &Graph) -> bool {
    graph.actions.len() >= LEAST
        && graph
            .actions
            .iter()
            .all(|action| action.flow.loop_over.is_none() && !action.call.method.effect.acts() && plain::every(action, &lasting))
}

/// Whether an expression is a plain path to nothing that may be another each time, as the environment, the run and vaults are.
fn lasting(expr: &Expr) -> bool {
    let settled = |root: &Root| matches!(root, Root::Resource { .. } | Root::Input(_) | Root::Each | Root::This);
    expr.is_plain() && expr.refs.iter().all(|reference| settled(&reference.root))
}

/// A run that found everything fresh.
pub struct Found<'a> {
    /// Its row.
    pub row: &'a RunRow,
    /// How it went.
    pub ran: &'a Ran,
    /// What was fresh, and the first end of all that it rested on.
    pub horizon: (Vec<Fresh>, Option<Time>),
}

/// Leaves the memo of a run that ended, when it is worth one: all was fresh, and nobody else has recorded anything since it was decided.
pub fn remember(store: &mut dyn Store, deciding: &Deciding, found: Found<'_>) -> Result<(), StoreError> {
    let (fresh, end) = found.horizon;
    let count = found.ran.actions.len();
    let records = store.newest_record()?;
    if found.ran.state != RunState::Succeeded || fresh.len() != count || records != deciding.records + count as u64 {
        return Ok(());
    }
    let millis = |window: Duration| u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let memo = Memo {
        run: found.row.id.clone(),
        graph: found.row.graph,
        inputs: found.row.inputs.clone(),
        records,
        ended: SystemClock::new().now().0,
        end: end.map(|end| end.0),
        actions: fresh.into_iter().map(|fresh| (fresh.step, fresh.call, fresh.at.0, fresh.window.map(millis))).collect(),
    };
    let body = serde_json::to_string(&memo).map_err(|e| StoreError::Io { attempt: "write a repeat".to_owned(), cause: e.to_string() })?;
    store.keep_repeat(&deciding.key, &body)
}
