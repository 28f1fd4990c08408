//! The REST twins of the calls: `POST /a2a/message:send` and its like.

use super::faults::refused;
use super::stream::by_rest;
use super::{Answer, admitted, envelope};
use crate::http::Api;
use a2a::{A2AError, error_code, methods};
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use hyper::header::ALLOW;
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

/// An error in the words of `google.rpc.Status`.
fn body(fault: &A2AError, status: u16) -> Value {
    let error = fault.to_jsonrpc_error();
    json!({ "error": {
        "code": status,
        "status": word(fault.code, status),
        "message": fault.message,
        "details": error.data.unwrap_or_else(|| json!([])),
    } })
}

/// The same for the end of a stream.
pub(super) fn told(fault: &A2AError) -> String {
    body(fault, fault.http_status_code()).to_string()
}

/// The word of an error in that form.
fn word(code: i32, status: u16) -> &'static str {
    use error_code as c;
    match (code, status) {
        (_, 404) => "NOT_FOUND",
        (_, 405 | 501) => "UNIMPLEMENTED",
        (_, 403) => "PERMISSION_DENIED",
        (c::TASK_NOT_CANCELABLE | c::UNSUPPORTED_OPERATION | c::VERSION_NOT_SUPPORTED, _)
        | (c::PUSH_NOTIFICATION_NOT_SUPPORTED, _) => "FAILED_PRECONDITION",
        (_, 400..=499) => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}

fn failure(fault: &A2AError, status: Option<StatusCode>) -> Response {
    let own = StatusCode::from_u16(fault.http_status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let status = status.unwrap_or(own);
    (status, Json(body(fault, status.as_u16()))).into_response()
}

/// What a path means: a method, and the run that it names.
fn meant<'a>(method: &Method, path: &'a str) -> Option<(&'static str, Option<&'a str>)> {
    let (get, post) = (method == Method::GET, method == Method::POST);
    match path {
        "message:send" if post => return Some((methods::SEND_MESSAGE, None)),
        "message:stream" if post => return Some((methods::SEND_STREAMING_MESSAGE, None)),
        "tasks" if get => return Some((methods::LIST_TASKS, None)),
        "extendedAgentCard" if get => return Some((methods::GET_EXTENDED_AGENT_CARD, None)),
        _ => {}
    }
    let rest = path.strip_prefix("tasks/")?;
    if let Some((id, _)) = rest.split_once("/pushNotificationConfigs") {
        return Some((methods::LIST_PUSH_CONFIGS, Some(id)));
    }
    match rest.rsplit_once(':') {
        Some((id, "cancel")) if post => Some((methods::CANCEL_TASK, Some(id))),
        Some((id, "subscribe")) if post || get => Some((methods::SUBSCRIBE_TO_TASK, Some(id))),
        None if get && !rest.contains('/') => Some((methods::GET_TASK, Some(rest))),
        _ => None,
    }
}

/// The parameters of a question stand behind the `?`.
fn of_query(query: &str) -> Value {
    let members = form_urlencoded::parse(query.as_bytes()).map(|(name, text)| {
        let value = match &*name {
            "pageSize" | "historyLength" => {
                text.parse::<i64>().map_or(Value::String(text.to_string()), Value::from)
            }
            "includeArtifacts" => json!(text == "true"),
            _ => json!(text),
        };
        (name.into_owned(), value)
    });
    Value::Object(members.collect::<Map<_, _>>())
}

pub(super) async fn call(State(api): State<Api>, Path(path): Path<String>, request: Request) -> Response {
    let (method, query) = (request.method().clone(), request.uri().query().unwrap_or_default().to_owned());
    let Some((named, id)) = meant(&method, &path) else {
        let shown: String = path.chars().take(100).collect();
        let fault = A2AError::method_not_found(&format!("{method} /a2a/{shown}"));
        if meant(&Method::GET, &path).is_none() && meant(&Method::POST, &path).is_none() {
            return failure(&fault, Some(StatusCode::NOT_FOUND));
        }
        let mut response = failure(&fault, Some(StatusCode::METHOD_NOT_ALLOWED));
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, POST"));
        return response;
    };
    let (door, headers, bytes) = match admitted(api, request).await {
        Ok(admitted) => admitted,
        Err(problem) => return failure(&refused(&problem), Some(problem.code.status())),
    };
    let answer = match params(&method, (&headers, &bytes), (&query, id)) {
        Ok(params) => door.answer(named, params).await,
        Err(fault) => Err(fault),
    };
    match answer {
        Ok(Answer::One(value)) => Json(value).into_response(),
        Ok(Answer::Many(events)) => by_rest(events),
        Err(fault) => failure(&fault, None),
    }
}

fn params(
    method: &Method,
    (headers, bytes): (&HeaderMap, &[u8]),
    (query, id): (&str, Option<&str>),
) -> Result<Value, A2AError> {
    envelope::version(headers)?;
    let mut params = match (*method == Method::POST, bytes.is_empty()) {
        (false, _) => of_query(query),
        (true, true) => json!({}),
        (true, false) => {
            envelope::is_json(headers)?;
            serde_json::from_slice(bytes)
                .map_err(|error| A2AError::parse_error(format!("the body is not JSON: {error}")))?
        }
    };
    let Some(members) = params.as_object_mut() else {
        return Err(A2AError::invalid_request("the body is an object"));
    };
    if let Some(id) = id {
        members.insert("id".to_owned(), json!(id));
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_methods() {
        let of = |method: Method, path| meant(&method, path);
        assert_eq!(of(Method::POST, "message:send"), Some((methods::SEND_MESSAGE, None)));
        assert_eq!(of(Method::GET, "tasks/x"), Some((methods::GET_TASK, Some("x"))));
        assert_eq!(of(Method::POST, "tasks/x:cancel"), Some((methods::CANCEL_TASK, Some("x"))));
        assert_eq!(of(Method::GET, "tasks/x:subscribe"), Some((methods::SUBSCRIBE_TO_TASK, Some("x"))));
        for (method, path) in [
            (Method::GET, "message:send"),
            (Method::POST, "tasks/x"),
            (Method::GET, "tasks/x/y"),
            (Method::POST, "tasks/x:burn"),
            (Method::GET, ""),
        ] {
            assert_eq!(of(method, path), None, "{path}");
        }
    }
}
