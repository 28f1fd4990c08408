//! What the operator tells the plugin: `config` under `[grants."tool:name"]`.

use serde::de::DeserializeOwned;

use crate::{Failure, host};

/// A value by its name; none where nothing is said.
///
/// # Errors
/// `invalid_config`, where it is not of this shape.
pub fn get<T: DeserializeOwned>(name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = host::config(name) else { return Ok(None) };
    let read = serde_json::from_str(&text);
    read.map(Some).map_err(|fault| Failure::permanent("invalid_config", format!("`{name}`: {fault}")))
}

/// All names, in their order.
pub fn names() -> Vec<String> {
    host::config_names()
}
