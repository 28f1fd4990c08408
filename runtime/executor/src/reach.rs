//! What a guest reaches through the host while its attempt runs: the log, progress, and for agents the plugins that
//! their step grants. A grant is decided by the run's snapshot, never by what a guest or a model says.

use crate::attempt::{AttemptCall, sandbox};
use crate::bus::Told;
use crate::feed::Passing;
use crate::outside::{Desk, For};
use crate::parts::{Begin, LogLevel, Reach};
use crate::shared::Shared;
use crate::slots::Depth;
use crate::telemetry as t;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use heddle_core::id::call_within;
use heddle_core::json::Json;
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome};
use heddle_core::outside::{
    ArtifactAnswer, ArtifactCall, ArtifactFault, HttpFault, HttpRequest, HttpResponse, KvAnswer, KvCall,
    KvFault,
};
use heddle_core::plugin::{Metadata, Pinned};
use heddle_core::run::public::PublicEvent;
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use metrics::counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;

/// The reach of one attempt.
pub(crate) struct AttemptReach {
    shared: Arc<Shared>,
    call: Arc<AttemptCall>,
    calls: AtomicU64,
    at_once: Arc<Semaphore>,
    desk: Desk,
}

impl AttemptReach {
    /// What this plugin may reach until then.
    pub(crate) fn new(
        shared: Arc<Shared>,
        call: Arc<AttemptCall>,
        plugin: &Pinned,
        deadline: Timestamp,
    ) -> AttemptReach {
        let at_once = Arc::new(Semaphore::new(shared.limits.tool_calls_at_once as usize));
        let who = For {
            tenant: call.tenant.clone(),
            plugin: format!("{}:{}", plugin.kind.word(), plugin.name).into(),
            run: call.run,
            step: call.step().id.clone(),
            attempt: call.attempt,
            traceparent: call.traceparent.clone(),
            deadline,
        };
        let desk = Desk::new(shared.clone(), who, call.step().narrowing.clone(), call.files.clone());
        AttemptReach { shared, call, calls: AtomicU64::new(0), at_once, desk }
    }

    fn tell(&self, kind: &'static str, more: Vec<(&'static str, Value)>) {
        let run = self.call.run;
        let bus = &self.shared.bus;
        let (by_some, by_all) = (bus.is_heard(run), bus.feed.is_heard());
        if !by_some && !by_all {
            return;
        }
        let mut data = vec![
            ("step", Value::text(self.call.step().id.clone())),
            ("attempt", Value::Int(i64::from(self.call.attempt))),
        ];
        if let Some(item) = self.call.node.item {
            data.push(("item", Value::Int(i64::from(item))));
        }
        data.extend(more);
        let event =
            PublicEvent { id: None, time: self.shared.now(), kind, data: Json::from_value(Value::map(data)) };
        if by_all {
            let (tenant, workflow) = (self.call.tenant.clone(), self.call.snapshot.workflow.clone());
            bus.feed.pass(Passing { tenant, workflow, run, event: event.clone() });
        }
        if by_some {
            bus.tell(run, Told::Transient(Arc::new(event)));
        }
    }

    fn granted(&self) -> &[crate::snapshot::Granted] {
        self.call.snapshot.tools.get(self.call.node.step as usize).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Reach for AttemptReach {
    fn log(&self, level: LogLevel, message: &str) {
        tracing::debug!(target: "heddle::guest", run = %self.call.run, step = %self.call.step().id, attempt = self.call.attempt, level = level.word(), "{message}");
        self.tell("log", vec![("level", Value::text(level.word())), ("message", Value::text(message))]);
    }

    fn dropped(&self, lines: u64, bytes: u64) {
        counter!(t::LOG_LINES_DROPPED).increment(lines);
        counter!(t::OUTPUT_BYTES_DROPPED).increment(bytes);
    }

    fn progress(&self, stage: &str, percent: Option<u8>, message: &str) {
        let mut more = vec![("stage", Value::text(stage)), ("message", Value::text(message))];
        if let Some(percent) = percent {
            more.push(("percent", Value::Int(i64::from(percent.min(100)))));
        }
        self.tell("progress", more);
    }

    fn http(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, HttpFault>> {
        self.desk.http(request)
    }

    fn secret(&self, name: &str) -> Result<String, String> {
        self.desk.secret(name)
    }

    fn config(&self) -> Option<Json> {
        self.desk.config()
    }

    fn kv(&self, call: KvCall) -> BoxFuture<'static, Result<KvAnswer, KvFault>> {
        self.desk.kv(call)
    }

    fn artifact(&self, call: ArtifactCall) -> BoxFuture<'static, Result<ArtifactAnswer, ArtifactFault>> {
        self.desk.artifact(call)
    }

    fn tools(&self) -> Vec<Arc<Metadata>> {
        self.granted().iter().map(|g| g.metadata.clone()).collect()
    }

    fn call_tool(&self, name: String, input: Json, _index: u64) -> BoxFuture<'static, Result<Json, Failure>> {
        let Some(granted) = self.granted().iter().find(|g| g.metadata.reference() == name).cloned() else {
            let message = format!("`{name}` is not granted to this step; grant it under `tools`");
            return async { Err(Failure::new(FailureKind::CapabilityDenied, message)) }.boxed();
        };
        let most = self.shared.limits.tool_calls;
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if number >= most {
            let message = format!("more than {most} tool calls in one attempt (limit tool_calls)");
            return async { Err(Failure::new(FailureKind::HostcallLimit, message)) }.boxed();
        }
        let (shared, at_once) = (self.shared.clone(), self.at_once.clone());
        let within = Some(call_within(number, &name, input.text()).into());
        let call = (*self.call).clone();
        let call = Arc::new(AttemptCall { input, within, begin: Begin::Apart, ahead: None, ..call });
        async move {
            let _turn = at_once.acquire().await.ok();
            let AttemptEnd { outcome, .. } = sandbox(&shared, &call, granted.pin, Depth::Nested).await;
            match outcome {
                Outcome::Done(output) => Ok(output),
                Outcome::Failed(failure) => Err(failure),
                Outcome::Continue(_) => {
                    Err(Failure::new(FailureKind::Internal, "a tool returned a checkpoint"))
                }
            }
        }
        .boxed()
    }
}
