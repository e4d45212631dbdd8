//! Rows of runs, their journals and the records of their actions.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::admit;
use super::chain::{bounded, digest, parsed};
use super::schema::Rows;
use super::words::{ActionRecord, RunRow, StoreError};
use crate::digest::Digest;
use crate::event::{RunState, Stamped, Time};
use crate::name::RunId;

/// The most runs that a part of an id is answered with.
pub(super) const FOUND_AT_MOST: usize = 10;

const RUN_COLUMNS: &str = "SELECT run, targets, inputs, actor, began, ended, state, graph, version FROM runs";

impl Rows<'_> {
    /// Writes the first row of a run.
    pub fn add_run(&self, row: &RunRow) -> Result<(), StoreError> {
        let attempt = || format!("begin run {}", row.id);
        let known: Option<i64> = self.run_number(&row.id)?;
        if known.is_some() {
            return Err(StoreError::Io { attempt: attempt(), cause: "there is a run of that id".to_owned() });
        }
        let sql = "INSERT INTO runs (run, targets, inputs, actor, began, ended, state, graph, version, sum)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, pmx_sum(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9))";
        self.ask(attempt, |db| {
            db.prepare_cached(sql)?.execute(params![
                row.id.as_str(),
                json(&row.targets)?,
                row.inputs,
                row.actor.as_str(),
                row.began.0,
                row.ended.map(|time| time.0),
                json(&row.state)?,
                row.graph.as_bytes(),
                row.version,
            ])
        })?;
        Ok(())
    }

    /// Sets how a run stands.
    pub fn set_state(&self, run: &RunId, state: RunState, ended: Option<Time>) -> Result<(), StoreError> {
        let sql = "UPDATE runs SET state = ?2, ended = ?3, sum = pmx_sum(run, targets, inputs, actor, began, ?3, ?2, graph, version) WHERE run = ?1";
        let set = self.ask(
            || format!("set the state of run {run}"),
            |db| db.prepare_cached(sql)?.execute(params![run.as_str(), json(&state)?, ended.map(|time| time.0)]),
        )?;
        if set == 0 { Err(never_begun(run)) } else { Ok(()) }
    }

    /// One run as its row says.
    pub fn run(&self, run: &RunId) -> Result<Option<RunRow>, StoreError> {
        let sql = format!("{RUN_COLUMNS} WHERE run = ?1");
        self.ask(|| format!("read run {run}"), |db| db.prepare_cached(&sql)?.query_row([run.as_str()], run_of).optional())
    }

    /// Runs as their rows say, newest first.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        let sql = format!("{RUN_COLUMNS} ORDER BY began DESC, run DESC LIMIT ?1");
        self.ask(
            || "read the runs".to_owned(),
            |db| db.prepare_cached(&sql)?.query_map([bounded(limit)], run_of)?.collect::<rusqlite::Result<Vec<_>>>(),
        )
    }

    /// Runs whose id begins or ends with `part`, newest first.
    pub fn find_runs(&self, part: &str) -> Result<Vec<RunRow>, StoreError> {
        let sql = format!(
            "{RUN_COLUMNS} WHERE substr(run, 1, length(?1)) = ?1 OR substr(run, -max(length(?1), 1), length(?1)) = ?1
             ORDER BY began DESC, run DESC LIMIT ?2"
        );
        self.ask(
            || format!("find run {part}"),
            |db| db.prepare_cached(&sql)?.query_map(params![part, bounded(FOUND_AT_MOST)], run_of)?.collect::<rusqlite::Result<Vec<_>>>(),
        )
    }

    fn run_number(&self, run: &RunId) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT id FROM runs WHERE run = ?1";
        self.ask(|| format!("read run {run}"), |db| db.prepare_cached(sql)?.query_row([run.as_str()], |row| row.get(0)).optional())
    }

    /// Appends journal lines of a run.
    pub fn append_journal(&self, run: &RunId, lines: &[Stamped]) -> Result<(), StoreError> {
        let Some(number) = self.run_number(run)? else { return Err(never_begun(run)) };
        let texts = lines.iter().map(admit::line_text).collect::<Result<Vec<_>, _>>()?;
        self.ask(
            || format!("write the journal of run {run}"),
            |db| {
                let next = "SELECT coalesce(max(line) + 1, 0) FROM journal WHERE run = ?1";
                let first: i64 = db.prepare_cached(next)?.query_row([number], |row| row.get(0))?;
                let mut statement =
                    db.prepare_cached("INSERT INTO journal (run, line, body, sum) VALUES (?1, ?2, ?3, pmx_sum(?1, ?2, ?3))")?;
                (first..).zip(&texts).try_for_each(|(line, text)| statement.execute(params![number, line, text]).map(|_| ()))
            },
        )
    }

    /// Journal lines of a run from line `from`.
    pub fn journal(&self, run: &RunId, from: u64, limit: usize) -> Result<Vec<Stamped>, StoreError> {
        let sql =
            "SELECT j.line, j.body FROM runs r JOIN journal j ON j.run = r.id WHERE r.run = ?1 AND j.line >= ?2 ORDER BY j.line LIMIT ?3";
        let from = i64::try_from(from).unwrap_or(i64::MAX);
        let lines = self.ask(
            || format!("read the journal of run {run}"),
            |db| {
                let mut statement = db.prepare_cached(sql)?;
                let rows = statement
                    .query_map(params![run.as_str(), from, bounded(limit)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            },
        )?;
        let read = |(line, text): (i64, String)| {
            admit::line_of(&text).map_err(|why| self.damaged(format!("line {line} of the journal of run {run}"), why))
        };
        lines.into_iter().map(read).collect()
    }

    /// Writes the record of an action.
    pub fn add_record(&self, record: &ActionRecord) -> Result<(), StoreError> {
        let sql = "INSERT INTO records (run, key, subject, good, body, sum) VALUES (?1, ?2, ?3, ?4, ?5, pmx_sum(?1, ?2, ?3, ?4, ?5))";
        let made = &record.made;
        self.ask(
            || format!("write the record of {} in run {}", made.step, made.run),
            |db| {
                let row = params![made.run.as_str(), made.key.as_bytes(), record.subject, record.succeeded(), json(record)?];
                db.prepare_cached(sql)?.execute(row)
            },
        )?;
        Ok(())
    }

    /// The newest successful record with that action key.
    pub fn record_by_key(&self, key: &Digest) -> Result<Option<ActionRecord>, StoreError> {
        let sql = "SELECT body FROM records WHERE key = ?1 AND good = 1 ORDER BY id DESC LIMIT 1";
        self.ask(
            || format!("read the record of action key {key}"),
            |db| db.prepare_cached(sql)?.query_row([key.as_bytes()], |row| from_json(row, 0)).optional(),
        )
    }

    /// The newest record with that subject.
    pub fn record_by_subject(&self, subject: &str) -> Result<Option<ActionRecord>, StoreError> {
        let sql = "SELECT body FROM records WHERE subject = ?1 ORDER BY id DESC LIMIT 1";
        self.ask(
            || format!("read the record of {subject}"),
            |db| db.prepare_cached(sql)?.query_row([subject], |row| from_json(row, 0)).optional(),
        )
    }

    /// The records of a run in the order they were stored.
    pub fn records(&self, run: &RunId) -> Result<Vec<ActionRecord>, StoreError> {
        let sql = "SELECT body FROM records WHERE run = ?1 ORDER BY id";
        self.ask(
            || format!("read the records of run {run}"),
            |db| db.prepare_cached(sql)?.query_map([run.as_str()], |row| from_json(row, 0))?.collect(),
        )
    }
}

/// The error for a journal or a state of a run without a row.
pub(super) fn never_begun(run: &RunId) -> StoreError {
    StoreError::Io { attempt: format!("write to run {run}"), cause: "it was never begun".to_owned() }
}

fn run_of(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow {
        id: parsed(row, 0)?,
        targets: from_json(row, 1)?,
        inputs: row.get(2)?,
        actor: parsed(row, 3)?,
        began: Time(row.get(4)?),
        ended: row.get::<_, Option<i64>>(5)?.map(Time),
        state: from_json(row, 6)?,
        graph: digest(row, 7)?,
        version: row.get(8)?,
    })
}

pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}
