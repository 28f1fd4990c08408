//! What the memory store keeps, and the same rules that the SQLite store writes as SQL.

use super::Damage;
use crate::clock::StoreClock;
use crate::feed::{FeedPage, FeedQuery, FeedRow};
use crate::leases::Leases;
use crate::model::*;
use crate::row::{self, Coded};
use crate::rules::{in_turn, is_driven, wake};
use crate::run_store::ReportDepth;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::journal::{Refusal, admit};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A run's index row and who drives it.
pub(super) struct Entry {
    pub(super) row: RunRow,
    pub(super) owner: Option<u64>,
    pub(super) wake: Option<Timestamp>,
    /// Level and place of a run that no node has taken yet.
    pub(super) line: Option<(u8, i64)>,
}

/// A value, and when somebody last let go of it.
pub(super) struct Kept {
    pub(super) bytes: Arc<[u8]>,
    pub(super) orphaned: Option<Timestamp>,
}

/// A cache entry and when it was last used.
pub(super) struct Cached {
    pub(super) row: CacheRow,
    pub(super) used: Timestamp,
    checksum: i64,
}

/// Everything.
pub(super) struct State {
    pub(super) clock: StoreClock,
    pub(super) leases: Leases,
    pub(super) commits: u64,
    pub(super) appends: u64,
    pub(super) journals: BTreeMap<RunId, Vec<Coded>>,
    /// The rows of all journals in the order of their commits: run and row.
    pub(super) feed: BTreeMap<u64, (RunId, u64)>,
    /// The last place of it that was given.
    pub(super) position: u64,
    pub(super) runs: BTreeMap<RunId, Entry>,
    pub(super) inbox: BTreeMap<u64, Message>,
    /// Which runs are told of an event: tenant, name, run.
    pub(super) listeners: BTreeSet<(Tenant, Arc<str>, RunId)>,
    pub(super) last_message: u64,
    pub(super) keys: BTreeMap<(Tenant, Arc<str>), (RunId, IdempotencyClaim)>,
    pub(super) blobs: BTreeMap<Digest, Kept>,
    /// Who holds which value; `None` for good.
    pub(super) holders: BTreeSet<(Option<RunId>, Digest)>,
    pub(super) cache: BTreeMap<(Tenant, Digest), Cached>,
    pub(super) shelf: BTreeMap<(String, String), Record>,
    pub(super) schedules: super::timetable::Rows,
    pub(super) slots: super::slots::Slots,
    pub(super) outbox: super::outbox::Rows,
    pub(super) calls: super::calls::Rows,
}

impl State {
    pub(super) fn new(clock: StoreClock) -> State {
        State {
            clock,
            leases: Leases::after(0),
            commits: 0,
            appends: 0,
            journals: BTreeMap::new(),
            feed: BTreeMap::new(),
            position: 0,
            runs: BTreeMap::new(),
            inbox: BTreeMap::new(),
            listeners: BTreeSet::new(),
            last_message: 0,
            keys: BTreeMap::new(),
            blobs: BTreeMap::new(),
            holders: BTreeSet::new(),
            cache: BTreeMap::new(),
            shelf: BTreeMap::new(),
            schedules: super::timetable::Rows::default(),
            slots: super::slots::Slots::default(),
            outbox: super::outbox::Rows::default(),
            calls: super::calls::Rows::default(),
        }
    }

    pub(super) fn append(&mut self, append: Append) -> Result<u64, AppendFault> {
        let (run, expected) = (append.run, append.expected);
        let found = self.journals.get(&run).map_or(0, |rows| rows.len() as u64);
        match admit(expected, found, self.leases.standing(append.epoch, self.clock.steady())) {
            Ok(()) => {}
            Err(Refusal::Fenced) => return Err(AppendFault::Fenced { epoch: append.epoch }),
            Err(Refusal::Conflict) => return Err(AppendFault::Conflict { run, expected, found }),
        }
        if let IndexChange::Create(row) = &append.index
            && let Some(refusal) = self.refusal(row, &append)
        {
            return Err(refusal);
        }
        let seq = expected + 1;
        let coded = row::encode(run, seq, &append.batch)
            .map_err(|error| AppendFault::Unavailable(format!("the facts have no encoding: {error}")))?;
        self.journals.entry(run).or_default().push(coded);
        self.position += 1;
        self.feed.insert(self.position, (run, seq));
        let named = row::references(&append.batch).into_iter().chain(append.holds);
        self.hold(run, append.blobs, named);
        for row in append.cache {
            self.drop_entry(&(row.tenant.clone(), row.key));
            let (checksum, used) = (row::cache_checksum(&row), self.clock.wall());
            self.cache.insert((row.tenant.clone(), row.key), Cached { row, used, checksum });
        }
        for id in append.consumed {
            if self.inbox.get(&id).is_some_and(|message| message.run == run) {
                self.inbox.remove(&id);
            }
        }
        if let IndexChange::Create(row) = &append.index
            && !row.status.is_terminal()
        {
            let names = append.listens.into_iter().map(|event| (row.tenant.clone(), event, run));
            self.listeners.extend(names);
        }
        self.change_index((run, append.epoch), append.index, append.idempotency, append.queue.as_deref());
        for mail in append.mail {
            self.send(mail);
        }
        append.deliveries.into_iter().for_each(|delivery| self.outbox.insert(delivery));
        if let Some(queue) = append.queue.filter(|queue| !queue.slots.is_empty())
            && let Some(entry) = self.runs.get(&run)
        {
            let tenant = entry.row.tenant.clone();
            self.ask(run, &tenant, &queue);
        }
        self.appends += 1;
        Ok(seq)
    }

    /// Why the run is not accepted.
    fn refusal(&self, row: &RunRow, append: &Append) -> Option<AppendFault> {
        for claim in &append.idempotency {
            let key = claim.key.clone();
            if let Some((owner, held)) = self.keys.get(&(row.tenant.clone(), key.clone()))
                && held.expires > append.batch.at
                && self.runs.contains_key(owner)
            {
                let same = held.request == claim.request;
                let same_request = if same { SameRequest::Yes } else { SameRequest::No };
                return Some(AppendFault::Duplicate { key, run: *owner, same_request });
            }
        }
        self.slots.refusal(&row.tenant, append.queue.as_deref()?)
    }

    fn change_index(
        &mut self,
        (run, epoch): (RunId, u64),
        change: IndexChange,
        claims: Vec<IdempotencyClaim>,
        queue: Option<&Queue>,
    ) {
        match change {
            IndexChange::None => {}
            IndexChange::Create(row) => {
                for claim in claims {
                    self.keys.insert((row.tenant.clone(), claim.key.clone()), (run, claim));
                }
                let is_new = row.status == RunStatus::Queued;
                let driven = is_driven(row.status);
                let wake = wake(row.status, row.due, row.created);
                let queue = queue.filter(|_| is_new);
                let line = queue.map(|queue| (queue.level, self.slots.place(&row.tenant, queue)));
                self.runs.insert(run, Entry { row: *row, owner: driven.then_some(epoch), wake, line });
            }
            IndexChange::Moved { version, snapshot } => {
                if let Some(entry) = self.runs.get_mut(&run) {
                    (entry.row.workflow_version, entry.row.snapshot) = (version, snapshot);
                }
            }
            IndexChange::Update { status, rest, due, finished } => {
                let Some(entry) = self.runs.get_mut(&run) else { return };
                (entry.row.status, entry.row.rest, entry.row.due) = (status, rest, due);
                entry.wake = wake(status, due, entry.row.created);
                if status.is_terminal() {
                    (entry.row.finished, entry.owner) = (finished, None);
                    self.inbox.retain(|_, message| message.run != run);
                    self.listeners.retain(|(_, _, listener)| *listener != run);
                    self.give_back(run);
                }
            }
        }
    }

    pub(super) fn journal(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreFault> {
        let rows = self.journals.get(&run).map_or(&[][..], Vec::as_slice);
        let page = (1u64..).zip(rows).skip(after as usize).take(limit as usize);
        page.map(|(seq, coded)| row::decode(run, seq, coded)).collect()
    }

    pub(super) fn committed(&self, query: &FeedQuery) -> FeedPage {
        let mut page = FeedPage { upto: query.after, ..FeedPage::default() };
        let mut looked_at = 0;
        for (position, (run, seq)) in self.feed.range(query.after + 1..).take(query.limit as usize) {
            (looked_at, page.upto) = (looked_at + 1, *position);
            let (Some(entry), Some(rows)) = (self.runs.get(run), self.journals.get(run)) else { continue };
            let (index, Some(coded)) = (&entry.row, rows.get(*seq as usize - 1)) else { continue };
            if query.wants(&index.tenant.0, &index.workflow) {
                page.rows.push(FeedRow {
                    position: *position,
                    run: *run,
                    tenant: index.tenant.clone(),
                    workflow: index.workflow.clone(),
                    snapshot: index.snapshot,
                    row: row::decode(*run, *seq, coded).map_err(|fault| fault.to_string()),
                });
            }
        }
        page.more = looked_at == query.limit;
        page
    }

    pub(super) fn query(&self, query: &RunQuery) -> Vec<RunRow> {
        let before = query.before.unwrap_or(RunId(u128::MAX));
        let fits = |row: &&RunRow| {
            row.tenant == query.tenant
                && (query.status.is_empty() || query.status.contains(&row.status))
                && query.workflow.as_deref().is_none_or(|workflow| *workflow == *row.workflow)
                && query.version.as_deref().is_none_or(|version| *version == *row.workflow_version)
                && query.label.as_ref().is_none_or(|label| row.labels.contains(label))
                && query.holding.is_none_or(|digest| self.holders.contains(&(Some(row.run), digest)))
                && query.slot.as_ref().is_none_or(|key| self.slots.has(&query.tenant, key, row.run))
        };
        let newest_first = self.runs.range(..before).rev().map(|(_, entry)| &entry.row);
        newest_first.filter(fits).take(query.limit as usize).cloned().collect()
    }

    pub(super) fn claim(&mut self, epoch: u64, limit: usize) -> Vec<RunRow> {
        let (steady, wall) = (self.clock.steady(), self.clock.wall());
        if !self.leases.lives(epoch, steady) {
            return Vec::new();
        }
        let (mut left_behind, mut ready, mut in_line) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.runs.values() {
            match entry.owner {
                Some(owner) if !self.leases.lives(owner, steady) => left_behind.push(entry),
                None if entry.line.is_some() => in_line.push(entry),
                None if entry.wake.is_some_and(|wake| wake <= wall) => ready.push(entry),
                _ => {}
            }
        }
        left_behind.sort_by_key(|entry| (entry.owner, entry.row.run));
        ready.sort_by_key(|entry| (entry.wake, entry.row.run));
        in_line.sort_by_key(|entry| entry.line);
        let rows = |entries: Vec<&Entry>| entries.into_iter().map(|entry| entry.row.clone()).collect();
        let ready = in_turn(rows(ready), rows(in_line), limit);
        let chosen = in_turn(rows(left_behind), ready, limit);
        for row in &chosen {
            if let Some(entry) = self.runs.get_mut(&row.run) {
                entry.owner = Some(epoch);
                if let Some((_, place)) = entry.line.take() {
                    self.slots.has_turn(place);
                }
            }
        }
        chosen
    }

    pub(super) fn release(&mut self, epoch: u64, runs: &[RunId]) {
        let now = self.clock.wall();
        for run in runs {
            let has_message = self.inbox.values().any(|message| message.run == *run);
            if let Some(entry) = self.runs.get_mut(run).filter(|entry| entry.owner == Some(epoch)) {
                entry.owner = None;
                entry.wake = if has_message { Some(now) } else { entry.wake };
            }
        }
    }

    pub(super) fn send(&mut self, mail: Mail) -> u64 {
        let runs: Vec<RunId> = match &mail.to {
            Recipient::Run(run) => vec![*run],
            Recipient::Listeners(tenant, event) => {
                let named = self.listeners.iter().filter(|(t, e, _)| t == tenant && e == event);
                named.map(|(_, _, run)| *run).collect()
            }
        };
        let mut reached = 0;
        for run in runs {
            reached += u64::from(self.send_to(run, mail.unique.clone(), mail.body.clone()));
        }
        reached
    }
    fn send_to(&mut self, run: RunId, unique: Arc<str>, body: Json) -> bool {
        let now = self.clock.wall();
        let Some(entry) = self.runs.get_mut(&run).filter(|entry| !entry.row.status.is_terminal()) else {
            return false;
        };
        if entry.owner.is_none() {
            entry.wake = Some(entry.wake.map_or(now, |wake| wake.min(now)));
        }
        if !self.inbox.values().any(|message| message.run == run && message.unique == unique) {
            self.last_message += 1;
            self.inbox.insert(self.last_message, Message { id: self.last_message, run, unique, body });
        }
        true
    }

    pub(super) fn blob(&self, digest: Digest) -> Result<Option<Arc<[u8]>>, StoreFault> {
        match self.blobs.get(&digest) {
            Some(kept) if Digest::of(&kept.bytes) != digest => {
                let why = "its bytes have another digest".to_owned();
                Err(StoreFault::Damaged { what: format!("value {digest}"), why })
            }
            kept => Ok(kept.map(|kept| kept.bytes.clone())),
        }
    }
    /// Keeps values for a run, and holds others for it that it names.
    pub(super) fn hold(&mut self, run: RunId, blobs: Vec<Blob>, named: impl Iterator<Item = Digest>) {
        let digests = named.chain(blobs.iter().map(|blob| blob.digest));
        self.holders.extend(digests.map(|digest| (Some(run), digest)));
        for blob in blobs {
            self.blobs.entry(blob.digest).or_insert(Kept { bytes: blob.bytes, orphaned: None });
        }
    }

    pub(super) fn keep(&mut self, blob: Blob) {
        self.holders.insert((None, blob.digest));
        self.blobs.entry(blob.digest).or_insert(Kept { bytes: blob.bytes, orphaned: None });
    }

    pub(super) fn cached(&mut self, tenant: &Tenant, key: Digest, now: Timestamp) -> Option<CacheRow> {
        let name = (tenant.clone(), key);
        let used = self.clock.wall();
        let entry = self.cache.get_mut(&name)?;
        if row::cache_checksum(&entry.row) != entry.checksum {
            self.drop_entry(&name);
            return None;
        }
        if entry.row.expires.is_some_and(|at| at <= now) {
            return None;
        }
        entry.used = used;
        Some(entry.row.clone())
    }
    pub(super) fn drop_entry(&mut self, name: &(Tenant, Digest)) {
        if let Some(entry) = self.cache.remove(name)
            && let CachedOutput::Stored { digest, .. } = entry.row.output
        {
            self.let_go(digest);
        }
    }

    pub(super) fn put(
        &mut self,
        name: (String, String),
        expected: u64,
        body: Json,
    ) -> Result<u64, StoreFault> {
        if self.shelf.get(&name).map_or(0, |record| record.version) != expected {
            return Err(StoreFault::Conflict(name.1));
        }
        let record = Record { key: name.1.clone(), version: expected + 1, body };
        self.shelf.insert(name, record);
        Ok(expected + 1)
    }
    pub(super) fn scan(&self, collection: &str, after: &str, limit: usize) -> Vec<Record> {
        let from = (collection.to_owned(), after.to_owned());
        let records = self.shelf.range(from..).take_while(|(name, _)| name.0 == collection);
        records.map(|(_, record)| record).filter(|record| *record.key > *after).take(limit).cloned().collect()
    }
    pub(super) fn delete(&mut self, name: (String, String), expected: u64) -> Result<bool, StoreFault> {
        match self.shelf.get(&name) {
            None => Ok(false),
            Some(record) if record.version != expected => Err(StoreFault::Conflict(name.1)),
            Some(_) => Ok(self.shelf.remove(&name).is_some()),
        }
    }

    pub(super) fn report(&self, depth: ReportDepth) -> StoreReport {
        let mut report = StoreReport {
            backend: "memory".into(),
            place: "memory".into(),
            commits: self.commits,
            appends: self.appends,
            ..StoreReport::default()
        };
        if depth == ReportDepth::Waiting {
            for entry in self.runs.values() {
                let waiting = &mut report.waiting;
                match (entry.row.status, entry.row.rest) {
                    (RunStatus::Queued, _) => waiting.node += 1,
                    (_, Some(Rest::Slot)) => waiting.slot += 1,
                    (_, Some(Rest::Time)) => waiting.time += 1,
                    (_, Some(Rest::Parked)) => waiting.parked += 1,
                    (_, None) => {}
                }
            }
        }
        if depth == ReportDepth::Deep {
            for entry in self.runs.values() {
                *report.runs.entry(entry.row.status.word().into()).or_default() += 1;
            }
        }
        report
    }

    pub(super) fn damage(&mut self, what: &Damage) {
        match what {
            Damage::Journal(run, seq) => {
                if let Some(coded) =
                    self.journals.get_mut(run).and_then(|rows| rows.get_mut(*seq as usize - 1))
                {
                    let body = String::from_utf8_lossy(&coded.body).replace("\"attempt\":1", "\"attempt\":2");
                    coded.body = body.into_bytes();
                }
            }
            Damage::Blob(digest) => {
                if let Some(kept) = self.blobs.get_mut(digest) {
                    let mut bytes = kept.bytes.to_vec();
                    bytes.reverse();
                    bytes.push(0);
                    kept.bytes = bytes.into();
                }
            }
            Damage::Cache(tenant, key) => {
                if let Some(entry) = self.cache.get_mut(&(tenant.clone(), *key)) {
                    entry.checksum ^= 1;
                }
            }
        }
    }
}
