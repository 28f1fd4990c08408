//! The chat completions of OpenAI and of everything that is compatible with them.

use super::provider::{Read, count};
use super::{Completion, Finish, Message, ModelCall, Tokens, ToolChoice, ToolUse};
use serde_json::{Map, Value, json};

/// The body of a request.
pub(super) fn body(model: &str, call: &ModelCall, most_tokens: &str) -> Value {
    let settings = &call.settings;
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("messages".into(), call.thread().map(message).collect());
    if !settings.tools.is_empty() {
        let tools = settings.tools.iter().map(|tool| {
            json!({ "type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": value(&tool.parameters),
            } })
        });
        body.insert("tools".into(), tools.collect());
        body.insert(
            "tool_choice".into(),
            match &settings.tool_choice {
                ToolChoice::Auto => "auto".into(),
                ToolChoice::Never => "none".into(),
                ToolChoice::Required => "required".into(),
                ToolChoice::Named(name) => json!({ "type": "function", "function": { "name": name } }),
            },
        );
    }
    if let Some(schema) = &settings.output_schema {
        let schema = json!({ "name": "answer", "schema": value(schema) });
        body.insert("response_format".into(), json!({ "type": "json_schema", "json_schema": schema }));
    }
    if let Some(temperature) = settings.temperature {
        body.insert("temperature".into(), temperature.into());
    }
    if let Some(most) = settings.max_tokens {
        body.insert(most_tokens.into(), most.into());
    }
    Value::Object(body)
}

fn value(json: &crate::json::Json) -> Value {
    serde_json::from_str(json.text()).unwrap_or_default()
}

fn message(message: &Message) -> Value {
    match message {
        Message::System { text } => json!({ "role": "system", "content": text }),
        Message::User { text } => json!({ "role": "user", "content": text }),
        Message::Assistant { text, calls } if calls.is_empty() => {
            json!({ "role": "assistant", "content": text })
        }
        Message::Assistant { text, calls } => {
            let calls: Vec<Value> = calls
                .iter()
                .map(|call| {
                    json!({ "id": call.id, "type": "function", "function": {
                        "name": call.name, "arguments": call.arguments,
                    } })
                })
                .collect();
            json!({ "role": "assistant", "content": text, "tool_calls": calls })
        }
        Message::Tool { id, text, .. } => json!({ "role": "tool", "tool_call_id": id, "content": text }),
    }
}

/// Reads an answer.
pub(super) fn answer(body: &Value) -> Result<Completion, String> {
    let choice = body.pointer("/choices/0").ok_or("it has no choice")?;
    let message = choice.get("message").ok_or("its choice has no message")?;
    let refusal = message.get("refusal").and_then(Value::as_str);
    let text = match message.get("content") {
        None | Some(Value::Null) => refusal.map(str::to_owned),
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => return Err("the content of its message is no text".to_owned()),
    };
    let wanted = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let calls = wanted.iter().map(|call| {
        let of = |path: &str| call.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let (id, name) = (of("/id"), of("/function/name"));
        let arguments = of("/function/arguments").unwrap_or_default();
        Ok(ToolUse {
            id: id.ok_or("a call of a tool has no id")?,
            name: name.ok_or("a call of a tool has no name")?,
            arguments,
        })
    });
    let calls = calls.collect::<Result<Vec<_>, String>>()?;
    let finish = match choice.get("finish_reason").and_then(Value::as_str) {
        _ if !calls.is_empty() => Finish::ToolCalls,
        Some("length") => Finish::Length,
        Some("content_filter") => Finish::Filtered,
        _ if refusal.is_some() => Finish::Filtered,
        _ => Finish::Stop,
    };
    let tokens = Tokens {
        input: count(body, "/usage/prompt_tokens"),
        output: count(body, "/usage/completion_tokens"),
        cached: count(body, "/usage/prompt_tokens_details/cached_tokens"),
    };
    let model = body.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Read { text, calls, finish, tokens, model }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;
    use crate::model::{Settings, Thread, ToolSpec};

    #[test]
    fn a_call_as_it_goes_out() {
        let mut thread = Thread::default();
        thread.append(Message::System { text: "be brief".into() });
        thread.append(Message::User { text: "add".into() });
        let _ = thread.call(Settings::default());
        let wanted = ToolUse { id: "c1".into(), name: "sum".into(), arguments: "{\"a\":1}".into() };
        thread.append(Message::Assistant { text: None, calls: vec![wanted] });
        thread.append(Message::Tool { id: "c1".into(), text: "3".into(), failed: false });
        let settings = Settings {
            tools: vec![ToolSpec {
                name: "sum".into(),
                description: "adds".into(),
                parameters: Json::trusted(r#"{"type":"object"}"#),
            }],
            tool_choice: ToolChoice::Named("sum".into()),
            output_schema: Some(Json::trusted(r#"{"type":"array"}"#)),
            temperature: Some(0.5),
            max_tokens: Some(9),
            ..Settings::default()
        };
        let sent = body("m", &thread.call(settings), "max_tokens");
        let expected = json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "be brief" },
                { "role": "user", "content": "add" },
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "c1", "type": "function", "function": { "name": "sum", "arguments": "{\"a\":1}" } },
                ] },
                { "role": "tool", "tool_call_id": "c1", "content": "3" },
            ],
            "tools": [{ "type": "function", "function": {
                "name": "sum", "description": "adds", "parameters": { "type": "object" },
            } }],
            "tool_choice": { "type": "function", "function": { "name": "sum" } },
            "response_format": { "type": "json_schema", "json_schema": { "name": "answer", "schema": { "type": "array" } } },
            "temperature": 0.5,
            "max_tokens": 9,
        });
        assert_eq!(sent, expected);
    }
    #[test]
    fn an_answer_as_it_comes() {
        let body = json!({
            "model": "m-1", "choices": [{ "finish_reason": "tool_calls", "message": { "content": null, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "sum", "arguments": "{\"a\":" } },
            ] } }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": { "cached_tokens": 2 } },
        });
        let read = answer(&body).unwrap();
        assert_eq!((read.text, read.finish, read.model.as_str()), (None, Finish::ToolCalls, "m-1"));
        assert_eq!(read.calls[0].arguments, "{\"a\":", "it is not for us to mend");
        assert_eq!(read.tokens, Tokens { input: 7, output: 3, cached: 2 });
    }
}
