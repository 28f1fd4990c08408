//! What a run is owed, done: attempts begin as soon as the gate lets them, and their ends come back as inputs.

use super::{Driver, Exit};
use crate::attempt::{self, AttemptCall, AttemptResult};
use crate::children::{self, Heritage};
use crate::gates::Ahead;
use crate::outside::Files;
use crate::parts::{Begin, Held};
use crate::telemetry as t;
use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::{FutureExt, StreamExt};
use heddle_core::id::{Digest, RunId};
use heddle_core::json::Json;
use heddle_core::outcome::Failure;
use heddle_core::run::event::{CacheVerdict, Node, Parent, Payload};
use heddle_core::run::rerun::Imports;
use heddle_core::run::{Action, Change, Ended, Input};
use heddle_store::{Blob, RunStore, StoreFault};
use metrics::counter;
use std::sync::Arc;
use tracing::{Instrument as _, Span};

impl Driver {
    /// An attempt's end as the core takes it; the output goes where its size says.
    pub(super) fn ended(&mut self, result: AttemptResult) -> Input {
        let AttemptResult { node, attempt, outcome, usage, cache, keep, files: (artifacts, bytes) } = result;

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
        // The core will decide the same: what there is no room for is not written either.
        if self.run.too_much(&end, &artifacts).is_none() {
            self.blobs.extend(bytes);
        }
        Input::AttemptEnded { node, attempt, end, cache, usage, artifacts }
    }

    /// Does what is newly owed, and stops what is no longer wanted.
    pub(super) async fn act(&mut self) -> Result<(), Exit> {
        for change in self.run.take_changes() {
            match change {
                Change::Owed(Action::Wake { timer, at }) => drop(self.timers.insert((at, timer))),
                Change::Dropped(Action::Wake { timer, at }) => drop(self.timers.remove(&(at, timer))),
                Change::Owed(Action::Invoke { node, attempt } | Action::Child { node, attempt }) => {
                    let nature = self.snapshot.plan.nature_of(node.step);
                    if let Some((node, attempt)) = self.gate.ask(nature, (node, attempt)) {
                        self.begin(node, attempt).await?;
                    }
                }
                Change::Dropped(Action::Invoke { node, attempt } | Action::Child { node, attempt }) => {
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
        if self.run.pending().contains(&Action::Child { node, attempt }) {
            return self.begin_child(node, attempt).await;
        }
        if self.draining || !self.run.pending().contains(&Action::Invoke { node, attempt }) {
            return Ok(());
        }
        let needs = self.run.needs_for(node, &self.values);
        self.fetch(&needs).await?;
        let accepted = self.run.accepted().cloned();
        let (tenant, traceparent) =
            accepted.as_ref().map(|a| (a.tenant.clone(), a.traceparent.clone())).unwrap_or_default();
        let held = Held::default();
        let future: BoxFuture<'static, AttemptResult> = match self.wanted(node) {
            Err(failure) => std::future::ready(failed((node, attempt), failure)).boxed(),
            Ok((input, ahead)) => {
                let call = AttemptCall {
                    tenant,
                    run: self.run.id,
                    node,
                    attempt,
                    snapshot: self.snapshot.clone(),
                    alternative: self.run.alternative(node),
                    within: None,
                    turn: self.run.candidate(node),
                    log: self.run.call_log(node),
                    charged: self.run.charged(node),
                    spent_before: self.run.spent_before(node),
                    input,
                    traceparent,
                    default_timeout: accepted.and_then(|a| a.defaults?.attempt_timeout),
                    suspect: self.run.interruptions(node) > 0,
                    begin: if self.attempts.is_empty() { Begin::Here } else { Begin::Apart },
                    held: held.clone(),
                    files: Files::default(),
                    ahead,
                };
                let known = match self.taken_over(&call).await? {
                    None => attempt::from_memory(&self.shared, &call),
                    taken => taken,
                };
                match known {
                    Some(result) => std::future::ready(result).boxed(),
                    None => attempt::run(self.shared.clone(), Arc::new(call)).boxed(),
                }
            }
        };
        let future = match tracing::enabled!(tracing::Level::DEBUG) {
            true => future.instrument(self.attempt_span(node, attempt)).boxed(),
            false => future,
        };
        self.attend((node, attempt), held, future.map(Some).boxed());
        if attempt > 1 {
            counter!(t::RETRIES).increment(1);
        }
        Ok(())
    }

    /// The input of an attempt, and what it must pass.
    fn wanted(&self, node: Node) -> Result<(Json, Option<Box<Ahead>>), Failure> {
        let input = self.run.input_of(node, &self.values)?;
        let gates = self.run.gates_of(node, &self.values)?;
        Ok((input, (!gates.is_open()).then(|| Box::new(Ahead { gates, still: self.still.subscribe() }))))
    }

    /// What the run that this one is again has already, and which run that is.
    async fn imports(&mut self) -> Result<Option<(RunId, Arc<Imports>)>, Exit> {
        let Some(of) = self.run.accepted().and_then(|accepted| accepted.rerun.clone()) else {
            return Ok(None);
        };
        if let Some(imports) = &self.imports {
            return Ok(Some((of.run, imports.clone())));
        }
        let value = kept(self.shared.store.clone(), of.imports).await?;
        let read = serde_json::from_str::<Imports>(value.text());
        let imports = Arc::new(read.map_err(|fault| damaged(of.imports, &fault.to_string()))?);
        self.imports = Some(imports.clone());
        Ok(Some((of.run, imports)))
    }

    /// The end of an attempt whose outcome the run that this one is again has already.
    async fn taken_over(&mut self, call: &AttemptCall) -> Result<Option<AttemptResult>, Exit> {
        let Some((of, imports)) = self.imports().await? else { return Ok(None) };
        let Some((key, imported)) = call.taken_over(&imports) else { return Ok(None) };
        let output = match imported.output {
            Payload::Inline(json) => json,
            Payload::Stored { digest, .. } => kept(self.shared.store.clone(), digest).await?,
            Payload::Derived => return Ok(None),
        };
        Ok(Some(call.imported(key, output, (imported.at, imported.artifacts), of)))
    }

    /// Sees to it that the run exists that this attempt asks for.
    pub(super) async fn begin_child(&mut self, node: Node, attempt: u32) -> Result<(), Exit> {
        if self.draining || !self.run.pending().contains(&Action::Child { node, attempt }) {
            return Ok(());
        }
        let needs = self.run.needs_for(node, &self.values);
        self.fetch(&needs).await?;
        let future = match (self.run.wanted_child(node, attempt, &self.values), self.run.accepted()) {
            (Ok(wanted), Some(accepted)) => {
                let parent = Parent {
                    run: self.run.id,
                    node,
                    attempt,
                    step: self.snapshot.plan.steps[node.step as usize].id.clone(),
                    depth: wanted.depth,
                    may_call: wanted.may_call.clone(),
                };
                let heritage = Heritage {
                    tenant: accepted.tenant.clone(),
                    parent,
                    by: accepted.by.clone(),
                    traceparent: accepted.traceparent.clone(),
                    labels: accepted.inherited_labels(),
                };
                let begun = children::begin(self.shared.clone(), wanted, heritage);
                begun.map(move |refused| refused.map(|failure| failed((node, attempt), failure))).boxed()
            }
            (Err(failure), _) => std::future::ready(Some(failed((node, attempt), failure))).boxed(),
            (Ok(_), None) => return Ok(()),
        };
        self.attend((node, attempt), Held::default(), future);
        Ok(())
    }

    /// Waits for what an attempt has to say, unless it is told to stop first.
    fn attend(
        &mut self,
        attempt: (Node, u32),
        held: Held,
        future: BoxFuture<'static, Option<AttemptResult>>,
    ) {
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(attempt, (handle, held));
        self.attempts.push(Abortable::new(future, registration));
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
            let value = kept(self.shared.store.clone(), *digest).await?;
            self.values.insert(*digest, value);
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

/// An attempt that failed before it could begin.
fn failed((node, attempt): (Node, u32), failure: Failure) -> AttemptResult {
    let (usage, cache, files) = (Default::default(), CacheVerdict::Off, Default::default());
    AttemptResult { node, attempt, outcome: Err(failure), usage, cache, keep: None, files }
}

/// A value of the store that must be there.
async fn kept(store: Arc<dyn RunStore>, digest: Digest) -> Result<Json, Exit> {
    let bytes = store.blob(digest).await.map_err(Exit::Unreadable)?;
    let bytes = bytes.ok_or_else(|| damaged(digest, "it is missing"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| damaged(digest, "it is not text"))?;
    Ok(Json::trusted(text))
}

fn damaged(digest: Digest, why: &str) -> Exit {
    Exit::Unreadable(StoreFault::Damaged { what: format!("value {digest}"), why: why.to_owned() })
}
