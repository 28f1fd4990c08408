//! The threads that run guests: a runtime of their own, at lower priority, so that drivers and the API never wait
//! behind a guest. A guest gives way at every epoch tick, and whose turn it is then goes by share (`turns`). Its CPU time
//! is read from the clock of the thread around each poll, because ticks count wall time.

use crate::turns::{InTurn, Turns};
use heddle_core::share::Share;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinHandle};

/// How much nicer guests are than everything else in this process.
const NICENESS: i32 = 5;

/// The runtime of the guests.
#[derive(Debug)]
pub(crate) struct GuestThreads {
    runtime: Option<Runtime>,
    turns: Arc<Turns>,
}

impl GuestThreads {
    pub(crate) fn start(threads: usize) -> std::io::Result<GuestThreads> {
        let threads = threads.max(1);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("heddle-guest")
            .enable_all()
            .on_thread_start(|| {
                if let Err(fault) = setpriority_process(Some(gettid()), NICENESS) {
                    tracing::debug!(%fault, "the priority of a guest thread could not be lowered");
                }
            })
            .build()?;
        Ok(GuestThreads { runtime: Some(runtime), turns: Turns::new(threads, thread_ns) })
    }

    /// Runs this on the guests' threads, on the account of this share. Dropping the handle ends it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        share: Share,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Running<T> {
        // The option is only ever empty while this is being dropped.
        let runtime = self.runtime.as_ref().expect("the runtime lives as long as its owner");
        Running(runtime.spawn(InTurn::new(self.turns.clone(), share, work)))
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        // The last host may be dropped on a thread that must not block, such as one of the runtime's own.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work under way on the guests' threads; dropping it aborts the work at its next await.
#[derive(Debug)]
pub(crate) struct Running<T>(JoinHandle<T>);

impl<T> Future for Running<T> {
    type Output = Result<T, JoinError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// CPU time of one attempt, from the clocks of the threads that polled it.
#[derive(Debug, Default)]
pub(crate) struct CpuMeter {
    before_ns: AtomicU64,
    poll_began_ns: AtomicU64,
}

impl CpuMeter {
    /// Awaits the future and counts the CPU time of its polls.
    pub(crate) async fn measure<F: Future>(&self, mut work: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| {
            let began = thread_ns();
            self.poll_began_ns.store(began, Relaxed);
            let polled = work.as_mut().poll(cx);
            self.before_ns.fetch_add(thread_ns().saturating_sub(began), Relaxed);
            polled
        })
        .await
    }
    /// CPU time so far, in microseconds, after the last poll.
    pub(crate) fn spent_us(&self) -> u64 {
        self.before_ns.load(Relaxed) / 1_000
    }
    /// CPU time so far, in milliseconds, from inside a poll.
    pub(crate) fn spent_within_poll_ms(&self) -> u64 {
        let poll = thread_ns().saturating_sub(self.poll_began_ns.load(Relaxed));
        (self.before_ns.load(Relaxed) + poll) / 1_000_000
    }
}

fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
