//! The two rules that hold a journal together, as pure functions: which append is let in ([`admit`], asked by every
//! store), and what may be done and told before an append is on disk ([`Gate`], asked by every driver). The simulation
//! runs against both.

use crate::planted::{self, Bug};
use std::collections::VecDeque;

/// Why an append is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The journal is at another version than the one that was decided on.
    Conflict,
    /// The lease under which it was decided has ended or been taken.
    Fenced,
}

/// How the lease stands under which something was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStanding {
    /// Its epoch is the one in force.
    Living,
    /// It has ended, or its epoch has been taken.
    Ended,
}

/// Whether an append decided at version `expected` under this lease may be written to a journal at version `found`.
///
/// # Errors
/// Why not. Nothing may be written then.
pub fn admit(expected: u64, found: u64, lease: LeaseStanding) -> Result<(), Refusal> {
    if lease == LeaseStanding::Ended && !planted::is(Bug::EpochPredicateRemoved) {
        return Err(Refusal::Fenced);
    }
    if expected != found && !planted::is(Bug::VersionPredicateRemoved) {
        return Err(Refusal::Conflict);
    }
    Ok(())
}

/// Whether something can be done twice without anybody noticing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It can: a transform.
    Pure,
    /// It cannot: a tool, an agent, an answer to a caller.
    Effect,
}

/// What waits for the disk. Versions are numbers of journal rows: `decided` have been handed to the store, `durable`
/// have been committed.
///
/// Pure work runs ahead of the disk; an effect leaves only when the journal is durable up to the row that decided it.
#[derive(Debug)]
pub struct Gate<T> {
    decided: u64,
    durable: u64,
    held: VecDeque<(u64, T)>,
}

impl<T> Gate<T> {
    /// A gate for a journal that is durable up to this version.
    pub fn new(durable: u64) -> Gate<T> {
        Gate { decided: durable, durable, held: VecDeque::new() }
    }
    /// The version that has been handed to the store.
    pub fn decided(&self) -> u64 {
        self.decided
    }
    /// The version that has been committed.
    pub fn durable(&self) -> u64 {
        self.durable
    }
    /// Notes that one more row was handed to the store.
    pub fn handed_over(&mut self) -> u64 {
        self.decided += 1;
        self.decided
    }
    /// Asks to do something that the latest row decided: it comes back at once if it may be done now, and from
    /// [`Gate::committed`] later if not.
    pub fn ask(&mut self, nature: Nature, what: T) -> Option<T> {
        let open =
            self.durable >= self.decided || (nature == Nature::Pure) || planted::is(Bug::EffectGateRemoved);
        if open {
            return Some(what);
        }
        self.held.push_back((self.decided, what));
        None
    }
    /// Notes that the journal is durable up to this version; gives what may be done from now on, in order.
    pub fn committed(&mut self, durable: u64) -> Vec<T> {
        self.durable = self.durable.max(durable);
        let free = self.held.iter().take_while(|(at, _)| *at <= self.durable).count();
        self.held.drain(..free).map(|(_, what)| what).collect()
    }
    /// Whether what was decided in this row may be told to a caller or a subscriber.
    pub fn may_tell(&self, row: u64) -> bool {
        self.durable >= row || planted::is(Bug::AcknowledgeBeforeCommit)
    }
    /// Drops what is held and no longer wanted.
    pub fn retain(&mut self, wanted: impl Fn(&T) -> bool) {
        self.held.retain(|(_, what)| wanted(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effect_waits_for_its_own_row_and_no_longer() {
        let mut gate = Gate::new(0);
        gate.handed_over();
        assert_eq!(gate.ask(Nature::Pure, "transform"), Some("transform"));
        assert_eq!(gate.ask(Nature::Effect, "first"), None);
        gate.handed_over();
        assert_eq!(gate.ask(Nature::Effect, "second"), None);
        assert!(!gate.may_tell(1));
        assert_eq!(gate.committed(1), vec!["first"]);
        assert_eq!(gate.committed(2), vec!["second"]);
        assert!(gate.may_tell(2));
        assert_eq!(gate.ask(Nature::Effect, "third"), Some("third"));
    }
    #[test]
    fn admission() {
        assert_eq!(admit(3, 3, LeaseStanding::Living), Ok(()));
        assert_eq!(admit(3, 4, LeaseStanding::Living), Err(Refusal::Conflict));
        assert_eq!(admit(3, 3, LeaseStanding::Ended), Err(Refusal::Fenced));
    }
}
