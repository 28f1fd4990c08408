//! The functions that an expression may call: CEL's own for text, lists and numbers, and the usual string extensions.
//! `x.f(y)` and `f(x, y)` are the same call.

use super::eval::{Budget, EvalFault, ITEM_BYTES};
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

macro_rules! functions {
    ($($variant:ident $name:literal $arity:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($variant),* }
        impl Function {
            /// The function with this name that takes this many arguments, its receiver counted.
            pub(super) fn find(name: &str, arity: usize) -> Option<Function> {
                match (name, arity) { $(($name, $arity) => Some(Function::$variant),)* _ => None }
            }
            pub(super) fn names() -> impl Iterator<Item = &'static str> {
                [$($name),*].into_iter().chain(["has", "default", "map", "filter", "all", "exists", "exists_one"])
            }
            pub(super) fn name(self) -> &'static str { match self { $(Function::$variant => $name),* } }
        }
    };
}

functions! {
    Size "size" 1;
    Contains "contains" 2;
    StartsWith "startsWith" 2;
    EndsWith "endsWith" 2;
    Matches "matches" 2;
    ToInt "int" 1;
    ToUint "uint" 1;
    ToDouble "double" 1;
    ToText "string" 1;
    Lower "lowerAscii" 1;
    Upper "upperAscii" 1;
    Trim "trim" 1;
    Split "split" 2;
    Join "join" 2;
    Replace "replace" 3;
    Duration "duration" 1;
}

/// A value as text. As other evaluators of CEL have it, a whole number has no point.
fn as_text(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Double(number) => text = number.to_string(),
        other => render(other, &mut text),
    }
    text
}

/// Text longer than this is not a pattern anybody wrote.
const PATTERN_BYTES: usize = 256;
/// What it costs to make a matcher of one, in steps: a large one takes milliseconds.
const PATTERN_STEPS: u64 = 1_000;

/// The patterns that an expression has used.
#[derive(Default)]
pub(super) struct Patterns(BTreeMap<Arc<str>, regex::Regex>);

pub(super) fn call(
    function: Function,
    args: &[Value],
    budget: &mut Budget,
    patterns: &mut Patterns,
) -> Result<Value, EvalFault> {
    use Function::*;
    args.iter().try_for_each(|arg| budget.looks_at(arg))?;
    let text = |i: usize| args[i].as_str().ok_or_else(|| wrong(function, args));
    Ok(match function {
        Size => Value::Int(match &args[0] {
            Value::String(s) => s.chars().count(),
            Value::List(l) => l.len(),
            Value::Map(m) => m.len(),
            _ => return Err(wrong(function, args)),
        } as i64),
        Contains => Value::Bool(text(0)?.contains(text(1)?)),
        StartsWith => Value::Bool(text(0)?.starts_with(text(1)?)),
        EndsWith => Value::Bool(text(0)?.ends_with(text(1)?)),
        Matches => Value::Bool(matches(text(0)?, text(1)?, budget, patterns)?),
        ToInt => Value::Int(to_int(&args[0]).ok_or_else(|| wrong(function, args))?),
        ToUint => Value::Uint(
            to_int(&args[0]).and_then(|i| u64::try_from(i).ok()).ok_or_else(|| wrong(function, args))?,
        ),
        ToDouble => match &args[0] {
            Value::String(s) => s.parse().ok().filter(|d: &f64| d.is_finite()),
            other => other.as_f64(),
        }
        .map(Value::Double)
        .ok_or_else(|| wrong(function, args))?,
        ToText => {
            budget.writes(&args[0])?;
            Value::text(as_text(&args[0]))
        }
        Lower => grown(text(0)?.to_ascii_lowercase(), budget)?,
        Upper => grown(text(0)?.to_ascii_uppercase(), budget)?,
        Trim => grown(text(0)?.trim().to_owned(), budget)?,
        Split => split(text(0)?, text(1)?, budget)?,
        Join => {
            let Value::List(items) = &args[0] else { return Err(wrong(function, args)) };
            let by = text(1)?;
            let mut out = String::new();
            for (i, item) in items.iter().enumerate() {
                let item = item.as_str().ok_or_else(|| wrong(function, args))?;
                budget.bytes(by.len() + item.len())?;
                if i > 0 {
                    out.push_str(by);
                }
                out.push_str(item);
            }
            Value::text(out)
        }
        Replace => {
            let (text, from, to) = (text(0)?, text(1)?, text(2)?);
            budget.bytes(text.len() + text.matches(from).count() * to.len())?;
            Value::text(text.replace(from, to))
        }
        Duration => Value::Int(
            crate::time::Span::parse(text(0)?).map_err(|e| EvalFault::Argument(e.to_string()))?.0 as i64,
        ),
    })
}

fn split(text: &str, by: &str, budget: &mut Budget) -> Result<Value, EvalFault> {
    let count = if by.is_empty() { text.chars().count() } else { text.matches(by).count() + 1 };
    // Each part is text of its own, with its length and its counts.
    budget.bytes(text.len() + count * 2 * ITEM_BYTES)?;
    Ok(Value::list(match by.is_empty() {
        true => text.chars().map(|c| Value::text(c.to_string())).collect(),
        false => text.split(by).map(Value::text).collect(),
    }))
}

fn grown(text: String, budget: &mut Budget) -> Result<Value, EvalFault> {
    budget.bytes(text.len())?;
    Ok(Value::text(text))
}

fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::Uint(u) => i64::try_from(*u).ok(),
        Value::String(s) => s.parse().ok(),
        other => other.as_f64().filter(|d| d.abs() < 9.2e18).map(|d| d as i64),
    }
}

/// A linear-time matcher; the pattern's size bounds what it compiles to.
fn matches(
    text: &str,
    pattern: &str,
    budget: &mut Budget,
    patterns: &mut Patterns,
) -> Result<bool, EvalFault> {
    if pattern.len() > PATTERN_BYTES {
        return Err(EvalFault::Argument(format!(
            "the pattern has {} bytes; at most {PATTERN_BYTES}",
            pattern.len()
        )));
    }
    budget.steps(1 + text.len() as u64 / 16)?;
    if let Some(known) = patterns.0.get(pattern) {
        return Ok(known.is_match(text));
    }
    budget.steps(PATTERN_STEPS)?;
    let regex = regex::RegexBuilder::new(pattern).size_limit(256 * 1024).build().map_err(|e| {
        EvalFault::Argument(format!(
            "`{pattern}` is not a pattern: {}",
            e.to_string().lines().last().unwrap_or_default()
        ))
    })?;
    let found = regex.is_match(text);
    patterns.0.insert(pattern.into(), regex);
    Ok(found)
}

/// Text stays as it is; everything else is its JSON.
pub(super) fn render(value: &Value, out: &mut String) {
    match value {
        Value::String(s) => out.push_str(s),
        other => other.write_json(out),
    }
}

fn wrong(function: Function, args: &[Value]) -> EvalFault {
    let types: Vec<&str> = args.iter().map(Value::type_name).collect();
    EvalFault::Argument(format!("`{}` cannot take ({})", function.name(), types.join(", ")))
}

/// What the checker knows of a function's result.
pub(super) fn result(function: Function) -> super::types::Type {
    use super::types::Type;
    match function {
        Function::Size | Function::ToInt | Function::Duration => Type::Int,
        Function::ToUint => Type::Uint,
        Function::ToDouble => Type::Double,
        Function::Contains | Function::StartsWith | Function::EndsWith | Function::Matches => Type::Bool,
        Function::Split => Type::List(Arc::new(Type::String)),
        _ => Type::String,
    }
}
