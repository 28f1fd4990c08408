//! The pages that explain every code, where the `type` of a problem says that they are.

use super::Api;
use super::codes::{Code, page};
use super::openapi::Problems;
use super::problem::Problem;
use axum::extract::Path;
use hyper::header::{CONTENT_TYPE, HeaderName};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// What a code or a kind of failure means, its cause, and what to do.
#[utoipa::path(
    get, path = "/docs/errors/{code}", tag = "node", operation_id = "explainCode",
    params(("code" = String, Path, description = "A code of a problem, or a kind of failure.")),
    responses((status = 200, description = "The page.", body = String, content_type = "text/markdown"), Problems),
)]
async fn explain(
    Path(code): Path<String>,
) -> Result<([(HeaderName, &'static str); 1], &'static str), Problem> {
    let text = page(&code).ok_or_else(|| {
        let code: String = code.chars().take(64).collect();
        Problem::new(Code::RouteNotFound, format!("no code is called `{code}`"))
    })?;
    Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], text))
}
