//! Computing an expression's value, with a budget of steps and of bytes. Nothing here can panic, overflow a stack
//! (the tree is as shallow as the guard allows) or run for long.

use super::bounds::{self, Given};
use super::functions::{self, Patterns};
use super::tree::{Binary, Expr, Fold, Tree};
use crate::limits::Limits;
use crate::value::{Map, Value};
use std::cmp::Ordering;
use std::sync::Arc;

/// What an expression can see.
pub trait Scope {
    /// The run's input.
    fn input(&self) -> Value;
    /// What is known of the run: `id`, `tenant`, `labels`.
    fn run(&self) -> Value;
    /// The failure that a retry policy looks at.
    fn error(&self) -> Value;
    /// A step's output. The fault says why there is none.
    fn step_output(&self, step: u32) -> Result<Value, EvalFault>;
    /// A step's status, in the words of the API.
    fn step_status(&self, step: u32) -> &'static str;
    /// A step's failure; null where it has none.
    fn step_error(&self, step: u32) -> Value;
    /// The failures of a `forEach`'s items, each with its `index`; empty where it has none.
    fn step_errors(&self, _step: u32) -> Value {
        Value::list(Vec::new())
    }
    /// What `forEach` bound, outermost first.
    fn var(&self, slot: usize) -> Value;
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalFault {
    /// Something along the path is not there.
    #[error("there is no `{0}`; test with `has(...)` or give a `default(..., ...)`")]
    Missing(String),
    /// The step brought no output.
    #[error("`steps.{step}.output` is not there: {why}; test with `has(...)` or give a `default(..., ...)`")]
    NoOutput {
        /// The step.
        step: String,
        /// What became of it.
        why: &'static str,
    },
    /// An operator was given what it cannot work on.
    #[error("`{operator}` cannot work on {left} and {right}{hint}")]
    Operands {
        /// The operator.
        operator: &'static str,
        /// Type of the left operand.
        left: &'static str,
        /// Type of the right operand.
        right: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// A condition that is neither true nor false.
    #[error("a condition must be true or false, and this is {0}")]
    NotBool(&'static str),
    /// A function was given what it cannot work on.
    #[error("{0}")]
    Argument(String),
    /// Past the range of the number's type, or a division by zero.
    #[error("{0}")]
    Arithmetic(&'static str),
    /// The evaluation took too many steps.
    #[error(
        "the expression takes more than {0} evaluation steps (limit expression_budget); move the work into a transform"
    )]
    TooManySteps(u64),
    /// The evaluation built too much.
    #[error(
        "the expression builds more than {0} bytes (limit expression_result_bytes); move the work into a transform"
    )]
    TooManyBytes(u64),
    /// The value has too many levels to be kept as JSON.
    #[error("the value is nested deeper than {0} levels (limit json_depth); build it flatter")]
    TooDeep(u64),
}

impl EvalFault {
    /// Whether something is simply not there, which `has` and `default` ask about.
    pub fn is_absence(&self) -> bool {
        matches!(self, EvalFault::Missing(_) | EvalFault::NoOutput { .. })
    }
}

/// What is left of an evaluation's allowance.
#[derive(Clone, Debug)]
pub struct Budget {
    steps_left: u64,
    bytes_left: u64,
    steps_max: u64,
    bytes_max: u64,
    given: Given,
}

/// Bytes of text that are looked at in one step.
const BYTES_PER_STEP: usize = 1024;
/// What an item of a list takes besides what is in it.
pub(super) const ITEM_BYTES: usize = size_of::<Value>();

impl Budget {
    /// A whole allowance.
    pub fn new(limits: &Limits) -> Budget {
        Budget {
            steps_left: limits.expression_budget,
            bytes_left: limits.expression_result_bytes,
            steps_max: limits.expression_budget,
            bytes_max: limits.expression_result_bytes,
            given: Given::default(),
        }
    }
    pub(super) fn steps(&mut self, n: u64) -> Result<(), EvalFault> {
        self.steps_left = self.steps_left.checked_sub(n).ok_or(EvalFault::TooManySteps(self.steps_max))?;
        Ok(())
    }
    pub(super) fn bytes(&mut self, n: usize) -> Result<(), EvalFault> {
        self.bytes_left =
            self.bytes_left.checked_sub(n as u64).ok_or(EvalFault::TooManyBytes(self.bytes_max))?;
        Ok(())
    }
    /// Text is looked at from one end to the other.
    pub(super) fn looks_at(&mut self, value: &Value) -> Result<(), EvalFault> {
        match value {
            Value::String(text) | Value::Number(text) => self.steps((text.len() / BYTES_PER_STEP) as u64),
            _ => Ok(()),
        }
    }
    /// A value is written out as text.
    pub(super) fn writes(&mut self, value: &Value) -> Result<(), EvalFault> {
        match bounds::within(value, self.bytes_left)? {
            Some(bytes) => self.bytes(bytes as usize),
            None => Err(EvalFault::TooManyBytes(self.bytes_max)),
        }
    }
}

impl Expr {
    /// The expression's value in this scope.
    pub fn eval(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<Value, EvalFault> {
        let patterns = Patterns::default();
        let mut evaluation = Evaluation { scope, budget, locals: Vec::new(), outer: self.outer, patterns };
        let value = evaluation.eval(&self.tree)?;
        let most = budget.bytes_max;
        budget.given.admit(&value, most, self, scope)?;
        Ok(value)
    }
    /// The value as a condition.
    pub fn eval_bool(&self, scope: &dyn Scope, budget: &mut Budget) -> Result<bool, EvalFault> {
        match self.eval(scope, budget)? {
            Value::Bool(b) => Ok(b),
            other => Err(EvalFault::NotBool(other.type_name())),
        }
    }
}

struct Evaluation<'a> {
    scope: &'a dyn Scope,
    budget: &'a mut Budget,
    /// What macros have bound.
    locals: Vec<Value>,
    /// Slots below this one belong to the scope.
    outer: usize,
    patterns: Patterns,
}

impl Evaluation<'_> {
    fn eval(&mut self, tree: &Tree) -> Result<Value, EvalFault> {
        self.budget.steps(1)?;
        match tree {
            Tree::Literal(value) => Ok(value.clone()),
            Tree::Input => Ok(self.scope.input()),
            Tree::Run => Ok(self.scope.run()),
            Tree::Error => Ok(self.scope.error()),
            Tree::StepOutput(step) => self.scope.step_output(*step),
            Tree::StepStatus(step) => Ok(Value::text(self.scope.step_status(*step))),
            Tree::StepError(step) => Ok(self.scope.step_error(*step)),
            Tree::StepErrors(step) => Ok(self.scope.step_errors(*step)),
            Tree::StepHas(step) => Ok(Value::Bool(self.scope.step_output(*step).is_ok())),
            Tree::Var(slot) => Ok(self.var(*slot)),
            Tree::Select(operand, field) => {
                let operand = self.eval(operand)?;
                operand.get(field).cloned().ok_or_else(|| EvalFault::Missing(field.to_string()))
            }
            Tree::Has(operand, field) => match self.eval(operand) {
                Ok(value) => Ok(Value::Bool(value.get(field).is_some())),
                Err(fault) if fault.is_absence() => Ok(Value::Bool(false)),
                Err(fault) => Err(fault),
            },
            Tree::Default(value, fallback) => match self.eval(value) {
                Err(fault) if fault.is_absence() => self.eval(fallback),
                other => other,
            },
            Tree::Index(operand, key) => {
                let (operand, key) = (self.eval(operand)?, self.eval(key)?);
                index(&operand, &key)
            }
            Tree::List(items) => {
                self.budget.bytes(ITEM_BYTES * items.len())?;
                Ok(Value::list(items.iter().map(|i| self.eval(i)).collect::<Result<_, _>>()?))
            }
            Tree::Map(entries) => self.map(entries),
            Tree::Not(x) => Ok(Value::Bool(!self.condition(x)?)),
            Tree::Negate(x) => negate(self.eval(x)?),
            Tree::And(a, b) => self.either(a, b, false),
            Tree::Or(a, b) => self.either(a, b, true),
            Tree::Choose(c, a, b) => {
                if self.condition(c)? {
                    self.eval(a)
                } else {
                    self.eval(b)
                }
            }
            Tree::Binary(operator, a, b) => {
                let (a, b) = (self.eval(a)?, self.eval(b)?);
                self.binary(*operator, &a, &b)
            }
            Tree::Call(function, args) => {
                let args = args.iter().map(|a| self.eval(a)).collect::<Result<Vec<_>, _>>()?;
                functions::call(*function, &args, self.budget, &mut self.patterns)
            }
            Tree::Fold { kind, range, body, filter } => {
                let range = self.eval(range)?;
                self.fold(*kind, &range, body, filter.as_deref())
            }
        }
    }

    fn var(&self, slot: usize) -> Value {
        match slot.checked_sub(self.outer).and_then(|local| self.locals.get(local)) {
            Some(value) => value.clone(),
            None => self.scope.var(slot),
        }
    }

    fn condition(&mut self, tree: &Tree) -> Result<bool, EvalFault> {
        match self.eval(tree)? {
            Value::Bool(b) => Ok(b),
            other => Err(EvalFault::NotBool(other.type_name())),
        }
    }

    /// `&&` and `||` as CEL has them: whichever side decides, decides, even when the other one is a fault.
    fn either(&mut self, a: &Tree, b: &Tree, decides: bool) -> Result<Value, EvalFault> {
        let left = self.condition(a);
        if left == Ok(decides) {
            return Ok(Value::Bool(decides));
        }
        let right = self.condition(b)?;
        if right == decides { Ok(Value::Bool(decides)) } else { left.map(Value::Bool) }
    }

    fn map(&mut self, entries: &[(Tree, Tree)]) -> Result<Value, EvalFault> {
        let mut map = Map::new();
        for (key, value) in entries {
            let key = self.eval(key)?;
            let Value::String(key) = key else {
                return Err(EvalFault::Argument(format!(
                    "a key must be text, and this is {}",
                    key.type_name()
                )));
            };
            let value = self.eval(value)?;
            self.budget.bytes(key.len() + 2 * ITEM_BYTES)?;
            if map.contains_key(&key) {
                return Err(EvalFault::Argument(format!("key `{key}` stands twice")));
            }
            map.insert(key, value);
        }
        Ok(Value::Map(Arc::new(map)))
    }

    fn fold(
        &mut self,
        kind: Fold,
        range: &Value,
        body: &Tree,
        filter: Option<&Tree>,
    ) -> Result<Value, EvalFault> {
        let items: Box<dyn Iterator<Item = Value>> = match range {
            Value::List(items) => Box::new(items.iter().cloned()),
            Value::Map(map) => Box::new(map.keys().map(|key| Value::String(key.clone()))),
            other => {
                return Err(EvalFault::Argument(format!(
                    "a macro goes over a list or a map, and this is {}",
                    other.type_name()
                )));
            }
        };
        let mut collected = Vec::new();
        let (mut matches, mut fault) = (0u64, None);
        for item in items {
            self.locals.push(item);
            let step = self.fold_item(kind, body, filter, &mut collected);
            self.locals.pop();
            match step {
                Ok(true) => matches += 1,
                Ok(false) => {}
                Err(f @ (EvalFault::TooManySteps(_) | EvalFault::TooManyBytes(_))) => return Err(f),
                Err(f) if matches!(kind, Fold::All | Fold::Exists) => {
                    fault.get_or_insert(f);
                    continue;
                }
                Err(f) => return Err(f),
            }
            match kind {
                Fold::Exists if matches > 0 => return Ok(Value::Bool(true)),
                Fold::All if step == Ok(false) => return Ok(Value::Bool(false)),
                _ => {}
            }
        }
        match (kind, fault) {
            (Fold::All | Fold::Exists, Some(fault)) => Err(fault),
            (Fold::All, None) => Ok(Value::Bool(true)),
            (Fold::Exists, None) => Ok(Value::Bool(false)),
            (Fold::ExistsOne, _) => Ok(Value::Bool(matches == 1)),
            (Fold::Collect, _) => Ok(Value::list(collected)),
        }
    }

    fn fold_item(
        &mut self,
        kind: Fold,
        body: &Tree,
        filter: Option<&Tree>,
        into: &mut Vec<Value>,
    ) -> Result<bool, EvalFault> {
        if kind != Fold::Collect {
            return self.condition(body);
        }
        if let Some(filter) = filter
            && !self.condition(filter)?
        {
            return Ok(false);
        }
        let value = self.eval(body)?;
        self.budget.bytes(ITEM_BYTES)?;
        into.push(value);
        Ok(true)
    }

    fn binary(&mut self, operator: Binary, a: &Value, b: &Value) -> Result<Value, EvalFault> {
        use Binary::*;
        match operator {
            Equal | NotEqual => Ok(Value::Bool(self.equal(a, b)? == (operator == Equal))),
            Less | LessEqual | Greater | GreaterEqual => {
                self.budget.looks_at(a)?;
                self.budget.looks_at(b)?;
                let order = compare(a, b).ok_or_else(|| operands(operator, a, b))?;
                Ok(Value::Bool(match operator {
                    Less => order.is_lt(),
                    LessEqual => order.is_le(),
                    Greater => order.is_gt(),
                    _ => order.is_ge(),
                }))
            }
            In => match b {
                Value::List(items) => {
                    for item in items.iter() {
                        if self.equal(a, item)? {
                            return Ok(Value::Bool(true));
                        }
                    }
                    Ok(Value::Bool(false))
                }
                Value::Map(map) => Ok(Value::Bool(a.as_str().is_some_and(|k| map.contains_key(k)))),
                _ => Err(operands(operator, a, b)),
            },
            Add => self.add(a, b),
            _ => arithmetic(operator, a, b),
        }
    }

    /// CEL's equality: numbers by value whatever their type, everything else by type and content.
    fn equal(&mut self, a: &Value, b: &Value) -> Result<bool, EvalFault> {
        self.budget.steps(1)?;
        match (a, b) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Bool(x), Value::Bool(y)) => Ok(x == y),
            (Value::String(x), Value::String(y)) => {
                self.budget.looks_at(a)?;
                Ok(x == y)
            }
            (Value::List(x), Value::List(y)) if x.len() == y.len() => self.all_equal(x.iter().zip(y.iter())),
            (Value::Map(x), Value::Map(y)) if x.keys().eq(y.keys()) => {
                self.all_equal(x.values().zip(y.values()))
            }
            (Value::Number(x), Value::Number(y)) if x == y => Ok(true),
            _ => {
                self.budget.looks_at(a)?;
                self.budget.looks_at(b)?;
                Ok(compare_numbers(a, b) == Some(Ordering::Equal))
            }
        }
    }
    fn all_equal<'v>(
        &mut self,
        pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
    ) -> Result<bool, EvalFault> {
        for (a, b) in pairs {
            if !self.equal(a, b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn add(&mut self, a: &Value, b: &Value) -> Result<Value, EvalFault> {
        match (a, b) {
            (Value::String(x), Value::String(y)) => {
                self.budget.bytes(x.len() + y.len())?;
                Ok(Value::text(format!("{x}{y}")))
            }
            (Value::List(x), Value::List(y)) => {
                self.budget.bytes(ITEM_BYTES * (x.len() + y.len()))?;
                Ok(Value::list(x.iter().chain(y.iter()).cloned().collect()))
            }
            _ => arithmetic(Binary::Add, a, b),
        }
    }
}

fn index(operand: &Value, key: &Value) -> Result<Value, EvalFault> {
    match (operand, key) {
        (Value::Map(map), Value::String(key)) => {
            map.get(key).cloned().ok_or_else(|| EvalFault::Missing(key.to_string()))
        }
        (Value::List(items), key) => {
            let at = match key {
                Value::Int(i) => usize::try_from(*i).ok(),
                Value::Uint(u) => usize::try_from(*u).ok(),
                other => {
                    other.as_f64().filter(|d| d.fract() == 0.0 && *d >= 0.0 && *d < 9e15).map(|d| d as usize)
                }
            };
            at.and_then(|at| items.get(at)).cloned().ok_or_else(|| {
                let mut shown = String::new();
                key.write_json(&mut shown);
                EvalFault::Missing(format!("[{shown}] in a list of {}", items.len()))
            })
        }
        _ => Err(EvalFault::Operands {
            operator: "[]",
            left: operand.type_name(),
            right: key.type_name(),
            hint: "",
        }),
    }
}

fn negate(value: Value) -> Result<Value, EvalFault> {
    match value {
        Value::Int(i) => i.checked_neg().map(Value::Int).ok_or(EvalFault::Arithmetic("integer overflow")),
        Value::Double(d) => Ok(Value::Double(-d)),
        other => match (&other, other.as_f64()) {
            (Value::Number(_), Some(d)) => Ok(Value::Double(-d)),
            _ => Err(EvalFault::Operands {
                operator: "-",
                left: "nothing",
                right: other.type_name(),
                hint: "",
            }),
        },
    }
}

pub(super) fn symbol(operator: Binary) -> &'static str {
    use Binary::*;
    match operator {
        Add => "+",
        Subtract => "-",
        Multiply => "*",
        Divide => "/",
        Modulo => "%",
        Equal => "==",
        NotEqual => "!=",
        Less => "<",
        LessEqual => "<=",
        Greater => ">",
        GreaterEqual => ">=",
        In => "in",
    }
}

fn operands(operator: Binary, a: &Value, b: &Value) -> EvalFault {
    EvalFault::Operands {
        operator: symbol(operator),
        left: a.type_name(),
        right: b.type_name(),
        hint: hint(a.type_name(), b.type_name()),
    }
}

pub(super) fn hint(a: &str, b: &str) -> &'static str {
    match (a, b) {
        ("int", "double") | ("double", "int") => "; write both as `double(...)` or both as `int(...)`",
        ("string", "int" | "uint" | "double" | "bool") | ("int" | "uint" | "double" | "bool", "string") => {
            "; make it text with `string(...)`"
        }
        ("int", "uint") | ("uint", "int") => "; write both as `int(...)`",
        _ => "",
    }
}

fn arithmetic(operator: Binary, a: &Value, b: &Value) -> Result<Value, EvalFault> {
    use Binary::*;
    const OVERFLOW: EvalFault = EvalFault::Arithmetic("integer overflow");
    match (a, b) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0))
            if matches!(operator, Divide | Modulo) =>
        {
            Err(EvalFault::Arithmetic("division by zero"))
        }
        (Value::Int(x), Value::Int(y)) => match operator {
            Add => x.checked_add(*y),
            Subtract => x.checked_sub(*y),
            Multiply => x.checked_mul(*y),
            Divide => x.checked_div(*y),
            _ => x.checked_rem(*y),
        }
        .map(Value::Int)
        .ok_or(OVERFLOW),
        (Value::Uint(x), Value::Uint(y)) => match operator {
            Add => x.checked_add(*y),
            Subtract => x.checked_sub(*y),
            Multiply => x.checked_mul(*y),
            Divide => x.checked_div(*y),
            _ => x.checked_rem(*y),
        }
        .map(Value::Uint)
        .ok_or(OVERFLOW),
        (Value::Double(_) | Value::Number(_), Value::Double(_) | Value::Number(_)) if operator != Modulo => {
            let (x, y) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            let result = match operator {
                Add => x + y,
                Subtract => x - y,
                Multiply => x * y,
                _ => x / y,
            };
            if result.is_finite() {
                Ok(Value::Double(result))
            } else {
                Err(EvalFault::Arithmetic("the result is no finite number"))
            }
        }
        _ => Err(operands(operator, a, b)),
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(x), Value::Bool(y)) => Some(x.cmp(y)),
        (Value::String(x), Value::String(y)) => Some(x.cmp(y)),
        _ => compare_numbers(a, b),
    }
}

fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(x), Value::Int(y)) => Some(x.cmp(y)),
        (Value::Uint(x), Value::Uint(y)) => Some(x.cmp(y)),
        (Value::Int(x), Value::Uint(y)) => Some(i128::from(*x).cmp(&i128::from(*y))),
        (Value::Uint(x), Value::Int(y)) => Some(i128::from(*x).cmp(&i128::from(*y))),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}
