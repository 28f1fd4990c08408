//! Which attempts are in a sandbox, in a file that outlives a killed process. So the next one can tell a guest that may
//! have taken the host down from those that only waited for their turn.
//!
//! One record for each sandbox, overwritten by the next attempt that gets it and never cleared in between: an attempt
//! whose end is in the journal is no longer asked about. The file is not flushed. A process that dies leaves it to the
//! system, and when the machine dies no guest is to blame.

use crate::call::CallScope;
use heddle_core::id::RunId;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Run, step, item, attempt, and a sum over them.
const RECORD: usize = 16 + 4 + 4 + 4 + 4;
const NO_ITEM: u32 = u32::MAX;

/// An attempt that was in its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeftInside {
    /// The run.
    pub run: RunId,
    /// The step, by its number in the plan.
    pub step: u32,
    /// The item, where the step is a `forEach`.
    pub item: Option<u32>,
    /// The attempt.
    pub attempt: u32,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Inside {
    file: File,
    free: Mutex<Vec<u32>>,
}

/// The place of an attempt in the file, until it is dropped.
pub(crate) struct Mark<'a> {
    inside: &'a Inside,
    at: Option<u32>,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.inside.free.lock().unwrap_or_else(PoisonError::into_inner).push(at);
        }
    }
}

impl Inside {
    /// Opens the file for so many sandboxes. Gives what the last process left in it, which is gone from it then.
    pub(crate) fn open(path: &Path, sandboxes: u64) -> io::Result<(Inside, Vec<LeftInside>)> {
        let left = match std::fs::read(path) {
            Ok(bytes) => bytes.as_chunks().0.iter().filter_map(decode).collect(),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let file = File::create(path)?;
        let free = (0..u32::try_from(sandboxes).unwrap_or(u32::MAX)).rev().collect();
        Ok((Inside { file, free: Mutex::new(free) }, left))
    }

    /// Notes that this attempt is about to begin in a sandbox.
    pub(crate) fn enter(&self, scope: &CallScope) -> Mark<'_> {
        let at = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(at) = at
            && let Err(fault) = self.file.write_at(&encode(scope), u64::from(at) * RECORD as u64)
        {
            // It costs a bystander a count, and only if this process is killed.
            tracing::debug!(%fault, "what is in the sandboxes could not be noted");
        }
        Mark { inside: self, at }
    }

    /// Forgets everything: the process ends in order, and what it cuts off is not to blame for that.
    pub(crate) fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)
    }
}

fn encode(scope: &CallScope) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..16].copy_from_slice(&scope.run.0.to_be_bytes());
    let numbers = [scope.step_number, scope.item.unwrap_or(NO_ITEM), scope.attempt];
    for (number, place) in numbers.iter().zip(record[16..28].chunks_mut(4)) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    let sum = sum(&record);
    record[28..].copy_from_slice(&sum.to_be_bytes());
    record
}

/// `None` for a place that was never used, or half written.
fn decode(record: &[u8; RECORD]) -> Option<LeftInside> {
    let number = |at: usize| u32::from_be_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let run = record[..16].iter().fold(0, |run, byte| run << 8 | u128::from(*byte));
    let item = number(20);
    (number(28) == sum(record) && number(24) > 0).then_some(LeftInside {
        run: RunId(run),
        step: number(16),
        item: (item != NO_ITEM).then_some(item),
        attempt: number(24),
    })
}

fn sum(record: &[u8; RECORD]) -> u32 {
    record[..28].iter().fold(1, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::nobody;

    fn scope(run: u128, step_number: u32, item: Option<u32>) -> CallScope {
        CallScope { run: RunId(run), step_number, item, ..nobody() }
    }

    #[test]
    fn what_was_inside_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inside");
        let (inside, left) = Inside::open(&path, 2).unwrap();
        assert_eq!(left, []);
        drop(inside.enter(&scope(1, 0, None)));
        let (_a, _b) = (inside.enter(&scope(7 << 90, 3, None)), inside.enter(&scope(8, 4, Some(0))));
        let _one_too_many = inside.enter(&scope(9, 0, None));
        let (again, mut left) = Inside::open(&path, 2).unwrap();
        left.sort();
        let expected = [
            LeftInside { run: RunId(8), step: 4, item: Some(0), attempt: 1 },
            LeftInside { run: RunId(7 << 90), step: 3, item: None, attempt: 1 },
        ];
        assert_eq!(left, expected);
        let _mark = again.enter(&scope(1, 1, None));
        again.clear().unwrap();
        assert_eq!(Inside::open(&path, 2).unwrap().1, []);
    }
    #[test]
    fn garbage_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inside");
        std::fs::write(&path, [0xA5; 1000]).unwrap();
        assert_eq!(Inside::open(&path, 2).unwrap().1, []);
    }
}
