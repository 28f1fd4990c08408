//! Outputs of pure steps. The cache is never the truth: an entry that is damaged is dropped and is a miss.

use super::append::at;
use super::writer::Writer;
use crate::model::{CacheRow, CachedOutput};
use crate::row::{cache_checksum, cache_size};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension};

/// A hit is written down only when the last one was this long ago: the order of use is coarse, and a hit costs no
/// write.
const USE_STEP_MS: u64 = 3_600_000;

/// What a look-up finds.
pub(super) enum Found {
    /// Nothing that may be used.
    Nothing,
    /// An entry whose use was noted lately.
    Fresh(CacheRow),
    /// An entry whose use is to be noted.
    ToNote(CacheRow),
    /// An entry that is to be dropped.
    Damaged,
}

/// Writes an entry, over the one with the same key.
pub(super) fn put(writer: &mut Writer, entry: &CacheRow) -> rusqlite::Result<()> {
    let size = cache_size(entry) as i64;
    let (tenant, key) = (&*entry.tenant.0, &entry.key.0);
    let (output, digest, bytes) = match &entry.output {
        CachedOutput::Inline(json) => (Some(json.text()), None, json.size() as i64),
        CachedOutput::Stored { digest, size } => (None, Some(&digest.0), *size as i64),
    };
    let insert = "INSERT INTO cache (tenant, key, output, digest, bytes, stored, expires, source_run, checksum, size, used) \
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (tenant, key) DO NOTHING";
    let now = writer.clock.wall().0 as i64;
    let (run, checksum) = (entry.source_run.0.to_be_bytes(), cache_checksum(entry));
    let (stored, expires) = (entry.stored.0 as i64, at(entry.expires));
    let values = (tenant, key, output, digest, bytes, stored, expires, &run, checksum, size, now);
    if writer.execute(insert, values)? == 0 {
        drop_entry(writer, &entry.tenant, entry.key)?;
        writer.execute(insert, values)?;
    }
    *writer.cache_growth.entry(entry.tenant.clone()).or_default() += size;
    Ok(())
}

/// Removes an entry.
pub(super) fn drop_entry(writer: &mut Writer, tenant: &Tenant, key: Digest) -> rusqlite::Result<()> {
    let dropped: Option<(i64, Option<[u8; 32]>)> = writer
        .statement("DELETE FROM cache WHERE tenant = ?1 AND key = ?2 RETURNING size, digest")?
        .query_row((&*tenant.0, &key.0), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((size, digest)) = dropped {
        *writer.cache_growth.entry(tenant.clone()).or_default() -= size;
        if let Some(digest) = digest {
            super::retain::let_go(writer, &digest)?;
        }
    }
    Ok(())
}

/// Notes that an entry was used.
pub(super) fn note_use(writer: &mut Writer, tenant: &Tenant, key: Digest) -> rusqlite::Result<()> {
    let now = writer.clock.wall().0 as i64;
    writer.execute("UPDATE cache SET used = ?3 WHERE tenant = ?1 AND key = ?2", (&*tenant.0, &key.0, now))?;
    Ok(())
}

/// Looks an entry up.
pub(super) fn find(db: &Connection, tenant: &Tenant, key: Digest, now: Timestamp) -> rusqlite::Result<Found> {
    let found = db
        .prepare_cached(
            "SELECT output, digest, bytes, stored, expires, source_run, checksum, used FROM cache \
             WHERE tenant = ?1 AND key = ?2",
        )?
        .query_row((&*tenant.0, &key.0), |row| {
            let output = match row.get::<_, Option<String>>(0)? {
                Some(text) => CachedOutput::Inline(Json::trusted(text)),
                None => {
                    CachedOutput::Stored { digest: Digest(row.get(1)?), size: row.get::<_, i64>(2)? as u64 }
                }
            };
            let entry = CacheRow {
                key,
                tenant: tenant.clone(),
                output,
                stored: Timestamp(row.get::<_, i64>(3)? as u64),
                expires: row.get::<_, Option<i64>>(4)?.map(|at| Timestamp(at as u64)),
                source_run: RunId(u128::from_be_bytes(row.get(5)?)),
            };
            let holds = cache_checksum(&entry) == row.get::<_, i64>(6)?;
            Ok((entry, holds, Timestamp(row.get::<_, i64>(7)? as u64)))
        })
        .optional();
    Ok(match found {
        Ok(None) => Found::Nothing,
        Ok(Some((_, false, _)))
        | Err(rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..)) => {
            Found::Damaged
        }
        Ok(Some((entry, true, _))) if entry.expires.is_some_and(|at| at <= now) => Found::Nothing,
        Ok(Some((entry, true, used))) if now.since_ms(used) >= USE_STEP_MS => Found::ToNote(entry),
        Ok(Some((entry, true, _))) => Found::Fresh(entry),
        Err(error) => return Err(error),
    })
}
