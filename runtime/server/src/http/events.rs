//! A run's events as a stream (server-sent events): what is stored, then what happens, without a gap. A reader that
//! comes back with `Last-Event-ID` goes on where it was.

use super::Api;
use super::body::Query;
use super::codes::Code;
use super::openapi::Problems;
use super::problem::Problem;
use super::runs::run_id;
use super::server::over;
use axum::extract::{Path, RawQuery, State};
use axum::response::IntoResponse as _;
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt as _};
use heddle_core::id::{RunId, Tenant};
use heddle_core::run::public::PublicEvent;
use heddle_executor::{EventId, Followed, StreamItem};
use hyper::HeaderMap;
use hyper::StatusCode;
use std::convert::Infallible;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How often a silent stream shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a reader waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// Follow a run: server-sent events.
///
/// `id` is `seq.ordinal`, `event` the type, `data` JSON. Transient events (`progress`, `log`, `agent.token`) have no id.
/// The stream ends after `run.succeeded`, `run.failed` or `run.cancelled`; a reader that comes back with the last of
/// its events gets 204, which tells browsers not to come again.
#[utoipa::path(
    get, path = "/v1/runs/{id}/events", tag = "runs", operation_id = "followRun",
    params(
        ("id" = String, Path, description = "The run."),
        ("Last-Event-ID" = Option<String>, Header, description = "Only what comes after this event."),
        ("after" = Option<String>, Query, description = "The same, for readers that cannot set a header."),
    ),
    responses((status = 200, description = "The events; see the schemas `Event.*`.", body = String, content_type = "text/event-stream"), (status = 204, description = "The run has ended, and this was its last event."), Problems),
)]
async fn follow(
    State(api): State<Api>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut query = Query::of(query.as_deref());
    let asked = query.read("after", "`seq.ordinal`, the id of an event", parse_id);
    query.finish()?;
    let after = match headers.get("last-event-id").map(|value| value.to_str().ok().and_then(parse_id)) {
        Some(Some(id)) => Some(id),
        Some(None) => {
            return Err(Problem::new(
                Code::ParameterInvalid,
                "`Last-Event-ID` is `seq.ordinal`, the id of an event",
            ));
        }
        None => asked,
    };
    let run = run_id(&id)?;
    let events = api.app.executor.events(&Tenant::default(), run, after).await?;
    let events = events.ok_or_else(|| {
        Problem::new(Code::RunNotFound, format!("there is no run `{run}`; `GET /v1/runs` lists them"))
    })?;
    let Followed::Events(events) = events else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let stream = sse(run, events).take_until(Box::pin(over(api.ending.clone())));
    let mut response =
        Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat")).into_response();
    let no_store = hyper::header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(hyper::header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// `seq.ordinal`.
fn parse_id(text: &str) -> Option<EventId> {
    let (seq, ordinal) = text.trim().split_once('.')?;
    Some((seq.parse().ok()?, ordinal.parse().ok()?))
}

fn sse(
    run: RunId,
    events: impl Stream<Item = StreamItem> + Send,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let first = futures_util::stream::once(async { Ok(Event::default().retry(RETRY)) });
    first.chain(events.map(move |item| {
        Ok(match item {
            StreamItem::Event(event) => event_of(run, &event),
            StreamItem::Lagged => {
                Event::default().comment("too slow: come back with the last id that you have seen")
            }
            StreamItem::Broken(why) => {
                tracing::error!(%run, why, "a stream of events broke off");
                Event::default().comment("the journal cannot be read any further")
            }
        })
    }))
}

fn event_of(run: RunId, event: &PublicEvent) -> Event {
    let data = format!(r#"{{"run":"{run}","time":"{}","data":{}}}"#, event.time.rfc3339(), event.data.text());
    let out = Event::default().event(event.kind).data(data);
    match event.id {
        Some((seq, ordinal)) => out.id(format!("{seq}.{ordinal}")),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(parse_id("7.2"), Some((7, 2)));
        for text in ["", "7", "7.", ".2", "7.-1", "a.b", "7.2.3"] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
