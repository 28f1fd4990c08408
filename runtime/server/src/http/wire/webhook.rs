//! Webhooks and deliveries, as they go over the wire.

use heddle_core::json::Json;
use heddle_executor::{DeliveryView, Tried, WebhookView};
use serde::Serialize;
use utoipa::ToSchema;

/// A webhook.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Webhook)]
pub(crate) struct WebhookDoc {
    /// Its id.
    pub id: String,
    /// Where it is written: `tenant` (made over the API), `node` (in `heddle.toml`) or `workflow` (under `notify`).
    pub level: &'static str,
    /// Where to.
    pub url: String,
    /// Of which events; empty where a workflow says.
    pub events: Vec<String>,
    /// Only runs of this workflow, `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The name of its secret, where it has none of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Whether anything is sent to it.
    pub enabled: bool,
    /// Why nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<DisabledDoc>,
    /// Until when the secret before the last rotation signs as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub old_secret_until: Option<String>,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub created_at: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Why nothing is sent to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDisabled)]
pub(crate) struct DisabledDoc {
    /// In a sentence.
    pub reason: String,
    /// Since when.
    #[schema(format = "date-time")]
    pub at: String,
}

/// A webhook with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookWithSecret)]
pub(crate) struct MadeDoc {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookDoc,
    /// What signs its messages: `whsec_` and base64. Keep it where the receiver finds it.
    #[schema(pattern = "^whsec_")]
    pub secret: String,
}

/// A page of webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookPage {
    /// By id.
    pub items: Vec<WebhookDoc>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A message to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Delivery)]
pub(crate) struct DeliveryDoc {
    /// Its id, which is the `webhook-id` of all that is sent for it.
    pub id: String,
    /// The webhook.
    pub webhook: String,
    /// Where that is.
    pub url: String,
    /// The run that it tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The type of the event.
    pub event: String,
    /// `waiting`, `delivered` or `failed`.
    pub status: &'static str,
    /// When it was made.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// When it is sent, while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub next_at: Option<String>,
    /// When it was delivered or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub ended_at: Option<String>,
    /// Its last tries, at most twenty, the oldest first.
    pub tries: Vec<TryDoc>,
    /// What is sent, byte for byte in this form without white space. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub message: Option<Json>,
}

/// One try to deliver a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeliveryTry)]
pub(crate) struct TryDoc {
    /// When it began.
    #[schema(format = "date-time")]
    pub at: String,
    /// How long it took.
    pub took_ms: u64,
    /// What the receiver answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TryErrorDoc>,
    /// The run that it began, where it went to a trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryError)]
pub(crate) struct TryErrorDoc {
    /// `egress_denied`, `egress_failed`, `egress_timeout`, `webhook_disabled`, `webhook_removed` or `outbox_full`; of a
    /// trigger `quota_exceeded`, `trigger_removed`, `trigger_depth`, `not_matched`, `duplicate_run`, `expression_failed` or
    /// `not_accepted`.
    pub kind: String,
    /// In a sentence.
    pub message: String,
}

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryPage {
    /// Newest first.
    pub items: Vec<DeliveryDoc>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl From<WebhookView> for WebhookDoc {
    fn from(view: WebhookView) -> WebhookDoc {
        WebhookDoc {
            id: view.id.to_string(),
            level: view.level.word(),
            url: view.url.to_string(),
            events: view.events.iter().map(ToString::to_string).collect(),
            workflow: view.workflow.map(|name| name.to_string()),
            secret_name: view.secret.map(|name| name.to_string()),
            enabled: view.disabled.is_none(),
            disabled: view.disabled.map(|disabled| DisabledDoc {
                reason: disabled.reason.to_string(),
                at: disabled.at.rfc3339(),
            }),
            old_secret_until: view.old_secret_until.map(|until| until.rfc3339()),
            created_at: view.created.map(|at| at.rfc3339()),
            by: view.by.map(|by| by.to_string()),
        }
    }
}

impl DeliveryDoc {
    /// Without the message.
    pub(crate) fn short(view: DeliveryView) -> DeliveryDoc {
        let DeliveryView { delivery, url, tries } = view;
        DeliveryDoc {
            id: delivery.id.to_string(),
            webhook: delivery.endpoint.to_string(),
            url: url.to_string(),
            run: delivery.run.map(|run| run.to_string()),
            event: delivery.event.to_string(),
            status: delivery.standing.status().word(),
            created_at: delivery.created.rfc3339(),
            next_at: delivery.standing.due().map(|at| at.rfc3339()),
            ended_at: delivery.standing.finished().map(|at| at.rfc3339()),
            tries: tries.into_iter().map(TryDoc::from).collect(),
            message: None,
        }
    }
    /// With the message.
    pub(crate) fn whole(view: DeliveryView) -> DeliveryDoc {
        let message = Some(view.delivery.message.clone());
        DeliveryDoc { message, ..DeliveryDoc::short(view) }
    }
}

impl From<Tried> for TryDoc {
    fn from(tried: Tried) -> TryDoc {
        TryDoc {
            at: tried.at.rfc3339(),
            took_ms: tried.took_ms,
            status: tried.status,
            error: tried.error.map(|(kind, message)| TryErrorDoc { kind, message }),
            run: tried.run.map(|run| run.to_string()),
        }
    }
}
