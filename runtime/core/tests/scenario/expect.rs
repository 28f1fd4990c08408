//! Whether what came of a scenario is what its file says.

use heddle_core::json::Json;
use heddle_core::run::view::{RunView, ValueView};
use heddle_core::value::Value;
use std::collections::BTreeMap;

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) view: RunView,
    /// Attempts in the order in which they began: `step#1`, `step/0#1`.
    pub(crate) began: Vec<String>,
    /// Milliseconds from its start to its end.
    pub(crate) took: u64,
}

/// Everything that is not as expected, in words.
pub(crate) fn faults(expect: &Value, outcome: &Outcome) -> Vec<String> {
    let Value::Map(wishes) = expect else { return vec!["`expect` is missing".to_owned()] };
    let mut faults = Vec::new();
    let mut differ = |what: &str, wanted: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        faults.push(format!("{what}: wanted {wanted:?}, found {found:?}"));
    };
    let view = &outcome.view;
    for (what, wanted) in wishes.iter() {
        match what.as_ref() {
            "status" if wanted.as_str() != Some(view.status) => differ("status", wanted, &view.status),
            "output" if !same(Some(wanted), view.output.as_ref()) => differ("output", wanted, &view.output),
            "error" => {
                let found = view.error.as_ref();
                let (kind, step) = (
                    found.map(|error| error.failure.kind.word()),
                    found.and_then(|error| error.step.clone()),
                );
                let says = wanted.get("says").and_then(Value::as_str).unwrap_or_default();
                let message = found.map(|error| error.failure.message.clone()).unwrap_or_default();
                let fits = wanted.get("kind").and_then(Value::as_str) == kind
                    && wanted.get("step").and_then(Value::as_str) == step.as_deref()
                    && message.contains(says);
                if !fits {
                    differ("error", wanted, &(kind, step, message));
                }
            }
            "steps" => {
                let found: BTreeMap<&str, &str> =
                    view.steps.iter().map(|step| (&*step.id, step.status)).collect();
                let Value::Map(steps) = wanted else { continue };
                for (step, status) in steps.iter() {
                    if status.as_str() != found.get(step.as_ref()).copied() {
                        differ(step, status, &found.get(step.as_ref()));
                    }
                }
            }
            "outputs" => {
                let Value::Map(steps) = wanted else { continue };
                for (id, wanted) in steps.iter() {
                    let found = view.steps.iter().find(|step| *step.id == **id);
                    let found = found.and_then(|step| step.work.output.as_ref());
                    if !same(Some(wanted), found) {
                        differ(&format!("output of {id}"), wanted, &found);
                    }
                }
            }
            "began" => {
                let Value::List(names) = wanted else { continue };
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                if names != outcome.began {
                    differ("began", &names, &outcome.began);
                }
            }
            "took" => {
                let ms = wanted.as_str().and_then(|text| heddle_core::time::Span::parse(text).ok());
                // What an attempt itself takes is not what this is about.
                let close = ms.is_some_and(|ms| outcome.took.abs_diff(ms.0) < 100);
                if !close {
                    differ("took", wanted, &outcome.took);
                }
            }
            "status" | "output" => {}
            other => differ(other, &"an expectation that there is", &other),
        }
    }
    faults
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
