//! Refusals, as a client of the protocol is told them.

use crate::http::problem::Problem;
use rmcp::model::{CallToolResult, ContentBlock, ErrorCode, ErrorData};
use serde_json::json;

/// What is wrong, and where, in one text.
fn said(problem: &Problem) -> String {
    let mut text = problem.detail.clone();
    for place in &problem.errors {
        if !problem.detail.contains(&place.message) {
            let pointer = if place.pointer.is_empty() { "/" } else { &place.pointer };
            text.push_str(&format!("\n{pointer}: {}", place.message));
        }
    }
    text
}

/// As an error of the protocol: what was asked cannot be done at all.
pub(super) fn refused(problem: Problem) -> ErrorData {
    let code = if problem.code.status().is_server_error() {
        ErrorCode::INTERNAL_ERROR
    } else {
        ErrorCode::INVALID_PARAMS
    };
    ErrorData::new(code, said(&problem), Some(json!({ "code": problem.code.word() })))
}

/// As the answer of a tool: a model that reads it can do better.
pub(super) fn refused_to(problem: &Problem) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(said(problem))]);
    let mut meta = rmcp::model::MetaObject::new();
    meta.insert("heddle/code".to_owned(), json!(problem.code.word()));
    result.meta = Some(meta);
    result
}
