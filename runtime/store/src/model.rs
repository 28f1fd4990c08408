//! The records that cross the seam: plain data, the same for every backend.

use crate::outbox::Delivery;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::event::{Batch, SlotWish};
pub use heddle_core::run::status::{Rest, RunStatus};
use heddle_core::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// The lease of a node, with the epoch that every write carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The node's name.
    pub node: Arc<str>,
    /// Unique in the store: each lease that is taken has a higher one, whatever its name.
    pub epoch: u64,
    /// When it ends unless it is renewed, by the store's clock.
    pub expires: Timestamp,
}

/// The index row of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// Its owner.
    pub tenant: Tenant,
    /// `namespace/name` of the workflow.
    pub workflow: Arc<str>,
    /// Version of the workflow.
    pub workflow_version: Arc<str>,
    /// Digest of the snapshot it owns.
    pub snapshot: Digest,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Who asked for it, where that is known.
    pub by: Option<Arc<str>>,
    /// When it was accepted.
    pub created: Timestamp,
    /// Where it stands.
    pub status: RunStatus,
    /// What it was left for, until its next driver has something to say.
    pub rest: Option<Rest>,
    /// When a node must look at it again, where it waits for a time.
    pub due: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

/// One run of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Listed {
    /// Its index row.
    Run(Box<RunRow>),
    /// A run whose index row cannot be read. It takes nothing from the others.
    Unreadable {
        /// The run.
        run: RunId,
        /// What does not hold.
        why: String,
    },
}

impl Listed {
    /// The run.
    pub fn run(&self) -> RunId {
        match self {
            Listed::Run(row) => row.run,
            Listed::Unreadable { run, .. } => *run,
        }
    }
    /// Its row, where it can be read.
    pub fn row(self) -> Option<RunRow> {
        match self {
            Listed::Run(row) => Some(*row),
            Listed::Unreadable { .. } => None,
        }
    }
}

/// A value to keep under its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// A cache entry: the fingerprint of a step's input to the output that it gave.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheRow {
    /// The fingerprint.
    pub key: Digest,
    /// The owner.
    pub tenant: Tenant,
    /// The output, where it is small; otherwise its digest in the values.
    pub output: CachedOutput,
    /// When it was stored.
    pub stored: Timestamp,
    /// When it ends, where it has a time to live.
    pub expires: Option<Timestamp>,
    /// The run that computed it.
    pub source_run: RunId,
}

/// Where a cached output is.
#[derive(Clone, Debug, PartialEq)]
pub enum CachedOutput {
    /// Here.
    Inline(Json),
    /// Among the values.
    Stored {
        /// Its digest.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
}

/// One append: what one decision of one run changes, all of it or nothing.
#[derive(Clone, Debug)]
pub struct Append {
    /// The run.
    pub run: RunId,
    /// The epoch of the lease under which it was decided.
    pub epoch: u64,
    /// The number of rows that the journal had when it was decided; this row becomes `expected + 1`.
    pub expected: u64,
    /// The facts.
    pub batch: Batch,
    /// What becomes of the index row.
    pub index: IndexChange,
    /// Values to keep.
    pub blobs: Vec<Blob>,
    /// Values that are there already and that the run holds as well.
    pub holds: Vec<Digest>,
    /// Cache entries to keep.
    pub cache: Vec<CacheRow>,
    /// Inbox messages that this decision consumed.
    pub consumed: Vec<u64>,
    /// Messages that are sent with it.
    pub mail: Vec<Mail>,
    /// What is owed to webhooks by it.
    pub deliveries: Vec<Delivery>,
    /// For an acceptance: the events that the run is told of while it lives, by name.
    pub listens: Vec<Arc<str>>,
    /// For an acceptance: the idempotency keys to claim.
    pub idempotency: Vec<IdempotencyClaim>,
    /// For an acceptance: where the run stands among those that no node has taken yet. With slots, at any time before
    /// it begins: it asks for them.
    pub queue: Option<Box<Queue>>,
    /// Whether somebody waits for it to be on disk.
    pub urgency: Urgency,
}

/// How soon an append has to be on disk. The order of a run's appends never depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits: a caller, or an effect that this append allows.
    Now,
    /// Nobody waits. A store may keep it for [`LINGER`] so that it shares a flush with what comes after it.
    Later,
}

/// The gauge of appends that were handed to a store and are not on disk yet.
pub const APPENDS_WAITING: &str = "heddle_journal_appends_waiting";

/// The longest that an append is kept from the disk for company's sake.
pub const LINGER: std::time::Duration = std::time::Duration::from_millis(10);

/// What an append does to the index row.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexChange {
    /// Nothing.
    None,
    /// Makes it; only with `expected` 0. Claimed by the appending node unless `status` is queued.
    Create(Box<RunRow>),
    /// The run goes on with another version of its workflow. Nothing else changes.
    Moved {
        /// The version.
        version: Arc<str>,
        /// The snapshot that it owns from now on.
        snapshot: Digest,
    },
    /// Changes status, due time and end.
    Update {
        /// The new status.
        status: RunStatus,
        /// What it is left for, where its driver goes.
        rest: Option<Rest>,
        /// The new due time.
        due: Option<Timestamp>,
        /// The end, with a terminal status.
        finished: Option<Timestamp>,
    },
}

/// An idempotency key that an acceptance claims for its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyClaim {
    /// The key, as the client gave it.
    pub key: Arc<str>,
    /// Digest of the request.
    pub request: Digest,
    /// When the key is free again.
    pub expires: Timestamp,
}

/// Where a run stands among those that wait to begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// From 1; 1 goes first.
    pub level: u8,
    /// Runs of the tenant with the same key take turns with those of other keys.
    pub fairness_key: Arc<str>,
    /// How many turns such a run is worth, against 1; positive.
    pub weight: f64,
    /// The slots that it begins with. It finds a message in its inbox when it has all of them (`{"admitted":{}}`), and
    /// one where it is to make room for a newer run (`{"evicted":{"key":...}}`).
    pub slots: Vec<SlotWish>,
}

/// Why an append was not made. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendFault {
    /// The journal has another version: somebody else appended, or an earlier append of this run failed.
    #[error("the journal of run {run} is at {found}, not at {expected}")]
    Conflict {
        /// The run.
        run: RunId,
        /// The version it was decided on.
        expected: u64,
        /// The version there is.
        found: u64,
    },
    /// The node's lease has ended or been taken.
    #[error("the lease with epoch {epoch} has ended")]
    Fenced {
        /// The epoch that the append carried.
        epoch: u64,
    },
    /// The idempotency key belongs to this run already.
    #[error("the idempotency key belongs to run {run}")]
    Duplicate {
        /// The key.
        key: Arc<str>,
        /// The run that has it.
        run: RunId,
        /// Whether that run was made by the same request.
        same_request: SameRequest,
    },
    /// The run is not to wait for a slot, and there is none.
    #[error("{limit} runs have a slot of `{key}` already; the oldest is {holder}")]
    SlotsTaken {
        /// The key.
        key: Arc<str>,
        /// How many may have one.
        limit: u32,
        /// The oldest run that has one.
        holder: RunId,
    },
    /// The store is shutting down or broken; the process should end.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
}

/// Whether an idempotency key came with the request that it came with before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameRequest {
    /// The same.
    Yes,
    /// Another.
    No,
}

/// Why a read did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// A row's checksum or form does not hold.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// Which row.
        what: String,
        /// What does not hold.
        why: String,
    },
    /// The store was written by a newer program.
    #[error("the store has schema {found}; this program knows up to {known}: start the newer program")]
    NewerSchema {
        /// What is there.
        found: u32,
        /// What this program knows.
        known: u32,
    },
    /// Another process has the store open.
    #[error("the data folder `{0}` is in use by another process")]
    InUse(String),
    /// The store does not answer.
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    /// Somebody changed it in between.
    #[error("`{0}` was changed by somebody else in between; read it again")]
    Conflict(String),
}

/// One row of a journal.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalRow {
    /// Its place in the run, from 1, without gaps.
    pub seq: u64,
    /// The facts.
    pub batch: Batch,
}

/// Something from outside for a run: consumed by its driver in an append of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place in the inbox.
    pub id: u64,
    /// The run.
    pub run: RunId,
    /// Chosen by the sender: the same one twice is one message.
    pub unique: Arc<str>,
    /// What it says, as JSON.
    pub body: Json,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Who gets it.
    pub to: Recipient,
    /// Chosen by the sender: the same one twice is one message until it is consumed.
    pub unique: Arc<str>,
    /// What it says, as JSON.
    pub body: Json,
}

/// Who gets a message. Runs that do not exist or have ended get none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// This run.
    Run(RunId),
    /// Every run of the tenant that was accepted as listening to the event of this name.
    Listeners(Tenant, Arc<str>),
}

impl Mail {
    /// A message to one run.
    pub fn to(run: RunId, unique: impl Into<Arc<str>>, body: Json) -> Mail {
        Mail { to: Recipient::Run(run), unique: unique.into(), body }
    }
}

/// Which runs a list shows. Newest first.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// The owner.
    pub tenant: Tenant,
    /// Only with one of these statuses; empty for all.
    pub status: Vec<RunStatus>,
    /// Only of this `namespace/name`.
    pub workflow: Option<String>,
    /// Only of this version of it.
    pub version: Option<String>,
    /// Only with this label.
    pub label: Option<(String, String)>,
    /// Only those that have a slot of this key. Nothing else is asked for then.
    pub slot: Option<Arc<str>>,
    /// Only those that hold this value. Nothing else is asked for then.
    pub holding: Option<Digest>,
    /// Only before this run, in the order of the list.
    pub before: Option<RunId>,
    /// How many at most.
    pub limit: u32,
}

/// What a store says of itself, for `doctor` and `/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreReport {
    /// `memory` or `sqlite`.
    pub backend: String,
    /// Where it is.
    pub place: String,
    /// Bytes of the main file.
    pub bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Commits since the start.
    pub commits: u64,
    /// Appends since the start.
    pub appends: u64,
    /// Appends that wait for a commit.
    pub queued: u64,
    /// Runs by status.
    pub runs: std::collections::BTreeMap<String, u64>,
    /// Runs that no node drives, where they were counted.
    #[serde(skip_serializing)]
    pub waiting: WaitingRuns,
    /// What an integrity check found; empty when nothing.
    pub damage: Vec<String>,
}

/// How many runs no node drives, by what they wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingRuns {
    /// A node.
    pub node: u64,
    /// A slot of their `concurrency`.
    pub slot: u64,
    /// The time at which they are to begin.
    pub time: u64,
    /// They have begun, and are parked.
    pub parked: u64,
}

/// A record of a [`crate::Shelf`] collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key within the collection.
    pub key: String,
    /// Grows by one with each change; 1 when new.
    pub version: u64,
    /// What it holds, as JSON.
    pub body: Json,
}
