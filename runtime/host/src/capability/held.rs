//! What the host holds for a guest: answers that have come and that nobody has taken, and files that its attempt keeps. They are memory of the node, as a
//! guest's own is, and a guest that never takes one pays for it all the same.

use crate::limiter::NodeMemory;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How much of it one attempt has.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    node: Arc<NodeMemory>,
    bytes: Arc<AtomicU64>,
    max: u64,
    /// What they are, and by which limit.
    what: (&'static str, &'static str),
}

/// Some of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    held: Held,
    bytes: u64,
}

impl Held {
    /// Answers that have come and were not taken.
    pub(crate) fn answers(node: Arc<NodeMemory>, max: u64) -> Held {
        let what = ("the answers that have come and were not taken", "http_held_bytes");
        Held { node, bytes: Arc::default(), max, what }
    }
    /// Files that the attempt has kept.
    pub(crate) fn artifacts(node: Arc<NodeMemory>, max: u64) -> Held {
        let what = ("the artifacts of this attempt", "artifacts_bytes");
        Held { node, bytes: Arc::default(), max, what }
    }
    /// Messages of threads, and answers of models that were not taken.
    pub(crate) fn threads(node: Arc<NodeMemory>, max: u64) -> Held {
        let what = ("the messages of all threads, and answers that were not taken,", "model_thread_bytes");
        Held { node, bytes: Arc::default(), max, what }
    }
    /// Holds so many bytes more.
    ///
    /// # Errors
    /// Where that is more than may be, and by which limit.
    pub(crate) fn hold(&self, bytes: u64) -> Result<Hold, String> {
        let fits = |held: u64| held.checked_add(bytes).filter(|&sum| sum <= self.max);
        if self.bytes.fetch_update(Relaxed, Relaxed, fits).is_err() {
            let (max, (what, limit)) = (self.max, self.what);
            return Err(format!("{what} have more than {max} bytes (`limits.{limit}`)"));
        }
        if !self.node.take(bytes) {
            self.bytes.fetch_sub(bytes, Relaxed);
            return Err("the node has no more memory for guests (`limits.guest_memory_bytes`)".to_owned());
        }
        Ok(Hold { held: self.clone(), bytes })
    }
}

impl Hold {
    /// Takes over what another one holds.
    pub(crate) fn add(&mut self, other: Hold) {
        self.bytes += other.bytes;
        // It is given back with this one.
        std::mem::forget(other);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.bytes.fetch_sub(self.bytes, Relaxed);
        self.held.node.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_let_go() {
        let node = Arc::new(NodeMemory::new(100));
        let (one, other) = (Held::answers(node.clone(), 60), Held::answers(node.clone(), 60));
        let first = one.hold(60).unwrap();
        assert!(one.hold(1).unwrap_err().contains("http_held_bytes"));
        assert!(other.hold(60).unwrap_err().contains("guest_memory_bytes"));
        let mut second = other.hold(30).unwrap();
        second.add(other.hold(10).unwrap());
        assert_eq!(node.used(), 100);
        drop((first, second));
        assert_eq!(node.used(), 0);
        assert_eq!(one.hold(60).map(|hold| hold.bytes), Ok(60));
    }
}
