//! Stands for a tool that fetches over the network, which no plugin can do yet: the documents come with the call, and
//! everything else is as it would be, a document that is not there included.

use std::collections::BTreeMap;

use heddle_sdk::prelude::*;

/// Which document, and out of which.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    /// The name of the document.
    name: String,
    /// What there is, by name.
    documents: BTreeMap<String, String>,
}

/// The document.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// Its name.
    name: String,
    /// Its text.
    text: String,
    /// Its length in bytes.
    bytes: usize,
}

/// Get a document.
///
/// Gives one of the documents that it is given, by name. It stands for a tool that fetches over the network.
#[heddle_sdk::tool]
fn document_get(mut input: Input) -> Result<Output, Failure> {
    match input.documents.remove(&input.name) {
        Some(text) => {
            info!("{} has {} bytes", input.name, text.len());
            Ok(Output { name: input.name, bytes: text.len(), text })
        }
        None => {
            let known: Vec<&str> = input.documents.keys().map(String::as_str).collect();
            let message = format!("there is no document `{}`; there are: {}", input.name, known.join(", "));
            Err(Failure::permanent("document_not_found", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(name: &str) -> Result<Output, Failure> {
        let documents = json!({ "name": name, "documents": { "a": "text", "b": "" } });
        document_get(heddle_sdk::serde_json::from_value(documents).expect("an input"))
    }

    #[test]
    fn a_document_is_there_or_it_is_said_which_are() {
        let found = get("a").expect("a document");
        assert_eq!(found, Output { name: "a".to_owned(), text: "text".to_owned(), bytes: 4 });
        let failure = get("c").expect_err("no document");
        assert_eq!(failure.code(), "document_not_found");
        assert!(format!("{failure:?}").contains("there are: a, b"), "{failure:?}");
    }
}
