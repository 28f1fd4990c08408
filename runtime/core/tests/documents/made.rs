//! Workflows that nobody would write, with every verb and every policy of the language, and text that YAML finds hard.

use heddle_core::document::Doc;
use heddle_core::json::parse_value;
use heddle_core::limits::Limits;
use heddle_core::value::Value;
use proptest::prelude::*;
use std::sync::Arc;

/// Members of a map: `key: value`, as they stand in a workflow.
type Members = Vec<(Arc<str>, Value)>;

/// Members as an author types them.
fn members(text: &str) -> Members {
    let doc =
        Doc::parse(&format!("{{{text}}}"), &Limits::default()).unwrap_or_else(|f| panic!("{f}: {text}"));
    match doc.value() {
        Value::Map(map) => map.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        _ => Vec::new(),
    }
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = Members> {
    prop::sample::select(texts).prop_map(members)
}

/// Some of these, each in one of its forms.
fn some_of(groups: &'static [&'static [&'static str]]) -> impl Strategy<Value = Members> {
    let each: Vec<_> = groups.iter().map(|forms| prop::option::weighted(0.25, one_of(forms))).collect();
    each.prop_map(|chosen| chosen.into_iter().flatten().flatten().collect())
}

const RETRY: &[&str] = &[
    "retry: none",
    "retry: patient",
    "retry: {}",
    "retry: { delay: 500ms, backoff: linear, jitter: full, limit: { attempts: 3 } }",
    "retry: { delay: 2s, backoff: { exponential: { factor: 1.5, maxDelay: 30s } }, jitter: { from: 0s, to: 1s }, limit: { attempts: 4, duration: 10m }, when: \"${ error.retryable }\" }",
];
const TIMEOUT: &[&str] =
    &["timeout: 30s", "timeout: { queue: 1m, run: 2m, total: 20m }", "timeout: { total: 5m }"];
const CACHE: &[&str] =
    &["cache: off", "cache: false", "cache: { mode: read-write, ttl: 1h, scope: workflow }"];
const LIMITS: &[&str] =
    &["limits: { fuel: 1000000, memory: 64MiB, output: 1MiB }", "limits: { memory: 32MiB }"];
const RATE: &[&str] = &[
    "rateLimit: { limit: 5, period: 1s }",
    "rateLimit: { key: \"${ input.key }\", limit: 50, period: 1s, burst: 10, onLimit: reject }",
];
const CIRCUIT: &[&str] = &[
    "circuitBreaker: {}",
    "circuitBreaker: { key: erp, failureRate: 0.5, minCalls: 20, window: 30s, openFor: 15s, whenOpen: wait }",
];
const FALLBACK: &[&str] = &[
    "fallback: [{ value: { n: 1, text: \"\" } }]",
    "fallback: [{ call: \"tool:other@1\", with: { n: 1 } }, { value: \"${ error.kind }\" }]",
];
const FAILURE: &[&str] =
    &["onFailure: ask", "onFailure: { ask: { assignees: [ana, \"group:ops\"], timeout: 4m } }"];
const UNDO: &[&str] = &[
    "compensate: { call: \"tool:undo\", with: { n: 1 }, hint: call somebody }",
    "compensate: { when: \"${ input.list.size() > 0 }\", call: \"tool:undo@^1\", retry: patient, hint: { text: by hand, link: \"https://example.com\", command: \"undo it\" } }",
    "compensate: { set: 1 }",
];
const CRASH: &[&str] = &["onCrash: fail", "onCrash: retry"];
const SKIP: &[&str] = &["skippable: true", "skippable: false"];
const STOP: &[&str] = &["breakpoint: true"];
const WHEN: &[&str] = &["when: \"${ input.list.size() > 1 }\"", "when: \"${ input.x == 'a' || 1 < 2 }\""];
const EACH: &[&str] = &[
    "forEach: { in: \"${ input.list }\" }",
    "forEach: { in: \"${ input.list }\", as: thing, at: place, maxParallel: 3, tolerateFailures: 5% }",
    "forEach: { in: \"${ input.list }\", batch: 2, tolerateFailures: 1 }",
    "forEach: { in: \"${ [[1], [2]] }\", as: row, forEach: { in: \"${ row }\", as: cell } }",
];

/// The verb of a step, with all that may stand beside it.
fn step() -> impl Strategy<Value = Members> {
    let tool = some_of(&[
        WHEN, RETRY, TIMEOUT, CACHE, LIMITS, RATE, CIRCUIT, FALLBACK, FAILURE, UNDO, CRASH, SKIP, STOP,
    ]);
    let tool = (
        one_of(&[
            "call: \"tool:e@^1\"",
            "call: \"tool:e@>=1, <3\"",
            "call: \"tool:other\"",
            "call: { capability: ocr.text, kind: tool, prefer: [local, cheapest], requires: { region: eu } }",
        ]),
        data(),
        tool,
    )
        .prop_map(|(verb, with, policies)| [verb, vec![("with".into(), with)], policies].concat());
    let each = some_of(&[WHEN, RETRY, TIMEOUT, CACHE, LIMITS, RATE, UNDO, CRASH, SKIP]);
    let each = (one_of(&["call: \"tool:e\""]), one_of(EACH), each)
        .prop_map(|(verb, each, policies)| [verb, each, policies].concat());
    let agent = (
        one_of(&["call: \"agent:a\", tools: [\"tool:e\", \"transform:*\"]"]),
        some_of(&[WHEN, RETRY, TIMEOUT, CACHE, FAILURE, SKIP]),
    )
        .prop_map(|(verb, policies)| [verb, policies].concat());
    let goal = (data(), some_of(&[WHEN, RETRY, TIMEOUT, FAILURE])).prop_map(|(goal, policies)| {
        let tools = members("use: triage@1, tools: [\"tool:e\", \"transform:*\"]");
        let agent = Value::map([tools, vec![("goal".into(), goal)]].concat());
        [vec![("agent".into(), agent)], policies].concat()
    });
    let pure = (one_of(&["call: \"transform:t@1\""]), some_of(&[WHEN, RETRY, CACHE, LIMITS, FALLBACK, SKIP]))
        .prop_map(|(verb, policies)| [verb, policies].concat());
    let set = (data(), some_of(&[WHEN, SKIP, STOP]))
        .prop_map(|(value, policies)| [vec![("set".into(), value)], policies].concat());
    let other = (
        one_of(&[
            "wait: 30s",
            "wait: { for: \"${ '3s' }\" }",
            "wait: { until: 2126-11-21T06:00:00Z }",
            "wait: { signal: paid, match: \"${ event.data.id == input.x }\", timeout: 2m }",
            "approval: {}",
            "approval: { assignees: [ana, \"group:finance\"], quorum: 2, form: { type: object, properties: { a: { type: string } } }, timeout: 10m, onTimeout: approve }",
            "emit: told",
            "parallel: { steps: { left: { set: 1 }, right: { call: \"tool:e\", dependsOn: [left] } } }, timeout: 2m",
        ]),
        some_of(&[WHEN]),
    )
        .prop_map(|(verb, policies)| [verb, policies].concat());
    let emit = data()
        .prop_map(|data| vec![("emit".into(), Value::map([("event", Value::text("told")), ("data", data)]))]);
    let child = (
        one_of(&[
            "workflow: acme/other@^1.4",
            "workflow: { ref: acme/other, onParentCancel: leave }",
            "workflow: { from: \"${ input.list }\", allow: [\"tool:*\"] }",
        ]),
        data(),
        some_of(&[WHEN, RETRY, FAILURE, UNDO, SKIP]),
    )
        .prop_map(|(verb, with, policies)| [verb, vec![("with".into(), with)], policies].concat());
    let verb = prop_oneof![4 => tool, 2 => each, 1 => agent, 1 => goal, 1 => pure, 2 => set, 4 => other, 1 => emit, 1 => child];
    (verb, prop::option::of(text()), prop::option::of(text())).prop_map(|(mut step, title, description)| {
        step.extend(title.map(|title| ("title".into(), Value::text(title))));
        step.extend(description.map(|text| ("description".into(), Value::text(text))));
        step
    })
}

/// What a workflow says besides its steps.
fn around() -> impl Strategy<Value = Members> {
    some_of(&[
        &["evaluate: { language: cel, mode: strict }"],
        &["defaults: { retry: patient, timeout: { run: 2m }, limits: { output: 1MiB } }"],
        &["maxParallel: 4"],
        &["timeout: { total: 72h }", "timeout: 50m"],
        &["failFast: false", "failFast: true"],
        &[
            "concurrency: [{ key: \"${ input.x }\", limit: 3, scope: namespace, onLimit: cancel-oldest }, { limit: 100 }]",
        ],
        &[
            "priority: { level: \"${ 1 + 1 }\", fairnessKey: \"${ run.tenant }\", weight: 2.5 }",
            "priority: { level: 2 }",
        ],
        &["idempotency: { key: \"${ input.x }\", ttl: 24h, onDuplicate: reject }"],
        &["deadline: \"${ input.x }\""],
        &[
            "schedule: [{ id: daily, cron: \"0 6 * * 1-5\", timezone: Europe/Madrid, overlap: bufferOne, catchup: 1h, jitter: 30s, input: { x: a } }, { every: 15m }]",
        ],
        &[
            "onError: { compensate: none }",
            "onError: { steps: { tell: { call: \"tool:e\", with: { why: \"${ error.kind }\" } }, then: { set: 1, dependsOn: [tell] } } }",
        ],
        &["finally: { clean: { call: \"tool:e\", timeout: { run: 10s } } }"],
        &["output: { as: { list: \"${ input.list }\", fixed: [1, null] } }"],
    ])
}

prop_compose! {
    /// A workflow that the checker accepts.
    pub(crate) fn workflow()(
        steps in prop::collection::vec((step(), 0u8..6, any::<u16>()), 1..8),
        around in around(),
        title in prop::option::of(text()),
    ) -> Value {
        let mut head = members("dsl: \"1.0\", namespace: made, name: up, version: 1.2.3");
        head.extend(title.map(|title| ("title".into(), Value::text(title))));
        let mut whole = members("use: { retries: { patient: { delay: 1s, limit: { attempts: 2 } } } }");
        whole.push(("document".into(), Value::map(head)));
        whole.push(("steps".into(), Value::map(steps.into_iter().enumerate().map(|(number, (mut step, form, on))| {
            if number > 0 && form < 4 {
                step.push(("dependsOn".into(), depends(number, form, on)));
            }
            // A key more than ten sorts otherwise than its number.
            (format!("s{}", number * 3), Value::map(step))
        }))));
        whole.extend(around);
        Value::map(whole)
    }
}

/// Steps before this one, as a list or as a map.
fn depends(number: usize, form: u8, on: u16) -> Value {
    let before = (0..number).filter(|at| on & (1 << at) != 0).map(|at| Value::text(format!("s{}", at * 3)));
    match form {
        0 | 1 => Value::list(before.collect()),
        _ => {
            let endings = [["succeeded"].as_slice(), &["succeeded", "skipped", "failed"]][form as usize - 2];
            let endings = || Value::list(endings.iter().map(|ending| Value::text(*ending)).collect());
            Value::map(before.filter_map(|step| Some((step.as_str()?.to_owned(), endings()))))
        }
    }
}

/// Any value without an expression in it.
fn data() -> impl Strategy<Value = Value> {
    let number = |text: String| parse_value(text.as_bytes()).unwrap_or_default();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][-+]?[0-9]{1,2})?".prop_map(number),
        text().prop_map(Value::text),
        text().prop_map(Value::text),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::list),
            prop::collection::vec((text(), inner), 0..5).prop_map(Value::map),
        ]
    })
}

/// Text that is something else to YAML, or to some readers of it.
#[rustfmt::skip]
const HARD: &[&str] = &[
    "", " ", "~", "null", "true", "no", "off", "1", "-1", "1.50", "010", "1e3", "0x1F", ".inf", "2024-01-01", "<<", "---", "...", "-", "- a", "?", "? a", ":", "a:", "a: b", "a:b", ": a", "#", "a #b", "a#b", "[a", "a]", "{a", "a, b", "&a", "*a", "!a", "!!str", "|", ">", "|-", "%YAML 1.2", "@a", "`a", "'", "\"", "'a'", "\"a\"", "it's", "say \"so\"", "a\\b", "\\n", "a\nb", "a\nb\n", "a\n\nb\n\n", "\na", "\n", "  a\nb", "a\n  b", "a \nb", "a\n \nb", "a\tb", "\ta", "a\r\nb", "a\r", "\u{7}", "\u{85}", "a\u{2028}b", "\u{feff}a", "\u{7f}", "\u{a0}", "\u{fffe}", "\u{1f600}", "\u{1ffff}", "$", "$$", "$${ a }", "a b c", "http://a/b?c=d&e#f", "a\n# b\nc", "a: |\n  b", "key: [\n", "=", "y", "Null", "a\n---\nb",
];

/// Text that looks like something else to YAML, and any other.
fn text() -> impl Strategy<Value = String> {
    let any = any::<String>().prop_map(|text| text.replace('$', "S"));
    let lines = "([ a-z:#-]{0,6}\n){1,4}[a-z ]{0,3}";
    prop_oneof![6 => prop::sample::select(HARD).prop_map(str::to_owned), 2 => any, 2 => lines, 1 => "[a-zà-ü0-9 ]{1,80}", 1 => "a{1050,1060}"]
}
