//! What is sent: a CloudEvent in structured form, thin. It says what happened to which run and step; what a step gave
//! back is never in it, but is read from the run by whoever may.

use crate::id::RunId;
use crate::json::Json;
use crate::run::public::PublicEvent;
use crate::time::Timestamp;
use crate::value::{Map, Value};
use crate::webhook::DeliveryId;
use std::sync::Arc;

/// The media type of a message.
pub const MEDIA_TYPE: &str = "application/cloudevents+json";
/// The type of the message that only tries whether messages arrive.
pub const TEST: &str = "webhook.test";

/// Members of events that leave. A new one does not before it stands here.
const THIN: &[&str] = &[
    "about",
    "approved",
    "assignees",
    "attempt",
    "by",
    "cache",
    "comment",
    "digest",
    "entered",
    "event",
    "finish",
    "force",
    "item",
    "items",
    "key",
    "name",
    "outputBytes",
    "outputDigest",
    "plugin",
    "quorum",
    "reason",
    "retryAt",
    "signal",
    "step",
    "until",
    "verdict",
    "what",
];
/// Members of an error that leave.
const THIN_ERROR: &[&str] = &["kind", "code", "message", "retryable"];
/// Bytes of one text in a message.
const TEXT_BYTES: usize = 1_024;

/// The run that a message is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The run.
    pub run: RunId,
    /// `namespace/name` of its workflow.
    pub workflow: &'a str,
    /// The version of that.
    pub version: &'a str,
    /// W3C trace context of whoever asked for the run.
    pub traceparent: Option<&'a str>,
}

/// The message that tells of an event, of at most so many bytes. `None` for one that is not kept.
pub fn of_event(event: &PublicEvent, about: About<'_>, most_bytes: u64) -> Option<Json> {
    let (seq, ordinal) = event.id?;
    let mut data = identity(about);
    let status = event.kind.strip_prefix("run.").filter(|word| STATUSES.contains(word));
    data.extend(status.map(|word| ("status".into(), Value::text(word))));
    let least = data.clone();
    if let Value::Map(said) = event.data.value() {
        let thin = said.iter().filter(|(key, _)| THIN.contains(&&***key));
        data.extend(thin.map(|(key, value)| (key.clone(), cut(value))));
        if let Some(Value::Map(error)) = said.get("error") {
            let thin = error.iter().filter(|(key, _)| THIN_ERROR.contains(&&***key));
            let thin: Map = thin.map(|(key, value)| (key.clone(), cut(value))).collect();
            data.insert("error".into(), Value::Map(Arc::new(thin)));
        }
        // The run that a step asked for; `run` is the one that this is about.
        data.extend(said.get("run").map(|child| ("child".into(), child.clone())));
    }
    let envelope = |data: Map| {
        let mut members = vec![
            ("id", Value::text(format!("{}/{seq}.{ordinal}", about.run))),
            ("source", Value::text(format!("heddle:{}", about.workflow))),
            ("subject", Value::text(format!("runs/{}", about.run))),
            // Ordered as text, as the extension wants it.
            ("sequence", Value::text(format!("{seq:012}.{ordinal:06}"))),
        ];
        members.extend(about.traceparent.map(|parent| ("traceparent", Value::text(parent))));
        cloud_event(event.kind, event.time, members, data)
    };
    let whole = envelope(data);
    if whole.size() as u64 <= most_bytes {
        return Some(whole);
    }
    let mut data = least;
    data.insert("truncated".into(), Value::Bool(true));
    Some(envelope(data))
}

/// The message that tries whether messages arrive.
pub fn of_test(id: DeliveryId, webhook: &str, at: Timestamp) -> Json {
    let members = vec![
        ("id", Value::text(id.to_string())),
        ("source", Value::text("heddle:webhooks")),
        ("subject", Value::text(format!("webhooks/{webhook}"))),
    ];
    let data = Map::from([("webhook".into(), Value::text(webhook))]);
    cloud_event(TEST, at, members, data)
}

/// Words of `run.…` that say where the run stands from then on.
const STATUSES: &[&str] =
    &["queued", "running", "paused", "compensating", "succeeded", "failed", "cancelled"];

fn identity(about: About<'_>) -> Map {
    Map::from([
        ("run".into(), Value::text(about.run.to_string())),
        ("workflow".into(), Value::text(about.workflow)),
        ("version".into(), Value::text(about.version)),
    ])
}

fn cloud_event(kind: &str, at: Timestamp, more: Vec<(&'static str, Value)>, data: Map) -> Json {
    let mut members = vec![
        ("specversion", Value::text("1.0")),
        ("type", Value::text(kind)),
        ("time", Value::text(at.rfc3339())),
        ("datacontenttype", Value::text("application/json")),
        ("dataschema", Value::text(format!("urn:heddle:event:{kind}"))),
        ("data", Value::Map(Arc::new(data))),
    ];
    members.extend(more);
    Json::from_value(Value::map(members))
}

/// The value with its texts cut.
fn cut(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > TEXT_BYTES => {
            let end = (0..=TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            Value::text(format!("{}…", &text[..end]))
        }
        Value::List(items) => Value::list(items.iter().map(cut).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About<'static> = About {
        run: RunId(1),
        workflow: "acme/invoice",
        version: "1.2.0",
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    };

    fn event(kind: &'static str, data: &str) -> PublicEvent {
        PublicEvent {
            id: Some((7, 2)),
            time: Timestamp(0),
            kind,
            data: Json::parse(data.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn a_message_is_a_thin_cloud_event() {
        let told = event(
            "run.failed",
            r#"{"output":{"secret":1},"step":"pay","error":{"kind":"guest_error","code":"down","message":"no","retryable":false,"data":{"card":4}}}"#,
        );
        let message = of_event(&told, ABOUT, 20_480).unwrap();
        let expected = concat!(
            r#"{"data":{"error":{"code":"down","kind":"guest_error","message":"no","retryable":false},"#,
            r#""run":"00000000-0000-0000-0000-000000000001","status":"failed","step":"pay","version":"1.2.0","workflow":"acme/invoice"},"#,
            r#""datacontenttype":"application/json","dataschema":"urn:heddle:event:run.failed","#,
            r#""id":"00000000-0000-0000-0000-000000000001/7.2","sequence":"000000000007.000002","source":"heddle:acme/invoice","#,
            r#""specversion":"1.0","subject":"runs/00000000-0000-0000-0000-000000000001","time":"1970-01-01T00:00:00.000Z","#,
            r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","type":"run.failed"}"#,
        );
        assert_eq!(message.text(), expected);
        let transient = PublicEvent { id: None, ..told };
        assert_eq!(of_event(&transient, ABOUT, 20_480), None);
    }

    #[test]
    fn what_is_long_is_cut_and_what_is_too_much_left_out() {
        let long = format!(r#"{{"step":"a","reason":"{}","run":"child"}}"#, "é".repeat(2_000));
        let message = of_event(&event("decision", &long), ABOUT, 20_480).unwrap();
        assert!(message.size() < 2_000 && message.text().contains("é…"), "{message:?}");
        assert_eq!(
            message.value().get("data").and_then(|d| d.get("child")).and_then(Value::as_str),
            Some("child")
        );
        let many = format!(r#"{{"step":"a","assignees":["{}"]}}"#, vec!["x".repeat(900); 30].join("\",\""));
        let message = of_event(&event("approval.requested", &many), ABOUT, 20_480).unwrap();
        let data = message.value().get("data").unwrap();
        assert!(matches!(data.get("truncated"), Some(Value::Bool(true))) && data.get("assignees").is_none());
        assert!(data.get("run").is_some());
    }

    #[test]
    fn a_test_is_a_message_too() {
        let message = of_test(DeliveryId(3), "wh_1", Timestamp(0));
        assert_eq!(message.value().get("type").and_then(Value::as_str), Some(TEST));
        assert_eq!(message.value().get("subject").and_then(Value::as_str), Some("webhooks/wh_1"));
    }
}
