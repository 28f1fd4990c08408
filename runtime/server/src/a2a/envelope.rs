//! The JSON-RPC around a call, and what must be right before it is one.

use a2a::{A2AError, JsonRpcId, JsonRpcResponse, SVC_PARAM_VERSION, VERSION, error_code};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use serde_json::Value;

/// A call.
pub(super) struct Call {
    pub(super) method: String,
    pub(super) params: Value,
}

impl Call {
    /// Reads a call, and the id under which it is answered, as far as there is one.
    pub(super) fn read(headers: &HeaderMap, bytes: &[u8]) -> (JsonRpcId, Result<Call, A2AError>) {
        if let Err(fault) = is_json(headers) {
            return (JsonRpcId::Null, Err(fault));
        }
        let whole: Value = match serde_json::from_slice(bytes) {
            Ok(whole) => whole,
            Err(error) => {
                let fault = A2AError::parse_error(format!("the body is not JSON: {error}"));
                return (JsonRpcId::Null, Err(fault));
            }
        };
        let id = match &whole["id"] {
            Value::String(id) => JsonRpcId::String(id.clone()),
            Value::Number(id) => id.as_i64().map_or(JsonRpcId::Null, JsonRpcId::Number),
            _ => JsonRpcId::Null,
        };
        let call = Call::of(headers, &whole, &id);
        (id, call)
    }
    fn of(headers: &HeaderMap, whole: &Value, id: &JsonRpcId) -> Result<Call, A2AError> {
        let invalid = |what: &str| Err(A2AError::invalid_request(what));
        if !whole.is_object() {
            return invalid("a request is one object; batches are not part of the protocol");
        }
        if whole["jsonrpc"] != "2.0" {
            return invalid("`jsonrpc` is \"2.0\"");
        }
        if *id == JsonRpcId::Null {
            return invalid("`id` is a text or a whole number: every call is answered");
        }
        let Some(method) = whole["method"].as_str() else { return invalid("`method` is missing") };
        version(headers)?;
        match &whole["params"] {
            params @ Value::Object(_) => Ok(Call { method: method.to_owned(), params: params.clone() }),
            Value::Null => {
                Ok(Call { method: method.to_owned(), params: Value::Object(serde_json::Map::new()) })
            }
            _ => Err(A2AError::invalid_params("`params` is an object")),
        }
    }
}

/// Whether a body says that it is JSON.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), A2AError> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" | "application/a2a+json" => Ok(()),
        _ => Err(A2AError::new(
            error_code::CONTENT_TYPE_NOT_SUPPORTED,
            "the body is `application/json` or `application/a2a+json`",
        )),
    }
}

/// Whether the caller speaks this version; one that says nothing speaks an older one.
pub(super) fn version(headers: &HeaderMap) -> Result<(), A2AError> {
    let said =
        headers.get(SVC_PARAM_VERSION).and_then(|value| value.to_str().ok()).unwrap_or_default().trim();
    // What is behind the second point does not matter.
    if said == VERSION || said.strip_prefix(VERSION).is_some_and(|rest| rest.starts_with('.')) {
        return Ok(());
    }
    let shown = if said.is_empty() { "0.3 (no header `A2A-Version`)" } else { said };
    Err(A2AError::version_not_supported(&format!(
        "{}; spoken here is {VERSION}",
        shown.chars().take(40).collect::<String>()
    )))
}

pub(super) fn success(id: JsonRpcId, result: Value) -> Response {
    Json(JsonRpcResponse::success(id, result)).into_response()
}

pub(super) fn failure(id: JsonRpcId, fault: &A2AError) -> Response {
    Json(JsonRpcResponse::error(id, fault.to_jsonrpc_error())).into_response()
}
