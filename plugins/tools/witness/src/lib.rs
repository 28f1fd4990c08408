//! A tool whose effect can be seen from outside: each attempt leaves a line in the node's log before it does anything
//! else. A line that was written stays, whatever becomes of the process, so whoever kills a node can compare what was
//! done with what the journals say.

use std::time::Duration;

use heddle_sdk::prelude::*;

/// A delay over this is refused, so that a slip of the keyboard does not hold a slot for an hour.
const DELAY_MAX_MS: u64 = 10 * 60 * 1000;

/// What to give back, when, and by which attempt.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// Given back.
    #[serde(default)]
    value: Option<Json>,
    /// Milliseconds between the line and the end.
    #[serde(default)]
    #[schemars(range(max = DELAY_MAX_MS))]
    delay_ms: u64,
    /// The attempt that succeeds, counted from 1; those before it fail and may be tried again. Left out: the first.
    succeeds_at: Option<u32>,
}

/// The answer of the attempt that succeeds.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// The attempt.
    attempt: u32,
    /// What was to be given back.
    value: Option<Json>,
}

/// Leave a line in the log.
///
/// Writes who it is (`witness RUN STEP ITEM ATTEMPT KEY`, with `-` where there is no item) to the node's log, waits, and ends as it is told. For tests that compare what was done with what was recorded.
#[heddle_sdk::tool]
fn witness(input: Input, ctx: &Context) -> Result<Output, Failure> {
    if input.delay_ms > DELAY_MAX_MS {
        let message = format!("a delay of {} ms is over {DELAY_MAX_MS} ms; wait less", input.delay_ms);
        return Err(Failure::permanent("delay_too_long", message));
    }
    let item = ctx.item.map_or_else(|| "-".to_owned(), |item| item.to_string());
    info!("witness {} {} {item} {} {}", ctx.run, ctx.step, ctx.attempt, ctx.idempotency_key);
    if input.delay_ms > 0 {
        std::thread::sleep(Duration::from_millis(input.delay_ms));
    }
    match input.succeeds_at.filter(|at| ctx.attempt < *at) {
        Some(at) => Err(Failure::retryable("not_yet", format!("attempt {at} is the one that succeeds"))),
        None => Ok(Output { attempt: ctx.attempt, value: input.value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value, attempt: u32) -> Result<Output, Failure> {
        let mut ctx = heddle_sdk::testing::context();
        ctx.attempt = attempt;
        witness(heddle_sdk::serde_json::from_value(input).expect("an input"), &ctx)
    }

    #[test]
    fn the_named_attempt_succeeds() {
        let input = json!({ "succeedsAt": 3, "value": 7 });
        assert!(matches!(run(input.clone(), 2), Err(Failure::Retryable(_))));
        let output = run(input, 3).expect("the third time");
        assert_eq!((output.attempt, output.value.expect("a value").text()), (3, "7"));
        assert!(run(json!({}), 1).expect("at once").value.is_none());
    }

    #[test]
    fn an_hour_is_refused() {
        assert_eq!(run(json!({ "delayMs": 3600000 }), 1).expect_err("too long").code(), "delay_too_long");
    }
}
