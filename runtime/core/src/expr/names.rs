//! The names that an expression sees, by where it stands.

use super::types::TypeNames;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The names that an expression may use, and what is known of their types.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Step ids, in the order of the plan.
    pub steps: Arc<Vec<String>>,
    /// Names bound around the expression: `forEach`'s `as` and `at`.
    pub vars: Vec<String>,
    /// Which steps are a `forEach`: these have `errors`.
    pub lists: Arc<BTreeSet<u32>>,
    /// Whether `error` may be read: in a retry's `when`, and in what runs after a failure.
    pub error: ErrorName,
    /// Types of all of these.
    pub types: TypeNames,
    /// Why a step's output may not be there, by step; `None` where it is.
    pub absent: Arc<Vec<Option<&'static str>>>,
    /// Steps whose output is there whatever that says.
    pub proven: BTreeSet<u32>,
    /// Whether there is a run whose input and steps may be read.
    pub run: RunName,
}

/// What is said of a name that only a run has.
pub(super) const NO_RUN: &str = "there is no run yet; what a trigger says reads `event` and nothing else";

/// Whether the expression stands where there is a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunName {
    /// There is one.
    #[default]
    Bound,
    /// What it says decides whether there will be one.
    Unbound,
}

/// Whether the expression stands where there is an `error`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorName {
    /// There is one.
    Bound,
    /// There is none.
    #[default]
    Unbound,
}
