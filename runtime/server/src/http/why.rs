//! Why a run waits, in sentences, from what its document shows.

use super::wire::catalog::{Why, WhyStep};
use crate::shell::argument;
use heddle_core::outcome::Failure;
use heddle_core::plan::Part;
use heddle_core::run::slot::Queueing;
use heddle_core::run::view::{AskView, ItemCounts, RunView, StepView};
use heddle_core::time::{Span, Timestamp};
use heddle_executor::{Hold, HoldAt, RunDetail, WaitingMove};

/// Steps of which the reasons are told.
const STEPS: usize = 50;

/// An attempt may begin, and has no sandbox yet.
const QUEUED: &str = "its attempt waits for a sandbox: as many are in use as this node has (`workers.at_once`), or another attempt that the host died under runs alone";

/// What holds a run and its steps, and the version that it is to go on with where that waits.
pub(crate) fn why(detail: &RunDetail, moving: Option<&WaitingMove>, now: Timestamp) -> Why {
    let view = &detail.view;
    // What waits for nothing but the outside says most, so it comes first.
    let (first, others): (Vec<&StepView>, Vec<&StepView>) =
        view.steps.iter().partition(|step| step.waits.is_some() || step.work.retry_at.is_some());
    // A step of a run that has not begun waits for nothing but that.
    let steps = first.into_iter().chain(others).filter(|_| view.started_at.is_some());
    let steps: Vec<WhyStep> = steps.filter_map(|step| why_step(detail, step, now)).take(STEPS).collect();
    let mut why = whole(detail, &steps, now);
    let queued: u32 = detail.queued_steps.values().sum();
    if queued > 0 && !view.current.is_empty() && view.paused.is_none() {
        why.push_str(&format!("; in line for a sandbox (`workers.at_once`): {queued} of its attempts"));
    }
    if let Some((step, (hold, _))) = detail.held_steps.iter().next()
        && view.paused.is_none()
    {
        let id = view.steps.iter().find(|known| known.index == *step).map_or("?", |step| &step.id);
        why.push_str(&format!("; `{id}` waits: {}", held_at(hold, now)));
    }
    if let Some(moving) = moving {
        why.push_str(&format!("; {moving}"));
    }
    Why { status: view.status.to_owned(), why, steps }
}

fn whole(detail: &RunDetail, steps: &[WhyStep], now: Timestamp) -> String {
    let view = &detail.view;
    if let Some(error) = &view.error {
        let place = error.step.as_ref().map(|step| format!(" in `{step}`")).unwrap_or_default();
        return format!("it failed{place} with {}: {}", error.failure.kind.word(), error.failure.message);
    }
    if view.finished_at.is_some() {
        return match &view.cancelled {
            Some((by, reason)) if !reason.is_empty() => format!("it was cancelled by {by}: {reason}"),
            Some((by, _)) => format!("it was cancelled by {by}"),
            None => "it has ended well".to_owned(),
        };
    }
    if let Some(queue) = &view.held_back
        && view.paused.is_none()
    {
        return held_back(detail, queue, now);
    }
    if view.started_at.is_none() && view.paused.is_none() {
        return "it waits for a node to take it".to_owned();
    }
    if let Some(pause) = &view.paused {
        let reason = if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
        return format!(
            "it was paused by {}{reason}; `heddle runs resume {}` lets it go on",
            pause.by, view.id
        );
    }
    let asks = view.steps.iter().any(|step| step.waits.is_some() && step.part != Part::Main);
    if let ("waiting", true, [first, ..]) | ("compensating" | "running", true, [first, ..]) =
        (view.status, view.status == "waiting" || asks, steps)
    {
        return format!("`{}`: {}", first.step, first.why);
    }
    let current: Vec<String> = view.current.iter().map(|id| format!("`{id}`")).collect();
    match (current.as_slice(), steps) {
        ([], [first, ..]) => format!("`{}`: {}", first.step, first.why),
        ([], []) => "its last step has ended; its end is being recorded".to_owned(),
        (current, _) => {
            format!("{} under way, with at most {} attempts at once", current.join(", "), view.max_parallel.0)
        }
    }
}

/// What a run waits for that has not begun.
fn held_back(detail: &RunDetail, queue: &Queueing, now: Timestamp) -> String {
    if let Some(at) = queue.start_at.filter(|at| *at > now) {
        return format!("it begins at {}, in {}", at.rfc3339(), Span(at.since_ms(now)));
    }
    let full =
        queue.slots.iter().find(|wish| detail.holders(&wish.key).len() >= (wish.limit as usize).min(16));
    let Some(wish) = full.or(queue.slots.first()) else {
        return "it waits for a node to take it".to_owned();
    };
    match detail.holders(&wish.key).last() {
        Some(holder) => format!(
            "it waits for one of the {} slots of the concurrency key `{}`; run {holder} has one: `heddle runs why {holder}`",
            wish.limit, wish.key
        ),
        None => format!("it is about to have its slot of the concurrency key `{}`", wish.key),
    }
}

/// Who is asked, how many have answered, and how to answer.
fn asked(view: &RunView, step: &StepView, asks: &AskView, now: Timestamp) -> String {
    if let Some(failure) = &asks.failure {
        return needs_help(view, step, (asks, failure), now);
    }
    let who = people(asks);
    let given = step.decisions.len();
    let left = step.waits.as_ref().and_then(|waits| waits.until);
    let left = left.map(|until| format!(", {} at most", Span(until.since_ms(now)))).unwrap_or_default();
    let left = format!("{left}{}", ends_with_all(step));
    let alone = match (view.by.as_ref(), step.decisions.as_slice()) {
        (Some(by), [only]) if only.by == *by && asks.quorum == 1 => {
            format!("; {by} asked for the run and may not approve alone")
        }
        _ => String::new(),
    };
    format!(
        "it waits for the approval of {who}, {given} of {} given{left}{alone}: `heddle runs approve {} {}`",
        asks.quorum, view.id, step.id
    )
}

/// What it failed with, who decides what becomes of that, and how.
fn needs_help(
    view: &RunView,
    step: &StepView,
    (asks, failure): (&AskView, &Failure),
    now: Timestamp,
) -> String {
    let who = people(asks);
    let left = step.waits.as_ref().and_then(|waits| waits.until);
    let left = left.map(|until| format!(", {} at most", Span(until.since_ms(now)))).unwrap_or_default();
    let skip = if asks.skippable { ", `skip`" } else { "" };
    format!(
        "it failed with {}: {}; {who} decides{left}: `heddle runs step retry {} {}`{skip} or `fail`",
        failure.kind.word(),
        failure.message,
        view.id,
        step.id
    )
}

fn people(asks: &AskView) -> String {
    match asks.assignees.as_slice() {
        [] => "anybody".to_owned(),
        some => some.iter().map(|who| format!("`{who}`")).collect::<Vec<_>>().join(" or "),
    }
}

/// Why a wait ends before its own time does.
fn ends_with_all(step: &StepView) -> &'static str {
    match step.waits.as_ref().is_some_and(|waits| waits.ends_with_all) {
        true => " (what follows the steps has no longer, by the limit aftermath_ms)",
        false => "",
    }
}

/// What is left to a person, where the author of the step has a word for them.
fn by_hand(step: &StepView) -> Option<WhyStep> {
    let hint = step.hint.clone()?;
    let why = match step.status {
        "compensationFailed" => "it could not be undone; it is left to a person",
        _ => "it may have done something that nothing undoes; it is left to a person",
    };
    let (step, status) = (step.id.to_string(), step.status.to_owned());
    Some(WhyStep { step, status, why: why.to_owned(), hint: Some(hint) })
}

/// How far a list is, and what its items wait for.
fn of_items(items: ItemCounts, queued: u32, held: Option<&(Hold, u32)>, now: Timestamp) -> String {
    let (ended, total) = (items.succeeded + items.failed, items.total);
    let in_line = match queued {
        0 => String::new(),
        some => format!(", {some} of them in line for a sandbox"),
    };
    let held = match held {
        Some((hold, count)) => format!(", {count} of them wait: {}", held_at(hold, now)),
        None => String::new(),
    };
    format!("{ended} of {total} items have ended, {} are under way{in_line}{held}", items.running)
}

/// What a rate or a circuit makes an attempt wait for.
fn held_at(hold: &Hold, now: Timestamp) -> String {
    let key = &hold.key;
    match hold.at {
        HoldAt::Rate(limit, period) => format!("`{key}` may have {limit} in {period} (`rateLimit`)"),
        HoldAt::Open(until) => format!(
            "the circuit `{key}` is open for {} more; `heddle circuits close {}` closes it",
            Span(until.since_ms(now)),
            argument(key)
        ),
        HoldAt::Probed => format!("the circuit `{key}` is open, and a probe is under way"),
    }
}

/// When a step is tried again, and why it must be.
fn due_again(step: &StepView, now: Timestamp) -> Option<String> {
    let at = step.work.retry_at?;
    let last = step.work.attempts.last().and_then(|a| a.error.as_ref());
    let after =
        last.map(|e| format!(", because the last one failed with {}", e.kind.word())).unwrap_or_default();
    Some(format!("its next attempt is due in {}{after}", Span(at.since_ms(now))))
}

fn why_step(detail: &RunDetail, step: &StepView, now: Timestamp) -> Option<WhyStep> {
    let view = &detail.view;
    let say = |why: String| {
        let (step, status) = (step.id.to_string(), step.status.to_owned());
        Some(WhyStep { step, status, why, hint: None })
    };
    if let Some(said) = by_hand(step) {
        return Some(said);
    }
    // A part that has not begun waits for nothing that could be named.
    if step.finished_at.is_some() || (step.part != Part::Main && step.ready_at.is_none()) {
        return None;
    }
    if let Some(again) = due_again(step, now) {
        return say(again);
    }
    if let Some(asks) = &step.asks {
        return say(asked(view, step, asks, now));
    }
    if let Some(waits) = &step.waits {
        let left = waits.until.map(|until| Span(until.since_ms(now)));
        return say(match (&waits.signal, left) {
            (Some(signal), Some(left)) => format!(
                "it waits for the signal `{signal}`, {left} at most{}: `heddle runs signal {} {signal}`",
                ends_with_all(step),
                view.id
            ),
            (Some(signal), None) => {
                format!("it waits for the signal `{signal}`: `heddle runs signal {} {signal}`", view.id)
            }
            (None, left) => format!("it waits {}{}", left.unwrap_or_default(), ends_with_all(step)),
        });
    }
    let held = detail.held_steps.get(&step.index);
    if let Some((hold, 1)) = held.filter(|_| step.items.is_none()) {
        return say(format!("its attempt waits: {}", held_at(hold, now)));
    }
    let queued = detail.queued_steps.get(&step.index).copied().unwrap_or(0);
    if queued > 0 && step.items.is_none() {
        return say(QUEUED.to_owned());
    }
    if let Some(items) = step.items {
        return say(of_items(items, queued, held, now));
    }
    let open: Vec<String> = step
        .depends_on
        .iter()
        .filter(|id| view.steps.iter().any(|s| s.id == **id && s.finished_at.is_none()))
        .map(|id| format!("`{id}`"))
        .collect();
    if !open.is_empty() {
        return say(format!("it waits for {}", open.join(", ")));
    }
    if let Some(run) = step.work.attempts.last().filter(|a| a.ended_at.is_none()).and_then(|a| a.run) {
        return say(format!("it waits for run {run}: `heddle runs why {run}`"));
    }
    match step.work.attempts.last() {
        Some(attempt) if attempt.ended_at.is_none() => say(format!(
            "attempt {} is under way for {}",
            attempt.attempt,
            Span(now.since_ms(attempt.started_at))
        )),
        _ if view.paused.is_some() => say("the run stands still".to_owned()),
        _ => {
            say("it waits for room: the run or the node has as many attempts under way as it may".to_owned())
        }
    }
}
