//! Recording a run that nobody drives yet: whether there is room for one more that waits, and the append.

use super::{Opened, SubmitFault};
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::waiting::WaitsFor;
use crate::webhooks::outbox::owed;
use heddle_core::id::RunId;
use heddle_core::plan::OnLimit;
use heddle_core::run::event::{Batch, Event};
use heddle_store::{Append, AppendFault, IndexChange, RunStatus, Urgency};
use std::sync::Arc;

/// Whether the node may drive one more run.
pub(super) fn has_drivers(shared: &Shared) -> bool {
    (shared.active_count() as u64) < shared.limits.runs_active
}

fn full(for_what: WaitsFor) -> impl Fn(u64) -> SubmitFault {
    move |waiting| SubmitFault::QueueFull { waiting, for_what }
}

/// A run that has begun is parked whether or not there is room, so none begins where there is none.
pub(super) fn may_park(shared: &Shared) -> Result<(), SubmitFault> {
    let (parked, most) = (shared.waiting.count(WaitsFor::Outside), WaitsFor::Outside.most(&shared.limits));
    if parked >= most { Err(full(WaitsFor::Outside)(parked)) } else { Ok(()) }
}

/// Counts a run as waiting, if there is room for one more. While there are drivers, nobody waits for a node for long; and
/// whoever finds a slot at once waits for none, so that is tried. Gives what is the matter if there is none.
fn waits(shared: &Shared, opened: &mut Opened) -> Result<Option<SubmitFault>, SubmitFault> {
    let for_what = opened.waits_for();
    let most = match for_what {
        WaitsFor::Node if has_drivers(shared) => u64::MAX,
        other => other.most(&shared.limits),
    };
    let room = shared.waiting.begins_within(for_what, most).map_err(full(for_what));
    if for_what != WaitsFor::Slot {
        return room.map(|()| None);
    }
    Ok(room.err().inspect(|_| {
        opened.queue.slots.iter_mut().for_each(|wish| wish.on_limit = OnLimit::Reject);
        shared.waiting.begins(for_what);
    }))
}

/// Why a run is not recorded.
pub(super) enum Unrecorded {
    /// As many wait as may.
    Full(SubmitFault),
    /// By the store.
    By(AppendFault),
}

/// Records a run that nobody drives yet, and counts it; the claim loop hands it to a driver. Whoever asked for it may go
/// away meanwhile, so it is seen to its end in a task of its own: what is counted is what is on disk.
pub(super) async fn record(
    shared: &Arc<Shared>,
    id: RunId,
    snapshot: &Snapshot,
    mut opened: Opened,
) -> Result<(), Unrecorded> {
    let for_what = opened.waits_for();
    let full = waits(shared, &mut opened).map_err(Unrecorded::Full)?;
    let append = recorded(shared, id, snapshot, opened);
    let is_owed = !append.deliveries.is_empty();
    let (shared, answer) = (shared.clone(), shared.store.append(append));
    let recording = tokio::spawn(async move {
        match answer.await {
            Ok(_) => {
                shared.wake_claim.notify_one();
                shared.bus.feed.ring();
                if is_owed {
                    shared.webhooks.ring();
                }
                Ok(())
            }
            Err(fault) => {
                shared.waiting.ends(for_what);
                Err(fault)
            }
        }
    });
    let recorded = recording.await.unwrap_or_else(|gone| Err(AppendFault::Unavailable(gone.to_string())));
    recorded.map_err(|fault| match (fault, full) {
        (AppendFault::SlotsTaken { .. }, Some(full)) => Unrecorded::Full(full),
        (fault, _) => Unrecorded::By(fault),
    })
}

/// The append that records a run which nobody drives yet.
fn recorded(shared: &Shared, id: RunId, snapshot: &Snapshot, opened: Opened) -> Append {
    let Opened { event, mut opening, now, queue, claims } = opened;
    if let IndexChange::Create(row) = &mut opening.index
        && row.status == RunStatus::Running
    {
        row.status = RunStatus::Queued;
    }
    let accepted = match &event {
        Event::RunAccepted(accepted) => Some(accepted.clone()),
        _ => None,
    };
    let batch = Batch { at: now, events: vec![event] };
    Append {
        run: id,
        epoch: shared.epoch(),
        expected: 0,
        deliveries: owed(shared, snapshot, (id, 1), &batch, accepted.as_deref()),
        batch,
        index: opening.index,
        blobs: opening.blobs,
        holds: opening.holds,
        cache: Vec::new(),
        consumed: Vec::new(),
        mail: Vec::new(),
        listens: opening.listens,
        idempotency: claims,
        queue: Some(queue),
        urgency: Urgency::Now,
    }
}
