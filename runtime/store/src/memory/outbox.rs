//! What is owed to webhooks, by the rules of the SQLite store.

use super::state::State;
use crate::outbox::{
    Claimed, Delivery, DeliveryClaim, DeliveryQuery, DeliveryRow, DeliveryWrite, OutboxFault, OutboxReport,
};
use heddle_core::id::Tenant;
use heddle_core::journal::LeaseStanding;
use heddle_core::time::Timestamp;
use heddle_core::webhook::DeliveryId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The rows, each with the node that is sending it.
#[derive(Default)]
pub(super) struct Rows(BTreeMap<DeliveryId, (DeliveryRow, Option<u64>)>);

impl Rows {
    pub(super) fn insert(&mut self, delivery: Delivery) {
        self.0.insert(delivery.id, (DeliveryRow { version: 1, delivery }, None));
    }
    pub(super) fn one(&self, tenant: &Tenant, id: DeliveryId) -> Option<DeliveryRow> {
        self.0.get(&id).map(|(row, _)| row.clone()).filter(|row| row.delivery.tenant == *tenant)
    }
    pub(super) fn page(&self, query: &DeliveryQuery) -> Vec<DeliveryRow> {
        let fits = |row: &&DeliveryRow| {
            let delivery = &row.delivery;
            delivery.tenant == query.tenant
                && query.endpoint.as_ref().is_none_or(|endpoint| *endpoint == delivery.endpoint)
                && query.run.is_none_or(|run| delivery.run == Some(run))
                && query.status.is_none_or(|status| delivery.standing.status() == status)
        };
        let before = query.before.unwrap_or(DeliveryId(u128::MAX));
        let newest_first = self.0.range(..before).rev().map(|(_, (row, _))| row);
        newest_first.filter(fits).take(query.limit as usize).cloned().collect()
    }
    pub(super) fn report(&self) -> OutboxReport {
        let waiting =
            self.0.values().filter(|(row, owner)| owner.is_none() && row.delivery.standing.due().is_some());
        let created: Vec<Timestamp> = waiting.map(|(row, _)| row.delivery.created).collect();
        OutboxReport { waiting: created.len() as u64, oldest: created.into_iter().min() }
    }
    /// Removes at most so many of those that ended before this time.
    pub(super) fn retain(&mut self, before: Timestamp, limit: usize) -> usize {
        let ended = self.0.values().filter_map(|(row, _)| {
            Some((row.delivery.standing.finished()?, row.delivery.id)).filter(|(at, _)| *at < before)
        });
        let mut old: Vec<(Timestamp, DeliveryId)> = ended.collect();
        old.sort_unstable();
        old.truncate(limit);
        old.iter().for_each(|(_, id)| drop(self.0.remove(id)));
        old.len()
    }
}

impl State {
    pub(super) fn put_delivery(&mut self, write: DeliveryWrite) -> Result<u64, OutboxFault> {
        let DeliveryWrite { epoch, expected, delivery } = write;
        if self.leases.standing(epoch, self.clock.steady()) != LeaseStanding::Living {
            return Err(OutboxFault::Fenced { epoch });
        }
        let id = delivery.id;
        let found = self.outbox.one(&delivery.tenant, id).map_or(0, |row| row.version);
        if found != expected {
            return Err(OutboxFault::Conflict { id, expected, found });
        }
        match self.outbox.0.get_mut(&id) {
            Some((row, owner)) => {
                (row.delivery.standing, row.delivery.tries) = (delivery.standing, delivery.tries);
                row.version += 1;
                *owner = None;
            }
            None => self.outbox.insert(delivery),
        }
        Ok(found + 1)
    }

    pub(super) fn claim_deliveries(&mut self, epoch: u64, claim: &DeliveryClaim) -> Claimed {
        let now = self.clock.steady();
        if !self.leases.lives(epoch, now) {
            return Claimed::default();
        }
        for (_, owner) in self.outbox.0.values_mut() {
            *owner = owner.filter(|owner| self.leases.lives(*owner, now));
        }
        let waiting = self.outbox.0.values().filter(|(_, owner)| owner.is_none());
        let mut by_endpoint: BTreeMap<Arc<str>, BTreeSet<(Timestamp, DeliveryId)>> = BTreeMap::new();
        for (row, _) in waiting {
            if let Some(due) = row.delivery.standing.due() {
                by_endpoint.entry(row.delivery.endpoint.clone()).or_default().insert((due, row.delivery.id));
            }
        }
        let (later, earlier): (Vec<_>, Vec<_>) =
            by_endpoint.into_iter().partition(|(endpoint, _)| **endpoint > *claim.after);
        let mut claimed = Claimed::default();
        for (endpoint, rows) in later.into_iter().chain(earlier) {
            let room = claim.room(&endpoint).min(claim.limit - claimed.rows.len() as u32);
            if room == 0 {
                continue;
            }
            let next = rows.iter().find(|(due, _)| *due > claim.now).map(|(due, _)| *due);
            claimed.next = [claimed.next, next].into_iter().flatten().min();
            for (_, id) in rows.iter().take_while(|(due, _)| *due <= claim.now).take(room as usize) {
                if let Some((row, owner)) = self.outbox.0.get_mut(id) {
                    *owner = Some(epoch);
                    claimed.rows.push(row.clone());
                }
            }
        }
        claimed
    }
}
