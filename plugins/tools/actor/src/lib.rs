//! A tool that plays the part of any other: what each attempt of each step does stands in a script. Workflows are tried
//! with it before their tools exist, and the stories of this repository are told with it.

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_sdk::prelude::*;

/// A delay over this is refused, so that a slip of the keyboard does not hold a slot for an hour.
const TAKES_MAX_MS: u64 = 10 * 60 * 1000;

/// What the tool would get, and what it does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Input {
    /// What the tool is given; an attempt that says nothing else gives it back.
    input: Json,
    /// By step, or `step/item`: what its attempts do, one after another; the last does for all that follow.
    #[serde(default)]
    script: BTreeMap<String, Vec<Act>>,
}

/// What an attempt does.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Act {
    /// Milliseconds that it takes.
    #[serde(default)]
    #[schemars(range(max = TAKES_MAX_MS))]
    takes_ms: u64,
    /// How it ends.
    #[serde(default)]
    ends: Ends,
    /// What it gives, where it ends with `output`.
    #[serde(default)]
    output: Option<Json>,
    /// What a failure says.
    #[serde(default)]
    message: String,
    /// Milliseconds to come back after, for `rate-limited`.
    #[serde(default)]
    retry_after_ms: u64,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Ends {
    /// With what it was given.
    #[default]
    Echo,
    /// With its `output`.
    Output,
    /// With a failure that no further attempt would change.
    Permanent,
    /// With a failure that may be tried again.
    Retryable,
    /// With a request to come back later.
    RateLimited,
    /// It panics.
    Trap,
}

/// The part of any tool.
///
/// Does what its script says for this attempt of this step: takes its time, gives back its input or an output, fails. For trying out workflows before their tools exist.
#[heddle_sdk::tool]
fn actor(input: Input, ctx: &Context) -> Result<Json, Failure> {
    let Some(act) = act(&input.script, ctx) else { return Ok(input.input) };
    if act.takes_ms > TAKES_MAX_MS {
        let message = format!("a delay of {} ms is over {TAKES_MAX_MS} ms; wait less", act.takes_ms);
        return Err(Failure::permanent("delay_too_long", message));
    }
    if act.takes_ms > 0 {
        std::thread::sleep(Duration::from_millis(act.takes_ms));
    }
    let (code, message) = ("played", act.message.clone());
    match act.ends {
        Ends::Echo => Ok(input.input),
        Ends::Output => match &act.output {
            Some(output) => Ok(output.clone()),
            None => Ok(Json::write(&())?),
        },
        Ends::Permanent => Err(Failure::permanent(code, message)),
        Ends::Retryable => Err(Failure::retryable(code, message)),
        Ends::RateLimited => {
            Err(Failure::rate_limited(Duration::from_millis(act.retry_after_ms), code, message))
        }
        Ends::Trap => panic!("{message}"),
    }
}

/// What this attempt does, where the script says something about its step.
fn act<'a>(script: &'a BTreeMap<String, Vec<Act>>, ctx: &Context) -> Option<&'a Act> {
    let item = ctx.item.and_then(|item| script.get(&format!("{}/{item}", ctx.step)));
    let acts = item.or_else(|| script.get(&ctx.step))?;
    acts.get(ctx.attempt.saturating_sub(1) as usize).or(acts.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(script: Value, item: Option<u32>, attempt: u32) -> Result<Json, Failure> {
        let mut ctx = heddle_sdk::testing::context();
        (ctx.step, ctx.item, ctx.attempt) = ("pay".to_owned(), item, attempt);
        let input = json!({ "input": { "n": 1 }, "script": script });
        actor(heddle_sdk::serde_json::from_value(input).expect("an input"), &ctx)
    }

    #[test]
    fn each_attempt_does_what_stands_at_its_place() {
        let script = json!({ "pay": [{ "ends": "retryable", "message": "not yet" }, { "ends": "output", "output": 7 }] });
        assert_eq!(
            play(script.clone(), None, 1).expect_err("at first"),
            Failure::retryable("played", "not yet")
        );
        for attempt in [2, 3] {
            assert_eq!(play(script.clone(), None, attempt).expect("then").text(), "7");
        }
        assert_eq!(
            play(json!({ "other": [{ "ends": "permanent" }] }), None, 1).expect("an echo").text(),
            r#"{"n":1}"#
        );
        assert_eq!(play(json!({ "pay": [{ "ends": "output" }] }), None, 1).expect("nothing").text(), "null");
    }

    #[test]
    fn an_item_has_a_part_of_its_own() {
        let script = json!({ "pay": [{}], "pay/2": [{ "ends": "permanent", "message": "no" }] });
        assert!(play(script.clone(), Some(1), 1).is_ok());
        assert!(play(script, Some(2), 1).is_err());
    }

    #[test]
    fn an_hour_is_refused() {
        let failure = play(json!({ "pay": [{ "takesMs": 3600000 }] }), None, 1).expect_err("too long");
        assert_eq!(failure.code(), "delay_too_long");
    }
}
