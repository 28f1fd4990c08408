//! Who holds which lease, in memory: both backends have the store to themselves, so only the epoch counter has to
//! outlive the process. A backend that many processes share keeps the same facts in a table.

use crate::model::Lease;
use heddle_core::journal::LeaseStanding;
use heddle_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The leases there are, by epoch.
#[derive(Debug)]
pub(crate) struct Leases {
    last_epoch: u64,
    held: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    node: Arc<str>,
    expires: Timestamp,
}

impl Leases {
    /// No leases; the next one gets the epoch after this one.
    pub(crate) fn after(last_epoch: u64) -> Leases {
        Leases { last_epoch, held: BTreeMap::new() }
    }
    /// A new lease for the node, or `None` while another of that name lives.
    pub(crate) fn take(&mut self, node: &str, now: Timestamp, ttl_ms: u64) -> Option<Lease> {
        self.held.retain(|_, held| held.expires > now);
        if self.held.values().any(|held| &*held.node == node) {
            return None;
        }
        self.last_epoch += 1;
        let lease = Lease { node: node.into(), epoch: self.last_epoch, expires: now.plus_ms(ttl_ms) };
        self.held.insert(lease.epoch, Held { node: lease.node.clone(), expires: lease.expires });
        Some(lease)
    }
    /// The lease with a later end, or `None` when it has ended already.
    pub(crate) fn renew(&mut self, lease: &Lease, now: Timestamp, ttl_ms: u64) -> Option<Lease> {
        let held =
            self.held.get_mut(&lease.epoch).filter(|held| held.node == lease.node && held.expires > now)?;
        held.expires = now.plus_ms(ttl_ms);
        Some(Lease { expires: held.expires, ..lease.clone() })
    }
    /// Ends the lease.
    pub(crate) fn release(&mut self, lease: &Lease) {
        self.held.remove(&lease.epoch);
    }
    /// Ends all leases, as opening the store anew does.
    pub(crate) fn release_all(&mut self) {
        self.held.clear();
    }
    /// How the lease with this epoch stands.
    pub(crate) fn standing(&self, epoch: u64, now: Timestamp) -> LeaseStanding {
        if self.lives(epoch, now) { LeaseStanding::Living } else { LeaseStanding::Ended }
    }
    /// Whether a lease with this epoch is in force.
    pub(crate) fn lives(&self, epoch: u64, now: Timestamp) -> bool {
        self.held.get(&epoch).is_some_and(|held| held.expires > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ends_by_time_and_its_name_comes_back_with_a_higher_epoch() {
        let mut leases = Leases::after(6);
        let first = leases.take("a", Timestamp(0), 100).unwrap();
        assert_eq!((first.epoch, leases.take("a", Timestamp(99), 100)), (7, None));
        let renewed = leases.renew(&first, Timestamp(50), 100).unwrap();
        assert!(leases.lives(7, Timestamp(149)) && !leases.lives(7, Timestamp(150)));
        assert_eq!(leases.renew(&renewed, Timestamp(150), 100), None);
        assert_eq!(leases.take("a", Timestamp(150), 100).unwrap().epoch, 8);
        assert_eq!(leases.take("b", Timestamp(150), 100).unwrap().epoch, 9);
        assert_eq!(leases.renew(&first, Timestamp(150), 100), None);
    }
}
