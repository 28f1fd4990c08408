//! A run that waits can always say for what. The sentences are made elsewhere, from what a run is shown as; here it is
//! seen to that there is something to make them from, and that whatever waits for room waits for room that is taken.

use heddle_core::plan::Part;
use heddle_core::run::Run;
use heddle_core::run::view::{RunView, StepView};

/// What a step that has not ended waits for.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    /// Something that has a name: a time, a person, a signal, another step, an attempt.
    Named,
    /// An attempt of it could begin.
    Room,
    /// Its part has not begun.
    Later,
}

/// Whether the run, which has settled, can say what it waits for.
pub(crate) fn check(run: &Run) -> Result<(), String> {
    let view = run.view();
    if view.finished_at.is_some() || view.paused.is_some() {
        return Ok(());
    }
    if view.started_at.is_none() {
        return match &view.held_back {
            Some(queue) if queue.start_at.is_some() || !queue.slots.is_empty() => Ok(()),
            _ => Err("it has not begun, and nothing holds it back".into()),
        };
    }
    let open: Vec<&StepView> = view.steps.iter().filter(|step| step.finished_at.is_none()).collect();
    let causes: Vec<Cause> = open.iter().map(|step| cause(step, &view)).collect();
    if causes.iter().all(|cause| *cause == Cause::Later) {
        return Err(format!("it is {} and waits for nothing that could be named", view.status));
    }
    let has_room = run.running() < view.max_parallel.0;
    let waits = open.iter().zip(&causes).find(|(_, cause)| **cause == Cause::Room && has_room);
    match waits {
        Some((step, _)) => Err(format!("`{}` waits for room, and there is some", step.id)),
        None => Ok(()),
    }
}

fn cause(step: &StepView, view: &RunView) -> Cause {
    let is_open = |id: &str| view.steps.iter().any(|known| *known.id == *id && known.finished_at.is_none());
    let under_way = step.work.attempts.last().is_some_and(|attempt| attempt.ended_at.is_none());
    // A list knows its items: some run, or wait for a time of their own.
    let items = step.items.is_some();
    if step.work.retry_at.is_some() || step.asks.is_some() || step.waits.is_some() || under_way || items {
        return Cause::Named;
    }
    match step.depends_on.iter().any(|id| is_open(id)) {
        true => Cause::Named,
        false if step.part != Part::Main && step.ready_at.is_none() => Cause::Later,
        false => Cause::Room,
    }
}
