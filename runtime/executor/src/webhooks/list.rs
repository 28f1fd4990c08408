//! Webhooks and deliveries as they are looked at.

use super::{Disabled, Endpoints, Held, NODE, TENANT, WORKFLOW, body};
use crate::shared::Shared;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use heddle_core::webhook::retry::Answer;
use heddle_store::outbox::Delivery;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Tries of one delivery that are kept; the oldest go first.
const TRIES_KEPT: usize = 20;

/// One try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// When it began.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What the receiver answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// Why there is no answer: a word, and a sentence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<(String, String)>,
    /// The run that it began, where it went to a trigger.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
}

impl Tried {
    /// Nothing was sent.
    pub(super) fn not_sent(at: Timestamp, kind: &str, message: String) -> Tried {
        Tried { at, took_ms: 0, status: None, error: Some((kind.to_owned(), message)), run: None }
    }
    /// A run was begun.
    pub(super) fn began(at: Timestamp, took: Duration, run: RunId) -> Tried {
        Tried { at, took_ms: took.as_millis() as u64, status: None, error: None, run: Some(run) }
    }
    pub(super) fn of(at: Timestamp, took: Duration, answer: &Answer) -> Tried {
        let (status, error) = match answer {
            Answer::Status { status, .. } => (Some(*status), None),
            Answer::Failed { kind, message } => (None, Some((kind.word().to_owned(), message.clone()))),
        };
        Tried { at, took_ms: took.as_millis() as u64, status, error, run: None }
    }
}

/// The tries of a delivery, as they are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tries {
    /// Since it was last told to go.
    counted: u32,
    list: Vec<Tried>,
}

impl Tries {
    /// What was kept; nothing, where that cannot be read.
    pub(super) fn read(json: &Json) -> Tries {
        serde_json::from_str(json.text()).unwrap_or_default()
    }
    pub(super) fn counted(&self) -> u32 {
        self.counted
    }
    pub(super) fn and(mut self, tried: Tried) -> Tries {
        self.counted += 1;
        self.list.push(tried);
        let surplus = self.list.len().saturating_sub(TRIES_KEPT);
        self.list.drain(..surplus);
        self
    }
    /// The same, as if none of them had been made.
    pub(super) fn anew(self) -> Tries {
        Tries { counted: 0, ..self }
    }
    pub(crate) fn json(&self) -> Json {
        body(self)
    }
}

/// A delivery with its tries, the oldest first.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    /// The delivery.
    pub delivery: Delivery,
    /// Where it goes now; where it went at first, if that is not known any more.
    pub url: Arc<str>,
    /// Its last tries.
    pub tries: Vec<Tried>,
}

/// Where a webhook is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookLevel {
    /// It was made over the API.
    Tenant,
    /// In `heddle.toml`.
    Node,
    /// Under `notify` of a workflow; shown only while nothing is sent to it.
    Workflow,
}

impl WebhookLevel {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            WebhookLevel::Tenant => "tenant",
            WebhookLevel::Node => "node",
            WebhookLevel::Workflow => "workflow",
        }
    }
}

/// A webhook, without its secret.
#[derive(Clone, Debug)]
pub struct WebhookView {
    /// Its id.
    pub id: Arc<str>,
    /// Where it is written.
    pub level: WebhookLevel,
    /// Where to.
    pub url: Arc<str>,
    /// Of which events; none where a workflow says.
    pub events: Vec<Arc<str>>,
    /// Only runs of this workflow.
    pub workflow: Option<Arc<str>>,
    /// The name of its secret, where it has none of its own.
    pub secret: Option<Arc<str>>,
    /// Why nothing is sent to it, where nothing is.
    pub disabled: Option<Disabled>,
    /// Until when the secret before the last rotation signs as well.
    pub old_secret_until: Option<Timestamp>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// Who made it.
    pub by: Option<Arc<str>>,
}

impl Endpoints {
    /// All webhooks of a tenant, by id.
    pub(super) fn views(&self, tenant: &Tenant, now: Timestamp) -> Vec<WebhookView> {
        let known = self.read();
        let mut views: Vec<WebhookView> = known
            .kept
            .iter()
            .filter(|((owner, _), _)| owner == tenant)
            .map(|(_, held)| of_tenant(held, now))
            .collect();
        let mark = |id: &Arc<str>| known.marks.get(&(tenant.clone(), id.clone())).map(|(_, mark)| mark);
        views.extend(self.parts.node.iter().map(|webhook| {
            let id = webhook.endpoint();
            let disabled = mark(&id).map(|mark| mark.disabled.clone());
            let events = webhook.events.patterns().to_vec();
            let (url, secret) = (webhook.url.clone(), Some(webhook.secret.clone()));
            WebhookView { secret, ..bare(id, WebhookLevel::Node, url, events, disabled) }
        }));
        let elsewhere =
            known.marks.iter().filter(|((owner, id), _)| owner == tenant && id.starts_with(WORKFLOW));
        views.extend(elsewhere.map(|((_, id), (_, mark))| {
            bare(
                id.clone(),
                WebhookLevel::Workflow,
                mark.url.clone(),
                Vec::new(),
                Some(mark.disabled.clone()),
            )
        }));
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }
    /// Where an endpoint is now.
    fn address(&self, delivery: &Delivery) -> Arc<str> {
        let endpoint = &delivery.endpoint;
        let now = match endpoint.strip_prefix(NODE) {
            Some(name) => {
                self.parts.node.iter().find(|webhook| *webhook.name == *name).map(|w| w.url.clone())
            }
            None if endpoint.starts_with(TENANT) => {
                let name = (delivery.tenant.clone(), endpoint.clone());
                self.read().kept.get(&name).map(|held| held.kept.url.clone())
            }
            None => None,
        };
        now.unwrap_or_else(|| delivery.url.clone())
    }
}

fn bare(
    id: Arc<str>,
    level: WebhookLevel,
    url: Arc<str>,
    events: Vec<Arc<str>>,
    disabled: Option<Disabled>,
) -> WebhookView {
    WebhookView {
        id,
        level,
        url,
        events,
        workflow: None,
        secret: None,
        disabled,
        old_secret_until: None,
        created: None,
        by: None,
    }
}

fn of_tenant(held: &Held, now: Timestamp) -> WebhookView {
    let kept = &held.kept;
    WebhookView {
        workflow: kept.workflow.clone(),
        old_secret_until: kept.before.map(|(_, until)| until).filter(|until| now < *until),
        created: Some(kept.created),
        by: kept.by.clone(),
        ..bare(
            kept.id.clone(),
            WebhookLevel::Tenant,
            kept.url.clone(),
            kept.events.clone(),
            kept.disabled.clone(),
        )
    }
}

/// A delivery as it is looked at.
pub(super) fn view(shared: &Shared, delivery: Delivery) -> DeliveryView {
    let tries = Tries::read(&delivery.tries).list;
    DeliveryView { url: shared.webhooks.address(&delivery), tries, delivery }
}
