//! A connector out of what a server says of its tools. It is written down, looked over and loaded by a person: what a
//! server says later changes nothing of what an agent may call, or is told of it.

use super::{ACCEPT, Json, LEGACY, MODERN, Value, Wire, asked, hello, message_of, told, who};
use crate::connector::MOST_ENDPOINTS;
use crate::connector::dialogue::header;
use crate::connector::openapi::{Imported, name_of, semver_of};
use crate::outside::{HttpRequest, HttpResponse};
use serde_json::{Map, json};

/// Tools that are read.
const MOST: usize = 1_000;
/// Bytes of a description, as a plugin may have.
const DESCRIPTION: usize = 4 * 1024;
/// Bytes of a title.
const TITLE: usize = 256;
/// Bytes of what a server says of itself in a refusal.
const SAID: usize = 300;

/// What to do next.
#[derive(Debug)]
pub enum Asked {
    /// Send this, and come back with the answer.
    Send(Box<HttpRequest>),
    /// The document.
    Done(Box<Imported>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Discover,
    Hello,
    Ready,
    List,
}

/// Asking a server for its tools.
#[derive(Debug)]
pub struct Listing {
    url: String,
    name: String,
    /// What is sent with every request, such as who asks.
    headers: Vec<(String, String)>,
    stage: Stage,
    protocol: String,
    session: Option<String>,
    server: Wire,
    tools: Vec<Wire>,
    cursor: Option<String>,
}

impl Listing {
    /// Asks the server at this address; its tools will be `tool:name/…`.
    pub fn new(url: &str, name: &str, headers: Vec<(String, String)>) -> Listing {
        Listing {
            url: url.to_owned(),
            name: name.to_owned(),
            headers,
            stage: Stage::Discover,
            protocol: MODERN.to_owned(),
            session: None,
            server: Wire::Null,
            tools: Vec::new(),
            cursor: None,
        }
    }
    /// The first request.
    pub fn begin(&self) -> HttpRequest {
        self.request()
    }
    /// What follows from an answer.
    ///
    /// # Errors
    /// Why there is no document.
    pub fn next(&mut self, answer: &HttpResponse) -> Result<Asked, String> {
        let message = message_of(answer);
        let result = message.as_ref().map(|message| &message["result"]).filter(|result| result.is_object());
        let refused = || {
            let said = message.as_ref().and_then(|message| message["error"]["message"].as_str());
            let said = said.map_or_else(|| excerpt(&answer.body), |said| cut(said, SAID).to_owned());
            let hint = match answer.status {
                401 | 403 => "; say who you are: `--header \"Authorization: Bearer …\"`",
                404 | 405 => "; is this the address of its endpoint, such as `https://host/mcp`?",
                _ => "",
            };
            format!("the server answers HTTP {}: {said}{hint}", answer.status)
        };
        match self.stage {
            Stage::Discover => match result {
                Some(found)
                    if found["supportedVersions"]
                        .as_array()
                        .is_some_and(|all| all.contains(&MODERN.into())) =>
                {
                    self.server = found["_meta"]["io.modelcontextprotocol/serverInfo"].clone();
                    self.stage = Stage::List;
                }
                _ if matches!(answer.status, 401 | 403 | 408 | 429 | 500..) => return Err(refused()),
                // One that does not know the question is older.
                _ => {
                    self.stage = Stage::Hello;
                    LEGACY[0].clone_into(&mut self.protocol);
                }
            },
            Stage::Hello => {
                let found = result.ok_or_else(refused)?;
                let agreed = found["protocolVersion"].as_str().unwrap_or_default();
                if !LEGACY.contains(&agreed) {
                    return Err(format!(
                        "the server speaks version `{}` of the protocol; spoken here are {MODERN}, {}",
                        cut(agreed, 40),
                        LEGACY.join(", ")
                    ));
                }
                agreed.clone_into(&mut self.protocol);
                self.server = found["serverInfo"].clone();
                self.session = header(answer, "mcp-session-id").map(str::to_owned);
                self.stage = Stage::Ready;
            }
            Stage::Ready => self.stage = Stage::List,
            Stage::List => {
                let found = result.ok_or_else(refused)?;
                self.tools.extend(found["tools"].as_array().cloned().unwrap_or_default());
                self.cursor = found["nextCursor"].as_str().map(str::to_owned);
                if self.cursor.is_none() || self.tools.len() >= MOST {
                    return self.document().map(|document| Asked::Done(Box::new(document)));
                }
            }
        }
        Ok(Asked::Send(Box::new(self.request())))
    }
    fn request(&self) -> HttpRequest {
        let modern = self.protocol == MODERN;
        let mut params = Vec::new();
        if modern {
            params.push(("_meta", Value::map(who())));
        }
        if let Some(cursor) = &self.cursor {
            params.push(("cursor", Value::text(&**cursor)));
        }
        let (message, method) = match self.stage {
            Stage::Discover => (asked("server/discover", params), "server/discover"),
            Stage::Hello => (hello(&self.protocol), "initialize"),
            Stage::Ready => (told("notifications/initialized"), "notifications/initialized"),
            Stage::List => (asked("tools/list", params), "tools/list"),
        };
        let mut headers = self.headers.clone();
        let mut set = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
        set("accept", ACCEPT);
        set("content-type", "application/json");
        if self.stage != Stage::Hello {
            set("mcp-protocol-version", &self.protocol);
        }
        if modern {
            set("mcp-method", method);
        }
        if let Some(session) = &self.session {
            set("mcp-session-id", session);
        }
        let body = Json::from_value(message).text().as_bytes().to_vec();
        HttpRequest {
            method: "POST".into(),
            url: self.url.clone(),
            headers,
            body: Some(body),
            timeout_ms: None,
        }
    }
    fn document(&self) -> Result<Imported, String> {
        let (mut endpoints, mut left_out) = (Map::new(), Vec::new());
        for tool in &self.tools {
            let Some(remote) = tool["name"].as_str().filter(|name| !name.is_empty()) else { continue };
            let id = name_of(remote, "", remote);
            if has_header(&tool["inputSchema"]) {
                left_out.push(format!("{remote}: it wants some of its input in headers (`x-mcp-header`)"));
                continue;
            }
            if endpoints.len() >= MOST_ENDPOINTS {
                left_out.push(format!("{remote}: a connector has {MOST_ENDPOINTS} endpoints at most"));
                continue;
            }
            if endpoints.contains_key(&id) {
                left_out.push(format!("{remote}: another tool is called `{id}`"));
                continue;
            }
            endpoints.insert(id, endpoint(remote, tool));
        }
        if endpoints.is_empty() {
            return Err("the server has no tools".into());
        }
        let mut document = json!({
            "connector": "1.0",
            "name": self.name,
            "version": semver_of(self.server["version"].as_str().unwrap_or_default()),
            "baseUrl": self.url,
            "mcp": self.protocol,
        });
        let title = self.server["title"].as_str().or_else(|| self.server["name"].as_str());
        if let Some(title) = title {
            document["title"] = title.into();
        }
        document["endpoints"] = endpoints.into();
        Ok(Imported { document, left_out })
    }
}

fn endpoint(remote: &str, tool: &Wire) -> Wire {
    let mut endpoint = json!({ "tool": remote });
    let hints = &tool["annotations"];
    if let Some(title) = tool["title"].as_str().or_else(|| hints["title"].as_str()) {
        endpoint["title"] = cut(title, TITLE).into();
    }
    if let Some(text) = tool["description"].as_str() {
        endpoint["description"] = cut(text, DESCRIPTION).into();
    }
    if hints["destructiveHint"] == true {
        endpoint["destructive"] = true.into();
    }
    let mut input = tool["inputSchema"].clone();
    if let Some(schema) = input.as_object_mut() {
        schema.remove("$schema");
    }
    endpoint["input"] = if input.is_object() { input } else { json!({ "type": "object" }) };
    if tool["outputSchema"].is_object() {
        let mut output = tool["outputSchema"].clone();
        output.as_object_mut().map(|schema| schema.remove("$schema"));
        endpoint["response"] = output;
    }
    endpoint
}

/// As much of a text as has so many bytes.
pub(in crate::connector) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether members of an input are to be sent in headers, too.
fn has_header(schema: &Wire) -> bool {
    let members = schema["properties"].as_object().into_iter().flatten();
    members.into_iter().any(|(_, member)| member.get("x-mcp-header").is_some() || has_header(member))
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned()
}
