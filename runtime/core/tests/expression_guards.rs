#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]
//! What an expression may take: steps, bytes and levels. Whatever is written, an evaluation ends soon, asks the allocator
//! for little more than its budget, and gives a value that is small and flat enough to be kept.

#[path = "simulation/rng.rs"]
mod rng;

use heddle_core::expr::{Budget, EvalFault, Expr, Names, Scope};
use heddle_core::json::{Json, MAX_DEPTH};
use heddle_core::limits::Limits;
use heddle_core::value::Value;
use rng::Rng;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static HELD: AtomicU64 = AtomicU64::new(0);
static MOST: AtomicU64 = AtomicU64::new(0);

/// Notes what is held at the same time.
struct Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait; this one only counts")]
// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A scope that counts how often it is asked.
struct Large {
    input: Value,
    asked: Cell<u64>,
}

impl Large {
    fn new() -> Large {
        let text = Value::text("lorem ipsum dolor ".repeat(12_000));
        let item = |n: i64| {
            Value::map([
                ("id", Value::Int(n)),
                ("name", Value::text(format!("n{n}"))),
                ("tags", Value::list(vec![Value::text("a"); 3])),
            ])
        };
        let input = Value::map([
            ("n", Value::Int(3)),
            ("x", Value::Number("1.50".into())),
            ("s", Value::text("héllo")),
            ("text", text),
            ("list", Value::list((0..400).map(Value::Int).collect())),
            ("items", Value::list((0..200).map(item).collect())),
            ("digits", Value::Number(format!("0.{}", "7".repeat(50_000)).into())),
        ]);
        Large { input, asked: Cell::new(0) }
    }
    fn ask(&self) {
        self.asked.set(self.asked.get() + 1);
    }
}

impl Scope for Large {
    fn input(&self) -> Value {
        self.ask();
        self.input.clone()
    }
    fn run(&self) -> Value {
        Value::Null
    }
    fn error(&self) -> Value {
        Value::Null
    }
    fn step_output(&self, _: u32) -> Result<Value, EvalFault> {
        self.ask();
        Ok(self.input.clone())
    }
    fn step_status(&self, _: u32) -> &'static str {
        "succeeded"
    }
    fn step_error(&self, _: u32) -> Value {
        Value::Null
    }
    fn var(&self, _: usize) -> Value {
        Value::Null
    }
}

fn names() -> Names {
    Names { steps: Arc::new(vec!["a".into()]), ..Names::default() }
}

/// Evaluates under these limits, and holds what comes of it against them.
fn within(text: &str, scope: &Large, limits: &Limits) -> Result<Value, String> {
    let expr = Expr::compile(text, &names(), limits).map_err(|_| "not compiled".to_owned())?;
    scope.asked.set(0);
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let value = expr.eval(scope, &mut Budget::new(limits));
    let most = MOST.load(Ordering::Relaxed) - before;
    // What is looked up while it is built, and a matcher or two, come on top of what is counted.
    let allowed = 4 * limits.expression_result_bytes + 8 * 1024 * 1024;
    assert!(most <= allowed, "`{text}` takes {most} bytes, and {allowed} were enough for it");
    assert!(scope.asked.get() <= limits.expression_budget, "`{text}` asks {} times", scope.asked.get());
    let value = value.map_err(|fault| fault.to_string())?;
    let json = Json::from_value(value.clone());
    let read: u64 = 2 * Json::from_value(scope.input.clone()).size() as u64;
    assert!(
        json.size() as u64 <= 2 * (limits.expression_result_bytes + read),
        "`{text}` gives {} bytes",
        json.size()
    );
    assert!(
        Json::parse(json.text().as_bytes()).is_ok(),
        "`{text}` gives what cannot be read: {:.200}",
        json.text()
    );
    Ok(value)
}

/// An expression of so many parts.
fn made(depth: u64, rng: &mut Rng) -> String {
    const LEAVES: &[&str] = &[
        "input.n",
        "input.x",
        "input.s",
        "input.text",
        "input.list",
        "input.items",
        "input",
        "input.digits",
        "steps.a.output.list",
        "1",
        "2.5",
        "'a'",
        "','",
        "''",
        "true",
        "null",
        "[1, 2, 3]",
        "{'a': 1}",
        "v",
        "w",
        "-1",
        "0",
        "7u",
        "input.missing",
    ];
    if depth == 0 {
        return LEAVES[rng.below(LEAVES.len() as u64) as usize].to_owned();
    }
    let mut inner = || made(depth - 1, rng);
    let (a, b) = (inner(), inner());
    match rng.below(24) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} == {b})"),
        2 => format!("({a} in {b})"),
        3 => format!("({a} < {b})"),
        4 => format!("({a} * {b})"),
        5 => format!("({a} ? {b} : {a})"),
        6 => format!("[{a}, {b}]"),
        7 => format!("{{'k': {a}, 'l': {b}}}"),
        8 | 9 => format!("{a}.map(v, {b})"),
        10 => format!("{a}.map(w, [w, w])"),
        11 => format!("{a}.map(v, v + v)"),
        12 => format!("{a}.filter(v, {b})"),
        13 => format!("{a}.exists(w, {b})"),
        14 => format!("{a}.all(v, {b})"),
        15 => format!("string({a})"),
        16 => format!("{a}.split({b})"),
        17 => format!("{a}.join({b})"),
        18 => format!("{a}.replace({b}, {a})"),
        19 => format!("{a}.matches('[a-z]+{}')", rng.below(50)),
        20 => format!("{a}.contains({b})"),
        21 => format!("size({a})"),
        22 => format!("default({a}, {b})"),
        _ => format!("({a} && {b} || !{a})"),
    }
}

#[test]
fn whatever_is_evaluated_stays_within_its_budget() {
    let scope = Large::new();
    let usual = Limits::default();
    let mut small = Limits::default();
    small.set("expression_budget", 500).unwrap();
    small.set("expression_result_bytes", 20_000).unwrap();
    let (mut values, mut refused) = (0, 0);
    for seed in 0..30_000 {
        let mut rng = Rng::new(seed);
        let depth = if rng.once_in(2) { 1 } else { 2 + rng.below(2) };
        let text = made(depth, &mut rng);
        for limits in [&usual, &small] {
            match within(&text, &scope, limits) {
                Ok(_) => values += 1,
                Err(fault) => refused += u32::from(fault.contains("(limit expression_")),
            }
        }
    }
    assert!(values > 5_000 && refused > 300, "{values} values, {refused} stopped by a limit");
}

/// Short texts that build or look at far more than they seem to.
#[test]
fn bombs_of_every_kind_are_stopped() {
    let scope = Large::new();
    let limits = Limits::default();
    let chain = |link: &str, times: usize| link.repeat(times);
    for (bomb, limit) in [
        // Doubled by sharing: small until it is written.
        (format!("[[1]]{}", chain(".map(a, [a, a])", 40)), "limit"),
        (format!("[1]{}", chain(".map(a, {'x': a, 'y': a})", 30)), "limit"),
        (format!("string([[1]]{})", chain(".map(a, [a, a])", 30)), "limit"),
        (format!("[[1]]{0} == [[1]]{0}", chain(".map(a, [a, a])", 25)), "limit"),
        (format!("[[1]]{0} in [[[1]]{0}]", chain(".map(a, [a, a])", 25)), "limit"),
        ("input.list.map(a, input.text)".to_owned(), "expression_result_bytes"),
        ("string(input.list.map(a, input.text))".to_owned(), "expression_result_bytes"),
        ("input.list.map(a, input.list.map(b, string(input.items)))".to_owned(), "expression_result_bytes"),
        ("input.list.map(a, input.text.split(''))".to_owned(), "expression_result_bytes"),
        ("input.text.replace('', input.text)".to_owned(), "expression_result_bytes"),
        // Much to look at.
        ("input.list.map(a, input.list.map(b, input.text.contains('zzz')))".to_owned(), "limit"),
        ("input.list.map(a, input.list.map(b, input.text < input.text))".to_owned(), "limit"),
        ("input.list.map(a, input.list.map(b, input.digits > 1.0))".to_owned(), "limit"),
        ("input.list.map(a, input.list.map(b, size(input.text)))".to_owned(), "limit"),
        (
            "input.list.all(a, 'x'.matches('[a-z]{' + string(a + 100) + '}') || true)".to_owned(),
            "expression_budget",
        ),
        ("input.list.map(a, input.items == input.items)".to_owned(), "expression_budget"),
    ] {
        let ended = within(&bomb, &scope, &limits);
        assert!(
            ended.as_ref().is_err_and(|fault| fault.contains(limit)),
            "{bomb}: {:.100}",
            format!("{ended:?}")
        );
    }
}

#[test]
fn what_only_passes_through_is_never_too_large() {
    let scope = Large::new();
    let mut limits = Limits::default();
    limits.set("expression_result_bytes", 1_000).unwrap();
    for text in
        ["input", "input.text", "steps.a.output", "{'all': input.items}", "input.items.filter(i, i.id >= 0)"]
    {
        let enough = text.starts_with("input.items").then_some(20_000);
        limits.set("expression_result_bytes", enough.unwrap_or(1_000)).unwrap();
        assert!(within(text, &scope, &limits).is_ok(), "{text}: {:?}", within(text, &scope, &limits).err());
    }
    assert!(within("[input.text, input.text]", &scope, &limits).is_err());
}

#[test]
fn a_value_that_is_too_deep_is_refused_before_it_is_kept() {
    let scope = Large::new();
    let limits = Limits::default();
    let deep = |levels: usize| format!("[1]{}", ".map(a, [a])".repeat(levels));
    assert!(within(&deep(40), &scope, &limits).is_ok());
    let mut limits = limits;
    limits.set("expression_operators", 256).unwrap();
    let fault = within(&deep(MAX_DEPTH as usize + 2), &scope, &limits).unwrap_err();
    assert!(fault.contains("json_depth"), "{fault}");
}
