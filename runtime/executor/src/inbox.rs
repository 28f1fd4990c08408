//! What outsiders may tell a run, as it lies in the run's inbox.

use heddle_core::json::Json;
use heddle_core::run::Input;
use heddle_core::value::Value;
use std::sync::Arc;

/// The message that asks for a run to be cancelled.
pub(crate) fn cancel(by: &str, reason: &str) -> Json {
    Json::from_value(Value::map([(
        "cancel",
        Value::map([("by", Value::text(by)), ("reason", Value::text(reason))]),
    )]))
}

/// What a message means to the core.
pub(crate) fn input_of(body: &Json) -> Option<Input> {
    let cancel = body.value().get("cancel")?;
    let text = |key: &str| cancel.get(key).and_then(Value::as_str).map(Arc::<str>::from).unwrap_or_default();
    Some(Input::Cancel { by: text("by"), reason: text("reason") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_means_what_was_sent() {
        let input = input_of(&cancel("ana", "wrong file"));
        assert_eq!(input, Some(Input::Cancel { by: "ana".into(), reason: "wrong file".into() }));
        assert_eq!(input_of(&Json::null()), None);
    }
}
