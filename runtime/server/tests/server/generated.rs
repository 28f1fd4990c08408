//! What is made from the code and checked in. `HEDDLE_TEST_UPDATE=1` writes it anew.

use heddle_core::document::Doc;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::plan::Plan;
use heddle_core::schema::Schema;
use std::path::PathBuf;

#[track_caller]
fn is_checked_in(path: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("HEDDLE_TEST_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(text.lines()).position(|(a, b)| a != b);
    assert!(
        found == text,
        "{} is out of date from line {:?}; run the test with HEDDLE_TEST_UPDATE=1",
        path.display(),
        differs.map(|n| n + 1)
    );
}

#[test]
fn the_description_of_the_api() {
    is_checked_in("docs/openapi.json", &heddle_server::http::description());
}

#[test]
fn the_help_of_every_command() {
    is_checked_in("docs/cli.md", &heddle_server::cli::help());
}

#[test]
fn the_example_configuration() {
    is_checked_in("docs/heddle.toml", &heddle_server::config::example::text());
}

#[test]
fn the_schema_of_the_language_agrees_with_its_parser() {
    let text = include_str!("../../src/cli/workflow/schema.json");
    let schema = Schema::compile(&Json::parse(text.as_bytes()).unwrap()).unwrap();
    let whole = r#"
document: { dsl: "1.0", namespace: a, name: b, version: 1.0.0, title: T, description: D }
evaluate: { language: cel, mode: strict }
input: { schema: { type: object } }
use: { retries: { slow: { delay: 1s, backoff: { exponential: { factor: 2, maxDelay: 30s } }, jitter: full, limit: { attempts: 3, duration: 10m }, when: "${ error.retryable }" } } }
defaults: { retry: slow, timeout: { run: 2m, total: 1h }, limits: { fuel: 1000, memory: 64MiB, output: 1MiB } }
maxParallel: 4
timeout: { total: 1h }
failFast: false
schedule:
  - { id: daily, cron: "0 6 * * 1-5", timezone: Europe/Madrid, overlap: bufferOne, catchup: 1h, jitter: 30s, input: { n: 1 } }
  - { every: 15m }
  - { at: 2126-12-01T06:00:00Z }
steps:
  list: { title: L, description: D, set: [1, 2] }
  each:
    forEach: { in: "${ steps.list.output }", as: x, at: i, maxParallel: 2, tolerateFailures: 5% }
    call: tool:echo@^1
    with: { x: "${ x }" }
    cache: { mode: read-write, scope: step, ttl: 1h }
    retry: none
    timeout: 30s
  pause: { wait: 30s, dependsOn: [list] }
  dawn: { wait: { until: 2126-11-21T06:00:00Z } }
  paid: { wait: { signal: paid, match: "${ event.data.id == steps.list.output[0] }", timeout: 2m } }
  ask:
    dependsOn: { each: [succeeded, failed] }
    when: ${ steps.list.output.size() > 0 }
    call: agent:helper
    tools: ["tool:echo", "transform:*"]
    retry: { delay: 1s, backoff: linear, jitter: { from: 0s, to: 1s } }
    cache: off
output: { as: "${ steps.list.output }" }
"#;
    let limits = Limits::default();
    let doc = Doc::parse(whole, &limits).unwrap();
    Plan::read(&doc, None, &limits)
        .unwrap_or_else(|faults| panic!("{}", faults.iter().map(|f| format!("{f}\n")).collect::<String>()));
    schema.check(&Json::from_value(doc.value())).unwrap();
    // Each of these is refused by both.
    for (from, to) in [
        ("maxParallel: 4", "maxParalel: 4"),
        ("overlap: bufferOne", "overlap: buffer"),
        ("every: 15m", "every: 15"),
        ("{ every: 15m }", "{ every: 15m, timezone: UTC }"),
        ("{ every: 15m }", "{ every: 15m, at: 2126-12-01T06:00:00Z }"),
        ("jitter: 30s,", "jiter: 30s,"),
        ("timeout: 30s", "timeout: 30"),
        ("jitter: full", "jitter: some"),
        ("as: x,", "az: x,"),
        ("set: [1, 2]", "sett: [1, 2]"),
        ("call: agent:helper", "call: helper"),
        ("wait: 30s", "wait: 30"),
        ("signal: paid, match", "signal: paid, mach"),
        ("signal: paid,", "until: paid, signal: paid,"),
    ] {
        let doc = Doc::parse(&whole.replace(from, to), &limits).unwrap();
        assert!(Plan::read(&doc, None, &limits).is_err(), "{to}");
        assert!(schema.check(&Json::from_value(doc.value())).is_err(), "{to}");
    }
}
