#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
//! An event of a run over ten thousand items costs what an event of a run over a hundred costs, and a step of a workflow
//! of many what a step of one of few costs when it is read. What is counted is what the core asks of the allocator, which is
//! the same on every machine.

use heddle_core::document::Doc;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::Usage;
use heddle_core::plan::Plan;
use heddle_core::run::event::{Accepted, CacheVerdict, Event, Finish, Payload};
use heddle_core::run::scope::Values;
use heddle_core::run::{Action, Change, Ended, Entered, Input, Run};
use heddle_core::time::Timestamp;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

static ASKED: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts")]
// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Whoever counts counts alone.
static ALONE: Mutex<()> = Mutex::new(());

const WORKFLOW: &str = r#"
document: { dsl: "1.0", namespace: acme, name: fan, version: 1.0.0 }
steps:
  each: { forEach: { in: "${ input.list }" }, call: "transform:t", with: { n: "${ item }" } }
"#;

/// Runs a list of so many items to its end, and gives the allocations for each event on the way.
fn allocations_per_event(items: u64) -> f64 {
    let limits = Arc::new(Limits::default());
    let plan = Plan::read(&Doc::parse(WORKFLOW, &limits).unwrap(), None, &limits).unwrap();
    let mut run = Run::new(RunId(1), Arc::new(plan), limits);
    let list: Vec<String> = (0..items).map(|n| n.to_string()).collect();
    let accepted = Accepted {
        tenant: Tenant::default(),
        snapshot: Digest::of(b""),
        input: Payload::Inline(Json::parse(format!("{{\"list\":[{}]}}", list.join(",")).as_bytes()).unwrap()),
        max_parallel: 64,
        max_parallel_from: "node".into(),
        by: None,
        labels: Vec::new(),
        traceparent: None,
        parent: None,
        deadline: None,
        defaults: None,
        queue: None,
        rerun: None,
    };
    let (now, values) = (Timestamp(1_000), Values::default());
    run.apply(&Event::RunAccepted(Arc::new(accepted)), now).unwrap();
    let mut open: Vec<Action> = Vec::new();
    let mut input = Input::Taken(Entered::Unknown);
    let (mut events, mut asked) = (0, 0);
    loop {
        let (before, mut out) = (ASKED.load(Ordering::Relaxed), Vec::with_capacity(256));
        run.settle(&input, now, &values, 256, &mut out).unwrap();
        for change in run.take_changes() {
            if let Change::Owed(action @ Action::Invoke { .. }) = change {
                open.push(action);
            }
        }
        // What begins with the list is the list's, not an event's.
        if !matches!(input, Input::Taken(_)) {
            asked += ASKED.load(Ordering::Relaxed) - before;
            events += out.len() as u64;
        }
        let Some(Action::Invoke { node, attempt }) = open.pop() else { break };
        input = Input::AttemptEnded {
            node,
            attempt,
            end: Ended::Done(Payload::Inline(Json::null())),
            cache: CacheVerdict::Off,
            usage: Usage::default(),
            artifacts: Vec::new(),
        };
    }
    assert_eq!(run.finish(), Some(Finish::Succeeded));
    assert!(events > items);
    asked as f64 / events as f64
}

/// Bytes that reading a workflow of so many steps asks for, for each step.
fn bytes_per_step(steps: usize) -> f64 {
    let limits = Limits { workflow_steps: 10_000, document_nodes: 250_000, ..Limits::default() };
    let mut text =
        "document: { dsl: \"1.0\", namespace: acme, name: many, version: 1.0.0 }\nsteps:\n".to_owned();
    for step in 0..steps {
        text.push_str(&format!("  s{step}: {{call: \"tool:t\", with: {{n: {step}}}}}\n"));
    }
    let doc = Doc::parse(&text, &limits).unwrap();
    let before = BYTES.load(Ordering::Relaxed);
    Plan::read(&doc, None, &limits).unwrap();
    (BYTES.load(Ordering::Relaxed) - before) as f64 / steps as f64
}

#[test]
fn a_step_costs_the_same_in_a_long_workflow() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (short, long) = (bytes_per_step(100), bytes_per_step(5_000));
    assert!(long <= short * 1.5, "{short:.0} bytes for each of 100 steps, {long:.0} for each of 5,000");
}

#[test]
fn an_event_costs_the_same_in_a_long_list() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (short, long) = (allocations_per_event(100), allocations_per_event(10_000));
    assert!(long <= short * 1.2 + 0.1, "{short:.2} allocations per event of 100 items, {long:.2} of 10,000");
}
