//! `ListTasks`: the runs that came by this door, the last begun first. What the index of runs knows is judged there; a run
//! is read only where it is shown, or where its state is asked for and it has not ended.

use super::faults::refused;
use super::shown::{self, CONTEXT, DOOR};
use super::{Door, params};
use a2a::{A2AError, ListTasksRequest, ListTasksResponse, Task, TaskState};
use heddle_core::id::{RunId, Tenant};
use heddle_core::time::Timestamp;
use heddle_executor::{RunDetail, RunFilter};
use heddle_store::{Listed, RunQuery, RunRow, RunStatus};
use serde_json::Value;

/// Tasks of a page, where nothing is said, and at most.
const PAGE: (i32, i32) = (50, 100);

pub(super) async fn list(door: &Door, given: Value) -> Result<ListTasksResponse, A2AError> {
    let request: ListTasksRequest = params(given)?;
    let size = request.page_size.unwrap_or(PAGE.0);
    if !(1..=PAGE.1).contains(&size) {
        return Err(A2AError::invalid_params(format!("`pageSize` is 1 to {}", PAGE.1)));
    }
    shown::check_length(request.history_length)?;
    let token = request.page_token.as_deref().filter(|token| !token.is_empty());
    let after = token.map(str::parse::<RunId>).transpose();
    let after = after.map_err(|_| A2AError::invalid_params("`pageToken` is no `nextPageToken` of a page"))?;
    let (mut tasks, mut total, mut next) = (Vec::new(), 0, None);
    let (mut before, mut looked, most) = (None, 0, door.api.app.limits.list_scan);
    let mut last: Option<RunId> = None;
    'pages: loop {
        let (rows, cursor) = page(door, &request, before).await?;
        for row in rows {
            looked += 1;
            if looked > most {
                // There may be more behind what was looked at.
                next = next.or(last);
                break 'pages;
            }
            last = Some(row.run);
            if !may_fit(&request, &row) {
                continue;
            }
            let is_shown = after.is_none_or(|after| row.run < after) && tasks.len() < size as usize;
            let must_read = is_shown || needs_state(&request) && !row.status.is_terminal();
            if must_read {
                // One that cannot be read is told by `heddle doctor`, and hides none of the others.
                let Ok(detail) = door.run(&row.run.to_string()).await else { continue };
                if !fits(&request, &detail) {
                    continue;
                }
                if is_shown {
                    tasks.push(entry(door, &request, &detail).await?);
                    if tasks.len() == size as usize {
                        next = Some(row.run);
                    }
                }
            }
            total += 1;
        }
        match cursor {
            Some(cursor) => before = Some(cursor),
            None => {
                // The page ends where everything ends.
                next = next.filter(|next| last.is_some_and(|last| last < *next));
                break;
            }
        }
    }
    Ok(ListTasksResponse {
        next_page_token: next.map(|run| run.to_string()).unwrap_or_default(),
        page_size: size,
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

fn state_of(request: &ListTasksRequest) -> Option<&TaskState> {
    request.status.as_ref().filter(|state| **state != TaskState::Unspecified)
}

/// Whether a run must be read to say whether it fits.
fn needs_state(request: &ListTasksRequest) -> bool {
    state_of(request).is_some() || request.status_timestamp_after.is_some()
}

/// Whether a run may fit, by what its index says.
fn may_fit(request: &ListTasksRequest, row: &RunRow) -> bool {
    let context = row.labels.iter().find(|(key, _)| &**key == CONTEXT).map(|(_, value)| value.to_string());
    let context = context.unwrap_or_else(|| row.run.to_string());
    let ended = row.status.is_terminal();
    let wants_open = matches!(
        state_of(request),
        Some(TaskState::Submitted | TaskState::Working | TaskState::InputRequired | TaskState::AuthRequired)
    );
    let too_early = |finished: Timestamp| {
        let finished = i64::try_from(finished.0).unwrap_or(i64::MAX);
        request.status_timestamp_after.is_some_and(|after| finished < after.timestamp_millis())
    };
    request.context_id.as_ref().is_none_or(|wanted| *wanted == context)
        && !(wants_open && ended)
        && !row.finished.is_some_and(too_early)
}

fn fits(request: &ListTasksRequest, detail: &RunDetail) -> bool {
    let changed = i64::try_from(shown::changed(detail).0).unwrap_or(i64::MAX);
    state_of(request).is_none_or(|state| *state == shown::state(detail))
        && request.status_timestamp_after.is_none_or(|after| changed >= after.timestamp_millis())
}

/// A page of runs, by what their index knows.
async fn page(
    door: &Door,
    request: &ListTasksRequest,
    before: Option<RunId>,
) -> Result<(Vec<RunRow>, Option<RunId>), A2AError> {
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
        label: Some(("door".to_owned(), DOOR.to_owned())),
        before,
        limit: door.api.app.limits.page_items as u32,
    };
    let found = door.api.app.executor.runs(query, &RunFilter::default()).await;
    let (rows, cursor) = found.map_err(|fault| refused(&fault.into()))?;
    let runs = rows.into_iter().filter_map(|row| match row {
        Listed::Run(row) => Some(*row),
        Listed::Unreadable { .. } => None,
    });
    Ok((runs.collect(), cursor))
}
