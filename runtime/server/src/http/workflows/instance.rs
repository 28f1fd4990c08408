//! Workflows that are made of templates.

use super::super::Api;
use super::super::body::{Members, Query, small};
use super::super::caller::caller;
use super::super::codes::Code;
use super::super::openapi::Problems;
use super::super::problem::{Place, Problem};
use super::super::wire::workflow::{OriginDoc, WorkflowDoc, checked};
use super::{answer, none};
use axum::Json as Answer;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use heddle_core::id::{Tenant, is_name};
use heddle_core::json::Json;
use heddle_core::plan::WorkflowRef;
use heddle_core::template::Head;
use heddle_core::version::VersionStatus;
use heddle_executor::{Instance, InstanceFault, Instantiate, Keep};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The version of a workflow that is given none.
const FIRST: semver::Version = semver::Version::new(1, 0, 0);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(instantiate))
}

/// What is made of a template.
#[derive(Debug, ToSchema)]
#[schema(as = InstantiateRequest, rename_all = "camelCase")]
#[allow(
    dead_code,
    reason = "read by name, so that every fault can be told at once; here for the API's description"
)]
struct InstanceRequest {
    /// What the workflow is called: `name`, in the namespace of the template, or `namespace/name`.
    name: String,
    /// Its version; `1.0.0` without one.
    version: Option<String>,
    /// What is put in place, by parameter.
    #[schema(value_type = Option<serde_json::Value>)]
    parameters: Option<serde_json::Value>,
    /// Which versions of the template will do: a range such as `^1`.
    template_version: Option<String>,
    /// `draft`, or `active` as without it.
    status: Option<String>,
    /// Only check it.
    dry_run: Option<bool>,
}

impl From<InstanceFault> for Problem {
    fn from(fault: InstanceFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            InstanceFault::Reference(fault) => fault.into(),
            InstanceFault::NoTemplate(_) => Problem::new(Code::WorkflowState, detail),
            InstanceFault::Parameters(faults) => {
                let detail = match faults.as_slice() {
                    [one] => one.message.clone(),
                    _ => detail,
                };
                Problem::new(Code::ParametersInvalid, detail).at(faults.into_iter().map(Place::from))
            }
            InstanceFault::Publish(fault) => fault.into(),
        }
    }
}

/// What the body says.
fn wish(said: &Json, (namespace, name): (&str, &str)) -> Result<Instantiate, Problem> {
    let mut members = Members::of(said);
    let own = match members.text("name") {
        Some(text) => {
            let (namespace, own) = text.split_once('/').unwrap_or((namespace, text));
            if !is_name(namespace) || !is_name(own) {
                members.fault(
                    "name",
                    "wants `name` or `namespace/name`, each `[a-z][a-z0-9_-]*`, at most 64 bytes",
                );
            }
            (namespace.to_owned(), own.to_owned())
        }
        None => {
            members.fault("name", "`name` is missing: what the workflow is called");
            (String::new(), String::new())
        }
    };
    let version =
        members.text("version").map(str::parse::<semver::Version>).transpose().unwrap_or_else(|_| {
            members.fault("version", "wants a semantic version such as `1.0.0`");
            None
        });
    let parameters = members.get("parameters").cloned().map_or_else(|| Json::trusted("{}"), Json::from_value);
    let range = members.text("templateVersion").unwrap_or("*");
    let template = WorkflowRef::parse(&format!("{namespace}/{name}@{range}"));
    let template = template.map_err(|fault| members.fault("templateVersion", fault.to_string())).ok();
    let status = members.text("status").map(VersionStatus::from_word);
    let status = match status {
        None => Some(VersionStatus::Active),
        Some(Some(status @ (VersionStatus::Draft | VersionStatus::Active))) => Some(status),
        Some(_) => {
            members.fault("status", "wants `draft` or `active`");
            None
        }
    };
    let keep = if members.flag("dryRun") == Some(true) { Keep::No } else { Keep::Yes };
    members.finish()?;
    let (Some(template), Some(status)) = (template, status) else {
        return Err(none(&format!("{namespace}/{name}")));
    };
    let head = Head { namespace: own.0, name: own.1, version: version.unwrap_or(FIRST) };
    Ok(Instantiate { template, head, parameters, status, by: None, keep })
}

/// Make a workflow of a template, and publish it.
///
/// It is checked as any other. That it was made of the template, and with what, stands in its document as `origin`.
#[utoipa::path(
    post, path = "/v1/workflows/{namespace}/{name}/instantiate", tag = "workflows", operation_id = "instantiateWorkflow",
    params(
        ("namespace" = String, Path, description = "Namespace of the template."), ("name" = String, Path, description = "Name of the template."),
        ("Heddle-User" = Option<String>, Header, description = "Who publishes it, as a proxy that knows its users says."),
    ),
    request_body(content = InstanceRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "It has no fault, or was published before.", body = WorkflowDoc),
        (status = 201, description = "It was published.", body = WorkflowDoc, headers(("Location" = String, description = "Path of the version."))),
        Problems,
    ),
)]
async fn instantiate(
    State(api): State<Api>,
    Path((namespace, name)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, content) = request.into_parts();
    Query::of(parts.uri.query()).finish()?;
    let by = Some(caller(&parts.headers)?.name().into());
    let said = small(&parts.headers, content, &api.app.limits).await?;
    let shown = format!("{namespace}/{name}");
    if !is_name(&namespace) || !is_name(&name) {
        return Err(none(&shown));
    }
    let wish = Instantiate { by, ..wish(&said, (&namespace, &name))? };
    let status = wish.status;
    match api.app.executor.instantiate(&Tenant::default(), wish).await? {
        Instance::Checked(plan, origin) => {
            let origin = Some(OriginDoc::from(&origin));
            Ok(Answer(WorkflowDoc { origin, ..checked(&plan, status) }).into_response())
        }
        Instance::Published(done) => answer(&done),
    }
}
