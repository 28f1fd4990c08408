//! Where an attempt begins. Guests have threads of their own, and the way there and back costs as much as a short call
//! itself. So a component that has been quick so far may begin where its caller is: one poll, which ends when the fuel
//! of a quick attempt is used up. Whatever is not done by then goes to the guests' threads and stays there, and is not
//! quick any more. (An epoch tick would not do: it comes at any moment, and would cut off one in two hundred attempts
//! that need fifty microseconds.)
//!
//! The caller's thread serves others, so being quick is earned by a number of quick attempts, and an attempt that was let
//! in and is not over in its slice costs all of it: the number doubles each time. What a component can take from others
//! stays a small part of what it has to do for it. A machine has its moments, too, and an attempt that only took a little
//! long costs half of what was earned.

use heddle_core::outcome::{AttemptEnd, FailureKind};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use tokio::task::unconstrained;

/// An attempt that needs less CPU time than this is not worth the way to another thread. Far less than an epoch tick.
const QUICK_US: u64 = 500;
/// Fuel after which an attempt gives way: some [`QUICK_US`] of it. One that began with its caller goes on elsewhere then.
/// The others give up their turn, and the core: the system looks only at its own ticks, of several milliseconds, whether
/// somebody else should have it.
pub(crate) const SLICE_FUEL: u64 = 500_000;
/// CPU time that no noise of a machine explains. Fuel does not count what the host does with a large output.
const FAR_FROM_QUICK_US: u64 = 10 * QUICK_US;
/// Epoch ticks that such an attempt may see: it ends by its fuel, and a tick means that the machine took the thread away.
pub(crate) const QUICK_TICKS: u64 = 10;
/// Quick attempts before a component is taken for quick.
const EARNED_BY: u32 = 16;
/// The most that it can come to: a component that was slow that often is not worth the risk.
const EARNED_BY_AT_MOST: u32 = 1 << 20;
/// How much can be earned, in what is needed: two attempts that took a little long lose nothing.
const EARNED_AT_MOST: u32 = 4;

/// Where an attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// On the caller's thread, if the component has been quick so far. For callers that have nothing else to do.
    Here,
    /// On the guests' threads.
    Apart,
}

/// Whether a component is known to be quick.
#[derive(Debug)]
pub(crate) struct Quickness {
    /// Quick attempts, less what slow ones cost.
    earned: AtomicU32,
    /// How many it takes.
    needed: AtomicU32,
}

impl Default for Quickness {
    fn default() -> Quickness {
        Quickness { earned: AtomicU32::new(0), needed: AtomicU32::new(EARNED_BY) }
    }
}

impl Quickness {
    /// Notes the CPU time of an attempt that has ended.
    pub(crate) fn note(&self, took_us: u64) {
        if took_us >= FAR_FROM_QUICK_US {
            return self.was_slow();
        }
        let most = self.needed.load(Relaxed) * EARNED_AT_MOST;
        let changed = |earned: u32| match took_us < QUICK_US {
            true => (earned < most).then_some(earned + 1),
            false => Some(earned / 2),
        };
        // It is full when nothing more needs to be counted.
        let _ = self.earned.fetch_update(Relaxed, Relaxed, changed);
    }
    /// Notes an attempt that was slow, or is going to be. Only the first one that abuses what was earned counts: those
    /// that were let in with it are the same fault.
    pub(crate) fn was_slow(&self) {
        let needed = self.needed.load(Relaxed);
        if self.earned.swap(0, Relaxed) >= needed {
            self.needed.store((needed * 2).min(EARNED_BY_AT_MOST), Relaxed);
        }
    }
    pub(crate) fn is_quick(&self) -> bool {
        self.earned.load(Relaxed) >= self.needed.load(Relaxed)
    }
}

/// An attempt, boxed so that it can go from one thread to another.
pub(crate) type Attempt = Pin<Box<dyn Future<Output = AttemptEnd> + Send>>;

/// What came of the first slice.
pub(crate) enum First {
    /// The attempt is over.
    Ended(AttemptEnd),
    /// It goes on elsewhere.
    Open(Attempt),
}

/// Polls the attempt once, here. A panic ends the attempt and nothing else; so does one while what is left of it is
/// dropped, which therefore happens by itself and not while the first panic unwinds.
pub(crate) async fn first_slice(mut attempt: Attempt) -> First {
    // Not on the caller's budget: once that is used up, whatever can wait says that it has to.
    let slice = poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(cx)))));
    match unconstrained(slice).await {
        Ok(Poll::Ready(end)) => First::Ended(end),
        Ok(Poll::Pending) => First::Open(attempt),
        Err(_) => {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(attempt)));
            First::Ended(panicked())
        }
    }
}

/// The end of an attempt in which the host itself failed.
pub(crate) fn panicked() -> AttemptEnd {
    tracing::error!("an attempt panicked in the host; its sandbox was discarded");
    AttemptEnd::failed(FailureKind::Internal, "the host failed while it ran this attempt")
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_core::json::Json;
    use heddle_core::outcome::{Outcome, Usage};

    fn done() -> AttemptEnd {
        AttemptEnd { outcome: Outcome::Done(Json::null()), usage: Usage::default() }
    }

    /// Quick attempts until it is taken for quick.
    fn earned_by(quickness: &Quickness) -> u32 {
        (0..).find(|_| quickness.is_quick() || (quickness.note(20), false).1).unwrap()
    }

    #[test]
    fn being_quick_is_earned_and_dearer_each_time_that_it_is_abused() {
        let quickness = Quickness::default();
        quickness.note(9_000);
        assert_eq!(earned_by(&quickness), EARNED_BY, "a slow component that nobody let in abused nothing");
        quickness.was_slow();
        // Those that were let in together, and the end of the first.
        quickness.was_slow();
        quickness.note(9_000);
        assert_eq!(earned_by(&quickness), 2 * EARNED_BY);
        quickness.was_slow();
        assert_eq!(earned_by(&quickness), 4 * EARNED_BY);
        for _ in 0..40 {
            earned_by(&quickness);
            quickness.was_slow();
        }
        assert_eq!(earned_by(&quickness), EARNED_BY_AT_MOST);
    }
    #[test]
    fn what_took_a_little_long_now_and_then_is_quick_all_the_same() {
        let quickness = Quickness::default();
        for _ in 0..1_000 {
            (0..2 * EARNED_BY).for_each(|_| quickness.note(20));
            quickness.note(600);
        }
        assert!(quickness.is_quick());
        // But not what does so as a rule, and it has lost no more than that.
        (0..3).for_each(|_| quickness.note(600));
        assert!(!quickness.is_quick());
        assert!(earned_by(&quickness) < EARNED_BY);
    }
    #[tokio::test]
    async fn what_is_not_done_at_once_goes_on_elsewhere() {
        assert!(matches!(first_slice(Box::pin(async { done() })).await, First::Ended(_)));
        let two_slices = Box::pin(async {
            tokio::task::yield_now().await;
            done()
        });
        let First::Open(rest) = first_slice(two_slices).await else { panic!("it cannot be over") };
        let end = tokio::spawn(rest).await.unwrap();
        assert!(matches!(end.outcome, Outcome::Done(_)));
    }
    /// One task makes thousands of attempts in a row, and tokio has each task give way after 128 operations.
    #[tokio::test]
    async fn a_caller_that_has_used_up_its_budget_gets_a_whole_slice() {
        let room = tokio::sync::Semaphore::new(1);
        let room = std::sync::Arc::new(room);
        for _ in 0..1_000 {
            let room = room.clone();
            let attempt = Box::pin(async move {
                let _slot = room.acquire().await;
                done()
            });
            assert!(matches!(first_slice(attempt).await, First::Ended(_)));
        }
    }
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("planted, too");
        }
    }

    #[tokio::test]
    async fn a_panic_while_the_rest_is_dropped_is_no_more_than_one() {
        let mut bomb = Some(Bomb);
        let attempt: Attempt = Box::pin(std::future::poll_fn(move |_| match &mut bomb {
            Some(_) => panic!("planted"),
            None => Poll::Pending,
        }));
        assert!(matches!(first_slice(attempt).await, First::Ended(_)));
    }
    #[tokio::test]
    async fn a_panic_is_an_end() {
        let First::Ended(end) = first_slice(Box::pin(async { panic!("planted") })).await else { panic!() };
        assert!(matches!(end.outcome, Outcome::Failed(f) if f.kind == FailureKind::Internal));
    }
}
