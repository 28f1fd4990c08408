//! What is said on a WebSocket: one JSON object a message, with one member that says what it is.

use crate::http::body::{self, Members};
use crate::http::codes::Code;
use crate::http::problem::{Place, Problem, ProblemBody};
use axum::extract::ws::Message;
use heddle_core::document::pointer;
use heddle_core::id::{RunId, is_name};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::run::public::PublicEvent;
use heddle_executor::EventId;
use serde::Serialize;
use std::fmt::Write as _;
use std::sync::Arc;

/// Bytes of a subscription's id.
const ID_BYTES: usize = 64;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Events.
    Subscribe(Wish),
    /// No more events.
    Unsubscribe(Arc<str>),
    /// Whether anybody is there; whatever it says comes back.
    Ping(Json),
}

/// A subscription that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// What the client calls it.
    pub(super) id: Arc<str>,
    /// Whose events.
    pub(super) to: To,
    /// The place that they begin behind.
    pub(super) after: Option<EventId>,
}

/// Whose events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// One run's.
    Run(RunId),
    /// Those of all runs of a `namespace/name`.
    Workflow(Arc<str>),
    /// Those of all runs.
    All,
}

/// Reads what a client says.
///
/// # Errors
/// What is wrong with it, and the subscription that it is about, where it names one.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Asked, (Problem, Option<Arc<str>>)> {
    let whole = body::json(text.as_bytes(), limits.json_depth).map_err(|problem| (problem, None))?;
    let mut members = Members::of(&whole);
    let wish = members.get("subscribe").map(|value| Json::from_value(value.clone()));
    let leave = members.text("unsubscribe").map(Arc::from);
    let ping = members.get("ping").map(|value| Json::from_value(value.clone()));
    let count = usize::from(wish.is_some()) + usize::from(leave.is_some()) + usize::from(ping.is_some());
    if count != 1 {
        members.fault("", "wants one of `subscribe`, `unsubscribe` and `ping`");
    }
    members.finish().map_err(|problem| (problem, None))?;
    match (wish, leave, ping) {
        (Some(wish), ..) => subscription(&wish).map(Asked::Subscribe),
        (_, Some(id), _) => Ok(Asked::Unsubscribe(id)),
        (.., ping) => Ok(Asked::Ping(ping.unwrap_or_else(Json::null))),
    }
}

fn subscription(wish: &Json) -> Result<Wish, (Problem, Option<Arc<str>>)> {
    let mut members = Members::of(wish);
    let id = members.text("id").unwrap_or_default();
    let is_id = |id: &str| {
        !id.is_empty()
            && id.len() <= ID_BYTES
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    if !is_id(id) {
        members.fault(
            "id",
            "is a name of your own for the subscription: letters, digits and `-_.:`, at most 64",
        );
    }
    let (run, workflow, all) = (members.text("run"), members.text("workflow"), members.flag("all"));
    let to = match (run, workflow, all) {
        (Some(run), None, None) => match run.parse() {
            Ok(run) => Some(To::Run(run)),
            Err(_) => {
                members.fault("run", "is the id of a run; `GET /v1/runs` lists them");
                None
            }
        },
        (None, Some(name), None) => {
            if !name.split_once('/').is_some_and(|(namespace, name)| is_name(namespace) && is_name(name)) {
                members.fault("workflow", "is `namespace/name`; `GET /v1/workflows` lists them");
            }
            Some(To::Workflow(name.into()))
        }
        (None, None, Some(true)) => Some(To::All),
        _ => {
            members.fault("", "wants one of `run`, `workflow` and `all: true`");
            None
        }
    };
    let after = members.text("after").map(|text| (text, place(text)));
    if let Some((_, None)) = after {
        members.fault("after", "is the `cursor` of an event or a `resumeAfter`");
    }
    let named = is_id(id).then(|| Arc::from(id));
    match (members.finish(), to) {
        (Ok(()), Some(to)) => Ok(Wish { id: id.into(), to, after: after.and_then(|(_, place)| place) }),
        (Err(mut problem), _) => {
            problem.errors.iter_mut().for_each(|place| place.pointer.insert_str(0, "/subscribe"));
            Err((problem, named))
        }
        (Ok(()), None) => Err((Problem::new(Code::BodyInvalid, "there is nothing to subscribe to"), named)),
    }
}

/// Reads a place: `7.2`, or `7` for all of row 7.
pub(super) fn place(text: &str) -> Option<EventId> {
    match text.split_once('.') {
        Some((row, ordinal)) => Some((row.parse().ok()?, ordinal.parse().ok()?)),
        None => Some((text.parse().ok()?, u32::MAX)),
    }
}

/// Writes a place.
pub(super) fn written((row, ordinal): EventId) -> String {
    match ordinal {
        u32::MAX => row.to_string(),
        ordinal => format!("{row}.{ordinal}"),
    }
}

/// An event for a subscription. The text of its data is written once into the frame, and nowhere else.
pub(super) fn event(subscription: &str, run: RunId, event: &PublicEvent, cursor: Option<EventId>) -> Message {
    let data = event.data.text();
    let mut out = String::with_capacity(data.len() + 256);
    let _ = write!(out, r#"{{"event":{{"run":"{run}""#);
    if let Some((row, ordinal)) = event.id {
        let _ = write!(out, r#","id":"{row}.{ordinal}""#);
    }
    let (kind, time) = (event.kind, event.time.rfc3339());
    let _ =
        write!(out, r#","type":"{kind}","time":"{time}","data":{data}}},"subscription":"{subscription}""#);
    if let Some(cursor) = cursor {
        let _ = write!(out, r#","cursor":"{}""#, written(cursor));
    }
    out.push('}');
    Message::Text(out.into())
}

/// What else a node says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Says {
    /// The subscription has begun.
    Subscribed(Subscribed),
    /// No more events come for the subscription.
    Ended(Ended),
    /// What the client said came back.
    Pong(Json),
}

/// A subscription that has begun.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscribed {
    /// What the client calls it.
    pub(super) subscription: Arc<str>,
    /// The place that its events begin behind. A run's begin with its first one where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume_after: Option<String>,
}

/// A subscription that has ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    /// What the client calls it.
    pub(super) subscription: Arc<str>,
    /// Why.
    pub(super) reason: Reason,
    /// Give it as `after` to go on behind the last event that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume_after: Option<String>,
}

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    /// The run has ended.
    RunEnded,
    /// The client wanted it so.
    Unsubscribed,
    /// The client reads too slowly.
    SlowReader,
    /// The node ends.
    Draining,
    /// The events cannot be read any further.
    Broken,
}

impl Says {
    pub(super) fn message(&self) -> Message {
        Message::Text(serde_json::to_string(self).unwrap_or_default().into())
    }
}

/// Something that could not be done, and the subscription that it is about.
#[derive(Debug, Serialize)]
struct Refusal {
    /// What.
    error: ProblemBody,
    /// What the client calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<Arc<str>>,
}

pub(super) fn refusal(problem: &Problem, subscription: Option<Arc<str>>) -> Message {
    let refusal = Refusal { error: problem.body(Some("/v1/ws"), None), subscription };
    Message::Text(serde_json::to_string(&refusal).unwrap_or_default().into())
}

/// A problem about one member.
pub(super) fn about(member: &str, code: Code, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    let place = Place { pointer: pointer("/subscribe", member), message: detail.clone(), ..Place::default() };
    Problem::new(code, detail).at([place])
}

/// The messages of both sides, for the API's description.
pub(in crate::http) fn schemas() -> serde_json::Value {
    serde_json::json!({
        "SocketRequest": {
            "description": "What a client says on `/v1/ws`: one of the members.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "subscribe": {
                    "description": "Asks for events: of one run from its first, of a workflow's runs or of all from now on, or of either behind `after`. One of `run`, `workflow` and `all`.",
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["id"],
                    "properties": {
                        "id": { "description": "What the client calls it.", "type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$" },
                        "run": { "type": "string", "format": "uuid" },
                        "workflow": { "description": "`namespace/name`.", "type": "string" },
                        "all": { "const": true },
                        "after": { "description": "A `cursor` or a `resumeAfter` of such a subscription.", "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$" },
                    },
                },
                "unsubscribe": { "description": "Asks for no more events of this subscription.", "type": "string" },
                "ping": { "description": "Comes back as `pong`." },
            },
        },
        "SocketMessage": {
            "description": "What the node says on `/v1/ws`: one of `event`, `subscribed`, `ended`, `pong` and `error`.",
            "type": "object",
            "properties": {
                "event": {
                    "description": "An event; its data is that of the schema `Event.<type>`.",
                    "type": "object",
                    "required": ["run", "type", "time", "data"],
                    "properties": {
                        "run": { "type": "string", "format": "uuid" },
                        "id": { "description": "Its id within its run. Passing events have none.", "type": "string", "pattern": "^[0-9]+\\.[0-9]+$" },
                        "type": { "type": "string" },
                        "time": { "type": "string", "format": "date-time" },
                        "data": { "type": "object" },
                    },
                },
                "subscription": { "description": "Whose event or error it is.", "type": "string" },
                "cursor": { "description": "Give it as `after` to go on behind this event.", "type": "string" },
                "subscribed": {
                    "description": "A subscription has begun, behind `resumeAfter`; without it, with the run's first event.",
                    "type": "object",
                    "required": ["subscription"],
                    "properties": { "subscription": { "type": "string" }, "resumeAfter": { "type": "string" } },
                },
                "ended": {
                    "description": "No more events come; `resumeAfter` as `after` goes on behind the last one that was sent.",
                    "type": "object",
                    "required": ["subscription", "reason"],
                    "properties": {
                        "subscription": { "type": "string" },
                        "reason": { "enum": ["run_ended", "unsubscribed", "slow_reader", "draining", "broken"] },
                        "resumeAfter": { "type": "string" },
                    },
                },
                "pong": {},
                "error": { "$ref": "#/components/schemas/Problem" },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let (problem, _) = read(text, &Limits::default()).unwrap_err();
        let all = format!("{} {:?}", problem.detail, problem.errors);
        assert!(all.contains(says), "{text}: {all}");
    }

    #[test]
    fn what_is_asked_is_understood() {
        let read = |text: &str| read(text, &Limits::default()).unwrap();
        let run = "0190000000017000800000000000000a";
        let run = format!("{}-{}-{}-{}-{}", &run[..8], &run[8..12], &run[12..16], &run[16..20], &run[20..]);
        let wish = Wish { id: "a".into(), to: To::Run(run.parse().unwrap()), after: Some((7, 2)) };
        let text = format!(r#"{{"subscribe":{{"id":"a","run":"{run}","after":"7.2"}}}}"#);
        assert_eq!(read(&text), Asked::Subscribe(wish));
        let wish =
            Wish { id: "b:1".into(), to: To::Workflow("demo/greet".into()), after: Some((9, u32::MAX)) };
        let text = r#"{"subscribe":{"id":"b:1","workflow":"demo/greet","after":"9"}}"#;
        assert_eq!(read(text), Asked::Subscribe(wish));
        let wish = Wish { id: "c".into(), to: To::All, after: None };
        assert_eq!(read(r#"{"subscribe":{"id":"c","all":true}}"#), Asked::Subscribe(wish));
        assert_eq!(read(r#"{"unsubscribe":"c"}"#), Asked::Unsubscribe("c".into()));
        assert_eq!(read(r#"{"ping":{"n":1}}"#), Asked::Ping(Json::trusted(r#"{"n":1}"#)));
    }

    #[test]
    fn what_is_not_asked_so_is_told() {
        refused("{", "not JSON");
        refused("[]", "wants an object");
        refused("{}", "one of `subscribe`, `unsubscribe` and `ping`");
        refused(r#"{"subscribe":{"id":"a","all":true},"unsubscribe":"a"}"#, "one of `subscribe`");
        refused(r#"{"subscrib":{"id":"a","all":true}}"#, "did you mean `subscribe`?");
        refused(r#"{"subscribe":{"all":true}}"#, "/subscribe/id");
        refused(r#"{"subscribe":{"id":"a b","all":true}}"#, "a name of your own");
        refused(r#"{"subscribe":{"id":"a"}}"#, "one of `run`, `workflow` and `all: true`");
        refused(r#"{"subscribe":{"id":"a","all":false}}"#, "one of `run`");
        refused(r#"{"subscribe":{"id":"a","run":"x"}}"#, "the id of a run");
        refused(r#"{"subscribe":{"id":"a","workflow":"x"}}"#, "`namespace/name`");
        refused(r#"{"subscribe":{"id":"a","all":true,"after":"x"}}"#, "a `resumeAfter`");
        refused(r#"{"subscribe":{"id":"a","all":true,"since":"1"}}"#, "no member `since`");
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["7.2", "7", "0"] {
            assert_eq!(written(place(text).unwrap()), text);
        }
        for text in ["", "7.", ".2", "-1", "a", "7.2.3"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
