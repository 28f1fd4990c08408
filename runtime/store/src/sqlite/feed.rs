//! The journal of all runs, read in the order in which it was written.

use super::fault;
use crate::feed::{FeedPage, FeedQuery, FeedRow};
use crate::model::{JournalRow, StoreFault};
use crate::row::{self, Coded};
use heddle_core::id::{Digest, RunId, Tenant};
use rusqlite::{Connection, Row};

/// The last place that was given in this database.
const NEWEST: &str =
    "SELECT max((SELECT value FROM meta WHERE name = 'position'), ifnull((SELECT max(id) FROM journal), 0))";

/// Rows behind a position.
pub(super) fn committed(db: &Connection, query: &FeedQuery) -> Result<FeedPage, StoreFault> {
    let mut statement = db
        .prepare_cached(
            "SELECT j.id, j.run, runs.tenant, runs.workflow, runs.snapshot, j.seq, j.encoding, j.checksum, j.body \
             FROM (SELECT * FROM journal WHERE id > ?1 ORDER BY id LIMIT ?2) j LEFT JOIN runs ON runs.run = j.run \
             ORDER BY j.id",
        )
        .map_err(fault)?;
    let mut rows = statement.query((query.after as i64, query.limit)).map_err(fault)?;
    let mut page = FeedPage { upto: query.after, ..FeedPage::default() };
    let mut looked_at = 0;
    while let Some(row) = rows.next().map_err(fault)? {
        looked_at += 1;
        page.upto = row.get::<_, i64>(0).map_err(fault)? as u64;
        match feed_row(row, query) {
            Ok(row) => page.rows.extend(row),
            // Whose row it is cannot be told: `doctor` names it.
            Err(error) => {
                tracing::error!(position = page.upto, %error, "a row of the journal cannot be told")
            }
        }
    }
    page.more = looked_at == query.limit;
    Ok(page)
}

/// A row, where it is asked for.
fn feed_row(row: &Row<'_>, query: &FeedQuery) -> rusqlite::Result<Option<FeedRow>> {
    let (Some(tenant), Some(workflow)) =
        (row.get_ref(2)?.as_str_or_null()?, row.get_ref(3)?.as_str_or_null()?)
    else {
        return Ok(None);
    };
    if !query.wants(tenant, workflow) {
        return Ok(None);
    }
    let run = RunId(u128::from_be_bytes(row.get(1)?));
    let seq = row.get::<_, i64>(5)? as u64;
    let coded = Coded { encoding: row.get(6)?, checksum: row.get(7)?, body: row.get_ref(8)?.as_blob()? };
    let read: Result<JournalRow, StoreFault> = row::decode(run, seq, &coded);
    Ok(Some(FeedRow {
        position: row.get::<_, i64>(0)? as u64,
        run,
        tenant: Tenant(tenant.into()),
        workflow: workflow.into(),
        snapshot: Digest(row.get(4)?),
        row: read.map_err(|fault| fault.to_string()),
    }))
}

/// The last place that was given.
pub(super) fn newest(db: &Connection) -> rusqlite::Result<u64> {
    db.prepare_cached(NEWEST)?.query_row([], |row| row.get::<_, i64>(0)).map(|position| position as u64)
}
