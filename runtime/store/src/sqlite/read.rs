//! Reads, each on a connection of its own thread: they see all that was committed before the call.

use super::status::{RESTS, STATUSES, status_code};
use super::{Values, fault};
use crate::model::*;
use crate::row::{self, Coded};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::sync::Arc;

/// The columns that [`run_row`] reads, in order.
pub(super) const RUN_COLUMNS: &str = "runs.run, runs.tenant, workflow, version, snapshot, labels, created, status, due, finished, rest, created_by";

/// The same of a database of this schema: what it does not say yet is nothing.
pub(super) fn columns_of(schema: u32) -> String {
    let mut columns = RUN_COLUMNS.to_owned();
    for (column, since) in [("rest", 7), ("created_by", 9)] {
        if schema < since {
            columns = columns.replace(&format!(", {column}"), ", NULL");
        }
    }
    columns
}

/// Reads an index row.
pub(super) fn run_row(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let time = |at: i64| Timestamp(at as u64);
    let text =
        |column: usize| row.get_ref(column)?.as_str().map(Arc::<str>::from).map_err(rusqlite::Error::from);
    let labels = row.get_ref(5)?.as_str()?;
    let labels = serde_json::from_str(labels)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(5, Type::Text, Box::new(error)))?;
    let code = row.get::<_, u8>(7)?;
    let status =
        STATUSES.get(usize::from(code)).ok_or(rusqlite::Error::IntegralValueOutOfRange(7, code.into()))?;
    let rest = row.get::<_, Option<u8>>(10)?.map(usize::from);
    Ok(RunRow {
        run: RunId(u128::from_be_bytes(row.get(0)?)),
        tenant: Tenant(text(1)?),
        workflow: text(2)?,
        workflow_version: text(3)?,
        snapshot: Digest(row.get(4)?),
        labels,
        created: time(row.get(6)?),
        status: *status,
        rest: rest.and_then(|code| RESTS.get(code.wrapping_sub(1)).copied()),
        due: row.get::<_, Option<i64>>(8)?.map(time),
        finished: row.get::<_, Option<i64>>(9)?.map(time),
        by: row.get_ref(11)?.as_str_or_null()?.map(Arc::from),
    })
}

/// Reads an index row; where it cannot be read, its id and why. What has no id cannot be named, and is left out.
pub(super) fn listed(row: &Row<'_>) -> rusqlite::Result<Option<Listed>> {
    let error = match run_row(row) {
        Ok(read) => return Ok(Some(Listed::Run(Box::new(read)))),
        Err(error) => error,
    };
    let run = row.get_ref(0)?.as_blob().ok().and_then(|id| <[u8; 16]>::try_from(id).ok());
    Ok(run.map(|run| Listed::Unreadable { run: RunId(u128::from_be_bytes(run)), why: error.to_string() }))
}

/// Rows of a journal.
pub(super) fn journal(
    db: &Connection,
    run: RunId,
    after: u64,
    limit: u32,
) -> Result<Vec<JournalRow>, StoreFault> {
    let mut statement = db
        .prepare_cached(
            "SELECT seq, encoding, checksum, body FROM journal WHERE run = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )
        .map_err(fault)?;
    let mut rows = statement.query((run.0.to_be_bytes(), after as i64, limit)).map_err(fault)?;
    let mut journal = Vec::new();
    while let Some(row) = rows.next().map_err(fault)? {
        let read = || -> rusqlite::Result<(u64, Coded<&[u8]>)> {
            let coded =
                Coded { encoding: row.get(1)?, checksum: row.get(2)?, body: row.get_ref(3)?.as_blob()? };
            Ok((row.get::<_, i64>(0)? as u64, coded))
        };
        let (seq, coded) = read().map_err(fault)?;
        journal.push(row::decode(run, seq, &coded)?);
    }
    Ok(journal)
}

/// An index row.
pub(super) fn run(db: &Connection, run: RunId) -> Result<Option<RunRow>, StoreFault> {
    run_by(db, RUN_COLUMNS, run)
}

/// An index row, by these columns.
pub(super) fn run_by(db: &Connection, columns: &str, run: RunId) -> Result<Option<RunRow>, StoreFault> {
    db.prepare_cached(&format!("SELECT {columns} FROM runs WHERE run = ?1"))
        .and_then(|mut statement| statement.query_row([run.0.to_be_bytes()], run_row).optional())
        .map_err(|error| match fault(error) {
            StoreFault::Damaged { why, .. } => {
                StoreFault::Damaged { what: format!("the index row of run {run}"), why }
            }
            other => other,
        })
}

/// A page of index rows, each page from an index that has the rows in its order.
pub(super) fn runs(db: &Connection, query: &RunQuery) -> Result<Vec<Listed>, StoreFault> {
    let newest = match query.before {
        None => u128::MAX,
        Some(RunId(0)) => return Ok(Vec::new()),
        Some(RunId(before)) => before - 1,
    }
    .to_be_bytes();
    let tenant = &*query.tenant.0;
    let page = "ORDER BY runs.run DESC LIMIT ?3";
    if let Some(slot) = &query.slot {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs WHERE run <= ?2 AND run IN \
             (SELECT run FROM slots WHERE tenant = ?1 AND key = ?4 AND held = 1) {page}"
        );
        return select(db, &sql, (tenant, &newest, query.limit, &**slot));
    }
    if let Some(digest) = &query.holding {
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM runs WHERE tenant = ?1 AND run <= ?2 AND run IN \
             (SELECT owner FROM blob_refs WHERE digest = ?4) {page}"
        );
        return select(db, &sql, (tenant, &newest, query.limit, &digest.0));
    }
    if let Some((name, value)) = &query.label {
        let wanted = query.status.iter().fold(0i64, |bits, status| bits | 1 << status_code(*status));
        let sql = format!(
            "SELECT {RUN_COLUMNS} FROM run_labels l CROSS JOIN runs ON runs.run = l.run \
             WHERE l.tenant = ?1 AND l.name = ?4 AND l.value = ?5 AND l.run <= ?2 \
             AND (?6 IS NULL OR workflow = ?6) AND (?8 IS NULL OR version = ?8) \
             AND (?7 = 0 OR ?7 >> status & 1) ORDER BY l.run DESC LIMIT ?3"
        );
        let (workflow, version) = (&query.workflow, &query.version);
        return select(db, &sql, (tenant, &newest, query.limit, name, value, workflow, wanted, version));
    }
    if query.status.is_empty() && query.workflow.is_none() {
        let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE tenant = ?1 AND run <= ?2 {page}");
        return select(db, &sql, (tenant, &newest, query.limit));
    }
    // The indexes have the rows in order within one status, so a page is taken from each and merged.
    let mut rows = Vec::new();
    for status in STATUSES.iter().filter(|status| query.status.is_empty() || query.status.contains(status)) {
        let code = status_code(*status);
        rows.extend(match &query.workflow {
            None => {
                let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE tenant = ?1 AND status = ?4 AND run <= ?2 {page}");
                select(db, &sql, (tenant, &newest, query.limit, code))?
            }
            Some(workflow) => {
                let sql = format!(
                    "SELECT {RUN_COLUMNS} FROM runs WHERE tenant = ?1 AND workflow = ?5 AND status = ?4 AND run <= ?2 \
                     AND (?6 IS NULL OR version = ?6) {page}"
                );
                select(db, &sql, (tenant, &newest, query.limit, code, workflow, &query.version))?
            }
        });
    }
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.run()));
    rows.truncate(query.limit as usize);
    Ok(rows)
}

fn select(db: &Connection, sql: &str, params: impl Params) -> Result<Vec<Listed>, StoreFault> {
    let mut statement = db.prepare_cached(sql).map_err(fault)?;
    let rows = statement.query_map(params, listed).map_err(fault)?;
    rows.filter_map(Result::transpose).collect::<Result<_, _>>().map_err(fault)
}

/// The messages of a run.
pub(super) fn inbox(db: &Connection, run: RunId) -> Result<Vec<Message>, StoreFault> {
    let mut statement = db
        .prepare_cached("SELECT id, sender_key, body FROM inbox WHERE run = ?1 ORDER BY id")
        .map_err(fault)?;
    let rows = statement.query_map([run.0.to_be_bytes()], |row| {
        let unique = row.get_ref(1)?.as_str()?.into();
        Ok(Message {
            id: row.get::<_, i64>(0)? as u64,
            run,
            unique,
            body: Json::trusted(row.get::<_, String>(2)?),
        })
    });
    rows.and_then(Iterator::collect).map_err(fault)
}

/// A value, checked against its digest.
pub(super) fn blob(
    db: &Connection,
    values: &Values,
    digest: Digest,
) -> Result<Option<Arc<[u8]>>, StoreFault> {
    let damaged = |why: &str| StoreFault::Damaged { what: format!("value {digest}"), why: why.to_owned() };
    let row: Option<Option<Arc<[u8]>>> = db
        .prepare_cached("SELECT body FROM blobs WHERE digest = ?1")
        .and_then(|mut statement| {
            let read = |row: &Row<'_>| Ok(row.get_ref(0)?.as_blob_or_null()?.map(Arc::from));
            statement.query_row([&digest.0], read).optional()
        })
        .map_err(fault)?;
    let bytes = match row {
        None => return Ok(None),
        Some(Some(bytes)) => bytes,
        Some(None) => match values.read(digest) {
            Ok(Some(bytes)) => bytes.into(),
            Ok(None) => return Err(damaged("its file is missing")),
            Err(error) => return Err(StoreFault::Unavailable(error.to_string())),
        },
    };
    if Digest::of(&bytes) != digest {
        return Err(damaged("its bytes have another digest"));
    }
    Ok(Some(bytes))
}
