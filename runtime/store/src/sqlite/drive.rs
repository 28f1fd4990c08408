//! Who drives which run: leases, claims, and the messages that make a run worth claiming.
//!
//! Leases live in memory, because nobody else can have the data folder open. What a restart needs is the epoch counter
//! alone: an `owner` from before is an epoch that no living lease has, so its runs can be claimed at once.

use super::read::{RUN_COLUMNS, listed};
use super::slots;
use super::writer::Writer;
use crate::model::{Lease, Listed, Mail, Recipient, RunRow};
use crate::rules::in_turn;
use heddle_core::id::RunId;
use rusqlite::{OptionalExtension, Params};

/// Takes the node's name.
pub(super) fn take_lease(writer: &mut Writer, node: &str, ttl_ms: u64) -> rusqlite::Result<Option<Lease>> {
    let now = writer.clock.steady();
    let lease = writer.leases.take(node, now, ttl_ms);
    if let Some(lease) = &lease {
        writer.execute("UPDATE meta SET value = ?1 WHERE name = 'epoch'", [lease.epoch as i64])?;
    }
    Ok(lease)
}

/// Hands over runs that nobody living drives and that have something to do.
pub(super) fn claim(writer: &mut Writer, lease: &Lease, limit: u32) -> rusqlite::Result<Vec<RunRow>> {
    if !writer.leases.lives(lease.epoch, writer.clock.steady()) {
        return Ok(Vec::new());
    }
    let left_behind = left_behind(writer, lease, limit)?;
    let ready = select(
        writer,
        lease,
        &format!(
            "SELECT {RUN_COLUMNS} FROM runs WHERE owner IS NULL AND place IS NULL AND wake <= ?1 \
             ORDER BY wake, run LIMIT ?2"
        ),
        (writer.clock.wall().0 as i64, limit),
    )?;
    let in_line = select(
        writer,
        lease,
        &format!(
            "SELECT {RUN_COLUMNS} FROM runs WHERE owner IS NULL AND place IS NOT NULL \
             ORDER BY level, place LIMIT ?1"
        ),
        [limit],
    )?;
    let ready = in_turn(ready, in_line, limit as usize);
    let chosen = in_turn(left_behind, ready, limit as usize);
    for row in &chosen {
        take(writer, lease, row.run)?;
    }
    Ok(chosen)
}

fn take(writer: &Writer, lease: &Lease, run: RunId) -> rusqlite::Result<()> {
    let id = run.0.to_be_bytes();
    writer.execute("UPDATE runs SET owner = ?2 WHERE run = ?1", (&id, lease.epoch as i64))?;
    let place = writer
        .statement("SELECT place FROM runs WHERE run = ?1 AND place IS NOT NULL")?
        .query_row([&id], |row| row.get(0))
        .optional()?;
    if let Some(place) = place {
        writer.execute("UPDATE runs SET place = NULL WHERE run = ?1", [&id])?;
        slots::has_turn(writer, place)?;
    }
    Ok(())
}

/// Runs whose owner's lease has ended, by going from one owner to the next in the index.
fn left_behind(writer: &Writer, lease: &Lease, limit: u32) -> rusqlite::Result<Vec<RunRow>> {
    let now = writer.clock.steady();
    let mut rows = Vec::new();
    let mut last = -1i64;
    while rows.len() < limit as usize {
        let next = writer
            .statement("SELECT owner FROM runs WHERE owner > ?1 ORDER BY owner LIMIT 1")?
            .query_row([last], |row| row.get::<_, i64>(0))
            .optional()?;
        let Some(owner) = next else { break };
        if !writer.leases.lives(owner as u64, now) {
            let room = limit - rows.len() as u32;
            let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE owner = ?1 ORDER BY run LIMIT ?2");
            rows.extend(select(writer, lease, &sql, (owner, room))?);
        }
        last = owner;
    }
    Ok(rows)
}

/// The rows that can be read. The others are taken and handed to nobody, so that they do not come first every time.
fn select(writer: &Writer, lease: &Lease, sql: &str, params: impl Params) -> rusqlite::Result<Vec<RunRow>> {
    let found: Vec<Option<Listed>> =
        writer.statement(sql)?.query_map(params, listed)?.collect::<Result<_, _>>()?;
    let mut rows = Vec::with_capacity(found.len());
    for one in found.into_iter().flatten() {
        match one {
            Listed::Run(row) => rows.push(*row),
            Listed::Unreadable { run, why } => {
                tracing::error!(%run, why, "its index row cannot be read, so nobody drives it: `heddle doctor`");
                take(writer, lease, run)?;
            }
        }
    }
    Ok(rows)
}

/// Gives runs back. One with a message may be claimed at once, whatever it waits for.
pub(super) fn release(writer: &mut Writer, lease: &Lease, runs: &[RunId]) -> rusqlite::Result<()> {
    let now = writer.clock.wall().0 as i64;
    for run in runs {
        writer.execute(
            "UPDATE runs SET owner = NULL, \
             wake = iif(EXISTS (SELECT 1 FROM inbox WHERE inbox.run = runs.run), ?3, wake) \
             WHERE run = ?1 AND owner = ?2",
            (&run.0.to_be_bytes(), lease.epoch as i64, now),
        )?;
    }
    Ok(())
}

/// Puts a message in the inbox of each recipient.
pub(super) fn send(writer: &mut Writer, mail: &Mail) -> rusqlite::Result<u64> {
    match &mail.to {
        Recipient::Run(run) => Ok(u64::from(send_to(writer, *run, mail)?)),
        Recipient::Listeners(tenant, event) => {
            let found: Vec<[u8; 16]> = writer
                .statement("SELECT run FROM listeners WHERE tenant = ?1 AND event = ?2")?
                .query_map((&*tenant.0, &**event), |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            let mut reached = 0;
            for run in found {
                reached += u64::from(send_to(writer, RunId(u128::from_be_bytes(run)), mail)?);
            }
            Ok(reached)
        }
    }
}

/// `false` when the run does not exist or has ended.
fn send_to(writer: &mut Writer, run: RunId, mail: &Mail) -> rusqlite::Result<bool> {
    let run = run.0.to_be_bytes();
    let open = writer
        .statement("SELECT finished IS NULL AND status < 5 FROM runs WHERE run = ?1")?
        .query_row([&run], |row| row.get(0))
        .optional()?
        .unwrap_or(false);
    if !open {
        return Ok(false);
    }
    writer.execute(
        "INSERT INTO inbox (run, sender_key, body) VALUES (?1, ?2, ?3) ON CONFLICT (run, sender_key) DO NOTHING",
        (&run, &*mail.unique, mail.body.text()),
    )?;
    let now = writer.clock.wall().0 as i64;
    writer.execute(
        "UPDATE runs SET wake = ?2 WHERE run = ?1 AND owner IS NULL AND (wake IS NULL OR wake > ?2)",
        (&run, now),
    )?;
    Ok(true)
}
