//! What came of a scenario, from what the core shows of its run.

use super::expect::{Fault, Outcome, Shown};
use heddle_core::json::Json;
use heddle_core::outcome::Failure;
use heddle_core::run::view::{RunView, StepView, ValueView};

/// What came of it: the run as it is shown, its attempts in their order, and how long it took.
pub(crate) fn outcome(view: &RunView, began: Vec<String>, took: u64) -> Outcome {
    let fault = view.error.as_ref().map(|error| fault(&error.failure, error.step.as_deref()));
    Outcome {
        status: view.status.to_owned(),
        output: view.output.as_ref().and_then(inline),
        error: fault,
        steps: view.steps.iter().map(|step| (step.id.to_string(), shown(step))).collect(),
        began,
        took,
        late: 0,
    }
}

fn shown(step: &StepView) -> Shown {
    let counts = step.items.map(|items| {
        let (done, gone) = (("succeeded", items.succeeded), ("cancelled", items.cancelled));
        [("total", items.total), done, ("failed", items.failed), gone].map(|(word, n)| (word.to_owned(), n))
    });
    Shown {
        status: step.status.to_owned(),
        output: step.work.output.as_ref().and_then(inline),
        reason: step.reason.clone(),
        attempts: step.work.attempts.iter().map(|attempt| attempt.status.to_owned()).collect(),
        failure: step.work.error.as_ref().map(|failure| fault(failure, None)),
        items: counts.into_iter().flatten().collect(),
        hint: step.hint.clone(),
    }
}

fn fault(failure: &Failure, step: Option<&str>) -> Fault {
    let kind = failure.kind.word().to_owned();
    Fault { kind, step: step.map(str::to_owned), message: failure.message.to_string() }
}

fn inline(value: &ValueView) -> Option<Json> {
    match value {
        ValueView::Inline(json) => Some(json.clone()),
        ValueView::Stored(..) => None,
    }
}
