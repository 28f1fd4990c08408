//! The wall-clock deadline of one attempt. The time that an agent waits for other plugins does not count: each of those
//! has a deadline of its own, and an agent that calls three slow tools has not been slow itself. Where heartbeats are
//! wanted, the next one is due so long after the last, or after a wait.

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
    heartbeat_ms: Option<u64>,
    /// When the last heartbeat came, plus one; zero before the sandbox has begun.
    beat: AtomicU64,
    waited_ms: AtomicU64,
    /// When the wait under way began, plus one; zero without one.
    waiting_since: AtomicU64,
    wait_ended: Notify,
}

/// What passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The deadline of the attempt.
    Deadline,
    /// The time within which a heartbeat was due.
    Heartbeat,
}

impl WallClock {
    pub(crate) fn start(allowed_ms: u64, heartbeat_ms: Option<u64>) -> WallClock {
        WallClock {
            began: Instant::now(),
            allowed_ms,
            heartbeat_ms,
            beat: AtomicU64::new(0),
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
    /// The guest shows that it goes on.
    pub(crate) fn beat(&self) {
        if self.heartbeat_ms.is_some() {
            self.beat.store(self.now_ms() + 1, Relaxed);
        }
    }
    /// What passes first as it stands, waits so far left out, and when.
    fn deadline(&self) -> (Instant, Passed) {
        let after = |ms: u64| self.began + Duration::from_millis(ms);
        let whole = after(self.allowed_ms.saturating_add(self.waited_ms.load(Relaxed)));
        let beat = self.heartbeat_ms.zip(self.beat.load(Relaxed).checked_sub(1));
        match beat.map(|(every, last)| after(last.saturating_add(every))) {
            Some(due) if due < whole => (due, Passed::Heartbeat),
            _ => (whole, Passed::Deadline),
        }
    }
    /// Awaits something whose time does not count.
    pub(crate) async fn wait<F: Future>(&self, work: F) -> F::Output {
        let since = self.now_ms();
        self.waiting_since.store(since + 1, Relaxed);
        let output = work.await;
        self.waited_ms.fetch_add(self.now_ms().saturating_sub(since), Relaxed);
        self.beat();
        self.waiting_since.store(0, Relaxed);
        self.wait_ended.notify_one();
        output
    }
    /// Awaits the attempt itself, until its deadline.
    pub(crate) async fn guard<F: Future>(&self, work: F) -> Result<F::Output, Passed> {
        let mut work = std::pin::pin!(work);
        loop {
            let (deadline, passed) = self.deadline();
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
            } else if self.deadline().0 <= Instant::now() {
                return Err(passed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn never() {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_keep_it_going_until_its_deadline() {
        let wall = WallClock::start(1_000, Some(100));
        // Nothing is due before the sandbox has begun.
        assert!(wall.guard(tokio::time::sleep(Duration::from_millis(300))).await.is_ok());
        wall.beat();
        let beats = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(90)).await;
                wall.beat();
            }
        };
        assert!(wall.guard(beats).await.is_ok());
        assert_eq!(wall.guard(never()).await, Err(Passed::Heartbeat));
        let restless = async {
            loop {
                wall.beat();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert_eq!(wall.guard(restless).await, Err(Passed::Deadline));
        assert!(wall.elapsed() >= Duration::from_millis(1_000));
    }
    #[tokio::test(start_paused = true)]
    async fn no_heartbeat_is_due_while_it_waits() {
        let wall = WallClock::start(1_000, Some(100));
        wall.beat();
        let waits = wall.wait(tokio::time::sleep(Duration::from_secs(5)));
        assert!(wall.guard(waits).await.is_ok());
        assert_eq!(wall.guard(never()).await, Err(Passed::Heartbeat));
    }
}
