//! The index: its tables, how it is made and opened, and how SQLite's refusals become errors of the store.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::sums;
use super::words::StoreError;

/// The version of the tables below; it stands in `meta`. A change of meaning raises `dir::FORMAT` too.
const SCHEMA: &str = "2";

/// How long a transaction waits for one of another process.
const BUSY: Duration = Duration::from_secs(20);

/// Digests are 32-byte blobs, times milliseconds since 1970, bodies JSON. `versions` is clustered by chain because chains are what is read; the
/// resource's name stands once, in `heads`, in three columns: their order is the order of names, which that of the joined text is not. Tickets of `leases`
/// are never given twice, so the queue keeps its order whatever is deleted. Rows that no digest covers carry a `sum` (see `sums`).
const TABLES: &str = "
CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE blobs (digest BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL) STRICT;
CREATE TABLE heads (
    id INTEGER PRIMARY KEY, def TEXT NOT NULL, spec TEXT NOT NULL, instance TEXT NOT NULL,
    number INTEGER NOT NULL, digest BLOB NOT NULL, UNIQUE (def, spec, instance)
) STRICT;
CREATE TABLE versions (
    resource INTEGER NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL, parent BLOB, content BLOB NOT NULL,
    run TEXT NOT NULL, step TEXT NOT NULL, call TEXT NOT NULL, key BLOB NOT NULL, at INTEGER NOT NULL, actor TEXT NOT NULL, log BLOB,
    PRIMARY KEY (resource, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX versions_digest ON versions (digest);
CREATE TABLE dropped (digest BLOB NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE sealed (digest BLOB NOT NULL PRIMARY KEY, bytes BLOB NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, key BLOB NOT NULL, subject TEXT NOT NULL, good INTEGER NOT NULL, body TEXT NOT NULL,
    sum BLOB NOT NULL
) STRICT;
CREATE INDEX records_run ON records (run);
CREATE INDEX records_key ON records (key) WHERE good = 1;
CREATE INDEX records_subject ON records (subject);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, began INTEGER NOT NULL, ended INTEGER, state TEXT NOT NULL,
    targets TEXT NOT NULL, inputs TEXT NOT NULL, actor TEXT NOT NULL, graph BLOB NOT NULL, version TEXT NOT NULL,
    sum BLOB NOT NULL
) STRICT;
CREATE INDEX runs_began ON runs (began, run);
CREATE TABLE journal (
    run INTEGER NOT NULL, line INTEGER NOT NULL, body TEXT NOT NULL, sum BLOB NOT NULL, PRIMARY KEY (run, line)
) STRICT, WITHOUT ROWID;
CREATE TABLE leases (ticket INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL, held INTEGER, orphaned INTEGER NOT NULL, heir TEXT) STRICT;
CREATE UNIQUE INDEX leases_run ON leases (run) WHERE orphaned = 0;
CREATE TABLE claims (
    ticket INTEGER NOT NULL, number INTEGER NOT NULL, spots TEXT NOT NULL, member TEXT, shared INTEGER NOT NULL, step TEXT NOT NULL,
    PRIMARY KEY (ticket, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_spots ON claims (spots);
CREATE TABLE pins (identity TEXT NOT NULL PRIMARY KEY, key TEXT NOT NULL, sum BLOB NOT NULL) STRICT, WITHOUT ROWID;
";

/// What was asked for over chat. Made with the first row, because stores that are older have it not, and lack nothing without it.
pub(super) const AUDIT: &str = "CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, settled INTEGER NOT NULL, body TEXT NOT NULL, sum BLOB NOT NULL
) STRICT";

/// What runs with nothing to do left. Made with the first row, likewise.
pub(super) const REPEATS: &str = "CREATE TABLE IF NOT EXISTS repeats (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, body TEXT NOT NULL, sum BLOB NOT NULL
) STRICT";

/// The open index of a store.
pub(super) struct Index {
    /// The connection; its statements are cached.
    pub db: Connection,
    /// Where it lies, for messages.
    pub path: PathBuf,
}

impl Index {
    /// Opens an index that exists and returns it with the store's id. Writes nothing.
    pub fn open(path: PathBuf) -> Result<(Self, String), StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&path, flags).and_then(|db| {
            db.busy_timeout(BUSY)?;
            db.pragma_update(None, "synchronous", "FULL")?;
            db.set_prepared_statement_cache_capacity(64);
            // Else a statement is compiled again whenever its parameters change, which takes three times as long as running it.
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            sums::install(&db)?;
            Ok(db)
        });
        let db = opened.map_err(|e| refused(&path, "open it", &e))?;
        let index = Self { db, path };
        let meta = |key: &str| {
            let sql = "SELECT value FROM meta WHERE key = ?1";
            index.rows().ask(|| format!("read its {key}"), |db| db.query_row(sql, [key], |row| row.get::<_, String>(0)))
        };
        let (schema, id) = (meta("schema")?, meta("id")?);
        if schema != SCHEMA {
            return Err(StoreError::Damaged {
                what: format!("the index {}", index.path.display()),
                why: format!("its tables are of version {schema}, which does not belong to this store format"),
            });
        }
        Ok((index, id))
    }

    /// Fills the empty file at `path` with an index without rows, for a store of the id `id`. Syncing the file is the caller's: once, when it is whole.
    pub fn fill(path: &Path, id: &str) -> Result<(), StoreError> {
        let made = Connection::open(path).and_then(|db| {
            db.pragma_update(None, "synchronous", "OFF")?;
            db.pragma_update(None, "journal_mode", "WAL")?;
            db.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;"))?;
            sums::install(&db)?;
            let sql = "INSERT INTO meta (key, value, sum) VALUES ('schema', ?1, pmx_sum('schema', ?1)), ('id', ?2, pmx_sum('id', ?2))";
            db.execute(sql, [SCHEMA, id])?;
            // Closing folds the log into the file: what is renamed afterwards is whole.
            db.close().map_err(|(_, e)| e)
        });
        made.map_err(|e| refused(path, "create it", &e))
    }

    /// The index as rows to read.
    pub fn rows(&self) -> Rows<'_> {
        Rows { db: &self.db, path: &self.path }
    }

    /// Runs `work` in one synced transaction: all of it or nothing.
    pub fn write<T>(&mut self, work: impl FnOnce(Rows<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let told = |e: &rusqlite::Error| refused(&self.path, "write a transaction", e);
        // Immediate: a transaction that began as a reader could not become a writer behind another one's back.
        let behavior = rusqlite::TransactionBehavior::Immediate;
        let transaction = rusqlite::Transaction::new(&mut self.db, behavior).map_err(|e| told(&e))?;
        let result = work(Rows { db: &transaction, path: &self.path })?;
        transaction.commit().map_err(|e| told(&e))?;
        Ok(result)
    }

    /// The same without a wait for the disk: a power cut may take it back, with all that follows it up to the next transaction that is synced; that one makes
    /// all before it durable too, because they go into one log in their order (<https://www.sqlite.org/pragma.html#pragma_synchronous>). A killed process
    /// takes nothing back.
    pub fn write_unsynced<T>(&mut self, work: impl FnOnce(Rows<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.set_syncing("NORMAL")?;
        let written = self.write(work);
        self.set_syncing("FULL")?;
        written
    }

    /// How commits are synced; not to be called inside a transaction, where SQLite refuses it.
    fn set_syncing(&self, how: &str) -> Result<(), StoreError> {
        self.rows().ask(|| format!("set its syncing to {how}"), |db| db.pragma_update(None, "synchronous", how))
    }

    /// Runs `work` as a part of the open transaction: all of it or nothing. Refused when SQLite has taken that back, as it does on a full disk: what was
    /// written from then on would be durable by itself, while the whole is told as lost.
    pub fn write_part<T>(&mut self, work: impl FnOnce(Rows<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let told = |e: &rusqlite::Error| refused(&self.path, "write a part of a transaction", e);
        if self.db.is_autocommit() {
            let attempt = format!("write a part of a transaction (index {})", self.path.display());
            return Err(StoreError::Io { attempt, cause: "the transaction was taken back".to_owned() });
        }
        let part = self.db.savepoint().map_err(|e| told(&e))?;
        let result = work(Rows { db: &part, path: &self.path })?;
        part.commit().map_err(|e| told(&e))?;
        Ok(result)
    }

    /// Opens a transaction for [`Index::write_part`], until [`Index::close_transaction`].
    pub fn open_transaction(&mut self) -> Result<(), StoreError> {
        self.rows().ask(|| "begin a transaction".to_owned(), |db| db.execute_batch("BEGIN IMMEDIATE"))
    }

    /// Syncs it; after an error nothing of it is left.
    pub fn close_transaction(&mut self) -> Result<(), StoreError> {
        let closed = self.rows().ask(|| "write a transaction".to_owned(), |db| db.execute_batch("COMMIT"));
        if closed.is_err() {
            self.abandon_transaction();
        }
        closed
    }

    /// Takes back all of an open transaction.
    pub fn abandon_transaction(&mut self) {
        // Some failures have done so by themselves; then there is nothing to take back.
        if !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }
}

/// The rows of an index, inside a transaction or outside.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    db: &'a Connection,
    path: &'a Path,
}

impl Rows<'_> {
    /// Whether a table is there that is made with its first row.
    pub fn has_table(&self, table: &str) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1";
        self.ask(|| format!("look for {table}"), |db| db.prepare_cached(sql)?.exists([table]))
    }

    /// Runs `question`; a refusal becomes an error that says what was attempted.
    pub fn ask<T>(
        &self,
        attempt: impl FnOnce() -> String,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        question(self.db).map_err(|e| refused(self.path, &attempt(), &e))
    }

    /// The error for a row of this index that cannot be right.
    pub fn damaged(&self, what: impl std::fmt::Display, why: impl Into<String>) -> StoreError {
        StoreError::Damaged { what: format!("{what} in {}", self.path.display()), why: why.into() }
    }
}

fn refused(path: &Path, attempt: &str, error: &rusqlite::Error) -> StoreError {
    let path = path.display();
    let broken = match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let missing = message.as_deref().is_some_and(|m| m.starts_with("no such table") || m.starts_with("no such column"));
            missing || matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        rusqlite::Error::SqliteSingleThreadedMode | rusqlite::Error::InvalidParameterName(_) => false,
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::QueryReturnedNoRows => true,
        _ => false,
    };
    if broken {
        return StoreError::Damaged { what: format!("the index {path}"), why: format!("could not {attempt}: {error}") };
    }
    StoreError::Io { attempt: format!("{attempt} (index {path})"), cause: error.to_string() }
}
