//! One suite that every backend passes. A backend says how to open an empty store with a clock that is set by hand,
//! and [`conformance_tests`](crate::conformance_tests) makes a test of each case.
//!
//! The cases say what the rules of the seam mean; where a backend and a case disagree, the backend is wrong.

#![allow(clippy::unwrap_used, reason = "an expectation that does not hold is a test that fails")]

pub mod appends;
pub mod calls;
pub mod driving;
pub mod feed;
pub mod keeping;
pub mod outbox;
pub mod reading;
pub mod schedules;
pub mod slots;
pub mod values;

use crate::memory::Damage;
use crate::model::*;
use crate::run_store::RunStore;
use crate::shelf::Shelf;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::event::{Accepted, Batch, Event, Finish, Node, Payload};
use heddle_core::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Both halves of a store.
pub trait Store: RunStore + Shelf {}
impl<T: RunStore + Shelf> Store for T {}

/// A backend under test, with an empty store at first.
pub trait Backend: Send + Sync + 'static {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
    /// Its time, in milliseconds since the Unix epoch.
    fn time(&self) -> &AtomicU64;
    /// Closes the store and opens it again, as a restart does.
    fn reopen(&mut self);
    /// Spoils something that is stored.
    fn damage(&self, what: &Damage);
}

/// When the clocks of the tests begin.
pub const START: Timestamp = Timestamp(1_795_219_200_000);
/// How long the leases of the tests last.
pub const TTL_MS: u64 = 10_000;

/// A store with one node that holds a lease.
#[derive(Debug)]
pub struct Setup<B> {
    /// The backend.
    pub backend: B,
    /// The node's lease.
    pub lease: Lease,
}

impl<B: Backend> Setup<B> {
    /// A node called `one`.
    pub async fn new(backend: B) -> Setup<B> {
        let lease = backend.store().take_lease("one", TTL_MS).await.unwrap().unwrap();
        Setup { backend, lease }
    }
    /// The store.
    pub fn store(&self) -> Arc<dyn Store> {
        self.backend.store()
    }
    /// The time by the store's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.backend.time().load(Ordering::SeqCst))
    }
    /// Lets time pass.
    pub fn pass(&self, ms: u64) {
        self.backend.time().fetch_add(ms, Ordering::SeqCst);
    }
    /// Restarts the store and takes the lease anew.
    pub async fn restart(&mut self) {
        self.backend.reopen();
        self.lease = self.store().take_lease("one", TTL_MS).await.unwrap().unwrap();
    }
    /// The acceptance of a run, claimed by this node unless `status` is queued.
    pub fn acceptance(&self, run: RunId, status: RunStatus) -> Append {
        let row = RunRow { created: self.now(), status, ..row(run) };
        let accepted = Accepted {
            tenant: row.tenant.clone(),
            snapshot: row.snapshot,
            input: Payload::Inline(Json::trusted("{}")),
            max_parallel: 4,
            max_parallel_from: "node".into(),
            by: None,
            labels: row.labels.clone(),
            traceparent: None,
            parent: None,
            deadline: None,
            defaults: None,
            queue: None,
            rerun: None,
        };
        let events = vec![Event::RunAccepted(Arc::new(accepted))];
        Append { index: IndexChange::Create(Box::new(row)), ..self.facts(run, 0, events) }
    }
    /// An append of these facts and nothing else.
    pub fn facts(&self, run: RunId, expected: u64, events: Vec<Event>) -> Append {
        Append {
            run,
            epoch: self.lease.epoch,
            expected,
            batch: Batch { at: self.now(), events },
            index: IndexChange::None,
            blobs: vec![],
            holds: vec![],
            cache: vec![],
            consumed: vec![],
            mail: vec![],
            deliveries: vec![],
            listens: vec![],
            idempotency: vec![],
            queue: None,
            urgency: Urgency::Now,
        }
    }
    /// An append of one small fact.
    pub fn step(&self, run: RunId, expected: u64) -> Append {
        self.facts(
            run,
            expected,
            vec![Event::AttemptStarted { node: Node::step(expected as u32), attempt: 1, turn: 0 }],
        )
    }
    /// An append that changes the status.
    pub fn status(&self, run: RunId, expected: u64, status: RunStatus, due: Option<Timestamp>) -> Append {
        let finished = status.is_terminal().then(|| self.now());
        Append {
            index: IndexChange::Update { status, rest: None, due, finished },
            ..self.step(run, expected)
        }
    }
    /// The end of a run.
    pub fn end(&self, run: RunId, expected: u64) -> Append {
        let events = vec![Event::RunFinished { finish: Finish::Succeeded, output: None, error: None }];
        let batch = Batch { at: self.now(), events };
        Append { batch, ..self.status(run, expected, RunStatus::Succeeded, None) }
    }
    /// Accepts a run and drives it on.
    pub async fn accept(&self, run: RunId, status: RunStatus) {
        assert_eq!(self.store().append(self.acceptance(run, status)).await, Ok(1));
    }
    /// Claims, and gives the runs' ids.
    pub async fn claim(&self, limit: u32) -> Vec<RunId> {
        let rows = self.store().claim(&self.lease, limit).await.unwrap();
        rows.into_iter().map(|row| row.run).collect()
    }
    /// The numbers of a journal's rows.
    pub async fn seqs(&self, run: RunId) -> Vec<u64> {
        let rows = self.store().journal(run, 0, u32::MAX).await.unwrap();
        rows.into_iter().map(|row| row.seq).collect()
    }
}

/// The id of a run: a higher number is a newer run.
pub fn run(number: u64) -> RunId {
    RunId(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(number) << 80 | u128::from(number))
}

/// An index row.
pub fn row(run: RunId) -> RunRow {
    RunRow {
        run,
        tenant: Tenant::default(),
        workflow: "demo/hello".into(),
        workflow_version: "1.2.0".into(),
        snapshot: Digest::of(b"snapshot"),
        labels: vec![],
        by: Some("ada".into()),
        created: START,
        status: RunStatus::Queued,
        rest: None,
        due: None,
        finished: None,
    }
}

/// A value of this many bytes.
pub fn blob(bytes: usize, fill: u8) -> Blob {
    let bytes: Arc<[u8]> = vec![fill; bytes].into();
    Blob { digest: Digest::of(&bytes), bytes }
}

/// Makes a test of each case. Give an expression that opens a new, empty backend.
#[macro_export]
macro_rules! conformance_tests {
    ($open:expr) => {
        $crate::conformance_tests!(@ $open, appends:
            rows_are_numbered_without_gaps lingering_appends_are_committed_too facts_come_back_as_written a_conflict_writes_nothing
            a_refused_append_poisons_those_behind_it an_ended_lease_is_fenced a_run_is_taken_over
            an_idempotency_key_is_one_run an_idempotency_key_ends many_appends_at_once two_drivers_never_both_win
            a_journal_is_read_in_pages a_damaged_row_is_found);
        $crate::conformance_tests!(@ $open, calls:
            entries_are_numbered_in_their_log entries_are_fenced entries_go_with_their_run);
        $crate::conformance_tests!(@ $open, driving:
            a_name_is_held_once a_lease_is_renewed_until_it_ends claims_what_has_something_to_do
            claims_what_was_left_behind claims_are_fair a_claimed_run_is_not_claimed_again
            released_runs_are_claimed_when_due a_message_wakes_a_run a_message_is_never_slept_through
            messages_are_unique_and_consumed messages_to_nobody mail_goes_with_its_append listeners_are_told_of_events);
        $crate::conformance_tests!(@ $open, reading:
            the_index_row_follows_the_run runs_are_listed_newest_first runs_are_filtered runs_are_found_by_what_they_hold pages_join_without_a_seam);
        $crate::conformance_tests!(@ $open, feed:
            all_runs_are_told_in_the_order_of_their_commits a_page_says_how_far_it_looked
            no_position_is_given_twice a_damaged_row_takes_nothing_from_the_others);
        $crate::conformance_tests!(@ $open, values:
            values_come_back large_values_keep_the_order_of_appends a_damaged_value_is_found
            the_cache_answers_its_tenant_until_the_end a_cache_entry_is_replaced a_damaged_entry_is_a_miss
            the_longest_unused_goes_first);
        $crate::conformance_tests!(@ $open, keeping:
            old_runs_go_and_others_stay retention_is_bounded a_value_goes_after_its_last_holder
            keys_and_entries_end a_restart_keeps_what_was_answered records_have_versions records_are_in_order
            a_store_reports runs_that_wait_are_counted);
        $crate::conformance_tests!(@ $open, schedules:
            a_schedule_is_written_at_its_version schedules_are_in_order a_schedule_of_an_ended_lease_is_fenced
            a_schedule_has_one_keeper);
        $crate::conformance_tests!(@ $open, outbox:
            a_delivery_goes_with_its_append a_delivery_is_sent_by_one_node endpoints_have_their_turn
            deliveries_are_listed old_deliveries_go);
        $crate::conformance_tests!(@ $open, slots:
            a_slot_goes_from_one_run_to_the_next what_becomes_of_one_too_many only_who_stays_takes_a_place several_slots_come_together
            levels_and_turns slots_are_neither_lost_nor_given_twice);
    };
    (@ $open:expr, $file:ident: $($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $crate::conformance::$file::$case($open).await;
        })*
    };
}
