//! Where an attempt begins. Guests have threads of their own, and the way there and back costs as much as a short call
//! itself. So a component that has been quick so far may begin where its caller is: one poll, which the next epoch tick
//! ends. Whatever is not done by then goes to the guests' threads and stays there, and is not quick any more.

use heddle_core::outcome::{AttemptEnd, FailureKind};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;

/// An attempt that needs less CPU time than this is not worth the way to another thread. Far less than an epoch tick.
const QUICK_US: u64 = 500;

/// Where an attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// On the caller's thread, if the component has been quick so far. For callers that have nothing else to do.
    Here,
    /// On the guests' threads.
    Apart,
}

/// The CPU time that a component's attempts have taken lately, in microseconds.
#[derive(Debug)]
pub(crate) struct Quickness(AtomicU64);

impl Default for Quickness {
    fn default() -> Quickness {
        Quickness(AtomicU64::new(u64::MAX))
    }
}

impl Quickness {
    /// Notes the CPU time of an attempt. One slow attempt is enough to be slow, and many quick ones make up for it.
    pub(crate) fn note(&self, took_us: u64) {
        let before = self.0.load(Relaxed);
        let lately =
            if before == u64::MAX || took_us > before { took_us } else { (before * 7 + took_us) / 8 };
        self.0.store(lately, Relaxed);
    }
    pub(crate) fn is_quick(&self) -> bool {
        self.0.load(Relaxed) < QUICK_US
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
    let polled =
        poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| attempt.as_mut().poll(cx))))).await;
    match polled {
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

    #[test]
    fn one_slow_attempt_makes_slow() {
        let quickness = Quickness::default();
        assert!(!quickness.is_quick(), "nothing is known yet");
        quickness.note(20);
        assert!(quickness.is_quick());
        quickness.note(9_000);
        assert!(!quickness.is_quick());
        (0..60).for_each(|_| quickness.note(20));
        assert!(quickness.is_quick());
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
