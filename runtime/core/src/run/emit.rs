//! Events that steps send to whoever listens in their tenant. They leave with the append that makes the step succeed:
//! all of it or nothing.

use super::Run;
use super::event::{Event, Node, Payload};
use crate::json::Json;
use crate::outcome::{Failure, FailureKind};
use crate::plan::Verb;
use std::sync::Arc;

/// An event on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The step or item that sends it.
    pub node: Node,
    /// Its name.
    pub event: Arc<str>,
    /// What it says.
    pub data: Json,
}

impl Run {
    /// What has been sent since this was asked last: it belongs into the append of the facts that were decided since.
    pub fn take_emitted(&mut self) -> Vec<Emitted> {
        std::mem::take(&mut self.emitted)
    }
    /// Notes what these facts send, as long as the values are in them.
    pub(super) fn note_emitted(&mut self, events: &[Event]) {
        for event in events {
            let Event::StepSucceeded { node, attempt: 0, output: Payload::Inline(data), .. } = event else {
                continue;
            };
            if let Some(Verb::Emit(emit)) = self.plan.steps.get(node.step as usize).map(|step| &step.verb) {
                self.emitted.push(Emitted { node: *node, event: emit.event.clone(), data: data.clone() });
            }
        }
    }
    /// What is wrong with sending so many bytes.
    pub(super) fn event_too_large(&self, data: &Payload) -> Option<Failure> {
        let most = self.limits.event_bytes;
        match data {
            Payload::Inline(json) if json.size() as u64 > most => {
                let message = format!("the event has {} bytes; the limit event_bytes is {most}", json.size());
                Some(Failure::new(FailureKind::QuotaExceeded, message))
            }
            _ => None,
        }
    }
}
