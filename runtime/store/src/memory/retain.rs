//! Removing what has outlived its time, by the rules of the SQLite store. A run counts as one row here.

use super::state::State;
use crate::model::CachedOutput;
use crate::row::cache_size;
use crate::rules::GRACE_MS;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::time::Timestamp;
use std::collections::BTreeMap;

impl State {
    /// Removes at most `limit` rows.
    pub(super) fn retain(&mut self, before: Timestamp, cache_bytes: u64, limit: usize) -> u64 {
        let now = self.clock.wall();
        let mut removed = self.remove_runs(before, limit);
        let ended =
            self.keys.iter().filter(|(_, (_, claim))| claim.expires <= now).map(|(name, _)| name.clone());
        for name in ended.take(limit - removed).collect::<Vec<_>>() {
            self.keys.remove(&name);
            removed += 1;
        }
        removed += self.outbox.retain(before, limit - removed);
        let ended = self.cache.iter().filter(|(_, entry)| entry.row.expires.is_some_and(|at| at <= now));
        for name in ended.map(|(name, _)| name.clone()).take(limit - removed).collect::<Vec<_>>() {
            self.drop_entry(&name);
            removed += 1;
        }
        for name in self.least_used(cache_bytes).into_iter().take(limit - removed) {
            self.drop_entry(&name);
            removed += 1;
        }
        removed += self.remove_values(now, limit - removed);
        removed as u64
    }

    fn remove_runs(&mut self, before: Timestamp, limit: usize) -> usize {
        let finished = self.runs.iter().filter_map(|(run, entry)| Some((entry.row.finished?, *run)));
        let mut old: Vec<(Timestamp, RunId)> = finished.filter(|(at, _)| *at < before).collect();
        old.sort_unstable();
        old.truncate(limit);
        for (_, run) in &old {
            self.runs.remove(run);
            self.journals.remove(run);
            self.feed.retain(|_, (of, _)| of != run);
            self.inbox.retain(|_, message| message.run != *run);
            self.calls.retain(|(of, ..), _| of != run);
            let held = (Some(*run), Digest([0; 32]))..=(Some(*run), Digest([255; 32]));
            for holder in self.holders.range(held).copied().collect::<Vec<_>>() {
                self.holders.remove(&holder);
                self.let_go(holder.1);
            }
        }
        old.len()
    }

    /// Entries to drop so that each tenant has its share, the longest unused first.
    fn least_used(&self, cache_bytes: u64) -> Vec<(Tenant, Digest)> {
        let mut bytes: BTreeMap<&Tenant, u64> = BTreeMap::new();
        for entry in self.cache.values() {
            *bytes.entry(&entry.row.tenant).or_default() += cache_size(&entry.row);
        }
        let mut by_use: Vec<_> = self.cache.iter().collect();
        by_use.sort_by_key(|(_, entry)| entry.used);
        let mut names = Vec::new();
        for (name, entry) in by_use {
            if let Some(total) = bytes.get_mut(&name.0)
                && *total > cache_bytes
            {
                *total -= cache_size(&entry.row);
                names.push(name.clone());
            }
        }
        names
    }

    /// Marks a value that somebody has let go of.
    pub(super) fn let_go(&mut self, digest: Digest) {
        let now = self.clock.wall();
        if let Some(kept) = self.blobs.get_mut(&digest) {
            kept.orphaned = Some(now);
        }
    }

    fn remove_values(&mut self, now: Timestamp, limit: usize) -> usize {
        let overdue = |at: Timestamp| now.since_ms(at) >= GRACE_MS;
        let marked = self.blobs.iter().filter(|(_, kept)| kept.orphaned.is_some_and(overdue));
        let marked: Vec<Digest> = marked.map(|(digest, _)| *digest).take(limit).collect();
        for digest in &marked {
            let in_cache = self.cache.values().any(
                |entry| matches!(entry.row.output, CachedOutput::Stored { digest: held, .. } if held == *digest),
            );
            if in_cache || self.holders.iter().any(|(_, held)| held == digest) {
                if let Some(kept) = self.blobs.get_mut(digest) {
                    kept.orphaned = None;
                }
            } else {
                self.blobs.remove(digest);
            }
        }
        marked.len()
    }
}
