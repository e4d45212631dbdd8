//! Sums of the index's rows: what no digest covers is checked by eight bytes beside it.
//!
//! Versions and blobs are named by digests. The store's id, runs, journal lines, records, pins and sealed secrets are not, and a flipped bit in one of
//! them would tell another story without anybody noticing. Their column `sum` is `pmx_sum(…)` of the others, computed in the statement that writes them.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result};

use super::schema::Rows;
use super::verify::Damage;
use super::words::StoreError;
use crate::digest::Fields;

/// Long enough for accidents; who edits a row on purpose can write its sum as well.
const LENGTH: usize = 8;

/// Makes `pmx_sum` known to a connection.
pub(super) fn install(db: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function(c"pmx_sum", -1, flags, sum)
}

/// The first bytes of a digest over type and bytes of each argument.
fn sum(context: &mut Context<'_>) -> Result<Vec<u8>> {
    let mut fields = Fields::new("pmx index row 1");
    for at in 0..context.len() {
        match context.get_raw(at) {
            ValueRef::Null => fields.number(0),
            ValueRef::Integer(number) => fields.number(1).bytes(&number.to_le_bytes()),
            ValueRef::Real(number) => fields.number(2).bytes(&number.to_le_bytes()),
            ValueRef::Text(text) => fields.number(3).bytes(text),
            ValueRef::Blob(bytes) => fields.number(4).bytes(bytes),
        };
    }
    Ok(fields.finish().as_bytes()[..LENGTH].to_vec())
}

/// A table whose rows carry a sum: the columns it is of, and an SQL expression that names a row to a person.
struct Summed {
    table: &'static str,
    columns: &'static str,
    row: &'static str,
}

const SUMMED: [Summed; 6] = [
    Summed { table: "meta", columns: "key, value", row: "'the ' || key || ' of the store'" },
    Summed { table: "runs", columns: "run, targets, inputs, actor, began, ended, state, graph, version", row: "'run ' || run" },
    Summed {
        table: "journal",
        columns: "run, line, body",
        row: "'the journal of run ' || coalesce((SELECT r.run FROM runs r WHERE r.id = journal.run), 'number ' || run)",
    },
    Summed { table: "records", columns: "run, key, subject, good, body", row: "'the record of ' || subject || ' in run ' || run" },
    Summed { table: "pins", columns: "identity, key", row: "'the host key pin of ' || identity" },
    Summed { table: "sealed", columns: "digest, bytes", row: "'the sealed secret ' || lower(hex(digest))" },
];

/// Those that are made with their first row: an older store has them not.
const LATER: [Summed; 2] = [
    Summed { table: "audit", columns: "id, settled, body", row: "'what was asked as ' || id" },
    Summed { table: "repeats", columns: "key, body", row: "'repeat ' || lower(hex(key))" },
];

/// How many damaged rows of a table are named at most.
const NAMED: usize = 1000;

impl Rows<'_> {
    /// Every row that is not what its sum says.
    pub fn damaged_rows(&self) -> Result<Vec<Damage>, StoreError> {
        let mut damages = Vec::new();
        let mut summed: Vec<&Summed> = SUMMED.iter().collect();
        for later in &LATER {
            if self.has_table(later.table)? {
                summed.push(later);
            }
        }
        for Summed { table, columns, row } in summed {
            let sql = format!("SELECT {row} FROM {table} WHERE sum IS NOT pmx_sum({columns}) LIMIT {NAMED}");
            let named: Vec<String> = self.ask(
                || format!("check the rows of {table}"),
                |db| db.prepare(&sql)?.query_map([], |row| row.get(0))?.collect::<Result<Vec<_>>>(),
            )?;
            let why = || "it is not what was written: the sum beside it is another".to_owned();
            damages.extend(named.into_iter().map(|row| Damage { what: format!("a row of {table}"), why: why(), hurts: vec![row] }));
        }
        Ok(damages)
    }
}
