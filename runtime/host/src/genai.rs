//! What spans of an agent's calls are called by the GenAI conventions of OpenTelemetry (repository
//! `open-telemetry/semantic-conventions-genai`, stability "Development"), so that a new version of them is one change.
//! What is said to a model and what it says is in no span: the conventions make that a choice, and the call log has it.

use heddle_core::model::Completion;
use heddle_core::outcome::Failure;
use tracing::Span;
use tracing::field::Empty;

/// A call of a model; the default one where none is named.
pub(crate) fn chat(model: Option<&str>, index: u64) -> Span {
    tracing::debug_span!(
        "host_call",
        capability = "model",
        model,
        index,
        gen_ai.operation.name = "chat",
        gen_ai.request.model = model,
        gen_ai.provider.name = Empty,
        gen_ai.response.model = Empty,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
        gen_ai.usage.cache_read.input_tokens = Empty,
        error.type = Empty,
    )
}

/// Notes what came of it.
pub(crate) fn answered(span: &Span, answer: &Result<Completion, Failure>) {
    match answer {
        Ok(completion) => {
            span.record("gen_ai.provider.name", &*completion.provider);
            span.record("gen_ai.response.model", &*completion.model);
            span.record("gen_ai.usage.input_tokens", completion.tokens.input);
            span.record("gen_ai.usage.output_tokens", completion.tokens.output);
            span.record("gen_ai.usage.cache_read.input_tokens", completion.tokens.cached);
        }
        Err(failure) => {
            span.record("error.type", failure.kind.word());
        }
    }
}

/// A call of a tool.
pub(crate) fn execute_tool(name: &str, index: u64) -> Span {
    tracing::debug_span!(
        "host_call",
        capability = "tools",
        name,
        index,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = name,
    )
}
