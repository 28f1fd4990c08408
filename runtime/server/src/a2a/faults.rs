//! Refusals in the words of the protocol.

use crate::http::problem::Problem;
use a2a::{A2AError, TypedDetail};
use serde_json::json;

/// A refusal of the node's: what is wrong, and where.
pub(super) fn refused(problem: &Problem) -> A2AError {
    let mut text = problem.detail.clone();
    for place in &problem.errors {
        if !text.contains(&place.message) {
            let pointer = if place.pointer.is_empty() { "/" } else { &place.pointer };
            text.push_str(&format!("; {pointer}: {}", place.message));
        }
    }
    let fault = match problem.code.status().as_u16() {
        // What is only busy is no fault of the caller's.
        429 | 500.. => A2AError::internal(text),
        _ => A2AError::invalid_params(text),
    };
    let violations: Vec<_> = problem
        .errors
        .iter()
        .map(|place| json!({ "field": place.pointer, "description": place.message }))
        .collect();
    if violations.is_empty() {
        return fault;
    }
    let value = json!({ "fieldViolations": violations }).as_object().cloned().unwrap_or_default();
    let detail = TypedDetail {
        type_url: "type.googleapis.com/google.rpc.BadRequest".to_owned(),
        value: value.into_iter().collect(),
    };
    fault.with_details(vec![detail])
}
