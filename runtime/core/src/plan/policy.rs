//! What a step says about failure, time, cache and limits.

use super::walk::{Faults, Fields, span};
use crate::document::{Doc, Part};
use crate::expr::names::ErrorName;
use crate::expr::template::whole;
use crate::expr::tree::nearest;
use crate::expr::{Expr, Names};
use crate::limits::{AskedLimits, Limits};
use crate::outcome::PluginKind;
use crate::time::Span;
use crate::value::Value;

/// When a failed attempt is followed by another.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Before the second attempt.
    pub delay: Span,
    /// How the delay grows.
    pub backoff: Backoff,
    /// How it is spread.
    pub jitter: Jitter,
    /// The most attempts, the first included.
    pub attempts: u32,
    /// The most time from the start of the first attempt to the start of the last.
    pub duration: Option<Span>,
    /// Which failures; without it, the retryable ones.
    pub when: Option<Expr>,
}

/// How a delay grows from one attempt to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Backoff {
    /// It does not.
    Constant,
    /// By its own length each time.
    Linear {
        /// The most it becomes.
        max: Option<Span>,
    },
    /// By a factor each time.
    Exponential {
        /// The factor, from 1.
        factor: f64,
        /// The most it becomes.
        max: Option<Span>,
    },
}

/// How a delay is spread, so that many who failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Anywhere from zero to the delay.
    Full,
    /// Up to half the delay less or more.
    PlusMinus,
    /// The delay, and something between these two besides.
    Added {
        /// At least.
        from: Span,
        /// At most.
        to: Span,
    },
}

/// How long a step may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Waiting for a sandbox.
    pub queue: Option<Span>,
    /// One attempt.
    pub run: Option<Span>,
    /// From ready to ended, all attempts and waits.
    pub total: Option<Span>,
    /// From one report of progress to the next, while an attempt is in its sandbox.
    pub heartbeat: Option<Span>,
}

/// Whether a step's output is kept and used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    /// Reading, writing, both or neither.
    pub mode: CacheMode,
    /// How long an entry lives; a transform's lives for ever.
    pub ttl: Option<Span>,
    /// Who shares an entry.
    pub scope: CacheScope,
}

/// Which way the cache is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Not at all.
    Off,
    /// Looked up, and filled.
    ReadWrite,
    /// Looked up only.
    Read,
    /// Filled only: a forced refresh.
    Write,
}

/// Who shares a cache entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheScope {
    /// Every workflow of the tenant.
    Tenant,
    /// Runs of this workflow.
    Workflow,
    /// This step of this workflow.
    Step,
}

/// How many items of a `forEach` may fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded down.
    Percent(f64),
}

impl Tolerance {
    /// The most items that may fail of a list of this length.
    pub fn of(self, count: u32) -> u32 {
        match self {
            Tolerance::Count(n) => n,
            // A share that is meant to be whole is not to be lost to the last bit.
            Tolerance::Percent(p) => (f64::from(count) * p / 100.0 + 1e-9).floor() as u32,
        }
    }
}

impl Timeouts {
    /// Reads `30s` or `{run: 30s, total: 1h}`; what is missing comes from `base`.
    pub(super) fn read(doc: &Doc, path: &str, base: Timeouts, faults: &mut Faults) -> Timeouts {
        if !matches!(doc.part, Part::Map(_)) {
            return Timeouts { run: span(doc, path, faults), ..base };
        }
        let mut fields = Fields::of(doc, path, faults);
        let read = Timeouts {
            queue: fields.span("queue", faults).or(base.queue),
            run: fields.span("run", faults).or(base.run),
            total: fields.span("total", faults).or(base.total),
            heartbeat: fields.span("heartbeat", faults).or(base.heartbeat),
        };
        if let (Some(run), Some(total)) = (read.run, read.total)
            && run > total
        {
            faults.at(doc, path, format!("`run` of {run} can never be reached, because `total` is {total}"));
        }
        if let (Some(heartbeat), Some(run)) = (read.heartbeat, read.run.or(read.total))
            && heartbeat >= run
        {
            faults.at(
                doc,
                path,
                format!(
                    "a `heartbeat` of {heartbeat} says nothing, because an attempt has no longer than {run}"
                ),
            );
        }
        fields.finish(faults);
        read
    }
}

impl CachePolicy {
    /// What holds where a step says nothing.
    /// Where the workflow says nothing: what is pure is kept.
    pub fn default_of(kind: PluginKind) -> CachePolicy {
        let mode = if kind.is_pure() { CacheMode::ReadWrite } else { CacheMode::Off };
        CachePolicy { mode, ttl: None, scope: CacheScope::Tenant }
    }
    pub(super) fn read(doc: &Doc, path: &str, kind: PluginKind, faults: &mut Faults) -> CachePolicy {
        let mut policy = CachePolicy { mode: CacheMode::ReadWrite, ..CachePolicy::default_of(kind) };
        if let Part::Scalar(Value::Bool(false)) = doc.part {
            return CachePolicy { mode: CacheMode::Off, ..policy };
        }
        if doc.as_str() == Some("off") {
            return CachePolicy { mode: CacheMode::Off, ..policy };
        }
        let mut fields = Fields::of(doc, path, faults);
        let modes = [
            ("read-write", CacheMode::ReadWrite),
            ("read", CacheMode::Read),
            ("write", CacheMode::Write),
            ("off", CacheMode::Off),
        ];
        policy.mode = word(&mut fields, "mode", &modes, faults).unwrap_or(policy.mode);
        let scopes =
            [("tenant", CacheScope::Tenant), ("workflow", CacheScope::Workflow), ("step", CacheScope::Step)];
        policy.scope = word(&mut fields, "scope", &scopes, faults).unwrap_or(policy.scope);
        policy.ttl = fields.span("ttl", faults);
        if !kind.is_pure()
            && policy.mode != CacheMode::Off
            && policy.ttl.is_none()
            && matches!(doc.part, Part::Map(_))
        {
            faults.at(
                doc,
                path,
                format!(
                    "a {}'s output does not stay true for ever: `ttl` is missing, such as `ttl: 1h`",
                    kind.word()
                ),
            );
        }
        fields.finish(faults);
        policy
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(
    fields: &mut Fields<'_>,
    key: &'static str,
    words: &[(&'static str, T)],
    faults: &mut Faults,
) -> Option<T> {
    let (doc, path) = fields.get(key)?;
    one_of(doc, &path, words, faults)
}

pub(super) fn one_of<T: Copy>(
    doc: &Doc,
    path: &str,
    words: &[(&'static str, T)],
    faults: &mut Faults,
) -> Option<T> {
    let said = doc.as_str().unwrap_or_default();
    let found = words.iter().find(|(w, _)| *w == said).map(|(_, v)| *v);
    if found.is_none() {
        let list = words.iter().map(|(w, _)| format!("`{w}`")).collect::<Vec<_>>().join(", ");
        let hint = nearest(said, words.iter().map(|(w, _)| *w))
            .map(|n| format!("; did you mean `{n}`?"))
            .unwrap_or_default();
        faults.at(doc, path, format!("wants one of {list}{hint}"));
    }
    found
}

/// Limits that a step lowers: `{fuel: 1000000, memory: 64MiB, output: 1MiB}`.
pub(super) fn limits(doc: &Doc, path: &str, base: AskedLimits, faults: &mut Faults) -> AskedLimits {
    let mut fields = Fields::of(doc, path, faults);
    let mut size = |key: &'static str, faults: &mut Faults| {
        let (doc, path) = fields.get(key)?;
        let read = match &doc.part {
            Part::Scalar(Value::String(text)) => bytes(text),
            _ => None,
        };
        if read.is_none() {
            faults.at(doc, &path, "wants a size with its unit, such as `64MiB`");
        }
        read
    };
    let (memory_bytes, output_bytes) = (size("memory", faults), size("output", faults));
    let fuel = fields.get("fuel").and_then(|(doc, path)| match doc.part {
        Part::Scalar(Value::Int(n)) if n >= 1 => Some(n as u64),
        _ => {
            faults.at(doc, &path, "wants a whole number from 1");
            None
        }
    });
    fields.finish(faults);
    AskedLimits {
        fuel: fuel.or(base.fuel),
        memory_bytes: memory_bytes.or(base.memory_bytes),
        output_bytes: output_bytes.or(base.output_bytes),
        wall_ms: base.wall_ms,
    }
}

/// `64MiB`, `4 KiB`, `100B`; powers of ten as `MB`.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let count: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    count.checked_mul(unit).filter(|n| *n > 0)
}

impl Retry {
    pub(super) fn read(doc: &Doc, path: &str, names: &Names, node: &Limits, faults: &mut Faults) -> Retry {
        let mut fields = Fields::of(doc, path, faults);
        let mut retry = Retry {
            delay: fields.span("delay", faults).unwrap_or(Span(1000)),
            backoff: Backoff::Constant,
            jitter: Jitter::None,
            attempts: 3,
            duration: None,
            when: None,
        };
        if let Some((doc, path)) = fields.get("backoff") {
            retry.backoff = backoff(doc, &path, faults);
        }
        if let Some((doc, path)) = fields.get("jitter") {
            retry.jitter = jitter(doc, &path, faults);
        }
        if let Some((doc, path)) = fields.get("limit") {
            let mut limit = Fields::of(doc, &path, faults);
            retry.attempts = limit.count("attempts", node.retry_attempts, faults).unwrap_or(retry.attempts);
            retry.duration = limit.span("duration", faults);
            limit.finish(faults);
        }
        if let Some((doc, path)) = fields.get("when") {
            retry.when =
                condition(doc, &path, &Names { error: ErrorName::Bound, ..names.clone() }, node, faults);
        }
        fields.finish(faults);
        retry
    }
}

fn backoff(doc: &Doc, path: &str, faults: &mut Faults) -> Backoff {
    let words = [
        ("constant", Backoff::Constant),
        ("linear", Backoff::Linear { max: None }),
        ("exponential", Backoff::Exponential { factor: 2.0, max: None }),
    ];
    if doc.as_str().is_some() {
        return one_of(doc, path, &words, faults).unwrap_or(Backoff::Constant);
    }
    let mut fields = Fields::of(doc, path, faults);
    let mut chosen = Backoff::Constant;
    if let Some((doc, path)) = fields.get("exponential") {
        let mut inner = Fields::of(doc, &path, faults);
        let factor = inner.get("factor").map_or(2.0, |(doc, path)| match &doc.part {
            Part::Scalar(v) if v.as_f64().is_some_and(|f| (1.0..=100.0).contains(&f)) => {
                v.as_f64().unwrap_or(2.0)
            }
            _ => {
                faults.at(doc, &path, "wants a number from 1 to 100");
                2.0
            }
        });
        chosen = Backoff::Exponential { factor, max: inner.span("maxDelay", faults) };
        inner.finish(faults);
    }
    if let Some((doc, path)) = fields.get("linear") {
        let mut inner = Fields::of(doc, &path, faults);
        chosen = Backoff::Linear { max: inner.span("maxDelay", faults) };
        inner.finish(faults);
    }
    if fields.get("constant").is_some() {
        chosen = Backoff::Constant;
    }
    fields.finish(faults);
    chosen
}

fn jitter(doc: &Doc, path: &str, faults: &mut Faults) -> Jitter {
    if doc.as_str().is_some() {
        let words = [("none", Jitter::None), ("full", Jitter::Full), ("plus-minus", Jitter::PlusMinus)];
        return one_of(doc, path, &words, faults).unwrap_or(Jitter::None);
    }
    let mut fields = Fields::of(doc, path, faults);
    // Zero is a fair lower end, so it is read apart from the durations that must last.
    let mut end = |key: &'static str, faults: &mut Faults| {
        let (doc, path) = fields.get(key)?;
        match doc.as_str().map(Span::parse) {
            Some(Ok(span)) => Some(span),
            _ => span(doc, &path, faults),
        }
    };
    let (from, to) = (end("from", faults).unwrap_or_default(), end("to", faults).unwrap_or_default());
    if from > to {
        faults.at(doc, path, format!("`from` of {from} is longer than `to` of {to}"));
    }
    fields.finish(faults);
    Jitter::Added { from, to }
}

/// An expression that must be one whole `${ … }` and can be true or false.
pub(super) fn condition(
    doc: &Doc,
    path: &str,
    names: &Names,
    limits: &Limits,
    faults: &mut Faults,
) -> Option<Expr> {
    let expr = expression(doc, path, names, limits, faults)?;
    if !expr.result.may_be_bool() {
        faults.at(doc, path, format!("a condition must be true or false; `{}` never is", expr.text));
    }
    Some(expr)
}

/// An expression that must be one whole `${ … }`.
pub(super) fn expression(
    doc: &Doc,
    path: &str,
    names: &Names,
    limits: &Limits,
    faults: &mut Faults,
) -> Option<Expr> {
    let Some(source) = doc.as_str().and_then(whole) else {
        faults.at(doc, path, format!("wants an expression in `${{ … }}`, and this is {}", doc.kind()));
        return None;
    };
    match Expr::compile(source, names, limits) {
        Ok(expr) => Some(expr),
        Err(found) => {
            faults.reads.extend(found.reads);
            for fault in found.faults {
                faults.at(doc, path, fault.to_string());
            }
            None
        }
    }
}
