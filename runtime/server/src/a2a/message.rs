//! A message: a new run, or an answer to one that asks.

use super::faults::refused;
use super::{Door, shown};
use crate::door::asks::{DECISION, Question, open};
use crate::door::offer::{Offered, find, offered, wish};
use crate::http::body;
use crate::http::faults::unreadable_document;
use crate::http::server::over;
use a2a::{A2AError, Message, Part, PartContent, Role, SendMessageRequest, SendMessageResponse, error_code};
use heddle_core::document::Doc;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::Verb;
use heddle_executor::{RunDetail, Submit, SubmitFault, WorkflowChoice};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Bytes of an id of a message or a conversation.
const ID_BYTES: usize = 128;
/// Members of an input that a text goes to, where the schema has several texts.
const TEXTS: [&str; 7] = ["text", "message", "goal", "question", "prompt", "query", "input"];
/// Skills that a refusal names.
const NAMED: usize = 20;
/// How long a run that is told to go on may take until it does.
const RESUMED_WITHIN: Duration = Duration::from_secs(2);
/// The first look at a run that is waited for, and the longest time between two; its end is seen at once.
pub(super) const LOOKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Reads a request. A part has one content; the wire types would take the first of several.
pub(super) fn read(given: Value) -> Result<SendMessageRequest, A2AError> {
    let contents = |part: &Value| {
        ["text", "raw", "url", "data"].into_iter().filter(|name| part.get(name).is_some()).count()
    };
    let parts = given["message"]["parts"].as_array().into_iter().flatten();
    if parts.map(contents).any(|contents| contents > 1) {
        return Err(A2AError::invalid_params("a part has one of `text`, `raw`, `url` and `data`"));
    }
    let request: SendMessageRequest = super::params(given)?;
    shown::check_length(request.configuration.as_ref().and_then(|c| c.history_length))?;
    Ok(request)
}

/// `SendMessage`: waits until there is something to say, unless the caller does not want to.
pub(super) async fn send(door: &Door, request: SendMessageRequest) -> Result<SendMessageResponse, A2AError> {
    let configuration = request.configuration.as_ref();
    let at_once = configuration.and_then(|c| c.return_immediately).unwrap_or(false);
    let length = configuration.and_then(|c| c.history_length);
    let mut detail = begun(door, request).await?;
    if !at_once {
        detail = settled(door, detail).await?;
    }
    Ok(SendMessageResponse::Task(shown::whole(door, &detail, length).await?))
}

/// Until a run has ended, asks somebody, or has taken longer than a request may.
async fn settled(door: &Door, mut detail: RunDetail) -> Result<RunDetail, A2AError> {
    let (began, longest) = (Instant::now(), Duration::from_millis(door.api.app.limits.call_wait_ms));
    let (run, tenant, mut pause) = (detail.view.id, Tenant::default(), LOOKS.0);
    while detail.view.finished_at.is_none() && !shown::waits(&detail) && began.elapsed() < longest {
        let left = longest.saturating_sub(began.elapsed());
        let seen = tokio::select! {
            seen = door.api.app.executor.wait(&tenant, run, pause.min(left)) => seen,
            () = over(door.api.ending.clone()) => return Ok(detail),
        };
        let seen = seen.map_err(|fault| refused(&fault.into()))?;
        detail =
            seen.map(|seen| (*seen).clone()).ok_or_else(|| A2AError::task_not_found(&run.to_string()))?;
        pause = (pause * 3 / 2).min(LOOKS.1);
    }
    Ok(detail)
}

/// The run that a message is for, after it has been taken.
pub(super) async fn begun(door: &Door, request: SendMessageRequest) -> Result<RunDetail, A2AError> {
    let message = &request.message;
    if message.role != Role::User {
        return Err(A2AError::invalid_params("`message.role` is `ROLE_USER`"));
    }
    for (name, id) in [("messageId", Some(&message.message_id)), ("contextId", message.context_id.as_ref())] {
        let fits = |id: &String| {
            (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if id.is_some_and(|id| !fits(id)) {
            let said = format!("`message.{name}` is 1 to {ID_BYTES} visible ASCII characters");
            return Err(A2AError::invalid_params(said));
        }
    }
    if message.parts.is_empty() {
        return Err(A2AError::invalid_params("`message.parts` has at least one part"));
    }
    if let Some(configuration) = &request.configuration {
        if configuration.task_push_notification_config.is_some() {
            return Err(A2AError::push_notification_not_supported());
        }
        let fits = |mode: &String| mode == "*/*" || super::card::MODES.contains(&&**mode);
        if configuration.accepted_output_modes.as_ref().is_some_and(|m| !m.is_empty() && !m.iter().any(fits))
        {
            return Err(A2AError::content_type_not_supported());
        }
    }
    let said = Said::of(&message.parts)?;
    match &message.task_id {
        Some(id) => answered(door, id, message, said).await,
        None => started(door, &request, said).await,
    }
}

/// What a message says.
struct Said {
    text: Option<String>,
    data: Option<Value>,
}

impl Said {
    fn of(parts: &[Part]) -> Result<Said, A2AError> {
        let (mut texts, mut data) = (Vec::new(), None);
        for part in parts {
            match &part.content {
                PartContent::Text(text) => texts.push(text.clone()),
                PartContent::Data(_) if data.is_some() => {
                    return Err(A2AError::invalid_params("a message has one data part at most"));
                }
                PartContent::Data(value) => data = Some(value.clone()),
                PartContent::Raw(_) | PartContent::Url(_) => {
                    return Err(A2AError::new(
                        error_code::CONTENT_TYPE_NOT_SUPPORTED,
                        "parts are text or data: files and addresses are not taken",
                    ));
                }
            }
        }
        Ok(Said { text: (!texts.is_empty()).then(|| texts.join("\n")), data })
    }
    /// The input of a skill with this schema: the data, with the text where it belongs.
    fn input(self, schema: Option<&Json>) -> Result<Value, A2AError> {
        let Some(text) = self.text else { return Ok(self.data.unwrap_or_else(|| json!({}))) };
        let schema: Value = schema.and_then(|s| serde_json::from_str(s.text()).ok()).unwrap_or_default();
        if schema["type"] == "string" && self.data.is_none() {
            return Ok(Value::String(text));
        }
        let place = text_member(&schema);
        let mut input = match self.data {
            None => Map::new(),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(A2AError::invalid_params("with text, the data part is an object")),
        };
        let Some(place) = place else {
            return Err(A2AError::invalid_params(
                "this skill wants a data part: its input has no member that a text alone could be for",
            ));
        };
        input.entry(place).or_insert(Value::String(text));
        Ok(Value::Object(input))
    }
}

/// The member that a text goes to: the one that must be there, the one that is text, or one with a usual name.
fn text_member(schema: &Value) -> Option<String> {
    let Some(properties) = schema["properties"].as_object() else { return Some("text".to_owned()) };
    let is_text = |name: &str| {
        let kind = &properties.get(name).unwrap_or(&Value::Null)["type"];
        *kind == "string" || kind.as_array().is_some_and(|kinds| kinds.contains(&"string".into()))
    };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let required: Vec<&str> = required.filter(|name| is_text(name)).collect();
    let texts: Vec<&str> = properties.keys().map(String::as_str).filter(|name| is_text(name)).collect();
    let usual = || TEXTS.into_iter().find(|name| texts.contains(name));
    match (required.as_slice(), texts.as_slice()) {
        ([one], _) | ([], [one]) => Some((*one).to_owned()),
        _ => usual().map(str::to_owned),
    }
}

async fn started(door: &Door, request: &SendMessageRequest, said: Said) -> Result<RunDetail, A2AError> {
    let message = &request.message;
    let of = |metadata: &Option<std::collections::HashMap<String, Value>>| {
        metadata.as_ref()?.get("skill")?.as_str().map(str::to_owned)
    };
    let skill = of(&message.metadata).or_else(|| of(&request.metadata));
    let wish = match (&skill, &said.data) {
        (None, Some(data)) if data.get("definition").is_some() => match door.api.app.doors.definitions {
            true => inline(door, data)?,
            false => {
                return Err(A2AError::unsupported_operation(
                    "this node takes no workflows with messages: `a2a.definitions` is `false`; say which skill is meant in `message.metadata.skill`",
                ));
            }
        },
        _ => {
            let offered = chosen(door, skill.as_deref()).await?;
            let input = said.input(offered.input.as_ref())?;
            offered.wish(&door.api, ("a2a", &door.who), &input).map_err(|problem| refused(&problem))?
        }
    };
    let mut labels = wish.labels;
    labels.push((shown::MESSAGE.to_owned(), message.message_id.clone()));
    labels.extend(message.context_id.clone().map(|context| (shown::CONTEXT.to_owned(), context)));
    // The same message again is the same run, whoever was cut off in between.
    let context = message.context_id.as_deref().unwrap_or_default();
    let of = format!("{}\n{context}\n{}", door.who.submits, message.message_id);
    let idempotency = Some(format!("a2a-{}", Digest::of(of.as_bytes()).hex()).into());
    let wish = Submit { labels, idempotency, ..wish };
    let submitted = door.api.app.executor.submit(wish).await.map_err(|fault| match fault {
        SubmitFault::IdempotencyMismatch { .. } => A2AError::invalid_params(format!(
            "message `{}` has been sent already, with other content; give this one an id of its own",
            message.message_id
        )),
        other => refused(&other.into()),
    })?;
    door.run(&submitted.run.to_string()).await
}

/// A workflow that came with the message.
fn inline(door: &Door, data: &Value) -> Result<Submit, A2AError> {
    let limits = &door.api.app.limits;
    let doc = match &data["definition"] {
        Value::String(text) => {
            Doc::parse(text, limits).map_err(|fault| refused(&unreadable_document(fault)))?
        }
        other => {
            let json = body::json(other.to_string().as_bytes(), limits.json_depth);
            Doc::of_value(json.map_err(|problem| refused(&problem))?.value())
        }
    };
    let input = data.get("input").cloned().unwrap_or_else(|| json!({}));
    let input = body::json(input.to_string().as_bytes(), limits.json_depth);
    let input = input.map_err(|problem| refused(&problem))?;
    Ok(wish(WorkflowChoice::Inline(doc), input, ("a2a", &door.who)))
}

/// The skill that is meant.
async fn chosen(door: &Door, skill: Option<&str>) -> Result<Offered, A2AError> {
    let (api, offer) = (&door.api, &door.api.app.doors.a2a);
    if let Some(skill) = skill
        && let Some(found) = find(api, (offer, &[]), skill).await.map_err(|problem| refused(&problem))?
    {
        return Ok(found);
    }
    let mut all = offered(api, offer, &[]).await.map_err(|problem| refused(&problem))?;
    if skill.is_none() && all.len() == 1 {
        return Ok(all.remove(0));
    }
    let names: Vec<String> = all.iter().take(NAMED).map(|one| format!("`{}`", one.id)).collect();
    let names = match all.len() {
        0 => "none is offered: `a2a.skills` says what is".to_owned(),
        n if n > NAMED => format!("{}, and {} more; the card lists them", names.join(", "), n - NAMED),
        _ => names.join(", "),
    };
    Err(A2AError::invalid_params(match skill {
        Some(skill) => {
            let shown: String = skill.chars().take(100).collect();
            format!("there is no skill `{shown}`; there are {names}")
        }
        None => format!("which skill is meant? Say it in `message.metadata.skill`; there are {names}"),
    }))
}

/// An answer to what a run asks.
async fn answered(door: &Door, id: &str, message: &Message, said: Said) -> Result<RunDetail, A2AError> {
    let detail = door.run(id).await?;
    if message.context_id.as_ref().is_some_and(|context| *context != shown::context(&detail)) {
        let said = format!("run {id} belongs to another conversation than `message.contextId`");
        return Err(A2AError::invalid_params(said));
    }
    if detail.view.finished_at.is_some() {
        return Err(A2AError::unsupported_operation(format!(
            "run {id} has ended and takes no more messages"
        )));
    }
    let mut content = said.data.unwrap_or_else(|| json!({}));
    if let (Value::Object(members), Some(text)) = (&mut content, said.text) {
        let word = text.trim().to_ascii_lowercase();
        members.entry(DECISION).or_insert_with(|| word.into());
    }
    if detail.view.paused.is_some() && content[DECISION] == "resume" {
        return resumed(door, &detail).await;
    }
    let questions = open(&detail, &door.who);
    // A form may have a member of that name.
    let is_of_form = |key: &str| !key.contains('#') && questions.iter().any(|q| q.has_member("question"));
    let asked = content["question"].as_str().filter(|key| !is_of_form(key)).map(str::to_owned);
    if let (Some(_), Some(members)) = (&asked, content.as_object_mut()) {
        members.remove("question");
    }
    // A message that is sent again must not answer the question behind the one that it was for.
    let may_ask_again = questions.iter().any(Question::is_of_failure) || asking_steps(&detail) > 1;
    let question = match &asked {
        Some(key) => questions.into_iter().find(|question| question.key == *key).ok_or_else(|| {
            A2AError::unsupported_operation(format!("the question `{key}` is not open, or not for you"))
        })?,
        None if questions.is_empty() && detail.view.paused.is_some() => {
            return Err(A2AError::invalid_params(format!("run {id} is paused: say `resume`")));
        }
        None if questions.is_empty() => {
            return Err(A2AError::unsupported_operation(format!("run {id} asks you nothing now")));
        }
        None if may_ask_again => {
            let keys: Vec<String> = questions.iter().map(|q| format!("`{}`", q.key)).collect();
            return Err(A2AError::invalid_params(format!(
                "which question is answered? Say it as `question` in a data part: {}",
                keys.join(" or ")
            )));
        }
        None => questions.into_iter().next().ok_or_else(|| A2AError::task_not_found(id))?,
    };
    let decided = question.decide(&door.api, (detail.view.id, &door.who), &content).await;
    decided.map_err(|problem| refused(&problem))?;
    door.run(id).await
}

/// Steps of a run that may ask somebody.
fn asking_steps(detail: &RunDetail) -> usize {
    let steps = detail.plan().steps.iter();
    steps.filter(|step| step.on_failure.is_some() || matches!(step.verb, Verb::Approval(_))).count()
}

/// Lets a run go on, and waits for a moment until it does.
async fn resumed(door: &Door, detail: &RunDetail) -> Result<RunDetail, A2AError> {
    let (run, began) = (detail.view.id, Instant::now());
    let executor = &door.api.app.executor;
    let told = executor.resume(&Tenant::default(), run, &door.who.decides).await;
    told.map_err(|fault| refused(&fault.into()))?;
    loop {
        let now = door.run(&run.to_string()).await?;
        if now.view.paused.is_none() || began.elapsed() > RESUMED_WITHIN {
            return Ok(now);
        }
        tokio::time::sleep(LOOKS.0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_goes_where_it_belongs() {
        let of = |schema: Value| text_member(&schema);
        let text = json!({ "type": "string" });
        assert_eq!(of(Value::Null).as_deref(), Some("text"));
        assert_eq!(
            of(json!({ "properties": { "a": text, "b": text }, "required": ["b"] })).as_deref(),
            Some("b")
        );
        assert_eq!(of(json!({ "properties": { "a": text, "n": {} } })).as_deref(), Some("a"));
        assert_eq!(of(json!({ "properties": { "goal": text, "b": text } })).as_deref(), Some("goal"));
        assert_eq!(of(json!({ "properties": { "a": text, "b": text } })), None);
        assert_eq!(of(json!({ "properties": { "n": { "type": "integer" } } })), None);
        let said = |text: Option<&str>, data: Option<Value>| Said { text: text.map(str::to_owned), data };
        let schema = Json::trusted(r#"{"properties":{"who":{"type":"string"}},"required":["who"]}"#);
        assert_eq!(said(Some("Ada"), None).input(Some(&schema)).unwrap(), json!({ "who": "Ada" }));
        let both = said(Some("Ada"), Some(json!({ "n": 1 }))).input(Some(&schema)).unwrap();
        assert_eq!(both, json!({ "n": 1, "who": "Ada" }));
        let plain = Json::trusted(r#"{"type":"string"}"#);
        assert_eq!(said(Some("Ada"), None).input(Some(&plain)).unwrap(), json!("Ada"));
    }
}
