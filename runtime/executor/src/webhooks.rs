//! Webhooks: who is told of what happens to runs, at three levels, and what is owed to whom.
//!
//! ```text
//!  workflow: notify ──┐                       ┌──► rows, in the append of the fact ([`outbox`])
//!  tenant: the API  ──┼─► facts of a row ─────┤
//!  node: heddle.toml ─┘   that are wanted     └──► [`deliver`]: claim, sign, post, judge, write down
//! ```
//! A run that nobody is told of costs a look at two empty lists. What a message's way ends with never reaches its run.

pub(crate) mod deliver;
mod list;
pub(crate) mod outbox;
mod wishes;

pub(crate) use list::Tries;
pub use list::{DeliveryView, Tried, WebhookLevel, WebhookView};
pub use wishes::{WebhookChange, WebhookFault, WebhookWish};

use crate::shared::Shared;
use futures_util::future::BoxFuture;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::FailureKind;
use heddle_core::plan::Plan;
use heddle_core::time::Timestamp;
use heddle_core::webhook::filter::EventFilter;
use heddle_core::webhook::retry::Answer;
use heddle_core::webhook::signature::Secret;
use heddle_store::{StoreFault, shelf::collection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Sends messages. The server plugs in the web; tests plug in a script.
pub trait Courier: Send + Sync + 'static {
    /// Sends one message and gives what came back. Every end is a value. Whoever does it looks the name up, dials only
    /// an address that may be dialled, and follows nothing.
    fn post(&self, post: Post) -> BoxFuture<'static, Answer>;
}

/// One message on its way.
#[derive(Clone, Debug)]
pub struct Post {
    /// Where to.
    pub url: Arc<str>,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Json,
    /// How long it may take.
    pub timeout: Duration,
}

/// A courier that goes nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Courier for Nowhere {
    fn post(&self, _: Post) -> BoxFuture<'static, Answer> {
        let message = "this node sends nothing".to_owned();
        Box::pin(async { Answer::Failed { kind: FailureKind::EgressDenied, message } })
    }
}

/// What a node needs to send messages, and what its operator said about them.
#[derive(Clone)]
pub struct WebhookParts {
    /// What sends them.
    pub courier: Arc<dyn Courier>,
    /// What the secrets of webhooks follow from that were made over the API. Whoever has it can sign for all of them.
    pub key: [u8; 32],
    /// Secrets that the operator has named, for workflows and webhooks of the node. All of one name sign.
    pub secrets: BTreeMap<Arc<str>, Vec<Secret>>,
    /// Webhooks of the node.
    pub node: Vec<NodeWebhook>,
}

impl fmt::Debug for WebhookParts {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookParts").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Default for WebhookParts {
    /// Nothing is sent, and nobody is told.
    fn default() -> WebhookParts {
        WebhookParts { courier: Arc::new(Nowhere), key: [0; 32], secrets: BTreeMap::new(), node: Vec::new() }
    }
}

/// A webhook of the node: it is told of the runs of every tenant.
#[derive(Clone, Debug)]
pub struct NodeWebhook {
    /// Its name.
    pub name: Arc<str>,
    /// Where to.
    pub url: Arc<str>,
    /// Of which events.
    pub events: EventFilter,
    /// The name of the secret that signs.
    pub secret: Arc<str>,
}

impl NodeWebhook {
    fn endpoint(&self) -> Arc<str> {
        format!("{NODE}{}", self.name).into()
    }
}

/// What the id of an endpoint begins with, by its level.
const TENANT: &str = "wh_";
const NODE: &str = "node-";
const WORKFLOW: &str = "workflow-";
/// What the id of an endpoint begins with that is no webhook but a trigger of a workflow.
pub(crate) const TRIGGER: &str = "trigger-";

const WEBHOOKS: &str = "webhooks";
const DISABLED: &str = "webhooks-disabled";
const PAGE: u32 = 200;

/// The endpoint of a workflow's `notify`: the same for all of its versions that name the same address and secret.
fn workflow_endpoint(tenant: &Tenant, url: &str, secret: &str) -> Arc<str> {
    let digest = Digest::of(format!("{tenant}\n{secret}\n{url}").as_bytes());
    format!("{WORKFLOW}{}", &digest.hex()[..16]).into()
}

/// A webhook that was made over the API, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    id: Arc<str>,
    url: Arc<str>,
    events: Vec<Arc<str>>,
    /// Only runs of this workflow, `namespace/name`.
    workflow: Option<Arc<str>>,
    /// Why nothing is sent to it, where nothing is.
    disabled: Option<Disabled>,
    /// Which of its secrets signs; the first is 1.
    secret: u32,
    /// The secret before it, and until when that signs as well.
    before: Option<(u32, Timestamp)>,
    created: Timestamp,
    by: Option<Arc<str>>,
}

/// Why nothing is sent to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Disabled {
    /// In a sentence.
    pub reason: Arc<str>,
    /// Since when.
    pub at: Timestamp,
}

/// That an endpoint which is written elsewhere is disabled.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    url: Arc<str>,
    disabled: Disabled,
}

/// A kept webhook with the version of its record and its filter.
#[derive(Clone, Debug)]
struct Held {
    version: u64,
    kept: Kept,
    events: EventFilter,
}

/// All endpoints that this node knows.
pub(crate) struct Endpoints {
    parts: WebhookParts,
    known: RwLock<Known>,
    /// Whether any run may have somebody who is told of it, whatever its workflow says.
    any: AtomicBool,
    /// What waits, as far as this node knows.
    pub(crate) waiting: AtomicU64,
    /// When the oldest of that was made; 0 for nothing.
    oldest: AtomicU64,
    /// Messages that are on their way.
    pub(crate) sending: AtomicUsize,
    bell: tokio::sync::Notify,
}

#[derive(Default)]
struct Known {
    kept: BTreeMap<(Tenant, Arc<str>), Held>,
    marks: BTreeMap<(Tenant, Arc<str>), (u64, Mark)>,
}

/// Why nothing can be sent to an endpoint now.
enum Closed {
    /// Not until a person does something.
    Until(&'static str, String),
    /// The node lacks something that it may have when it is started again.
    Lacking(String),
}

impl Endpoints {
    pub(crate) fn new(parts: WebhookParts) -> Endpoints {
        Endpoints {
            any: AtomicBool::new(!parts.node.is_empty()),
            parts,
            known: RwLock::default(),
            waiting: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            sending: AtomicUsize::new(0),
            bell: tokio::sync::Notify::new(),
        }
    }
    /// Reads what is kept of a tenant.
    pub(crate) async fn load(&self, shared: &Shared, tenant: &Tenant) -> Result<(), StoreFault> {
        for record in all(shared, WEBHOOKS, tenant).await? {
            let kept: Kept = parse(&record.key, &record.body)?;
            self.hold(tenant, record.version, kept);
        }
        for record in all(shared, DISABLED, tenant).await? {
            let mark = parse(&record.key, &record.body)?;
            self.write().marks.insert((tenant.clone(), record.key.into()), (record.version, mark));
        }
        Ok(())
    }
    fn hold(&self, tenant: &Tenant, version: u64, kept: Kept) {
        let events = EventFilter::of(&kept.events);
        self.write().kept.insert((tenant.clone(), kept.id.clone()), Held { version, kept, events });
        self.any.store(true, Ordering::Release);
    }
    fn forget(&self, tenant: &Tenant, id: &str) {
        let mut known = self.write();
        known.kept.remove(&(tenant.clone(), id.into()));
        self.any.store(!self.parts.node.is_empty() || !known.kept.is_empty(), Ordering::Release);
    }
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether nobody is told of runs of this plan.
    pub(crate) fn is_silent(&self, plan: &Plan) -> bool {
        plan.notify.is_empty() && !self.any.load(Ordering::Acquire)
    }
    /// Why nothing is owed to an endpoint that is written elsewhere, where nothing is.
    pub(crate) fn off(&self, tenant: &Tenant, endpoint: &Arc<str>) -> Option<Disabled> {
        let known = self.read();
        known.marks.get(&(tenant.clone(), endpoint.clone())).map(|(_, mark)| mark.disabled.clone())
    }
    /// Whether that is so.
    pub(crate) fn is_off(&self, tenant: &Tenant, endpoint: &Arc<str>) -> bool {
        self.read().marks.contains_key(&(tenant.clone(), endpoint.clone()))
    }
    /// What is the same for the same text on this node, and from which the text cannot be found.
    pub(crate) fn mark_of(&self, text: &str) -> String {
        Digest::of(Secret::derive(&self.parts.key, text).reveal().as_bytes()).hex()
    }
    /// The operator's secrets of this name.
    ///
    /// # Errors
    /// That there are none, and how to give them.
    pub(crate) fn named_secrets(&self, name: &str) -> Result<Vec<Secret>, String> {
        let found = self.parts.secrets.get(name).cloned();
        found.ok_or_else(|| lacks_secret(name, &self.secret_names()))
    }
    /// Something is owed that was not before.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }
    /// The names of the operator's secrets.
    pub(crate) fn secret_names(&self) -> Vec<Arc<str>> {
        self.parts.secrets.keys().cloned().collect()
    }
    /// How many endpoints nothing is sent to.
    pub(crate) fn disabled(&self) -> usize {
        let known = self.read();
        known.marks.len() + known.kept.values().filter(|held| held.kept.disabled.is_some()).count()
    }
    /// When the oldest message was made that waits.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        Some(Timestamp(self.oldest.load(Ordering::Relaxed))).filter(|at| at.0 > 0)
    }

    /// Where a message goes now, and with which secrets: what was corrected since it was made counts.
    fn target(
        &self,
        owed: &heddle_store::outbox::Delivery,
        now: Timestamp,
    ) -> Result<(Arc<str>, Vec<Secret>), Closed> {
        let (tenant, endpoint) = (&owed.tenant, &owed.endpoint);
        if endpoint.starts_with(TENANT) {
            let known = self.read();
            let held = known.kept.get(&(tenant.clone(), endpoint.clone()));
            let kept = held.map(|held| &held.kept).ok_or_else(removed)?;
            if let Some(disabled) = &kept.disabled {
                return Err(closed(disabled));
            }
            return Ok((kept.url.clone(), self.own_secrets(kept, now)));
        }
        if let Some((_, mark)) = self.read().marks.get(&(tenant.clone(), endpoint.clone())) {
            return Err(closed(&mark.disabled));
        }
        let (url, secret) = match endpoint.strip_prefix(NODE) {
            Some(name) => {
                let webhook =
                    self.parts.node.iter().find(|webhook| *webhook.name == *name).ok_or_else(removed)?;
                (webhook.url.clone(), Some(webhook.secret.clone()))
            }
            None => (owed.url.clone(), owed.secret.clone()),
        };
        let name = secret.unwrap_or_default();
        self.named_secrets(&name).map(|secrets| (url, secrets)).map_err(Closed::Lacking)
    }
    /// The secrets of a webhook that was made over the API, the newest first.
    fn own_secrets(&self, kept: &Kept, now: Timestamp) -> Vec<Secret> {
        let before = kept.before.filter(|(_, until)| now < *until).map(|(number, _)| number);
        [Some(kept.secret), before]
            .into_iter()
            .flatten()
            .map(|number| self.secret(&kept.id, number))
            .collect()
    }
    fn secret(&self, id: &str, number: u32) -> Secret {
        Secret::derive(&self.parts.key, &format!("{id}/{number}"))
    }
}

fn removed() -> Closed {
    Closed::Until("webhook_removed", "the webhook is there no more".into())
}
fn closed(disabled: &Disabled) -> Closed {
    Closed::Until("webhook_disabled", format!("nothing is sent to it: {}", disabled.reason))
}

/// What is said of a secret that the node does not have.
pub(crate) fn lacks_secret(name: &str, known: &[Arc<str>]) -> String {
    let near = heddle_core::expr::tree::nearest(name, known.iter().map(|known| &**known));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!(
        "this node has no webhook secret `{name}`{near}; an operator gives it one in heddle.toml: `[webhook_secrets]`, `{name} = \"env:VARIABLE\"`"
    )
}

fn parse<T: serde::de::DeserializeOwned>(key: &str, body: &Json) -> Result<T, StoreFault> {
    serde_json::from_str(body.text())
        .map_err(|error| StoreFault::Damaged { what: format!("webhook {key}"), why: error.to_string() })
}

fn body(value: &impl Serialize) -> Json {
    // Records are plain data: they always have a form.
    Json::trusted(serde_json::to_string(value).unwrap_or_default())
}

async fn all(shared: &Shared, word: &str, tenant: &Tenant) -> Result<Vec<heddle_store::Record>, StoreFault> {
    let (collection, mut found) = (collection(word, tenant), Vec::<heddle_store::Record>::new());
    loop {
        let after = found.last().map(|record| record.key.clone()).unwrap_or_default();
        let page = shared.shelf.scan(&collection, &after, PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}
