//! The rows of schedules, by the rules of the SQLite store.

use super::state::State;
use crate::timetable::{ScheduleFault, ScheduleRow, ScheduleWrite};
use heddle_core::id::Tenant;
use heddle_core::journal::LeaseStanding;
use std::collections::BTreeMap;

/// The rows, and the last version that was given.
#[derive(Default)]
pub(super) struct Rows {
    last_version: u64,
    pub(super) by_id: BTreeMap<(Tenant, String), ScheduleRow>,
}

impl Rows {
    pub(super) fn page(&self, tenant: &Tenant, after: &str, limit: u32) -> Vec<ScheduleRow> {
        let rows = self.by_id.values().filter(|row| row.tenant == *tenant && *row.id > *after);
        rows.take(limit as usize).cloned().collect()
    }
}

impl State {
    pub(super) fn put_schedule(&mut self, write: ScheduleWrite) -> Result<u64, ScheduleFault> {
        let ScheduleWrite { epoch, tenant, id, expected, body } = write;
        if self.leases.standing(epoch, self.clock.steady()) != LeaseStanding::Living {
            return Err(ScheduleFault::Fenced { epoch });
        }
        let name = (tenant.clone(), id.clone());
        let found = self.schedules.by_id.get(&name).map_or(0, |row| row.version);
        if found != expected {
            return Err(ScheduleFault::Conflict { id, expected, found });
        }
        self.schedules.last_version += 1;
        let version = self.schedules.last_version;
        match body {
            Some(body) => {
                let row = ScheduleRow { tenant, id, version, owner: Some(epoch), body };
                self.schedules.by_id.insert(name, row);
            }
            None => drop(self.schedules.by_id.remove(&name)),
        }
        Ok(version)
    }

    pub(super) fn claim_schedules(&mut self, epoch: u64, limit: u32) -> Vec<ScheduleRow> {
        let now = self.clock.steady();
        if !self.leases.lives(epoch, now) {
            return Vec::new();
        }
        let mut left: Vec<&mut ScheduleRow> = self
            .schedules
            .by_id
            .values_mut()
            .filter(|row| !row.owner.is_some_and(|owner| self.leases.lives(owner, now)))
            .collect();
        left.sort_by_key(|row| row.owner);
        left.truncate(limit as usize);
        let taken = left.into_iter().map(|row| {
            row.owner = Some(epoch);
            row.clone()
        });
        taken.collect()
    }
}
