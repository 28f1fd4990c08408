//! A service that speaks HTTP, as a document: each of its endpoints is a tool, `tool:service/endpoint`, with schemas,
//! without anybody compiling anything. So is each tool of a server that speaks the
//! Model Context Protocol ([`mcp`]), and each skill of another agent ([`a2a`]). What is sent follows from the input alone ([`Endpoint::request`]), and what is
//! answered from the response ([`Endpoint::answer`]); both are pure. Who may send it where is granted like any plugin's.

pub mod a2a;
pub mod dialogue;
mod endpoint;
pub mod mcp;
pub mod openapi;
mod read;
mod schemas;

use crate::plugin::Metadata;
use serde::{Deserialize, Serialize};

/// Endpoints of one connector.
pub const MOST_ENDPOINTS: usize = 200;
/// Schemas of one connector, with what they refer to in each of its tools, in texts of the size of a document.
pub const MOST_SCHEMAS: u64 = 4;
/// Parameters of one endpoint.
pub const MOST_PARAMETERS: usize = 64;

/// A service.
#[derive(Clone, Debug, PartialEq)]
pub struct Connector {
    /// `[a-z][a-z0-9_-]*`.
    pub name: String,
    /// Its version, and that of each of its tools.
    pub version: semver::Version,
    /// Its endpoints, in the order of the document.
    pub tools: Vec<Tool>,
}

/// An endpoint as a tool. Kept under its digest, as the bytes of a component are: whatever is said of it is part of what
/// it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// What it is to a workflow.
    pub metadata: Metadata,
    /// What it sends.
    pub endpoint: Endpoint,
}

/// What is sent for a call, and how the answer is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// `GET` and its like.
    pub method: String,
    /// The address in front of the path, without a slash at its end.
    pub base: String,
    /// The path, with `{name}` where a parameter stands.
    pub path: String,
    /// What goes into the address and the headers.
    pub parameters: Vec<Parameter>,
    /// Whether the member `body` of the input is sent, as JSON.
    pub has_body: bool,
    /// What is sent with every request, names in lower case.
    pub headers: Vec<(String, String)>,
    /// How it says who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// How long a request may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// The header in which the key goes that is the same for every attempt of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
    /// What is called, where the service speaks a protocol of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
    /// Whether it may destroy something: no pattern gives it to an agent, only its name does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destructive: bool,
}

/// What is called by another protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remote {
    /// A tool, by the Model Context Protocol.
    Mcp(mcp::RemoteTool),
    /// Another agent, by the Agent2Agent protocol.
    A2a(a2a::RemoteSkill),
}

/// A member of the input that goes into the address or a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// The member.
    pub name: String,
    /// Where it goes.
    pub place: Place,
    /// What it is called there.
    pub wire: String,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Into the path, in its braces.
    Path,
    /// Behind the `?`.
    Query,
    /// Into a header.
    Header,
}

/// How a request says who sends it. The value of the secret is put in on the way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// The name of the secret.
    pub secret: String,
    /// Where it goes: a header or the query.
    pub place: Place,
    /// The name of the header or of the parameter.
    pub name: String,
    /// What stands before the value.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

#[cfg(test)]
mod tests;
