//! What a guest reaches through the host while its attempt runs: the log, progress, the outside, and for agents models and
//! the plugins that their step grants. A grant is decided by the run's snapshot and the node's configuration, never by
//! what a guest or a model says.

use crate::attempt::{AttemptCall, sandbox};
use crate::bus::Told;
use crate::calls::{Calls, Made, Numbers};
use crate::feed::Passing;
use crate::models::{self, Wanted, budget};
use crate::outside::{Desk, Files, For};
use crate::parts::{Begin, LogLevel, Reach};
use crate::shared::Shared;
use crate::slots::Depth;
use crate::telemetry as t;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use heddle_core::call_log::Budget;
use heddle_core::host_call::{Answered, HostAnswer, HostCall, ToolCall};
use heddle_core::id::{call_within, idempotency_key};
use heddle_core::json::Json;
use heddle_core::model::ModelCall;
use heddle_core::outcome::{AttemptEnd, Failure, FailureKind, Outcome, Spent};
use heddle_core::plugin::{Metadata, Pinned};
use heddle_core::run::public::PublicEvent;
use heddle_core::time::Timestamp;
use heddle_core::value::Value;
use metrics::counter;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;

/// The reach of one attempt.
pub(crate) struct AttemptReach(Arc<Caller>);

/// Who makes the calls of one attempt.
struct Caller {
    shared: Arc<Shared>,
    call: Arc<AttemptCall>,
    number_of_tools: AtomicU64,
    at_once: Arc<Semaphore>,
    desk: Desk,
    /// What an agent asks goes through its log.
    calls: Option<Arc<Calls>>,
}

impl AttemptReach {
    /// What this plugin may reach until then. An agent's waits are not its own time, so its requests know no end but
    /// their own.
    pub(crate) fn new(
        shared: Arc<Shared>,
        call: Arc<AttemptCall>,
        plugin: &Pinned,
        deadline: Timestamp,
        calls: Option<Arc<Calls>>,
    ) -> AttemptReach {
        let at_once = Arc::new(Semaphore::new(shared.limits.tool_calls_at_once as usize));
        let who = For {
            tenant: call.tenant.clone(),
            plugin: format!("{}:{}", plugin.kind.word(), plugin.name).into(),
            run: call.run,
            step: call.step().id.clone(),
            attempt: call.attempt,
            traceparent: call.traceparent.clone(),
            deadline: calls.is_none().then_some(deadline),
        };
        let desk = Desk::new(shared.clone(), who, call.step().narrowing.clone(), call.files.clone());
        let number_of_tools = AtomicU64::new(0);
        AttemptReach(Arc::new(Caller { shared, call, number_of_tools, at_once, desk, calls }))
    }
}

impl Caller {
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
        let caller = &self.0;
        if caller.is_silent() {
            return;
        }
        tracing::debug!(target: "heddle::guest", run = %caller.call.run, step = %caller.call.step().id, attempt = caller.call.attempt, level = level.word(), "{message}");
        caller.tell("log", vec![("level", Value::text(level.word())), ("message", Value::text(message))]);
    }

    fn dropped(&self, lines: u64, bytes: u64) {
        counter!(t::LOG_LINES_DROPPED).increment(lines);
        counter!(t::OUTPUT_BYTES_DROPPED).increment(bytes);
    }

    fn progress(&self, stage: &str, percent: Option<u8>, message: &str) {
        if self.0.is_silent() {
            return;
        }
        let mut more = vec![("stage", Value::text(stage)), ("message", Value::text(message))];
        if let Some(percent) = percent {
            more.push(("percent", Value::Int(i64::from(percent.min(100)))));
        }
        self.0.tell("progress", more);
    }

    fn ask(&self, call: HostCall) -> BoxFuture<'static, Result<Answered, Failure>> {
        let caller = self.0.clone();
        let Some(calls) = caller.calls.clone().filter(|_| is_recorded(&call)) else {
            let made = caller.make(call, Numbers::default());
            return async move {
                let answer = made.await.answer;
                // What is not recorded does not move an agent's clock.
                let at = if caller.calls.is_some() { Timestamp(0) } else { caller.shared.now() };
                Ok(Answered { answer, at })
            }
            .boxed();
        };
        let secret = match &call {
            HostCall::Secret(name) => Some((caller.desk.stands(), name.clone())),
            _ => None,
        };
        let asked = calls.ask(&call.clone(), move |numbers| caller.make(call, numbers));
        async move {
            let answered = asked.await?;
            // What stood for a secret in an attempt that was cut off stands for it in this one.
            if let (Some((stands, name)), HostAnswer::Secret(Ok(text))) = (secret, &answered.answer) {
                stands.adopt(&name, text);
            }
            Ok(answered)
        }
        .boxed()
    }

    fn pick(&self, first: BoxFuture<'static, Vec<u32>>) -> BoxFuture<'static, Vec<u32>> {
        match &self.0.calls {
            Some(calls) => calls.pick(first),
            None => first,
        }
    }

    fn tools(&self) -> Vec<Arc<Metadata>> {
        self.0.granted().iter().map(|g| g.metadata.clone()).collect()
    }

    fn budget(&self) -> Budget {
        let caller = &self.0;
        let before = caller.calls.as_ref().map(|calls| calls.before()).unwrap_or_default();
        let spent = caller.earlier().and(before);
        budget(spent, &caller.call.step().budget, &caller.shared.limits)
    }
}

/// Whether a call stands in the log of an agent. A file that is kept goes with the end of the attempt, so it is kept again;
/// what is under a digest is always the same, and lies among the values of the run already.
fn is_recorded(call: &HostCall) -> bool {
    !matches!(call, HostCall::Artifact(_))
}

impl Caller {
    /// Whoever says something while it is told what it was told before has said it before.
    fn is_silent(&self) -> bool {
        self.calls.as_ref().is_some_and(|calls| calls.is_silent())
    }

    /// What attempts with other call logs have spent.
    fn earlier(&self) -> Spent {
        self.call.spent_before.without(self.call.charged)
    }

    /// What is left for a call of a model before which there were so many. One that failed was one all the same.
    fn left(&self, models: u64) -> Budget {
        let spent = self.calls.as_ref().map(|calls| calls.spent()).unwrap_or_default();
        let earlier = self.earlier();
        let spent = Spent { model_calls: models + earlier.model_calls, ..spent.and(earlier) };
        budget(spent, &self.call.step().budget, &self.shared.limits)
    }

    /// Makes a call, which is one of this number in the log. What can be said at once is said before this returns.
    fn make(&self, call: HostCall, numbers: Numbers) -> BoxFuture<'static, Made> {
        let desk = &self.desk;
        match call {
            HostCall::Http(request) => {
                desk.http(request).map(|answer| Made::plain(HostAnswer::Http(answer))).boxed()
            }
            HostCall::Kv(call) => desk.kv(call).map(|answer| Made::plain(HostAnswer::Kv(answer))).boxed(),
            HostCall::Artifact(call) => {
                desk.artifact(call).map(|answer| Made::plain(HostAnswer::Artifact(answer))).boxed()
            }
            HostCall::Secret(name) => ready(Made::plain(HostAnswer::Secret(desk.secret(&name)))).boxed(),
            HostCall::Config => ready(Made::plain(HostAnswer::Config(desk.config()))).boxed(),
            HostCall::Tool(ToolCall { name, input }) => self.call_tool(&name, input, numbers.call),
            HostCall::Model(call) => self.call_model(*call, numbers),
            HostCall::Models => ready(Made::plain(HostAnswer::Models(desk.models()))).boxed(),
        }
    }

    fn call_tool(&self, name: &str, input: Json, number: u64) -> BoxFuture<'static, Made> {
        let failed = |failure| ready(Made::plain(HostAnswer::Tool(Err(failure)))).boxed();
        let Some(granted) = self.granted().iter().find(|g| g.metadata.reference() == name).cloned() else {
            let message = format!("`{name}` is not granted to this step; grant it under `tools`");
            return failed(Failure::new(FailureKind::CapabilityDenied, message));
        };
        let most = self.shared.limits.tool_calls;
        if self.number_of_tools.fetch_add(1, Ordering::Relaxed) >= most {
            let message = format!("more than {most} tool calls in one attempt (limit tool_calls)");
            return failed(Failure::new(FailureKind::HostcallLimit, message));
        }
        let (shared, at_once) = (self.shared.clone(), self.at_once.clone());
        let within = Some(call_within(number, name, input.text()).into());
        let call = (*self.call).clone();
        let files = Files::default();
        let call =
            AttemptCall { input, within, begin: Begin::Apart, ahead: None, files: files.clone(), ..call };
        let call = Arc::new(call);
        async move {
            let _turn = at_once.acquire().await.ok();
            let AttemptEnd { outcome, .. } = sandbox(&shared, &call, granted.pin, Depth::Nested).await;
            let answer = HostAnswer::Tool(match outcome {
                Outcome::Done(output) => Ok(output),
                Outcome::Failed(failure) => Err(failure),
                Outcome::Continue(_) => {
                    Err(Failure::new(FailureKind::Internal, "a tool returned a checkpoint"))
                }
            });
            Made { answer, files, spent: Spent::default() }
        }
        .boxed()
    }

    fn call_model(&self, call: ModelCall, numbers: Numbers) -> BoxFuture<'static, Made> {
        let left = self.left(numbers.models);
        let who = self.desk.who();
        let granted = self.desk.models();
        let key = idempotency_key(
            self.call.run,
            &self.call.step().id,
            self.call.node.item,
            self.call.alternative,
            Some(&format!("model:{}:{}", self.calls.as_ref().map_or("", |calls| calls.name()), numbers.call)),
        );
        let shared = self.shared.clone();
        async move {
            let completed = models::complete(&shared, &who, Wanted { call, granted, left, key }).await;
            let spent = completed.as_ref().map(models::spent).unwrap_or_default();
            Made { answer: HostAnswer::Model(completed), files: Files::default(), spent }
        }
        .boxed()
    }
}
