//! `rateLimit` and `circuitBreaker`: what an attempt of a step must pass before it may have a sandbox.

use super::admission::literal_key;
use super::policy::word;
use super::step::{Shared, compile};
use super::walk::{Faults, Fields};
use crate::document::{Doc, Part};
use crate::expr::{Names, Template};
use crate::gate::{circuit, rate};
use crate::limits::Limits;
use crate::run::queue::key_text;
use crate::time::Span;
use crate::value::Value;

/// What a step says of both.
#[derive(Clone, Debug, Default)]
pub struct GateRules {
    /// `rateLimit`.
    pub rate: Option<Keyed<rate::Rule>>,
    /// `circuitBreaker`.
    pub circuit: Option<Keyed<circuit::Rule>>,
}

/// A rule for everything with the same key.
#[derive(Clone, Debug)]
pub struct Keyed<R> {
    /// The key; without one it is the plugin that the step calls.
    pub key: Option<Template>,
    /// The rule.
    pub rule: R,
}

impl GateRules {
    /// The steps whose outcome the keys read.
    pub(super) fn reads(&self) -> impl Iterator<Item = u32> + '_ {
        let keys = [self.rate.as_ref().map(|gate| &gate.key), self.circuit.as_ref().map(|gate| &gate.key)];
        keys.into_iter().flatten().flatten().flat_map(|key| key.reads.iter().copied())
    }
}

/// Where a `rateLimit` says less: one after the other, evenly.
const RATE: rate::Rule =
    rate::Rule { limit: 1, period: Span(1_000), burst: 1, on_limit: rate::OnLimit::Queue };
/// Where a `circuitBreaker` says less.
const CIRCUIT: circuit::Rule = circuit::Rule {
    failure_rate: 0.5,
    min_calls: 10,
    window: Span(60_000),
    open_for: Span(30_000),
    when_open: circuit::WhenOpen::Wait,
};
/// The largest numbers that make sense here.
const MOST: u64 = 1_000_000;
/// And the longest times.
const LONGEST: Span = Span(24 * 3_600_000);
/// And the shortest window: it is forgotten in ten parts.
const SHORTEST_WINDOW: Span = Span(100);

/// Reads both. `has_fallback` says whether there is something else to do while a circuit is open.
pub(super) fn read(
    step: &mut Fields<'_>,
    has_fallback: bool,
    names: &Names,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Option<Box<GateRules>> {
    let rate = step.get("rateLimit").map(|(doc, path)| rate_rule(doc, &path, names, shared, faults));
    let circuit = step
        .get("circuitBreaker")
        .map(|(doc, path)| circuit_rule((doc, &path), has_fallback, names, shared, faults));
    (rate.is_some() || circuit.is_some()).then(|| Box::new(GateRules { rate, circuit }))
}

fn rate_rule(
    doc: &Doc,
    path: &str,
    names: &Names,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Keyed<rate::Rule> {
    let mut fields = Fields::of(doc, path, faults);
    let key = key(&mut fields, names, shared, faults);
    let given = fields.need("limit", faults).is_some();
    let limit = if given { fields.count("limit", MOST, faults) } else { None };
    fields.need("period", faults);
    let period = bounded(&mut fields, "period", Span(1), faults);
    let burst = fields.get("burst").and_then(|_| fields.count("burst", MOST, faults));
    let ways = [("queue", rate::OnLimit::Queue), ("reject", rate::OnLimit::Reject)];
    let on_limit = word(&mut fields, "onLimit", &ways, faults).unwrap_or_default();
    fields.finish(faults);
    let rule = rate::Rule {
        limit: limit.unwrap_or(RATE.limit),
        period: period.unwrap_or(RATE.period),
        burst: burst.unwrap_or(RATE.burst),
        on_limit,
    };
    Keyed { key, rule }
}

fn circuit_rule(
    (doc, path): (&Doc, &str),
    has_fallback: bool,
    names: &Names,
    shared: &Shared<'_>,
    faults: &mut Faults,
) -> Keyed<circuit::Rule> {
    let mut fields = Fields::of(doc, path, faults);
    let key = key(&mut fields, names, shared, faults);
    let failure_rate = fields.get("failureRate").and_then(|(doc, path)| {
        let rate = match &doc.part {
            Part::Scalar(value @ (Value::Int(_) | Value::Number(_))) => value.as_f64(),
            _ => None,
        };
        let rate = rate.filter(|rate| *rate > 0.0 && *rate <= 1.0);
        if rate.is_none() {
            faults.at(doc, &path, "wants a share of the calls, above 0 and at most 1");
        }
        rate
    });
    let min_calls = fields.get("minCalls").and_then(|_| fields.count("minCalls", MOST, faults));
    let window = bounded(&mut fields, "window", SHORTEST_WINDOW, faults);
    let open_for = bounded(&mut fields, "openFor", Span(1), faults);
    let ways = [("wait", circuit::WhenOpen::Wait), ("fail", circuit::WhenOpen::Fail)];
    let when_open = word(&mut fields, "whenOpen", &ways, faults).unwrap_or(match has_fallback {
        true => circuit::WhenOpen::Fail,
        false => circuit::WhenOpen::Wait,
    });
    fields.finish(faults);
    let rule = circuit::Rule {
        failure_rate: failure_rate.unwrap_or(CIRCUIT.failure_rate),
        min_calls: min_calls.unwrap_or(CIRCUIT.min_calls),
        window: window.unwrap_or(CIRCUIT.window),
        open_for: open_for.unwrap_or(CIRCUIT.open_for),
        when_open,
    };
    Keyed { key, rule }
}

fn key(fields: &mut Fields<'_>, names: &Names, shared: &Shared<'_>, faults: &mut Faults) -> Option<Template> {
    let (doc, path) = fields.get("key")?;
    let template = compile(doc, &path, names, shared, faults);
    literal_key((doc, &path), &template, |key| gate_key_text(key, shared.limits), faults);
    Some(template)
}

/// The key of a rate or a circuit, where the value is one; otherwise why it is none. A circuit is named in a path, where
/// dots alone mean something else.
pub(crate) fn gate_key_text(value: &Value, limits: &Limits) -> Result<String, String> {
    match key_text(value, limits)? {
        key if matches!(&*key, "" | "." | "..") => {
            Err(format!("`{key}` is no key: write what tells it from others"))
        }
        key => Ok(key),
    }
}

fn bounded(fields: &mut Fields<'_>, key: &'static str, least: Span, faults: &mut Faults) -> Option<Span> {
    let (doc, path) = fields.get(key)?;
    let read = fields.span(key, faults)?;
    if read < least || read > LONGEST {
        faults.at(doc, &path, format!("wants a duration from {least} to {LONGEST}"));
    }
    Some(read)
}
