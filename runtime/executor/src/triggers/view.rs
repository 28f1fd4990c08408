//! Triggers as they are looked at and switched, and what others send to the address of one.

use super::{Held, endpoint, hear};
use crate::Executor;
use crate::webhooks::{DeliveryView, Disabled, WebhookChange, WebhookFault};
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::trigger::{Occurrence, On, Trigger};
use heddle_core::webhook::inbound::{NotBelieved, verify};
use heddle_store::StoreFault;
use heddle_store::outbox::DeliveryQuery;
use std::sync::Arc;

/// A trigger.
#[derive(Clone, Debug)]
pub struct TriggerView {
    /// What it says.
    pub trigger: Trigger,
    /// The version of its workflow that it stands in.
    pub version: semver::Version,
    /// Who keeps it from starting anything.
    pub paused: Option<Disabled>,
}

/// Whether a trigger is to start anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerChange {
    /// It stands still: what happens meanwhile starts nothing, ever.
    Pause,
    /// It goes on.
    Resume,
}

/// Why what was sent to a trigger's address was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TriggerFault {
    /// There is no webhook trigger of this name.
    #[error("there is no webhook trigger `{0}`")]
    Unknown(String),
    /// The message is not signed as it must be.
    #[error(transparent)]
    NotBelieved(#[from] NotBelieved),
    /// The operator has not given the node the secret.
    #[error("{0}")]
    LacksSecret(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// Headers that stay out of an event: whoever has them could pretend to be the sender.
const KEPT_BACK: &[&str] = &["authorization", "cookie", "proxy-authorization"];
/// Parts of the names of such headers.
const KEPT_BACK_PARTS: &[&str] = &["signature", "secret", "token", "api-key", "apikey", "password"];
/// Headers of an event.
const HEADERS: usize = 64;
/// Bytes of one header of an event.
const HEADER_BYTES: usize = 1_024;

impl Executor {
    /// The triggers of all workflows, by id: those after this one.
    pub fn triggers(&self, tenant: &Tenant, after: &str, limit: u32) -> Vec<TriggerView> {
        let mut held = self.shared.triggers.all(tenant);
        held.sort_by(|a, b| a.trigger.id.cmp(&b.trigger.id));
        let page = held.into_iter().filter(|held| *held.trigger.id > *after).take(limit as usize);
        page.map(|held| self.shown(tenant, held)).collect()
    }
    /// One trigger. `None` where no active workflow has it.
    pub fn trigger_view(&self, tenant: &Tenant, id: &str) -> Option<TriggerView> {
        self.shared.triggers.one(tenant, id).map(|held| self.shown(tenant, held))
    }
    fn shown(&self, tenant: &Tenant, held: Held) -> TriggerView {
        let paused = self.shared.webhooks.off(tenant, &endpoint(&held.trigger.id));
        TriggerView { trigger: held.trigger, version: held.version, paused }
    }
    /// What was owed to a trigger lately, the newest first.
    pub async fn trigger_deliveries(
        &self,
        tenant: &Tenant,
        id: &str,
        limit: u32,
    ) -> Result<Vec<DeliveryView>, StoreFault> {
        let query = DeliveryQuery {
            tenant: tenant.clone(),
            endpoint: Some(endpoint(id)),
            limit,
            ..DeliveryQuery::default()
        };
        self.deliveries(query).await
    }
    /// Lets a trigger stand still or go on. `None` where there is none.
    pub async fn switch_trigger(
        &self,
        tenant: &Tenant,
        id: &str,
        change: TriggerChange,
    ) -> Result<Option<TriggerView>, WebhookFault> {
        if self.trigger_view(tenant, id).is_none() {
            return Ok(None);
        }
        let change =
            WebhookChange { enabled: Some(change == TriggerChange::Resume), ..WebhookChange::default() };
        self.switch(tenant, &endpoint(id), change).await?;
        Ok(self.trigger_view(tenant, id))
    }
    /// What somebody has sent to the address of a trigger: checked, and on disk when this returns. Gives the event's id
    /// and whether it starts anything. Headers are given with their names in lower case.
    ///
    /// # Errors
    /// Why it was not taken.
    pub async fn receive(
        &self,
        tenant: &Tenant,
        id: &str,
        headers: &[(Arc<str>, Arc<str>)],
        (body, data): (&[u8], Json),
    ) -> Result<(Arc<str>, bool), TriggerFault> {
        let shared = &self.shared;
        let found = shared.triggers.one(tenant, id).map(|held| held.trigger.on);
        let Some(On::Webhook { scheme, secret }) = found else {
            return Err(TriggerFault::Unknown(id.to_owned()));
        };
        let secrets = shared.webhooks.named_secrets(&secret).map_err(TriggerFault::LacksSecret)?;
        let now = shared.now();
        let header = |name: &'static str| {
            headers.iter().find(|(given, _)| **given == *name).map(|(_, value)| &**value)
        };
        let own = verify(scheme, &secrets, header, body, now.0 / 1_000)?;
        let kept = headers.iter().filter(|(name, value)| is_kept(name) && value.len() <= HEADER_BYTES);
        let occurrence = Occurrence {
            id: own.clone(),
            name: "webhook".into(),
            by: format!("webhook:{}", scheme.word()).into(),
            at: now,
            data,
            headers: kept.take(HEADERS).cloned().collect(),
            depth: 0,
        };
        let started = hear(shared, tenant, &occurrence, Some(id)).await?;
        Ok((own, !started.is_empty()))
    }
}

fn is_kept(name: &str) -> bool {
    !KEPT_BACK.contains(&name) && !KEPT_BACK_PARTS.iter().any(|part| name.contains(part))
}
