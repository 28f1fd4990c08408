//! The clock that wakes a driver: one sleep for all of its timers. It is set anew only where something is due sooner, so
//! that the next attempt's deadline, which is nearly always later than the one before, costs nothing. It may ring when
//! nothing is due any more.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// A clock that may be set.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Has it ring in so long at the latest; `None` where nothing is due at any time.
    pub(super) fn set(&mut self, within: Option<Duration>) {
        let Some(within) = within else { return };
        match &mut self.0 {
            None => self.0 = Some(Box::pin(sleep(within))),
            Some(set) => {
                let at = Instant::now() + within;
                if at < set.deadline() {
                    set.as_mut().reset(at);
                }
            }
        }
    }
    /// Whether it will ring.
    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }
    /// Waits until it rings. Then it is not set any more.
    pub(super) async fn rings(&mut self) {
        poll_fn(|cx| match &mut self.0 {
            None => std::task::Poll::Pending,
            Some(set) => set.as_mut().poll(cx),
        })
        .await;
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test(start_paused = true)]
    async fn it_rings_for_the_soonest_and_then_is_silent() {
        let mut alarm = Alarm::default();
        assert!(alarm.rings().now_or_never().is_none());
        let began = Instant::now();
        for seconds in [60, 5, 30] {
            alarm.set(Some(Duration::from_secs(seconds)));
        }
        alarm.set(None);
        alarm.rings().await;
        let took = Instant::now() - began;
        assert!((5..6).contains(&took.as_secs()), "{took:?}");
        assert!(!alarm.is_set() && alarm.rings().now_or_never().is_none());
    }
}
