//! The rows that are owed to webhooks.

use super::fault;
use super::writer::Writer;
use crate::model::{Lease, StoreFault};
use crate::outbox::{
    Claimed, Delivery, DeliveryClaim, DeliveryQuery, DeliveryRow, DeliveryStatus, DeliveryWrite, OutboxFault,
    OutboxReport, Standing,
};
use heddle_core::id::{RunId, Tenant};
use heddle_core::journal::LeaseStanding;
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use heddle_core::webhook::DeliveryId;
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use std::sync::Arc;

const COLUMNS: &str =
    "id, tenant, endpoint, url, secret, run, event, message, created, status, due, finished, tries, version";

fn row(row: &Row<'_>) -> rusqlite::Result<DeliveryRow> {
    let text = |at: usize| row.get::<_, String>(at).map(Arc::<str>::from);
    let time = |at: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(at)?.unwrap_or(0) as u64);
    let standing = match DeliveryStatus::ALL.get(usize::from(row.get::<_, u8>(9)?)) {
        Some(DeliveryStatus::Waiting) => Standing::Waiting(Timestamp(time(10)?)),
        Some(DeliveryStatus::Delivered) => Standing::Delivered(Timestamp(time(11)?)),
        Some(DeliveryStatus::Failed) => Standing::Failed(Timestamp(time(11)?)),
        None => return Err(rusqlite::Error::IntegralValueOutOfRange(9, row.get(9)?)),
    };
    let delivery = Delivery {
        id: DeliveryId(u128::from_be_bytes(row.get(0)?)),
        tenant: Tenant(text(1)?),
        endpoint: text(2)?,
        url: text(3)?,
        secret: row.get::<_, Option<String>>(4)?.map(Arc::from),
        run: row.get::<_, Option<[u8; 16]>>(5)?.map(|run| RunId(u128::from_be_bytes(run))),
        event: text(6)?,
        message: Json::trusted(row.get::<_, String>(7)?),
        created: Timestamp(time(8)?),
        standing,
        tries: Json::trusted(row.get::<_, String>(12)?),
    };
    Ok(DeliveryRow { version: row.get::<_, i64>(13)? as u64, delivery })
}

fn at(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| time.0 as i64)
}

/// A new row.
pub(super) fn insert(writer: &Writer, delivery: &Delivery) -> rusqlite::Result<()> {
    let standing = delivery.standing;
    writer.execute(
        "INSERT INTO deliveries (id, tenant, endpoint, url, secret, run, event, message, created, status, due, \
         finished, tries, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 1)",
        (
            delivery.id.0.to_be_bytes(),
            &*delivery.tenant.0,
            &*delivery.endpoint,
            &*delivery.url,
            delivery.secret.as_deref(),
            delivery.run.map(|run| run.0.to_be_bytes()),
            &*delivery.event,
            delivery.message.text(),
            delivery.created.0 as i64,
            standing.status() as u8,
            at(standing.due()),
            at(standing.finished()),
            delivery.tries.text(),
        ),
    )?;
    Ok(())
}

/// Writes a row, or says why not and has written nothing.
pub(super) fn put(writer: &mut Writer, write: &DeliveryWrite) -> rusqlite::Result<Result<u64, OutboxFault>> {
    let DeliveryWrite { epoch, expected, delivery } = write;
    if writer.leases.standing(*epoch, writer.clock.steady()) != LeaseStanding::Living {
        return Ok(Err(OutboxFault::Fenced { epoch: *epoch }));
    }
    let id = delivery.id;
    let found = writer
        .statement("SELECT version FROM deliveries WHERE id = ?1 AND tenant = ?2")?
        .query_row((id.0.to_be_bytes(), &*delivery.tenant.0), |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(0) as u64;
    if found != *expected {
        return Ok(Err(OutboxFault::Conflict { id, expected: *expected, found }));
    }
    if found == 0 {
        insert(writer, delivery)?;
        return Ok(Ok(1));
    }
    let standing = delivery.standing;
    writer.execute(
        "UPDATE deliveries SET status = ?2, due = ?3, finished = ?4, tries = ?5, version = version + 1, owner = NULL \
         WHERE id = ?1",
        (
            id.0.to_be_bytes(),
            standing.status() as u8,
            at(standing.due()),
            at(standing.finished()),
            delivery.tries.text(),
        ),
    )?;
    Ok(Ok(found + 1))
}

/// Gives the node rows that are due.
pub(super) fn claim(writer: &mut Writer, lease: &Lease, claim: &DeliveryClaim) -> rusqlite::Result<Claimed> {
    if !writer.leases.lives(lease.epoch, writer.clock.steady()) {
        return Ok(Claimed::default());
    }
    free_left_behind(writer)?;
    let mut claimed = Claimed::default();
    for endpoint in in_turn(writer, &claim.after)? {
        let room = claim.room(&endpoint).min(claim.limit - claimed.rows.len() as u32);
        if room == 0 {
            continue;
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries WHERE due IS NOT NULL AND owner IS NULL AND endpoint = ?1 AND due <= ?2 \
             ORDER BY due, id LIMIT ?3"
        );
        let due = writer
            .statement(&sql)?
            .query_map((&endpoint, claim.now.0 as i64, room), row)?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let next = writer
            .statement(
                "SELECT due FROM deliveries WHERE due IS NOT NULL AND owner IS NULL AND endpoint = ?1 AND due > ?2 \
                 ORDER BY due LIMIT 1",
            )?
            .query_row((&endpoint, claim.now.0 as i64), |row| row.get::<_, i64>(0))
            .optional()?
            .map(|due| Timestamp(due as u64));
        claimed.next = [claimed.next, next].into_iter().flatten().min();
        claimed.rows.extend(due);
    }
    for row in &claimed.rows {
        writer.execute(
            "UPDATE deliveries SET owner = ?2 WHERE id = ?1",
            (row.delivery.id.0.to_be_bytes(), lease.epoch as i64),
        )?;
    }
    Ok(claimed)
}

/// Takes rows back from nodes whose lease has ended.
fn free_left_behind(writer: &Writer) -> rusqlite::Result<()> {
    let now = writer.clock.steady();
    let owners: Vec<i64> = writer
        .statement("SELECT DISTINCT owner FROM deliveries WHERE owner IS NOT NULL")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for owner in owners.into_iter().filter(|owner| !writer.leases.lives(*owner as u64, now)) {
        writer.execute("UPDATE deliveries SET owner = NULL WHERE owner = ?1", [owner])?;
    }
    Ok(())
}

/// The endpoints for which something waits, those after this one first: from one to the next in the index.
fn in_turn(writer: &Writer, after: &str) -> rusqlite::Result<Vec<String>> {
    let (mut later, mut earlier, mut last) = (Vec::new(), Vec::new(), String::new());
    loop {
        let next: Option<String> = writer
            .statement(
                "SELECT endpoint FROM deliveries WHERE due IS NOT NULL AND owner IS NULL AND endpoint > ?1 \
                 ORDER BY endpoint LIMIT 1",
            )?
            .query_row([&last], |row| row.get(0))
            .optional()?;
        let Some(endpoint) = next else { break };
        last.clone_from(&endpoint);
        if *endpoint > *after { later.push(endpoint) } else { earlier.push(endpoint) }
    }
    later.extend(earlier);
    Ok(later)
}

/// One row.
pub(super) fn one(
    db: &Connection,
    tenant: &Tenant,
    id: DeliveryId,
) -> Result<Option<DeliveryRow>, StoreFault> {
    db.prepare_cached(&format!("SELECT {COLUMNS} FROM deliveries WHERE id = ?1 AND tenant = ?2"))
        .and_then(|mut statement| statement.query_row((id.0.to_be_bytes(), &*tenant.0), row).optional())
        .map_err(fault)
}

/// Rows, newest first.
pub(super) fn page(db: &Connection, query: &DeliveryQuery) -> Result<Vec<DeliveryRow>, StoreFault> {
    let before = query.before.unwrap_or(DeliveryId(u128::MAX)).0.to_be_bytes();
    let mut sql = format!("SELECT {COLUMNS} FROM deliveries WHERE tenant = ?1 AND id < ?2");
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(query.tenant.0.clone()), Box::new(before)];
    let mut only = |column: &str, value: Box<dyn ToSql>| {
        values.push(value);
        sql.push_str(&format!(" AND {column} = ?{}", values.len()));
    };
    if let Some(endpoint) = &query.endpoint {
        only("endpoint", Box::new(endpoint.clone()));
    }
    if let Some(run) = query.run {
        only("run", Box::new(run.0.to_be_bytes()));
    }
    if let Some(status) = query.status {
        only("status", Box::new(status as u8));
    }
    sql.push_str(&format!(" ORDER BY id DESC LIMIT {}", query.limit));
    let mut statement = db.prepare_cached(&sql).map_err(fault)?;
    let rows = statement.query_map(params_from_iter(values), row).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// What waits.
pub(super) fn report(db: &Connection) -> Result<OutboxReport, StoreFault> {
    let sql = "SELECT count(*), min(created) FROM deliveries WHERE due IS NOT NULL AND owner IS NULL";
    let counted = db
        .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))
        .map_err(fault)?;
    Ok(OutboxReport { waiting: counted.0 as u64, oldest: counted.1.map(|at| Timestamp(at as u64)) })
}

/// Removes rows that ended before this time.
pub(super) fn retain(writer: &Writer, before: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    writer.execute(
        "DELETE FROM deliveries WHERE number IN \
         (SELECT number FROM deliveries WHERE finished < ?1 ORDER BY finished LIMIT ?2)",
        (before.0 as i64, limit),
    )
}
