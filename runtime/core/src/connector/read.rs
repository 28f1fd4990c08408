//! Reading the document of a connector: every fault at once, each with its place.

use super::a2a::{self, RemoteSkill};
use super::mcp::{ACCEPT, LEGACY, MODERN, RemoteTool};
use super::schemas::whole;
use super::{
    Auth, Connector, Endpoint, MOST_ENDPOINTS, MOST_PARAMETERS, MOST_SCHEMAS, Parameter, Place, Remote, Tool,
};
use crate::document::{Doc, Fault, Part, pointer};
use crate::id::is_name;
use crate::json::Json;
use crate::limits::{AskedLimits, Limits};
use crate::outcome::PluginKind;
use crate::outside::{self, Url, header};
use crate::plan::walk::{Faults, Fields};
use crate::plugin::Metadata;
use crate::schema::Schema;
use serde_json::{Map, Value, json};
use std::cell::Cell;

/// Methods that an endpoint may have.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Those that change something, and get a key by which a service can tell a repetition.
const KEYED: &[&str] = &["POST", "PATCH"];
const KEY_HEADER: &str = "idempotency-key";

impl Connector {
    /// Reads a document.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(text: &str, limits: &Limits) -> Result<Connector, Vec<Fault>> {
        let doc = Doc::parse(text, limits).map_err(|fault| vec![fault])?;
        let mut faults = Faults::default();
        let connector = connector(&doc, MOST_SCHEMAS * limits.document_bytes, &mut faults);
        match (connector, faults.list.is_empty()) {
            (Some(connector), true) => Ok(connector),
            (_, _) => Err(faults.list),
        }
    }
}

/// A protocol that a service speaks.
#[derive(Clone)]
enum Speaks {
    /// The Model Context Protocol, in this version.
    Mcp(String),
    /// The Agent2Agent protocol.
    A2a,
}

/// What holds for every endpoint of the document.
struct Defaults {
    service: String,
    version: semver::Version,
    base: String,
    /// What the service speaks, where that is a protocol of its own.
    speaks: Option<Speaks>,
    headers: Vec<(String, String)>,
    auth: Option<Auth>,
    timeout_ms: Option<u64>,
    schemas: Map<String, Value>,
    /// Bytes that the schemas of the tools may still have.
    room: Cell<u64>,
}

fn connector(doc: &Doc, room: u64, faults: &mut Faults) -> Option<Connector> {
    let mut fields = Fields::plain(doc, "", faults);
    match fields.need("connector", faults) {
        Some((said, path)) if said.as_str() != Some("1.0") => {
            faults.at(said, &path, "is `\"1.0\"`, the version of this language");
        }
        _ => {}
    }
    let name = fields.need("name", faults).and_then(|(said, path)| {
        let name = said.as_str().filter(|name| is_name(name)).map(str::to_owned);
        if name.is_none() {
            faults.at(said, &path, "wants a name: `[a-z][a-z0-9_-]*`, at most 64 bytes");
        }
        name
    });
    let version = fields.need("version", faults).and_then(|(said, path)| {
        let version = said.as_str().and_then(|text| text.parse::<semver::Version>().ok());
        if version.is_none() {
            faults.at(said, &path, "wants a semantic version such as `1.0.0`");
        }
        version
    });
    let base = fields.need("baseUrl", faults).and_then(|(said, path)| base(said, &path, faults));
    let speaks = speaks(&mut fields, faults);
    // Paths begin with a slash; what is the whole address keeps its own.
    let base = base.map(|base| match speaks {
        None => base.trim_end_matches('/').to_owned(),
        Some(_) => base,
    });
    // For people who read the document.
    for key in ["title", "description"] {
        let _ = fields.text(key, faults);
    }
    let headers = fields.get("headers").map_or_else(Vec::new, |(said, path)| texts(said, &path, faults));
    let auth = fields.get("auth").and_then(|(said, path)| auth(said, &path, faults));
    let timeout_ms = fields.span("timeout", faults).map(|span| span.0);
    let schemas = fields.get("schemas").map_or_else(Map::new, |(said, path)| match as_json(said) {
        Value::Object(members) => members,
        _ => {
            faults.at(said, &path, format!("wants a map of schemas, and this is {}", said.kind()));
            Map::new()
        }
    });
    let endpoints = fields.need("endpoints", faults);
    fields.finish(faults);
    let defaults = Defaults {
        service: name.clone().unwrap_or_default(),
        version: version.clone().unwrap_or(semver::Version::new(0, 0, 0)),
        base: base.unwrap_or_default(),
        speaks,
        headers,
        auth,
        timeout_ms,
        schemas,
        room: Cell::new(room),
    };
    let tools = tools(&defaults, endpoints?, faults)?;
    Some(Connector { name: name?, version: version?, tools })
}

/// The endpoints.
fn tools(defaults: &Defaults, (said, path): (&Doc, String), faults: &mut Faults) -> Option<Vec<Tool>> {
    let Part::Map(entries) = &said.part else {
        faults.at(said, &path, format!("wants a map of endpoints, and this is {}", said.kind()));
        return None;
    };
    if entries.is_empty() || entries.len() > MOST_ENDPOINTS {
        let found = entries.len();
        faults.at(said, &path, format!("has {found} endpoints; a connector has 1 to {MOST_ENDPOINTS}"));
    }
    let mut tools = Vec::new();
    for (key, endpoint) in entries.iter().take(MOST_ENDPOINTS) {
        let path = pointer(&path, &key.text);
        if !is_name(&key.text) {
            faults.at(endpoint, &path, format!("`{}` is no name: `[a-z][a-z0-9_-]*`", key.text));
        }
        tools.extend(match &defaults.speaks {
            None => tool(defaults, &key.text, (endpoint, &path), faults),
            Some(speaks) => remote(defaults, speaks, &key.text, (endpoint, &path), faults),
        });
    }
    Some(tools)
}

/// The address in front of every path.
fn base(said: &Doc, path: &str, faults: &mut Faults) -> Option<String> {
    let url = said.as_str().and_then(|text| Url::parse(text).ok());
    let fits = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = url.filter(fits);
    if url.is_none() {
        let message = "wants an address such as `https://api.example.com/v1`, without a user, `?` and `#`";
        faults.at(said, path, message);
    }
    url.map(|url| url.as_str().to_owned())
}

fn texts(said: &Doc, path: &str, faults: &mut Faults) -> Vec<(String, String)> {
    let Part::Map(entries) = &said.part else {
        faults.at(said, path, format!("wants a map of texts, and this is {}", said.kind()));
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in entries {
        let at = pointer(path, &key.text);
        match value.as_str().map(|text| header(&key.text, text.to_owned())) {
            Some(Ok(header)) => found.push(header),
            Some(Err(why)) => faults.at(value, &at, why),
            None => faults.at(value, &at, "wants text"),
        }
    }
    found
}

fn auth(said: &Doc, path: &str, faults: &mut Faults) -> Option<Auth> {
    let mut fields = Fields::plain(said, path, faults);
    let is_secret = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
    };
    let bearer = fields.text("bearer", faults).map(|secret| Auth {
        secret: secret.to_owned(),
        place: Place::Header,
        name: "authorization".into(),
        prefix: "Bearer ".into(),
    });
    let mut named = |key, place| {
        let (inner, at) = fields.get(key)?;
        let mut inner = Fields::plain(inner, &at, faults);
        let name = inner.need("name", faults).and_then(|(said, _)| said.as_str()).map(str::to_owned);
        let secret = inner.need("secret", faults).and_then(|(said, _)| said.as_str()).map(str::to_owned);
        let prefix = inner.text("prefix", faults).unwrap_or_default().to_owned();
        inner.finish(faults);
        Some(Auth { secret: secret?, place, name: name?, prefix })
    };
    let (header, query) = (named("header", Place::Header), named("query", Place::Query));
    fields.finish(faults);
    let mut all: Vec<Auth> = [bearer, header, query].into_iter().flatten().collect();
    for Auth { secret, place, name, prefix } in &all {
        if !is_secret(secret) {
            faults.at(said, path, "the name of a secret has letters, digits, `-`, `_` and `.`: at most 64");
        }
        if *place == Place::Header
            && let Err(why) = outside::header(name, prefix.clone())
        {
            faults.at(said, path, why);
        }
    }
    if all.len() != 1 && !faults.list.iter().any(|fault| fault.path.starts_with(path)) {
        let message =
            "wants one of `bearer: SECRET`, `header: {name, secret, prefix}` and `query: {name, secret}`";
        faults.at(said, path, message);
    }
    all.pop()
}

fn tool(defaults: &Defaults, name: &str, (said, path): (&Doc, &str), faults: &mut Faults) -> Option<Tool> {
    let mut fields = Fields::plain(said, path, faults);
    let method = method(&mut fields, faults);
    let route = fields.need("path", faults);
    let route_text = route.as_ref().and_then(|(said, _)| said.as_str()).unwrap_or_default().to_owned();
    let title = fields.text("title", faults).unwrap_or(name).to_owned();
    let description = fields.text("description", faults).unwrap_or_default().to_owned();
    let provides = fields.get("provides").map_or_else(Vec::new, |(said, at)| names(said, &at, faults));
    let (parameters, properties, required) = match fields.get("parameters") {
        None => Default::default(),
        Some((said, at)) => parameters(said, &at, faults),
    };
    if let Some((said, at)) = &route {
        check_route(&route_text, &parameters, (said, at), faults);
    }
    let body = fields.get("body");
    let answer = fields.get("response");
    let timeout_ms = fields.span("timeout", faults).map(|span| span.0).or(defaults.timeout_ms);
    let destructive = fields.flag("destructive", faults).unwrap_or(false);
    let key = fields.get("idempotencyHeader").and_then(|(said, at)| header_name(said, &at, faults));
    let keyed = KEYED.contains(&method.as_str()).then(|| KEY_HEADER.to_owned());
    fields.finish(faults);
    let mut input = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let mut required = required;
    if let Some((said, _)) = &body {
        input["properties"]["body"] = as_json(said);
        required.push("body".into());
    }
    input["required"] = required.into();
    let input_schema = schema(&input, defaults, (said, path), faults);
    let output_schema = match &answer {
        Some((said, at)) => schema(&as_json(said), defaults, (said, at), faults),
        None => Json::trusted("true"),
    };
    let mut headers = defaults.headers.clone();
    if !headers.iter().any(|(name, _)| name == "accept") {
        headers.push(("accept".into(), "application/json".into()));
    }
    let tool = Tool {
        metadata: Metadata {
            title,
            description,
            input_schema,
            output_schema,
            provides,
            ..unsaid(defaults, name)
        },
        endpoint: Endpoint {
            method,
            base: defaults.base.clone(),
            path: route_text,
            parameters,
            has_body: body.is_some(),
            headers,
            auth: defaults.auth.clone(),
            timeout_ms,
            idempotency_header: key.or(keyed),
            remote: None,
            destructive,
        },
    };
    tool.metadata.text_faults().into_iter().for_each(|fault| faults.at(said, path, fault));
    Some(tool)
}

/// The metadata of a tool of which nothing is said but its name.
fn unsaid(defaults: &Defaults, name: &str) -> Metadata {
    Metadata {
        name: format!("{}/{name}", defaults.service),
        version: defaults.version.clone(),
        kind: PluginKind::Tool,
        title: String::new(),
        description: String::new(),
        input_schema: Json::trusted("true"),
        output_schema: Json::trusted("true"),
        provides: Vec::new(),
        limits: AskedLimits::default(),
        documentation: String::new(),
    }
}

/// What an endpoint calls at its service.
fn called(speaks: &Speaks, fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Remote> {
    let named = |key: &'static str, found: Option<(&Doc, String)>, faults: &mut Faults| {
        let (said, at) = found?;
        let name = said.as_str().filter(|name| (1..=128).contains(&name.len()) && name.is_ascii());
        if name.is_none() {
            let message = format!("wants the name of the {key} at its service: 1 to 128 ASCII characters");
            faults.at(said, &at, message);
        }
        name.map(str::to_owned)
    };
    match speaks {
        Speaks::Mcp(protocol) => {
            let found = fields.need("tool", faults);
            let name = named("tool", found, faults)?;
            Some(Remote::Mcp(RemoteTool { protocol: protocol.clone(), name }))
        }
        Speaks::A2a => {
            let found = fields.get("skill");
            Some(Remote::A2a(RemoteSkill { skill: named("skill", found, faults) }))
        }
    }
}

/// What is called by a protocol of its own.
fn remote(
    defaults: &Defaults,
    speaks: &Speaks,
    name: &str,
    (said, path): (&Doc, &str),
    faults: &mut Faults,
) -> Option<Tool> {
    let mut fields = Fields::plain(said, path, faults);
    let remote = called(speaks, &mut fields, faults);
    let title = fields.text("title", faults).unwrap_or(name).to_owned();
    let description = fields.text("description", faults).unwrap_or_default().to_owned();
    let provides = fields.get("provides").map_or_else(Vec::new, |(said, at)| names(said, &at, faults));
    let input = fields.get("input").map_or(json!({ "type": "object" }), |(said, _)| as_json(said));
    let answer = fields.get("response");
    let timeout_ms = fields.span("timeout", faults).map(|span| span.0).or(defaults.timeout_ms);
    let destructive = fields.flag("destructive", faults).unwrap_or(false);
    fields.finish(faults);
    let input_schema = schema(&input, defaults, (said, path), faults);
    let output_schema = match &answer {
        Some((said, at)) => schema(&as_json(said), defaults, (said, at), faults),
        None => Json::trusted("true"),
    };
    let mut headers = defaults.headers.clone();
    headers.retain(|(name, _)| name != "accept");
    let accept = if matches!(speaks, Speaks::Mcp(_)) { ACCEPT } else { "application/json" };
    headers.push(("accept".into(), accept.into()));
    let metadata =
        Metadata { title, description, input_schema, output_schema, provides, ..unsaid(defaults, name) };
    metadata.text_faults().into_iter().for_each(|fault| faults.at(said, path, fault));
    let endpoint = Endpoint {
        method: "POST".into(),
        base: defaults.base.clone(),
        path: String::new(),
        parameters: Vec::new(),
        has_body: true,
        headers,
        auth: defaults.auth.clone(),
        timeout_ms,
        idempotency_header: None,
        remote: Some(remote?),
        destructive,
    };
    Some(Tool { metadata, endpoint })
}

/// What the service speaks, where the document says it.
fn speaks(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<Speaks> {
    let mcp = fields.get("mcp").and_then(|(said, path)| protocol(said, &path, faults));
    let a2a = fields.get("a2a").map(|(said, path)| {
        if said.as_str() != Some(a2a::VERSION) {
            faults.at(
                said,
                &path,
                format!("is `\"{}\"`, the version of the Agent2Agent protocol", a2a::VERSION),
            );
        }
        if mcp.is_some() {
            faults.at(said, &path, "a service speaks `mcp` or `a2a`; leave one out");
        }
    });
    mcp.map(Speaks::Mcp).or(a2a.map(|()| Speaks::A2a))
}

/// The version of the Model Context Protocol.
fn protocol(said: &Doc, path: &str, faults: &mut Faults) -> Option<String> {
    let found = said.as_str().filter(|text| *text == MODERN || LEGACY.contains(text));
    if found.is_none() {
        let known = [&[MODERN], LEGACY].concat().join("`, `");
        faults.at(said, path, format!("is the version of the Model Context Protocol: `{known}`"));
    }
    found.map(str::to_owned)
}

/// The name of a header that may be sent.
fn header_name(said: &Doc, at: &str, faults: &mut Faults) -> Option<String> {
    match header(said.as_str().unwrap_or_default(), String::new()) {
        Ok((name, _)) => Some(name),
        Err(why) => {
            faults.at(said, at, why);
            None
        }
    }
}

/// A schema with what it refers to, checked.
fn schema(schema: &Value, defaults: &Defaults, (said, at): (&Doc, &str), faults: &mut Faults) -> Json {
    if defaults.room.get() == 0 {
        return Json::null();
    }
    match whole(schema, &defaults.schemas) {
        Ok(schema) => {
            let text = schema.to_string();
            let Some(room) = defaults.room.get().checked_sub(text.len() as u64) else {
                // Told once, and nothing more is read.
                if defaults.room.replace(0) > 0 {
                    faults.at(
                        said,
                        at,
                        "the schemas of all tools, each with what it refers to, have more bytes than four documents may have; make two connectors of it, or leave out the largest",
                    );
                }
                return Json::null();
            };
            defaults.room.set(room);
            let text = Json::parse(text.as_bytes()).unwrap_or_else(|_| Json::null());
            if let Err(fault) = Schema::compile(&text) {
                faults.at(said, at, fault.to_string());
            }
            text
        }
        Err(name) => {
            faults.at(said, at, format!("refers to `#/schemas/{name}`, which is not there"));
            Json::null()
        }
    }
}

/// The method; `GET` where nothing is said.
fn method(fields: &mut Fields<'_>, faults: &mut Faults) -> String {
    let Some((said, at)) = fields.get("method") else { return "GET".to_owned() };
    match said.as_str().filter(|method| METHODS.contains(method)) {
        Some(method) => method.to_owned(),
        None => {
            faults.at(said, &at, format!("is one of {}", METHODS.join(", ")));
            "GET".to_owned()
        }
    }
}

/// Every `{name}` of a path is a parameter of it, and every such parameter stands there.
fn check_route(route: &str, parameters: &[Parameter], (said, at): (&Doc, &str), faults: &mut Faults) {
    if !route.starts_with('/') || route.contains(['?', '#']) {
        faults.at(
            said,
            at,
            "wants a path that begins with `/`, without `?` and `#`; parameters go under `parameters`",
        );
    }
    let braced: Vec<&str> =
        route.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect();
    let of_path = || parameters.iter().filter(|parameter| parameter.place == Place::Path);
    for name in &braced {
        if !of_path().any(|parameter| parameter.wire == *name) {
            faults.at(said, at, format!("`{{{name}}}` has no parameter `{name}` with `in: path`"));
        }
    }
    for parameter in of_path().filter(|parameter| !braced.contains(&parameter.wire.as_str())) {
        faults.at(said, at, format!("the parameter `{}` is not in the path", parameter.name));
    }
}

type Parameters = (Vec<Parameter>, Map<String, Value>, Vec<Value>);

fn parameters(said: &Doc, path: &str, faults: &mut Faults) -> Parameters {
    let (mut all, mut properties, mut required) = Parameters::default();
    let Part::Map(entries) = &said.part else {
        faults.at(said, path, format!("wants a map of parameters, and this is {}", said.kind()));
        return Parameters::default();
    };
    if entries.len() > MOST_PARAMETERS {
        let found = entries.len();
        faults.at(said, path, format!("has {found} parameters; an endpoint has at most {MOST_PARAMETERS}"));
    }
    for (key, parameter) in entries.iter().take(MOST_PARAMETERS) {
        let at = pointer(path, &key.text);
        if &*key.text == "body" {
            faults.at(
                parameter,
                &at,
                "`body` is what is sent; call the parameter otherwise, and give its `name`",
            );
        }
        let mut fields = Fields::plain(parameter, &at, faults);
        let place = fields.need("in", faults).and_then(|(said, at)| {
            let place = match said.as_str() {
                Some("path") => Some(Place::Path),
                Some("query") => Some(Place::Query),
                Some("header") => Some(Place::Header),
                _ => None,
            };
            if place.is_none() {
                faults.at(said, &at, "is `path`, `query` or `header`");
            }
            place
        });
        let wire = fields.text("name", faults).unwrap_or(&key.text).to_owned();
        let is_required = fields.flag("required", faults).unwrap_or(false) || place == Some(Place::Path);
        let schema = fields.get("schema").map_or(json!({ "type": "string" }), |(said, _)| as_json(said));
        fields.finish(faults);
        let Some(place) = place else { continue };
        if place == Place::Header
            && let Err(why) = header(&wire, String::new())
        {
            faults.at(parameter, &at, why);
        }
        properties.insert(key.text.to_string(), schema);
        if is_required {
            required.push(key.text.to_string().into());
        }
        all.push(Parameter { name: key.text.to_string(), place, wire });
    }
    (all, properties, required)
}

fn names(said: &Doc, path: &str, faults: &mut Faults) -> Vec<String> {
    let items = match &said.part {
        Part::List(items) => items.as_slice(),
        _ => {
            faults.at(said, path, "wants a list of dotted names such as `[weather.current]`");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for (place, item) in items.iter().enumerate() {
        match item.as_str().filter(|name| name.len() <= 128 && name.split('.').all(is_name)) {
            Some(name) => found.push(name.to_owned()),
            None => {
                faults.at(
                    item,
                    &pointer(path, &place.to_string()),
                    "wants dotted names such as `weather.current`",
                );
            }
        }
    }
    found
}

fn as_json(doc: &Doc) -> Value {
    serde_json::from_str(Json::from_value(doc.value()).text()).unwrap_or_default()
}
