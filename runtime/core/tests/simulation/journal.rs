//! How a store reads a journal of which not every row was written with the plan that the run has now.

use super::{Batch, Checked, Checker, Digest, Event, Plan, Store};
use heddle_core::run::migrate::Move;
use std::borrow::Cow;
use std::sync::Arc;

/// The snapshot that every simulated run is accepted with.
pub(super) const FIRST: Digest = Digest([0; 32]);

/// The snapshot that a run owns after this row, where it changes there.
pub(super) fn moved_to(row: &Batch) -> Option<Digest> {
    row.events.iter().find_map(|event| match event {
        Event::RunMigrated { snapshot, .. } => Some(*snapshot),
        _ => None,
    })
}

impl Store {
    fn snapshot(&self, digest: Digest) -> Checked<&Arc<Plan>> {
        self.snapshots.get(&digest).ok_or_else(|| "a journal names a snapshot that was never kept".to_owned())
    }

    /// The plan that these rows end with, and the rows with its numbers.
    pub(super) fn told<'a>(&self, rows: &'a [Batch]) -> Checked<(Arc<Plan>, Cow<'a, [Batch]>)> {
        let Some(last) = rows.iter().rev().find_map(moved_to) else {
            return Ok((self.snapshot(FIRST)?.clone(), Cow::Borrowed(rows)));
        };
        let last = self.snapshot(last)?;
        let mut moving = Move::between(self.snapshot(FIRST)?, last);
        let mut told = Vec::new();
        for row in rows {
            told.push(moving.batch(row).ok_or("a journal speaks of steps that its plan does not have")?);
            if let Some(next) = moved_to(row) {
                moving = Move::between(self.snapshot(next)?, last);
            }
        }
        Ok((last.clone(), Cow::Owned(told)))
    }

    /// Everything that has happened is looked at again, as what the plan of now allows. So nothing that a run did before
    /// it moved is anything that its plan would not have let it do.
    pub(super) fn check_again(&mut self) -> Checked {
        let (plan, rows) = self.told(&self.rows)?;
        let mut checker = Checker::new(plan, self.max_parallel);
        checker.before.admitted = self.checker.before.admitted;
        for row in &*rows {
            for event in &row.events {
                checker.see(event, row.at)?;
            }
        }
        self.checker = checker;
        Ok(())
    }

    /// Each row is told with the plan of its time.
    pub(super) fn is_told(&self) -> Checked {
        let (mut plan, mut before) = (self.snapshot(FIRST)?, 0);
        for (seq, row) in self.rows.iter().enumerate() {
            if let Some(next) = moved_to(row) {
                crate::told::check(before as u64, &self.rows[before..=seq], plan)?;
                (plan, before) = (self.snapshot(next)?, seq + 1);
            }
        }
        crate::told::check(before as u64, &self.rows[before..], plan)
    }
}
