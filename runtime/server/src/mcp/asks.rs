//! What a run asks people, as a form that the client shows to its user, and their answer as a decision.
//!
//! Nobody but a person answers: a client sends such a form only to whoever sits before it, never to its model. So there
//! is no tool that approves.

use super::Client;
use super::faults::refused;
use crate::http::Api;
use crate::http::problem::Problem;
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::run::approval::Decision;
use heddle_core::run::event::Order;
use heddle_core::run::orders::Wish;
use heddle_core::run::view::{AskView, StepView};
use heddle_executor::RunDetail;
use rmcp::model::{ElicitResult, ElicitationAction, ErrorData, InputRequest, InputRequests, InputResponses};
use serde_json::{Map, Value, json};

/// The member with what is decided.
const DECISION: &str = "decision";
/// The member with what is said of it.
const COMMENT: &str = "comment";
/// The member with a form that is more than a few plain values: JSON as text.
const FORM: &str = "form";

/// A question that is open.
struct Question<'a> {
    key: String,
    step: &'a StepView,
    asks: &'a AskView,
}

/// What this caller may still answer.
fn open<'a>(detail: &'a RunDetail, client: &Client) -> Vec<Question<'a>> {
    let of = |step: &'a StepView| {
        let asks = step.asks.as_ref()?;
        // A key means one question for as long as there is the run: a step may ask more than once.
        let key = format!("{}#{}", step.id, step.decisions.len() + step.orders.len());
        let decided = step.decisions.iter().any(|decision| *decision.by == *client.decides);
        (!decided).then_some(Question { key, step, asks })
    };
    detail.view.steps.iter().filter_map(of).collect()
}

/// Whether the run asks anybody anything.
pub(super) fn asks(detail: &RunDetail) -> bool {
    detail.view.steps.iter().any(|step| step.asks.is_some())
}

/// The forms of a run for this caller, by their keys.
pub(super) fn requests(detail: &RunDetail, client: &Client) -> InputRequests {
    open(detail, client).iter().filter_map(|q| Some((q.key.clone(), form(detail, q)?))).collect()
}

fn form(detail: &RunDetail, question: &Question<'_>) -> Option<InputRequest> {
    let (step, asks) = (question.step, question.asks);
    let title = detail.plan().steps.get(step.index as usize).map_or("", |step| &step.title);
    let title = if title.is_empty() { format!("step `{}`", step.id) } else { title.to_owned() };
    let (message, words): (String, Vec<&str>) = match &asks.failure {
        None => {
            let who: Vec<String> = asks.assignees.iter().map(|who| format!("`{who}`")).collect();
            let who = if who.is_empty() { String::new() } else { format!(" (from {})", who.join(", ")) };
            let text = format!("{} wants an approval{who}: {title}", detail.view.workflow);
            (text, vec!["approve", "reject"])
        }
        Some(failure) => {
            let text = format!(
                "{} has failed at {title}: {}. What becomes of it?",
                detail.view.workflow, failure.message
            );
            let skip = asks.skippable.then_some("skip");
            (text, ["retry"].into_iter().chain(skip).chain(["fail"]).collect())
        }
    };
    let whole = |properties: Map<String, Value>| {
        let schema = json!({ "type": "object", "properties": properties, "required": [DECISION] });
        let request = json!({
            "method": "elicitation/create",
            "params": { "mode": "form", "message": message, "requestedSchema": schema },
        });
        serde_json::from_value::<InputRequest>(request)
            .ok()
            .filter(|read| matches!(read, InputRequest::Elicitation(_)))
    };
    let mut properties = Map::new();
    properties.insert(DECISION.into(), json!({ "type": "string", "title": "Decision", "enum": words }));
    properties.insert(COMMENT.into(), json!({ "type": "string", "title": "Why" }));
    let Some(form) = &asks.form else { return whole(properties) };
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
    if own.keys().any(|name| properties.contains_key(name)) {
        return None;
    }
    let mut all = properties.clone();
    all.extend(own.clone());
    Some(all)
}

/// Takes the answers that belong to open questions. One that was answered meanwhile is passed over: the client learns
/// how the run stands with its next look.
pub(super) async fn take(
    api: &Api,
    detail: &RunDetail,
    client: &Client,
    answers: &InputResponses,
) -> Result<(), ErrorData> {
    for (key, answer) in answers {
        let Some(question) = open(detail, client).into_iter().find(|question| question.key == *key) else {
            continue;
        };
        let fault = |what: &str| ErrorData::invalid_params(format!("the answer to `{key}` {what}"), None);
        let answer: ElicitResult = serde_json::from_value(answer.clone())
            .map_err(|_| fault("is not the result of an elicitation: `{action, content}`"))?;
        // Who declines or looks away decides nothing; the question stays open.
        if answer.action != ElicitationAction::Accept {
            continue;
        }
        let content = answer.content.unwrap_or_default();
        let word = content[DECISION].as_str().ok_or_else(|| fault("has no `decision`"))?;
        decide(api, detail.view.id, client, (&question, word, &content)).await.map_err(refused)?;
    }
    Ok(())
}

/// What was filled in, where the approval has a form.
fn filled(asks: &AskView, content: &Value) -> Option<Json> {
    asks.form.as_ref()?;
    let of_text = content[FORM].as_str().and_then(|text| Json::parse(text.as_bytes()).ok());
    of_text.or_else(|| {
        let members = content.as_object()?.iter().filter(|(name, _)| *name != DECISION && *name != COMMENT);
        let members: Map<String, Value> =
            members.map(|(name, value)| (name.clone(), value.clone())).collect();
        Json::parse(Value::Object(members).to_string().as_bytes()).ok()
    })
}

async fn decide(
    api: &Api,
    run: RunId,
    client: &Client,
    (question, word, content): (&Question<'_>, &str, &Value),
) -> Result<(), Problem> {
    let (executor, tenant) = (&api.app.executor, Tenant::default());
    let comment = content[COMMENT].as_str().unwrap_or_default().chars().take(4_096).collect::<String>();
    let (by, comment) = (client.decides.clone(), comment.as_str().into());
    let who = (&*question.step.id, client.caller.groups.as_slice());
    if question.asks.failure.is_none() {
        let approved = word == "approve";
        let form = filled(question.asks, content).filter(|_| approved);
        executor.decide(&tenant, run, who, Decision { by, approved, comment, form }).await?;
        return Ok(());
    }
    let what = match word {
        "retry" => Wish::Retry { input: None },
        "skip" => Wish::Skip { value: Json::null() },
        _ => Wish::Fail {},
    };
    executor.order(&tenant, run, who, Order { by, comment, what }).await?;
    Ok(())
}
