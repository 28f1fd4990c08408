//! What the facts of a run owe: a message for each event that an endpoint wants, to be written with the facts.

use super::{Endpoints, Held, workflow_endpoint};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::webhooks::list::{Tried, Tries};
use heddle_core::id::{RunId, Tenant};
use heddle_core::run::event::{Accepted, Batch};
use heddle_core::run::public::public_events;
use heddle_core::webhook::DeliveryId;
use heddle_core::webhook::filter::EventFilter;
use heddle_core::webhook::message::{self, About};
use heddle_store::outbox::{Delivery, Standing};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Somebody who is told of a run.
struct Subscriber {
    endpoint: Arc<str>,
    url: Arc<str>,
    secret: Option<Arc<str>>,
    events: EventFilter,
}

/// What these facts owe. Nothing is looked at where nobody is told of the run.
pub(crate) fn owed(
    shared: &Shared,
    snapshot: &Snapshot,
    (run, seq): (RunId, u64),
    batch: &Batch,
    accepted: Option<&Accepted>,
) -> Vec<Delivery> {
    let plan = &snapshot.plan;
    let Some(accepted) = accepted.filter(|_| !shared.webhooks.is_silent(plan)) else { return Vec::new() };
    let subscribers = shared.webhooks.subscribers(snapshot, &accepted.tenant);
    if subscribers.is_empty() {
        return Vec::new();
    }
    let version = plan.version.to_string();
    let about = About {
        run,
        workflow: &snapshot.workflow,
        version: &version,
        traceparent: accepted.traceparent.as_deref(),
    };
    let mut owed = Vec::new();
    for event in public_events(seq, batch, snapshot.told(run)) {
        let mut wanting =
            subscribers.iter().filter(|subscriber| subscriber.events.wants(event.kind)).peekable();
        if wanting.peek().is_none() {
            continue;
        }
        let Some(message) = message::of_event(&event, about, shared.limits.webhook_bytes) else { continue };
        owed.extend(wanting.map(|subscriber| Delivery {
            id: new_id(),
            tenant: accepted.tenant.clone(),
            endpoint: subscriber.endpoint.clone(),
            url: subscriber.url.clone(),
            secret: subscriber.secret.clone(),
            run: Some(run),
            event: event.kind.into(),
            message: message.clone(),
            created: batch.at,
            standing: Standing::Waiting(batch.at),
            tries: Tries::default().json(),
        }));
    }
    bound(shared, &mut owed);
    owed
}

/// A new id, newer than those before it.
pub(crate) fn new_id() -> DeliveryId {
    DeliveryId(uuid::Uuid::now_v7().as_u128())
}

/// Counts what waits. What is too much is recorded, and not sent.
pub(crate) fn bound(shared: &Shared, owed: &mut [Delivery]) {
    let most = shared.limits.deliveries_waiting;
    for delivery in owed {
        if shared.webhooks.waiting.fetch_add(1, Ordering::Relaxed) < most {
            continue;
        }
        shared.webhooks.waiting.fetch_sub(1, Ordering::Relaxed);
        let message = format!("{most} messages wait already (limit deliveries_waiting); send it by hand");
        let tried = Tried::not_sent(delivery.created, "outbox_full", message);
        delivery.tries = Tries::default().and(tried).json();
        delivery.standing = Standing::Failed(delivery.created);
    }
}

impl Endpoints {
    /// Who is told of runs of this workflow.
    fn subscribers(&self, snapshot: &Snapshot, tenant: &Tenant) -> Vec<Subscriber> {
        let known = self.read();
        let is_open = |endpoint: &Arc<str>| !known.marks.contains_key(&(tenant.clone(), endpoint.clone()));
        let of_workflow = snapshot.plan.notify.iter().map(|notify| Subscriber {
            endpoint: workflow_endpoint(tenant, &notify.url, &notify.secret),
            url: notify.url.clone(),
            secret: Some(notify.secret.clone()),
            events: notify.events.clone(),
        });
        let of_node = self.parts.node.iter().map(|webhook| Subscriber {
            endpoint: webhook.endpoint(),
            url: webhook.url.clone(),
            secret: Some(webhook.secret.clone()),
            events: webhook.events.clone(),
        });
        let wants = |held: &&Held| {
            let kept = &held.kept;
            kept.disabled.is_none() && kept.workflow.as_ref().is_none_or(|name| *name == snapshot.workflow)
        };
        let of_tenant = known.kept.range((tenant.clone(), Arc::from(""))..);
        let of_tenant = of_tenant.take_while(|((owner, _), _)| owner == tenant).map(|(_, held)| held);
        let of_tenant = of_tenant.filter(wants).map(|held| Subscriber {
            endpoint: held.kept.id.clone(),
            url: held.kept.url.clone(),
            secret: None,
            events: held.events.clone(),
        });
        of_workflow.chain(of_node).filter(|one| is_open(&one.endpoint)).chain(of_tenant).collect()
    }
}
