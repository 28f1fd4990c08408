//! The agent card: what may be asked of this node, and where.

use crate::door::offer::{Effects, offered};
use crate::http::Api;
use crate::http::origin;
use crate::http::problem::Problem;
use a2a::{
    AgentCapabilities, AgentCard, AgentInterface, AgentSkill, TRANSPORT_PROTOCOL_HTTP_JSON,
    TRANSPORT_PROTOCOL_JSONRPC,
};
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use heddle_core::id::Digest;
use hyper::header::{CACHE_CONTROL, ETAG, HOST, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::{HeaderMap, StatusCode};

/// How long a card may be taken for true.
const FRESH: &str = "public, max-age=60";
/// What goes in and out.
pub(super) const MODES: [&str; 2] = ["application/json", "text/plain"];

/// `GET /.well-known/agent-card.json`
pub(super) async fn card(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    origin::check_host(&headers, uri.host(), &api.app.doors.hosts)?;
    let card = of(&api, &base(&api, &headers, &uri)).await?;
    let text = serde_json::to_vec(&card).unwrap_or_default();
    let tag = format!("\"{}\"", &Digest::of(&text).hex()[..16]);
    let known = headers.get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let mut response = match known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Json(card).into_response(),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(FRESH));
    response.headers_mut().insert(VARY, HeaderValue::from_static("host"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

/// The address of this node: what the operator says, else the one by which it is asked.
pub(super) fn base(api: &Api, headers: &HeaderMap, uri: &Uri) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
    match (&api.app.doors.url, host) {
        (Some(url), _) => url.clone(),
        (None, host) => format!("http://{}", host.unwrap_or("localhost")),
    }
}

async fn of(api: &Api, base: &str) -> Result<AgentCard, Problem> {
    let offered = offered(api, &api.app.doors.a2a, &[]).await?;
    let modes = || MODES.map(str::to_owned).to_vec();
    let skills = offered.into_iter().map(|one| {
        let kind = if one.is_workflow() { "workflow" } else { "plugin" };
        let mut tags = vec![kind.to_owned()];
        tags.extend((one.effects == Effects::None).then(|| "read-only".to_owned()));
        let mut description = one.description;
        if let Some(schema) = one.input.filter(|schema| schema.text() != "true") {
            description.push_str(&format!("\nInput, as a data part: {}", schema.text()));
        }
        AgentSkill {
            id: one.id,
            name: if one.title.is_empty() { one.name } else { one.title },
            description,
            tags,
            examples: None,
            input_modes: None,
            output_modes: None,
            security_requirements: None,
        }
    });
    Ok(AgentCard {
        name: "Heddle".to_owned(),
        description:
            "Durable workflows of agents, tools and transforms. A message is a run; which skill it is for \
                      stands in its `metadata.skill`."
                .to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        supported_interfaces: [TRANSPORT_PROTOCOL_JSONRPC, TRANSPORT_PROTOCOL_HTTP_JSON]
            .map(|binding| AgentInterface::new(format!("{base}/a2a"), binding))
            .to_vec(),
        capabilities: AgentCapabilities {
            streaming: Some(true),
            push_notifications: Some(false),
            extensions: None,
            extended_agent_card: Some(false),
        },
        default_input_modes: modes(),
        default_output_modes: modes(),
        skills: skills.collect(),
        provider: None,
        documentation_url: None,
        icon_url: None,
        security_schemes: None,
        security_requirements: None,
        signatures: None,
    })
}
