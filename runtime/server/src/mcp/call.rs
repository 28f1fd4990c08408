//! `tools/call`: a run is begun and waited for, as long as its client can wait.
//!
//! A client that knows tasks gets one as soon as the run takes more than a moment. Another waits, sees progress where
//! it asks for that, and is told the run's id when the wait becomes too long; then [`super::tools::RUN`] goes on. A call
//! that its client gives up takes its run with it, unless it has an idempotency key: such a run is to outlive its caller.

use super::asks::Taken;
use super::faults::{refused, refused_to};
use super::tools::{self, WRAPPED};
use super::{Client, Door, asks, polled};
use crate::door::asks::asks;
use crate::http::problem::Problem;
use crate::http::server::over;
use crate::http::why;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::view::ValueView;
use heddle_executor::{Clock as _, RunDetail, Submit, SystemClock};
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CreateTaskResult, ErrorData,
    InputRequiredResult, JsonObject, MetaObject, ProgressNotificationParam, Resource,
};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long a run may take before a client that knows tasks is given one.
const POLLED_AFTER: Duration = Duration::from_millis(500);
/// The first look at a run that is waited for, and the longest time between two; its end is seen at once.
const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Where a client says under which key a call is made once, however often it is sent.
const IDEMPOTENCY: &str = "heddle/idempotencyKey";
/// Where a result says which run it is of.
const OF_RUN: &str = "heddle/run";

/// A run that is waited for.
struct Waited<'a> {
    door: &'a Door,
    client: &'a Client,
    context: &'a RequestContext<RoleServer>,
    run: RunId,
    /// Whether it ends with the call.
    bound: bool,
}

pub(super) async fn call(
    door: &Door,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let client = Client::of(&context);
    let arguments = request.arguments.unwrap_or_default();
    if let Some(state) = &request.request_state {
        let detail = door.run(state).await?;
        let answers = request.input_responses.unwrap_or_default();
        let waited = Waited { door, client: &client, context: &context, run: detail.view.id, bound: false };
        // Whoever looks away is not asked again in the same call.
        return match asks::take(&door.api, &detail, &client, &answers).await? {
            Taken::All => waited.settle(door.longest()).await,
            Taken::Open(why) => Ok(still_open(&door.run(state).await?, why).into()),
        };
    }
    match &*request.name {
        tools::RUN => return look(door, &client, (&arguments, &context)).await,
        tools::CANCEL => return cancel(door, &client, &arguments).await,
        _ => {}
    }
    let Some(offered) = tools::find(&door.api, &request.name).await.map_err(refused)? else {
        let name: String = request.name.chars().take(100).collect();
        return Err(ErrorData::invalid_params(
            format!(
                "there is no tool `{name}`; `tools/list` lists them, and `mcp.tools` says what is offered"
            ),
            None,
        ));
    };
    let key = match context.meta.get(IDEMPOTENCY) {
        None => None,
        Some(Value::String(key)) if is_key(key) => Some(Arc::from(&**key)),
        Some(_) => {
            let said = format!("`_meta[\"{IDEMPOTENCY}\"]` is a text of 1 to 255 visible ASCII characters");
            return Err(ErrorData::invalid_params(said, None));
        }
    };
    let bound = key.is_none() && client.leaves;
    let mut arguments = arguments;
    let input = match tools::is_wrapped(&offered) {
        true => match (arguments.remove(WRAPPED), arguments.is_empty()) {
            (Some(input), true) => input,
            _ => {
                let said = format!(
                    "`{}` takes its input in the member `{WRAPPED}`, and nothing beside it",
                    offered.id
                );
                return Ok(CallToolResult::error(vec![ContentBlock::text(said)]).into());
            }
        },
        false => Value::Object(arguments),
    };
    let wish = match offered.wish(&door.api, ("mcp", &client.who), &input) {
        Ok(wish) => Submit { idempotency: key, ..wish },
        Err(problem) => return Ok(refused_to(&problem).into()),
    };
    let run = match door.api.app.executor.submit(wish).await {
        Ok(submitted) => submitted.run,
        Err(fault) => return Ok(refused_to(&Problem::from(fault)).into()),
    };
    let waited = Waited { door, client: &client, context: &context, run, bound };
    waited.settle(if client.tasks { POLLED_AFTER } else { door.longest() }).await
}

fn is_key(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Waited<'_> {
    /// Until the run has ended, asks what this client can answer, or has taken longer than the client can wait.
    async fn settle(&self, longest: Duration) -> Result<CallToolResponse, ErrorData> {
        let (began, tenant, mut pause) = (Instant::now(), Tenant::default(), LOOKS.0);
        let mut told = None;
        loop {
            let left = longest.saturating_sub(began.elapsed());
            let detail = tokio::select! {
                detail = self.door.api.app.executor.wait(&tenant, self.run, pause.min(left)) => detail,
                () = self.context.ct.cancelled() => return self.given_up().await,
                () = over(self.door.api.ending.clone()) => {
                    return Ok(text_of(self.run, "The node is stopping; the run goes on when it is back.".to_owned()).into());
                }
            };
            let detail = detail.map_err(|fault| refused(fault.into()))?.ok_or_else(|| no_run(self.run))?;
            // Whoever wants to know how far it is wants to see it arrive, too.
            self.tell_progress(&detail, &mut told).await;
            if detail.view.finished_at.is_some() {
                return Ok(outcome(self.door, &detail).await?.into());
            }
            let elapsed = began.elapsed();
            if self.client.tasks && elapsed >= longest.min(POLLED_AFTER) {
                return Ok(CreateTaskResult::new(polled::standing(&detail)).into());
            }
            if !self.client.tasks && asks(&detail) {
                let requests = asks::requests(&detail, self.client);
                if self.client.answers && !requests.is_empty() {
                    let mut wanted = InputRequiredResult::from_input_requests(requests);
                    wanted.request_state = Some(self.run.to_string());
                    return Ok(wanted.into());
                }
                // Somebody else decides, who knows when.
                return Ok(going_on(&detail).into());
            }
            if elapsed >= longest {
                return Ok(going_on(&detail).into());
            }
            pause = (pause * 3 / 2).min(LOOKS.1);
        }
    }
    /// Tells how far the run is, where the client wants to know and it has come further.
    async fn tell_progress(&self, detail: &RunDetail, told: &mut Option<u64>) {
        let Some(token) = self.context.meta.get_progress_token() else { return };
        let view = &detail.view;
        if told.is_some_and(|told| told >= view.done) {
            return;
        }
        *told = Some(view.done);
        let current: Vec<&str> = view.current.iter().map(|step| &**step).collect();
        let message = if current.is_empty() { view.status.to_owned() } else { current.join(", ") };
        let progress = ProgressNotificationParam::new(token, view.done as f64)
            .with_total(view.total as f64)
            .with_message(message);
        // Whoever does not listen any more has given the call up, which is seen by itself.
        let _ = self.context.peer.notify_progress(progress).await;
    }
    async fn given_up(&self) -> Result<CallToolResponse, ErrorData> {
        if self.bound {
            let said = (&*self.client.who.submits, "its MCP client gave the call up");
            let done = self.door.api.app.executor.cancel(&Tenant::default(), self.run, said, false).await;
            if let Err(fault) = done {
                tracing::warn!(run = %self.run, %fault, "a run whose caller is gone could not be cancelled");
            }
        }
        Err(ErrorData::invalid_request("the call was given up", None))
    }
}

/// An answer in words, with the run that it is about.
fn text_of(run: RunId, text: String) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.meta = Some(of_run(run));
    result
}

fn of_run(run: RunId) -> MetaObject {
    let mut meta = MetaObject::new();
    meta.insert(OF_RUN.to_owned(), json!(run.to_string()));
    meta
}

fn no_run(run: RunId) -> ErrorData {
    ErrorData::invalid_params(format!("there is no run `{run}`"), None)
}

/// That a run has not ended, and how to go on.
fn going_on(detail: &RunDetail) -> CallToolResult {
    let run = detail.view.id;
    let standing = why::why(detail, None, SystemClock.now());
    text_of(
        run,
        format!(
            "Run {run} has not ended ({}): {}. The tool `{}` with {{\"run\": \"{run}\"}} tells how it goes on.",
            standing.status,
            standing.why,
            tools::RUN
        ),
    )
}

/// That nothing was decided by what a person answered, and how to go on.
fn still_open(detail: &RunDetail, why: Option<String>) -> CallToolResult {
    match why {
        None => going_on(detail),
        Some(why) => {
            let run = detail.view.id;
            let mut result = CallToolResult::error(vec![ContentBlock::text(format!(
                "What was answered does not count: {why}. Run {run} goes on waiting; `{}` with {{\"run\": \"{run}\"}} asks again.",
                tools::RUN
            ))]);
            result.meta = Some(of_run(run));
            result
        }
    }
}

/// What a run that has ended came to.
pub(super) async fn outcome(door: &Door, detail: &RunDetail) -> Result<CallToolResult, ErrorData> {
    let (view, run) = (&detail.view, detail.view.id);
    if view.status != "succeeded" {
        let standing = why::why(detail, None, SystemClock.now());
        let text = format!(
            "Run {run} has not ended well ({}): {}. `heddle runs get {run}` shows it whole.",
            standing.status, standing.why
        );
        let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
        result.meta = Some(of_run(run));
        return Ok(result);
    }
    let most = door.api.app.limits.answer_bytes;
    let output = match &view.output {
        None => Json::null(),
        Some(ValueView::Inline(value)) if value.size() as u64 <= most => value.clone(),
        Some(ValueView::Stored(digest, size)) if *size <= most => {
            let read = door.api.app.executor.value(&Tenant::default(), run, *digest).await;
            read.map_err(|fault| refused(fault.into()))?
                .ok_or_else(|| ErrorData::internal_error(format!("the output of run {run} is gone"), None))?
        }
        Some(ValueView::Inline(_) | ValueView::Stored(..)) => return Ok(linked(detail, most)),
    };
    let mut result = text_of(run, output.text().to_owned());
    result.structured_content = serde_json::from_str(output.text()).ok();
    Ok(result)
}

/// A result that is too large to be told.
fn linked(detail: &RunDetail, most: u64) -> CallToolResult {
    let run = detail.view.id;
    let size = match &detail.view.output {
        Some(ValueView::Stored(_, size)) => *size,
        Some(ValueView::Inline(value)) => value.size() as u64,
        None => 0,
    };
    let text = format!(
        "Run {run} has ended well. Its output has {size} bytes, and `limits.answer_bytes` is {most}: read it as a resource."
    );
    let mut result = text_of(run, text);
    let link = Resource::new(format!("heddle://runs/{run}/output"), format!("output of run {run}"))
        .with_mime_type("application/json")
        .with_size(size);
    result.content.push(ContentBlock::resource_link(link));
    result
}

/// [`tools::RUN`].
async fn look(
    door: &Door,
    client: &Client,
    (arguments, context): (&JsonObject, &RequestContext<RoleServer>),
) -> Result<CallToolResponse, ErrorData> {
    let detail = match door.run(arguments.get("run").and_then(Value::as_str).unwrap_or_default()).await {
        Ok(detail) => detail,
        Err(fault) => return Ok(CallToolResult::error(vec![ContentBlock::text(fault.message)]).into()),
    };
    let wait = arguments.get("waitSeconds").and_then(Value::as_u64).unwrap_or(0);
    let waited = Waited { door, client, context, run: detail.view.id, bound: false };
    let plain = Client { tasks: false, ..client.clone() };
    Waited { client: &plain, ..waited }.settle(Duration::from_secs(wait).min(door.longest())).await
}

/// [`tools::CANCEL`].
async fn cancel(door: &Door, client: &Client, arguments: &JsonObject) -> Result<CallToolResponse, ErrorData> {
    let wanted = arguments.get("run").and_then(Value::as_str).unwrap_or_default();
    let answer = match door.run(wanted).await {
        Ok(detail) if detail.view.finished_at.is_some() => text_of(
            detail.view.id,
            format!("Run {} has ended already ({}).", detail.view.id, detail.view.status),
        ),
        Ok(detail) => match polled::cancel(door, client, detail.view.id).await {
            Ok(()) => text_of(detail.view.id, format!("Run {} is being cancelled.", detail.view.id)),
            Err(fault) => CallToolResult::error(vec![ContentBlock::text(fault.message)]),
        },
        Err(fault) => CallToolResult::error(vec![ContentBlock::text(fault.message)]),
    };
    Ok(answer.into())
}
