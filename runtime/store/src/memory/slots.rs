//! Who may begin, by the same rules that the SQLite store writes as SQL (`sqlite/slots.rs`).

use super::state::State;
use crate::model::{AppendFault, Mail, Queue};
use crate::rules::{SHARE, admitted, evicted, leaves};
use heddle_core::id::{RunId, Tenant};
use heddle_core::plan::OnLimit;
use heddle_core::run::event::SlotWish;
use heddle_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The slots, and the places that were given out.
#[derive(Default)]
pub(super) struct Slots {
    keys: BTreeMap<(Tenant, Arc<str>), BTreeMap<RunId, Seat>>,
    shares: BTreeMap<(Tenant, Arc<str>), i64>,
    turn: i64,
}

#[derive(Clone, Copy)]
struct Seat {
    most: u32,
    level: u8,
    place: i64,
    asked: Timestamp,
    held: bool,
    told: bool,
}

impl Slots {
    fn held(&self, tenant: &Tenant, key: &Arc<str>) -> Vec<RunId> {
        let seats = self.keys.get(&(tenant.clone(), key.clone()));
        seats.into_iter().flatten().filter(|(_, seat)| seat.held).map(|(run, _)| *run).collect()
    }
    pub(super) fn has(&self, tenant: &Tenant, key: &Arc<str>, run: RunId) -> bool {
        self.held(tenant, key).contains(&run)
    }
    fn is_full(&self, tenant: &Tenant, key: &Arc<str>, most: u32) -> bool {
        self.held(tenant, key).len() >= most as usize
    }
    pub(super) fn refusal(&self, tenant: &Tenant, queue: &Queue) -> Option<AppendFault> {
        let strict = queue.slots.iter().filter(|wish| wish.on_limit == OnLimit::Reject);
        strict.into_iter().find_map(|wish| {
            let held = self.held(tenant, &wish.key);
            let holder = *held.first().filter(|_| held.len() >= wish.limit as usize)?;
            Some(AppendFault::SlotsTaken { key: wish.key.clone(), limit: wish.limit, holder })
        })
    }
    pub(super) fn place(&mut self, tenant: &Tenant, queue: &Queue) -> i64 {
        let last = self.shares.entry((tenant.clone(), queue.fairness_key.clone())).or_default();
        *last = (*last).max(self.turn) + (SHARE / queue.weight) as i64;
        *last
    }
    pub(super) fn has_turn(&mut self, place: i64) {
        self.turn = self.turn.max(place);
    }
    /// Marks every seat of a run.
    fn seats_of(&mut self, run: RunId) -> impl Iterator<Item = (&(Tenant, Arc<str>), &mut Seat)> {
        self.keys.iter_mut().filter_map(move |(key, seats)| Some((key, seats.get_mut(&run)?)))
    }
    fn can_begin(&self, tenant: &Tenant, run: RunId) -> bool {
        let own = self.keys.iter().filter(|((of, _), _)| of == tenant);
        own.filter_map(|((_, key), seats)| Some((key, seats.get(&run)?)))
            .all(|(key, seat)| !self.is_full(tenant, key, seat.most))
    }
}

impl State {
    pub(super) fn ask(&mut self, run: RunId, tenant: &Tenant, queue: &Queue) {
        let room = queue.slots.iter().all(|wish| !self.slots.is_full(tenant, &wish.key, wish.limit));
        let (place, asked) = (self.slots.place(tenant, queue), self.clock.wall());
        for wish in &queue.slots {
            let seat = Seat { most: wish.limit, level: queue.level, place, asked, held: room, told: false };
            let seats = self.slots.keys.entry((tenant.clone(), wish.key.clone())).or_default();
            seats.entry(run).or_insert(seat);
        }
        if room {
            self.slots.has_turn(place);
            self.send(Mail::to(run, "admitted", admitted()));
            return;
        }
        let goes = queue.slots.iter().filter(|wish| leaves(wish.on_limit));
        let full = |wish: &&&SlotWish| self.slots.is_full(tenant, &wish.key, wish.limit);
        if let Some(wish) = goes.into_iter().find(|wish| full(&wish)) {
            return self.evict(wish, run);
        }
        for wish in queue.slots.iter().filter(|wish| wish.on_limit == OnLimit::CancelOldest) {
            let seats = self.slots.keys.get(&(tenant.clone(), wish.key.clone()));
            let untold = seats.into_iter().flatten().filter(|(_, seat)| !seat.told);
            let mut newest: Vec<(Timestamp, RunId)> = untold.map(|(run, seat)| (seat.asked, *run)).collect();
            newest.sort_unstable_by(|a, b| b.cmp(a));
            newest.into_iter().skip(wish.limit as usize).for_each(|(_, run)| self.evict(wish, run));
        }
    }
    fn evict(&mut self, wish: &SlotWish, run: RunId) {
        self.slots.seats_of(run).for_each(|(_, seat)| seat.told = true);
        self.send(Mail::to(run, "evicted", evicted(&wish.key)));
    }
    pub(super) fn give_back(&mut self, run: RunId) {
        let had: Vec<(Tenant, Arc<str>)> =
            self.slots.seats_of(run).filter(|(_, seat)| seat.held).map(|(key, _)| key.clone()).collect();
        self.slots.keys.retain(|_, seats| {
            seats.remove(&run);
            !seats.is_empty()
        });
        for name in had {
            let waiting = self.slots.keys.get(&name).into_iter().flatten();
            let mut waiting: Vec<(u8, i64, RunId)> = waiting
                .filter(|(_, seat)| !seat.held && !seat.told)
                .map(|(run, seat)| (seat.level, seat.place, *run))
                .collect();
            waiting.sort_unstable();
            let next = waiting.into_iter().find(|(_, _, run)| self.slots.can_begin(&name.0, *run));
            if let Some((_, place, next)) = next {
                self.slots.seats_of(next).for_each(|(_, seat)| seat.held = true);
                self.slots.has_turn(place);
                self.send(Mail::to(next, "admitted", admitted()));
            }
        }
    }
}
