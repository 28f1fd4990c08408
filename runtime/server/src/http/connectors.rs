//! Connectors: services whose endpoints are tools, as a document says, without anybody compiling anything.

use super::Api;
use super::body::{Bound, Query, read, want_type};
use super::codes::Code;
use super::openapi::Problems;
use super::plugins::signature_of;
use super::problem::{Place, Problem};
use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use heddle_core::connector::Connector;
use heddle_core::document::Fault;
use heddle_core::id::Tenant;
use heddle_executor::PluginFault;
use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(push))
}

/// A connector that is loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connector)]
struct ConnectorDoc {
    /// Its name.
    name: String,
    /// Its version.
    version: String,
    /// Its endpoints as tools, `tool:service/endpoint@version`.
    tools: Vec<String>,
    /// What an operator has to grant to `tool:service/*`: `http`, and `secret` where it has one.
    needs: Vec<&'static str>,
}

impl From<PluginFault> for Problem {
    fn from(fault: PluginFault) -> Problem {
        match fault {
            PluginFault::VersionConflict { .. } | PluginFault::Removed { .. } => {
                Problem::new(Code::VersionConflict, fault.to_string())
            }
            PluginFault::Store(fault) => fault.into(),
        }
    }
}

pub(crate) fn invalid(faults: Vec<Fault>) -> Problem {
    let detail = match faults.as_slice() {
        [one] => one.to_string(),
        more => format!("the connector has {} faults", more.len()),
    };
    Problem::new(Code::ConnectorInvalid, detail)
        .then("correct each of `errors` and send it again; `heddle connector check FILE` shows them in their lines")
        .at(faults.into_iter().map(Place::from))
}

/// Load a connector.
///
/// Each of its endpoints becomes a tool, `tool:service/endpoint`: called, cached, limited, granted and counted like any
/// other. The same document again changes nothing; another one under the same version is refused.
#[utoipa::path(
    post, path = "/v1/connectors", tag = "plugins", operation_id = "pushConnector",
    params(("Heddle-Signature" = Option<String>, Header, description = "Its detached signature: a `.minisig` file in base64.")),
    request_body(description = "The document.", content((String = "application/yaml"), (serde_json::Value = "application/json"))),
    responses((status = 201, description = "Its tools.", body = ConnectorDoc), Problems),
)]
async fn push(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    want_type(&parts.headers, &["application/yaml", "application/x-yaml", "text/yaml", "application/json"])?;
    let bytes = read(&parts.headers, content, Bound::small(&api.app.limits)).await?;
    let signer = api.app.loader.judge(&bytes, signature_of(&parts.headers)?.as_deref())?;
    std::str::from_utf8(&bytes)
        .map_err(|fault| Problem::new(Code::YamlInvalid, format!("the body is not UTF-8: {fault}")))?;
    let limits = api.app.limits.clone();
    // Hundreds of schemas may be checked for it.
    let read = move || Connector::read(std::str::from_utf8(&bytes).unwrap_or_default(), &limits);
    let read = tokio::task::spawn_blocking(read).await;
    let connector = read
        .map_err(|fault| Problem::new(Code::Internal, format!("reading the connector failed: {fault}")))?
        .map_err(invalid)?;
    let tools = api.app.executor.add_connector(&Tenant::default(), &connector, signer).await?;
    let has_secret = connector.tools.iter().any(|tool| tool.endpoint.auth.is_some());
    let document = ConnectorDoc {
        name: connector.name,
        version: connector.version.to_string(),
        tools: tools.iter().map(ToString::to_string).collect(),
        needs: if has_secret { vec!["http", "secret"] } else { vec!["http"] },
    };
    Ok((StatusCode::CREATED, Answer(document)).into_response())
}
