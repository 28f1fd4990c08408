//! An agent that checkpoints and calls other plugins, from its first segment to its last.

use heddle_sdk::{Kind, Outcome, prelude::*, testing};

#[derive(Debug, Deserialize, JsonSchema)]
struct Goal {
    numbers: Vec<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    next: usize,
    sum: i64,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    sum: i64,
}

#[derive(Debug, Deserialize)]
struct Answer {
    double: i64,
}

/// Doubles and adds up, two numbers at a time.
#[heddle_sdk::agent]
fn add_up(goal: Goal, state: Option<State>, agent: &Agent) -> Result<Outcome<Output, State>, Failure> {
    let mut state = state.unwrap_or(State { next: 0, sum: 0 });
    let batch = goal.numbers.iter().skip(state.next).take(2);
    let calls = batch
        .map(|number| agent.start::<Answer>("tool:double", &json!({ "number": number })))
        .collect::<Result<Vec<_>, _>>()?;
    if calls.is_empty() {
        return Ok(Outcome::Done(Output { sum: state.sum }));
    }
    assert_eq!(agent.wait(&calls), Some(0));
    for call in calls {
        state.sum += call.take()?.double;
        state.next += 1;
    }
    agent.progress("sum", Some(50), "going on");
    Ok(Outcome::Continue(state))
}

fn offer_double() {
    testing::offer("tool:double", |input| match input["number"].as_i64() {
        Some(number) => Ok(json!({ "double": number * 2 })),
        None => Err(Failure::permanent("not_a_number", "give a number")),
    });
}

#[test]
fn it_goes_on_from_its_checkpoint() {
    offer_double();
    assert_eq!(heddle_sdk::describe!().kind, Kind::Agent);
    let goal = r#"{"numbers":[1,2,3]}"#;
    let mut state = None;
    let mut segments = 0;
    let output = loop {
        segments += 1;
        match heddle_sdk::run!(goal, state.as_deref()).expect("a segment") {
            Outcome::Continue(next) => state = Some(next),
            Outcome::Done(output) => break output,
        }
    };
    assert_eq!((output.as_str(), segments), (r#"{"sum":12}"#, 3));
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let failure = heddle_sdk::run!(r#"{"numbers":[]}"#, Some("[]x")).expect_err("broken state");
    assert_eq!(failure.code(), "invalid_state");
}

#[test]
fn what_is_not_granted_cannot_be_called() {
    testing::withdraw_all();
    let agent = testing::agent();
    assert!(agent.tools().is_empty());
    let failure = agent.call::<Answer>("tool:double", &json!({ "number": 1 })).expect_err("not granted");
    assert_eq!(failure.code(), "not_granted");
    assert_eq!(agent.wait::<Answer>(&[]), None);
    offer_double();
    assert_eq!(agent.tools()[0].name, "tool:double");
    assert_eq!(agent.call::<Answer>("tool:double", &json!({ "number": 4 })).expect("granted").double, 8);
}
