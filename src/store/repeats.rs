//! Rows of what runs with nothing to do leave for those that would find the same.

use rusqlite::{OptionalExtension, params};

use super::schema::{REPEATS, Rows};
use super::words::StoreError;
use crate::digest::Digest;

/// So many are kept: one for each target that somebody builds again and again.
const KEPT: i64 = 16;

impl Rows<'_> {
    /// What was left under `key`.
    pub fn repeat(&self, key: &Digest) -> Result<Option<String>, StoreError> {
        if !self.has_table("repeats")? {
            return Ok(None);
        }
        let sql = "SELECT body FROM repeats WHERE key = ?1 AND sum = pmx_sum(?1, body)";
        self.ask(|| format!("read repeat {key}"), |db| db.prepare_cached(sql)?.query_row([key.as_bytes()], |row| row.get(0)).optional())
    }

    /// Leaves `body` under `key`; the oldest go.
    pub fn keep_repeat(&self, key: &Digest, body: &str) -> Result<(), StoreError> {
        self.ask(
            || format!("write repeat {key}"),
            |db| {
                db.execute_batch(REPEATS)?;
                db.prepare_cached("DELETE FROM repeats WHERE key = ?1")?.execute([key.as_bytes()])?;
                db.prepare_cached("INSERT INTO repeats (key, body, sum) VALUES (?1, ?2, pmx_sum(?1, ?2))")?
                    .execute(params![key.as_bytes(), body])?;
                db.prepare_cached("DELETE FROM repeats WHERE number <= (SELECT max(number) FROM repeats) - ?1")?.execute([KEPT])
            },
        )
        .map(drop)
    }

    /// Takes back all of them: something was taken out of the store that they may rest on.
    pub fn forget_repeats(&self) -> Result<(), StoreError> {
        if !self.has_table("repeats")? {
            return Ok(());
        }
        self.ask(|| "forget the repeats".to_owned(), |db| db.execute("DELETE FROM repeats", [])).map(drop)
    }

    /// The number of the newest record, 0 without one.
    pub fn newest_record(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(id), 0) FROM records";
        let number: i64 = self.ask(|| "count the records".to_owned(), |db| db.prepare_cached(sql)?.query_row([], |row| row.get(0)))?;
        Ok(number.unsigned_abs())
    }
}
