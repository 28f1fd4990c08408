//! What the attributes call. Hidden, and free to change with them: a plugin never names anything in here.
//!
//! A second plugin in one crate does not compile, whatever module it is in:
//!
//! ```compile_fail,E0428
//! mod one {
//!     /// One.
//!     #[heddle_sdk::transform]
//!     fn one(input: u32) -> Result<u32, heddle_sdk::Failure> { Ok(input) }
//! }
//! mod two {
//!     /// Two.
//!     #[heddle_sdk::transform]
//!     fn two(input: u32) -> Result<u32, heddle_sdk::Failure> { Ok(input) }
//! }
//! ```

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Agent, Context, Failure, Outcome, host};

/// What a plugin's function returns. It exists to name the output type of a function from its return type.
#[diagnostic::on_unimplemented(
    message = "a plugin returns `Result<Output, Failure>`, not `{Self}`",
    label = "this is not a `Result` whose error converts into `Failure`"
)]
pub trait Reply {
    /// The value on success.
    type Output;
    /// The reply with its error converted.
    fn into_result(self) -> Result<Self::Output, Failure>;
}

impl<T, E: Into<Failure>> Reply for Result<T, E> {
    type Output = T;

    fn into_result(self) -> Result<T, Failure> {
        self.map_err(Into::into)
    }
}

/// The output type inside [`Outcome`].
pub trait Ending {
    /// What the agent ends with.
    type Output;
}

impl<Output, State> Ending for Outcome<Output, State> {
    type Output = Output;
}

/// The schema of what is read: fields with a default are optional.
pub fn input_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// The schema of what is written: fields that are always there are required.
pub fn output_schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>().to_value()
}

/// Runs a function without state.
pub fn run<Input, R>(input: &str, call: impl FnOnce(Input) -> R) -> Result<Outcome<String, String>, Failure>
where
    Input: DeserializeOwned,
    R: Reply<Output: Serialize>,
{
    let output = call(read("input", input)?).into_result()?;
    write(&output).map(Outcome::Done)
}

/// Runs an agent that checkpoints.
pub fn run_with_state<Input, Output, State, R>(
    input: &str,
    state: Option<&str>,
    call: impl FnOnce(Input, Option<State>) -> R,
) -> Result<Outcome<String, String>, Failure>
where
    Input: DeserializeOwned,
    Output: Serialize,
    State: DeserializeOwned + Serialize,
    R: Reply<Output = Outcome<Output, State>>,
{
    let state = state.map(|text| read("state", text)).transpose()?;
    match call(read("input", input)?, state).into_result()? {
        Outcome::Done(output) => write(&output).map(Outcome::Done),
        Outcome::Continue(state) => write(&state).map(Outcome::Continue),
    }
}

/// The context of the attempt, for a tool that asks for it.
pub fn context() -> Context {
    host::context()
}

/// The handle of an agent.
pub fn agent() -> Agent {
    Agent::new()
}

fn read<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::permanent(format!("invalid_{what}"), format!("the {what} does not fit: {error}"))
    })
}

fn write(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| {
        Failure::permanent("invalid_output", format!("the output cannot be written as JSON: {error}"))
    })
}
