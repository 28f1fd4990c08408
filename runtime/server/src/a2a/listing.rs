//! `ListTasks`: the runs that came by this door, newest first.

use super::faults::refused;
use super::{Door, shown};
use a2a::{A2AError, ListTasksRequest, ListTasksResponse, Task, TaskState};
use heddle_core::id::{RunId, Tenant};
use heddle_executor::{RunDetail, RunFilter};
use heddle_store::{Listed, RunQuery, RunStatus};

/// Tasks of a page, where nothing is said, and at most.
const PAGE: (i32, i32) = (50, 100);

pub(super) async fn list(door: &Door, request: ListTasksRequest) -> Result<ListTasksResponse, A2AError> {
    let size = request.page_size.unwrap_or(PAGE.0);
    if !(1..=PAGE.1).contains(&size) {
        return Err(A2AError::invalid_params(format!("`pageSize` is 1 to {}", PAGE.1)));
    }
    if request.history_length.is_some_and(|length| length < 0) {
        return Err(A2AError::invalid_params("`historyLength` is 0 or more"));
    }
    let token = request.page_token.as_deref().filter(|token| !token.is_empty());
    let after = token.map(str::parse::<RunId>).transpose();
    let after = after.map_err(|_| A2AError::invalid_params("`pageToken` is no `nextPageToken` of a page"))?;
    let (mut tasks, mut total, mut last, mut oldest) = (Vec::new(), 0, None, None);
    let mut before: Option<RunId> = None;
    let mut looked = 0;
    'pages: loop {
        let (rows, cursor) = page(door, &request, before).await?;
        for run in rows {
            looked += 1;
            let detail = door.run(&run.to_string()).await?;
            if !fits(&request, &detail) {
                continue;
            }
            total += 1;
            oldest = Some(run);
            let is_here = after.is_none_or(|after| run < after);
            if is_here && tasks.len() < size as usize {
                tasks.push(entry(door, &request, &detail).await?);
                last = Some(run);
            }
            if looked as u64 >= door.api.app.limits.list_scan {
                break 'pages;
            }
        }
        match cursor {
            Some(cursor) => before = Some(cursor),
            None => break,
        }
    }
    // There is a next page where something fits behind the last one here.
    let more = last.filter(|last| oldest.is_some_and(|oldest| oldest < *last));
    Ok(ListTasksResponse {
        next_page_token: more.map(|run| run.to_string()).unwrap_or_default(),
        page_size: tasks.len() as i32,
        total_size: total,
        tasks,
    })
}

async fn entry(door: &Door, request: &ListTasksRequest, detail: &RunDetail) -> Result<Task, A2AError> {
    match request.include_artifacts {
        Some(true) => shown::whole(door, detail, request.history_length).await,
        _ => Ok(shown::standing(door, detail, request.history_length)),
    }
}

fn fits(request: &ListTasksRequest, detail: &RunDetail) -> bool {
    let state = request.status.clone().filter(|state| *state != TaskState::Unspecified);
    let last = detail.view.finished_at.or(detail.view.started_at).unwrap_or(detail.view.created_at);
    request.context_id.as_ref().is_none_or(|context| *context == shown::context(detail))
        && state.is_none_or(|state| state == shown::state(detail))
        && request
            .status_timestamp_after
            .is_none_or(|after| i64::try_from(last.0).is_ok_and(|last| last >= after.timestamp_millis()))
}

/// A page of runs, by what their index knows.
async fn page(
    door: &Door,
    request: &ListTasksRequest,
    before: Option<RunId>,
) -> Result<(Vec<RunId>, Option<RunId>), A2AError> {
    use RunStatus::{Cancelled, Failed, Succeeded};
    let status = match request.status {
        Some(TaskState::Completed) => vec![Succeeded],
        Some(TaskState::Failed) => vec![Failed],
        Some(TaskState::Canceled) => vec![Cancelled],
        _ => Vec::new(),
    };
    let query = RunQuery {
        tenant: Tenant::default(),
        status,
        workflow: None,
        version: None,
        slot: None,
        holding: None,
        label: Some(("door".to_owned(), "a2a".to_owned())),
        before,
        limit: door.api.app.limits.page_items as u32,
    };
    let found = door.api.app.executor.runs(query, &RunFilter::default()).await;
    let (rows, cursor) = found.map_err(|fault| refused(&fault.into()))?;
    let runs = rows.into_iter().filter_map(|row| match row {
        Listed::Run(row) => Some(row.run),
        Listed::Unreadable { .. } => None,
    });
    Ok((runs.collect(), cursor))
}
