//! What a run is owed, done: attempts begin as soon as the gate lets them, and their ends come back as inputs.

use super::{Driver, Exit};
use crate::attempt::{self, AttemptCall, AttemptResult};
use crate::parts::{Begin, Held};
use crate::telemetry as t;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::{FutureExt, StreamExt};
use heddle_core::id::Digest;
use heddle_core::json::Json;
use heddle_core::run::event::{CacheVerdict, Node};
use heddle_core::run::{Action, Change, Ended, Input};
use heddle_store::{Blob, StoreFault};
use metrics::counter;
use tracing::{Instrument as _, Span};

impl Driver {
    /// An attempt's end as the core takes it; the output goes where its size says.
    pub(super) fn ended(&mut self, result: AttemptResult) -> Input {
        let AttemptResult { node, attempt, outcome, usage, cache, keep } = result;
        self.over.extend(self.handles.remove(&(node, attempt)).map(|(_, held)| held));
        let end = match outcome {
            Err(failure) => Ended::Failed(failure),
            Ok(output) => {
                let fresh = !matches!(cache, CacheVerdict::Hit { .. });
                let payload = self.payload(&output, fresh);
                if let Some((key, expires)) = keep {
                    self.cache.push(self.cache_row(key, expires, &payload));
                }
                Ended::Done(payload)
            }
        };
        Input::AttemptEnded { node, attempt, end, cache, usage }
    }

    /// Does what is newly owed, and stops what is no longer wanted.
    pub(super) async fn act(&mut self) -> Result<(), Exit> {
        for change in self.run.take_changes() {
            match change {
                Change::Owed(Action::Wake { timer, at }) => drop(self.timers.insert((at, timer))),
                Change::Dropped(Action::Wake { timer, at }) => drop(self.timers.remove(&(at, timer))),
                Change::Owed(Action::Invoke { node, attempt }) => {
                    let nature = self.snapshot.plan.nature_of(node.step);
                    if let Some((node, attempt)) = self.gate.ask(nature, (node, attempt)) {
                        self.begin(node, attempt).await?;
                    }
                }
                Change::Dropped(Action::Invoke { node, attempt }) => {
                    self.gate.retain(|held| *held != (node, attempt));
                    if let Some((handle, held)) = self.handles.remove(&(node, attempt)) {
                        handle.abort();
                        self.over.push(held);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) async fn begin(&mut self, node: Node, attempt: u32) -> Result<(), Exit> {
        if self.draining || !self.run.pending().contains(&Action::Invoke { node, attempt }) {
            return Ok(());
        }
        let needs = self.run.needs_for(node, &self.values);
        self.fetch(&needs).await?;
        let accepted = self.run.accepted().cloned();
        let (tenant, traceparent) =
            accepted.as_ref().map(|a| (a.tenant.clone(), a.traceparent.clone())).unwrap_or_default();
        let held = Held::default();
        let future: BoxFuture<'static, AttemptResult> = match self.run.input_of(node, &self.values) {
            Err(failure) => {
                let result = AttemptResult {
                    node,
                    attempt,
                    outcome: Err(failure),
                    usage: Default::default(),
                    cache: CacheVerdict::Off,
                    keep: None,
                };
                std::future::ready(result).boxed()
            }
            Ok(input) => {
                let call = AttemptCall {
                    tenant,
                    run: self.run.id,
                    node,
                    attempt,
                    snapshot: self.snapshot.clone(),
                    alternative: self.run.alternative(node),
                    input,
                    traceparent,
                    default_timeout: accepted.and_then(|a| a.defaults?.attempt_timeout),
                    suspect: self.run.interruptions(node) > 0,
                    begin: if self.attempts.is_empty() { Begin::Here } else { Begin::Apart },
                    held: held.clone(),
                };
                match attempt::from_memory(&self.shared, &call) {
                    Some(result) => std::future::ready(result).boxed(),
                    None => attempt::run(self.shared.clone(), call).boxed(),
                }
            }
        };
        let future = match tracing::enabled!(tracing::Level::DEBUG) {
            true => future.instrument(self.attempt_span(node, attempt)).boxed(),
            false => future,
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert((node, attempt), (handle, held));
        self.attempts.push(Abortable::new(future, registration));
        if attempt > 1 {
            counter!(t::RETRIES).increment(1);
        }
        Ok(())
    }

    /// Takes over the large values that the run computed by itself.
    pub(super) fn take_made(&mut self) {
        for (digest, json) in self.run.take_made() {
            self.blobs.push(Blob { digest, bytes: json.text().as_bytes().into() });
            self.values.insert(digest, json);
        }
    }

    /// Waits for the disk where the values at hand have become too many: they can be read again then.
    pub(super) async fn breathe(&mut self) -> Result<(), Exit> {
        if self.values.size() <= super::VALUES_BYTES {
            return Ok(());
        }
        while let Some((seq, result)) = self.appends.next().await {
            self.committed(seq, result).await?;
        }
        self.values.clear();
        Ok(())
    }

    pub(super) async fn fetch(&mut self, digests: &[Digest]) -> Result<(), Exit> {
        // What is not handed over and committed yet cannot be fetched again.
        let all_kept = self.appends.is_empty() && self.blobs.is_empty();
        if !digests.is_empty() && all_kept && self.values.size() > super::VALUES_BYTES {
            self.values.clear();
        }
        for digest in digests {
            if self.values.contains(digest) {
                continue;
            }
            let damaged = |why: &str| {
                Exit::Unreadable(StoreFault::Damaged { what: format!("value {digest}"), why: why.to_owned() })
            };
            let bytes = self
                .shared
                .store
                .blob(*digest)
                .await
                .map_err(Exit::Unreadable)?
                .ok_or_else(|| damaged("it is missing"))?;
            let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is not text"))?;
            self.values.insert(*digest, Json::trusted(text));
        }
        Ok(())
    }

    /// The span of an attempt, in that of its step, which lasts for all its attempts and items.
    fn attempt_span(&mut self, node: Node, attempt: u32) -> Span {
        let step = &self.snapshot.plan.steps[node.step as usize];
        let around =
            self.spans.entry(node.step).or_insert_with(|| tracing::debug_span!("step", id = &*step.id));
        let plugin = self
            .snapshot
            .plan
            .call_at(node.step, self.run.alternative(node))
            .map(|(_, call)| call.to_string());
        tracing::debug_span!(parent: &*around, "attempt", number = attempt, item = node.item, plugin)
    }
}
