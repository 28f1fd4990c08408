//! The keys that a node keeps, of rates or of circuits: so many, and shared out. Whose calls ask with ever new keys fills
//! its share and is told so; there is always room left for others.

use heddle_core::id::Tenant;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::share::Share;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use tokio::time::Instant;

/// A key of a tenant.
pub(super) type Key = (Tenant, Arc<str>);

/// How many times what is free a tenant may keep in all; a workflow may keep as much as is free. So one workflow alone
/// has at most half of the keys, two have a third each, and what is free never comes to an end by one of them.
const OF_A_TENANT: usize = 4;

/// The keys of one sort.
pub(super) struct Keys<V> {
    kept: HashMap<Key, (V, Share)>,
    by_workflow: HashMap<Share, usize>,
    by_tenant: HashMap<Tenant, usize>,
    most: usize,
    what: &'static str,
    /// Idle ones are not looked for before this time.
    sweep_after: Instant,
}

impl<V> Keys<V> {
    pub(super) fn new(most: u64, what: &'static str) -> Keys<V> {
        Keys {
            kept: HashMap::new(),
            by_workflow: HashMap::new(),
            by_tenant: HashMap::new(),
            most: most as usize,
            what,
            sweep_after: Instant::now(),
        }
    }
    pub(super) fn get(&self, key: &Key) -> Option<&V> {
        self.kept.get(key).map(|(value, _)| value)
    }
    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut V> {
        self.kept.get_mut(key).map(|(value, _)| value)
    }
    /// Those of a tenant, in the order of their keys.
    pub(super) fn of<'a>(&'a self, tenant: &'a Tenant) -> Vec<(&'a Arc<str>, &'a V)> {
        let own = self.kept.iter().filter(|((of, _), _)| of == tenant);
        let mut own: Vec<_> = own.map(|((_, key), (value, _))| (key, value)).collect();
        own.sort_unstable_by_key(|(key, _)| *key);
        own
    }

    /// The value of this key, made anew on the account of whose call asks with it first.
    ///
    /// # Errors
    /// `quota_exceeded` where its workflow, or its tenant, keeps as many as it may; retryable, because keys become idle.
    pub(super) fn of_call(
        &mut self,
        key: &Key,
        share: &Share,
        is_idle: impl Fn(&V) -> bool,
        fresh: impl FnOnce() -> V,
    ) -> Result<&mut V, Failure> {
        if !self.kept.contains_key(key) {
            if self.refusal(share).is_some() {
                self.sweep(is_idle);
            }
            if let Some(refusal) = self.refusal(share) {
                return Err(refusal);
            }
            *self.by_workflow.entry(share.clone()).or_default() += 1;
            *self.by_tenant.entry(share.tenant.clone()).or_default() += 1;
        }
        Ok(&mut self.kept.entry(key.clone()).or_insert_with(|| (fresh(), share.clone())).0)
    }

    /// Why there is no room for one more of this workflow.
    fn refusal(&self, share: &Share) -> Option<Failure> {
        let free = self.most.saturating_sub(self.kept.len());
        let (own, all) = (count(&self.by_workflow, share), count(&self.by_tenant, &share.tenant));
        if own < free && all < free.saturating_mul(OF_A_TENANT) {
            return None;
        }
        let (what, most, workflow) = (self.what, self.most, &share.workflow);
        let message = format!(
            "`{workflow}` has {own} keys of {what} on this node, which is its share of {most} (limit gate_keys); use fewer keys"
        );
        Some(Failure { retryable: true, ..Failure::new(FailureKind::QuotaExceeded, message) })
    }

    /// Forgets the idle ones. All are looked at, so what that costs is a small share of the time.
    fn sweep(&mut self, is_idle: impl Fn(&V) -> bool) {
        let began = Instant::now();
        if began < self.sweep_after {
            return;
        }
        let (by_workflow, by_tenant) = (&mut self.by_workflow, &mut self.by_tenant);
        self.kept.retain(|_, (value, share)| {
            let stays = !is_idle(value);
            if !stays {
                one_less(by_workflow, share);
                one_less(by_tenant, &share.tenant);
            }
            stays
        });
        let now = Instant::now();
        self.sweep_after = now + (now - began) * SWEEP_EVERY;
    }
}

/// How many times as long as looking for idle keys took it is before they are looked for again.
const SWEEP_EVERY: u32 = 20;

fn count<K: Hash + Eq>(counts: &HashMap<K, usize>, of: &K) -> usize {
    counts.get(of).copied().unwrap_or(0)
}
fn one_less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, of: &K) {
    let Some(count) = counts.get_mut(of) else { return };
    *count -= 1;
    if *count == 0 {
        counts.remove(of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(workflow: &str) -> Share {
        Share { tenant: Tenant::default(), workflow: workflow.into() }
    }
    /// Asks with ever new keys until that is refused; gives how many there were.
    fn fill(keys: &mut Keys<bool>, workflow: &str) -> usize {
        let share = share(workflow);
        let ask = |n: &usize| {
            let key = (share.tenant.clone(), format!("{workflow}/{n}").into());
            keys.of_call(&key, &share, |idle| *idle, || false).is_ok()
        };
        (0..10_000).take_while(ask).count()
    }

    #[test]
    fn one_workflow_does_not_use_up_all_keys() {
        let mut keys = Keys::new(1_000, "rate limits");
        assert_eq!(fill(&mut keys, "a/hog"), 500);
        assert_eq!(fill(&mut keys, "a/other"), 250);
        assert!(fill(&mut keys, "a/small") > 0, "there is room for whoever has none");
        let refusal = keys.refusal(&share("a/hog")).unwrap();
        assert!(refusal.retryable && refusal.message.contains("(limit gate_keys)"), "{refusal:?}");
        // A tenant leaves room for others, whatever its workflows are called.
        let mut workflows = 0;
        while fill(&mut keys, &format!("a/{workflows}")) > 0 {
            workflows += 1;
        }
        let other = Share { tenant: Tenant("other".into()), workflow: "a/hog".into() };
        assert!(keys.kept.len() <= 800 && keys.refusal(&other).is_none(), "{}", keys.kept.len());
    }
    #[test]
    fn idle_keys_make_room() {
        let mut keys = Keys::new(10, "rate limits");
        assert_eq!(fill(&mut keys, "a/b"), 5);
        keys.kept.values_mut().for_each(|(idle, _)| *idle = true);
        keys.sweep_after = Instant::now();
        assert_eq!(fill(&mut keys, "a/c"), 5);
        assert_eq!((keys.kept.len(), keys.by_workflow.len(), keys.by_tenant.len()), (5, 1, 1));
    }
}
