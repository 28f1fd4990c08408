//! Whether what came of a scenario is what its file says.

use heddle_core::json::Json;
use heddle_core::value::Value;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// What came of it, wherever it was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) status: String,
    pub(crate) output: Option<Json>,
    pub(crate) error: Option<Fault>,
    pub(crate) steps: BTreeMap<String, Shown>,
    /// Attempts in the order in which they began: `step#1`, `step/0#1`.
    pub(crate) began: Vec<String>,
    /// Milliseconds from its start to its end.
    pub(crate) took: u64,
    /// How much later than it should something may end, in milliseconds: the clock that jumps is exact.
    pub(crate) late: u64,
}

/// Why something failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: String,
    pub(crate) step: Option<String>,
    pub(crate) message: String,
}

/// A step as it is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) status: String,
    pub(crate) output: Option<Json>,
    pub(crate) reason: Option<String>,
    /// How each attempt ended, one after another.
    pub(crate) attempts: Vec<String>,
    pub(crate) failure: Option<Fault>,
    /// Counts of its items, by their words.
    pub(crate) items: BTreeMap<String, u32>,
    pub(crate) hint: Option<Json>,
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
    for (what, wanted) in wishes.iter() {
        match what.as_ref() {
            "status" if wanted.as_str() != Some(&outcome.status) => {
                faults.differ("status", wanted, &outcome.status);
            }
            "output" if !same(Some(wanted), outcome.output.as_ref()) => {
                faults.differ("output", wanted, &outcome.output);
            }
            "status" | "output" => {}
            "error" => error(wanted, outcome, &mut faults),
            "began" => began(wanted, outcome, &mut faults),
            "took" => took(wanted, outcome, &mut faults),
            "refused" => faults.differ("refused", wanted, &"a run"),
            _ => each_step(what, wanted, outcome, &mut faults),
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

fn error(wanted: &Value, outcome: &Outcome, faults: &mut Differences) {
    let says = wanted.get("says").and_then(Value::as_str).unwrap_or_default();
    let (kind, step) =
        (wanted.get("kind").and_then(Value::as_str), wanted.get("step").and_then(Value::as_str));
    let fits = match &outcome.error {
        Some(found) => {
            kind == Some(&found.kind) && step == found.step.as_deref() && found.message.contains(says)
        }
        None => kind.is_none() && step.is_none(),
    };
    if !fits {
        faults.differ("error", wanted, &outcome.error);
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
    let close = ms.is_some_and(|ms| outcome.took + 100 > ms.0 && outcome.took < ms.0 + 100 + outcome.late);
    if !close {
        faults.differ("took", wanted, &outcome.took);
    }
}

/// An expectation of some steps, by their ids.
fn each_step(what: &str, wanted: &Value, outcome: &Outcome, faults: &mut Differences) {
    let known = ["steps", "outputs", "reasons", "attempts", "failures", "items", "hints"];
    if !known.contains(&what) {
        return faults.differ(what, &"an expectation that there is", &what);
    }
    let Value::Map(steps) = wanted else { return faults.differ(what, &"a map by step", wanted) };
    for (id, wanted) in steps.iter() {
        let Some(step) = outcome.steps.get(&**id) else {
            faults.differ(what, &id, &"no such step");
            continue;
        };
        let of = format!("{what} of {id}");
        let differ = |found: &dyn Debug| faults.differ(&of, wanted, found);
        one_step(what, wanted, step, differ);
    }
}

fn one_step(what: &str, wanted: &Value, step: &Shown, mut differ: impl FnMut(&dyn Debug)) {
    match what {
        "steps" if wanted.as_str() != Some(&step.status) => differ(&step.status),
        "outputs" if !same(Some(wanted), step.output.as_ref()) => differ(&step.output),
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
            let wanted: Option<Vec<&str>> = match wanted {
                Value::List(ends) => Some(ends.iter().filter_map(Value::as_str).collect()),
                _ => None,
            };
            if wanted.is_none_or(|wanted| wanted != step.attempts) {
                differ(&step.attempts);
            }
        }
        "failures" => {
            let says = wanted.get("says").and_then(Value::as_str).unwrap_or_default();
            let kind = wanted.get("kind").and_then(Value::as_str).or(wanted.as_str());
            let found = step.failure.as_ref();
            if found.map(|found| &*found.kind) != kind
                || found.is_some_and(|found| !found.message.contains(says))
            {
                differ(&step.failure);
            }
        }
        "items" => {
            let Value::Map(wanted) = wanted else { return differ(&step.items) };
            let fits = |(key, count): (&std::sync::Arc<str>, &Value)| {
                let found = step.items.get(&**key);
                found.is_some_and(|found| matches!(count, Value::Int(count) if *count == i64::from(*found)))
            };
            if !wanted.iter().all(fits) {
                differ(&step.items);
            }
        }
        "hints" if !same(Some(wanted), step.hint.as_ref()) => differ(&step.hint),
        _ => {}
    }
}

fn same(wanted: Option<&Value>, found: Option<&Json>) -> bool {
    let wanted =
        wanted.filter(|value| !matches!(value, Value::Null)).map(|value| Json::from_value(value.clone()));
    match (wanted, found) {
        (Some(wanted), Some(found)) => wanted.text() == found.text(),
        (None, found) => found.is_none_or(|found| found.text() == "null"),
        _ => false,
    }
}
