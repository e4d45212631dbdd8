//! Rows of leases: requests, and the claims that were not given back yet.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};

use super::chain::parsed;
use super::lease::{Ask, Change, Claim, Request, Spot};
use super::schema::Rows;
use super::words::StoreError;
use crate::event::Time;
use crate::name::RunId;

const REQUESTS: &str = "SELECT ticket, run, held, orphaned, heir FROM leases ORDER BY ticket";
const CLAIMS: &str = "SELECT ticket, number, spots, member, shared, step FROM claims";

impl Rows<'_> {
    /// All requests with all their claims, by ticket.
    pub fn requests(&self) -> Result<Vec<Request>, StoreError> {
        self.requests_with(&format!("{CLAIMS} ORDER BY ticket, number"), None)
    }

    /// All requests by ticket; of those of others only the claims in groups that the request `ticket` has claims in, its own whole.
    pub fn rivals(&self, ticket: i64) -> Result<Vec<Request>, StoreError> {
        let met = format!("{CLAIMS} WHERE spots IN (SELECT spots FROM claims WHERE ticket = ?1) ORDER BY ticket, number");
        self.requests_with(&met, Some(ticket))
    }

    fn requests_with(&self, claims: &str, ticket: Option<i64>) -> Result<Vec<Request>, StoreError> {
        self.ask(
            || "read the leases".to_owned(),
            |db| {
                let mut requests = db.prepare_cached(REQUESTS)?.query_map([], request)?.collect::<rusqlite::Result<Vec<_>>>()?;
                let at: BTreeMap<i64, usize> = requests.iter().enumerate().map(|(at, request)| (request.ticket, at)).collect();
                let mut statement = db.prepare_cached(claims)?;
                let mut rows = match ticket {
                    Some(ticket) => statement.query([ticket])?,
                    None => statement.query([])?,
                };
                while let Some(row) = rows.next()? {
                    // A claim without its request cannot be: both are written and deleted together.
                    if let Some(at) = at.get(&row.get(0)?) {
                        requests[*at].claims.push(claim(row)?);
                    }
                }
                Ok(requests)
            },
        )
    }

    /// The ticket of a run's request in its present life.
    pub fn ticket(&self, run: &RunId) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT ticket FROM leases WHERE run = ?1 AND orphaned = 0";
        self.ask(
            || format!("read the leases of run {run}"),
            |db| db.prepare_cached(sql)?.query_row([run.as_str()], |row| row.get(0)).optional(),
        )
    }

    /// Files a request at the end of the queue; returns its ticket.
    pub fn file(&self, ask: &Ask) -> Result<i64, StoreError> {
        self.ask(
            || format!("ask for the leases of run {}", ask.run),
            |db| {
                let sql = "INSERT INTO leases (run, orphaned) VALUES (?1, 0) RETURNING ticket";
                let ticket: i64 = db.prepare_cached(sql)?.query_row([ask.run.as_str()], |row| row.get(0))?;
                let sql = "INSERT INTO claims (ticket, number, spots, member, shared, step) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let mut statement = db.prepare_cached(sql)?;
                for Claim { number, spot, shared, step } in ask.claims.iter() {
                    statement.execute(params![ticket, number, spot.group, spot.member, shared, step])?;
                }
                Ok(ticket)
            },
        )
    }

    /// Grants a request, and makes its run the heir of others.
    pub fn grant(&self, ask: &Ask, ticket: i64, inherits: &[i64]) -> Result<(), StoreError> {
        self.ask(
            || format!("grant the leases of run {}", ask.run),
            |db| {
                db.prepare_cached("UPDATE leases SET held = ?2 WHERE ticket = ?1")?.execute(params![ticket, ask.at.0])?;
                let mut statement = db.prepare_cached("UPDATE leases SET orphaned = 1, heir = ?2 WHERE ticket = ?1")?;
                inherits.iter().try_for_each(|dead| statement.execute(params![dead, ask.run.as_str()]).map(drop))
            },
        )
    }

    /// Orphans what a run held when it died, forgets what it waited for, and leaves to others what it was to settle.
    pub fn orphan(&self, run: &RunId) -> Result<(), StoreError> {
        self.ask(
            || format!("orphan the leases of run {run}"),
            |db| {
                let sql = "DELETE FROM claims WHERE ticket IN (SELECT ticket FROM leases WHERE run = ?1 AND held IS NULL)";
                db.prepare_cached(sql)?.execute([run.as_str()])?;
                db.prepare_cached("DELETE FROM leases WHERE run = ?1 AND held IS NULL")?.execute([run.as_str()])?;
                db.prepare_cached("UPDATE leases SET orphaned = 1 WHERE run = ?1")?.execute([run.as_str()])?;
                db.prepare_cached("UPDATE leases SET heir = NULL WHERE heir = ?1")?.execute([run.as_str()]).map(drop)
            },
        )
    }

    /// Deletes a request.
    pub fn forget(&self, ticket: i64) -> Result<(), StoreError> {
        self.ask(
            || format!("delete the lease request {ticket}"),
            |db| {
                db.prepare_cached("DELETE FROM claims WHERE ticket = ?1")?.execute([ticket])?;
                db.prepare_cached("DELETE FROM leases WHERE ticket = ?1")?.execute([ticket]).map(drop)
            },
        )
    }

    /// Gives back everything of a run; what it was to settle is left to others again.
    pub fn leave(&self, run: &RunId) -> Result<(), StoreError> {
        if let Some(ticket) = self.ticket(run)? {
            self.forget(ticket)?;
        }
        let sql = "UPDATE leases SET heir = NULL WHERE heir = ?1";
        self.ask(|| format!("give back the leases of run {run}"), |db| db.prepare_cached(sql)?.execute([run.as_str()]).map(drop))
    }

    /// Deletes what `dead` left, which its heir has settled.
    pub fn settled(&self, heir: &RunId, dead: &RunId) -> Result<(), StoreError> {
        let both = params![dead.as_str(), heir.as_str()];
        self.ask(
            || format!("settle the leases of run {dead}"),
            |db| {
                let sql = "DELETE FROM claims WHERE ticket IN (SELECT ticket FROM leases WHERE run = ?1 AND heir = ?2)";
                db.prepare_cached(sql)?.execute(both)?;
                db.prepare_cached("DELETE FROM leases WHERE run = ?1 AND heir = ?2")?.execute(both).map(drop)
            },
        )
    }

    /// Changes the leases of a run.
    pub fn change_leases(&self, run: &RunId, change: &Change) -> Result<(), StoreError> {
        if change.all {
            return self.leave(run);
        }
        let Some(ticket) = self.ticket(run)? else { return Ok(()) };
        self.ask(
            || format!("change the leases of run {run}"),
            |db| {
                let mut statement = db.prepare_cached("UPDATE claims SET step = ?3 WHERE ticket = ?1 AND number = ?2")?;
                change.used.iter().try_for_each(|(number, step)| statement.execute(params![ticket, number, step]).map(drop))?;
                let mut statement = db.prepare_cached("DELETE FROM claims WHERE ticket = ?1 AND number = ?2")?;
                change.released.iter().try_for_each(|number| statement.execute(params![ticket, number]).map(drop))?;
                let sql = "DELETE FROM leases WHERE ticket = ?1 AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.ticket = ?1)";
                db.prepare_cached(sql)?.execute([ticket]).map(drop)
            },
        )
    }

    /// A number that is another one whenever another connection has written something since.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        self.ask(|| "look for changes".to_owned(), |db| db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0)))
    }
}

fn request(row: &Row<'_>) -> rusqlite::Result<Request> {
    let heir = if row.get_ref(4)? == rusqlite::types::ValueRef::Null { None } else { Some(parsed(row, 4)?) };
    let held = row.get::<_, Option<i64>>(2)?.map(Time);
    Ok(Request { ticket: row.get(0)?, run: parsed(row, 1)?, held, orphaned: row.get(3)?, heir, claims: Vec::new() })
}

fn claim(row: &Row<'_>) -> rusqlite::Result<Claim> {
    let spot = Spot { group: row.get(2)?, member: row.get(3)? };
    Ok(Claim { number: row.get(1)?, spot, shared: row.get(4)?, step: row.get(5)? })
}
