//! What calls of language models cost, as the API shows it.

use heddle_core::outcome::Spent;
use serde::Serialize;
use utoipa::ToSchema;

/// What calls of language models cost.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Spent)]
pub(crate) struct SpentDoc {
    /// How many there were.
    pub model_calls: u64,
    /// Tokens that were read.
    pub input_tokens: u64,
    /// Tokens that were written.
    pub output_tokens: u64,
    /// Millionths of the operator's currency, by their prices.
    pub cost_micros: u64,
}

impl SpentDoc {
    /// Nothing where nothing was spent.
    pub(crate) fn of(spent: Spent) -> Option<SpentDoc> {
        let Spent { model_calls, input_tokens, output_tokens, cost_micros } = spent;
        (model_calls > 0).then_some(SpentDoc { model_calls, input_tokens, output_tokens, cost_micros })
    }
}
