//! What goes over the wire: types of its own, so that a change inside is not a change of the API by accident.
//! Members are camelCase; times are RFC 3339 with milliseconds; an absent member means that there is nothing to say.

pub(crate) mod catalog;
pub(crate) mod parent;
pub(crate) mod parts;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod spent;
pub(crate) mod trigger;
pub(crate) mod webhook;
pub(crate) mod workflow;

use heddle_core::json::Json;
use heddle_core::outcome::Failure;
use heddle_core::run::view::ValueView;
use serde::Serialize;
use utoipa::ToSchema;

/// A value that is too large to stand here: fetch it from `/v1/values/{digest}`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ValueRef {
    /// SHA-256 of its canonical JSON.
    #[schema(pattern = "^sha256:[0-9a-f]{64}$")]
    pub digest: String,
    /// Bytes of its canonical JSON.
    pub size_bytes: u64,
}

/// A value, or where it is.
pub(super) fn value(view: Option<ValueView>) -> (Option<Json>, Option<ValueRef>) {
    match view {
        None => (None, None),
        Some(ValueView::Inline(json)) => (Some(json), None),
        Some(ValueView::Stored(digest, size)) => {
            (None, Some(ValueRef { digest: digest.to_string(), size_bytes: size }))
        }
    }
}

/// Why something failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Failure)]
pub(crate) struct FailureDoc {
    /// The kind, from a closed list; `/docs/errors/{kind}` explains it.
    pub kind: String,
    /// A finer word: the plugin's own code, or a trap's sub-code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// One sentence for a person.
    pub message: String,
    /// Whether trying again may help.
    pub retryable: bool,
    /// Milliseconds before which a try is useless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What the plugin added.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Json>,
}

impl From<Failure> for FailureDoc {
    fn from(failure: Failure) -> FailureDoc {
        FailureDoc {
            kind: failure.kind.word().to_owned(),
            code: failure.code,
            message: failure.message,
            retryable: failure.retryable,
            retry_after_ms: failure.retry_after_ms,
            data: failure.data,
        }
    }
}
