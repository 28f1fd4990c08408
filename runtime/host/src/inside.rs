//! Which attempts are in a sandbox, in a file that outlives a killed process. So the next one can tell a guest that may
//! have taken the host down from those that only waited for their turn, and what may have had its effect from what
//! cannot have had one.
//!
//! One record for each attempt, from before it begins until whoever asked for it has its end on disk: the sandbox may
//! be another's long before that, and a process that dies in between must still find the attempt here. What the last
//! process left stays in the same way until it is recorded that it was interrupted, however often the process dies on
//! the way there. The file is not flushed. A process that dies leaves it to the system, and when the machine dies no
//! guest is to blame.

use crate::call::CallScope;
use heddle_core::id::RunId;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// An attempt that was in its sandbox, with the mark that lets the next process find it, too.
pub type Left = (LeftInside, Mark);

/// The file.
#[derive(Debug)]
pub(crate) struct Inside {
    file: File,
    places: Mutex<Places>,
}

/// Its places, by their number.
#[derive(Debug, Default)]
struct Places {
    free: Vec<u32>,
    /// How many there are. More are made when none is free.
    made: u32,
    /// Those that hold what the last process left.
    left: BTreeSet<u32>,
    /// Those whose attempts must not run twice, whoever ended them.
    once: BTreeSet<u32>,
}

/// That an attempt is in its sandbox, as the file says, until the last clone is dropped. To be kept until the attempt's
/// end is on disk.
#[derive(Clone, Debug)]
pub struct Mark {
    _place: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    inside: Arc<Inside>,
    at: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.inside.places();
        // An attempt of this process is not asked about once its end is on disk, so its record may stay until the place
        // has another. One that was left may have a number that its run, taken up before it began, gives out again.
        places.once.remove(&self.at);
        if places.left.remove(&self.at) {
            self.inside.write(self.at, &[0; RECORD]);
        }
        places.free.push(self.at);
    }
}

impl Inside {
    /// Opens the file. Gives what the last process left in it.
    pub(crate) fn open(path: &Path) -> io::Result<(Arc<Inside>, Vec<Left>)> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let file = File::options().write(true).create(true).truncate(false).open(path)?;
        let (mut places, mut found) = (Places::default(), Vec::new());
        for record in bytes.as_chunks().0 {
            match decode(record) {
                Some(left) => {
                    places.left.insert(places.made);
                    found.push((left, places.made));
                }
                None => places.free.push(places.made),
            }
            places.made += 1;
        }
        let inside = Arc::new(Inside { file, places: Mutex::new(places) });
        let mark = |at| Mark { _place: Arc::new(Place { inside: inside.clone(), at }) };
        let left = found.into_iter().map(|(left, at)| (left, mark(at))).collect();
        Ok((inside, left))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self, at: u32, record: &[u8; RECORD]) {
        if let Err(fault) = self.file.write_at(record, u64::from(at) * RECORD as u64) {
            // It matters only if this process is killed: then a bystander is counted, or a suspect is not.
            tracing::warn!(%fault, "what is in the sandboxes could not be noted");
        }
    }

    /// Notes that this attempt is about to begin in a sandbox.
    pub(crate) fn enter(self: &Arc<Inside>, scope: &CallScope) -> Mark {
        let at = {
            let mut places = self.places();
            let at = places.free.pop().unwrap_or_else(|| {
                places.made += 1;
                places.made - 1
            });
            if scope.at_most_once {
                places.once.insert(at);
            }
            at
        };
        self.write(at, &encode(scope));
        Mark { _place: Arc::new(Place { inside: self.clone(), at }) }
    }

    /// Forgets the attempts of this process: it ends in order, and what it cuts off is not to blame for that. What the
    /// last one left, and nobody has asked about, stays; and so does what must not run twice, because it may have had
    /// its effect, however it was cut off.
    pub(crate) fn clear(&self) {
        let places = self.places();
        let stays = |at: &u32| places.left.contains(at) || places.once.contains(at);
        (0..places.made).filter(|at| !stays(at)).for_each(|at| self.write(at, &[0; RECORD]));
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

    /// The runs of which there is something in the file, as the next process would find them.
    fn noted(path: &Path) -> Vec<u128> {
        let bytes = std::fs::read(path).unwrap();
        let mut runs: Vec<u128> =
            bytes.as_chunks().0.iter().filter_map(decode).map(|left| left.run.0).collect();
        runs.sort_unstable();
        runs
    }

    #[test]
    fn what_was_inside_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inside");
        let (inside, none) = Inside::open(&path).unwrap();
        assert!(none.is_empty());
        drop(inside.enter(&scope(1, 0, None)));
        let (_a, _b) = (inside.enter(&scope(7 << 90, 3, None)), inside.enter(&scope(8, 4, Some(0))));
        let (_, marks) = Inside::open(&path).unwrap();
        let mut found: Vec<LeftInside> = marks.iter().map(|(left, _)| *left).collect();
        found.sort();
        let expected = [
            LeftInside { run: RunId(8), step: 4, item: Some(0), attempt: 1 },
            LeftInside { run: RunId(7 << 90), step: 3, item: None, attempt: 1 },
        ];
        assert_eq!(found, expected);
    }
    /// The sandbox is given to another attempt while the end of the first one is on its way to the disk.
    #[test]
    fn a_mark_that_is_kept_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inside");
        let (inside, _) = Inside::open(&path).unwrap();
        let kept = inside.enter(&scope(1, 0, None)).clone();
        for run in 2..10 {
            drop(inside.enter(&scope(run, 0, None)));
        }
        assert_eq!(noted(&path), [1, 9]);
        drop(kept);
        let _both = (inside.enter(&scope(10, 0, None)), inside.enter(&scope(11, 0, None)));
        assert_eq!(noted(&path), [10, 11]);
    }
    /// A process that dies before it has recorded what the last one left does not lose it.
    #[test]
    fn what_was_left_stays_until_it_is_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inside");
        let (inside, _) = Inside::open(&path).unwrap();
        let _marks = [inside.enter(&scope(1, 0, None)), inside.enter(&scope(2, 0, None))];
        let (second, mut marks) = Inside::open(&path).unwrap();
        let own = second.enter(&scope(3, 0, None));
        assert_eq!(noted(&path), [1, 2, 3]);
        marks.retain(|(left, _)| left.run.0 == 2);
        assert_eq!(noted(&path), [2, 3], "one is recorded");
        second.clear();
        assert_eq!(noted(&path), [2], "an orderly end forgets its own");
        let once = second.enter(&CallScope { at_most_once: true, ..scope(4, 0, None) });
        second.clear();
        assert_eq!(noted(&path), [2, 4], "but not what must not run twice");
        drop(once);
        second.clear();
        assert_eq!(noted(&path), [2], "unless its end is on disk");
        drop((own, marks));
        assert_eq!(noted(&path), []);
    }
    #[test]
    fn garbage_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inside");
        std::fs::write(&path, [0xA5; 1000]).unwrap();
        let (inside, marks) = Inside::open(&path).unwrap();
        assert!(marks.is_empty());
        let _mark = inside.enter(&scope(1, 0, None));
        assert_eq!(noted(&path), [1]);
    }
}
