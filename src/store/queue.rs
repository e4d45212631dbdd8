//! The queue of a directory store: requests for leases as rows of the index, decided by the pure rules, with lock files to tell who lives.
//!
//! A waiter asks often: as long as nobody has written anything and those in its way live, its last answer stands, and nothing is read.

use std::collections::BTreeSet;

use super::lease::{Ask, Blocker, Request, Standing, decide, lefts};
use super::run_lock::Locks;
use super::schema::{Index, Rows};
use super::words::StoreError;
use crate::name::RunId;

/// What a waiter saw when it last looked.
pub(super) struct Watch {
    run: RunId,
    /// The version of the data that it saw.
    seen: i64,
    on: Vec<Blocker>,
}

/// Files a request, unless the run has one, and says how it stands; see [`super::Store::lease`].
pub(super) fn ask(index: &mut Index, locks: &Locks, watch: &mut Option<Watch>, ask: &Ask) -> Result<Standing, StoreError> {
    let seen = index.rows().data_version()?;
    if let Some(last) = watch.as_ref().filter(|last| ask.wait && last.run == ask.run && last.seen == seen)
        && all_live(locks, &last.on)?
    {
        return Ok(Standing::Waiting(last.on.clone()));
    }
    *watch = None;
    // Looking first keeps waiters out of each other's way: only who files, is granted or cleans up needs to write.
    let looked = match index.rows().ticket(&ask.run)? {
        Some(ticket) => look(index.rows(), locks, ask, ticket)?,
        None => None,
    };
    let standing = match looked {
        Some(standing) => standing,
        // A lease is about who lives. That nothing has begun without it is what the next transaction makes durable.
        None => index.write_unsynced(|rows| settle(rows, locks, ask))?,
    };
    if let (Standing::Waiting(on), true) = (&standing, ask.wait) {
        *watch = Some(Watch { run: ask.run.clone(), seen, on: on.clone() });
    }
    Ok(standing)
}

fn all_live(locks: &Locks, on: &[Blocker]) -> Result<bool, StoreError> {
    for blocker in on {
        if !locks.lives(&blocker.run)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The runs that are named in `requests` and live.
fn living(locks: &Locks, requests: &[Request]) -> Result<BTreeSet<RunId>, StoreError> {
    let mut living = BTreeSet::new();
    for run in requests.iter().flat_map(|request| [Some(&request.run), request.heir.as_ref()]).flatten() {
        if !living.contains(run) && locks.lives(run)? {
            living.insert(run.clone());
        }
    }
    Ok(living)
}

/// How a filed request stands when nothing has to be written for it. These reads are no transaction: what they miss, the next look sees.
fn look(rows: Rows<'_>, locks: &Locks, ask: &Ask, ticket: i64) -> Result<Option<Standing>, StoreError> {
    let requests = rows.rivals(ticket)?;
    let living = living(locks, &requests)?;
    let alive = |run: &RunId| living.contains(run);
    let Some(mine) = requests.iter().find(|request| request.ticket == ticket) else { return Ok(None) };
    let decision = decide(mine, &requests, &alive);
    let waits = mine.held.is_none() && ask.wait && decision.forgets.is_empty() && !decision.on.is_empty();
    Ok(waits.then_some(Standing::Waiting(decision.on)))
}

/// Files, decides and grants inside a transaction. A row that is here while its run's lock is free belongs to a dead run: a run deletes its rows before it
/// frees its lock.
fn settle(rows: Rows<'_>, locks: &Locks, ask: &Ask) -> Result<Standing, StoreError> {
    let ticket = match rows.ticket(&ask.run)? {
        Some(ticket) => ticket,
        None => rows.file(ask)?,
    };
    let requests = rows.rivals(ticket)?;
    let living = living(locks, &requests)?;
    let alive = |run: &RunId| living.contains(run);
    let Some(mine) = requests.iter().find(|request| request.ticket == ticket) else {
        return Err(rows.damaged(format!("the lease request of run {}", ask.run), "it cannot be read back"));
    };
    if mine.held.is_some() {
        return Ok(Standing::Granted(lefts(&ask.run, &rows.requests()?)));
    }
    let decision = decide(mine, &requests, &alive);
    decision.forgets.iter().try_for_each(|dead| rows.forget(*dead))?;
    if !decision.on.is_empty() {
        if !ask.wait {
            rows.forget(ticket)?;
        }
        return Ok(Standing::Waiting(decision.on));
    }
    rows.grant(ask, ticket, &decision.inherits)?;
    if decision.inherits.is_empty() {
        return Ok(Standing::Granted(Vec::new()));
    }
    Ok(Standing::Granted(lefts(&ask.run, &rows.requests()?)))
}
