//! The smallest transform there is: for tests, and as a baseline when something else is measured.

use heddle_sdk::prelude::*;

/// Identity.
///
/// Gives back exactly what it gets: any JSON value, with every number spelled as it was.
#[heddle_sdk::transform]
fn identity(input: Json) -> Result<Json, Failure> {
    Ok(input)
}

#[cfg(test)]
mod tests {
    use heddle_sdk::Outcome;

    use super::*;

    #[test]
    fn the_text_is_kept() {
        let text = r#"{"a":[1.0,1e3,12345678901234567890123],"b":null}"#;
        assert_eq!(heddle_sdk::run!(text), Ok(Outcome::Done(text.to_owned())));
    }
}
