//! Who may begin: the slots of keys, and the line of runs that no node has taken yet.
//!
//! A slot belongs to a run from the transaction that gives it to the one that ends the run, so none leaks and none is
//! given twice, whenever the process dies. Of those that wait for a key, nobody is held up by somebody else who waits
//! for another key: all who could begin have begun. A slot that comes back therefore goes to one run at most, and a run
//! that comes begins at once or cannot.

use super::drive;
use super::writer::Writer;
use crate::model::{AppendFault, Mail, Queue};
use crate::rules::{SHARE, admitted, evicted, leaves};
use heddle_core::id::{RunId, Tenant};
use heddle_core::plan::OnLimit;
use heddle_core::run::event::SlotWish;
use rusqlite::OptionalExtension as _;

/// A run that is not to wait, and would have to.
pub(super) fn refusal(
    writer: &Writer,
    tenant: &Tenant,
    queue: &Queue,
) -> rusqlite::Result<Option<AppendFault>> {
    for wish in queue.slots.iter().filter(|wish| wish.on_limit == OnLimit::Reject) {
        let (held, holder) = held(writer, tenant, wish)?;
        if let Some(holder) = holder.filter(|_| held >= wish.limit) {
            return Ok(Some(AppendFault::SlotsTaken { key: wish.key.clone(), limit: wish.limit, holder }));
        }
    }
    Ok(None)
}

/// How many have a slot of this key, and the oldest of them.
fn held(writer: &Writer, tenant: &Tenant, wish: &SlotWish) -> rusqlite::Result<(u32, Option<RunId>)> {
    writer
        .statement("SELECT count(*), min(run) FROM slots WHERE tenant = ?1 AND key = ?2 AND held = 1")?
        .query_row((&*tenant.0, &*wish.key), |row| {
            let oldest: Option<[u8; 16]> = row.get(1)?;
            Ok((row.get(0)?, oldest.map(|run| RunId(u128::from_be_bytes(run)))))
        })
}

/// A place in line: after the last one of its fairness key, and after the last one that had its turn.
pub(super) fn place(writer: &Writer, tenant: &Tenant, queue: &Queue) -> rusqlite::Result<i64> {
    let step = (SHARE / queue.weight) as i64;
    writer
        .statement(
            "INSERT INTO shares (tenant, key, place) \
             VALUES (?1, ?2, ?3 + (SELECT value FROM meta WHERE name = 'place')) \
             ON CONFLICT (tenant, key) DO UPDATE SET \
             place = ?3 + max(place, (SELECT value FROM meta WHERE name = 'place')) RETURNING place",
        )?
        .query_row((&*tenant.0, &*queue.fairness_key, step), |row| row.get(0))
}

/// Whoever has this place has its turn: nobody gets one before it any more.
pub(super) fn has_turn(writer: &Writer, place: i64) -> rusqlite::Result<()> {
    writer.execute("UPDATE meta SET value = ?1 WHERE name = 'place' AND value < ?1", [place]).map(drop)
}

/// A run asks for its slots: it gets all of them, or a place in the line of each.
pub(super) fn ask(
    writer: &mut Writer,
    (run, tenant): (RunId, &Tenant),
    queue: &Queue,
) -> rusqlite::Result<()> {
    let id = run.0.to_be_bytes();
    let mut room = true;
    for wish in &queue.slots {
        room &= held(writer, tenant, wish)?.0 < wish.limit;
    }
    let place = place(writer, tenant, queue)?;
    let now = writer.clock.wall().0 as i64;
    for wish in &queue.slots {
        writer.execute(
            "INSERT OR IGNORE INTO slots (tenant, key, run, most, level, place, asked, held, told) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)",
            (&*tenant.0, &*wish.key, &id, wish.limit, queue.level, place, now, room),
        )?;
    }
    if room {
        has_turn(writer, place)?;
        drive::send(writer, &Mail::to(run, "admitted", admitted()))?;
        return Ok(());
    }
    // Who does not stay takes nobody's place.
    for wish in queue.slots.iter().filter(|wish| leaves(wish.on_limit)) {
        if held(writer, tenant, wish)?.0 >= wish.limit {
            return evict(writer, wish, run);
        }
    }
    for wish in queue.slots.iter().filter(|wish| wish.on_limit == OnLimit::CancelOldest) {
        let older: Vec<[u8; 16]> = writer
            .statement(
                "SELECT run FROM slots WHERE tenant = ?1 AND key = ?2 AND told = 0 ORDER BY asked DESC, run DESC \
                 LIMIT -1 OFFSET ?3",
            )?
            .query_map((&*tenant.0, &*wish.key, wish.limit), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for run in older {
            evict(writer, wish, RunId(u128::from_be_bytes(run)))?;
        }
    }
    Ok(())
}

fn evict(writer: &mut Writer, wish: &SlotWish, run: RunId) -> rusqlite::Result<()> {
    writer.execute("UPDATE slots SET told = 1 WHERE run = ?1", [run.0.to_be_bytes()])?;
    drive::send(writer, &Mail::to(run, "evicted", evicted(&wish.key))).map(drop)
}

/// A run has ended: each slot that it had goes to the first in line that can begin with it.
pub(super) fn give_back(writer: &mut Writer, run: RunId) -> rusqlite::Result<()> {
    let id = run.0.to_be_bytes();
    let had: Vec<(String, String)> = writer
        .statement("SELECT tenant, key FROM slots WHERE run = ?1 AND held = 1")?
        .query_map([&id], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    if writer.execute("DELETE FROM slots WHERE run = ?1", [&id])? == 0 {
        return Ok(());
    }
    for (tenant, key) in had {
        let next: Option<([u8; 16], i64)> = writer
            .statement(
                "SELECT run, place FROM slots s WHERE tenant = ?1 AND key = ?2 AND held = 0 AND told = 0 \
                 AND NOT EXISTS (SELECT 1 FROM slots o WHERE o.run = s.run AND o.most <= \
                 (SELECT count(*) FROM slots h WHERE h.tenant = o.tenant AND h.key = o.key AND h.held = 1)) \
                 ORDER BY level, place, run LIMIT 1",
            )?
            .query_row((&tenant, &key), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((run, place)) = next {
            writer.execute("UPDATE slots SET held = 1 WHERE run = ?1", [&run])?;
            has_turn(writer, place)?;
            drive::send(writer, &Mail::to(RunId(u128::from_be_bytes(run)), "admitted", admitted()))?;
        }
    }
    Ok(())
}
