//! What a node does besides driving runs: it renews its lease, takes over what nobody drives, and throws away what is
//! old. Recovery is continuous: the same loop picks up queued runs, due ones, and those of a node that went away.

use crate::driver::{Driver, Exit, Nudge, Opening, Standing};
use crate::read;
use crate::shared::Shared;
use crate::telemetry as t;
use crate::waiting::WaitsFor;
use heddle_core::id::RunId;
use heddle_core::run::event::Event;
use heddle_store::{RunRow, RunStatus, StoreFault};
use metrics::counter;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::Instrument as _;

/// How often the store is asked for runs that nobody drives, when nothing says that there are some.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often old things are looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// Rows that one step of retention may remove.
const RETAIN_ROWS: u32 = 200;
/// Runs taken over in one question.
const CLAIM: u32 = 64;

/// Drives a run in a task of its own.
pub(crate) fn spawn(shared: Arc<Shared>, driver: Driver, opening: Option<(Vec<Event>, Opening)>) {
    let run = driver.run_id();
    let span = driver.span();
    tokio::spawn(async move {
        match driver.drive(opening).instrument(span).await {
            Exit::Finished | Exit::Drained => {}
            // It is still this node's.
            Exit::Moved => match shared.store.run(run).await {
                Ok(Some(row)) => Box::pin(take_over(&shared, row)).await,
                Ok(None) => {}
                Err(fault) => stuck(&shared, run, &fault),
            },
            // A message may have come while it was on its way out.
            Exit::Parked => shared.wake_claim.notify_one(),
            Exit::Lost(fault) => {
                tracing::warn!(%run, %fault, "the run is driven elsewhere, or the store is gone; its driver stops")
            }
            Exit::Unreadable(fault) => stuck(&shared, run, &fault),
            Exit::Illegal(fault) => stuck(&shared, run, &fault),
        }
    });
}

/// A run that cannot go on: it keeps its place in the store, and the node remembers why, for `doctor`.
fn stuck(shared: &Shared, run: RunId, fault: &dyn std::fmt::Display) {
    tracing::error!(%run, %fault, "the run cannot go on and stays as it is: `heddle doctor`");
    shared.note_stuck(run, fault.to_string());
}

/// Lets go of what was left in sandboxes by attempts of runs that have ended: nobody will take these over.
pub(crate) async fn forget_ended(shared: &Shared) -> Result<(), StoreFault> {
    for run in shared.left_runs() {
        if shared.store.run(run).await?.is_none_or(|row| row.status.is_terminal()) {
            drop(shared.entered(run));
        }
    }
    Ok(())
}

/// Takes over runs, for as long as the node lives.
pub(crate) async fn claim_loop(shared: Arc<Shared>) {
    loop {
        if shared.is_draining() || shared.lost.load(Ordering::Acquire) {
            return;
        }
        let room = (shared.limits.runs_active as usize).saturating_sub(shared.active_count());
        let taken = if room == 0 { 0 } else { claim(&shared, (room as u32).min(CLAIM)).await };
        if taken < CLAIM as usize {
            tokio::select! {
                () = shared.wake_claim.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

async fn claim(shared: &Arc<Shared>, limit: u32) -> usize {
    let rows = match shared.store.claim(&shared.lease(), limit).await {
        Ok(rows) => rows,
        Err(fault) => {
            tracing::error!(%fault, "runs cannot be taken over");
            return 0;
        }
    };
    let taken = rows.len();
    for row in rows {
        if let Some(kind) = WaitsFor::of(&row) {
            shared.waiting.ends(kind);
        }
        take_over(shared, row).await;
    }
    taken
}

async fn take_over(shared: &Arc<Shared>, row: RunRow) {
    if let Some(active) = shared.active(row.run) {
        // It is driven here already: it has a message.
        let _ = active.nudge.try_send(Nudge::Inbox);
        return;
    }
    match read::replay(shared, &row).await {
        Ok(replayed) => {
            if row.status == RunStatus::Running {
                counter!(t::RUNS_RECOVERED).increment(1);
            }
            let standing = Standing { durable: replayed.seq, status: row.status };
            let driver = Driver::new(shared.clone(), replayed.snapshot, replayed.run, standing, None);
            spawn(shared.clone(), driver, None);
        }
        // The run keeps its place in the store, and other runs go on.
        Err(fault) => stuck(shared, row.run, &fault),
    }
}

/// Renews the node's lease at a third of its life. When it is lost, the node drives nothing any more.
pub(crate) async fn lease_loop(shared: Arc<Shared>) {
    let ttl = shared.limits.lease_ms;
    loop {
        tokio::time::sleep(Duration::from_millis(ttl / 3)).await;
        match shared.store.renew_lease(&shared.lease(), ttl).await {
            Ok(Some(lease)) => shared.renewed(lease),
            Ok(None) => {
                counter!(t::LEASE_LOST).increment(1);
                tracing::error!("the lease of this node is lost; it drives nothing any more: restart it");
                shared.lost.store(true, Ordering::Release);
                for (_, active) in shared.all_active() {
                    let _ = active.nudge.try_send(Nudge::Stop);
                }
                return;
            }
            Err(fault) => tracing::error!(%fault, "the lease cannot be renewed"),
        }
    }
}

/// Throws away what is older than the retention, a few rows at a time.
pub(crate) async fn retention_loop(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(RETAIN_EVERY).await;
        let before = heddle_core::time::Timestamp(shared.now().0.saturating_sub(shared.limits.retention_ms));
        loop {
            match shared.store.retain(before, shared.limits.stored_cache_bytes, RETAIN_ROWS).await {
                Ok(0) => break,
                Ok(_) => tokio::task::yield_now().await,
                Err(fault) => {
                    tracing::error!(%fault, "old runs cannot be removed");
                    break;
                }
            }
        }
    }
}

/// Lets running attempts end, at most for the drain time, then gives everything back.
pub(crate) async fn drain(shared: &Arc<Shared>) {
    shared.draining.store(true, Ordering::Release);
    for (_, active) in shared.all_active() {
        let _ = active.nudge.send(Nudge::Drain).await;
    }
    let end = tokio::time::Instant::now() + Duration::from_millis(shared.limits.drain_ms);
    let mut stopped = false;
    // What is on its way to a webhook is worth waiting for, but no reason to stay.
    let on_its_way =
        || shared.webhooks.sending.load(Ordering::Acquire) > 0 && tokio::time::Instant::now() < end;
    while shared.active_count() > 0 || on_its_way() {
        if tokio::time::Instant::now() >= end && !stopped {
            stopped = true;
            for (_, active) in shared.all_active() {
                let _ = active.nudge.send(Nudge::Stop).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    crate::feed::end(shared);
    if let Err(fault) = shared.store.release_lease(&shared.lease()).await {
        tracing::warn!(%fault, "the lease was not given back; it ends by itself");
    }
}
