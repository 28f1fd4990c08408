//! What outsiders may tell a run, as it lies in the run's inbox.

use heddle_core::json::Json;
use heddle_core::run::Input;
use heddle_core::run::event::Payload;
use heddle_core::value::Value;
use std::sync::Arc;

/// The message that asks for a run to be cancelled.
pub(crate) fn cancel(by: &str, reason: &str) -> Json {
    Json::from_value(Value::map([(
        "cancel",
        Value::map([("by", Value::text(by)), ("reason", Value::text(reason))]),
    )]))
}

/// The message that signals a run.
pub(crate) fn signal(name: &str, data: &Json, by: &str) -> Json {
    let said = [("name", Value::text(name)), ("by", Value::text(by)), ("data", data.value().clone())];
    Json::from_value(Value::map([("signal", Value::map(said))]))
}

/// What a message means to the core.
pub(crate) fn input_of(body: &Json) -> Option<Input> {
    let text = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(Arc::<str>::from);
    if let Some(cancel) = body.value().get("cancel") {
        let (by, reason) = (text(cancel, "by"), text(cancel, "reason"));
        return Some(Input::Cancel { by: by.unwrap_or_default(), reason: reason.unwrap_or_default() });
    }
    let signal = body.value().get("signal")?;
    Some(Input::Signal {
        name: text(signal, "name")?,
        data: Payload::Inline(Json::from_value(signal.get("data").cloned().unwrap_or_default())),
        by: text(signal, "by").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_means_what_was_sent() {
        let input = input_of(&cancel("ana", "wrong file"));
        assert_eq!(input, Some(Input::Cancel { by: "ana".into(), reason: "wrong file".into() }));
        let data = Json::trusted(r#"{"id":7}"#);
        let sent = input_of(&signal("paid", &data, "ana"));
        let wanted = Input::Signal { name: "paid".into(), data: Payload::Inline(data), by: "ana".into() };
        assert_eq!(sent, Some(wanted));
        assert_eq!(input_of(&Json::null()), None);
    }
}
