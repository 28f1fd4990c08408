//! Keeps the order of a run's appends while the files of some of them are written elsewhere. An append whose files are
//! not on disk yet, and those of the same run behind it, wait here; appends of other runs go past.

use super::line::{Lane, Line};
use super::values::Claim;
use super::writer::Operation;
use heddle_core::id::RunId;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The appends that wait for files.
pub(super) struct Handover {
    line: Arc<Line>,
    runs: Mutex<HashMap<RunId, VecDeque<Slot>>>,
    /// How many runs are in there, so that the usual append need not lock.
    held_up: AtomicUsize,
}

struct Slot {
    files: Arc<()>,
    operation: Operation,
    written: bool,
}

/// The place of an append whose files are being written.
pub(super) struct Place {
    run: RunId,
    files: Arc<()>,
}

impl Handover {
    /// Hands over to this line.
    pub(super) fn new(line: Arc<Line>) -> Handover {
        Handover { line, runs: Mutex::default(), held_up: AtomicUsize::new(0) }
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, VecDeque<Slot>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Puts an append in line that has no files.
    pub(super) fn put(&self, run: RunId, lane: Lane, operation: Operation) {
        if self.held_up.load(Ordering::Acquire) == 0 {
            return self.line.put(lane, operation);
        }
        match self.lock().get_mut(&run) {
            Some(behind) => behind.push_back(Slot { files: Arc::new(()), operation, written: true }),
            None => self.line.put(lane, operation),
        }
    }
    /// Keeps the place of an append until [`Handover::written`].
    pub(super) fn hold(&self, run: RunId, operation: Operation) -> Place {
        let files = Arc::new(());
        let mut runs = self.lock();
        runs.entry(run).or_default().push_back(Slot { files: files.clone(), operation, written: false });
        self.held_up.store(runs.len(), Ordering::Release);
        Place { run, files }
    }
    /// The files are on disk: the append goes on, and so do those that waited behind it. The claim on the files lasts
    /// until the append is committed.
    pub(super) fn written(&self, place: &Place, claim: Claim) {
        let mut runs = self.lock();
        let Some(slots) = runs.get_mut(&place.run) else { return };
        if let Some(at) = slots.iter().position(|slot| Arc::ptr_eq(&slot.files, &place.files))
            && let Some(slot) = slots.remove(at)
        {
            let inner = slot.operation;
            let operation: Operation = Box::new(move |writer| {
                let reply = inner(writer)?;
                Ok(Box::new(move || {
                    reply();
                    drop(claim);
                }))
            });
            slots.insert(at, Slot { files: slot.files, operation, written: true });
        }
        while slots.front().is_some_and(|slot| slot.written) {
            if let Some(slot) = slots.pop_front() {
                self.line.put(Lane::First, slot.operation);
            }
        }
        if slots.is_empty() {
            runs.remove(&place.run);
        }
        self.held_up.store(runs.len(), Ordering::Release);
    }
    /// Drops everything that waits, when files cannot be written.
    pub(super) fn abandon(&self) {
        let dropped = std::mem::take(&mut *self.lock());
        self.held_up.store(0, Ordering::Release);
        drop(dropped);
    }
}
