//! Workflows: what is accepted, and that every fault comes at once, with its place and what to write instead.

use heddle_core::document::{Doc, Fault};
use heddle_core::json::Json;
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::PluginKind;
use heddle_core::plan::{Catalog, Plan};
use heddle_core::plugin::{Metadata, PluginRef};
use std::sync::Arc;

struct Plugins;

impl Catalog for Plugins {
    fn find(&self, reference: &PluginRef) -> Option<Arc<Metadata>> {
        let named = reference.kind == PluginKind::Tool && reference.name == "http-fetch";
        let fetch = named && reference.range.matches(&semver::Version::new(1, 2, 0));
        fetch.then(|| Arc::new(Metadata {
            name: "http-fetch".into(),
            version: semver::Version::new(1, 2, 0),
            kind: PluginKind::Tool,
            title: String::new(),
            description: String::new(),
            input_schema: Json::trusted(r#"{"additionalProperties":false,"properties":{"url":{"type":"string"}},"required":["url"],"type":"object"}"#),
            output_schema: Json::trusted(r#"{"additionalProperties":false,"properties":{"body":{"type":"string"},"status":{"type":"integer"}},"type":"object"}"#),
            provides: vec![],
            limits: AskedLimits::default(),
            documentation: String::new(),
        }))
    }
    fn names(&self) -> Vec<String> {
        vec!["tool:http-fetch".into()]
    }
}

const HEAD: &str = "document: {dsl: \"1.0\", namespace: acme, name: demo, version: 1.0.0}\n";

fn read(text: &str) -> Result<Plan, Vec<Fault>> {
    let doc = Doc::parse(text, &Limits::default()).map_err(|f| vec![f])?;
    Plan::read(&doc, Some(&Plugins), &Limits::default())
}
fn body(text: &str) -> Result<Plan, Vec<Fault>> {
    read(&format!("{HEAD}{text}"))
}
fn faults(text: &str) -> String {
    body(text).err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_whole_workflow_reads() {
    let plan = body(
        r#"
evaluate: {language: cel, mode: strict}
input:
  schema: {type: object, required: [urls], properties: {urls: {type: array, items: {type: string}}, vip: {type: boolean, default: false}}}
use:
  retries:
    flaky: {delay: 500ms, backoff: {exponential: {factor: 2, maxDelay: 30s}}, jitter: full, limit: {attempts: 6, duration: 10m}, when: "${ error.retryable && error.kind != 'capability_denied' }"}
defaults: {retry: flaky, timeout: {run: 2m}, limits: {fuel: 5000000000, memory: 64MiB}}
maxParallel: 8
timeout: {total: 1h}
steps:
  fetch:
    forEach: {in: "${ input.urls }", as: url, at: i, maxParallel: 4, tolerateFailures: 5%}
    call: tool:http-fetch@^1
    with: {url: "${ url }"}
    cache: {mode: read-write, ttl: 7d, scope: tenant}
    timeout: {queue: 5m, run: 10s, total: 1h}
  good:
    set: "${ steps.fetch.output.filter(p, p.status == 200).map(p, p.body) }"
  extra:
    when: "${ input.vip }"
    dependsOn: {good: [succeeded, skipped]}
    set: {note: "vip of ${ size(steps.good.output) }"}
    retry: none
output: {as: {bodies: "${ steps.good.output }", note: "${ default(steps.extra.output.note, 'none') }"}}
"#,
    )
    .unwrap_or_else(|f| panic!("{f:#?}"));
    assert_eq!(plan.steps.len(), 3);
    let order: Vec<&str> = plan.order.iter().map(|&s| &*plan.steps[s as usize].id).collect();
    assert_eq!(order, ["fetch", "good", "extra"]);
    let ids: Vec<&str> = plan.steps.iter().map(|s| &*s.id).collect();
    assert_eq!(ids, ["extra", "fetch", "good"], "the journal's numbers do not follow the author's order");
    let filled = plan.accept_input(&Json::parse(br#"{"urls":[]}"#).unwrap()).unwrap();
    assert_eq!(filled.text(), r#"{"urls":[],"vip":false}"#);
    assert!(
        plan.accept_input(&Json::parse(br#"{"urls":[1]}"#).unwrap()).unwrap_err()[0].pointer == "/urls/0"
    );
    assert_eq!(Plan::reread(&plan.source).unwrap().digest, plan.digest);
}

#[test]
fn every_fault_comes_at_once_with_its_line() {
    let text = "steps:\n  a:\n    call: tool:http-fetsh@^1\n    with: {url: \"${ inptu.x }\"}\n    timeot: 3s\n  b:\n    dependsOn: [aa]\n    call: fetch\n  C:\n    set: 1\n    timeout: 30\n";
    let all = faults(text);
    for part in [
        "4:11: /steps/a/call: no plugin `tool:http-fetsh@^1` is loaded; did you mean `tool:http-fetch`?",
        "5:17: /steps/a/with/url: nothing is called `inptu` here; did you mean `input`?",
        "6:5: /steps/a/timeot: unknown key `timeot`; did you mean `timeout`?",
        "/steps/b/dependsOn/0: no step is called `aa`; did you mean `a`?",
        "/steps/b/call: `fetch` does not say its kind; write `tool:fetch`, `transform:fetch` or `agent:fetch`",
        "/steps/C: a step's id is",
        "/steps/C/timeout: `30` has no unit; write `30s` or `30ms`",
    ] {
        assert!(all.contains(part), "missing: {part}\nin:\n{all}");
    }
}

#[test]
fn a_cycle_hides_nothing_and_no_other_cycle() {
    let all = faults(
        "steps: {a: {set: 1, dependsOn: [b]}, b: {set: 1, dependsOn: [a]}, c: {set: 1, dependsOn: [d]}, d: {set: 1, dependsOn: [c, a]}, e: {call: \"tool:nope\"}, f: {set: 1, dependsOn: [f]}}",
    );
    for part in ["a -> b -> a", "c -> d -> c", "/steps/e/call: no plugin", "`f` waits for itself"] {
        assert!(all.contains(part), "missing: {part}\nin:\n{all}");
    }
}

/// Each of these documents has a fault that says this.
fn answers(rows: &[(&str, &str)]) {
    for (text, part) in rows {
        let found = faults(text);
        assert!(found.contains(part), "{text}\nexpected: {part}\nfound: {found}");
    }
}

#[test]
fn each_mistake_has_its_answer() {
    answers(&[
        (
            "steps: {a: {set: 1, dependsOn: [b]}, b: {set: 1, dependsOn: [c]}, c: {set: 1, dependsOn: [a]}}",
            "wait for each other: a -> b -> c -> a",
        ),
        ("steps: {a: {set: 1, dependsOn: [a]}}", "/steps/a/dependsOn: `a` waits for itself"),
        ("steps: {a: {set: \"${ steps.a.output }\"}}", "/steps/a: `a` waits for itself"),
        (
            "steps: {a: {call: \"tool:http-fetch\", with: {url: 5}}}",
            "/steps/a/with/url: `tool:http-fetch`: 5 is not of type \"string\", by its schema",
        ),
        (
            "steps: {a: {call: \"tool:http-fetch\", with: {url: \"${ 1 + 1 }\"}}}",
            "/steps/a/with/url: `tool:http-fetch` wants string here, by its schema, and this is int",
        ),
        ("steps: {a: {forEach: {in: \"${ [1] }\", as: x, at: x}, set: 1}}", "`x` is the item already"),
        ("steps: {a: {call: \"agent:x\", tools: [\"tool:http-fetsh\"]}}", "did you mean `tool:http-fetch`?"),
        ("steps: {a: {set: 1, condition: true}}", "here it is `when`"),
        ("steps: {a: {set: 1, needs: [b]}}", "here it is `dependsOn`"),
        ("steps: {a: {set: 1, if: true}}", "here it is `when`"),
        ("steps: {a: {call: \"tool:http-fetch\", with: {url: x}, retry: {maxAttempts: 3}}}", "attempts"),
        ("steps: {a: {emit: {}}}", "`event` is missing"),
        ("steps: {a: {}}", "no verb"),
        ("steps: {a: {set: 1, call: \"tool:http-fetch\", with: {url: x}}}", "one verb"),
        ("steps: []", "wants a map from id to step"),
        ("steps: {}", "no steps"),
        ("steps: {a: {call: \"tool:http-fetch\"}}", "needs `url` in its input"),
        ("steps: {a: {call: \"tool:http-fetch\", with: {url: x, method: GET}}}", "takes no `method`"),
        ("steps: {a: {call: \"tool:http-fetch@^2\", with: {url: x}}}", "no plugin"),
        (
            "steps: {a: {call: \"tool:http-fetch\", with: {url: x}}, b: {set: \"${ steps.a.output.stauts }\"}}",
            "did you mean `status`",
        ),
        (
            "steps: {a: {call: \"tool:http-fetch\", with: {url: x}}, b: {when: \"${ steps.a.output.body > 3 }\", set: 1}}",
            "cannot work on string and int",
        ),
        ("steps: {a: {when: \"${ 1 + 1 }\", set: 1}}", "a condition must be true or false"),
        ("steps: {a: {when: yes, set: 1}}", "wants an expression"),
        ("steps: {a: {forEach: {in: \"${ 'x' }\"}, set: 1}}", "never is one"),
        ("steps: {a: {forEach: {as: x}, set: 1}}", "`in` is missing"),
        ("steps: {a: {forEach: {in: \"${ [1] }\", as: input}, set: 1}}", "cannot be bound"),
        (
            "steps: {a: {call: \"tool:http-fetch\", with: {url: x}, cache: {mode: read-write}}}",
            "`ttl` is missing",
        ),
        ("steps: {a: {call: \"tool:http-fetch\", with: {url: x}, tools: [\"tool:x\"]}}", "only an agent"),
        ("steps: {a: {set: 1, timeout: {run: 10s, total: 5s}}}", "can never be reached"),
        ("steps: {a: {set: 1, retry: nightly}}", "no retry policy is called `nightly`"),
        ("steps: {a: {set: 1, retry: {limit: {attempts: 1000}}}}", "from 1 to"),
        ("steps: {a: {set: 1, retry: {jitter: half}}}", "`none`, `full`, `plus-minus`"),
        ("steps: {a: {set: 1, limits: {memory: 64}}}", "with its unit"),
        ("steps: {a: {set: \"${ 1 \"}}", "is not closed"),
        ("input: {schema: {type: strin}}\nsteps: {a: {set: 1}}", "not a usable JSON Schema"),
        ("maxParallel: 0\nsteps: {a: {set: 1}}", "from 1 to"),
        ("foo: 1\nsteps: {a: {set: 1}}", "unknown key `foo`"),
        ("output: {as: \"${ steps.b.output }\"}\nsteps: {a: {set: 1}}", "nothing is called `steps.b`"),
    ]);
    assert!(read("steps: {a: {set: 1}}").unwrap_err()[0].message.contains("`document` is missing"));
    assert!(read("[1]").unwrap_err()[0].message.contains("wants a map"));
}

#[test]
fn each_mistake_in_a_wait_has_its_answer() {
    answers(&[
        ("steps: {a: {wait: 30}}", "has no unit"),
        ("steps: {a: {wait: {for: 1s, signal: go}}}", "exactly one of `for`, `until` and `signal`"),
        ("steps: {a: {wait: {until: tomorrow}}}", "is not a point in time"),
        ("steps: {a: {wait: {signal: Go}}}", "the name of a signal"),
        ("steps: {a: {wait: {for: 1s, match: \"${ true }\"}}}", "only a `signal` can be matched"),
        ("steps: {a: {wait: {signal: go, match: \"${ 1 }\"}}}", "a condition must be true or false"),
        (
            "steps: {a: {wait: {signal: go, match: \"${ event.data == steps.b.output }\"}}}",
            "nothing is called `steps.b`",
        ),
        ("steps: {a: {wait: 2h}}", "the run must end within 1h"),
        ("steps: {a: {wait: 1s, forEach: {in: \"${ [1] }\"}}}", "a `forEach` cannot wait"),
        ("steps: {a: {wait: 1s, with: {}}}", "a `wait` calls nothing"),
        ("steps: {a: {wait: 1s, set: 1}}", "both `set` and `wait`"),
    ]);
}

#[test]
fn ten_thousand_steps_are_refused_and_a_long_chain_is_not() {
    let chain = |n: usize| {
        let steps: Vec<String> = (0..n)
            .map(|i| {
                if i == 0 {
                    "  s0: {set: 1}".to_owned()
                } else {
                    format!("  s{i}: {{set: 1, dependsOn: [s{}]}}", i - 1)
                }
            })
            .collect();
        format!("steps:\n{}\n", steps.join("\n"))
    };
    assert!(faults(&chain(1_001)).contains("limit workflow_steps"));
    assert_eq!(body(&chain(1_000)).unwrap().steps.len(), 1_000);
}

#[test]
fn a_graph_far_beyond_the_limit_is_refused_with_one_word() {
    let nodes: Vec<String> = (0..6_000).map(|n| format!("{{id: n{n}, set: 1}}")).collect();
    let edges: Vec<String> = (1..6_000).map(|n| format!("{{from: n{}, to: n{n}}}", n - 1)).collect();
    let all = faults(&format!("nodes: [{}]\nedges: [{}]", nodes.join(", "), edges.join(", ")));
    assert!(all.contains("/nodes: 6000 nodes; the limit workflow_steps is 1000"), "{all}");
    assert_eq!(all.lines().count(), 1, "{all}");
}

#[test]
fn an_output_that_may_not_be_there_is_asked_for_first() {
    let with = |rest: &str| {
        format!("steps: {{a: {{when: \"${{ input.x }}\", set: {{n: 1}}}}, z: {{set: 1}}, {rest}}}")
    };
    for reads in [
        "b: {set: \"${ steps.a.output.n }\"}",
        "b: {set: \"${ has(steps.z.output) ? steps.a.output.n : 0 }\"}",
        "b: {set: \"${ has(steps.a.output) || steps.a.output.n > 0 }\"}",
        "b: {when: \"${ !has(steps.a.output) }\", set: \"${ steps.a.output.n }\"}",
        "b: {set: 1, dependsOn: {a: [failed]}}, c: {set: \"${ steps.b.output }\"}",
        "b: {call: \"tool:http-fetch\", with: {url: x}, fallback: [{value: \"${ steps.a.output }\"}]}",
    ] {
        let found = faults(&with(reads));
        assert!(found.contains("may not be there"), "{reads}: {found}");
    }
    for reads in [
        "b: {set: \"${ default(steps.a.output.n, 0) }\"}",
        "b: {set: \"${ has(steps.a.output.n) && steps.a.output.n > 0 }\"}",
        "b: {set: \"${ !has(steps.a.output) || steps.a.output.n > 0 }\"}",
        "b: {set: \"${ steps.a.status == 'succeeded' ? steps.a.output.n : 0 }\"}",
        "b: {when: \"${ has(steps.a.output) }\", set: \"${ steps.a.output.n }\"}",
        "b: {dependsOn: {a: [succeeded]}, set: \"${ steps.a.output.n }\"}",
        "b: {set: \"${ steps.z.output }\"}",
    ] {
        assert_eq!(faults(&with(reads)), "", "{reads}");
    }
    let after = "steps: {a: {set: 1}}\nfinally: {b: {set: \"${ steps.a.output }\"}}";
    assert!(faults(after).contains("whether or not the step has succeeded"), "{}", faults(after));
    let undoing = "steps: {a: {call: \"tool:http-fetch\", with: {url: x}, compensate: {set: \"${ steps.a.output.status }\"}}}";
    assert_eq!(faults(undoing), "");
    // A run that was accepted before this was asked for keeps its plan.
    let old =
        Doc::parse(&format!("{HEAD}{}", with("b: {set: \"${ steps.a.output.n }\"}")), &Limits::default());
    assert!(Plan::reread(&Json::from_value(old.unwrap().value())).is_ok());
}

/// What an expression reads is known although something else in it is wrong.
#[test]
fn a_cycle_is_told_beside_the_fault_in_the_expression_that_closes_it() {
    let cases = [
        ("a: {set: 1, dependsOn: [b]}, b: {set: \"${ steps.a.output + nope }\"}", "a -> b -> a"),
        ("a: {set: 1, dependsOn: [b]}, b: {set: 1, when: \"${ steps.a.output > nope }\"}", "a -> b -> a"),
        ("nope: {set: \"${ 1 + 'a' + steps.nope.output }\"}", "waits for itself"),
    ];
    for (steps, cycle) in cases {
        let found = faults(&format!("steps: {{{steps}}}"));
        assert!(found.contains(cycle) && found.lines().count() > 1, "{cycle}: {found}");
    }
}

#[test]
fn times_that_contradict_are_told() {
    answers(&[
        (
            "steps: {g: {timeout: {queue: 5s}, parallel: {steps: {a: {set: 1}}}}}",
            "a group waits for no sandbox",
        ),
        (
            "steps: {c: {workflow: {ref: t/leaf@^1, onParentCancel: leave}, timeout: 300ms}}",
            "`onParentCancel: leave` lets that go on",
        ),
    ]);
    for (before, own) in [("", "timeout: {total: 300ms}"), ("defaults: {timeout: {run: 2m}}\n", "title: t")] {
        let steps =
            format!("{before}steps: {{c: {{workflow: {{ref: t/leaf@^1, onParentCancel: leave}}, {own}}}}}");
        assert_eq!(faults(&steps), "");
    }
}

#[test]
fn what_is_wrong_with_triggers_is_told_at_once() {
    let found = faults(
        r#"
input: {schema: {type: object, required: [n], additionalProperties: false, properties: {n: {type: integer}, s: {type: string}}}}
triggers:
  - { event: paid, match: "${ input.n > 1 }" }
  - { event: paid, match: "${ evnt.data.n > 1 }" }
  - { event: Paid }
  - { run: acme/import@1, ends: [suceeded] }
  - { webhook: github, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }
  - { event: a, input: { s: "${ 1 + 1 }", m: 1, x: "${ event.data }" } }
  - { event: a, id: b, input: { n: seven } }
  - { event: a, id: c, input: { n: "${ steps.s.output }" } }
  - { event: a, id: d, matches: "${ true }" }
  - { event: a, id: e, match: "${ event.dta.n > 5 }" }
  - { event: a, id: g, match: "${ event.depth }" }
steps: {s: {set: 1}}
"#,
    );
    for (place, says) in [
        ("/triggers/0/match", "reads `event` and nothing else"),
        ("/triggers/1/match", "did you mean `event`?"),
        ("/triggers/2/event", "wants the name of an event"),
        ("/triggers/3/run", "not a version"),
        ("/triggers/3/ends/0", "did you mean `succeeded`?"),
        ("/triggers/4/secret", "never the secret itself"),
        ("/triggers/5/input", "`n` is missing"),
        ("/triggers/5/input/s", "wants string here"),
        ("/triggers/5/input/m", "takes no `m`"),
        ("/triggers/6/input/n", "not an input of this workflow"),
        ("/triggers/7/input/n", "there is no run yet"),
        ("/triggers/8/matches", "did you mean `match`?"),
        ("/triggers/9/match", "`data`"),
        ("/triggers/10/match", "must be true or false"),
    ] {
        let told = found.lines().any(|line| line.contains(&format!("{place}:")) && line.contains(says));
        assert!(told, "{place}: {says} is not in\n{found}");
    }
    let twice = faults("triggers: [{event: paid}, {event: paid}]\nsteps: {s: {set: 1}}");
    assert!(twice.contains("`paid` stands twice in the list"), "{twice}");
    let many = format!("triggers: [{}]\nsteps: {{s: {{set: 1}}}}", "{event: paid}, ".repeat(17));
    assert!(faults(&many).contains("the limit triggers is 16"));
    assert_eq!(
        faults(
            "triggers: [{run: \"*\"}, {run: \"acme/*\", id: own}, {run: acme/demo}]\nsteps: {s: {set: 1}}"
        ),
        ""
    );
}
