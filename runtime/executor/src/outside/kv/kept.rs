//! What a node knows of the values that its plugins keep: how many there are, who writes which, and the next version.

use super::For;
use heddle_core::id::Tenant;
use heddle_core::time::Timestamp;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as Turn, MutexGuard, RwLock, RwLockReadGuard};

/// Writers of one plugin that need not wait for each other, where their keys differ.
const TURNS: usize = 64;
/// Bits of a version below the milliseconds of its time.
const WITHIN_MS: u32 = 10;

/// A plugin of a tenant.
type Owner = (Tenant, Arc<str>);

/// The values of every plugin, as far as this node has to do with them.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    plugins: Mutex<HashMap<Owner, Arc<Keeper>>>,
    newest: AtomicU64,
}

impl Kept {
    pub(super) fn of(&self, who: &For) -> Arc<Keeper> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.entry((who.tenant.clone(), who.plugin.clone())).or_default().clone()
    }
    /// A version that no value has had: the time, and one more than any that was given. So a value that is written
    /// again after it was deleted has not the version of the one before.
    pub(super) fn next_version(&self, now: Timestamp, before: u64) -> u64 {
        let floor = (now.0 << WITHIN_MS).max(before + 1);
        let given = self
            .newest
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| Some(floor.max(newest + 1)))
            .unwrap_or_default();
        floor.max(given + 1)
    }
}

/// The values of one plugin.
#[derive(Debug)]
pub(super) struct Keeper {
    /// Who changes which values there are holds it shared; who counts them, alone.
    changing: RwLock<()>,
    turns: [Turn<()>; TURNS],
    count: Mutex<Option<u64>>,
}

impl Default for Keeper {
    fn default() -> Keeper {
        Keeper {
            changing: RwLock::default(),
            turns: std::array::from_fn(|_| Turn::default()),
            count: Mutex::default(),
        }
    }
}

/// Whether there is room for one more value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It is taken: whoever has it writes the value, or gives the room back.
    Taken,
    /// As far as is known there is none, or nobody has counted.
    Unknown,
}

impl Keeper {
    /// The turn of a key: writers of the same one come after each other.
    pub(super) async fn turn(&self, key: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        self.turns[hasher.finish() as usize % TURNS].lock().await
    }
    /// Held while a value comes or goes.
    pub(super) async fn change(&self) -> RwLockReadGuard<'_, ()> {
        self.changing.read().await
    }
    /// Takes room for one more.
    pub(super) fn take(&self, most: u64) -> Room {
        match &mut *self.counted() {
            Some(count) if *count < most => {
                *count += 1;
                Room::Taken
            }
            _ => Room::Unknown,
        }
    }
    /// One is gone, or has not come.
    pub(super) fn give_back(&self) {
        if let Some(count) = &mut *self.counted() {
            *count = count.saturating_sub(1);
        }
    }
    /// Counts while nobody changes anything.
    pub(super) async fn recount<E>(&self, counting: impl Future<Output = Result<u64, E>>) -> Result<u64, E> {
        let _alone = self.changing.write().await;
        let count = counting.await?;
        *self.counted() = Some(count);
        Ok(count)
    }
    fn counted(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_version_is_given_twice() {
        let (kept, now) = (Kept::default(), Timestamp(1_000));
        let first = kept.next_version(now, 0);
        assert_eq!(first, 1_000 << WITHIN_MS);
        assert_eq!(kept.next_version(now, 0), first + 1, "in the same millisecond");
        assert_eq!(kept.next_version(Timestamp(5), 0), first + 2, "by a clock that was set back");
        assert_eq!(Kept::default().next_version(Timestamp(5), first), first + 1, "after a restart as well");
    }

    #[tokio::test]
    async fn room_is_taken_once() {
        let keeper = Keeper::default();
        assert_eq!(keeper.take(2), Room::Unknown, "nobody has counted");
        keeper.recount(async { Ok::<_, ()>(1) }).await.unwrap();
        assert_eq!([keeper.take(2), keeper.take(2)], [Room::Taken, Room::Unknown]);
        keeper.give_back();
        assert_eq!(keeper.take(2), Room::Taken);
    }
}
