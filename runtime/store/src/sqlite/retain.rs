//! What has outlived its time is removed in small pieces, when nothing else is to be done.
//!
//! A run goes in two steps: its index row, labels and messages first, so that it is gone for everybody; then its
//! journal and its hold on values, piece by piece. A list of the runs in between survives a restart.
//!
//! A value is held by runs (whose facts name it), by cache entries, and for good by what was put outside any run.
//! When a holder goes, the value is marked with the time; it is removed when nobody holds it and a while has passed
//! since the last mark, so that somebody who has just read its digest from the cache can still refer to it.

use super::writer::Writer;
use crate::rules::GRACE_MS;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::time::Timestamp;
use rusqlite::Params;

/// Files that one call removes: unlinking a large file takes the writer's time.
const MAX_FILES: u32 = 16;

/// What a call removed.
#[derive(Default)]
pub(super) struct Removed {
    /// Rows.
    pub(super) rows: u64,
    /// Values whose files go, too, once this is committed.
    pub(super) files: Vec<Digest>,
}

/// Marks a value that somebody has let go of.
pub(super) fn let_go(writer: &Writer, digest: &[u8; 32]) -> rusqlite::Result<()> {
    let now = writer.clock.wall().0 as i64;
    writer.execute("UPDATE blobs SET orphaned = ?2 WHERE digest = ?1", (digest, now))?;
    Ok(())
}

/// Removes at most `limit` rows.
pub(super) fn retain(
    writer: &mut Writer,
    before: Timestamp,
    cache_bytes: u64,
    limit: u32,
) -> rusqlite::Result<Removed> {
    let now = writer.clock.wall();
    let mut removed = Removed::default();
    let room = |removed: &Removed| limit.saturating_sub(removed.rows as u32);
    removed.rows += journals(writer, room(&removed))?;
    removed.rows += runs(writer, before, room(&removed))?;
    removed.rows += count(writer.execute(
        "DELETE FROM idempotency WHERE (tenant, key) IN \
         (SELECT tenant, key FROM idempotency WHERE expires <= ?1 ORDER BY expires LIMIT ?2)",
        (now.0 as i64, room(&removed)),
    )?);
    // Whoever comes next with such a key stands where everybody does who is new.
    removed.rows += count(writer.execute(
        "DELETE FROM shares WHERE (tenant, key) IN (SELECT tenant, key FROM shares \
         WHERE place <= (SELECT value FROM meta WHERE name = 'place') LIMIT ?1)",
        [room(&removed)],
    )?);
    removed.rows += count(super::outbox::retain(writer, before, room(&removed))?);
    removed.rows += ended_entries(writer, now, room(&removed))?;
    removed.rows += least_used(writer, cache_bytes, room(&removed))?;
    values(writer, now, room(&removed), &mut removed)?;
    Ok(removed)
}

fn count(rows: usize) -> u64 {
    rows as u64
}

/// Journals of runs that are gone.
fn journals(writer: &Writer, limit: u32) -> rusqlite::Result<u64> {
    let mut rows = 0;
    let gone = ids(writer, "SELECT run FROM removing LIMIT ?1", [limit])?;
    if !gone.is_empty() {
        // The last place may be one of theirs, and is not given again.
        writer.execute("UPDATE meta SET value = ?1 WHERE name = 'position'", [writer.position as i64])?;
    }
    for run in gone {
        let room = i64::from(limit) - rows as i64;
        let removed = writer.execute(
            "DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE run = ?1 ORDER BY seq DESC LIMIT ?2)",
            (&run, room),
        )?;
        rows += count(removed);
        if removed as i64 == room {
            break;
        }
        let told = super::calls::remove(writer, &run, room - removed as i64)?;
        rows += count(told);
        if (removed + told) as i64 == room {
            break;
        }
        let digests: Vec<[u8; 32]> = writer
            .statement("SELECT digest FROM blob_refs WHERE owner = ?1 LIMIT ?2")?
            .query_map((&run, room - (removed + told) as i64), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for digest in &digests {
            writer.execute("DELETE FROM blob_refs WHERE owner = ?1 AND digest = ?2", (&run, digest))?;
            let_go(writer, digest)?;
        }
        rows += digests.len() as u64;
        if rows >= u64::from(limit) {
            break;
        }
        writer.execute("DELETE FROM removing WHERE run = ?1", [&run])?;
    }
    Ok(rows)
}

/// Index rows of runs that ended before this time.
fn runs(writer: &mut Writer, before: Timestamp, limit: u32) -> rusqlite::Result<u64> {
    let sql = "SELECT run FROM runs WHERE finished < ?1 ORDER BY finished LIMIT ?2";
    let old = ids(writer, sql, (before.0 as i64, limit))?;
    for run in &old {
        writer.execute("INSERT INTO removing (run) VALUES (?1)", [run])?;
        writer.execute(
            "DELETE FROM run_labels WHERE (tenant, name, value, run) IN \
             (SELECT tenant, label.value ->> 0, label.value ->> 1, run FROM runs, json_each(labels) AS label WHERE run = ?1)",
            [run],
        )?;
        writer.execute("DELETE FROM inbox WHERE run = ?1", [run])?;
        writer.execute("DELETE FROM runs WHERE run = ?1", [run])?;
        writer.forget(RunId(u128::from_be_bytes(*run)));
    }
    Ok(old.len() as u64)
}

fn ids(writer: &Writer, sql: &str, params: impl Params) -> rusqlite::Result<Vec<[u8; 16]>> {
    writer.statement(sql)?.query_map(params, |row| row.get(0))?.collect()
}

/// The entries that were used longest ago, of tenants that have more than their share.
fn least_used(writer: &mut Writer, cache_bytes: u64, limit: u32) -> rusqlite::Result<u64> {
    let over: Vec<(String, i64)> = writer
        .statement("SELECT tenant, bytes FROM cache_total WHERE bytes > ?1")?
        .query_map([cache_bytes as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut rows = 0;
    for (tenant, bytes) in over {
        let tenant = Tenant(tenant.into());
        let mut surplus = bytes - cache_bytes as i64 + writer.cache_growth.get(&tenant).unwrap_or(&0);
        let oldest: Vec<([u8; 32], i64)> = writer
            .statement("SELECT key, size FROM cache WHERE tenant = ?1 ORDER BY used, id LIMIT ?2")?
            .query_map((&*tenant.0, limit - rows as u32), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (key, size) in oldest {
            if surplus <= 0 {
                break;
            }
            surplus -= size;
            super::cache::drop_entry(writer, &tenant, Digest(key))?;
            rows += 1;
        }
    }
    Ok(rows)
}

/// Cache entries whose time is over.
fn ended_entries(writer: &mut Writer, now: Timestamp, limit: u32) -> rusqlite::Result<u64> {
    let ended: Vec<(String, [u8; 32])> = writer
        .statement("SELECT tenant, key FROM cache WHERE expires <= ?1 ORDER BY expires LIMIT ?2")?
        .query_map((now.0 as i64, limit), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let rows = ended.len() as u64;
    for (tenant, key) in ended {
        super::cache::drop_entry(writer, &Tenant(tenant.into()), Digest(key))?;
    }
    Ok(rows)
}

/// Values that nobody has held for a while.
fn values(writer: &Writer, now: Timestamp, limit: u32, removed: &mut Removed) -> rusqlite::Result<()> {
    let marked: Vec<([u8; 32], bool, bool)> = writer
        .statement(
            "SELECT digest, body IS NULL, EXISTS (SELECT 1 FROM blob_refs r WHERE r.digest = blobs.digest) \
             OR EXISTS (SELECT 1 FROM cache c WHERE c.digest = blobs.digest) \
             FROM blobs WHERE orphaned <= ?1 ORDER BY orphaned LIMIT ?2",
        )?
        .query_map((now.0.saturating_sub(GRACE_MS) as i64, limit.min(MAX_FILES)), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (digest, is_file, is_held) in marked {
        if is_held {
            writer.execute("UPDATE blobs SET orphaned = NULL WHERE digest = ?1", [&digest])?;
        } else {
            writer.execute("DELETE FROM blobs WHERE digest = ?1", [&digest])?;
            if is_file {
                removed.files.push(Digest(digest));
            }
        }
        removed.rows += 1;
    }
    Ok(())
}
