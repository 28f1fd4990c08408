//! A connector out of an OpenAPI document (3.0 and 3.1): what can be said of its operations is said in our words; what
//! cannot is left out and told.

use crate::id::is_name;
use serde_json::{Map, Value, json};

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The document of the connector, to be looked at and corrected.
    pub document: Value,
    /// What was left out, a sentence each.
    pub left_out: Vec<String>,
}

/// Methods that become endpoints.
const METHODS: &[&str] = &["get", "post", "put", "patch", "delete"];

/// Makes a connector of this name.
///
/// # Errors
/// Where the document is no OpenAPI document, or has nothing that could be called.
pub fn import(openapi: &Value, name: &str, base: Option<&str>) -> Result<Imported, String> {
    let version = openapi["openapi"].as_str().unwrap_or_default();
    if !version.starts_with("3.") {
        return Err("the document has no `openapi: 3.x`; Swagger 2.0 must be converted first".into());
    }
    let base = base.map(str::to_owned).or_else(|| {
        let url = openapi["servers"][0]["url"].as_str()?;
        url.starts_with("http").then(|| url.to_owned())
    });
    let base =
        base.ok_or("the document names no server with a whole address; say it with `--base-url URL`")?;
    let (mut endpoints, mut left_out) = (Map::new(), Vec::new());
    for (path, item) in openapi["paths"].as_object().into_iter().flatten() {
        for method in METHODS.iter().filter(|method| item[**method].is_object()) {
            let shown = format!("{} {path}", method.to_uppercase());
            match endpoint(openapi, (path, item), method) {
                Ok((id, endpoint)) if endpoints.contains_key(&id) => {
                    left_out.push(format!("{shown}: another operation is called `{id}`"));
                    drop(endpoint);
                }
                Ok((id, endpoint)) => drop(endpoints.insert(id, endpoint)),
                Err(why) => left_out.push(format!("{shown}: {why}")),
            }
        }
    }
    if endpoints.is_empty() {
        return Err("the document has no operation that can be called".into());
    }
    let mut schemas = openapi["components"]["schemas"].clone();
    adapted(&mut schemas);
    let mut document = json!({
        "connector": "1.0",
        "name": name,
        "version": semver_of(openapi["info"]["version"].as_str().unwrap_or_default()),
        "baseUrl": base,
    });
    for (ours, theirs) in [("title", "title"), ("description", "description")] {
        if let Some(text) = openapi["info"][theirs].as_str() {
            document[ours] = text.into();
        }
    }
    document["endpoints"] = endpoints.into();
    if schemas.is_object() {
        document["schemas"] = schemas;
    }
    Ok(Imported { document, left_out })
}

/// Headers that are no parameters of an operation.
const OURS: &[&str] = &["accept", "content-type", "authorization", "idempotency-key"];

fn endpoint(openapi: &Value, (path, item): (&str, &Value), method: &str) -> Result<(String, Value), String> {
    let operation = &item[method];
    let id = name_of(operation["operationId"].as_str().unwrap_or_default(), method, path);
    let mut parameters = Map::new();
    let all = [&item["parameters"], &operation["parameters"]];
    for parameter in all.iter().filter_map(|list| list.as_array()).flatten() {
        let parameter = resolved(openapi, parameter)?;
        let (wire, place) = (parameter["name"].as_str().unwrap_or_default(), &parameter["in"]);
        // Cookies are not sent; these headers are ours, as OpenAPI has it.
        let is_ours = place == "header" && OURS.iter().any(|name| wire.eq_ignore_ascii_case(name));
        if place == "cookie" || is_ours {
            continue;
        }
        let mut schema = parameter["schema"].clone();
        adapted(&mut schema);
        let mut ours = json!({ "in": place, "required": parameter["required"] == true });
        if let (Value::Object(schema), Some(text)) = (&mut schema, parameter["description"].as_str()) {
            schema.entry("description").or_insert_with(|| text.into());
        }
        if !schema.is_null() {
            ours["schema"] = schema;
        }
        let own = if wire == "body" { "body_" } else { wire };
        if own != wire {
            ours["name"] = wire.into();
        }
        parameters.insert(own.to_owned(), ours);
    }
    let mut endpoint = json!({ "method": method.to_uppercase(), "path": path });
    for (ours, theirs) in [("title", "summary"), ("description", "description")] {
        if let Some(text) = operation[theirs].as_str() {
            endpoint[ours] = text.into();
        }
    }
    if !parameters.is_empty() {
        endpoint["parameters"] = parameters.into();
    }
    let request = resolved(openapi, &operation["requestBody"])?;
    if request.is_object() {
        let content = request["content"].as_object();
        let json = content.and_then(|content| json_of(content));
        match json {
            Some(media) => endpoint["body"] = schema_of(&media["schema"]),
            None if request["required"] == true => return Err("its body is not JSON".into()),
            None => {}
        }
    }
    if let Some(schema) = answer(openapi, operation)? {
        endpoint["response"] = schema;
    }
    Ok((id, endpoint))
}

/// The schema of what is answered when all goes well: of the first such answer with JSON. None where others come too.
fn answer(openapi: &Value, operation: &Value) -> Result<Option<Value>, String> {
    let mut found = Vec::new();
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if !status.starts_with('2') {
            continue;
        }
        let response = resolved(openapi, response)?;
        let content = response["content"].as_object();
        match content.and_then(|content| json_of(content).filter(|_| content.len() == 1)) {
            Some(media) if media["schema"].is_object() => found.push(schema_of(&media["schema"])),
            _ => return Ok(None),
        }
    }
    found.dedup();
    Ok(match found.len() {
        1 => found.pop(),
        _ => None,
    })
}

fn json_of(content: &Map<String, Value>) -> Option<&Value> {
    content.iter().find(|(kind, _)| kind.starts_with("application/json")).map(|(_, media)| media)
}

fn schema_of(schema: &Value) -> Value {
    let mut schema = if schema.is_null() { json!({}) } else { schema.clone() };
    adapted(&mut schema);
    schema
}

/// What a reference means within the document.
fn resolved(openapi: &Value, value: &Value) -> Result<Value, String> {
    match value["$ref"].as_str() {
        None => Ok(value.clone()),
        Some(reference) => {
            let found = reference.strip_prefix('#').and_then(|place| openapi.pointer(place));
            found.cloned().ok_or_else(|| format!("`{reference}` is not in the document"))
        }
    }
}

/// A schema of OpenAPI as JSON Schema: references point into `schemas`, and `nullable` becomes a type.
fn adapted(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/components/schemas/")
            {
                *reference = format!("#/schemas/{name}");
            }
            if members.remove("nullable") == Some(Value::Bool(true))
                && let Some(Value::String(kind)) = members.get("type")
            {
                let kinds = json!([kind, "null"]);
                members.insert("type".into(), kinds);
            }
            members.remove("discriminator");
            members.values_mut().for_each(adapted);
        }
        Value::Array(items) => items.iter_mut().for_each(adapted),
        _ => {}
    }
}

/// A name out of an operation's id: `listPets` is `list-pets`. Of its method and path, where it has none.
pub(super) fn name_of(id: &str, method: &str, path: &str) -> String {
    let text = if id.is_empty() { format!("{method}-{path}") } else { id.to_owned() };
    let (mut name, mut was_lower) = (String::new(), false);
    for c in text.chars() {
        match c {
            'A'..='Z' => {
                if was_lower {
                    name.push('-');
                }
                name.push(c.to_ascii_lowercase());
                was_lower = false;
            }
            'a'..='z' | '0'..='9' => {
                name.push(c);
                was_lower = true;
            }
            _ => {
                if !name.is_empty() && !name.ends_with('-') {
                    name.push('-');
                }
                was_lower = false;
            }
        }
    }
    let name: String = name.trim_matches('-').chars().take(64).collect();
    let name = name.trim_end_matches('-').to_owned();
    if is_name(&name) { name } else { format!("op-{}", name.chars().take(60).collect::<String>()) }
}

/// A semantic version out of whatever the document says.
pub(super) fn semver_of(text: &str) -> String {
    let lenient = |text: &str| {
        let mut parts = text.trim_start_matches('v').splitn(3, '.').map(|part| part.parse::<u64>().ok());
        let (major, minor, patch) = (parts.next()??, parts.next(), parts.next());
        Some(semver::Version::new(major, minor.unwrap_or(Some(0))?, patch.unwrap_or(Some(0))?))
    };
    let parsed = text.parse::<semver::Version>().ok().or_else(|| lenient(text));
    parsed.unwrap_or(semver::Version::new(1, 0, 0)).to_string()
}
