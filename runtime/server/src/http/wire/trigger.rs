//! Triggers, as they go over the wire.

use super::webhook::DeliveryDoc;
use heddle_core::run::event::Finish;
use heddle_core::trigger::On;
use heddle_executor::{DeliveryView, TriggerView};
use serde::Serialize;
use utoipa::ToSchema;

/// A trigger.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Trigger)]
pub(crate) struct TriggerDoc {
    /// Its id: `namespace.name.id`.
    pub id: String,
    /// Its workflow, `namespace/name@version`: the version in which it stands.
    pub workflow: String,
    /// The event that it listens to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The workflow whose runs it listens to: `namespace/name`, `namespace/*` or `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// How such a run ends: `succeeded`, `failed`, `cancelled`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ends: Vec<&'static str>,
    /// How what others send is signed: `standard`, `github` or `stripe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// The name of the secret that signs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Where others send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The condition, as it is written.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// `active` or `paused`.
    pub status: &'static str,
    /// Since when it stands still.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub paused_at: Option<String>,
    /// What became of the last events for it, the newest first. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<Vec<DeliveryDoc>>,
}

/// A page of triggers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriggerPage {
    /// By id.
    pub items: Vec<TriggerDoc>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// What became of a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HookReceived)]
pub(crate) struct ReceivedDoc {
    /// What makes it the only one.
    pub event: String,
    /// Whether it starts a run: not where the trigger's `match` is false for it, or it stands still.
    pub starts: bool,
}

impl From<TriggerView> for TriggerDoc {
    fn from(view: TriggerView) -> TriggerDoc {
        let trigger = view.trigger;
        let mut doc = TriggerDoc {
            id: trigger.id.to_string(),
            workflow: format!("{}@{}", trigger.workflow(), view.version),
            event: None,
            run: None,
            ends: Vec::new(),
            webhook: None,
            secret: None,
            path: None,
            matches: trigger.matches.as_ref().map(|matches| matches.text.to_string()),
            status: if view.paused.is_some() { "paused" } else { "active" },
            paused_at: view.paused.map(|paused| paused.at.rfc3339()),
            deliveries: None,
        };
        match trigger.on {
            On::Event { name } => doc.event = Some(name.to_string()),
            On::Run { workflow, ends } => {
                doc.run = Some(workflow.to_string());
                doc.ends = ends.into_iter().map(word).collect();
            }
            On::Webhook { scheme, secret } => {
                doc.path = Some(format!("/v1/hooks/{}", trigger.id));
                (doc.webhook, doc.secret) = (Some(scheme.word().to_owned()), Some(secret.to_string()));
            }
        }
        doc
    }
}

impl TriggerDoc {
    /// With what became of events.
    pub(crate) fn with(self, deliveries: Vec<DeliveryView>) -> TriggerDoc {
        let deliveries = deliveries.into_iter().map(DeliveryDoc::short).collect();
        TriggerDoc { deliveries: Some(deliveries), ..self }
    }
}

fn word(finish: Finish) -> &'static str {
    match finish {
        Finish::Succeeded => "succeeded",
        Finish::Failed => "failed",
        Finish::Cancelled => "cancelled",
    }
}
