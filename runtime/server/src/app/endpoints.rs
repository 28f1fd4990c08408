//! Endpoints of connectors: a call of one is a request by the same way out that plugins have, under what is granted to
//! it, with its secret put in on the way. No sandbox is made; everything else of an attempt is the same.

use super::invoker::scope_of;
use futures_util::future::BoxFuture;
use heddle_core::connector::dialogue::{Dialogue, Told, Turn};
use heddle_core::connector::{Endpoint, Tool};
use heddle_core::host_call::HostCall;
use heddle_core::id::{Digest, idempotency_key};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome, Usage};
use heddle_core::schema::Schema;
use heddle_executor::{Invocation, Invoker};
use heddle_host::{Host, check_input, check_output};
use heddle_store::RunStore;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a goodbye may take of which nothing depends.
const GOODBYE: Duration = Duration::from_secs(2);
/// Endpoints that are held ready.
const READY: u64 = 1_000;

/// What calls endpoints.
#[derive(Clone)]
pub(super) struct Endpoints {
    host: Host,
    store: Arc<dyn RunStore>,
    limits: Arc<Limits>,
    ready: moka::sync::Cache<Digest, Arc<Ready>>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoints({})", self.ready.entry_count())
    }
}

/// An endpoint with its schemas checked.
struct Ready {
    endpoint: Endpoint,
    input: Schema,
    output: Schema,
}

impl Endpoints {
    pub(super) fn new(host: Host, store: Arc<dyn RunStore>, limits: Arc<Limits>) -> Endpoints {
        Endpoints { host, store, limits, ready: moka::sync::Cache::new(READY) }
    }

    async fn ready(&self, digest: Digest) -> Result<Arc<Ready>, Failure> {
        if let Some(ready) = self.ready.get(&digest) {
            return Ok(ready);
        }
        let bytes = self.store.blob(digest).await;
        let bytes = bytes.map_err(|fault| Failure::new(FailureKind::StoreUnavailable, fault.to_string()))?;
        let damaged = |why: String| {
            let message = format!("the endpoint {digest} cannot be read: {why}; push its connector again");
            Failure::new(FailureKind::Internal, message)
        };
        let bytes = bytes.ok_or_else(|| damaged("it is missing".to_owned()))?;
        let Tool { metadata, endpoint } =
            serde_json::from_slice(&bytes).map_err(|fault| damaged(fault.to_string()))?;
        let schema = |text: &Json| Schema::compile(text).map_err(|fault| damaged(fault.to_string()));
        let (input, output) = (schema(&metadata.input_schema)?, schema(&metadata.output_schema)?);
        let ready = Arc::new(Ready { endpoint, input, output });
        self.ready.insert(digest, ready.clone());
        Ok(ready)
    }

    /// What came of a call. How many requests it took is counted while it goes on.
    async fn call(&self, invocation: &Invocation, sent: &AtomicU64) -> Outcome {
        self.answered(invocation, sent).await.map_or_else(Outcome::Failed, Outcome::Done)
    }

    async fn answered(&self, invocation: &Invocation, sent: &AtomicU64) -> Result<Json, Failure> {
        let Ready { endpoint, input, output } = &*self.ready(invocation.plugin.digest).await?;
        check_input(&invocation.input, self.limits.input_bytes, input)?;
        let Invocation { run, step, item, alternative, within, .. } = invocation;
        let key = idempotency_key(*run, step, *item, *alternative, within.as_deref());
        let secret = match endpoint.secret() {
            Some(name) => invocation.reach.ask(HostCall::Secret(name.to_owned())).await?.answer.secret()?,
            None => Err("the endpoint has no secret".to_owned()),
        };
        let again = invocation.attempt > 1;
        let told = Told { endpoint, input: &invocation.input, secret, key: &key, again };
        let mut dialogue = Dialogue::new(told);
        let mut turn = dialogue.begin();
        // From here on it may have had its effect.
        invocation.held.hold(self.host.enter(&scope_of(invocation)));
        let outcome = loop {
            let request = match turn {
                Turn::Done(outcome) => break outcome,
                Turn::Send(request) => request,
                Turn::Later(ms, request) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    request
                }
            };
            sent.fetch_add(1, Ordering::Relaxed);
            let asked = invocation.reach.ask(HostCall::Http(*request));
            if let Some(outcome) = dialogue.known() {
                // What came of the call is not lost, nor late, for how somebody says goodbye.
                let _ = tokio::time::timeout(GOODBYE, asked).await;
                break outcome;
            }
            let answered = asked.await?.answer.http()?;
            let response = answered.map_err(|fault| Failure::new(fault.kind.failure(), fault.message))?;
            turn = dialogue.next(&response);
        };
        match outcome {
            Outcome::Done(json) => {
                let (most, levels) = (invocation.limits.output_bytes, self.limits.json_depth);
                check_output(json.text(), most, levels, Some(output))
            }
            Outcome::Failed(failure) => Err(failure),
            Outcome::Continue(_) => Err(Failure::new(FailureKind::Internal, "an endpoint is no agent")),
        }
    }
}

impl Invoker for Endpoints {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, AttemptEnd> {
        let endpoints = self.clone();
        Box::pin(async move {
            let began = Instant::now();
            let (most, sent) = (Duration::from_millis(invocation.limits.wall_ms), AtomicU64::new(0));
            let outcome = match tokio::time::timeout(most, endpoints.call(&invocation, &sent)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let message = format!("no answer within {} ms", invocation.limits.wall_ms);
                    Outcome::Failed(Failure::new(FailureKind::DeadlineExceeded, message))
                }
            };
            let wall_us = began.elapsed().as_micros() as u64;
            AttemptEnd { outcome, usage: Usage { wall_us, hostcalls: sent.into_inner(), ..Usage::default() } }
        })
    }
}
