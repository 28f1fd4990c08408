//! What a driver hands to the store: facts in rows, with the values, cache entries and index changes that belong to them.

use super::{Driver, Untold};
use crate::inbox::Message;
use crate::submit::line;
use crate::triggers::{self, Source};
use crate::webhooks::outbox::owed;
use futures_util::FutureExt;
use heddle_core::id::Digest;
use heddle_core::journal::Nature;
use heddle_core::json::Json;
use heddle_core::run::event::{Batch, Event, Parent, Payload};
use heddle_core::run::{Action, Change, Emitted, Ended};
use heddle_core::time::Timestamp;
use heddle_store::outbox::Delivery;
use heddle_store::{
    Append, Blob, CacheRow, CachedOutput, IndexChange, Mail, Recipient, RunRow, RunStatus, Urgency,
};
use std::time::Instant;

impl Driver {
    pub(super) fn payload(&mut self, output: &Json, fresh: bool) -> Payload {
        let limits = &self.shared.limits;
        let most = if self.inline < limits.run_inline_bytes {
            limits.inline_bytes
        } else {
            limits.inline_bytes.min(1024)
        };
        if output.size() as u64 <= most {
            self.inline += output.size() as u64;
            return Payload::Inline(output.clone());
        }
        let digest = output.digest();
        self.values.insert(digest, output.clone());
        // What came from the cache by digest is among the values already; what was inline there may not be.
        if fresh || output.size() as u64 <= self.shared.limits.inline_bytes {
            self.blobs.push(Blob { digest, bytes: output.text().as_bytes().into() });
        }
        Payload::Stored { digest, size: output.size() as u64 }
    }
    pub(super) fn cache_row(&self, key: Digest, expires: Option<Timestamp>, payload: &Payload) -> CacheRow {
        let output = match payload {
            Payload::Stored { digest, size } => CachedOutput::Stored { digest: *digest, size: *size },
            Payload::Inline(json) => CachedOutput::Inline(json.clone()),
            Payload::Derived => CachedOutput::Inline(Json::null()),
        };
        let tenant = self.run.accepted().map(|a| a.tenant.clone()).unwrap_or_default();
        CacheRow { key, tenant, output, stored: self.shared.now(), expires, source_run: self.run.id }
    }

    pub(super) fn hand_over(&mut self, now: Timestamp, events: Vec<Event>, index: Option<IndexChange>) {
        let index = match index {
            Some(IndexChange::Create(row)) => IndexChange::Create(self.opening_row(row, now)),
            Some(change) => change,
            None => self.index_change(now),
        };
        let urgency = self.urgency(&index);
        let batch = Batch { at: now, events };
        let expected = self.gate.decided();
        let seq = self.gate.handed_over();
        let sent = self.sent();
        let accepted = self.run.accepted().map(|accepted| &**accepted);
        let mut deliveries = owed(&self.shared, &self.snapshot, (self.run.id, seq), &batch, accepted);
        deliveries.extend(self.owed_to_triggers(&sent, &batch));
        let mail = self.mail(sent);
        let reached = mail.iter().map(|mail| mail.to.clone()).collect();
        let is_owed = !deliveries.is_empty();
        // Its time has come: what it has waited for so far is asked for now.
        let due = batch.events.contains(&Event::RunDue {}).then(|| self.run.held_back()).flatten();
        let queue = due.map(|queue| Box::new(line(queue.place.clone(), queue.slots.clone())));
        self.untold.push_back(Untold { seq, batch: batch.clone(), held: Vec::new(), reached, is_owed });
        let since = Instant::now();
        let answer = self.shared.store.append(Append {
            run: self.run.id,
            epoch: self.shared.epoch(),
            expected,
            batch,
            index,
            blobs: std::mem::take(&mut self.blobs),
            holds: std::mem::take(&mut self.holds),
            cache: std::mem::take(&mut self.cache),
            consumed: std::mem::take(&mut self.consumed),
            mail,
            deliveries,
            listens: std::mem::take(&mut self.listens),
            idempotency: vec![],
            queue,
            urgency,
        });
        self.shared.meters.appends.increment(1);
        let shared = self.shared.clone();
        self.appends.push_back(
            async move {
                let result = answer.await;
                shared.meters.append_seconds.record(since.elapsed());
                shared.bus.feed.ring();
                (seq, result)
            }
            .boxed(),
        );
    }
    /// The events that the next append sends, each with its place in the run: what makes it the only one.
    fn sent(&mut self) -> Vec<(String, Emitted)> {
        let steps = &self.snapshot.plan.steps;
        let placed = |sent: Emitted| {
            let item = sent.node.item.map(|item| format!("/{item}")).unwrap_or_default();
            (format!("{}{item}", steps[sent.node.step as usize].id), sent)
        };
        self.run.take_emitted().into_iter().map(placed).collect()
    }
    /// The runs that these facts start.
    fn owed_to_triggers(&self, sent: &[(String, Emitted)], batch: &Batch) -> Vec<Delivery> {
        let Some(accepted) = self.run.accepted().filter(|_| self.shared.triggers.any()) else {
            return Vec::new();
        };
        let plan = &self.snapshot.plan;
        let version = plan.version.to_string();
        let source = Source { run: self.run.id, workflow: &self.snapshot.workflow, version, accepted };
        let mut owed = triggers::owed_by_events(&self.shared, &source, sent, batch.at);
        let output = || match self.run.end_as_child() {
            Some(Ended::Done(output)) => self.values.get(&output),
            _ => None,
        };
        let step_id = |step: u32| plan.steps[step as usize].id.clone();
        owed.extend(triggers::owed_by_end(&self.shared, &source, &batch.events, batch.at, output, step_id));
        owed
    }
    /// What others are told with the next append: runs that nobody waits for any more, and whoever waits for this one.
    fn mail(&mut self, sent: Vec<(String, Emitted)>) -> Vec<Mail> {
        let orphans = self.run.take_orphans().into_iter();
        let mut mail: Vec<Mail> = orphans
            .map(|orphan| {
                let (by, force) = (format!("run:{}", self.run.id).into(), orphan.force);
                let reason = orphan.left_by.reason().into();
                Mail::to(orphan.run, "cancel/parent", Message::Cancel { by, reason, force }.body())
            })
            .collect();
        let run = self.run.id;
        let tenant = self.run.accepted().map(|accepted| accepted.tenant.clone()).unwrap_or_default();
        mail.extend(sent.into_iter().map(|(place, sent)| {
            let unique = format!("event/{run}/{place}").into();
            let by = format!("run:{run}").into();
            let body = Message::Event { name: sent.event.clone(), by, data: sent.data }.body();
            Mail { to: Recipient::Listeners(tenant.clone(), sent.event), unique, body }
        }));
        if !self.end_is_told
            && let (Some(end), Some(parent)) = (self.run.end_as_child(), self.parent())
        {
            self.end_is_told = true;
            let told = Message::child_ended(&parent, end).body();
            mail.push(Mail::to(parent.run, format!("child/{}", self.run.id), told));
        }
        mail
    }
    fn parent(&self) -> Option<Box<Parent>> {
        self.run.accepted().and_then(|accepted| accepted.parent.clone())
    }
    /// Whether somebody waits for what is about to be handed over: whoever asked for the run or for its end, an effect
    /// that this row allows, or the driver itself, because it is far ahead of the disk.
    pub(super) fn urgency(&self, index: &IndexChange) -> Urgency {
        let effect = |change: &Change| match change {
            Change::Owed(Action::Child { .. }) => true,
            Change::Owed(Action::Invoke { node, .. }) => {
                self.snapshot.plan.nature_of(node.step) == Nature::Effect
            }
            _ => false,
        };
        let ahead = self.gate.decided() - self.gate.durable() >= self.shared.limits.run_unsynced_events / 2;
        let asked = !self.consumed.is_empty() || *index != IndexChange::None;
        match asked || ahead || self.draining || self.run.changes().iter().any(effect) {
            true => Urgency::Now,
            false => Urgency::Later,
        }
    }
    /// The index row of a run that may have ended within its first append.
    pub(super) fn opening_row(&self, mut row: Box<RunRow>, now: Timestamp) -> Box<RunRow> {
        if let Some(finish) = self.run.finish() {
            (row.status, row.finished) = (RunStatus::from(finish), Some(now));
        }
        row
    }
    pub(super) fn index_change(&mut self, now: Timestamp) -> IndexChange {
        match self.run.finish() {
            Some(finish) => IndexChange::Update {
                status: RunStatus::from(finish),
                rest: None,
                due: None,
                finished: Some(now),
            },
            None if self.index == RunStatus::Running => IndexChange::None,
            None => {
                self.index = RunStatus::Running;
                IndexChange::Update { status: RunStatus::Running, rest: None, due: None, finished: None }
            }
        }
    }
}
