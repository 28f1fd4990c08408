//! The call logs of agents.

use super::append::{Value, put_values, split};
use super::fault;
use super::writer::Writer;
use crate::calls::{CallAppend, CallQuery, CallRow};
use crate::model::{AppendFault, Blob, StoreFault};
use crate::row;
use heddle_core::id::{Digest, RunId};
use heddle_core::journal::LeaseStanding;
use rusqlite::Connection;
use std::sync::Arc;

/// Entries with everything done that needs no database.
pub(super) struct Entries {
    run: RunId,
    epoch: u64,
    log: Arc<str>,
    expected: u64,
    coded: Vec<(Vec<u8>, i64)>,
    values: Vec<Value>,
    references: Vec<Digest>,
}

impl Entries {
    /// Encodes them. Gives the values that must be on disk as files before they may be written, too.
    pub(super) fn new(append: CallAppend) -> Result<(Entries, Vec<Blob>), serde_json::Error> {
        let CallAppend { run, epoch, log, expected, entries, blobs, holds, urgency: _ } = append;
        let coded =
            (expected + 1..).zip(&entries).map(|(seq, entry)| row::encode_call(run, &log, seq, entry));
        let coded = coded.collect::<Result<Vec<_>, _>>()?;
        let mut references: Vec<Digest> = entries.iter().flat_map(row::call_references).collect();
        references.extend(holds.into_iter().chain(blobs.iter().map(|blob| blob.digest)));
        references.sort_unstable();
        references.dedup();
        let (values, files) = split(blobs);
        Ok((Entries { run, epoch, log, expected, coded, values, references }, files))
    }
}

/// Writes entries, or says why not and has written nothing.
pub(super) fn append(writer: &mut Writer, entries: &Entries) -> rusqlite::Result<Result<(), AppendFault>> {
    let Entries { run, epoch, log, expected, coded, values, references } = entries;
    if writer.leases.standing(*epoch, writer.clock.steady()) != LeaseStanding::Living {
        return Ok(Err(AppendFault::Fenced { epoch: *epoch }));
    }
    let key = run.0.to_be_bytes();
    let found = writer
        .statement("SELECT coalesce(max(seq), 0) FROM calls WHERE run = ?1 AND log = ?2")?
        .query_row((&key, &**log), |row| row.get::<_, i64>(0))? as u64;
    if found != *expected {
        return Ok(Err(AppendFault::Conflict { run: *run, expected: *expected, found }));
    }
    for (seq, (body, checksum)) in (expected + 1..).zip(coded) {
        writer.execute(
            "INSERT INTO calls (run, log, seq, checksum, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            (&key, &**log, seq as i64, checksum, body),
        )?;
    }
    put_values(writer, values)?;
    for digest in references {
        writer
            .execute("INSERT OR IGNORE INTO blob_refs (owner, digest) VALUES (?1, ?2)", (&key, &digest.0))?;
    }
    Ok(Ok(()))
}

/// Entries in order.
pub(super) fn calls(db: &Connection, query: &CallQuery) -> Result<Vec<CallRow>, StoreFault> {
    let (after_log, after) = query.after.clone().unwrap_or_else(|| ("".into(), 0));
    let sql = "SELECT log, seq, checksum, body FROM calls WHERE run = ?1 AND (log, seq) > (?2, ?3) \
               AND (?4 IS NULL OR log = ?4) ORDER BY log, seq LIMIT ?5";
    let mut statement = db.prepare_cached(sql).map_err(fault)?;
    let params =
        (&query.run.0.to_be_bytes(), &*after_log, after as i64, query.log.as_deref(), i64::from(query.limit));
    let rows = statement
        .query_map(params, |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, Vec<u8>>(3)?))
        })
        .map_err(fault)?;
    rows.map(|row| {
        let (log, seq, checksum, body) = row.map_err(fault)?;
        row::decode_call(query.run, log.into(), seq as u64, &body, checksum)
    })
    .collect()
}

/// Removes at most `limit` entries of a run that is gone.
pub(super) fn remove(writer: &Writer, run: &[u8; 16], limit: i64) -> rusqlite::Result<usize> {
    writer.execute(
        "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE run = ?1 LIMIT ?2)",
        (run, limit.max(0)),
    )
}
