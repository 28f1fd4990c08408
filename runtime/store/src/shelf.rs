//! Everything that is kept under a name and is not a run: workflows, plugins, later keys and policies.

use crate::model::{Record, StoreFault};
use crate::outbox::Outbox;
use crate::timetable::Timetable;
use futures_util::future::BoxFuture;
use heddle_core::json::Json;

/// Collections of JSON records with versions. A collection is named by a fixed word and the tenant: see [`collection`].
/// Schedules and what is owed to webhooks have rows of their own, with owners: [`Timetable`], [`Outbox`].
pub trait Shelf: Timetable + Outbox {
    /// One record.
    fn get(&self, collection: &str, key: &str) -> BoxFuture<'static, Result<Option<Record>, StoreFault>>;
    /// Writes a record if it still has this version (0: if there is none yet). Gives the new version;
    /// [`StoreFault::Conflict`] when somebody was faster. Answered after the commit.
    fn put(
        &self,
        collection: &str,
        key: &str,
        expected: u64,
        body: Json,
    ) -> BoxFuture<'static, Result<u64, StoreFault>>;
    /// Records in the order of their keys, after `after`, at most `limit`.
    fn scan(
        &self,
        collection: &str,
        after: &str,
        limit: u32,
    ) -> BoxFuture<'static, Result<Vec<Record>, StoreFault>>;
    /// Removes a record if it still has this version. `false` when there is none.
    fn delete(
        &self,
        collection: &str,
        key: &str,
        expected: u64,
    ) -> BoxFuture<'static, Result<bool, StoreFault>>;
}

/// The name of a tenant's collection.
pub fn collection(word: &str, tenant: &heddle_core::id::Tenant) -> String {
    format!("{word}/{tenant}")
}
