//! `heddle workflow instantiate`: a workflow that is made of a template.

use super::super::client::Ask;
use super::super::control::user;
use super::super::exact::Exact;
use super::super::exit::{Exit, Fault};
use super::super::{Context, input, out};
use super::life::Named;
use super::{InstantiateArgs, told};
use serde::Serialize;

/// What is made, as the API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Made<'a> {
    name: &'a str,
    version: &'a str,
    parameters: Exact,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    dry_run: bool,
}

pub(super) async fn instantiate(asked: &InstantiateArgs, context: &Context) -> Result<Exit, Fault> {
    let template = Named::parse(&asked.template)?;
    let parameters = input::object(("parameters", asked.parameters.as_deref()), ("param", &asked.param))?;
    let made = Made {
        name: &asked.name,
        version: &asked.version,
        parameters: Exact::parse(parameters.text()).unwrap_or_default(),
        template_version: template.version,
        status: asked.draft.then_some("draft"),
        dry_run: asked.dry_run,
    };
    let body = serde_json::to_string(&made).unwrap_or_default();
    let path = format!("{}/instantiate", template.path());
    let ask = Ask::post(&path, "application/json", body).with("heddle-user", user());
    let document = context.client()?.json(ask).await?;
    match (context.json, asked.dry_run) {
        (true, _) => out::json(&document),
        (false, true) => out::note(&format!("`{}` has no fault with these parameters", asked.template)),
        (false, false) => told(&document),
    }
    Ok(Exit::Ok)
}
