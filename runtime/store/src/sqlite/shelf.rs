//! Records under names.

use super::fault;
use super::writer::Writer;
use crate::model::{Record, StoreFault};
use heddle_core::json::Json;
use rusqlite::{Connection, OptionalExtension, Row};

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        key: row.get(0)?,
        version: row.get::<_, i64>(1)? as u64,
        body: Json::trusted(row.get::<_, String>(2)?),
    })
}

/// One record.
pub(super) fn get(db: &Connection, collection: &str, key: &str) -> Result<Option<Record>, StoreFault> {
    db.prepare_cached("SELECT key, version, body FROM shelf WHERE collection = ?1 AND key = ?2")
        .and_then(|mut statement| statement.query_row((collection, key), record).optional())
        .map_err(fault)
}

/// Records in order.
pub(super) fn scan(
    db: &Connection,
    collection: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<Record>, StoreFault> {
    let mut statement = db
        .prepare_cached(
            "SELECT key, version, body FROM shelf WHERE collection = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
        )
        .map_err(fault)?;
    let rows = statement.query_map((collection, after, limit), record).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

fn version(writer: &Writer, collection: &str, key: &str) -> rusqlite::Result<u64> {
    let version = writer
        .statement("SELECT version FROM shelf WHERE collection = ?1 AND key = ?2")?
        .query_row((collection, key), |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(version.unwrap_or(0) as u64)
}

/// Writes a record if it has this version. `None` when it has another.
pub(super) fn put(
    writer: &mut Writer,
    collection: &str,
    key: &str,
    expected: u64,
    body: &Json,
) -> rusqlite::Result<Option<u64>> {
    if version(writer, collection, key)? != expected {
        return Ok(None);
    }
    writer.execute(
        "INSERT OR REPLACE INTO shelf (collection, key, version, body) VALUES (?1, ?2, ?3, ?4)",
        (collection, key, expected as i64 + 1, body.text()),
    )?;
    Ok(Some(expected + 1))
}

/// Removes a record if it has this version. `None` when it has another, `false` when there is none.
pub(super) fn delete(
    writer: &mut Writer,
    collection: &str,
    key: &str,
    expected: u64,
) -> rusqlite::Result<Option<bool>> {
    let found = version(writer, collection, key)?;
    if found == 0 || found != expected {
        return Ok((found == 0).then_some(false));
    }
    writer.execute("DELETE FROM shelf WHERE collection = ?1 AND key = ?2", (collection, key))?;
    Ok(Some(true))
}
