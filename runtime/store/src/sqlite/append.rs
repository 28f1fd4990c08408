//! One append inside a transaction: every check first, then every row.

use super::slots;
use super::status::{rest_code, status_code};
use super::values::FILE_BYTES;
use super::writer::Writer;
use crate::model::*;
use crate::outbox::Delivery;
use crate::row::{self, Coded};
use crate::rules::{is_active, is_driven, wake};
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::journal::{Refusal, admit};
use heddle_core::plan::admission::LEVEL;
use heddle_core::time::Timestamp;
use rusqlite::{OptionalExtension, params};
use std::sync::Arc;

/// An append with everything done that needs no database, on the caller's thread.
pub(super) struct Prepared {
    run: RunId,
    epoch: u64,
    expected: u64,
    at: Timestamp,
    coded: Coded,
    index: IndexChange,
    values: Vec<Value>,
    references: Vec<Digest>,
    cache: Vec<CacheRow>,
    consumed: Vec<u64>,
    mail: Vec<Mail>,
    deliveries: Vec<Delivery>,
    listens: Vec<Arc<str>>,
    idempotency: Vec<IdempotencyClaim>,
    queue: Option<Box<Queue>>,
}

/// A value's row.
pub(super) struct Value {
    digest: Digest,
    size: u64,
    /// `None` where the bytes are a file.
    body: Option<Arc<[u8]>>,
}

/// Splits values into rows and those whose bytes become files.
pub(super) fn split(blobs: Vec<Blob>) -> (Vec<Value>, Vec<Blob>) {
    let mut files = Vec::new();
    let values = blobs.into_iter().map(|blob| {
        let (digest, size) = (blob.digest, blob.bytes.len() as u64);
        if blob.bytes.len() > FILE_BYTES {
            files.push(blob);
            Value { digest, size, body: None }
        } else {
            Value { digest, size, body: Some(blob.bytes) }
        }
    });
    (values.collect(), files)
}

impl Prepared {
    /// Encodes the facts. Gives the values that must be on disk as files before this may be written, too.
    pub(super) fn new(append: Append) -> Result<(Prepared, Vec<Blob>), serde_json::Error> {
        let Append {
            run,
            epoch,
            expected,
            batch,
            index,
            blobs,
            holds,
            cache,
            consumed,
            mail,
            deliveries,
            listens,
            idempotency,
            queue,
            urgency: _,
        } = append;
        let coded = row::encode(run, expected + 1, &batch)?;
        let mut references = row::references(&batch);
        references.extend(holds.into_iter().chain(blobs.iter().map(|blob| blob.digest)));
        references.sort_unstable();
        references.dedup();
        let (values, files) = split(blobs);
        let at = batch.at;
        let prepared = Prepared {
            run,
            epoch,
            expected,
            at,
            coded,
            index,
            values,
            references,
            cache,
            consumed,
            mail,
            deliveries,
            listens,
            idempotency,
            queue,
        };
        Ok((prepared, files))
    }
}

/// Makes the append, or says why not and has written nothing.
pub(super) fn append(writer: &mut Writer, append: Prepared) -> rusqlite::Result<Result<u64, AppendFault>> {
    if let Some(refusal) = refusal(writer, &append)? {
        return Ok(Err(refusal));
    }
    let (run, seq) = (append.run.0.to_be_bytes(), append.expected + 1);
    let position = writer.position + 1;
    let coded = &append.coded;
    let written = writer.execute(
        "INSERT OR IGNORE INTO journal (id, run, seq, encoding, checksum, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (position as i64, &run, seq as i64, coded.encoding, coded.checksum, &coded.body),
    )?;
    if written == 0 {
        return Ok(Err(conflict(&append, writer.version(append.run)?)));
    }
    writer.position = position;
    writer.note_version(append.run, seq);
    change_index(writer, &append)?;
    put_values(writer, &append.values)?;
    for digest in &append.references {
        writer
            .execute("INSERT OR IGNORE INTO blob_refs (owner, digest) VALUES (?1, ?2)", (&run, &digest.0))?;
    }
    for entry in &append.cache {
        super::cache::put(writer, entry)?;
    }
    for id in &append.consumed {
        writer.execute("DELETE FROM inbox WHERE id = ?1 AND run = ?2", (*id as i64, &run))?;
    }
    for mail in &append.mail {
        super::drive::send(writer, mail)?;
    }
    for delivery in &append.deliveries {
        super::outbox::insert(writer, delivery)?;
    }
    if let Some(queue) = append.queue.as_deref().filter(|queue| !queue.slots.is_empty()) {
        let tenant = writer
            .statement("SELECT tenant FROM runs WHERE run = ?1")?
            .query_row([&run], |row| row.get::<_, String>(0))?;
        slots::ask(writer, (append.run, &Tenant(tenant.into())), queue)?;
    }
    Ok(Ok(seq))
}

fn refusal(writer: &Writer, append: &Prepared) -> rusqlite::Result<Option<AppendFault>> {
    // A first row that is there already is not written again, so the row itself tells whether it fits.
    let found = if append.expected == 0 { 0 } else { writer.version(append.run)? };
    let lease = writer.leases.standing(append.epoch, writer.clock.steady());
    match admit(append.expected, found, lease) {
        Ok(()) => {}
        Err(Refusal::Fenced) => return Ok(Some(AppendFault::Fenced { epoch: append.epoch })),
        Err(Refusal::Conflict) => return Ok(Some(conflict(append, found))),
    }
    let IndexChange::Create(row) = &append.index else { return Ok(None) };
    for claim in &append.idempotency {
        if let Some(duplicate) = duplicate(writer, row, claim, append.at)? {
            return Ok(Some(duplicate));
        }
    }
    match &append.queue {
        Some(queue) => slots::refusal(writer, &row.tenant, queue),
        None => Ok(None),
    }
}

fn conflict(append: &Prepared, found: u64) -> AppendFault {
    AppendFault::Conflict { run: append.run, expected: append.expected, found }
}

/// The key's present owner, unless its time is over or its run was removed.
fn duplicate(
    writer: &Writer,
    row: &RunRow,
    claim: &IdempotencyClaim,
    now: Timestamp,
) -> rusqlite::Result<Option<AppendFault>> {
    let found = writer
        .statement(
            "SELECT run, request FROM idempotency WHERE tenant = ?1 AND key = ?2 AND expires > ?3 \
             AND EXISTS (SELECT 1 FROM runs WHERE runs.run = idempotency.run)",
        )?
        .query_row((&*row.tenant.0, &*claim.key, now.0 as i64), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(run, request): ([u8; 16], [u8; 32])| AppendFault::Duplicate {
        key: claim.key.clone(),
        run: RunId(u128::from_be_bytes(run)),
        same_request: if request == claim.request.0 { SameRequest::Yes } else { SameRequest::No },
    }))
}

fn change_index(writer: &mut Writer, append: &Prepared) -> rusqlite::Result<()> {
    let (run, seq) = (append.run.0.to_be_bytes(), append.expected as i64 + 1);
    match &append.index {
        IndexChange::None => Ok(()),
        IndexChange::Create(row) => create(writer, append, row),
        IndexChange::Moved { version, snapshot } => {
            writer.execute(
                "UPDATE runs SET version = ?2, snapshot = ?3, seq = ?4 WHERE run = ?1",
                (&run, &**version, &snapshot.0, seq),
            )?;
            Ok(())
        }
        IndexChange::Update { status, due, finished, .. } if status.is_terminal() => {
            writer.execute(
                "UPDATE runs SET status = ?2, due = ?3, finished = ?4, wake = NULL, owner = NULL, seq = ?5, rest = NULL WHERE run = ?1",
                (&run, status_code(*status), at(*due), at(*finished), seq),
            )?;
            writer.execute("DELETE FROM inbox WHERE run = ?1", [&run])?;
            writer.execute("DELETE FROM listeners WHERE run = ?1", [&run])?;
            writer.forget(append.run);
            slots::give_back(writer, append.run)
        }
        // Only the columns that change: an index is rewritten for each column that is named.
        IndexChange::Update { status, due, rest, .. } => {
            writer.execute(
                "UPDATE runs SET status = ?2, due = ?3, wake = iif(?4, created, ?3), seq = ?5, rest = ?6 WHERE run = ?1",
                (&run, status_code(*status), at(*due), is_active(*status), seq, rest.map(rest_code)),
            )?;
            Ok(())
        }
    }
}

fn create(writer: &Writer, append: &Prepared, row: &RunRow) -> rusqlite::Result<()> {
    let run = append.run.0.to_be_bytes();
    let owner = is_driven(row.status).then_some(append.epoch as i64);
    let labels = serde_json::to_string(&row.labels).unwrap_or_default();
    let in_line = append.queue.as_deref().filter(|_| row.status == RunStatus::Queued);
    let place = in_line.map(|queue| slots::place(writer, &row.tenant, queue)).transpose()?;
    writer.execute(
        "INSERT INTO runs (run, tenant, workflow, version, snapshot, labels, created, status, due, finished, owner, wake, seq, level, place, rest, created_by) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        params![
            &run,
            &*row.tenant.0,
            &*row.workflow,
            &*row.workflow_version,
            &row.snapshot.0,
            &labels,
            row.created.0 as i64,
            status_code(row.status),
            at(row.due),
            at(row.finished),
            owner,
            at(wake(row.status, row.due, row.created)),
            append.expected as i64 + 1,
            in_line.map_or(LEVEL, |queue| queue.level),
            place,
            row.rest.map(rest_code),
            row.by.as_deref(),
        ],
    )?;
    for (name, value) in &row.labels {
        writer.execute(
            "INSERT OR IGNORE INTO run_labels (tenant, name, value, run) VALUES (?1, ?2, ?3, ?4)",
            (&*row.tenant.0, name, value, &run),
        )?;
    }
    for event in append.listens.iter().filter(|_| !row.status.is_terminal()) {
        writer.execute(
            "INSERT OR IGNORE INTO listeners (tenant, event, run) VALUES (?1, ?2, ?3)",
            (&*row.tenant.0, &**event, &run),
        )?;
    }
    for claim in &append.idempotency {
        writer.execute(
            "INSERT OR REPLACE INTO idempotency (tenant, key, run, request, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
            (&*row.tenant.0, &*claim.key, &run, &claim.request.0, claim.expires.0 as i64),
        )?;
    }
    Ok(())
}

/// Writes values that are not there yet.
pub(super) fn put_values(writer: &Writer, values: &[Value]) -> rusqlite::Result<()> {
    for value in values {
        writer.execute(
            "INSERT INTO blobs (digest, size, body) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING",
            (&value.digest.0, value.size as i64, value.body.as_deref()),
        )?;
    }
    Ok(())
}

/// Keeps a value for good, outside any run.
pub(super) fn keep(writer: &Writer, values: &[Value]) -> rusqlite::Result<()> {
    put_values(writer, values)?;
    for value in values {
        writer
            .execute("INSERT OR IGNORE INTO blob_refs (owner, digest) VALUES (x'', ?1)", [&value.digest.0])?;
    }
    Ok(())
}

/// A point in time as SQLite keeps it.
pub(super) fn at(time: Option<Timestamp>) -> Option<i64> {
    time.map(|time| time.0 as i64)
}
