//! How facts become bytes: the body and checksum of a journal row, the checksum of a cache entry, and which
//! values a batch refers to. Shared by the backends, so that a journal reads the same wherever it was written.

use crate::calls::CallRow;
use crate::model::{CacheRow, CachedOutput, JournalRow, StoreFault};
use heddle_core::call_log::Entry;
use heddle_core::id::{Digest, RunId};
use heddle_core::run::event::{Batch, ENCODING, Event, Payload};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// A journal row as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Coded<Body = Vec<u8>> {
    /// Version of the encoding of the facts.
    pub(crate) encoding: u32,
    /// The batch as JSON.
    pub(crate) body: Body,
    /// Over run, seq and body.
    pub(crate) checksum: i64,
}

/// Writes a batch down.
pub(crate) fn encode(run: RunId, seq: u64, batch: &Batch) -> Result<Coded, serde_json::Error> {
    let body = serde_json::to_vec(batch)?;
    let checksum = journal_checksum(run, seq, &body);
    Ok(Coded { encoding: ENCODING, body, checksum })
}

/// Reads a batch back, if it is what was written.
pub(crate) fn decode(
    run: RunId,
    seq: u64,
    coded: &Coded<impl AsRef<[u8]>>,
) -> Result<JournalRow, StoreFault> {
    let damaged =
        |why: String| StoreFault::Damaged { what: format!("row {seq} of the journal of run {run}"), why };
    let body = coded.body.as_ref();
    if journal_checksum(run, seq, body) != coded.checksum {
        return Err(damaged("its checksum does not hold".into()));
    }
    if coded.encoding > ENCODING {
        return Err(damaged(format!("its encoding {} is newer than {ENCODING}", coded.encoding)));
    }
    let batch = serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    Ok(JournalRow { seq, batch })
}

/// Writes an entry of a call log down, with its checksum.
pub(crate) fn encode_call(
    run: RunId,
    log: &str,
    seq: u64,
    entry: &Entry,
) -> Result<(Vec<u8>, i64), serde_json::Error> {
    let body = serde_json::to_vec(entry)?;
    let checksum = call_checksum(run, log, seq, &body);
    Ok((body, checksum))
}

/// Reads an entry of a call log back, if it is what was written.
pub(crate) fn decode_call(
    run: RunId,
    log: Arc<str>,
    seq: u64,
    body: &[u8],
    found: i64,
) -> Result<CallRow, StoreFault> {
    let damaged = |why: String| StoreFault::Damaged {
        what: format!("entry {seq} of the call log `{log}` of run {run}"),
        why,
    };
    if call_checksum(run, &log, seq, body) != found {
        return Err(damaged("its checksum does not hold".into()));
    }
    let entry = serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    Ok(CallRow { log, seq, entry })
}

fn call_checksum(run: RunId, log: &str, seq: u64, body: &[u8]) -> i64 {
    let size = (log.len() as u64).to_be_bytes();
    checksum(&[&run.0.to_be_bytes(), &size, log.as_bytes(), &seq.to_be_bytes(), body])
}

/// The values that an entry of a call log refers to by digest.
pub(crate) fn call_references(entry: &Entry) -> Vec<Digest> {
    let (payload, files) = match entry {
        Entry::Asked { request, .. } => (request, None),
        Entry::Answered { answer, files, .. } => (answer, Some(files)),
        Entry::Continued { state, .. } => (state, None),
        Entry::Opened { .. } | Entry::Picked { .. } => return Vec::new(),
    };
    let stored = match payload {
        Payload::Stored { digest, .. } => Some(*digest),
        Payload::Inline(_) | Payload::Derived => None,
    };
    stored.into_iter().chain(files.into_iter().flatten().map(|file| file.digest)).collect()
}

fn journal_checksum(run: RunId, seq: u64, body: &[u8]) -> i64 {
    checksum(&[&run.0.to_be_bytes(), &seq.to_be_bytes(), body])
}

/// The checksum of a cache entry: over all that a hit depends on.
pub(crate) fn cache_checksum(row: &CacheRow) -> i64 {
    let numbers = [row.stored.0, row.expires.map_or(u64::MAX, |at| at.0)].map(u64::to_be_bytes);
    let run = row.source_run.0.to_be_bytes();
    let head: [&[u8]; 5] = [&row.key.0, row.tenant.0.as_bytes(), &numbers[0], &numbers[1], &run];
    match &row.output {
        CachedOutput::Inline(json) => checksum(&[&head[..], &[b"i", json.text().as_bytes()]].concat()),
        CachedOutput::Stored { digest, size } => {
            checksum(&[&head[..], &[b"s", &digest.0, &size.to_be_bytes()]].concat())
        }
    }
}

/// The first eight bytes of a SHA-256: finds damage, and the processor has an instruction for it.
fn checksum(parts: &[&[u8]]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The values that these facts refer to by digest: they must live as long as the run.
pub(crate) fn references(batch: &Batch) -> Vec<Digest> {
    let stored = |payload: &Payload| match payload {
        Payload::Stored { digest, .. } => Some(*digest),
        Payload::Inline(_) | Payload::Derived => None,
    };
    let mut digests = Vec::new();
    for event in &batch.events {
        match event {
            Event::RunAccepted(accepted) => {
                digests.push(accepted.snapshot);
                digests.extend(stored(&accepted.input));
                digests.extend(accepted.rerun.as_ref().map(|rerun| rerun.imports));
            }
            Event::RunMigrated { snapshot, .. } => digests.push(*snapshot),
            Event::StepSucceeded { output, .. } => digests.extend(stored(output)),
            Event::RunFinished { output, .. } => digests.extend(output.as_ref().and_then(stored)),
            _ => {}
        }
    }
    digests
}

/// Bytes that a cache entry counts with against its tenant's share.
pub(crate) fn cache_size(row: &CacheRow) -> u64 {
    /// What a row costs besides its output: key, indexes and page overhead, roughly.
    const ROW_BYTES: u64 = 256;
    ROW_BYTES
        + match &row.output {
            CachedOutput::Inline(json) => json.size() as u64,
            CachedOutput::Stored { size, .. } => *size,
        }
}
