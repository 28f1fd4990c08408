//! What is owed to webhooks: one row for each message to each endpoint, written in the same append as the fact that it
//! tells. A row is never lost between the two: it is there exactly when the fact is.
//!
//! The node that claims a row sends it, and writes down what came of it under its lease and at the version that it
//! claimed; a row whose node went away in between is claimed again. So each message is sent at least once.

use crate::model::{Lease, StoreFault};
use futures_util::future::BoxFuture;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::time::Timestamp;
use heddle_core::webhook::DeliveryId;
use std::sync::Arc;

/// A message to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, which is newer than those before it.
    pub id: DeliveryId,
    /// The owner.
    pub tenant: Tenant,
    /// The endpoint: deliveries to the same one are bounded together.
    pub endpoint: Arc<str>,
    /// Where that was when the message was made.
    pub url: Arc<str>,
    /// The name of the secret that signs, where the endpoint has none of its own.
    pub secret: Option<Arc<str>>,
    /// The run that it tells of.
    pub run: Option<RunId>,
    /// The type of the event.
    pub event: Arc<str>,
    /// What is sent, byte for byte.
    pub message: Json,
    /// When it was made.
    pub created: Timestamp,
    /// Where it stands.
    pub standing: Standing,
    /// What came of the tries so far, as JSON.
    pub tries: Json,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is to be sent at this time.
    Waiting(Timestamp),
    /// It was taken, at this time.
    Delivered(Timestamp),
    /// It was given up, at this time.
    Failed(Timestamp),
}

impl Standing {
    /// When it is to be sent.
    pub fn due(self) -> Option<Timestamp> {
        match self {
            Standing::Waiting(at) => Some(at),
            Standing::Delivered(_) | Standing::Failed(_) => None,
        }
    }
    /// When it ended.
    pub fn finished(self) -> Option<Timestamp> {
        match self {
            Standing::Waiting(_) => None,
            Standing::Delivered(at) | Standing::Failed(at) => Some(at),
        }
    }
    /// Without its time.
    pub fn status(self) -> DeliveryStatus {
        match self {
            Standing::Waiting(_) => DeliveryStatus::Waiting,
            Standing::Delivered(_) => DeliveryStatus::Delivered,
            Standing::Failed(_) => DeliveryStatus::Failed,
        }
    }
}

/// Where a delivery stands, for lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is to be sent.
    Waiting,
    /// It was taken.
    Delivered,
    /// It was given up.
    Failed,
}

impl DeliveryStatus {
    /// All of them; a store keeps each by its place here.
    pub const ALL: [DeliveryStatus; 3] =
        [DeliveryStatus::Waiting, DeliveryStatus::Delivered, DeliveryStatus::Failed];
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            DeliveryStatus::Waiting => "waiting",
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Failed => "failed",
        }
    }
}

/// A delivery with its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Grows by one with each write; 1 when new.
    pub version: u64,
    /// The delivery.
    pub delivery: Delivery,
}

/// A write of a delivery. Only where it stands and its tries change.
#[derive(Clone, Debug)]
pub struct DeliveryWrite {
    /// The epoch of the lease of the node that writes.
    pub epoch: u64,
    /// The version that was read; 0 for a new one.
    pub expected: u64,
    /// The delivery.
    pub delivery: Delivery,
}

/// Which rows a node takes.
#[derive(Clone, Debug)]
pub struct DeliveryClaim {
    /// Those that are due by then.
    pub now: Timestamp,
    /// How many at most.
    pub limit: u32,
    /// How many of one endpoint may be on their way.
    pub per_endpoint: u32,
    /// Endpoints of which some are on their way already, and how many.
    pub busy: Vec<(Arc<str>, u32)>,
    /// The endpoints after this one have their turn first.
    pub after: Arc<str>,
}

impl DeliveryClaim {
    /// How many more of this endpoint may be taken.
    pub(crate) fn room(&self, endpoint: &str) -> u32 {
        let busy = self.busy.iter().find(|(name, _)| **name == *endpoint).map_or(0, |(_, count)| *count);
        self.per_endpoint.saturating_sub(busy)
    }
}

/// What a node has taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The rows, an endpoint's oldest due ones first.
    pub rows: Vec<DeliveryRow>,
    /// When the next one will be due of an endpoint that has room.
    pub next: Option<Timestamp>,
}

/// Which deliveries a list shows. Newest first.
#[derive(Clone, Debug, Default)]
pub struct DeliveryQuery {
    /// The owner.
    pub tenant: Tenant,
    /// Only to this endpoint.
    pub endpoint: Option<Arc<str>>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// Only where they stand so.
    pub status: Option<DeliveryStatus>,
    /// Only before this one, in the order of the list.
    pub before: Option<DeliveryId>,
    /// How many at most.
    pub limit: u32,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxReport {
    /// How many.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
}

/// Why a delivery was not written. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxFault {
    /// It has another version.
    #[error("delivery {id} is at version {found}, not at {expected}")]
    Conflict {
        /// The delivery.
        id: DeliveryId,
        /// The version it was decided on.
        expected: u64,
        /// The version there is; 0 for none.
        found: u64,
    },
    /// The node's lease has ended.
    #[error("the lease with epoch {epoch} has ended")]
    Fenced {
        /// The epoch that the write carried.
        epoch: u64,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The rows that are owed to webhooks.
pub trait Outbox: Send + Sync + 'static {
    /// Hands the node rows that are due and that no living node sends, the endpoints in turn. They are its own until it
    /// writes them or its lease ends. Without a living lease there are none.
    fn claim_deliveries(
        &self,
        lease: &Lease,
        claim: DeliveryClaim,
    ) -> BoxFuture<'static, Result<Claimed, StoreFault>>;
    /// Writes a row if it still has the expected version and the writer's lease lives; nobody sends it from then on,
    /// until it is claimed. Gives the new version. Answered after the commit.
    fn put_delivery(&self, write: DeliveryWrite) -> BoxFuture<'static, Result<u64, OutboxFault>>;
    /// One row of a tenant.
    fn delivery(
        &self,
        tenant: &Tenant,
        id: DeliveryId,
    ) -> BoxFuture<'static, Result<Option<DeliveryRow>, StoreFault>>;
    /// A page of rows.
    fn deliveries(&self, query: DeliveryQuery) -> BoxFuture<'static, Result<Vec<DeliveryRow>, StoreFault>>;
    /// What waits, of all tenants.
    fn outbox_report(&self) -> BoxFuture<'static, Result<OutboxReport, StoreFault>>;
}
