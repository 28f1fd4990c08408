//! A few threads that each own something, such as a connection for reading, and do one piece of blocking work after
//! another with it. A connection is thereby used by one thread only and never has to be fetched or given back.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

type Piece<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The threads.
pub(super) struct Threads<S> {
    shared: Arc<Shared<S>>,
    handles: Vec<JoinHandle<()>>,
}

struct Shared<S> {
    waiting: Mutex<Waiting<S>>,
    changed: Condvar,
}

struct Waiting<S> {
    pieces: VecDeque<Piece<S>>,
    closed: bool,
}

impl<S: Send + 'static> Threads<S> {
    /// One thread for each of these.
    pub(super) fn start(name: &str, owned: Vec<S>) -> std::io::Result<Threads<S>> {
        let waiting = Mutex::new(Waiting { pieces: VecDeque::new(), closed: false });
        let shared = Arc::new(Shared { waiting, changed: Condvar::new() });
        let mut threads = Threads { shared: shared.clone(), handles: Vec::new() };
        for (number, own) in owned.into_iter().enumerate() {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            threads.handles.push(thread.spawn(move || shared.work(own))?);
        }
        Ok(threads)
    }
    /// Has one of the threads do this. The receiver fails if the work panics or the threads have ended.
    pub(super) fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (answer, receiver) = oneshot::channel();
        let mut waiting = self.shared.lock();
        if !waiting.closed {
            waiting.pieces.push_back(Box::new(move |own| {
                let _ = answer.send(work(own));
            }));
            self.shared.changed.notify_one();
        }
        receiver
    }
}

impl<S> Threads<S> {
    /// Waits until all that was asked for is done, and ends the threads.
    pub(super) fn finish(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, Waiting<S>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn work(&self, mut own: S) {
        loop {
            let mut waiting = self.lock();
            let piece = loop {
                match waiting.pieces.pop_front() {
                    Some(piece) => break piece,
                    None if waiting.closed => return,
                    None => waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(waiting);
            let _ = catch_unwind(AssertUnwindSafe(|| piece(&mut own)));
        }
    }
}

impl<S> Drop for Threads<S> {
    fn drop(&mut self) {
        self.finish();
    }
}
