//! Expressions: what they mean, what they refuse, and that `cel` itself agrees.

use heddle_core::expr::{Budget, EvalFault, Expr, Names, Scope};
use heddle_core::json::Json;
use heddle_core::limits::Limits;
use heddle_core::value::Value;
use proptest::prelude::*;
use std::sync::Arc;

struct Fixed {
    input: Value,
    output: Result<Value, EvalFault>,
}

impl Scope for Fixed {
    fn input(&self) -> Value {
        self.input.clone()
    }
    fn run(&self) -> Value {
        Value::map([("id", Value::text("r"))])
    }
    fn error(&self) -> Value {
        Value::Null
    }
    fn step_output(&self, _: u32) -> Result<Value, EvalFault> {
        self.output.clone()
    }
    fn step_status(&self, _: u32) -> &'static str {
        "succeeded"
    }
    fn step_error(&self, _: u32) -> Value {
        Value::Null
    }
    fn var(&self, slot: usize) -> Value {
        Value::Int(slot as i64)
    }
}

const INPUT: &str = r#"{"n":3,"x":1.50,"s":"héllo","list":[1,2,3],"people":[{"name":"ana","age":30},{"name":"bo","age":20}],"big":12345678901234567890,"empty":{}}"#;

fn names() -> Names {
    Names { steps: Arc::new(vec!["fetch".into(), "select-agents".into()]), ..Names::default() }
}
fn compile(text: &str) -> Result<Expr, String> {
    Expr::compile(text, &names(), &Limits::default())
        .map_err(|f| f.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
fn eval_with(text: &str, scope: &Fixed) -> Result<String, String> {
    let mut budget = Budget::new(&Limits::default());
    let value = compile(text)?.eval(scope, &mut budget).map_err(|f| f.to_string())?;
    Ok(Json::from_value(value).text().to_owned())
}
fn scope() -> Fixed {
    Fixed { input: Json::trusted(INPUT).value().clone(), output: Ok(Value::map([("ok", Value::Bool(true))])) }
}
fn eval(text: &str) -> Result<String, String> {
    eval_with(text, &scope())
}

#[test]
fn they_mean_what_cel_means() {
    for (text, expected) in [
        ("input.n + 1", "4"),
        ("input.x", "1.50"),
        ("input.big", "12345678901234567890"),
        ("input.x * 2.0", "3.0"),
        ("input.n == 3.0", "true"),
        ("input.x == 1.5", "true"),
        ("input.list.map(i, i * i)", "[1,4,9]"),
        ("input.list.filter(i, i > 1).map(i, i + input.n)", "[5,6]"),
        ("input.list.map(i, i > 1, i * 10)", "[20,30]"),
        ("input.people.filter(p, p.age > 25).map(p, p.name)", r#"["ana"]"#),
        (
            "input.list.all(i, i > 0) && input.list.exists(i, i == 2) && input.list.exists_one(i, i == 3)",
            "true",
        ),
        ("input.people.map(p, input.list.filter(i, i * 10 == p.age))", "[[3],[2]]"),
        ("input.empty.map(k, k)", "[]"),
        ("size(input.s) + input.list.size()", "8"),
        ("input.s.startsWith('hé') ? 'yes' : 'no'", r#""yes""#),
        ("{'a': input.n, 'b': [true, null]}", r#"{"a":3,"b":[true,null]}"#),
        ("has(input.n) && !has(input.missing)", "true"),
        ("has(input.missing.deeper)", "false"),
        ("default(input.missing, 'none')", r#""none""#),
        ("'b' in ['a', 'b'] && 'n' in input", "true"),
        ("steps.fetch.output.ok && steps[\"select-agents\"].status == 'succeeded'", "true"),
        ("input.list[1]", "2"),
        ("'a,b'.split(',').map(p, p.upperAscii()).join('-')", r#""A-B""#),
        ("'x1'.matches('^[a-z][0-9]$')", "true"),
        ("true || input.nothing", "true"),
        ("input.nothing || true", "true"),
        ("false && input.nothing", "false"),
        ("-input.n", "-3"),
        ("7 / 2", "3"),
        ("duration('1m')", "60000"),
        ("string(1.5) + string(input.list)", r#""1.5[1,2,3]""#),
    ] {
        assert_eq!(eval(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn refusals_say_what_to_write() {
    for (text, part) in [
        ("input.nothing", "there is no `nothing`"),
        ("inptu.n", "did you mean `input`"),
        ("steps.fetsh.output", "did you mean `steps.fetch`"),
        ("steps.select-agents.output", "write `steps[\"select-agents\"]`"),
        ("steps.fetch.result", "under `output`"),
        ("fetch", "write `steps.fetch.output`"),
        ("steps.fetch", "read `steps.fetch.output`"),
        ("1 + 1.0", "both as `double(...)`"),
        ("1 + 'a'", "string("),
        ("siz(input.s)", "did you mean `size`"),
        ("error.kind", "no `error` here"),
        ("b'x'", "byte strings"),
        ("1 +", "not an expression"),
        ("", "not an expression"),
        ("input.n / 0", "division by zero"),
        ("9223372036854775807 + 1", "integer overflow"),
        ("input.list[9]", "in a list of 3"),
        ("input.n ? 1 : 2", "true or false"),
        ("'x'.matches('(((')", "not a pattern"),
    ] {
        let fault = eval(text).unwrap_err();
        assert!(fault.contains(part), "{text}: {fault}");
    }
}

#[test]
fn a_skipped_step_is_read_with_has_or_a_default() {
    let scope = Fixed {
        output: Err(EvalFault::NoOutput { step: "fetch".into(), why: "the step was skipped" }),
        ..scope()
    };
    assert_eq!(eval_with("has(steps.fetch)", &scope).as_deref(), Ok("false"));
    assert_eq!(eval_with("has(steps.fetch.output.ok)", &scope).as_deref(), Ok("false"));
    assert_eq!(eval_with("default(steps.fetch.output.ok, 7)", &scope).as_deref(), Ok("7"));
    assert!(eval_with("steps.fetch.output.ok", &scope).is_err());
}

#[test]
fn bombs_are_stopped_before_they_go_off() {
    let chain = |n: usize| format!("1{}", "+1".repeat(n));
    assert!(eval(&chain(500)).unwrap_err().contains("limit"));
    assert!(eval(&chain(2_000)).unwrap_err().contains("limit"));
    assert!(
        eval(&format!("{}1{}", "(".repeat(40), ")".repeat(40))).unwrap_err().contains("expression_depth")
    );
    let doubling = format!("[[1]]{}", ".map(a, a+a)".repeat(20));
    assert!(eval(&doubling).is_ok() || eval(&doubling).unwrap_err().contains("limit"));
    let nested = "input.list.map(a, input.list.map(b, input.list.map(c, input.list.map(d, input.list.map(e, input.list.map(f, input.list.map(g, 1)))))))";
    let wide =
        Fixed { input: Value::map([("list", Value::list((0..100).map(Value::Int).collect()))]), ..scope() };
    assert!(eval_with(nested, &wide).unwrap_err().contains("expression_budget"));
    let text = Fixed { input: Value::map([("s", Value::text("x".repeat(1_000_000)))]), ..scope() };
    let fault = eval_with(&format!("input.s{}", "+input.s".repeat(20)), &text).unwrap_err();
    assert!(fault.contains("expression_result_bytes"), "{fault}");
    assert!(eval("'x'.matches('(a+)+$')").is_ok());
}

/// `cel`'s own interpreter, on the same text and the same input.
fn reference(text: &str) -> Option<String> {
    let program = cel::Program::compile(text).ok()?;
    let mut context = cel::Context::default();
    for (name, value) in [("a", 5i64), ("b", -3), ("c", 0)] {
        context.add_variable_from_value(name, value);
    }
    match program.execute(&context).ok()? {
        cel::Value::Int(i) => Some(i.to_string()),
        cel::Value::UInt(u) => Some(u.to_string()),
        cel::Value::Bool(b) => Some(b.to_string()),
        cel::Value::Float(f) => Some(format!("{f:?}")),
        cel::Value::String(s) => Some(format!("{s:?}")),
        cel::Value::List(l) => Some(format!("list of {}", l.len())),
        _ => None,
    }
}
fn ours(text: &str) -> Option<String> {
    let names = Names { vars: vec!["a".into(), "b".into(), "c".into()], ..Names::default() };
    let expr = Expr::compile(text, &names, &Limits::default()).ok()?;
    struct Vars;
    impl Scope for Vars {
        fn input(&self) -> Value {
            Value::Null
        }
        fn run(&self) -> Value {
            Value::Null
        }
        fn error(&self) -> Value {
            Value::Null
        }
        fn step_output(&self, _: u32) -> Result<Value, EvalFault> {
            Err(EvalFault::Missing("x".into()))
        }
        fn step_status(&self, _: u32) -> &'static str {
            "pending"
        }
        fn step_error(&self, _: u32) -> Value {
            Value::Null
        }
        fn var(&self, slot: usize) -> Value {
            Value::Int([5, -3, 0][slot])
        }
    }
    match expr.eval(&Vars, &mut Budget::new(&Limits::default())).ok()? {
        Value::List(l) => Some(format!("list of {}", l.len())),
        other => Some(Json::from_value(other).text().to_owned()),
    }
}

fn arb_expr() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("c".to_owned()),
        (0i64..20).prop_map(|i| i.to_string()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("'x'".to_owned()),
        Just("2.5".to_owned()),
        Just("[1, 2, 3]".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let op = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
        ]);
        prop_oneof![
            (inner.clone(), op, inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            inner.clone().prop_map(|a| format!("[1, 2, 3].map(i, i + {a})")),
            inner.clone().prop_map(|a| format!("[1, 2, 3].filter(i, i > {a})")),
            inner.clone().prop_map(|a| format!("[1, 2, 3].exists(i, i == {a})")),
            inner.clone().prop_map(|a| format!("[1, 2, 3].all(i, i < {a})")),
            inner.clone().prop_map(|a| format!("size([{a}, 1])")),
            inner.prop_map(|a| format!("string({a})")),
        ]
    })
}

#[test]
fn a_whole_number_as_text_has_no_point() {
    assert_eq!(ours("string(2.5 + 2.5)").as_deref(), Some("\"5\""));
    assert_eq!(ours("string(2.5)").as_deref(), Some("\"2.5\""));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]
    /// Where both give a value it is the same one. (Ours refuses more: what cannot be right is found before it runs.)
    #[test]
    fn cel_agrees(text in arb_expr()) {
        if let (Some(ours), Some(theirs)) = (ours(&text), reference(&text)) {
            prop_assert_eq!(ours, theirs, "{}", text);
        }
    }
    #[test]
    fn nothing_panics(text in "[-a-z0-9.()\\[\\]{}+*/%<>=!&|?:,'\" $]{0,80}") {
        let _ = eval(&text);
    }
}
