//! The smallest tool: for tests, and to see an attempt that takes a while.

use std::time::Duration;

use heddle_sdk::prelude::*;

/// A delay over this is refused, so that a slip of the keyboard does not hold a slot for an hour.
const DELAY_MAX_MS: u64 = 10 * 60 * 1000;

/// What to give back, and when.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// Any value.
    value: Json,
    /// Milliseconds to wait before the answer.
    #[serde(default)]
    #[schemars(range(max = DELAY_MAX_MS))]
    delay_ms: u64,
    /// Milliseconds from one report of progress to the next while it waits; without it there is none.
    #[serde(default)]
    #[schemars(range(min = 1))]
    report_ms: Option<u64>,
}

/// What was given.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Output {
    /// The value, unchanged.
    value: Json,
    /// Milliseconds that passed between the call and the answer, by the host's clock.
    waited_ms: u64,
}

/// Echo.
///
/// Gives back the value that it gets, after an optional delay in milliseconds.
#[heddle_sdk::tool(provides = ["sample.answer"])]
fn echo(input: Input, ctx: &Context) -> Result<Output, Failure> {
    if input.delay_ms > DELAY_MAX_MS {
        let message = format!("a delay of {} ms is over {DELAY_MAX_MS} ms; wait less", input.delay_ms);
        return Err(Failure::permanent("delay_too_long", message));
    }
    let start = clock::monotonic();
    if input.delay_ms > 0 {
        info!("waiting for {} ms", input.delay_ms);
        let end = start + Duration::from_millis(input.delay_ms);
        while let Some(left) = end.checked_sub(clock::monotonic()).filter(|left| !left.is_zero()) {
            let percent = 100 - left.as_millis() * 100 / u128::from(input.delay_ms);
            match input.report_ms {
                Some(every) => {
                    ctx.progress("waiting", u8::try_from(percent).ok(), "");
                    std::thread::sleep(left.min(Duration::from_millis(every.max(1))));
                }
                None => std::thread::sleep(left),
            }
        }
    }
    let waited = clock::monotonic().saturating_sub(start);
    Ok(Output { value: input.value, waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: &str) -> Result<Output, Failure> {
        echo(heddle_sdk::serde_json::from_str(input).expect("an input"), &heddle_sdk::testing::context())
    }

    #[test]
    fn the_value_comes_back_after_the_delay() {
        let output = run(r#"{"value":{"n":1.0},"delayMs":5,"reportMs":2}"#).expect("an answer");
        assert_eq!(output.value.text(), r#"{"n":1.0}"#);
        assert!(output.waited_ms >= 5, "waited {} ms", output.waited_ms);
    }

    #[test]
    fn an_hour_is_refused() {
        assert_eq!(run(r#"{"value":1,"delayMs":3600000}"#).expect_err("too long").code(), "delay_too_long");
    }
}
