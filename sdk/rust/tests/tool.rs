//! A tool as its author writes it: what it says of itself, and how it runs on JSON text.

use heddle_sdk::{Kind, Outcome, prelude::*, testing};

#[derive(Debug, Deserialize, JsonSchema)]
struct Input {
    name: String,
    #[serde(default)]
    loud: bool,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    greeting: String,
    #[serde(default)]
    attempt: u32,
}

#[derive(Debug)]
struct Shy;

impl std::fmt::Display for Shy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("too shy to speak")
    }
}

impl std::error::Error for Shy {}

/// Says hello.
///
/// Greets one person by name.
///
/// Loudly, if asked to.
#[heddle_sdk::tool(name = "greeter", provides = ["text.greeting"], fuel = 1_000_000, memory = "16MiB", wall = "5s")]
fn greet(input: Input, ctx: &Context) -> Result<Output, Shy> {
    ctx.progress("greet", None, &input.name);
    match input.name.as_str() {
        "" => Err(Shy),
        name if input.loud => Ok(Output { greeting: format!("HELLO {name}"), attempt: ctx.attempt }),
        name => Ok(Output { greeting: format!("hello {name}"), attempt: ctx.attempt }),
    }
}

#[test]
fn it_says_what_it_is() {
    let metadata = heddle_sdk::describe!();
    assert_eq!((metadata.name.as_str(), metadata.kind), ("greeter", Kind::Tool));
    assert_eq!(metadata.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (metadata.title.as_str(), metadata.description.as_str()),
        ("Says hello", "Greets one person by name.")
    );
    assert_eq!(metadata.documentation, "Loudly, if asked to.");
    assert_eq!(metadata.provides, ["text.greeting"]);
    let limits = metadata.limits;
    assert_eq!(
        (limits.fuel, limits.memory_bytes, limits.wall_ms),
        (Some(1_000_000), Some(16 << 20), Some(5_000))
    );
    // What has a default may be left out of the input, and always stands in the output.
    assert_eq!(metadata.input_schema["required"], json!(["name"]));
    assert_eq!(metadata.output_schema["required"], json!(["greeting", "attempt"]));
    assert_eq!(metadata.input_schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn it_runs_on_json_text() {
    let output = heddle_sdk::run!(r#"{"name":"Ada"}"#);
    assert_eq!(output, Ok(Outcome::Done(r#"{"greeting":"hello Ada","attempt":1}"#.to_owned())));
    let failure = heddle_sdk::run!(r#"{"name":""}"#).expect_err("shy");
    assert_eq!(failure, Failure::permanent("unexpected", "too shy to speak"));
    let failure = heddle_sdk::run!(r#"{"nam":"Ada"}"#).expect_err("a slip");
    assert_eq!(failure.code(), "invalid_input");
    assert!(failure.message().contains("missing field `name`"), "{}", failure.message());
}

#[test]
fn its_function_is_an_ordinary_function() {
    let mut ctx = testing::context();
    ctx.attempt = 4;
    let output = greet(Input { name: "Ada".to_owned(), loud: true }, &ctx).expect("a greeting");
    assert_eq!(output, Output { greeting: "HELLO Ada".to_owned(), attempt: 4 });
}
