//! The items of a `forEach`: one list, a list within each of its elements, or several elements as one item. The items of
//! all lists are numbered in one row, so that nothing else has to know how they lie.

use super::Run;
use super::scope::Values;
use super::state::{MapState, Phase, Stage, StepState};
use crate::expr::{EvalFault, Expr, Scope};
use crate::value::Value;
use std::sync::Arc;

/// The items, and how many of them each list within the list has, where there are lists within it.
type Items = (Arc<Vec<Value>>, Vec<u32>);

impl Run {
    /// Whether the items of a step come from lists within a list. Each is then a list of what it binds: the element
    /// around it, its index, the item itself, its index.
    pub(super) fn is_nested(&self, step: u32) -> bool {
        let over = self.plan.steps.get(step as usize).and_then(|s| s.map.as_ref());
        over.is_some_and(|over| over.lists.within.is_some())
    }

    /// The items of a `forEach`: computed once, since what they are read from no longer changes.
    pub(super) fn list_of(&self, step: u32, values: &Values) -> Result<Items, EvalFault> {
        let state = self.steps.get(step as usize).and_then(|s| s.map.as_ref());
        if let Some((map, list)) = state.and_then(|map| Some((map, map.list.get()?))) {
            return Ok((list.clone(), map.lens.clone()));
        }
        let Some(over) = self.plan.steps.get(step as usize).and_then(|s| s.map.as_ref()) else {
            return Err(EvalFault::Missing("forEach".into()));
        };
        let mut scope = self.scope(values);
        let list = self.listed(&over.list, &scope)?;
        let (mut items, mut lens) = (Vec::new(), Vec::new());
        match &over.lists.within {
            None => items = batched(&list, over.lists.batch),
            Some(within) => {
                for (index, element) in (0i64..).zip(list.iter()) {
                    scope.bound = vec![element.clone(), Value::Int(index)];
                    let inner = batched(&self.listed(within, &scope)?, over.lists.batch);
                    lens.push(inner.len() as u32);
                    let bound = |(at, item)| {
                        Value::list(vec![element.clone(), Value::Int(index), item, Value::Int(at)])
                    };
                    items.extend((0i64..).zip(inner).map(bound));
                    if items.len() as u64 > self.limits.fan_out {
                        // It is refused for what it has by now.
                        break;
                    }
                }
            }
        }
        let items = Arc::new(items);
        if let Some(map) = state {
            let _ = map.list.set(items.clone());
        }
        Ok((items, lens))
    }
    fn listed(&self, list: &Expr, scope: &dyn Scope) -> Result<Arc<Vec<Value>>, EvalFault> {
        match list.eval(scope, &mut self.budget())? {
            Value::List(list) => Ok(list),
            other => Err(EvalFault::Argument(format!(
                "`forEach` goes over a list, and this is {}",
                other.type_name()
            ))),
        }
    }
}

/// The elements, or so many of them together.
fn batched(list: &[Value], batch: Option<u32>) -> Vec<Value> {
    match batch {
        None => list.to_vec(),
        Some(batch) => list.chunks(batch.max(1) as usize).map(|chunk| Value::list(chunk.to_vec())).collect(),
    }
}

/// The outputs of the items in the order of the list, as the lists lie. An item that failed is null; where the whole
/// step failed or was stopped, there are only those that succeeded, which is what is to be undone.
pub(super) fn aggregate(state: &StepState, map: &MapState, values: &Values) -> Option<Value> {
    if let Some(value) = map.aggregate.get() {
        return Some(value.clone());
    }
    let mut outputs = Vec::with_capacity(map.items.len());
    for item in &map.items {
        outputs.push(match &item.stage {
            Stage::Succeeded(payload) => Some(values.get(payload)?.value().clone()),
            _ if state.phase == Phase::Succeeded => Some(Value::Null),
            _ => None,
        });
    }
    let mut rest = outputs.into_iter();
    let whole = match map.lens.as_slice() {
        [] => rest.flatten().collect(),
        lens => {
            let mut part = |len: &u32| Value::list(rest.by_ref().take(*len as usize).flatten().collect());
            lens.iter().map(&mut part).collect()
        }
    };
    Some(map.aggregate.get_or_init(|| Value::list(whole)).clone())
}
