//! Rows of what was asked for over chat.

use rusqlite::params;

use super::chain::bounded;
use super::ledger::json;
use super::schema::{AUDIT, Rows};
use super::words::{AuditRow, StoreError};

impl Rows<'_> {
    /// Writes a row unless its id is known.
    pub fn heard(&self, row: &AuditRow) -> Result<bool, StoreError> {
        let sql = "INSERT INTO audit (id, settled, body, sum) VALUES (?1, ?2, ?3, pmx_sum(?1, ?2, ?3)) ON CONFLICT (id) DO NOTHING";
        Ok(self.put(sql, row)? > 0)
    }

    /// Writes a row over the one of its id.
    pub fn answered(&self, row: &AuditRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO audit (id, settled, body, sum) VALUES (?1, ?2, ?3, pmx_sum(?1, ?2, ?3))
                   ON CONFLICT (id) DO UPDATE SET settled = excluded.settled, body = excluded.body, sum = excluded.sum";
        self.put(sql, row).map(drop)
    }

    fn put(&self, sql: &str, row: &AuditRow) -> Result<usize, StoreError> {
        self.ask(
            || format!("write what was asked as {}", row.id),
            |db| {
                db.execute_batch(AUDIT)?;
                db.prepare_cached(sql)?.execute(params![row.id, row.settled, json(row)?])
            },
        )
    }

    /// Rows, newest first.
    pub fn audit(&self, open: bool, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        if !self.has_table("audit")? {
            return Ok(Vec::new());
        }
        let sql = if open {
            "SELECT id, body FROM audit WHERE settled = 0 ORDER BY number DESC LIMIT ?1"
        } else {
            "SELECT id, body FROM audit ORDER BY number DESC LIMIT ?1"
        };
        let rows: Vec<(String, String)> = self.ask(
            || "read the audit".to_owned(),
            |db| db.prepare_cached(sql)?.query_map([bounded(limit)], |row| Ok((row.get(0)?, row.get(1)?)))?.collect(),
        )?;
        let read = |(id, body): (String, String)| {
            serde_json::from_str(&body).map_err(|e| self.damaged(format!("the audit row {id}"), e.to_string()))
        };
        rows.into_iter().map(read).collect()
    }
}
