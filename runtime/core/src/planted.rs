//! Faults planted on purpose, so that the simulation can show that it would find them. Without the feature
//! `planted-bugs`, [`is`] is a constant `false` and nothing of this is in the program.

/// A fault that the simulation must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An answer goes out before its facts are durable.
    AcknowledgeBeforeCommit,
    /// An effect starts before the facts that decided it are durable.
    EffectGateRemoved,
    /// An append is let through though another node has taken the lease.
    EpochPredicateRemoved,
    /// An append is let through though the journal has moved on.
    VersionPredicateRemoved,
    /// A retried attempt does not give its place back.
    LostCounter,
    /// The end of an attempt that is over is taken for the end of the one that runs.
    StaleAttemptTaken,
    /// A step gets one attempt more than its policy allows.
    OneAttemptTooMany,
    /// A step begins when one of its dependencies has ended instead of all.
    JoinOnAny,
    /// Steps are undone in the order in which they were done.
    CompensationOrder,
    /// A retry begins before its time.
    TimerEarly,
    /// A `forEach` runs more items at once than it may.
    MapOverrun,
    /// A crash forgets that attempts were open, so nobody counts the interruption.
    InterruptionForgotten,
    /// A cancelled run goes on.
    CancelLost,
    /// A run that was asked for is not told that nobody waits for it any more.
    ChildForgotten,
    /// A run begins without the slots that it wants.
    SlotIgnored,
    /// A step that waits does not show for what.
    WaitUnnamed,
    /// A run moves to a version in which its past is another.
    PastUnproved,
    /// A run moves although its steps are over, and how it ends is known.
    MovedAtItsEnd,
    /// The runs that a run has asked for get other ids when it moves.
    NumbersForgotten,
}

impl Bug {
    /// All of them.
    pub const ALL: &[Bug] = &[
        Bug::AcknowledgeBeforeCommit,
        Bug::EffectGateRemoved,
        Bug::EpochPredicateRemoved,
        Bug::VersionPredicateRemoved,
        Bug::LostCounter,
        Bug::StaleAttemptTaken,
        Bug::OneAttemptTooMany,
        Bug::JoinOnAny,
        Bug::CompensationOrder,
        Bug::TimerEarly,
        Bug::MapOverrun,
        Bug::InterruptionForgotten,
        Bug::CancelLost,
        Bug::ChildForgotten,
        Bug::SlotIgnored,
        Bug::WaitUnnamed,
        Bug::PastUnproved,
        Bug::MovedAtItsEnd,
        Bug::NumbersForgotten,
    ];
}

#[cfg(feature = "planted-bugs")]
mod chosen {
    use super::Bug;
    use std::cell::Cell;
    thread_local!(static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) });

    /// Plants one fault in this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.with(|c| c.set(bug));
    }
    pub(crate) fn is(bug: Bug) -> bool {
        CHOSEN.with(|c| c.get() == Some(bug))
    }
}

#[cfg(feature = "planted-bugs")]
pub(crate) use chosen::is;
#[cfg(feature = "planted-bugs")]
pub use chosen::plant;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}
