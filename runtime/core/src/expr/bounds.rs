//! How large the value of an expression may be. Values share their parts, so a short expression can build what is only
//! large once it is written out: `[1].map(a, [a, a])` doubles it for a few bytes. What counts is therefore the text that
//! a value will be.

use super::eval::{EvalFault, Scope};
use super::tree::Expr;
use crate::json::MAX_DEPTH;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What an evaluation has given so far, and what it was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// Bytes of all values that came of it.
    out: u64,
    /// Bytes of what it has read.
    read: u64,
    counted: BTreeSet<Source>,
}

/// Something that an expression reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Input,
    Step(u32),
    Var(usize),
}

impl Given {
    /// Lets a value pass that an expression has: all of them together weigh what may be built, and what was read, each
    /// once. So whatever only passes through is never too large.
    pub(super) fn admit(
        &mut self,
        value: &Value,
        most: u64,
        expr: &Expr,
        scope: &dyn Scope,
    ) -> Result<(), EvalFault> {
        let mut whole = Weighing::default();
        let weight = match within(value, most)? {
            Some(weight) => weight,
            None => whole.weigh(value)?.bytes,
        };
        self.out = self.out.saturating_add(weight);
        if self.out > most.saturating_add(self.read) {
            self.read_by(expr, scope)?;
        }
        match self.out > most.saturating_add(self.read) {
            true => Err(EvalFault::TooManyBytes(most)),
            false => Ok(()),
        }
    }

    fn read_by(&mut self, expr: &Expr, scope: &dyn Scope) -> Result<(), EvalFault> {
        let steps = expr.reads.iter().map(|step| Source::Step(*step));
        for source in steps.chain([Source::Input]).chain((0..expr.outer).map(Source::Var)) {
            if !self.counted.insert(source) {
                continue;
            }
            let value = match source {
                Source::Input => scope.input(),
                Source::Step(step) => scope.step_output(step).unwrap_or_default(),
                Source::Var(slot) => scope.var(slot),
            };
            self.read = self.read.saturating_add(Weighing::default().weigh(&value)?.bytes);
        }
        Ok(())
    }
}

/// The bytes that a value will have as text, roughly; `None` where they are more than this.
pub(super) fn within(value: &Value, most: u64) -> Result<Option<u64>, EvalFault> {
    let mut left = most;
    Ok(take(value, &mut left, 0)?.then(|| most - left))
}

fn take(value: &Value, left: &mut u64, depth: u64) -> Result<bool, EvalFault> {
    if depth > MAX_DEPTH {
        return Err(EvalFault::TooDeep(MAX_DEPTH));
    }
    let Some(rest) = left.checked_sub(own(value)) else { return Ok(false) };
    *left = rest;
    let mut all = |item: &Value| take(item, left, depth + 1);
    match value {
        Value::List(items) => items.iter().try_fold(true, |fits, item| Ok(fits && all(item)?)),
        Value::Map(map) => map.values().try_fold(true, |fits, item| Ok(fits && all(item)?)),
        _ => Ok(true),
    }
}

/// What it weighs besides what is in it.
fn own(value: &Value) -> u64 {
    let bytes = match value {
        Value::String(text) | Value::Number(text) => text.len() + 2,
        Value::List(items) => 2 + items.len(),
        Value::Map(map) => 2 + map.keys().map(|key| key.len() + 4).sum::<usize>(),
        _ => 8,
    };
    bytes as u64
}

#[derive(Clone, Copy)]
struct Weight {
    bytes: u64,
    /// Levels from here down.
    levels: u64,
}

/// Weighs each part once, however often it stands there.
#[derive(Default)]
struct Weighing {
    known: BTreeMap<usize, Weight>,
}

impl Weighing {
    fn weigh(&mut self, value: &Value) -> Result<Weight, EvalFault> {
        let place = match value {
            Value::List(items) => Arc::as_ptr(items).addr(),
            Value::Map(map) => Arc::as_ptr(map).addr(),
            _ => return Ok(Weight { bytes: own(value), levels: 0 }),
        };
        if let Some(known) = self.known.get(&place) {
            return Ok(*known);
        }
        let mut weight = Weight { bytes: own(value), levels: 0 };
        let mut add = |item: &Value| {
            let item = self.weigh(item)?;
            weight.bytes = weight.bytes.saturating_add(item.bytes);
            weight.levels = weight.levels.max(item.levels + 1);
            match weight.levels > MAX_DEPTH {
                true => Err(EvalFault::TooDeep(MAX_DEPTH)),
                false => Ok(()),
            }
        };
        match value {
            Value::List(items) => items.iter().try_for_each(&mut add)?,
            Value::Map(map) => map.values().try_for_each(&mut add)?,
            _ => {}
        }
        self.known.insert(place, weight);
        Ok(weight)
    }
}
