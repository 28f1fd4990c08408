//! The line before the writer: where a call takes its place, in the order of the calls. Appends and other writes
//! stand in front; upkeep (retention) gets its turn when nobody else waits.
//!
//! An append for which nobody waits stands in the same line, and alone it does not make the writer begin: it goes with
//! the next operation that does, or when it has lingered long enough. So ten steps of pure work cost one flush, and
//! the order of the line stays what it is.

use super::gathering::Gathering;
use super::writer::Operation;
use crate::model::LINGER;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Operations that may wait. The executor never comes near: it drives at most 1,000 runs by default, each at most 256
/// events ahead of the disk. The bound is there so that a fault elsewhere cannot fill the memory from here.
const MAX_WAITING: usize = 262_144;

/// Operations of one transaction.
pub(super) const MAX_BATCH: usize = 256;

/// Which lane an operation waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Somebody waits for the answer.
    First,
    /// In the same line, and nobody waits for the answer yet.
    Lingering,
    /// When nothing else is to be done.
    Upkeep,
}

/// The line and the writer's state in it.
#[derive(Default)]
pub(super) struct Line {
    state: Mutex<State>,
    /// The writer waits here for operations.
    turn: Condvar,
    /// Whoever asked the writer to rest waits here until it does.
    rest: Condvar,
}

#[derive(Default)]
struct State {
    first: VecDeque<Operation>,
    upkeep: VecDeque<Operation>,
    /// Since when there is something in front, all of it lingering; `None` when somebody waits for one of them.
    lingering: Option<Instant>,
    /// How far apart transactions begin.
    gathering: Gathering,
    /// The writer lets operations gather, and is not to be woken for each.
    gathers: bool,
    /// Nothing more is taken in.
    closed: bool,
    /// The writer must not begin a transaction.
    paused: bool,
    /// The writer is between two transactions, waiting here, or has ended.
    resting: bool,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an operation in line. One that is not taken in is dropped, and with it the sender of its answer.
    pub(super) fn put(&self, lane: Lane, operation: Operation) {
        let mut state = self.lock();
        if state.closed || state.first.len() >= MAX_WAITING {
            return;
        }
        // What a writer at rest has to know: not one more of those that it lets gather or linger.
        let mut matters = !state.gathers;
        match lane {
            Lane::First => {
                state.first.push_back(operation);
                state.lingering = None;
                state.gathering.came();
            }
            Lane::Lingering => {
                match (state.first.is_empty(), state.lingering) {
                    (true, _) => state.lingering = Some(Instant::now()),
                    (false, Some(_)) => matters = false,
                    (false, None) => {}
                }
                state.first.push_back(operation);
            }
            Lane::Upkeep => state.upkeep.push_back(operation),
        }
        if state.resting && (matters || state.first.len() >= MAX_BATCH) {
            self.turn.notify_one();
        }
    }

    /// For the writer: waits for operations and takes those of the next transaction. `false` when the line is closed
    /// and empty.
    pub(super) fn wait(&self, into: &mut VecDeque<Operation>) -> bool {
        let mut state = self.lock();
        loop {
            let mut patience = None;
            if !state.paused {
                patience = state.patience();
                state.gathers = patience.is_some() && state.lingering.is_none();
                if patience.is_none() {
                    state.take_first(into, MAX_BATCH);
                    if into.is_empty() {
                        take(&mut state.upkeep, into, 1);
                    }
                    if !into.is_empty() {
                        state.gathering.begins(Instant::now());
                        return true;
                    }
                    if state.closed {
                        return false;
                    }
                }
            }
            state.resting = true;
            self.rest.notify_all();
            state = match patience {
                None => self.turn.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(most) => self.turn.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.resting = false;
            state.gathers = false;
        }
    }

    /// For the writer, inside a transaction: what has come meanwhile. `false` when nothing has, or the writer is to
    /// rest.
    pub(super) fn more(&self, into: &mut VecDeque<Operation>, room: usize) -> bool {
        let mut state = self.lock();
        if !state.paused {
            state.take_first(into, room);
        }
        !into.is_empty()
    }

    /// Does something while the writer is between two transactions and stays there.
    pub(super) fn at_rest<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut state = self.lock();
        state.paused = true;
        while !state.resting {
            state = self.rest.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let result = work();
        self.lock().paused = false;
        self.turn.notify_one();
        result
    }

    /// Takes nothing more in; what is in line is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.turn.notify_one();
    }

    /// For the writer when it ends: nothing is taken in any more, and what waits is dropped.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.resting = true;
        let dropped = (std::mem::take(&mut state.first), std::mem::take(&mut state.upkeep));
        drop(state);
        self.rest.notify_all();
        drop(dropped);
    }

    /// How many operations wait.
    pub(super) fn waiting(&self) -> u64 {
        let state = self.lock();
        (state.first.len() + state.upkeep.len()) as u64
    }
}

impl State {
    /// How much longer what is in front may linger or gather; `None` when the writer is to begin, or there is nothing.
    fn patience(&self) -> Option<Duration> {
        if self.closed || self.first.is_empty() || self.first.len() >= MAX_BATCH {
            return None;
        }
        match self.lingering {
            Some(since) => LINGER.checked_sub(since.elapsed()).filter(|left| !left.is_zero()),
            None => self.gathering.patience(Instant::now()),
        }
    }
    fn take_first(&mut self, into: &mut VecDeque<Operation>, room: usize) {
        take(&mut self.first, into, room);
        // What is left over has waited long enough.
        self.lingering = None;
    }
}

fn take(from: &mut VecDeque<Operation>, into: &mut VecDeque<Operation>, room: usize) {
    if into.is_empty() && from.len() <= room {
        std::mem::swap(from, into);
    } else {
        into.extend(from.drain(..from.len().min(room)));
    }
}
