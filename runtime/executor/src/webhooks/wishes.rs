//! What people want of webhooks: to make, change and remove them, other secrets, a test, a message once more.

use super::list::{DeliveryView, Tries, WebhookView, view};
use super::{DISABLED, Disabled, Held, Kept, Mark, NODE, TENANT, WEBHOOKS, body};
use crate::Executor;
use crate::shared::Shared;
use crate::webhooks::outbox::new_id;
use heddle_core::id::{Tenant, is_name};
use heddle_core::webhook::DeliveryId;
use heddle_core::webhook::filter;
use heddle_core::webhook::message::{self, TEST};
use heddle_core::webhook::signature::Secret;
use heddle_core::webhook::target;
use heddle_store::outbox::{Delivery, DeliveryQuery, DeliveryWrite, OutboxFault, Standing};
use heddle_store::{StoreFault, shelf::collection};
use std::sync::Arc;

/// A webhook that is to be made.
#[derive(Clone, Debug, Default)]
pub struct WebhookWish {
    /// Where to.
    pub url: String,
    /// Of which events.
    pub events: Vec<String>,
    /// Only runs of this workflow, `namespace/name`.
    pub workflow: Option<String>,
    /// Who wants it.
    pub by: Option<Arc<str>>,
}

/// What is to be different about a webhook; what is not there stays.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// Where to.
    pub url: Option<String>,
    /// Of which events.
    pub events: Option<Vec<String>>,
    /// Only runs of this workflow; of all, where there is none inside.
    pub workflow: Option<Option<String>>,
    /// Whether anything is sent to it.
    pub enabled: Option<bool>,
}

/// Why a wish about webhooks was not granted. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookFault {
    /// Something that was said of it.
    #[error("{message}")]
    Invalid {
        /// JSON pointer into what was said.
        pointer: String,
        /// What is wrong with it.
        message: String,
    },
    /// It is written elsewhere.
    #[error("webhook `{id}` stands in {place}; it is changed there, and here only switched on or off")]
    Elsewhere {
        /// The webhook.
        id: Arc<str>,
        /// Where it stands.
        place: &'static str,
    },
    /// Nothing is sent to it.
    #[error("nothing is sent to webhook `{id}`: {reason}; switch it on first: `heddle webhooks enable {id}`")]
    Off {
        /// The webhook.
        id: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
    /// There is no endpoint to send to any more.
    #[error("the webhook `{0}` of this delivery is there no more")]
    Removed(Arc<str>),
    /// There are as many as there may be.
    #[error("there are {most} webhooks; the limit webhooks is {most}: remove one first")]
    Full {
        /// How many that is.
        most: u64,
    },
    /// The node's lease has ended.
    #[error("this node has lost its lease and changes nothing any more; try another node")]
    LeaseLost,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl From<OutboxFault> for WebhookFault {
    fn from(fault: OutboxFault) -> WebhookFault {
        match fault {
            OutboxFault::Conflict { id, .. } => StoreFault::Conflict(id.to_string()).into(),
            OutboxFault::Fenced { .. } => WebhookFault::LeaseLost,
            OutboxFault::Store(fault) => fault.into(),
        }
    }
}

fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> WebhookFault {
    WebhookFault::Invalid { pointer: pointer.into(), message: message.into() }
}

fn checked_url(text: &str) -> Result<Arc<str>, WebhookFault> {
    target::read(text).map_err(|fault| invalid("/url", fault.to_string()))
}

fn checked_events(events: &[String]) -> Result<Vec<Arc<str>>, WebhookFault> {
    if events.is_empty() {
        return Err(invalid("/events", "names no event; say which, such as `[\"run.failed\"]`"));
    }
    for (index, event) in events.iter().enumerate() {
        filter::check(event).map_err(|fault| invalid(format!("/events/{index}"), fault.to_string()))?;
    }
    let mut events: Vec<Arc<str>> = events.iter().map(|event| Arc::from(event.as_str())).collect();
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

fn checked_workflow(name: Option<&str>) -> Result<Option<Arc<str>>, WebhookFault> {
    let Some(name) = name else { return Ok(None) };
    match name.split_once('/') {
        Some((namespace, own)) if is_name(namespace) && is_name(own) => Ok(Some(name.into())),
        _ => Err(invalid("/workflow", "wants `namespace/name`, without a version")),
    }
}

/// Whoever switches a webhook off says no more than that.
const SWITCHED_OFF: &str = "somebody switched it off";
/// What a receiver says that is gone.
const GONE: &str = "the receiver answered 410, which means that it is gone for good";

impl Executor {
    /// Webhooks of a tenant in the order of their ids, after this one.
    pub fn webhooks(&self, tenant: &Tenant, after: &str, limit: usize) -> Vec<WebhookView> {
        let views = self.shared.webhooks.views(tenant, self.shared.now());
        views.into_iter().filter(|view| *view.id > *after).take(limit).collect()
    }
    /// A webhook by its id.
    pub fn webhook(&self, tenant: &Tenant, id: &str) -> Option<WebhookView> {
        let views = self.shared.webhooks.views(tenant, self.shared.now());
        views.into_iter().find(|view| *view.id == *id)
    }
    /// Makes a webhook. Its secret is given this once. What is answered is on disk, and what happens from then on is
    /// told.
    ///
    /// # Errors
    /// What is wrong with it, or that there are too many.
    pub async fn make_webhook(
        &self,
        tenant: &Tenant,
        wish: WebhookWish,
    ) -> Result<(WebhookView, Secret), WebhookFault> {
        let shared = &self.shared;
        let kept = Kept {
            id: format!("{TENANT}{}", uuid::Uuid::now_v7().simple()).into(),
            url: checked_url(&wish.url)?,
            events: checked_events(&wish.events)?,
            workflow: checked_workflow(wish.workflow.as_deref())?,
            disabled: None,
            secret: 1,
            before: None,
            created: shared.now(),
            by: wish.by,
        };
        let there = shared.webhooks.read().kept.keys().filter(|(owner, _)| owner == tenant).count() as u64;
        if there >= shared.limits.webhooks {
            return Err(WebhookFault::Full { most: shared.limits.webhooks });
        }
        let (id, secret) = (kept.id.clone(), shared.webhooks.secret(&kept.id, kept.secret));
        let version = shared.shelf.put(&collection(WEBHOOKS, tenant), &id, 0, body(&kept)).await?;
        shared.webhooks.hold(tenant, version, kept);
        let view = self.webhook(tenant, &id).ok_or(StoreFault::Conflict(id.to_string()))?;
        Ok((view, secret))
    }
    /// Changes a webhook. `None` where there is none.
    ///
    /// # Errors
    /// What is wrong with the change.
    pub async fn change_webhook(
        &self,
        tenant: &Tenant,
        id: &str,
        change: WebhookChange,
    ) -> Result<Option<WebhookView>, WebhookFault> {
        if self.webhook(tenant, id).is_none() {
            return Ok(None);
        }
        let Some(Held { version, mut kept, .. }) = self.kept(tenant, id) else {
            self.switch(tenant, id, change).await?;
            return Ok(self.webhook(tenant, id));
        };
        if let Some(url) = &change.url {
            kept.url = checked_url(url)?;
        }
        if let Some(events) = &change.events {
            kept.events = checked_events(events)?;
        }
        if let Some(workflow) = &change.workflow {
            kept.workflow = checked_workflow(workflow.as_deref())?;
        }
        match change.enabled {
            Some(true) => kept.disabled = None,
            Some(false) if kept.disabled.is_none() => {
                kept.disabled = Some(Disabled { reason: SWITCHED_OFF.into(), at: self.shared.now() });
            }
            _ => {}
        }
        self.keep(tenant, version, kept).await?;
        Ok(self.webhook(tenant, id))
    }
    fn kept(&self, tenant: &Tenant, id: &str) -> Option<Held> {
        self.shared.webhooks.read().kept.get(&(tenant.clone(), id.into())).cloned()
    }
    async fn keep(&self, tenant: &Tenant, version: u64, kept: Kept) -> Result<(), WebhookFault> {
        let shared = &self.shared;
        let version = shared.shelf.put(&collection(WEBHOOKS, tenant), &kept.id, version, body(&kept)).await?;
        shared.webhooks.hold(tenant, version, kept);
        Ok(())
    }
    /// Switches one that is written elsewhere.
    pub(crate) async fn switch(
        &self,
        tenant: &Tenant,
        id: &str,
        change: WebhookChange,
    ) -> Result<(), WebhookFault> {
        let (shared, id) = (&self.shared, Arc::<str>::from(id));
        if change.url.is_some() || change.events.is_some() || change.workflow.is_some() {
            return Err(elsewhere(id));
        }
        let name = (tenant.clone(), id.clone());
        let marked = shared.webhooks.read().marks.get(&name).map(|(version, _)| *version);
        match (change.enabled, marked) {
            (Some(true), Some(version)) => {
                shared.shelf.delete(&collection(DISABLED, tenant), &id, version).await?;
                shared.webhooks.write().marks.remove(&name);
            }
            (Some(false), None) => {
                let url = self.webhook(tenant, &id).map(|view| view.url).unwrap_or_default();
                mark(shared, tenant, &id, (url, SWITCHED_OFF)).await?;
            }
            _ => {}
        }
        Ok(())
    }
    /// Removes a webhook. What waits for it is given up. `false` where there is none.
    ///
    /// # Errors
    /// That it is written elsewhere.
    pub async fn remove_webhook(&self, tenant: &Tenant, id: &str) -> Result<bool, WebhookFault> {
        let Some(held) = self.kept(tenant, id) else {
            return match self.webhook(tenant, id) {
                Some(view) => Err(elsewhere(view.id)),
                None => Ok(false),
            };
        };
        self.shared.shelf.delete(&collection(WEBHOOKS, tenant), id, held.version).await?;
        self.shared.webhooks.forget(tenant, id);
        Ok(true)
    }
    /// Gives a webhook another secret, this once. The one before signs as well for a while. `None` where there is none.
    ///
    /// # Errors
    /// That it is written elsewhere, with its secret.
    pub async fn rotate_webhook(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<(WebhookView, Secret)>, WebhookFault> {
        let Some(Held { version, mut kept, .. }) = self.kept(tenant, id) else {
            return match self.webhook(tenant, id) {
                Some(view) => Err(elsewhere(view.id)),
                None => Ok(None),
            };
        };
        let until = self.shared.now().plus_ms(self.shared.limits.webhook_rotation_ms);
        (kept.before, kept.secret) = (Some((kept.secret, until)), kept.secret + 1);
        let secret = self.shared.webhooks.secret(&kept.id, kept.secret);
        self.keep(tenant, version, kept).await?;
        Ok(self.webhook(tenant, id).map(|view| (view, secret)))
    }
    /// Sends a webhook a message that says nothing. `None` where there is none.
    ///
    /// # Errors
    /// That nothing is sent to it.
    pub async fn test_webhook(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<DeliveryView>, WebhookFault> {
        let Some(webhook) = self.webhook(tenant, id) else { return Ok(None) };
        if let Some(disabled) = webhook.disabled {
            return Err(WebhookFault::Off { id: webhook.id, reason: disabled.reason });
        }
        let (shared, now, message) = (&self.shared, self.shared.now(), new_id());
        let delivery = Delivery {
            id: message,
            tenant: tenant.clone(),
            endpoint: webhook.id.clone(),
            url: webhook.url,
            secret: webhook.secret,
            run: None,
            event: TEST.into(),
            message: message::of_test(message, &webhook.id, now),
            created: now,
            standing: Standing::Waiting(now),
            tries: Tries::default().json(),
        };
        let write = DeliveryWrite { epoch: shared.epoch(), expected: 0, delivery: delivery.clone() };
        shared.shelf.put_delivery(write).await?;
        shared.webhooks.ring();
        Ok(Some(view(shared, delivery)))
    }

    /// A page of deliveries, newest first.
    pub async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<DeliveryView>, StoreFault> {
        let rows = self.shared.shelf.deliveries(query).await?;
        Ok(rows.into_iter().map(|row| view(&self.shared, row.delivery)).collect())
    }
    /// A delivery. `None` where the tenant has none of this id.
    pub async fn delivery(
        &self,
        tenant: &Tenant,
        id: DeliveryId,
    ) -> Result<Option<DeliveryView>, StoreFault> {
        let row = self.shared.shelf.delivery(tenant, id).await?;
        Ok(row.map(|row| view(&self.shared, row.delivery)))
    }
    /// Sends a message once more, under the same id, whatever became of it. `None` where there is none.
    ///
    /// # Errors
    /// That nothing is sent to its webhook, or that this is there no more.
    pub async fn redeliver(
        &self,
        tenant: &Tenant,
        id: DeliveryId,
    ) -> Result<Option<DeliveryView>, WebhookFault> {
        let shared = &self.shared;
        let Some(row) = shared.shelf.delivery(tenant, id).await? else { return Ok(None) };
        let endpoint = &row.delivery.endpoint;
        match self.webhook(tenant, endpoint) {
            Some(WebhookView { disabled: Some(disabled), id, .. }) => {
                return Err(WebhookFault::Off { id, reason: disabled.reason });
            }
            None if endpoint.starts_with(TENANT) || endpoint.starts_with(NODE) => {
                return Err(WebhookFault::Removed(endpoint.clone()));
            }
            _ => {}
        }
        let tries = Tries::read(&row.delivery.tries).anew().json();
        let delivery = Delivery { standing: Standing::Waiting(shared.now()), tries, ..row.delivery };
        let write =
            DeliveryWrite { epoch: shared.epoch(), expected: row.version, delivery: delivery.clone() };
        shared.shelf.put_delivery(write).await?;
        shared.webhooks.ring();
        Ok(Some(view(shared, delivery)))
    }
}

fn elsewhere(id: Arc<str>) -> WebhookFault {
    let place = match id.starts_with(NODE) {
        true => "the node's heddle.toml",
        false => "the `notify` of a workflow",
    };
    WebhookFault::Elsewhere { id, place }
}

async fn mark(
    shared: &Shared,
    tenant: &Tenant,
    id: &Arc<str>,
    (url, reason): (Arc<str>, &str),
) -> Result<(), StoreFault> {
    let mark = Mark { url, disabled: Disabled { reason: reason.into(), at: shared.now() } };
    let version = shared.shelf.put(&collection(DISABLED, tenant), id, 0, body(&mark)).await?;
    shared.webhooks.write().marks.insert((tenant.clone(), id.clone()), (version, mark));
    Ok(())
}

/// Sends nothing more to an endpoint that says that it is gone.
pub(super) async fn disable_gone(shared: &Arc<Shared>, delivery: &Delivery) {
    let (tenant, id) = (&delivery.tenant, &delivery.endpoint);
    let executor = Executor { shared: shared.clone() };
    let done = match executor.kept(tenant, id) {
        Some(Held { version, mut kept, .. }) => {
            kept.disabled = Some(Disabled { reason: GONE.into(), at: shared.now() });
            executor.keep(tenant, version, kept).await
        }
        None => mark(shared, tenant, id, (delivery.url.clone(), GONE)).await.map_err(Into::into),
    };
    match done {
        Ok(()) => tracing::warn!(webhook = %id, "a webhook says that it is gone; nothing more is sent to it"),
        // Another message was told the same.
        Err(WebhookFault::Store(StoreFault::Conflict(_))) => {}
        Err(fault) => tracing::error!(webhook = %id, %fault, "a webhook that is gone cannot be disabled"),
    }
}
