//! What a client may read: runs with their outputs, journals and graphs, and published workflows.

use super::Door;
use super::faults::refused;
use crate::http::graph::{Format, Graph};
use crate::http::runs::entries;
use crate::http::wire::run::{Around, run};
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::WorkflowRef;
use heddle_core::run::view::ValueView;
use heddle_executor::{Clock as _, RunDetail, RunFilter, SystemClock};
use heddle_store::{Listed, RunQuery};
use rmcp::model::{
    ErrorData, ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};
use serde_json::json;

const JSON: &str = "application/json";
const SCHEME: &str = "heddle://";
/// Runs that are listed at a time.
const RUNS: u32 = 50;

/// What a resource is of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Output,
    Journal { after: u64 },
    Graph,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Run(RunId, Part),
    Workflow(String),
}

fn wanted(uri: &str) -> Option<Wanted> {
    let (kind, rest) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    if kind == "workflows" {
        return WorkflowRef::parse(rest)
            .ok()
            .filter(|named| named.name == rest)
            .map(|n| Wanted::Workflow(n.name));
    }
    let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
    let run = id.parse().ok().filter(|_| kind == "runs")?;
    let part = match part.split_once('?').unwrap_or((part, "")) {
        ("", "") => Part::Whole,
        ("output", "") => Part::Output,
        ("graph", "") => Part::Graph,
        ("journal", "") => Part::Journal { after: 0 },
        ("journal", query) => Part::Journal { after: query.strip_prefix("cursor=")?.parse().ok()? },
        _ => return None,
    };
    Some(Wanted::Run(run, part))
}

pub(super) fn templates() -> ListResourceTemplatesResult {
    let of = |path: &str, name: &str, what: &str, media: &str| {
        ResourceTemplate::new(format!("{SCHEME}{path}"), name).with_description(what).with_mime_type(media)
    };
    ListResourceTemplatesResult::with_all_items(vec![
        of("runs/{run}", "run", "A run: where it stands, its steps, attempts and result.", JSON),
        of("runs/{run}/output", "run-output", "What a run gave back.", JSON),
        of(
            "runs/{run}/journal{?cursor}",
            "run-journal",
            "What was decided in a run, row by row; `cursor` is that of the page before.",
            JSON,
        ),
        of("runs/{run}/graph", "run-graph", "The graph of a run, as Mermaid.", "text/vnd.mermaid"),
        of("workflows/{namespace}/{name}", "workflow", "A published workflow, as it runs.", JSON),
    ])
}

/// The newest runs, page by page.
pub(super) async fn list(
    door: &Door,
    request: Option<PaginatedRequestParams>,
) -> Result<ListResourcesResult, ErrorData> {
    let cursor = request.and_then(|request| request.cursor);
    let before = cursor.as_deref().map(|text| {
        let fault = || ErrorData::invalid_params(format!("`{text}` is no `nextCursor` of a page"), None);
        text.parse::<RunId>().map_err(|_| fault())
    });
    let query = RunQuery {
        tenant: Tenant::default(),
        status: Vec::new(),
        workflow: None,
        version: None,
        slot: None,
        holding: None,
        label: None,
        before: before.transpose()?,
        limit: RUNS,
    };
    let found = door.api.app.executor.runs(query, &RunFilter::default()).await;
    let (runs, next) = found.map_err(|fault| refused(fault.into()))?;
    let resources = runs.into_iter().filter_map(|listed| match listed {
        Listed::Run(row) => {
            let title = format!("{}@{}: {}", row.workflow, row.workflow_version, row.status.word());
            let resource = Resource::new(format!("{SCHEME}runs/{}", row.run), row.run.to_string());
            Some(resource.with_title(title).with_mime_type(JSON))
        }
        // `heddle doctor` tells of these.
        Listed::Unreadable { .. } => None,
    });
    let mut result = ListResourcesResult::with_all_items(resources.collect());
    result.next_cursor = next.map(|run| run.to_string());
    Ok(result)
}

pub(super) async fn read(
    door: &Door,
    request: ReadResourceRequestParams,
) -> Result<ReadResourceResult, ErrorData> {
    let uri = request.uri;
    let none = || {
        let shown: String = uri.chars().take(200).collect();
        ErrorData::resource_not_found(
            format!("there is nothing at `{shown}`; `resources/templates/list` shows what there may be"),
            Some(json!({ "uri": shown })),
        )
    };
    let (text, media) = match wanted(&uri).ok_or_else(none)? {
        Wanted::Workflow(name) => {
            let entry = door.api.app.executor.workflow(&Tenant::default(), &name, None).await;
            let entry = entry.map_err(|fault| refused(fault.into()))?.ok_or_else(none)?;
            (entry.source.text().to_owned(), JSON)
        }
        Wanted::Run(id, part) => {
            let detail = door.run(&id.to_string()).await.map_err(|_| none())?;
            match part {
                Part::Graph => {
                    (Graph::of(detail.plan(), Some(&detail.view)).print(Format::Mermaid), "text/vnd.mermaid")
                }
                Part::Whole => {
                    let around =
                        Around { detail: &detail, limits: &door.api.app.limits, now: SystemClock.now() };
                    (in_form(&run(around))?, JSON)
                }
                Part::Output => (output(door, &detail).await?.ok_or_else(none)?.text().to_owned(), JSON),
                Part::Journal { after } => {
                    let page = entries(&door.api, id, after, RUNS).await.map_err(refused)?;
                    (in_form(&page)?, JSON)
                }
            }
        }
    };
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, &uri).with_mime_type(media)]))
}

fn in_form(document: &impl serde::Serialize) -> Result<String, ErrorData> {
    serde_json::to_string(document).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// What a run gave back, where it has.
async fn output(door: &Door, detail: &RunDetail) -> Result<Option<Json>, ErrorData> {
    match &detail.view.output {
        None => Ok(None),
        Some(ValueView::Inline(value)) => Ok(Some(value.clone())),
        Some(ValueView::Stored(digest, _)) => {
            let read = door.api.app.executor.value(&Tenant::default(), detail.view.id, *digest).await;
            read.map_err(|fault| refused(fault.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_found() {
        let run: RunId = "018f2f3a-0000-7000-8000-000000000000".parse().unwrap();
        let of = |rest: &str| wanted(&format!("heddle://runs/{run}{rest}"));
        assert_eq!(of(""), Some(Wanted::Run(run, Part::Whole)));
        assert_eq!(of("/output"), Some(Wanted::Run(run, Part::Output)));
        assert_eq!(of("/journal?cursor=7"), Some(Wanted::Run(run, Part::Journal { after: 7 })));
        assert_eq!(wanted("heddle://workflows/acme/report"), Some(Wanted::Workflow("acme/report".into())));
        for bad in ["/nothing", "/journal?after=7", "/journal?cursor=x", "/output/more", "/output?x=1"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        for bad in
            ["", "file:///etc/passwd", "heddle://runs", "heddle://workflows/acme", "heddle://runs/../x"]
        {
            assert_eq!(wanted(bad), None, "{bad}");
        }
    }
}
