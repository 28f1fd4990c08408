//! What a run asks people, as a form that the client shows to its user, and their answer as a decision.
//!
//! Nobody but a person answers: a client sends such a form only to whoever sits before it, never to its model. So there
//! is no tool that approves.

use super::Client;
use super::faults::refused;
use crate::door::asks::{COMMENT, DECISION, FORM, Question, open};
use crate::http::Api;
use heddle_core::json::Json;
use heddle_executor::RunDetail;
use rmcp::model::{ElicitResult, ElicitationAction, ErrorData, InputRequest, InputRequests, InputResponses};
use serde_json::{Map, Value, json};

/// The forms of a run for this caller, by their keys.
pub(super) fn requests(detail: &RunDetail, client: &Client) -> InputRequests {
    open(detail, &client.who).iter().filter_map(|q| Some((q.key.clone(), form(detail, q)?))).collect()
}

fn form(detail: &RunDetail, question: &Question<'_>) -> Option<InputRequest> {
    let whole = |properties: Map<String, Value>| {
        let schema = json!({ "type": "object", "properties": properties, "required": [DECISION] });
        let request = json!({
            "method": "elicitation/create",
            "params": { "mode": "form", "message": question.message(detail), "requestedSchema": schema },
        });
        let read = serde_json::from_value::<InputRequest>(request).ok();
        read.filter(|read| matches!(read, InputRequest::Elicitation(_)))
    };
    let mut properties = Map::new();
    let words = question.words();
    properties.insert(DECISION.into(), json!({ "type": "string", "title": "Decision", "enum": words }));
    properties.insert(COMMENT.into(), json!({ "type": "string", "title": "Why" }));
    let Some(form) = question.form() else { return whole(properties) };
    flat(form, &properties).and_then(whole).or_else(|| {
        let described = format!("JSON as this schema wants it: {}", form.text());
        properties
            .insert(FORM.into(), json!({ "type": "string", "title": "Form", "description": described }));
        whole(properties.clone())
    })
}

/// The members of a form beside those that every question has, where their names leave room for that.
fn flat(form: &Json, properties: &Map<String, Value>) -> Option<Map<String, Value>> {
    let schema: Value = serde_json::from_str(form.text()).ok()?;
    let own = schema.get("properties")?.as_object()?;
    if own.keys().any(|name| properties.contains_key(name) || name == FORM) {
        return None;
    }
    let mut all = properties.clone();
    all.extend(own.clone());
    Some(all)
}

/// What became of answers.
pub(super) enum Taken {
    /// They count, or were about what is decided meanwhile.
    All,
    /// Somebody declined or looked away, or what they said does not count: why.
    Open(Option<String>),
}

/// Takes the answers that belong to open questions. One that was answered meanwhile is passed over: the client learns
/// how the run stands with its next look.
pub(super) async fn take(
    api: &Api,
    detail: &RunDetail,
    client: &Client,
    answers: &InputResponses,
) -> Result<Taken, ErrorData> {
    let mut taken = Taken::All;
    for (key, answer) in answers {
        let Some(question) = open(detail, &client.who).into_iter().find(|question| question.key == *key)
        else {
            continue;
        };
        let answer: ElicitResult = serde_json::from_value(answer.clone()).map_err(|_| {
            let said =
                format!("the answer to `{key}` is not the result of an elicitation: `{{action, content}}`");
            ErrorData::invalid_params(said, None)
        })?;
        if answer.action != ElicitationAction::Accept {
            taken = Taken::Open(None);
            continue;
        }
        let content = answer.content.unwrap_or_default();
        if let Err(problem) = question.decide(api, (detail.view.id, &client.who), &content).await {
            if problem.code.status().is_server_error() {
                return Err(refused(problem));
            }
            taken = Taken::Open(Some(problem.detail));
        }
    }
    Ok(taken)
}
