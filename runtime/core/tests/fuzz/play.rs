//! A run of whatever was accepted: its attempts give back their input or fail, its timers fire, people say yes. What it
//! comes to does not matter; that the machine takes every step of it does.

use super::rng::Rng;
use heddle_core::id::{Digest, RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::outcome::{Failure, FailureKind, Usage};
use heddle_core::plan::Plan;
use heddle_core::run::event::{Accepted, Batch, CacheVerdict, Event, Payload};
use heddle_core::run::scope::Values;
use heddle_core::run::{Action, Ended, Entered, Input, Run, Settled, queue};
use heddle_core::time::Timestamp;
use std::sync::Arc;

/// Turns after which nobody looks any more.
const TURNS: u32 = 40;

/// Plays a run, and gives how many of its attempts have begun.
pub(crate) fn play(plan: Plan, limits: &Arc<Limits>, rng: &mut Rng) -> u32 {
    let plan = Arc::new(plan);
    let text = ["{}", r#"{"x":"a","n":1,"list":[1,2,3],"a":[[1],[2]]}"#, r#"{"list":[{"id":1}],"key":"k"}"#];
    let input = Json::trusted(text[rng.below(3) as usize]);
    let Ok(input) = plan.accept_input(&input) else { return 0 };
    let accepted = Accepted {
        tenant: Tenant::default(),
        snapshot: Digest::of(b""),
        input: Payload::Inline(input.clone()),
        max_parallel: plan.max_parallel.unwrap_or(8),
        max_parallel_from: "node".into(),
        by: Some("ana".into()),
        labels: Vec::new(),
        traceparent: None,
        parent: None,
        deadline: None,
        defaults: None,
        queue: None,
        rerun: None,
    };
    if queue::admission(&plan, (RunId(7), &accepted), &input, limits).is_err() {
        return 0;
    }
    let mut now = Timestamp(1_795_000_000_000);
    let first = Batch { at: now, events: vec![Event::RunAccepted(Arc::new(accepted))] };
    let mut run = Run::new(RunId(7), plan.clone(), limits.clone());
    run.apply(&first.events[0], now).expect("the first fact");
    let (mut journal, mut values, mut began) = (vec![first], Values::default(), 0);
    let mut next = Some(Input::Taken(Entered::Unknown));
    for _ in 0..TURNS {
        let Some(input) = next.take() else { break };
        settle(&mut run, input, now, &mut values, &mut journal);
        next = answer(&run, &mut now, &values, &mut began, rng);
    }
    let again = Run::replay(RunId(7), plan, limits.clone(), &journal).expect("its own journal");
    assert_eq!(again.pending(), run.pending(), "replayed it is owed something else");
    std::hint::black_box(run.view());
    began
}

fn settle(run: &mut Run, mut input: Input, now: Timestamp, values: &mut Values, journal: &mut Vec<Batch>) {
    loop {
        let mut events = Vec::new();
        let settled = run.settle(&input, now, values, 256, &mut events).expect("an input that can be");
        input = Input::Advance;
        for (digest, json) in run.take_made() {
            values.insert(digest, json);
        }
        if !events.is_empty() {
            // A row is read as it was written.
            let batch = Batch { at: now, events };
            let text = serde_json::to_string(&batch.events).expect("a row");
            let read: Vec<Event> =
                serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
            assert_eq!(serde_json::to_string(&read).expect("a row"), text);
            journal.push(Batch { at: now, events: read });
        }
        if settled == Settled::Quiet {
            return;
        }
    }
}

/// What happens next of what the run is owed.
fn answer(run: &Run, now: &mut Timestamp, values: &Values, began: &mut u32, rng: &mut Rng) -> Option<Input> {
    let owed: Vec<&Action> = run.pending().iter().collect();
    let action = owed.get(rng.below(owed.len().max(1) as u64) as usize)?;
    let (node, attempt, input) = match **action {
        Action::Wake { timer, at } => {
            *now = (*now).max(at);
            return Some(Input::TimerFired(timer));
        }
        Action::Invoke { node, attempt } => (node, attempt, run.input_of(node, values)),
        Action::Child { node, attempt } => {
            (node, attempt, run.wanted_child(node, attempt, values).map(|wanted| wanted.input))
        }
    };
    *began += 1;
    let end = match input {
        Err(failure) => Ended::Failed(failure),
        Ok(_) if rng.once_in(4) => Ended::Failed(Failure::new(FailureKind::EgressFailed, "no answer")),
        Ok(json) => Ended::Done(Payload::Inline(json)),
    };
    *now = now.plus_ms(1);
    Some(Input::AttemptEnded {
        node,
        attempt,
        end,
        cache: CacheVerdict::Off,
        usage: Usage::default(),
        artifacts: vec![],
    })
}
