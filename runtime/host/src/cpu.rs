//! CPU time of guests, from the clock of the thread that polls them: ticks count wall time, and the machine may give its
//! time to somebody else.
//!
//! Reading that clock is a system call, and two of them cost a tenth of a short call. So a short stretch counts as long
//! as it took, which is never less; and where a longer one began is known from the last reading on that thread, which is
//! made again when it is a millisecond old.

use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A stretch of up to so long counts whole.
const SHORT: Duration = Duration::from_micros(100);
/// By how much a longer one may be counted too long.
const STALE: Duration = Duration::from_millis(1);

thread_local! {
    /// When this thread's clock was read last, and what it said.
    static READ: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

/// What a thread does from some moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    began: Instant,
    /// What the thread's clock said at its beginning, or shortly before.
    clock_ns: u64,
}

impl Stretch {
    /// From now on.
    pub(crate) fn begin() -> Stretch {
        let began = Instant::now();
        let read = READ.get().filter(|(at, _)| began.saturating_duration_since(*at) < STALE);
        Stretch { began, clock_ns: read.map_or_else(|| read_clock(began), |(_, said)| said) }
    }
    /// CPU time so far, in nanoseconds: never too little, and at most a millisecond too much. On the thread where it
    /// began.
    pub(crate) fn spent_ns(&self) -> u64 {
        let now = Instant::now();
        let wall = now.saturating_duration_since(self.began);
        let wall_ns = wall.as_nanos() as u64;
        if wall <= SHORT { wall_ns } else { wall_ns.min(read_clock(now).saturating_sub(self.clock_ns)) }
    }
}

fn read_clock(now: Instant) -> u64 {
    let said = thread_ns();
    READ.set(Some((now, said)));
    said
}

/// CPU time of this thread, in nanoseconds.
pub(crate) fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CPU time of one attempt, on whichever threads it was polled.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    before_ns: AtomicU64,
    /// The poll under way.
    poll: Mutex<Option<Stretch>>,
}

impl CpuMeter {
    /// Awaits the future and counts the CPU time of its polls.
    pub(crate) async fn measure<F: Future>(&self, mut work: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| {
            let poll = Stretch::begin();
            self.set_poll(Some(poll));
            let polled = work.as_mut().poll(cx);
            self.set_poll(None);
            self.before_ns.fetch_add(poll.spent_ns(), Relaxed);
            polled
        })
        .await
    }
    fn set_poll(&self, poll: Option<Stretch>) {
        *self.poll.lock().unwrap_or_else(PoisonError::into_inner) = poll;
    }
    /// CPU time so far, in microseconds, after the last poll.
    pub(crate) fn spent_us(&self) -> u64 {
        self.before_ns.load(Relaxed) / 1_000
    }
    /// CPU time so far, in milliseconds, from inside a poll.
    pub(crate) fn spent_within_poll_ms(&self) -> u64 {
        let poll = *self.poll.lock().unwrap_or_else(PoisonError::into_inner);
        (self.before_ns.load(Relaxed) + poll.map_or(0, |poll| poll.spent_ns())) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses this much CPU time.
    fn spin(time: Duration) {
        let until = thread_ns() + time.as_nanos() as u64;
        while thread_ns() < until {
            std::hint::spin_loop();
        }
    }
    #[test]
    fn it_is_never_too_little_and_hardly_too_much() {
        for us in [10, 90, 150, 3_000, 20_000] {
            let (truth, stretch) = (thread_ns(), Stretch::begin());
            spin(Duration::from_micros(us));
            let counted = stretch.spent_ns();
            let truth = thread_ns() - truth;
            assert!(counted + 50_000 >= us * 1_000, "{us} us counted as {counted} ns");
            assert!(counted <= truth + (STALE + SHORT).as_nanos() as u64, "{truth} ns counted as {counted}");
        }
    }
    #[test]
    fn what_the_machine_gives_to_others_is_not_counted() {
        let stretch = Stretch::begin();
        std::thread::park_timeout(Duration::from_millis(30));
        assert!(stretch.spent_ns() < 5_000_000);
    }
}
