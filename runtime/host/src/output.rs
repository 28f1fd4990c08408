//! What comes out of a guest: size first, then form, then the schema. Nothing of it is believed before that.

use crate::bindings::{Detail, Failure as WitFailure};
use heddle_core::json::Json;
use heddle_core::outcome::{Failure, FailureKind};
use heddle_core::schema::{Mismatch, Schema};
use heddle_core::value::{Map, Value};
use std::sync::Arc;

const CODE_BYTES: usize = 64;
const MESSAGE_BYTES: usize = 8 << 10;
const DATA_BYTES: usize = 64 << 10;
/// A day: the host waits no longer for a plugin's sake.
const MAX_RETRY_AFTER_MS: u64 = 24 * 60 * 60 * 1000;

/// An output that may be recorded, or why it may not.
///
/// # Errors
/// `output_too_large` and `invalid_output`.
pub fn check_output(
    text: &str,
    max_bytes: u64,
    levels: u64,
    schema: Option<&Schema>,
) -> Result<Json, Failure> {
    if text.len() as u64 > max_bytes {
        let message = format!(
            "the output has {} bytes; `output_bytes` is {max_bytes}; return less, or a reference",
            text.len()
        );
        return Err(Failure::new(FailureKind::OutputTooLarge, message));
    }
    let output = Json::parse_within(text.as_bytes(), levels).map_err(|fault| {
        Failure::new(FailureKind::InvalidOutput, format!("the output cannot be used: {fault}"))
    })?;
    if let Some(schema) = schema {
        schema.check(&output).map_err(|mismatches| {
            mismatch(
                FailureKind::InvalidOutput,
                "the output does not match the plugin's output schema",
                &mismatches,
            )
        })?;
    }
    Ok(output)
}

/// Checks an input against the plugin's schema, before there is a sandbox.
///
/// # Errors
/// `invalid_input`.
pub fn check_input(input: &Json, max_bytes: u64, schema: &Schema) -> Result<(), Failure> {
    if input.size() as u64 > max_bytes {
        let message = format!(
            "the input has {} bytes; `limits.input_bytes` is {max_bytes}; pass a reference",
            input.size()
        );
        return Err(Failure::new(FailureKind::InvalidInput, message));
    }
    schema.check(input).map_err(|mismatches| {
        mismatch(FailureKind::InvalidInput, "the input does not match the plugin's input schema", &mismatches)
    })
}

/// The first places in the sentence, all of them in the data, each by its JSON pointer.
fn mismatch(kind: FailureKind, sentence: &str, mismatches: &[Mismatch]) -> Failure {
    let mut said: Vec<String> = mismatches.iter().take(5).map(ToString::to_string).collect();
    if mismatches.len() > said.len() {
        said.push(format!("and {} more", mismatches.len() - said.len()));
    }
    let places = mismatches.iter().map(|mismatch| Value::text(mismatch.pointer.as_str())).collect();
    let mut data = Map::new();
    data.insert("pointers".into(), Value::list(places));
    let mut failure =
        Failure::new(kind, format!("{sentence}: {}", said.join("; "))).with_code("schema_mismatch");
    failure.data = Some(Json::from_value(Value::Map(Arc::new(data))));
    failure
}

/// A failure that the plugin returned, within the bounds of the contract.
pub(crate) fn guest_failure(failure: WitFailure) -> Failure {
    let (retryable, retry_after_ms, detail) = match failure {
        WitFailure::Retryable(detail) => (true, None, detail),
        WitFailure::Permanent(detail) => (false, None, detail),
        WitFailure::RateLimited(later) => {
            (true, Some(later.retry_after_ms.min(MAX_RETRY_AFTER_MS)), later.detail)
        }
    };
    let Detail { code, message, data } = detail;
    let data =
        data.filter(|data| data.len() <= DATA_BYTES).and_then(|data| Json::parse(data.as_bytes()).ok());
    Failure {
        kind: FailureKind::GuestError,
        code: Some(cut(code, CODE_BYTES)).filter(|code| !code.is_empty()),
        message: cut(message, MESSAGE_BYTES),
        retryable,
        retry_after_ms,
        data,
    }
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
    }
    text
}
