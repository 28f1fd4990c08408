//! Where a driver meets the outside: what comes in by the inbox, and what is told once it is on disk.

use super::{Driver, Exit};
use crate::bus::Told;
use crate::read::RunDetail;
use heddle_core::run::event::{Batch, Event};
use heddle_core::run::public::public_events;
use heddle_store::AppendFault;
use std::sync::Arc;

impl Driver {
    /// Takes the messages of the run's inbox into one append.
    pub(super) async fn read_inbox(&mut self) -> Result<(), Exit> {
        let mut messages = self.shared.store.inbox(self.run.id).await.map_err(Exit::Unreadable)?;
        // Those whose append is still on its way lie there until it is committed. Their numbers only grow.
        messages.retain(|message| message.id > self.last_message);
        if messages.is_empty() || self.run.is_finished() {
            return Ok(());
        }
        let mut inputs = Vec::new();
        for message in &messages {
            if let Some(moving) = crate::inbox::migration_of(&message.body) {
                // It stays in the inbox until it has been done, or refused.
                self.last_message = message.id;
                self.moving.push((message.id, moving));
                continue;
            }
            match crate::inbox::input_of(&message.body) {
                Some(input) => inputs.push(input),
                None => {
                    tracing::error!(run = %self.run.id, message = message.id, "a message of the inbox cannot be read; it is dropped")
                }
            }
            self.last_message = message.id;
            self.consumed.push(message.id);
        }
        if inputs.is_empty() && self.consumed.is_empty() {
            return Ok(());
        }
        self.settle(inputs, Vec::new(), None).await
    }

    pub(super) async fn committed(&mut self, seq: u64, result: Result<u64, AppendFault>) -> Result<(), Exit> {
        if let Err(fault) = result {
            return Err(Exit::Lost(fault));
        }
        let free = self.gate.committed(seq);
        if self.gate.may_tell(1)
            && let Some(accepted) = self.accepted.take()
        {
            let _ = accepted.send(Ok(()));
        }
        while self.untold.front().is_some_and(|row| self.gate.may_tell(row.seq)) {
            if let Some(row) = self.untold.pop_front() {
                self.tell(row.seq, &row.batch);
                row.reached.iter().for_each(|to| self.shared.has_mail(to));
                if row.is_owed {
                    self.shared.webhooks.ring();
                }
            }
        }
        for (node, attempt) in free {
            self.begin(node, attempt).await?;
        }
        Ok(())
    }

    pub(super) fn tell(&mut self, seq: u64, batch: &Batch) {
        for event in &batch.events {
            self.shared.meters.recorded(event, batch.at, &self.run);
            if let Some(step) = event.ends_step() {
                self.spans.remove(&step);
            }
        }
        if self.shared.bus.is_heard(self.run.id) {
            let events = public_events(seq, batch, self.snapshot.told(self.run.id));
            self.shared.bus.tell(self.run.id, Told::Committed(Arc::new(events)));
        }
        if let Some(Event::RunFinished { finish, .. }) = batch.events.last() {
            let view = self.run.view();
            let took = batch.at.since_ms(view.created_at);
            self.shared.meters.run_ended(*finish, took);
            self.shared.note_pace(self.snapshot.plan.digest, took);
            self.done.send_replace(Some(Arc::new(RunDetail::new(view, self.snapshot.clone(), None))));
        }
    }
}
