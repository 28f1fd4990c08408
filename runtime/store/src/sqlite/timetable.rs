//! The rows of schedules.

use super::fault;
use super::writer::Writer;
use crate::model::{Lease, StoreFault};
use crate::timetable::{ScheduleFault, ScheduleRow, ScheduleWrite};
use heddle_core::id::Tenant;
use heddle_core::journal::LeaseStanding;
use heddle_core::json::Json;
use rusqlite::{Connection, OptionalExtension, Row};

const COLUMNS: &str = "tenant, id, version, owner, body";

fn row(row: &Row<'_>) -> rusqlite::Result<ScheduleRow> {
    Ok(ScheduleRow {
        tenant: Tenant(row.get::<_, String>(0)?.into()),
        id: row.get(1)?,
        version: row.get::<_, i64>(2)? as u64,
        owner: row.get::<_, Option<i64>>(3)?.map(|epoch| epoch as u64),
        body: Json::trusted(row.get::<_, String>(4)?),
    })
}

/// One row.
pub(super) fn schedule(
    db: &Connection,
    tenant: &Tenant,
    id: &str,
) -> Result<Option<ScheduleRow>, StoreFault> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM schedules WHERE tenant = ?1 AND id = ?2"))
        .and_then(|mut statement| statement.query_row((&*tenant.0, id), row).optional())
        .map_err(fault)
}

/// Rows in order.
pub(super) fn schedules(
    db: &Connection,
    tenant: &Tenant,
    after: &str,
    limit: u32,
) -> Result<Vec<ScheduleRow>, StoreFault> {
    let sql = format!("SELECT {COLUMNS} FROM schedules WHERE tenant = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
    let mut statement = db.prepare_cached(&sql).map_err(fault)?;
    let rows = statement.query_map((&*tenant.0, after, limit), row).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// Writes a row, or says why not and has written nothing.
pub(super) fn put(
    writer: &mut Writer,
    write: &ScheduleWrite,
) -> rusqlite::Result<Result<u64, ScheduleFault>> {
    let ScheduleWrite { epoch, tenant, id, expected, body } = write;
    if writer.leases.standing(*epoch, writer.clock.steady()) != LeaseStanding::Living {
        return Ok(Err(ScheduleFault::Fenced { epoch: *epoch }));
    }
    let found = writer
        .statement("SELECT version FROM schedules WHERE tenant = ?1 AND id = ?2")?
        .query_row((&*tenant.0, id), |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(0) as u64;
    if found != *expected {
        return Ok(Err(ScheduleFault::Conflict { id: id.clone(), expected: *expected, found }));
    }
    let version: i64 = writer
        .statement("UPDATE meta SET value = value + 1 WHERE name = 'schedule_version' RETURNING value")?
        .query_row([], |row| row.get(0))?;
    match body {
        Some(body) => writer.execute(
            "INSERT OR REPLACE INTO schedules (tenant, id, version, owner, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            (&*tenant.0, id, version, *epoch as i64, body.text()),
        )?,
        None => writer.execute("DELETE FROM schedules WHERE tenant = ?1 AND id = ?2", (&*tenant.0, id))?,
    };
    Ok(Ok(version as u64))
}

/// Gives the node rows that no living node owns.
pub(super) fn claim(writer: &mut Writer, lease: &Lease, limit: u32) -> rusqlite::Result<Vec<ScheduleRow>> {
    let now = writer.clock.steady();
    if !writer.leases.lives(lease.epoch, now) {
        return Ok(Vec::new());
    }
    let owners: Vec<i64> = writer
        .statement("SELECT DISTINCT owner FROM schedules WHERE owner IS NOT NULL ORDER BY owner")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut rows = Vec::new();
    for owner in owners.into_iter().filter(|owner| !writer.leases.lives(*owner as u64, now)) {
        let room = limit - rows.len() as u32;
        let sql = format!("SELECT {COLUMNS} FROM schedules WHERE owner = ?1 ORDER BY tenant, id LIMIT ?2");
        let found =
            writer.statement(&sql)?.query_map((owner, room), row)?.collect::<rusqlite::Result<Vec<_>>>()?;
        rows.extend(found);
    }
    for row in &mut rows {
        writer.execute(
            "UPDATE schedules SET owner = ?3 WHERE tenant = ?1 AND id = ?2",
            (&*row.tenant.0, &row.id, lease.epoch as i64),
        )?;
        row.owner = Some(lease.epoch);
    }
    Ok(rows)
}
