//! What the store says of itself.

use super::status::STATUSES;
use crate::model::{StoreFault, StoreReport};
use crate::row::status_word;
use crate::run_store::ReportDepth;
use crate::sqlite::fault;
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
    let size = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    report.bytes = size("heddle.db");
    report.wal_bytes = size("heddle.db-wal");
    if depth == ReportDepth::Quick {
        return Ok(report);
    }
    let mut by_status = db.prepare("SELECT status, count(*) FROM runs GROUP BY status").map_err(fault)?;
    let rows =
        by_status.query_map([], |row| Ok((row.get::<_, u8>(0)?, row.get::<_, i64>(1)?))).map_err(fault)?;
    for row in rows {
        let (status, count) = row.map_err(fault)?;
        let word = STATUSES.get(usize::from(status)).map_or("unknown", |status| status_word(*status));
        report.runs.insert(word.to_owned(), count as u64);
    }
    report.damage = damage(db).unwrap_or_else(|error| vec![format!("the check itself failed: {error}")]);
    Ok(report)
}

/// What SQLite finds, and what our own rules find: gaps in journals, runs without one, values that are missing.
fn damage(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut findings = Vec::new();
    let mut look = |sql: &str| -> rusqlite::Result<()> {
        let mut statement = db.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        for finding in rows {
            findings.push(finding?);
        }
        Ok(())
    };
    look(&format!(
        "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' LIMIT {MAX_FINDINGS}"
    ))?;
    look(
        "SELECT 'a row of ' || \"table\" || ' refers to a missing row of ' || parent FROM pragma_foreign_key_check",
    )?;
    look(&format!(
        "SELECT 'the journal of run ' || lower(hex(run)) || ' has ' || count(*) || ' rows, the last is ' || max(seq) \
         FROM journal WHERE run NOT IN (SELECT run FROM removing) \
         GROUP BY run HAVING count(*) <> max(seq) OR min(seq) <> 1 LIMIT {MAX_FINDINGS}"
    ))?;
    look(&format!(
        "SELECT 'run ' || lower(hex(run)) || ' has no journal' FROM runs \
         WHERE NOT EXISTS (SELECT 1 FROM journal WHERE journal.run = runs.run) LIMIT {MAX_FINDINGS}"
    ))?;
    Ok(findings)
}
