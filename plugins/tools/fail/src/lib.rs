//! A tool that goes wrong on request, in every way that a plugin can: by value, by trap, and by running into a limit.
//! Retry policies, fallbacks and limits are tried against it.

use std::time::Duration;

use heddle_sdk::prelude::*;

/// How to fail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// The kind of failure.
    #[serde(default)]
    kind: Kind,
    /// The code of a failure by value.
    #[serde(default = "default_code")]
    code: String,
    /// The message of a failure by value.
    #[serde(default = "default_message")]
    message: String,
    /// The attempt that succeeds, counted from 1; the ones before it fail. Left out: all fail.
    until_attempt: Option<u32>,
    /// Milliseconds to come back after, for `rate-limited`.
    #[serde(default = "default_retry_after_ms")]
    retry_after_ms: u64,
    /// Given back by the attempt that succeeds.
    #[serde(default)]
    value: Option<Json>,
}

/// What happens to an attempt that fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// Ends with a permanent failure.
    Permanent,
    /// Ends with a retryable failure.
    #[default]
    Retryable,
    /// Ends with a request to come back later.
    RateLimited,
    /// Panics, which is a trap.
    Trap,
    /// Never ends: runs out of fuel.
    Loop,
    /// Sleeps until its deadline.
    Hang,
    /// Leaves through `exit(3)`.
    Exit,
    /// Allocates until the memory limit.
    Memory,
    /// Calls itself until the stack is full.
    Stack,
    /// Answers with 8 MiB of output.
    Output,
}

/// The answer of the attempt that succeeds.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    /// The attempt that succeeded.
    attempt: u32,
    /// What was to be given back.
    value: Option<Json>,
}

/// Fail on request.
///
/// Fails in the way that it is asked to, until the attempt that is to succeed. For trying out retries, fallbacks and limits.
#[heddle_sdk::tool(provides = ["sample.answer"])]
fn fail(input: Input, ctx: &Context) -> Result<Output, Failure> {
    if input.until_attempt.is_some_and(|until| ctx.attempt >= until) {
        return Ok(Output { attempt: ctx.attempt, value: input.value });
    }
    match input.kind {
        Kind::Permanent => Err(Failure::permanent(input.code, input.message)),
        Kind::Retryable => Err(Failure::retryable(input.code, input.message)),
        Kind::RateLimited => {
            Err(Failure::rate_limited(Duration::from_millis(input.retry_after_ms), input.code, input.message))
        }
        Kind::Trap => panic!("{}", input.message),
        Kind::Loop => spin(),
        Kind::Hang => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        Kind::Exit => std::process::exit(3),
        Kind::Memory => hoard(),
        Kind::Stack => Ok(Output { attempt: dig(ctx.attempt), value: None }),
        Kind::Output => {
            let text = "x".repeat(8 * 1024 * 1024);
            Ok(Output { attempt: ctx.attempt, value: Some(Json::write(&text)?) })
        }
    }
}

/// `black_box` keeps the optimiser from seeing that nothing comes of it.
fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = std::hint::black_box(count.wrapping_add(1));
    }
}

fn hoard() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1024 * 1024]));
    }
}

#[expect(unconditional_recursion, reason = "that is what was asked for")]
fn dig(depth: u32) -> u32 {
    let frame = std::hint::black_box([depth; 64]);
    dig(frame[0].wrapping_add(1)).wrapping_add(frame[63])
}

fn default_code() -> String {
    "asked_to_fail".to_owned()
}

fn default_message() -> String {
    "failed, as asked".to_owned()
}

fn default_retry_after_ms() -> u64 {
    100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(input: Value, attempt: u32) -> Result<Output, Failure> {
        let mut ctx = heddle_sdk::testing::context();
        ctx.attempt = attempt;
        fail(heddle_sdk::serde_json::from_value(input).expect("an input"), &ctx)
    }

    #[test]
    fn fails_by_value_as_asked() {
        let failure = run(json!({ "kind": "permanent", "code": "nope", "message": "no" }), 1);
        assert_eq!(failure.expect_err("permanent"), Failure::permanent("nope", "no"));
        let failure = run(json!({ "kind": "rate-limited", "retryAfterMs": 250 }), 1).expect_err("limited");
        assert!(matches!(failure, Failure::RateLimited { retry_after_ms: 250, .. }));
    }

    #[test]
    fn the_named_attempt_succeeds() {
        let input = json!({ "kind": "retryable", "untilAttempt": 3, "value": "ok" });
        assert!(matches!(run(input.clone(), 2), Err(Failure::Retryable(_))));
        assert_eq!(run(input, 3).expect("third time").attempt, 3);
    }

    #[test]
    #[should_panic(expected = "bang")]
    fn a_trap_is_a_panic() {
        let _ = run(json!({ "kind": "trap", "message": "bang" }), 1);
    }
}
