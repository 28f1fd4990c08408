//! The messages of Anthropic. System messages stand apart, what tools gave is part of what the user says, and two messages
//! of the same side are one.

use super::provider::{Read, count};
use super::{Completion, Finish, Message, ModelCall, Tokens, ToolChoice, ToolUse};
use crate::json::Json;
use serde_json::{Map, Value, json};

/// The version of the interface, as its header names it.
pub(super) const VERSION: &str = "2023-06-01";
/// What an answer may have where nobody says: the interface wants a number.
const MAX_TOKENS: u32 = 4_096;
/// The tool by which an answer of a given form is had.
const ANSWER: &str = "heddle_answer";

/// The body of a request.
pub(super) fn body(model: &str, call: &ModelCall) -> Value {
    let settings = &call.settings;
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("max_tokens".into(), settings.max_tokens.unwrap_or(MAX_TOKENS).into());
    let system: Vec<&str> = call
        .thread()
        .filter_map(|message| match message {
            Message::System { text } => Some(&**text),
            _ => None,
        })
        .collect();
    if !system.is_empty() {
        body.insert("system".into(), system.join("\n\n").into());
    }
    body.insert("messages".into(), messages(call));
    let mut tools: Vec<Value> = settings
        .tools
        .iter()
        .map(|tool| json!({ "name": tool.name, "description": tool.description, "input_schema": value(&tool.parameters) }))
        .collect();
    let mut choice = match &settings.tool_choice {
        _ if tools.is_empty() => None,
        ToolChoice::Auto => Some(json!({ "type": "auto" })),
        ToolChoice::Never => Some(json!({ "type": "none" })),
        ToolChoice::Required => Some(json!({ "type": "any" })),
        ToolChoice::Named(name) => Some(json!({ "type": "tool", "name": name })),
    };
    if let Some(schema) = &settings.output_schema {
        let description = "Gives the answer, in its form.";
        tools.push(json!({ "name": ANSWER, "description": description, "input_schema": value(schema) }));
        choice = Some(match &settings.tool_choice {
            ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
            ToolChoice::Auto | ToolChoice::Required if tools.len() > 1 => json!({ "type": "any" }),
            _ => json!({ "type": "tool", "name": ANSWER }),
        });
    }
    if !tools.is_empty() {
        body.insert("tools".into(), tools.into());
    }
    if let Some(choice) = choice {
        body.insert("tool_choice".into(), choice);
    }
    if let Some(temperature) = settings.temperature {
        body.insert("temperature".into(), temperature.into());
    }
    Value::Object(body)
}

fn value(json: &Json) -> Value {
    serde_json::from_str(json.text()).unwrap_or_default()
}

fn messages(call: &ModelCall) -> Value {
    let mut sides: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in call.thread() {
        let (side, parts): (&str, Vec<Value>) = match message {
            Message::System { .. } => continue,
            Message::User { text } => ("user", vec![json!({ "type": "text", "text": text })]),
            Message::Tool { id, text, failed } => (
                "user",
                vec![
                    json!({ "type": "tool_result", "tool_use_id": id, "content": text, "is_error": failed }),
                ],
            ),
            Message::Assistant { text, calls } => {
                let text = text.iter().filter(|text| !text.is_empty());
                let text = text.map(|text| json!({ "type": "text", "text": text }));
                let calls = calls.iter().map(|call| {
                    let input = serde_json::from_str(&call.arguments).ok().filter(Value::is_object);
                    let input = input.unwrap_or_else(|| json!({}));
                    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input })
                });
                ("assistant", text.chain(calls).collect())
            }
        };
        if parts.is_empty() {
            continue;
        }
        match sides.last_mut() {
            Some((last, all)) if *last == side => all.extend(parts),
            _ => sides.push((side, parts)),
        }
    }
    sides.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

/// Reads an answer.
pub(super) fn answer(body: &Value) -> Result<Completion, String> {
    let parts = body.get("content").and_then(Value::as_array).ok_or("it has no content")?;
    let (mut text, mut calls) = (None::<String>, Vec::new());
    for part in parts {
        let of = |name: &str| part.get(name).and_then(Value::as_str);
        match of("type") {
            Some("text") => {
                text.get_or_insert_default().push_str(of("text").ok_or("a part of it has no text")?);
            }
            Some("tool_use") => {
                let input = part.get("input").map(Value::to_string).unwrap_or_default();
                let (id, name) = (of("id").unwrap_or_default(), of("name").ok_or("a tool has no name")?);
                if name == ANSWER {
                    text = Some(input);
                } else {
                    calls.push(ToolUse { id: id.to_owned(), name: name.to_owned(), arguments: input });
                }
            }
            _ => {}
        }
    }
    let finish = match body.get("stop_reason").and_then(Value::as_str) {
        _ if !calls.is_empty() => Finish::ToolCalls,
        Some("max_tokens") => Finish::Length,
        Some("refusal") => Finish::Filtered,
        _ => Finish::Stop,
    };
    let cached = count(body, "/usage/cache_read_input_tokens");
    let tokens = Tokens {
        input: count(body, "/usage/input_tokens")
            + cached
            + count(body, "/usage/cache_creation_input_tokens"),
        output: count(body, "/usage/output_tokens"),
        cached,
    };
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Read { text, calls, finish, tokens, model }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Settings, Thread, ToolSpec};

    #[test]
    fn a_call_as_it_goes_out() {
        let mut thread = Thread::default();
        thread.append(Message::System { text: "be brief".into() });
        thread.append(Message::User { text: "add".into() });
        let wanted = |id: &str| ToolUse { id: id.into(), name: "sum".into(), arguments: "{\"a\":1}".into() };
        thread.append(Message::Assistant {
            text: Some("well".into()),
            calls: vec![wanted("c1"), wanted("c2")],
        });
        thread.append(Message::Tool { id: "c1".into(), text: "3".into(), failed: false });
        thread.append(Message::Tool { id: "c2".into(), text: "no".into(), failed: true });
        let parameters = Json::trusted(r#"{"type":"object"}"#);
        let tools = vec![ToolSpec { name: "sum".into(), description: "adds".into(), parameters }];
        let settings = Settings { tools, ..Settings::default() };
        let expected = json!({
            "model": "m", "max_tokens": 4096, "system": "be brief",
            "messages": [
                { "role": "user", "content": [{ "type": "text", "text": "add" }] },
                { "role": "assistant", "content": [
                    { "type": "text", "text": "well" },
                    { "type": "tool_use", "id": "c1", "name": "sum", "input": { "a": 1 } },
                    { "type": "tool_use", "id": "c2", "name": "sum", "input": { "a": 1 } },
                ] },
                { "role": "user", "content": [
                    { "type": "tool_result", "tool_use_id": "c1", "content": "3", "is_error": false },
                    { "type": "tool_result", "tool_use_id": "c2", "content": "no", "is_error": true },
                ] },
            ],
            "tools": [{ "name": "sum", "description": "adds", "input_schema": { "type": "object" } }],
            "tool_choice": { "type": "auto" },
        });
        assert_eq!(body("m", &thread.call(settings)), expected);
    }
    #[test]
    fn an_answer_as_it_comes() {
        let said = json!({
            "model": "m-1", "stop_reason": "tool_use",
            "content": [{ "type": "text", "text": "so" }, { "type": "tool_use", "id": "c1", "name": "sum", "input": { "a": 1 } }],
            "usage": { "input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1 },
        });
        let read = answer(&said).unwrap();
        assert_eq!((read.text.as_deref(), read.finish), (Some("so"), Finish::ToolCalls));
        assert_eq!(
            read.calls,
            [ToolUse { id: "c1".into(), name: "sum".into(), arguments: "{\"a\":1}".into() }]
        );
        assert_eq!(read.tokens, Tokens { input: 10, output: 3, cached: 2 });
        let formed =
            json!({ "content": [{ "type": "tool_use", "id": "c", "name": "heddle_answer", "input": [1] }] });
        let read = answer(&formed).unwrap();
        assert_eq!((read.text.as_deref(), read.calls.len(), read.finish), (Some("[1]"), 0, Finish::Stop));
    }
}
