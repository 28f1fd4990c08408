//! The call logs of agents: a stream of entries beside the journal of a run, so that replaying the run stays small.
//!
//! An entry is numbered within its log and never written twice; it is written under the lease of the node that drives the
//! run. The entries of a run, and the values that they name, go when the run goes.

use crate::model::{AppendFault, Blob, StoreFault, Urgency};
use futures_util::future::BoxFuture;
use heddle_core::call_log::Entry;
use heddle_core::id::{Digest, RunId};
use std::sync::Arc;

/// Entries to write, one after another.
#[derive(Clone, Debug)]
pub struct CallAppend {
    /// The run.
    pub run: RunId,
    /// The epoch of the lease under which it is driven.
    pub epoch: u64,
    /// The log: one of the run's.
    pub log: Arc<str>,
    /// How many entries there are before these.
    pub expected: u64,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Values that they name.
    pub blobs: Vec<Blob>,
    /// Values that are there already and that the run holds as well.
    pub holds: Vec<Digest>,
    /// Whether somebody waits for it to be on disk.
    pub urgency: Urgency,
}

/// Which entries are read.
#[derive(Clone, Debug)]
pub struct CallQuery {
    /// The run.
    pub run: RunId,
    /// Only those of this log; of all logs, in the order of their names, where nothing is said.
    pub log: Option<Arc<str>>,
    /// Only those behind this one: a log and a number in it.
    pub after: Option<(Arc<str>, u64)>,
    /// How many at most.
    pub limit: u32,
}

/// An entry, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRow {
    /// The log.
    pub log: Arc<str>,
    /// Its number there, from 1, without gaps.
    pub seq: u64,
    /// The entry.
    pub entry: Entry,
}

/// The call logs.
pub trait CallLogs: Send + Sync + 'static {
    /// Queues entries. The call itself puts them in line, among the appends of the run; the future answers after the
    /// commit. [`AppendFault::Conflict`] where the log has another length, [`AppendFault::Fenced`] where the lease has
    /// ended; nothing is written then.
    fn append_calls(&self, append: CallAppend) -> BoxFuture<'static, Result<(), AppendFault>>;
    /// Entries, in order.
    fn calls(&self, query: CallQuery) -> BoxFuture<'static, Result<Vec<CallRow>, StoreFault>>;
}
