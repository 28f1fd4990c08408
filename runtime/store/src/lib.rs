//! Where the journal lives. Two traits: [`RunStore`] for runs and their journals, [`Shelf`] for everything that is
//! kept under a name. Every backend passes the one suite in [`conformance`].
//!
//! The rules that every backend keeps:
//! - An append is one transaction: journal row, index row, values, cache rows, what is owed to
//!   webhooks. It is answered after the commit.
//! - It carries the version it was decided on and the epoch of the node's lease. Another version or an ended epoch is
//!   a [`AppendFault::Conflict`] or [`AppendFault::Fenced`]: a normal answer, nothing was written.
//! - Appends of one run handed over one after another are committed in that order; once one fails, those queued
//!   behind it fail too, because their versions no longer fit.
//! - A failure to commit for any other reason is fatal: the process must end. A flush is never tried again.

pub mod calls;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod feed;
mod leases;
pub mod memory;
pub mod model;
pub mod outbox;
mod row;
mod rules;
pub mod run_store;
pub mod shelf;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod timetable;

pub use calls::{CallAppend, CallLogs, CallQuery, CallRow};
pub use clock::StoreClock;
pub use feed::{Feed, FeedPage, FeedQuery, FeedRow};
pub use memory::MemoryStore;
pub use model::*;
pub use outbox::Outbox;
pub use run_store::{ReportDepth, RunStore};
pub use shelf::Shelf;
#[cfg(feature = "sqlite")]
pub use sqlite::inspect::{DamagedRun, Inspection, inspect};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteStore};
pub use timetable::{ScheduleFault, ScheduleRow, ScheduleWrite, Timetable};
