//! The wall-clock deadline of one attempt. The time that an agent waits for other plugins does not count: each of those
//! has a deadline of its own, and an agent that calls three slow tools has not been slow itself.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// When an attempt has to end, moved by its waits. Milliseconds are since its start.
#[derive(Debug)]
pub(crate) struct WallClock {
    began: Instant,
    allowed_ms: u64,
    waited_ms: AtomicU64,
    /// When the wait under way began, plus one; zero without one.
    waiting_since: AtomicU64,
    wait_ended: Notify,
}

/// The deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed;

impl WallClock {
    pub(crate) fn start(allowed_ms: u64) -> WallClock {
        WallClock {
            began: Instant::now(),
            allowed_ms,
            waited_ms: AtomicU64::new(0),
            waiting_since: AtomicU64::new(0),
            wait_ended: Notify::new(),
        }
    }
    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
    /// Since the start, waits included.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
    /// The deadline as it stands, waits so far left out.
    fn deadline(&self) -> Instant {
        self.began + Duration::from_millis(self.allowed_ms.saturating_add(self.waited_ms.load(Relaxed)))
    }
    /// Awaits something whose time does not count.
    pub(crate) async fn wait<F: Future>(&self, work: F) -> F::Output {
        let since = self.now_ms();
        self.waiting_since.store(since + 1, Relaxed);
        let output = work.await;
        self.waited_ms.fetch_add(self.now_ms().saturating_sub(since), Relaxed);
        self.waiting_since.store(0, Relaxed);
        self.wait_ended.notify_one();
        output
    }
    /// Awaits the attempt itself, until its deadline.
    pub(crate) async fn guard<F: Future>(&self, work: F) -> Result<F::Output, Passed> {
        let mut work = std::pin::pin!(work);
        loop {
            let deadline = self.deadline();
            if let Ok(output) = timeout_at(deadline, work.as_mut()).await {
                return Ok(output);
            }
            if self.waiting_since.load(Relaxed) != 0 {
                // The clock stands still until the wait ends.
                tokio::select! {
                    biased;
                    output = work.as_mut() => return Ok(output),
                    () = self.wait_ended.notified() => {}
                }
            } else if self.deadline() <= Instant::now() {
                return Err(Passed);
            }
        }
    }
}
