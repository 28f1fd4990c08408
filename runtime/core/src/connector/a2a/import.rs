//! A connector out of an agent's card: each of its skills is an endpoint.

use super::VERSION;
use crate::connector::MOST_ENDPOINTS;
use crate::connector::mcp::import::cut;
use crate::connector::openapi::{Imported, name_of, semver_of};
use serde_json::{Map, Value, json};

/// Where a card is.
pub const CARD: &str = "/.well-known/agent-card.json";
/// Bytes of a title and of a description, as a plugin may have.
const BYTES: (usize, usize) = (256, 4 * 1024);

/// Makes a connector of this name.
///
/// # Errors
/// Where this is no card, or the agent speaks nothing that is spoken here.
pub fn import(card: &Value, name: &str) -> Result<Imported, String> {
    let interfaces = card["supportedInterfaces"].as_array().ok_or("it is no agent card of version 1.0")?;
    let ours = interfaces
        .iter()
        .find(|one| one["protocolBinding"] == "JSONRPC" && one["protocolVersion"] == VERSION)
        .and_then(|one| one["url"].as_str());
    let url = ours.ok_or("the agent has no interface with JSON-RPC in version 1.0")?;
    let (mut endpoints, mut left_out) = (Map::new(), Vec::new());
    for skill in card["skills"].as_array().into_iter().flatten() {
        let Some(remote) = skill["id"].as_str().filter(|id| !id.is_empty()) else { continue };
        let id = name_of(remote, "", remote);
        if endpoints.contains_key(&id) {
            left_out.push(format!("{remote}: another skill is called `{id}`"));
            continue;
        }
        if endpoints.len() >= MOST_ENDPOINTS {
            left_out.push(format!("{remote}: a connector has {MOST_ENDPOINTS} endpoints at most"));
            continue;
        }
        let text = json!({ "type": "string", "description": "What is asked, in words." });
        let input = json!({ "type": "object", "properties": { "text": text } });
        let mut endpoint = json!({ "skill": remote, "input": input });
        for (ours, theirs, most) in [("title", "name", BYTES.0), ("description", "description", BYTES.1)] {
            if let Some(text) = skill[theirs].as_str() {
                endpoint[ours] = cut(text, most).into();
            }
        }
        endpoints.insert(id, endpoint);
    }
    if endpoints.is_empty() {
        return Err("the agent's card has no skills".into());
    }
    let mut document = json!({
        "connector": "1.0",
        "name": name,
        "version": semver_of(card["version"].as_str().unwrap_or_default()),
        "baseUrl": url,
        "a2a": VERSION,
    });
    for key in ["title", "description"] {
        let theirs = if key == "title" { "name" } else { key };
        if let Some(text) = card[theirs].as_str() {
            document[key] = cut(text, BYTES.1).into();
        }
    }
    document["endpoints"] = endpoints.into();
    Ok(Imported { document, left_out })
}
