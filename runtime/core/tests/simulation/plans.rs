//! Random workflows that use every part of the language which the core runs.

use super::rng::Rng;
use super::versions::{self, Draft, Version};
use heddle_core::document::Doc;
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::plan::Plan;
use std::sync::Arc;

/// A workflow and an input for it.
pub(crate) struct Case {
    pub(crate) plan: Arc<Plan>,
    pub(crate) source: String,
    pub(crate) input: Json,
    pub(crate) max_parallel: u32,
    /// Every version that a run of it may have, its own first; none where runs keep theirs.
    pub(crate) versions: Vec<Version>,
}

/// The workflow of this number.
pub(crate) fn case(number: u64) -> Case {
    let mut rng = Rng::new(number);
    let count = 1 + rng.below(7);
    let steps: Vec<(String, String)> = (0..count).map(|i| (format!("s{i}"), step(i, &mut rng))).collect();
    // A step that waits for a failure alone is refused where that failure ends the run.
    let goes_on = rng.once_in(3) | steps.iter().any(|(_, step)| step.contains("[failed]"));
    let has_time = rng.once_in(8);
    let mut draft = Draft { goes_on, has_time, after: after(&mut rng), steps, ..Draft::default() };
    // One in four goes on with other versions.
    draft.moves = number % 4 == 3;
    let source = draft.text();
    let plan = read(&source).unwrap_or_else(|f| panic!("{f}\n{source}"));
    let versions = if draft.moves { versions::of(&draft, number) } else { Vec::new() };
    let list: Vec<String> = (0..rng.below(6)).map(|i| i.to_string()).collect();
    let input = Json::parse(format!("{{\"x\":{},\"list\":[{}]}}", rng.below(4), list.join(",")).as_bytes())
        .expect("a literal");
    Case { plan, source, input, max_parallel: 1 + rng.below(4) as u32, versions }
}

/// The plan of a text, or what is wrong with it.
pub(crate) fn read(source: &str) -> Result<Arc<Plan>, String> {
    let doc = Doc::parse(source, &Limits::default()).map_err(|fault| fault.to_string())?;
    Plan::read(&doc, None, &Limits::default()).map(Arc::new).map_err(|faults| format!("{faults:?}"))
}

/// A step at this place, which waits for steps before it at most.
pub(crate) fn step(index: u64, rng: &mut Rng) -> String {
    let mut parts = Vec::new();
    if index > 0 && !rng.once_in(4) {
        parts.push(depends(index, rng));
    }
    if rng.once_in(4) {
        parts.push(format!(
            "when: \"${{ input.x {} {} }}\"",
            if rng.once_in(2) { ">" } else { "<=" },
            rng.below(4)
        ));
    }
    if rng.once_in(12) {
        return format!("{{ {} }}", [parts, vec![group(rng)]].concat().join(", "));
    }
    let mapped = rng.once_in(3);
    if mapped {
        parts.push(for_each(rng));
    }
    if rng.once_in(7) {
        parts.push(child(rng).to_owned());
        if rng.once_in(2) {
            parts.push("retry: {delay: 1s, limit: {attempts: 3}}".to_owned());
        }
        return format!("{{ {} }}", parts.join(", "));
    }
    if rng.once_in(9) || !mapped && rng.once_in(6) {
        parts.push(if mapped { EMIT } else { wait(rng) }.to_owned());
        return format!("{{ {} }}", parts.join(", "));
    }
    match rng.below(6) {
        0 if mapped => parts.push("set: { n: \"${ index + 1 }\" }".to_owned()),
        0 => parts.push("set: { n: \"${ input.x + 1 }\" }".to_owned()),
        1 | 2 => parts.push("call: \"transform:t@1\"".to_owned()),
        _ => {
            parts.push("call: \"tool:e@1\"".to_owned());
            if rng.once_in(3) {
                parts.push(compensate(rng).to_owned());
            }
            if rng.once_in(6) {
                parts.push(fallback(rng).to_owned());
            }
            if rng.once_in(8) {
                parts.push("onCrash: fail".to_owned());
            }
        }
    }
    if !mapped && parts.iter().any(|part| part.starts_with("call")) {
        parts.extend(on_failure(rng).map(str::to_owned));
    }
    if rng.once_in(8) {
        parts.push("skippable: true".to_owned());
    }
    if rng.once_in(15) {
        parts.push("breakpoint: true".to_owned());
    }
    if rng.once_in(2) {
        let backoff = ["constant", "linear", "exponential"][rng.below(3) as usize];
        let jitter = ["none", "full", "plus-minus"][rng.below(3) as usize];
        let when = if rng.once_in(4) { ", when: \"${ error.kind == 'guest_error' }\"" } else { "" };
        parts.push(format!(
            "retry: {{delay: 1s, backoff: {backoff}, jitter: {jitter}, limit: {{attempts: {}}}{when}}}",
            1 + rng.below(4)
        ));
    }
    if rng.once_in(8) {
        parts.push("timeout: {total: 5s}".to_owned());
    }
    format!("{{ {} }}", parts.join(", "))
}

fn for_each(rng: &mut Rng) -> String {
    let cap = if rng.once_in(2) { format!(", maxParallel: {}", 1 + rng.below(3)) } else { String::new() };
    let tolerance = match rng.below(4) {
        0 => ", tolerateFailures: 50%".to_owned(),
        1 => ", tolerateFailures: 1".to_owned(),
        _ => String::new(),
    };
    let within = match rng.below(6) {
        0 => ", forEach: {in: \"${ input.list }\"}",
        1 => ", batch: 2",
        _ => "",
    };
    format!("forEach: {{in: \"${{ input.list }}\"{within}{cap}{tolerance}}}")
}

fn child(rng: &mut Rng) -> &'static str {
    match rng.below(4) {
        0 => "workflow: { ref: sim/other@1, onParentCancel: leave }",
        1 => "workflow: sim/other@1, timeout: {total: 5s}",
        2 => "workflow: { from: \"${ input.list }\" }, compensate: { call: \"tool:e@1\" }",
        _ => "workflow: sim/other@1, with: { n: \"${ input.x }\" }",
    }
}

/// What runs after the steps.
pub(crate) fn after(rng: &mut Rng) -> String {
    let mut parts = String::new();
    match rng.below(4) {
        0 => parts.push_str("onError: { compensate: none, steps: { tell: { call: \"tool:e@1\", with: { kind: \"${ error.kind }\" } } } }\n"),
        1 => parts.push_str("onError: { steps: { tell: { call: \"tool:e@1\", retry: { limit: { attempts: 2 } } }, then: { set: \"${ error.message }\", dependsOn: [tell] } } }\n"),
        _ => {}
    }
    if rng.once_in(3) {
        parts.push_str("finally: { clean: { call: \"tool:e@1\" }, sum: { set: \"${ steps.s0.status }\", dependsOn: [clean] } }\n");
    }
    parts
}

fn compensate(rng: &mut Rng) -> &'static str {
    match rng.below(3) {
        0 => "compensate: { call: \"tool:e@1\", retry: { limit: { attempts: 3 } }, hint: call ana }",
        1 => "compensate: { when: \"${ input.x > 0 }\", call: \"tool:e@1\" }",
        _ => "compensate: { call: \"tool:e@1\", onCrash: fail }",
    }
}

fn on_failure(rng: &mut Rng) -> Option<&'static str> {
    match rng.below(9) {
        0 => Some("onFailure: ask"),
        1 => Some("onFailure: { ask: { assignees: [bo, \"group:ops\"], timeout: 4s } }"),
        2 => Some("onFailure: { ask: { timeout: 2s } }"),
        _ => None,
    }
}

fn fallback(rng: &mut Rng) -> &'static str {
    match rng.below(3) {
        0 => "fallback: [{ call: \"tool:other@1\" }]",
        1 => "fallback: [{ call: \"tool:other@1\", with: { n: 1 } }, { value: { n: \"${ input.x }\" } }]",
        _ => "fallback: [{ value: \"${ input.missing }\" }]",
    }
}

fn group(rng: &mut Rng) -> String {
    let time = if rng.once_in(3) { "timeout: {total: 5s}, " } else { "" };
    let when = if rng.once_in(3) { "when: \"${ input.x > 1 }\", " } else { "" };
    let after = if rng.once_in(2) { ", dependsOn: [a]" } else { "" };
    let retry = "retry: {delay: 1s, limit: {attempts: 2}}";
    format!(
        "{time}parallel: {{ steps: {{ a: {{ {when}call: \"tool:e@1\", {retry} }}, b: {{ call: \"transform:t@1\"{after} }}, c: {{ wait: 3s }} }} }}"
    )
}

const EMIT: &str = "emit: { event: go, data: { n: \"${ input.x }\" } }";

fn wait(rng: &mut Rng) -> &'static str {
    match rng.below(10) {
        8 | 9 => EMIT,
        5 => "approval: { assignees: [ana, bo, \"group:ops\"], quorum: 2, timeout: 30s }",
        6 => "approval: { timeout: 30s, onTimeout: approve }",
        7 => "approval: { assignees: [bo], timeout: 30s, onTimeout: fail }",
        0 => "wait: 2s",
        1 => "wait: { for: \"${ input.x > 1 ? '3s' : '40s' }\" }",
        2 => "wait: { until: \"${ input.x > 1 ? '1970-01-01T00:00:05Z' : 'soon' }\" }",
        3 => "wait: { signal: go, timeout: 30s }",
        _ => "wait: { signal: go, match: \"${ event.data.n == input.x }\", timeout: 35s }",
    }
}

fn depends(index: u64, rng: &mut Rng) -> String {
    let on: Vec<u64> = (0..index).filter(|_| rng.once_in(2)).collect();
    if rng.once_in(3) {
        let entries: Vec<String> = on
            .iter()
            .map(|i| {
                format!(
                    "s{i}: [{}]",
                    ["succeeded", "succeeded, skipped, failed", "failed", "succeeded, failed"]
                        [rng.below(4) as usize]
                )
            })
            .collect();
        return format!("dependsOn: {{{}}}", entries.join(", "));
    }
    format!("dependsOn: [{}]", on.iter().map(|i| format!("s{i}")).collect::<Vec<_>>().join(", "))
}
