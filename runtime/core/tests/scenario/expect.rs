//! Whether what came of a scenario is what its file says.

use heddle_core::json::Json;
use heddle_core::run::view::{RunView, StepView, ValueView};
use heddle_core::value::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) view: RunView,
    /// Attempts in the order in which they began: `step#1`, `step/0#1`.
    pub(crate) began: Vec<String>,
    /// Milliseconds from its start to its end.
    pub(crate) took: u64,
}

/// What is not as expected, one sentence each.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn differ(&mut self, what: &str, wanted: &dyn Debug, found: &dyn Debug) {
        self.0.push(format!("{what}: wanted {wanted:?}, found {found:?}"));
    }
}

/// Everything that is not as expected, in words.
pub(crate) fn faults(expect: &Value, outcome: &Outcome) -> Vec<String> {
    let Value::Map(wishes) = expect else { return vec!["`expect` is missing".to_owned()] };
    let mut faults = Differences::default();
    let view = &outcome.view;
    for (what, wanted) in wishes.iter() {
        match what.as_ref() {
            "status" if wanted.as_str() != Some(view.status) => faults.differ("status", wanted, &view.status),
            "output" if !same(Some(wanted), view.output.as_ref()) => {
                faults.differ("output", wanted, &view.output);
            }
            "status" | "output" => {}
            "error" => error(wanted, view, &mut faults),
            "began" => began(wanted, outcome, &mut faults),
            "took" => took(wanted, outcome, &mut faults),
            "refused" => faults.differ("refused", wanted, &"a run"),
            _ => each_step(what, wanted, view, &mut faults),
        }
    }
    faults.0
}

/// What is wrong with the refusal of a scenario's workflow or input, which says so and so.
pub(crate) fn refusal_faults(expect: &Value, said: &[String]) -> Vec<String> {
    let Some(wanted) = expect.get("refused") else { return vec![format!("it is refused: {said:?}")] };
    let wanted: Vec<&str> = match wanted {
        Value::List(texts) => texts.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let mut faults = Differences::default();
    if wanted.is_empty() {
        faults.differ("refused", &"what the refusal says", &wanted);
    }
    for text in wanted {
        if !said.iter().any(|fault| fault.contains(text)) {
            faults.differ("refused", &text, &said);
        }
    }
    faults.0
}

fn error(wanted: &Value, view: &RunView, faults: &mut Differences) {
    let found = view.error.as_ref();
    let kind = found.map(|error| error.failure.kind.word());
    let step = found.and_then(|error| error.step.clone());
    let says = wanted.get("says").and_then(Value::as_str).unwrap_or_default();
    let message = found.map(|error| error.failure.message.clone()).unwrap_or_default();
    let fits = wanted.get("kind").and_then(Value::as_str) == kind
        && wanted.get("step").and_then(Value::as_str) == step.as_deref()
        && message.contains(says);
    if !fits {
        faults.differ("error", wanted, &(kind, step, message));
    }
}

fn began(wanted: &Value, outcome: &Outcome, faults: &mut Differences) {
    let Value::List(names) = wanted else { return faults.differ("began", &"a list", wanted) };
    let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
    if names != outcome.began {
        faults.differ("began", &names, &outcome.began);
    }
}

fn took(wanted: &Value, outcome: &Outcome, faults: &mut Differences) {
    let ms = wanted.as_str().and_then(|text| heddle_core::time::Span::parse(text).ok());
    // What an attempt itself takes is not what this is about.
    let close = ms.is_some_and(|ms| outcome.took.abs_diff(ms.0) < 100);
    if !close {
        faults.differ("took", wanted, &outcome.took);
    }
}

/// An expectation of some steps, by their ids.
fn each_step(what: &str, wanted: &Value, view: &RunView, faults: &mut Differences) {
    let known = ["steps", "outputs", "reasons", "attempts", "failures", "items", "hints"];
    if !known.contains(&what) {
        return faults.differ(what, &"an expectation that there is", &what);
    }
    let Value::Map(steps) = wanted else { return faults.differ(what, &"a map by step", wanted) };
    for (id, wanted) in steps.iter() {
        let Some(step) = view.steps.iter().find(|step| *step.id == **id) else {
            faults.differ(what, &id, &"no such step");
            continue;
        };
        let of = format!("{what} of {id}");
        let differ = |found: &dyn Debug| faults.differ(&of, wanted, found);
        one_step(what, wanted, step, differ);
    }
}

fn one_step(what: &str, wanted: &Value, step: &StepView, mut differ: impl FnMut(&dyn Debug)) {
    match what {
        "steps" if wanted.as_str() != Some(step.status) => differ(&step.status),
        "outputs" if !same(Some(wanted), step.work.output.as_ref()) => differ(&step.work.output),
        "reasons" => {
            let fits = match (wanted.as_str(), &step.reason) {
                (Some(wanted), Some(found)) => found.contains(wanted),
                (wanted, found) => wanted.is_none() && found.is_none(),
            };
            if !fits {
                differ(&step.reason);
            }
        }
        // How each attempt of the step ended, one after another.
        "attempts" => {
            let found: Vec<&str> = step.work.attempts.iter().map(|attempt| attempt.status).collect();
            let wanted: Option<Vec<&str>> = match wanted {
                Value::List(ends) => Some(ends.iter().filter_map(Value::as_str).collect()),
                _ => None,
            };
            if wanted.as_ref() != Some(&found) {
                differ(&found);
            }
        }
        "failures" => {
            let found = step.work.error.as_ref().map(|failure| (failure.kind.word(), &*failure.message));
            let says = wanted.get("says").and_then(Value::as_str).unwrap_or_default();
            let kind = wanted.get("kind").and_then(Value::as_str).or(wanted.as_str());
            if found.map(|(kind, _)| kind) != kind || found.is_some_and(|(_, text)| !text.contains(says)) {
                differ(&found);
            }
        }
        "items" => {
            let counts: BTreeMap<&str, u32> = step.items.as_ref().map_or_else(BTreeMap::new, |items| {
                let (done, gone) = (("succeeded", items.succeeded), ("cancelled", items.cancelled));
                [("total", items.total), done, ("failed", items.failed), gone].into()
            });
            let Value::Map(wanted) = wanted else { return differ(&counts) };
            let fits = |(key, count): (&std::sync::Arc<str>, &Value)| {
                counts
                    .get(&**key)
                    .is_some_and(|found| matches!(count, Value::Int(count) if *count == i64::from(*found)))
            };
            if !wanted.iter().all(fits) {
                differ(&counts);
            }
        }
        "hints" if !same(Some(wanted), step.hint.clone().map(ValueView::Inline).as_ref()) => {
            differ(&step.hint);
        }
        _ => {}
    }
}

fn same(wanted: Option<&Value>, found: Option<&ValueView>) -> bool {
    let wanted =
        wanted.filter(|value| !matches!(value, Value::Null)).map(|value| Json::from_value(value.clone()));
    match (wanted, found) {
        (Some(wanted), Some(ValueView::Inline(found))) => wanted.text() == found.text(),
        (None, found) => {
            found.is_none_or(|found| matches!(found, ValueView::Inline(json) if json.text() == "null"))
        }
        _ => false,
    }
}
