//! Calls with a `start` / `wait` form: the order in which they were started, how many run at once, and which ended first.
//! A call that was started and never taken is dropped with the sandbox, which cancels it.

use crate::refusal::Refusal;
use heddle_core::outcome::FailureKind;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument as _;
use wasmtime::component::{Resource, ResourceTable};

/// The calls that one attempt makes through one capability.
#[derive(Debug)]
pub(crate) struct Calls {
    started: u64,
    max: u64,
    at_once: usize,
    /// Made at the first call: most attempts make none.
    turnstile: Option<Turnstile>,
}

#[derive(Clone, Debug)]
struct Turnstile {
    running: Arc<Semaphore>,
    ended: Arc<AtomicU64>,
    news: Arc<Notify>,
}

impl Calls {
    /// So many in all, and so many at once.
    pub(crate) fn new(max: u64, at_once: u64) -> Calls {
        Calls { started: 0, max, at_once: at_once as usize, turnstile: None }
    }
    /// The number of the next call, from 0; none where there may be no more.
    pub(crate) fn next(&mut self) -> Option<u64> {
        let index = self.started;
        (index < self.max).then(|| {
            self.started += 1;
            index
        })
    }
    /// How many there may be.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }
    /// Starts a call, which waits for its turn.
    pub(crate) fn start<A: Send + 'static>(
        &mut self,
        span: tracing::Span,
        call: impl Future<Output = A> + Send + 'static,
    ) -> Pending<A> {
        let turnstile = self.turnstile();
        let place = Arc::new(AtomicU64::new(0));
        let ends = place.clone();
        let call = async move {
            // Never closed, so the permit is always had in the end.
            let permit = turnstile.running.acquire().await;
            let answer = call.await;
            drop(permit);
            ends.store(turnstile.ended.fetch_add(1, Relaxed) + 1, Relaxed);
            turnstile.news.notify_one();
            answer
        };
        Pending { state: State::Running(tokio::spawn(call.instrument(span))), place }
    }
    /// Told whenever one of them has ended.
    pub(crate) fn news(&mut self) -> Arc<Notify> {
        self.turnstile().news
    }
    fn turnstile(&mut self) -> Turnstile {
        let at_once = self.at_once;
        let make = || Turnstile {
            running: Arc::new(Semaphore::new(at_once)),
            ended: Arc::default(),
            news: Arc::default(),
        };
        self.turnstile.get_or_insert_with(make).clone()
    }
}

/// A call under way: the resource behind a guest's handle.
#[derive(Debug)]
pub(crate) struct Pending<A> {
    state: State<A>,
    /// The place in the order in which calls ended, from 1; 0 while it runs.
    place: Arc<AtomicU64>,
}

#[derive(Debug)]
enum State<A> {
    Running(JoinHandle<A>),
    Taken,
}

impl<A> Drop for Pending<A> {
    fn drop(&mut self) {
        if let State::Running(call) = &self.state {
            call.abort();
        }
    }
}

impl<A> Pending<A> {
    /// The call itself, leaving a taken one behind: an await cannot hold on to the table. None where it was taken.
    pub(crate) fn take(&mut self) -> Option<Running<A>> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Running(call) => Some(Running(call)),
            State::Taken => None,
        }
    }
    /// Its place among those that have ended.
    pub(crate) fn place(&self) -> Arc<AtomicU64> {
        self.place.clone()
    }
}

/// A call that is being awaited: when the sandbox goes, it goes.
#[derive(Debug)]
pub(crate) struct Running<A>(JoinHandle<A>);

impl<A> Drop for Running<A> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<A> Future for Running<A> {
    type Output = Result<A, Refusal>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|ended: Result<A, JoinError>| {
            ended.map_err(|fault| {
                Refusal::new(FailureKind::Internal, format!("a call ended without an answer: {fault}"))
            })
        })
    }
}

/// The index of the call that ended first among these, once one has.
pub(crate) async fn first_ended(news: &Notify, places: &[Arc<AtomicU64>]) -> u32 {
    loop {
        let ended =
            places.iter().map(|place| place.load(Relaxed)).enumerate().filter(|(_, place)| *place > 0);
        if let Some((index, _)) = ended.min_by_key(|(_, place)| *place) {
            return index as u32;
        }
        news.notified().await;
    }
}

/// Where the calls stand that a guest waits for.
///
/// # Errors
/// Where it waits for nothing, or for what is no call.
pub(crate) fn places<A: Send + 'static>(
    table: &ResourceTable,
    calls: &[Resource<Pending<A>>],
) -> wasmtime::Result<Vec<Arc<AtomicU64>>> {
    if calls.is_empty() {
        let message = "`wait` needs at least one call; it was given none";
        return Err(Refusal::new(FailureKind::Trap, message).with_code("empty_wait").into());
    }
    calls.iter().map(|call| Ok(table.get(call)?.place())).collect()
}
