//! What becomes of a schedule's ticks: `decide` reads, `apply` is the only change.
//!
//! A tick is decided once, in the order of the ticks, and the decision is written before anything comes of it. What is
//! owed then (a run to start, a run to cancel) is a function of the state, so a crash needs no code of its own: the
//! start is asked for again, under the same key.

use super::state::{
    Asked, Outcome, Record, Running, Several, Skip, Starting, State, Stopped, Tick, Waiting, Wish,
};
use super::{Overlap, Schedule};
use crate::id::RunId;
use crate::limits::Limits;
use crate::time::Timestamp;
use std::sync::Arc;

/// Ticks that one decision takes up; the next decision goes on at once.
const TICKS_AT_ONCE: usize = 256;
/// Ticks in a row without a run that are counted one by one.
const COUNTED: u64 = 10_000;

/// How much a schedule may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Ticks that wait, and ticks whose run is owed.
    pub buffer: u64,
    /// Ticks of one backfill.
    pub backfill: u64,
    /// Ticks that are remembered.
    pub history: u64,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        Bounds {
            buffer: limits.schedule_buffer,
            backfill: limits.schedule_backfill,
            history: limits.schedule_history,
        }
    }
}

/// What a schedule is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed.
    Due,
    /// The run of a tick was accepted.
    Started(Tick, RunId),
    /// The run of a tick was not accepted, and never will be.
    Refused(Tick, Arc<str>),
    /// A run has ended.
    Ended(RunId),
    /// A run has been asked to end.
    CancelSent(RunId),
    /// It is to stand still.
    Pause {
        /// Who says so.
        by: Arc<str>,
        /// In their words.
        reason: Arc<str>,
    },
    /// It is to go on.
    Resume,
    /// A run is wanted now, whether the schedule is paused or not.
    Trigger {
        /// The id of the wish.
        id: Arc<str>,
        /// Who wants it.
        by: Arc<str>,
    },
    /// The runs of a time that is over are wanted, both ends included.
    Backfill {
        /// The id of the wish.
        id: Arc<str>,
        /// Who wants it.
        by: Arc<str>,
        /// The first instant.
        from: Timestamp,
        /// The last instant.
        to: Timestamp,
        /// One after the other, or all at once.
        order: Order,
    },
    /// The workflow's newest version has it, and ticks count from this instant if they are other ticks than before.
    Define {
        /// When that version was published.
        since: Timestamp,
        /// Whether its timing is what it was.
        timing: Changed,
    },
    /// The workflow's newest version has it no more.
    Retire,
}

/// Whether something is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is not.
    Yes,
    /// It is.
    No,
}

/// How the runs of a backfill follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The next begins when the one before has ended. The default.
    #[default]
    OneByOne,
    /// All at once.
    AtOnce,
}

/// A change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A tick is to have a run.
    Owed {
        /// The tick.
        tick: Tick,
        /// Whether later ticks have to look at the run.
        tracked: bool,
    },
    /// A tick waits.
    Waits {
        /// The tick.
        tick: Tick,
        /// Whether what it waits for is cancelled.
        cancels: bool,
    },
    /// A tick has no run.
    Skipped(Tick, Skip),
    /// Ticks in a row have no run.
    Passed {
        /// The first.
        first: Timestamp,
        /// How far, and how many.
        several: Several,
        /// Up to here all is decided.
        until: Timestamp,
        /// Why.
        why: Skip,
    },
    /// A tick has its run.
    Started(Tick, RunId),
    /// A tick's run was not accepted.
    Refused(Tick, Arc<str>),
    /// A run has ended.
    Ended(RunId),
    /// A run has been asked to end.
    CancelSent(RunId),
    /// It stands still.
    Paused(Stopped),
    /// It goes on.
    Resumed,
    /// It is live; ticks up to here are not its own.
    Defined(Timestamp),
    /// It is no more.
    Retired,
}

/// Why a wish is not granted. Nothing changes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No tick in that time.
    #[error("the schedule has no tick between {from} and {to}")]
    NoTicks {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// The time is not over, or the wrong way round.
    #[error("`from` must not be after `to`, and `to` must not lie in the future; this is {from} to {to}")]
    NotPast {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// More ticks than one backfill may have.
    #[error("there are more than {0} ticks in that time (limit schedule_backfill); ask for it in parts")]
    TooMany(u64),
    /// No room for so many.
    #[error(
        "{wanted} more ticks have no room: {waiting} wait already (limit schedule_buffer is {most}); try again when they have run"
    )]
    NoRoom {
        /// How many are wanted.
        wanted: u64,
        /// How many wait.
        waiting: u64,
        /// How many may.
        most: u64,
    },
    /// The workflow has it no more.
    #[error("the newest version of its workflow has no such schedule any more")]
    Retired,
}

/// What follows from an input. A stale or repeated one decides to nothing.
///
/// # Errors
/// Why a person's wish is not granted.
pub fn decide(
    schedule: &Schedule,
    bounds: &Bounds,
    state: &State,
    input: &Input,
    now: Timestamp,
) -> Result<Vec<Fact>, Refusal> {
    let mut decision = Decision { schedule, bounds, state: state.clone(), facts: Vec::new(), now };
    decision.take(input)?;
    decision.go_on();
    Ok(decision.facts)
}

/// When the schedule has to be looked at again because of the time; `None` for never by itself.
pub fn wake(schedule: &Schedule, state: &State) -> Option<Timestamp> {
    let ticks = state.paused.is_none() && !state.retired;
    let next = schedule.next_after(state.after).filter(|_| ticks)?;
    Some(schedule.fires_at(next))
}

struct Decision<'a> {
    schedule: &'a Schedule,
    bounds: &'a Bounds,
    state: State,
    facts: Vec<Fact>,
    now: Timestamp,
}

impl Decision<'_> {
    fn add(&mut self, fact: Fact) {
        self.state.apply(&fact, self.now, self.bounds);
        self.facts.push(fact);
    }

    fn take(&mut self, input: &Input) -> Result<(), Refusal> {
        let state = &self.state;
        match input {
            Input::Due => self.due(),
            Input::Started(tick, run) if state.owes(tick) => self.add(Fact::Started(tick.clone(), *run)),
            Input::Refused(tick, why) if state.owes(tick) => {
                self.add(Fact::Refused(tick.clone(), why.clone()));
            }
            Input::Ended(run) if state.running.iter().any(|r| r.run == *run) => self.add(Fact::Ended(*run)),
            Input::CancelSent(run) if state.running.iter().any(|r| r.run == *run && !r.cancelled) => {
                self.add(Fact::CancelSent(*run));
            }
            Input::Pause { by, reason } if state.paused.is_none() => {
                // What was due before counts as it would have.
                self.due();
                let (by, reason) = (by.clone(), reason.clone());
                self.add(Fact::Paused(Stopped { by, reason, at: self.now }));
            }
            Input::Resume if state.paused.is_some() => {
                self.add(Fact::Resumed);
                self.pass(self.now, Skip::Paused);
            }
            Input::Trigger { .. } | Input::Backfill { .. } if state.retired => return Err(Refusal::Retired),
            Input::Trigger { id, by } => {
                let (waiting, most) = (state.starting.len() as u64, self.bounds.buffer);
                if waiting >= most {
                    return Err(Refusal::NoRoom { wanted: 1, waiting, most });
                }
                let asked = Asked { wish: Wish::Trigger, id: id.clone(), by: by.clone() };
                self.place(Tick { at: self.now, asked: Some(asked) }, self.schedule.overlap);
            }
            Input::Backfill { id, by, from, to, order } => {
                let asked = Asked { wish: Wish::Backfill, id: id.clone(), by: by.clone() };
                self.backfill(&asked, (*from, *to), *order)?;
            }
            Input::Define { since, timing } => {
                let anew = state.retired || *timing == Changed::Yes;
                if anew {
                    self.add(Fact::Defined(*since));
                }
            }
            Input::Retire if !state.retired => {
                for waiting in state.buffer.clone() {
                    self.add(Fact::Skipped(waiting.tick, Skip::Withdrawn));
                }
                self.add(Fact::Retired);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes up the ticks whose time has come, in their order.
    fn due(&mut self) {
        if self.state.paused.is_some() || self.state.retired {
            return;
        }
        let too_late = self.schedule.catchup.0 + self.schedule.jitter.0 + 1;
        if let Some(before) = self.now.0.checked_sub(too_late) {
            self.pass(Timestamp(before), Skip::Missed);
        }
        for _ in 0..TICKS_AT_ONCE {
            let full = self.state.starting.len() as u64 >= self.bounds.buffer;
            let Some(at) = self.schedule.next_after(self.state.after).filter(|_| !full) else { return };
            let fires = self.schedule.fires_at(at);
            if fires > self.now {
                return;
            }
            if self.now.since_ms(fires) > self.schedule.catchup.0 {
                self.add(Fact::Skipped(Tick::of(at), Skip::Missed));
            } else {
                self.place(Tick::of(at), self.schedule.overlap);
            }
        }
    }

    /// Lets every tick up to an instant go by without a run.
    fn pass(&mut self, until: Timestamp, why: Skip) {
        let Some(first) = self.schedule.next_after(self.state.after).filter(|at| *at <= until) else {
            return;
        };
        let (mut last, mut count, mut more) = (first, 1, false);
        while let Some(next) = self.schedule.next_after(last).filter(|at| *at <= until) {
            if count == COUNTED {
                more = true;
                break;
            }
            (last, count) = (next, count + 1);
        }
        self.add(match count {
            1 => Fact::Skipped(Tick::of(first), why),
            _ => Fact::Passed { first, several: Several { last, count, more }, until, why },
        });
    }

    /// Decides what becomes of a tick.
    fn place(&mut self, tick: Tick, overlap: Overlap) {
        let waiting = self.state.buffer.len() as u64;
        let fact = match overlap {
            Overlap::AllowAll => Fact::Owed { tick, tracked: false },
            _ if !self.state.is_busy() => Fact::Owed { tick, tracked: true },
            Overlap::Skip => Fact::Skipped(tick, Skip::Overlap),
            Overlap::BufferOne if waiting > 0 => Fact::Skipped(tick, Skip::BufferFull),
            Overlap::CancelOther => {
                let replaced = self.state.buffer.iter().find(|waiting| waiting.cancels).cloned();
                if let Some(replaced) = replaced {
                    self.add(Fact::Skipped(replaced.tick, Skip::Replaced));
                }
                match (self.state.buffer.len() as u64) < self.bounds.buffer {
                    true => Fact::Waits { tick, cancels: true },
                    false => Fact::Skipped(tick, Skip::BufferFull),
                }
            }
            Overlap::BufferOne | Overlap::BufferAll if waiting < self.bounds.buffer => {
                Fact::Waits { tick, cancels: false }
            }
            Overlap::BufferOne | Overlap::BufferAll => Fact::Skipped(tick, Skip::BufferFull),
        };
        self.add(fact);
    }

    fn backfill(
        &mut self,
        asked: &Asked,
        (from, to): (Timestamp, Timestamp),
        order: Order,
    ) -> Result<(), Refusal> {
        let shown = || (from.rfc3339(), to.rfc3339());
        if from > to || to > self.now {
            let (from, to) = shown();
            return Err(Refusal::NotPast { from, to });
        }
        let first = match from.0.checked_sub(1) {
            Some(before) => self.schedule.next_after(Timestamp(before)),
            None => self.schedule.next_after(from),
        };
        let ticks = std::iter::successors(first, |at| self.schedule.next_after(*at));
        let ticks: Vec<Timestamp> =
            ticks.take_while(|at| *at <= to).take(self.bounds.backfill as usize + 1).collect();
        if ticks.is_empty() {
            let (from, to) = shown();
            return Err(Refusal::NoTicks { from, to });
        }
        if ticks.len() as u64 > self.bounds.backfill {
            return Err(Refusal::TooMany(self.bounds.backfill));
        }
        let (overlap, held) = match order {
            Order::OneByOne => (Overlap::BufferAll, self.state.buffer.len()),
            Order::AtOnce => (Overlap::AllowAll, self.state.starting.len()),
        };
        let (wanted, waiting, most) = (ticks.len() as u64, held as u64, self.bounds.buffer);
        if waiting + wanted > most {
            return Err(Refusal::NoRoom { wanted, waiting, most });
        }
        for at in ticks {
            self.place(Tick { at, asked: Some(asked.clone()) }, overlap);
        }
        Ok(())
    }

    /// Lets the first one that waits have its turn, where nothing is in its way.
    fn go_on(&mut self) {
        if self.state.is_busy() {
            return;
        }
        // A pause holds the ticks of the schedule, not what a person asks for.
        let held = self.state.paused.is_some();
        let next = self.state.buffer.iter().find(|waiting| !held || waiting.tick.asked.is_some());
        if let Some(tick) = next.map(|waiting| waiting.tick.clone()) {
            self.add(Fact::Owed { tick, tracked: true });
        }
    }
}

impl State {
    fn owes(&self, tick: &Tick) -> bool {
        self.starting.iter().any(|owed| owed.tick == *tick)
    }

    /// The only change of a state.
    pub fn apply(&mut self, fact: &Fact, now: Timestamp, bounds: &Bounds) {
        match fact {
            Fact::Owed { tick, tracked } => {
                self.decided(tick);
                self.starting.push(Starting { tick: tick.clone(), tracked: *tracked });
                self.note(tick, Outcome::Starting, now, bounds);
            }
            Fact::Waits { tick, cancels } => {
                self.decided(tick);
                self.buffer.push_back(Waiting { tick: tick.clone(), cancels: *cancels });
                self.note(tick, Outcome::Buffered, now, bounds);
            }
            Fact::Skipped(tick, why) => {
                self.decided(tick);
                self.note(tick, Outcome::Skipped(*why), now, bounds);
            }
            Fact::Passed { first, several, until, why } => {
                self.after = self.after.max(*until);
                let tick = Tick::of(*first);
                let outcome = Outcome::Skipped(*why);
                self.remember(Record { tick, outcome, decided: now, several: Some(*several) }, bounds);
            }
            Fact::Started(tick, run) => {
                let tracked = self.starting.iter().any(|owed| owed.tick == *tick && owed.tracked);
                self.starting.retain(|owed| owed.tick != *tick);
                if tracked {
                    self.running.push(Running { tick: tick.clone(), run: *run, cancelled: false });
                }
                self.note(tick, Outcome::Started(*run), now, bounds);
            }
            Fact::Refused(tick, why) => {
                self.starting.retain(|owed| owed.tick != *tick);
                self.note(tick, Outcome::Refused(why.clone()), now, bounds);
            }
            Fact::Ended(run) => self.running.retain(|running| running.run != *run),
            Fact::CancelSent(run) => {
                for running in self.running.iter_mut().filter(|running| running.run == *run) {
                    running.cancelled = true;
                }
            }
            Fact::Paused(stopped) => self.paused = Some(stopped.clone()),
            Fact::Resumed => self.paused = None,
            Fact::Defined(since) => {
                self.retired = false;
                self.after = self.after.max(*since);
            }
            Fact::Retired => self.retired = true,
        }
    }

    /// A tick has been decided, now or again.
    fn decided(&mut self, tick: &Tick) {
        if tick.asked.is_none() {
            self.after = self.after.max(tick.at);
        }
        self.buffer.retain(|waiting| waiting.tick != *tick);
    }

    fn note(&mut self, tick: &Tick, outcome: Outcome, now: Timestamp, bounds: &Bounds) {
        match self.recent.iter_mut().rev().find(|record| record.tick == *tick) {
            Some(record) => (record.outcome, record.decided) = (outcome, now),
            None => {
                self.remember(Record { tick: tick.clone(), outcome, decided: now, several: None }, bounds);
            }
        }
    }
    fn remember(&mut self, record: Record, bounds: &Bounds) {
        while self.recent.len() as u64 >= bounds.history {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }
}
