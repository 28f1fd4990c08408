//! Who is told what happens. Only what is committed is told, and only where somebody listens: a run without a
//! subscriber costs a look into a map.

use crate::feed::Feed;
use crate::telemetry as t;
use heddle_core::id::RunId;
use heddle_core::run::public::PublicEvent;
use metrics::counter;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Something for the subscribers of a run.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// The events of one committed row.
    Committed(Arc<Vec<PublicEvent>>),
    /// Something that is not kept: progress, a log line.
    Transient(Arc<PublicEvent>),
}

/// The subscribers of every run, and of all of them.
#[derive(Debug)]
pub(crate) struct Bus {
    pub(crate) feed: Feed,
    runs: Mutex<HashMap<RunId, broadcast::Sender<Told>>>,
    backlog: usize,
    most: usize,
}

/// There are too many subscribers already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManySubscribers;

impl Bus {
    /// A bus whose subscribers may be so far behind, for at most so many of them.
    pub(crate) fn new(backlog: usize, most: usize) -> Bus {
        let backlog = backlog.max(1);
        Bus { feed: Feed::new(backlog), runs: Mutex::new(HashMap::new()), backlog, most }
    }
    /// Listens to a run from now on.
    pub(crate) fn listen(&self, run: RunId) -> Result<broadcast::Receiver<Told>, TooManySubscribers> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, sender| sender.receiver_count() > 0);
        if count(&runs) + self.feed.listeners() >= self.most {
            return Err(TooManySubscribers);
        }
        Ok(runs.entry(run).or_insert_with(|| broadcast::channel(self.backlog).0).subscribe())
    }
    /// Whether there is room for one more who listens.
    pub(crate) fn may_listen(&self) -> Result<(), TooManySubscribers> {
        match self.listeners() >= self.most {
            true => Err(TooManySubscribers),
            false => Ok(()),
        }
    }
    /// Whether anybody listens to this run.
    pub(crate) fn is_heard(&self, run: RunId) -> bool {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(&run).is_some_and(|s| s.receiver_count() > 0)
    }
    /// Tells whoever listens.
    pub(crate) fn tell(&self, run: RunId, told: Told) {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = runs.get(&run) {
            counter!(t::EVENTS_PUBLISHED).increment(1);
            // Nobody may be left; that is no fault.
            let _ = sender.send(told);
        }
    }
    /// Subscribers now.
    pub(crate) fn listeners(&self) -> usize {
        count(&self.runs.lock().unwrap_or_else(PoisonError::into_inner)) + self.feed.listeners()
    }
}

fn count(runs: &HashMap<RunId, broadcast::Sender<Told>>) -> usize {
    runs.values().map(broadcast::Sender::receiver_count).sum()
}
