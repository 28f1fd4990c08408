//! What the store says of itself.

use super::status::{STATUSES, rest_code, status_code};
use crate::model::{Rest, RunStatus, StoreFault, StoreReport, WaitingRuns};
use crate::run_store::ReportDepth;
use crate::sqlite::fault;
use heddle_core::id::RunId;
use rusqlite::Connection;
use std::path::Path;

/// Findings of each kind that are named.
const MAX_FINDINGS: u32 = 20;

/// Adds what the database and the folder say to what was counted.
pub(super) fn report(
    db: &Connection,
    folder: &Path,
    depth: ReportDepth,
    mut report: StoreReport,
) -> Result<StoreReport, StoreFault> {
    sizes(folder, &mut report);
    if depth == ReportDepth::Waiting {
        report.waiting = waiting(db).map_err(fault)?;
    }
    if depth != ReportDepth::Deep {
        return Ok(report);
    }
    count(db, &mut report)?;
    report.damage = damage(db).unwrap_or_else(|error| vec![format!("the check itself failed: {error}")]);
    Ok(report)
}

/// How large the files are.
pub(super) fn sizes(folder: &Path, report: &mut StoreReport) {
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    report.bytes = size("heddle.db");
    report.wal_bytes = size("heddle.db-wal");
}

/// How many runs no node drives. Each number is that of the entries of an index that has no others; what an ended lease
/// left behind before it had begun waits for a node, too.
fn waiting(db: &Connection) -> rusqlite::Result<WaitingRuns> {
    let count = |sql: &str, params: &[i64]| {
        db.query_one(sql, rusqlite::params_from_iter(params), |row| row.get::<_, i64>(0)).map(|n| n as u64)
    };
    let of = |rest: Rest| count("SELECT count(*) FROM runs WHERE rest = ?1", &[rest_code(rest)]);
    let in_line = "SELECT count(*) FROM runs WHERE owner IS NULL AND place IS NOT NULL";
    let left = "SELECT count(*) FROM runs WHERE owner IS NOT NULL AND status = ?1";
    Ok(WaitingRuns {
        node: count(in_line, &[])? + count(left, &[status_code(RunStatus::Queued)])?,
        slot: of(Rest::Slot)?,
        time: of(Rest::Time)?,
        parked: of(Rest::Parked)?,
    })
}

/// How many runs there are of each status.
pub(super) fn count(db: &Connection, report: &mut StoreReport) -> Result<(), StoreFault> {
    let mut by_status = db.prepare("SELECT status, count(*) FROM runs GROUP BY status").map_err(fault)?;
    let rows =
        by_status.query_map([], |row| Ok((row.get::<_, u8>(0)?, row.get::<_, i64>(1)?))).map_err(fault)?;
    for row in rows {
        let (status, count) = row.map_err(fault)?;
        let word = STATUSES.get(usize::from(status)).map_or("unknown", |status| status.word());
        report.runs.insert(word.to_owned(), count as u64);
    }
    Ok(())
}

/// What SQLite finds.
pub(super) fn structure(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut findings = Vec::new();
    for sql in [
        format!(
            "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT {MAX_FINDINGS}"
        ),
        format!(
            "SELECT 'a row of ' || \"table\" || ' refers to a missing row of ' || parent \
             FROM pragma_foreign_key_check LIMIT {MAX_FINDINGS}"
        ),
    ] {
        let mut statement = db.prepare(&sql)?;
        for finding in statement.query_map([], |row| row.get::<_, String>(0))? {
            findings.push(finding?);
        }
    }
    Ok(findings)
}

/// What SQLite finds, and what our own rules find without reading every row: gaps in journals, runs without one.
fn damage(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut findings = structure(db)?;
    let id = |bytes: [u8; 16]| RunId(u128::from_be_bytes(bytes));
    let mut gaps = db.prepare(&format!(
        "SELECT run, count(*), max(seq) FROM journal WHERE run NOT IN (SELECT run FROM removing) \
         GROUP BY run HAVING count(*) <> max(seq) OR min(seq) <> 1 LIMIT {MAX_FINDINGS}"
    ))?;
    for gap in gaps.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))? {
        let (run, rows, last) = gap?;
        findings.push(format!("the journal of run {} has {rows} of its {last} rows", id(run)));
    }
    let mut short = db.prepare(&format!(
        "SELECT run, seq, (SELECT max(seq) FROM journal WHERE journal.run = runs.run) AS last FROM runs \
         WHERE last < seq LIMIT {MAX_FINDINGS}"
    ))?;
    for run in short.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))? {
        let (run, known, last) = run?;
        findings
            .push(format!("the journal of run {} ends with row {last}; the index knows of {known}", id(run)));
    }
    let mut bare = db.prepare(&format!(
        "SELECT run FROM runs WHERE NOT EXISTS (SELECT 1 FROM journal WHERE journal.run = runs.run) LIMIT {MAX_FINDINGS}"
    ))?;
    for run in bare.query_map([], |row| row.get(0))? {
        findings.push(format!("run {} has no journal", id(run?)));
    }
    Ok(findings)
}
