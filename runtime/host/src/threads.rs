//! The threads that run guests: a runtime of their own, at lower priority, so that drivers and the API never wait
//! behind a guest. A guest gives way at every epoch tick, and whose turn it is then goes by share (`turns`).

use crate::cpu::thread_ns;
use crate::turns::{InTurn, Turns};
use heddle_core::share::Share;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
