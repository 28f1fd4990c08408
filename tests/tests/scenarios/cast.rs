//! A story for a real node: who of the bundled plugins plays which part, and which stories cannot be told there.

use crate::file::{Act, ActEnd, Scenario, Word};
use heddle_core::document::Doc;
use heddle_core::json::Json;
use heddle_core::outcome::FailureKind;
use heddle_core::time::Span;
use heddle_core::value::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most that a story may take as it stands, in milliseconds.
const SHORT_MS: u64 = 3_000;
/// What a story that is only about the order of things is made to take.
const PACED_MS: f64 = 2_500.0;
/// Within this a run ends by itself.
const RUN_MS: u64 = 3_600_000;

/// A story as it is told to a node.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) workflow: Value,
    pub(crate) workflows: Vec<Value>,
    pub(crate) expect: Value,
    /// By how much its times are shorter.
    pub(crate) pace: f64,
    script: Value,
    /// What stands before the name of each of its workflows.
    space: String,
}

/// Stories that the core and the executor are told, and that no component can play as they are written.
const NOT_PLAYED: &[(&str, &[&str])] = &[
    (
        "a component says in other words what went wrong",
        &[
            "after: on_error_sees_what_failed_and_where",
            "dependencies: what_wants_a_failure_sees_it",
            "foreach: failures_of_items_can_be_read",
            "foreach: one_item_that_fails_is_too_many",
            "retries: a_condition_sees_the_whole_failure",
        ],
    ),
    (
        "what it looks at is what the actor is given besides",
        &[
            "fallback-corners: an_item_for_which_nothing_helped_is_tolerated",
            "fallback: another_plugin_with_the_same_input",
            "input: a_run_knows_itself",
            "refusals: a_call_is_no_expression",
            "refusals: a_range_is_a_range",
            "workflows: one_that_is_not_published_is_refused",
        ],
    ),
    (
        "its script plays steps of other runs",
        &[
            "workflows: a_published_workflow_gives_its_output",
            "workflows: a_workflow_that_a_step_makes_is_run",
            "workflows: one_that_is_left_goes_on",
            "workflows: what_is_made_may_call_nothing_else",
            "workflows: what_is_made_may_call_what_its_maker_calls",
            "workflows: what_it_did_is_undone_by_whoever_asked",
        ],
    ),
    (
        "its times are given where they cannot be made shorter, or are too short to be made so",
        &[
            "approvals: silence_can_be_a_failure",
            "fail-fast: the_first_failure_is_the_error",
            "fail-fast: the_items_under_way_are_cancelled",
            "fail-fast: without_it_many_may_fail",
            "help: an_open_circuit_is_waited_out_unless_there_is_something_else_to_do",
            "help: one_that_is_not_skippable_is_not_skipped",
            "signals: silence_can_be_a_branch",
            "waits: a_wait_can_be_undone",
            "waits: for_a_time_that_the_input_says",
        ],
    ),
];

/// A story with its number, as it is told to a node; or why it is not.
pub(crate) fn cast(scenario: &Scenario, number: usize) -> Result<Told, &'static str> {
    if let Some((why, _)) = NOT_PLAYED.iter().find(|(_, stories)| stories.contains(&&*scenario.file)) {
        return Err(why);
    }
    let acts = || scenario.script.values().flatten();
    if acts().any(|act| matches!(act.end, ActEnd::Crash)) {
        return Err("the node dies in it, and tests/tests/crash.rs kills one");
    }
    let pace = pace(scenario)?;
    let text = Json::from_value(scenario.workflow.value());
    let told = |word: &str| {
        scenario.workflows.iter().any(|doc| Json::from_value(doc.value()).text().contains(word))
            || text.text().contains(word)
    };
    if told("\"emit\":") || scenario.outside.iter().any(|(_, word)| matches!(word, Word::Event { .. })) {
        return Err("its events would reach the other stories");
    }
    if told("\"rateLimit\":") || told("\"circuitBreaker\":") {
        return Err("its gates are shared with the other stories, and tests/tests/gates.rs has its own");
    }
    if told("\"2026-") || scenario.input.text().contains("\"2026-") {
        return Err("it tells of a time that has passed");
    }
    if told("\"limits\":") {
        return Err("its limits are not those of a real component");
    }
    if told("\"agent:") || told("\"agent\":") {
        return Err("no bundled agent plays a part");
    }
    if told("\"capability\":") {
        return Err("it asks for what no bundled plugin provides");
    }
    if told("\"nodes\":") {
        return Err("it is drawn as a graph, and parts are given out to steps");
    }
    let kinds: BTreeSet<&str> = acts().filter_map(failed_with).map(FailureKind::word).collect();
    if kinds.iter().any(|kind| told(kind) && !["trap", "guest_error"].contains(kind)) {
        return Err("it asks for a kind of failure that a component cannot have by itself");
    }
    let is_pure =
        |step: &str| calls(&scenario.workflow, step).is_some_and(|call| call.starts_with("transform:"));
    if scenario.script.keys().any(|name| is_pure(name.split('/').next().unwrap_or(name))) {
        return Err("a transform knows no attempt, so it follows no script");
    }
    if scenario.workflows.is_empty() && told("\"workflow\":") && scenario.expect.get("refused").is_none() {
        return Err("its script plays runs of other workflows");
    }
    let script = script(scenario, pace);
    let space = format!("story-{number}");
    let staged = |doc: &Doc| renamed(&staged(&doc.value(), &script), &space);
    Ok(Told {
        workflow: staged(&scenario.workflow),
        workflows: scenario.workflows.iter().map(staged).collect(),
        expect: expected(&scenario.expect, &kinds, pace),
        pace,
        script,
        space,
    })
}

impl Told {
    /// What a person has a step tried with, as whoever plays its part takes it.
    pub(crate) fn input(&self, input: &Json) -> Value {
        played(Some(input.value().clone()), &self.script)
    }
    pub(crate) fn space(&self) -> &str {
        &self.space
    }
}

/// By how much its times are made shorter, where it is only about their order; nothing of the workflow's own times may
/// come within it then.
fn pace(scenario: &Scenario) -> Result<f64, &'static str> {
    let took = scenario.expect.get("took").and_then(Value::as_str).and_then(|text| Span::parse(text).ok());
    let acts = scenario.script.values().flatten().map(|act| act.takes);
    let said = scenario.outside.iter().map(|(at, _)| *at).chain(scenario.seen.iter().map(|(at, _)| *at));
    let longest = acts.chain(said).chain(took.map(|took| took.0)).max().unwrap_or(0);
    let mut own = vec![RUN_MS];
    for doc in scenario.workflows.iter().chain([&scenario.workflow]) {
        times(&doc.value(), &mut own);
    }
    match longest {
        0..=SHORT_MS => Ok(1.0),
        _ if own.iter().all(|own| *own > longest) => Ok(longest as f64 / PACED_MS),
        _ => Err("it takes longer than seconds"),
    }
}

/// Every text that is a time.
fn times(value: &Value, found: &mut Vec<u64>) {
    match value {
        Value::String(text) => found.extend(Span::parse(text).ok().map(|span| span.0)),
        Value::List(items) => items.iter().for_each(|item| times(item, found)),
        Value::Map(map) => map.values().for_each(|item| times(item, found)),
        _ => {}
    }
}

fn failed_with(act: &Act) -> Option<FailureKind> {
    match &act.end {
        ActEnd::Fail(failure) => Some(failure.kind),
        _ => None,
    }
}

/// What the step calls, wherever it stands.
fn calls(workflow: &Doc, step: &str) -> Option<String> {
    let at = |doc: &Doc, name: &str| doc.get(name).cloned();
    let (section, name) = match step.split_once('.') {
        Some(("finally", name)) => (at(workflow, "finally"), name),
        Some(("onError", name)) => (workflow.get("onError").and_then(|doc| at(doc, "steps")), name),
        Some((step, "compensate")) => {
            return calls_at(workflow.get("steps")?.get(step)?.get("compensate")?);
        }
        Some((group, name)) => {
            (workflow.get("steps")?.get(group).and_then(|doc| at(doc.get("parallel")?, "steps")), name)
        }
        None => (at(workflow, "steps"), step),
    };
    calls_at(section?.get(name)?)
}
fn calls_at(step: &Doc) -> Option<String> {
    step.get("call")?.as_str().map(str::to_owned)
}

/// The script as `tool:actor` reads it.
fn script(scenario: &Scenario, pace: f64) -> Value {
    let act = |act: &Act| {
        let mut played = vec![("takesMs", Value::Int((act.takes as f64 / pace) as i64))];
        let text = |text: &str| Value::text(text);
        match &act.end {
            ActEnd::Echo | ActEnd::Crash => {}
            ActEnd::Output(json) => {
                played.extend([("ends", text("output")), ("output", json.value().clone())]);
            }
            ActEnd::Fail(failure) => {
                let ends = match (failure.kind, failure.retryable, failure.retry_after_ms) {
                    (FailureKind::Trap, ..) => "trap",
                    (.., Some(_)) => "rate-limited",
                    (_, true, None) => "retryable",
                    (_, false, None) => "permanent",
                };
                played.extend([("ends", text(ends)), ("message", text(&failure.message))]);
                played.extend(failure.retry_after_ms.map(|ms| ("retryAfterMs", Value::Int(ms as i64))));
            }
        }
        Value::map(played)
    };
    let acts = |acts: &Vec<Act>| Value::list(acts.iter().map(act).collect());
    Value::map(scenario.script.iter().map(|(step, played)| (step.as_str(), acts(played))))
}

/// What whoever plays a part is given.
fn played(with: Option<Value>, script: &Value) -> Value {
    let input = with.unwrap_or_else(|| Value::map::<Arc<str>>([]));
    Value::map([("input", input), ("script", script.clone())])
}

/// The workflow with its parts given out: `tool:actor` plays every tool, `transform:identity` every transform.
fn staged(value: &Value, script: &Value) -> Value {
    let Value::Map(map) = value else {
        let Value::List(items) = value else { return value.clone() };
        return Value::list(items.iter().map(|item| staged(item, script)).collect());
    };
    let mut out: Map = map
        .iter()
        .map(|(key, value)| {
            let is_data = ["with", "set", "schema", "form", "value", "as"].contains(&&**key);
            (key.clone(), if is_data { value.clone() } else { staged(value, script) })
        })
        .collect();
    let kind =
        map.get("call").and_then(Value::as_str).and_then(|call| call.split_once(':')).map(|(kind, _)| kind);
    match kind {
        Some("tool") => {
            out.insert("call".into(), Value::text("tool:actor"));
            out.insert("with".into(), played(map.get("with").cloned(), script));
        }
        Some("transform") => drop(out.insert("call".into(), Value::text("transform:identity"))),
        _ => {}
    }
    Value::Map(Arc::new(out))
}

/// The workflow in a namespace of its own.
fn renamed(value: &Value, space: &str) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix("scenario/") {
            Some(name) => Value::text(format!("{space}/{name}")),
            None if &**text == "scenario" => Value::text(space),
            None => value.clone(),
        },
        Value::List(items) => Value::list(items.iter().map(|item| renamed(item, space)).collect()),
        Value::Map(map) => Value::map(map.iter().map(|(key, value)| (key.clone(), renamed(value, space)))),
        other => other.clone(),
    }
}

/// What is expected there: kinds that only a script can have are the guest's own, and times are shorter.
fn expected(value: &Value, kinds: &BTreeSet<&str>, pace: f64) -> Value {
    let Value::Map(map) = value else { return value.clone() };
    let kind = |value: &Value| match value.as_str() {
        Some(kind) if kinds.contains(kind) && kind != "trap" => Value::text("guest_error"),
        _ => value.clone(),
    };
    let failure = |value: &Value| match value {
        Value::Map(members) => {
            let mut members = (**members).clone();
            let is_trap = members.get("kind").and_then(Value::as_str) == Some("trap");
            if let Some(said) = members.get_mut("kind") {
                *said = kind(said);
            }
            // What a trap says is wasmtime's.
            if is_trap {
                members.remove("says");
            }
            Value::Map(Arc::new(members))
        }
        other => kind(other),
    };
    let each = |(what, value): (&Arc<str>, &Value)| {
        let value = match (&**what, value) {
            ("error", value) => failure(value),
            ("failures", Value::Map(steps)) => {
                Value::map(steps.iter().map(|(step, value)| (step.clone(), failure(value))))
            }
            ("took", Value::String(text)) => {
                let ms = Span::parse(text).map_or(0, |span| span.0);
                Value::text(format!("{}ms", (ms as f64 / pace) as u64))
            }
            (_, value) => value.clone(),
        };
        (what.clone(), value)
    };
    Value::map(map.iter().map(each))
}
