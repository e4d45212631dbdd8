//! Rows of heads, versions, blobs, secrets and pins: how they are read, checked and written.

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, params};

use super::Reseal;
use super::blob::SMALL;
use super::schema::Rows;
use super::words::{Made, NewVersion, StoreError, Version, WithContent};
use crate::digest::Digest;
use crate::event::Time;
use crate::name::{ResourceName, ResourcePattern};

/// The columns of a version joined with the name of its resource, in the order that [`version_of`] reads.
macro_rules! version_columns {
    () => {
        "h.def, h.spec, h.instance, v.number, v.digest, v.parent, v.content, v.run, v.step, v.call, v.key, v.at, v.actor, v.log"
    };
}

/// Heads, each beside the version it names.
macro_rules! head_select {
    () => {
        concat!(
            "SELECT ",
            version_columns!(),
            ", h.digest, h.number FROM heads h LEFT JOIN versions v ON v.resource = h.id AND v.number = h.number"
        )
    };
}

/// A version as its row says, beside the digest that the row claims.
type Claimed = (Version, Digest);

impl Rows<'_> {
    /// The newest version of `name`, as the heads say.
    pub fn head(&self, name: &ResourceName) -> Result<Option<Version>, StoreError> {
        let sql = concat!(head_select!(), " WHERE h.def = ?1 AND h.spec = ?2 AND h.instance = ?3");
        let found = self.ask(
            || format!("read the head of {name}"),
            |db| db.prepare_cached(sql)?.query_row(params![name.def, name.spec, name.instance], head_of).optional(),
        )?;
        found.map(|row| self.checked_head(row)).transpose()
    }

    /// The newest versions of all resources that fit, in name order.
    pub fn heads(&self, pattern: Option<&ResourcePattern>) -> Result<Vec<Version>, StoreError> {
        let found = match pattern {
            Some(ResourcePattern { instance: Some(_), .. }) => {
                let name = pattern.and_then(ResourcePattern::exact);
                return Ok(name.map(|name| self.head(&name)).transpose()?.flatten().into_iter().collect());
            }
            Some(ResourcePattern { def, spec, .. }) => {
                let sql = concat!(head_select!(), " WHERE h.def = ?1 AND h.spec = ?2 ORDER BY h.def, h.spec, h.instance");
                self.ask(
                    || format!("read the heads of {def}/{spec}/*"),
                    |db| db.prepare_cached(sql)?.query_map([def, spec], head_of)?.collect::<rusqlite::Result<Vec<_>>>(),
                )?
            }
            None => {
                let sql = concat!(head_select!(), " ORDER BY h.def, h.spec, h.instance");
                self.ask(|| "read the heads".to_owned(), |db| db.prepare_cached(sql)?.query_map([], head_of)?.collect())?
            }
        };
        found.into_iter().map(|row| self.checked_head(row)).collect()
    }

    /// The version of that digest.
    pub fn version(&self, digest: &Digest) -> Result<Option<Version>, StoreError> {
        let sql = concat!("SELECT ", version_columns!(), " FROM versions v JOIN heads h ON h.id = v.resource WHERE v.digest = ?1");
        let found = self
            .ask(|| format!("read version {digest}"), |db| db.prepare_cached(sql)?.query_row([digest.as_bytes()], version_of).optional())?;
        found.map(|row| self.checked(row)).transpose()
    }

    /// Versions of `name` below number `before`, newest first.
    pub fn chain(&self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<Version>, StoreError> {
        let sql = concat!(
            "SELECT ",
            version_columns!(),
            " FROM heads h JOIN versions v ON v.resource = h.id WHERE h.def = ?1 AND h.spec = ?2 AND h.instance = ?3 AND v.number < ?4
             ORDER BY v.number DESC LIMIT ?5"
        );
        let found = self.links(sql, (name, before, limit), version_of)?;
        found.into_iter().map(|row| self.checked(row)).collect()
    }

    /// The same with the bytes of small contents.
    pub fn chain_with_contents(&self, name: &ResourceName, before: Option<u64>, limit: usize) -> Result<Vec<WithContent>, StoreError> {
        let sql = concat!(
            "SELECT ",
            version_columns!(),
            ", b.bytes FROM heads h JOIN versions v ON v.resource = h.id LEFT JOIN blobs b ON b.digest = v.content
             WHERE h.def = ?1 AND h.spec = ?2 AND h.instance = ?3 AND v.number < ?4 ORDER BY v.number DESC LIMIT ?5"
        );
        let row = |row: &Row<'_>| Ok((version_of(row)?, row.get::<_, Option<Vec<u8>>>(14)?));
        let found = self.links(sql, (name, before, limit), row)?;
        let checked = |(row, bytes): (Claimed, Option<Vec<u8>>)| {
            let version = self.checked(row)?;
            let bytes = bytes.map(|bytes| self.checked_blob(&version.content, bytes)).transpose()?;
            Ok((version, bytes))
        };
        found.into_iter().map(checked).collect()
    }

    /// The rows of a chain by a statement that asks for its definition, spec, instance, the number below which it begins, and how many.
    fn links<T>(
        &self,
        sql: &str,
        (name, before, limit): (&ResourceName, Option<u64>, usize),
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let before = before.map_or(i64::MAX, |n| i64::try_from(n).unwrap_or(i64::MAX));
        self.ask(
            || format!("read the chain of {name}"),
            |db| {
                let mut statement = db.prepare_cached(sql)?;
                statement.query_map(params![name.def, name.spec, name.instance, before, bounded(limit)], row)?.collect()
            },
        )
    }

    /// The version of the highest number whose time is not after `time`: clocks may have gone back, numbers never do.
    pub fn version_at(&self, name: &ResourceName, time: Time) -> Result<Option<Version>, StoreError> {
        let sql = concat!(
            "SELECT ",
            version_columns!(),
            " FROM heads h JOIN versions v ON v.resource = h.id WHERE h.def = ?1 AND h.spec = ?2 AND h.instance = ?3 AND v.at <= ?4
             ORDER BY v.number DESC LIMIT 1"
        );
        let found = self.ask(
            || format!("read the version of {name} at {time}"),
            |db| db.prepare_cached(sql)?.query_row(params![name.def, name.spec, name.instance, time.0], version_of).optional(),
        )?;
        found.map(|row| self.checked(row)).transpose()
    }

    /// All names that have a head, in order.
    pub fn names(&self) -> Result<Vec<ResourceName>, StoreError> {
        self.ask(
            || "list the resources".to_owned(),
            |db| {
                let mut statement = db.prepare_cached("SELECT def, spec, instance FROM heads ORDER BY def, spec, instance")?;
                statement.query_map([], name_of)?.collect()
            },
        )
    }

    /// The number of the newest version of `name`, as the heads say.
    pub fn length(&self, name: &ResourceName) -> Result<u64, StoreError> {
        Ok(self.place(name)?.map_or(0, |(_, number, _)| number))
    }

    /// Id, number and digest of the head of `name`.
    fn place(&self, name: &ResourceName) -> Result<Option<(i64, u64, Digest)>, StoreError> {
        let sql = "SELECT id, number, digest FROM heads WHERE def = ?1 AND spec = ?2 AND instance = ?3";
        self.ask(
            || format!("read the head of {name}"),
            |db| {
                let mut statement = db.prepare_cached(sql)?;
                let row = |row: &Row<'_>| Ok((row.get(0)?, number(row, 1)?, digest(row, 2)?));
                statement.query_row(params![name.def, name.spec, name.instance], row).optional()
            },
        )
    }

    /// Appends a version and moves the head to it. Its content is written too if it is small; a large one is kept already.
    pub fn append(&self, new: NewVersion) -> Result<Version, StoreError> {
        let place = self.place(&new.resource)?;
        let found = place.map(|(_, _, digest)| digest);
        if found != new.expected {
            return Err(moved(new.resource, new.expected, found));
        }
        let number = place.map_or(0, |(_, number, _)| number) + 1;
        let content = Digest::of(&new.content);
        if new.content.len() <= SMALL {
            self.keep_blob(&content, &new.content)?;
        }
        let version = Version { resource: new.resource, number, parent: found, content, made: new.made, log: new.log };
        self.write_version(place.map(|(id, ..)| id), &version)?;
        Ok(version)
    }

    fn write_version(&self, resource: Option<i64>, version: &Version) -> Result<(), StoreError> {
        let (name, made) = (&version.resource, &version.made);
        let number = i64::try_from(version.number).unwrap_or(i64::MAX);
        let digest = version.digest();
        self.ask(
            || format!("write version {number} of {name}"),
            |db| {
                let resource = match resource {
                    Some(id) => {
                        let sql = "UPDATE heads SET number = ?2, digest = ?3 WHERE id = ?1";
                        db.prepare_cached(sql)?.execute(params![id, number, digest.as_bytes()])?;
                        id
                    }
                    None => {
                        let sql = "INSERT INTO heads (def, spec, instance, number, digest) VALUES (?1, ?2, ?3, ?4, ?5)";
                        let row = params![name.def, name.spec, name.instance, number, digest.as_bytes()];
                        db.prepare_cached(sql)?.insert(row)?
                    }
                };
                let sql = "INSERT INTO versions (resource, number, digest, parent, content, run, step, call, key, at, actor, log)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
                db.prepare_cached(sql)?.execute(params![
                    resource,
                    number,
                    digest.as_bytes(),
                    version.parent.as_ref().map(Digest::as_bytes),
                    version.content.as_bytes(),
                    made.run.as_str(),
                    made.step,
                    made.call,
                    made.key.as_bytes(),
                    made.at.0,
                    made.actor.as_str(),
                    version.log.as_ref().map(Digest::as_bytes),
                ])
            },
        )?;
        Ok(())
    }

    /// The version, if it is what its row claims.
    fn checked(&self, (version, claimed): Claimed) -> Result<Version, StoreError> {
        let found = version.digest();
        if found == claimed {
            return Ok(version);
        }
        let what = format!("version {} of {}", version.number, version.resource);
        Err(self.damaged(what, format!("its fields hash to {found}, its row says {claimed}")))
    }

    fn checked_head(&self, row: Head) -> Result<Version, StoreError> {
        let what = || format!("the head of {}", row.name);
        let Some(claimed) = row.version else {
            return Err(self.damaged(what(), format!("it names version {}, which is not there", row.number)));
        };
        if claimed.1 != row.digest {
            let why = format!("it names {}, but version {} is {}", row.digest, row.number, claimed.1);
            return Err(self.damaged(what(), why));
        }
        self.checked(claimed)
    }

    /// The bytes of a small blob, checked against its name.
    pub fn blob(&self, name: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM blobs WHERE digest = ?1";
        let read = |row: &Row<'_>| row.get::<_, Vec<u8>>(0);
        let found = self.ask(|| format!("read blob {name}"), |db| db.prepare_cached(sql)?.query_row([name.as_bytes()], read).optional())?;
        found.map(|bytes| self.checked_blob(name, bytes)).transpose()
    }

    /// The bytes, if they are what their name says.
    fn checked_blob(&self, name: &Digest, bytes: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        match Digest::of(&bytes) {
            found if found == *name => Ok(bytes),
            found => Err(self.damaged(format!("blob {name}"), format!("its {} bytes hash to {found}", bytes.len()))),
        }
    }

    /// Writes a small blob unless it is there.
    pub fn keep_blob(&self, name: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.keep("blob", "INSERT OR IGNORE INTO blobs (digest, bytes) VALUES (?1, ?2)", name, bytes)?;
        self.unmark_dropped(name)
    }

    /// A blob that is kept again is no longer a dropped one.
    pub fn unmark_dropped(&self, name: &Digest) -> Result<(), StoreError> {
        let sql = "DELETE FROM dropped WHERE digest = ?1";
        self.ask(|| format!("unmark blob {name}"), |db| db.prepare_cached(sql)?.execute([name.as_bytes()])).map(|_| ())
    }

    /// Removes a small blob and remembers its name as dropped; says whether it was there.
    pub fn drop_blob(&self, name: &Digest) -> Result<bool, StoreError> {
        self.ask(
            || format!("drop blob {name}"),
            |db| {
                db.prepare_cached("INSERT OR IGNORE INTO dropped (digest) VALUES (?1)")?.execute([name.as_bytes()])?;
                db.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?.execute([name.as_bytes()])
            },
        )
        .map(|removed| removed > 0)
    }

    /// Whether the name is that of a dropped blob.
    pub fn is_dropped(&self, name: &Digest) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM dropped WHERE digest = ?1";
        self.ask(|| format!("read whether blob {name} was dropped"), |db| db.prepare_cached(sql)?.exists([name.as_bytes()]))
    }

    /// Writes the sealed bytes of a secret unless it is there.
    pub fn keep_sealed(&self, name: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.keep("the sealed secret", "INSERT OR IGNORE INTO sealed (digest, bytes, sum) VALUES (?1, ?2, pmx_sum(?1, ?2))", name, bytes)
    }

    fn keep(&self, kind: &str, sql: &str, name: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let write = |db: &rusqlite::Connection| db.prepare_cached(sql)?.execute(params![name.as_bytes(), bytes]);
        self.ask(|| format!("write {kind} {name}"), write).map(|_| ())
    }

    /// The names of all small blobs, in order.
    pub fn blob_names(&self) -> Result<Vec<Digest>, StoreError> {
        let sql = "SELECT digest FROM blobs ORDER BY digest";
        self.ask(|| "list the small blobs".to_owned(), |db| db.prepare_cached(sql)?.query_map([], |row| digest(row, 0))?.collect())
    }

    /// The sealed bytes of a secret.
    pub fn sealed(&self, name: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT bytes FROM sealed WHERE digest = ?1";
        let read = |row: &Row<'_>| row.get(0);
        self.ask(|| format!("read the sealed secret {name}"), |db| db.prepare_cached(sql)?.query_row([name.as_bytes()], read).optional())
    }

    /// Replaces the sealed bytes of every secret by what `seal` makes of them; returns how many changed.
    pub fn reseal(&self, seal: &mut Reseal<'_>) -> Result<u64, StoreError> {
        let all = "SELECT digest, bytes FROM sealed ORDER BY digest";
        let read = |db: &rusqlite::Connection| -> rusqlite::Result<Vec<(Digest, Vec<u8>)>> {
            db.prepare_cached(all)?.query_map([], |row| Ok((digest(row, 0)?, row.get(1)?)))?.collect()
        };
        let mut changed = 0;
        for (name, bytes) in self.ask(|| "read the sealed secrets".to_owned(), read)? {
            let what = format!("the sealed secret {name}");
            if let Some(new) = seal(&bytes).map_err(|why| StoreError::Damaged { what, why })? {
                self.keep("the sealed secret", "UPDATE sealed SET bytes = ?2, sum = pmx_sum(?1, ?2) WHERE digest = ?1", &name, &new)?;
                changed += 1;
            }
        }
        Ok(changed)
    }

    /// From now on what this connection deletes or replaces is overwritten in the file.
    pub fn overwrite_what_goes(&self) -> Result<(), StoreError> {
        self.ask(|| "have old bytes overwritten".to_owned(), |db| db.pragma_update(None, "secure_delete", "ON"))
    }

    /// Writes as much of the log into the index as nobody still reads around; waits for nobody but the disk. What is left stays in the log. Whether all of it
    /// is in the index: then it is durable.
    pub fn fold_what_can_be(&self) -> Result<bool, StoreError> {
        let whole = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let fold = |db: &rusqlite::Connection| db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], whole);
        let (busy, frames, folded) = self.ask(|| "fold the index's log in".to_owned(), fold)?;
        Ok(busy == 0 && frames == folded)
    }

    /// Writes all of the log into the index and empties it.
    pub fn fold_log(&self) -> Result<(), StoreError> {
        let fold = |db: &rusqlite::Connection| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.ask(|| "empty the index's log".to_owned(), fold)
    }

    /// The key pinned for `identity`.
    pub fn pin(&self, identity: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT key FROM pins WHERE identity = ?1";
        self.ask(
            || format!("read the pinned key of {identity}"),
            |db| db.prepare_cached(sql)?.query_row([identity], |row| row.get(0)).optional(),
        )
    }

    /// Pins `key` for `identity`, or removes the pin.
    pub fn set_pin(&self, identity: &str, key: Option<&str>) -> Result<(), StoreError> {
        self.ask(
            || format!("pin the key of {identity}"),
            |db| match key {
                Some(key) => {
                    let sql = "INSERT INTO pins (identity, key, sum) VALUES (?1, ?2, pmx_sum(?1, ?2))
                               ON CONFLICT (identity) DO UPDATE SET key = excluded.key, sum = excluded.sum";
                    db.prepare_cached(sql)?.execute([identity, key])
                }
                None => db.prepare_cached("DELETE FROM pins WHERE identity = ?1")?.execute([identity]),
            },
        )
        .map(|_| ())
    }

    /// What SQLite says about the structure of the file: at most 20 sentences.
    pub fn defects(&self) -> Result<Vec<String>, StoreError> {
        let said: Vec<String> = self.ask(
            || "check its structure".to_owned(),
            |db| db.prepare("PRAGMA integrity_check(20)")?.query_map([], |row| row.get(0))?.collect(),
        )?;
        Ok(said.into_iter().filter(|sentence| sentence != "ok").collect())
    }
}

/// The error of a compare-and-swap that lost.
pub(super) fn moved(name: ResourceName, expected: Option<Digest>, found: Option<Digest>) -> StoreError {
    let text = |digest: Option<Digest>| digest.map_or_else(|| "none".to_owned(), |digest| digest.short());
    StoreError::HeadMoved { name, expected: text(expected), found: text(found) }
}

/// A row count as SQLite takes it.
pub(super) fn bounded(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A head's row beside the version it names, which may be missing.
struct Head {
    name: ResourceName,
    number: u64,
    digest: Digest,
    version: Option<Claimed>,
}

fn head_of(row: &Row<'_>) -> rusqlite::Result<Head> {
    let there = row.get::<_, Option<i64>>(3)?.is_some();
    let version = if there { Some(version_of(row)?) } else { None };
    Ok(Head { name: name_of(row)?, digest: digest(row, 14)?, number: number(row, 15)?, version })
}

fn name_of(row: &Row<'_>) -> rusqlite::Result<ResourceName> {
    Ok(ResourceName { def: row.get(0)?, spec: row.get(1)?, instance: row.get(2)? })
}

fn version_of(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let version = Version {
        resource: name_of(row)?,
        number: number(row, 3)?,
        parent: optional_digest(row, 5)?,
        content: digest(row, 6)?,
        made: Made {
            run: parsed(row, 7)?,
            step: row.get(8)?,
            call: row.get(9)?,
            key: digest(row, 10)?,
            at: Time(row.get(11)?),
            actor: parsed(row, 12)?,
        },
        log: optional_digest(row, 13)?,
    };
    Ok((version, digest(row, 4)?))
}

pub(super) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get(column).map(Digest::from_bytes)
}

fn optional_digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    Ok(row.get::<_, Option<[u8; 32]>>(column)?.map(Digest::from_bytes))
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

/// A text column of a type with one text form.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}
