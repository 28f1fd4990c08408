//! Sends what is owed, for as long as the node lives: rows are claimed when they are due, a bounded number of them is on
//! its way at a time, fewer to one endpoint, and what came of each is written down under the node's lease. Whatever dies
//! in between is sent again, under the same id.

use super::list::{Tried, Tries};
use super::{Closed, Post, TRIGGER};
use crate::shared::Shared;
use crate::telemetry as t;
use crate::triggers::start::{Started, start};
use heddle_core::outcome::FailureKind;
use heddle_core::time::Timestamp;
use heddle_core::webhook::message::MEDIA_TYPE;
use heddle_core::webhook::retry::{Answer, Verdict, judge};
use heddle_core::webhook::signature::sign;
use heddle_store::outbox::{Delivery, DeliveryClaim, DeliveryRow, DeliveryWrite, OutboxFault, Standing};
use metrics::{counter, gauge, histogram};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often rows are looked for that another node has left.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The messages that are on their way.
struct Sender {
    shared: Arc<Shared>,
    sending: JoinSet<Sent>,
    busy: HashMap<Arc<str>, u32>,
    /// Endpoints that have said that they have too much to do, and until when.
    holds: HashMap<Arc<str>, Timestamp>,
    /// The endpoint that had its turn last.
    after: Arc<str>,
}

/// What came of a message.
struct Sent {
    endpoint: Arc<str>,
    hold: Option<Timestamp>,
}

/// Sends until the node stops; then what is on its way may end.
pub(crate) async fn deliver(shared: Arc<Shared>) {
    let mut sender = Sender {
        shared,
        sending: JoinSet::new(),
        busy: HashMap::new(),
        holds: HashMap::new(),
        after: "".into(),
    };
    let mut counted = None;
    loop {
        let shared = sender.shared.clone();
        if shared.is_draining() || shared.lost.load(Ordering::Acquire) {
            break;
        }
        let next = sender.claim().await;
        if counted.is_none_or(|at: Instant| at.elapsed() >= LOOK_EVERY) {
            counted = Some(Instant::now());
            count(&shared).await;
        }
        let soon = next.map_or(LOOK_EVERY, |at| Duration::from_millis(at.since_ms(shared.now())));
        tokio::select! {
            Some(sent) = sender.sending.join_next() => sender.sent(sent.ok()),
            () = shared.webhooks.bell.notified() => {}
            () = tokio::time::sleep(soon.min(LOOK_EVERY)) => {}
        }
    }
    while sender.sending.join_next().await.is_some() {}
}

/// Counts what waits; others may have added to it.
async fn count(shared: &Shared) {
    match shared.shelf.outbox_report().await {
        Ok(report) => {
            shared.webhooks.waiting.store(report.waiting, Ordering::Relaxed);
            shared.webhooks.oldest.store(report.oldest.unwrap_or_default().0, Ordering::Relaxed);
            gauge!(t::DELIVERIES_WAITING).set(report.waiting as f64);
        }
        Err(fault) => tracing::error!(%fault, "what is owed to webhooks cannot be counted"),
    }
}

impl Sender {
    /// Takes what is due and sends it. Gives when the next is.
    async fn claim(&mut self) -> Option<Timestamp> {
        let (now, limits) = (self.shared.now(), self.shared.limits.clone());
        self.holds.retain(|_, until| now < *until);
        let room = (limits.webhooks_at_once as usize).saturating_sub(self.sending.len());
        if room == 0 {
            return None;
        }
        let per_endpoint = limits.webhook_endpoint_at_once as u32;
        let held = self.holds.keys().map(|endpoint| (endpoint.clone(), per_endpoint));
        let busy = self.busy.iter().filter(|(endpoint, _)| !self.holds.contains_key(*endpoint));
        let busy = busy.map(|(endpoint, count)| (endpoint.clone(), *count)).chain(held).collect();
        let claim = DeliveryClaim { now, limit: room as u32, per_endpoint, busy, after: self.after.clone() };
        match self.shared.shelf.claim_deliveries(&self.shared.lease(), claim).await {
            Ok(claimed) => {
                if let Some(last) = claimed.rows.last() {
                    self.after = last.delivery.endpoint.clone();
                }
                claimed.rows.into_iter().for_each(|row| self.begin(row));
                [claimed.next, self.holds.values().min().copied()].into_iter().flatten().min()
            }
            Err(fault) => {
                tracing::error!(%fault, "what is owed to webhooks cannot be taken");
                None
            }
        }
    }
    fn begin(&mut self, row: DeliveryRow) {
        *self.busy.entry(row.delivery.endpoint.clone()).or_default() += 1;
        self.shared.webhooks.sending.fetch_add(1, Ordering::AcqRel);
        let shared = self.shared.clone();
        self.sending.spawn(async move {
            let sent = send(&shared, row).await;
            shared.webhooks.sending.fetch_sub(1, Ordering::AcqRel);
            sent
        });
    }
    fn sent(&mut self, sent: Option<Sent>) {
        let Some(Sent { endpoint, hold }) = sent else { return };
        if let Some(count) = self.busy.get_mut(&endpoint) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(&endpoint);
            }
        }
        if let Some(until) = hold {
            self.holds.insert(endpoint, until);
        }
    }
}

/// One try, and what becomes of the message by it.
async fn send(shared: &Arc<Shared>, DeliveryRow { version, delivery }: DeliveryRow) -> Sent {
    let (began, at) = (Instant::now(), shared.now());
    let endpoint = delivery.endpoint.clone();
    let mut tries = Tries::read(&delivery.tries);
    let (tried, verdict) = match to_trigger(shared, &delivery, (at, began), tries.counted() + 1).await {
        Some(done) => done,
        None => to_webhook(shared, &delivery, (at, began), tries.counted() + 1).await,
    };
    tries = tries.and(tried);
    let now = shared.now();
    let (standing, hold, outcome) = match verdict {
        Verdict::Delivered => (Standing::Delivered(now), None, "delivered"),
        Verdict::Again { at, hold } => (Standing::Waiting(at), Some(at).filter(|_| hold), "again"),
        Verdict::GivenUp | Verdict::Gone => (Standing::Failed(now), None, "failed"),
    };
    counter!(t::DELIVERIES, "outcome" => outcome).increment(1);
    histogram!(t::DELIVERY_SECONDS).record(began.elapsed());
    if verdict == Verdict::Gone {
        super::wishes::disable_gone(shared, &delivery).await;
    }
    let told = Delivery { standing, tries: tries.json(), ..delivery };
    write_down(shared, version, told).await;
    Sent { endpoint, hold }
}

/// A run instead of a message, where it is owed to a trigger.
async fn to_trigger(
    shared: &Arc<Shared>,
    delivery: &Delivery,
    (at, began): (Timestamp, Instant),
    tries: u32,
) -> Option<(Tried, Verdict)> {
    delivery.endpoint.strip_prefix(TRIGGER)?;
    Some(match start(shared, delivery).await {
        Started::Run(run) => (Tried::began(at, began.elapsed(), run), Verdict::Delivered),
        Started::NotNow(answer) => judged(shared, delivery, tries, (at, began), &answer),
        Started::Never(kind, message) => (Tried::not_sent(at, kind, message), Verdict::GivenUp),
    })
}

/// A message.
async fn to_webhook(
    shared: &Arc<Shared>,
    delivery: &Delivery,
    (at, began): (Timestamp, Instant),
    tries: u32,
) -> (Tried, Verdict) {
    match shared.webhooks.target(delivery, at) {
        Err(Closed::Until(kind, message)) => (Tried::not_sent(at, kind, message), Verdict::GivenUp),
        Ok((url, secrets)) => {
            let (id, body) = (delivery.id.to_string(), delivery.message.clone());
            let timestamp = at.0 / 1_000;
            let headers = vec![
                ("content-type", MEDIA_TYPE.to_owned()),
                ("webhook-signature", sign(&secrets, &id, timestamp, body.text().as_bytes())),
                ("webhook-timestamp", timestamp.to_string()),
                ("webhook-id", id),
            ];
            let timeout = Duration::from_millis(shared.limits.webhook_ms);
            let answer = shared.webhooks.parts.courier.post(Post { url, headers, body, timeout }).await;
            judged(shared, delivery, tries, (at, began), &answer)
        }
        Err(Closed::Lacking(message)) => {
            let answer = Answer::Failed { kind: FailureKind::EgressFailed, message };
            judged(shared, delivery, tries, (at, began), &answer)
        }
    }
}

fn judged(
    shared: &Shared,
    delivery: &Delivery,
    tries: u32,
    (at, began): (Timestamp, Instant),
    answer: &Answer,
) -> (Tried, Verdict) {
    let verdict = judge(answer, delivery.id, tries, shared.now(), &shared.limits);
    (Tried::of(at, began.elapsed(), answer), verdict)
}

async fn write_down(shared: &Shared, expected: u64, delivery: Delivery) {
    let (id, ended) = (delivery.id, delivery.standing.finished().is_some());
    let write = DeliveryWrite { epoch: shared.epoch(), expected, delivery };
    match shared.shelf.put_delivery(write).await {
        Ok(_) if ended => {
            let less = |waiting: u64| Some(waiting.saturating_sub(1));
            let _ = shared.webhooks.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        Ok(_) => {}
        // A person wants it sent again, and whoever claims it next does that.
        Err(OutboxFault::Conflict { .. }) => {}
        Err(fault) => tracing::error!(%id, %fault, "what came of a message cannot be kept; it is sent again"),
    }
}
