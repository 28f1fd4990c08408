//! Greets a person by name.

use heddle_sdk::prelude::*;

/// Who is greeted.
#[derive(Debug, Deserialize, JsonSchema)]
struct Input {
    /// The name to use.
    name: String,
}

/// What is said.
#[derive(Debug, Serialize, JsonSchema)]
struct Output {
    greeting: String,
    letters: usize,
}

/// Greet.
///
/// Greets a person by name.
#[heddle_sdk::tool(name = "NAME")]
fn greet(input: Input, ctx: &Context) -> Result<Output, Failure> {
    if input.name.trim().is_empty() {
        return Err(Failure::permanent("no_name", "the name is empty; say who is to be greeted"));
    }
    ctx.progress("greeting", None, &input.name);
    let name = input.name.trim();
    Ok(Output { greeting: format!("Hello, {name}!"), letters: name.chars().count() })
}
