//! What a workflow's newest version says of schedules becomes rows. Done when a version is published, and again now and
//! then for all of them: a node may die between the two writes.

use super::{Kept, Loaded, TRIES, body};
use crate::shared::Shared;
use crate::workflows::{self, WorkflowEntry};
use heddle_core::document::Fault;
use heddle_core::id::Tenant;
use heddle_core::plan::schedules_of;
use heddle_core::schedule::Schedule;
use heddle_core::schedule::machine::{Bounds, Changed, Input, decide};
use heddle_core::schedule::state::State;
use heddle_store::{ScheduleFault, ScheduleRow, ScheduleWrite, StoreFault};

const PAGE: u32 = 200;

/// Brings the rows of a workflow to what its newest version says. A pre-release schedules nothing.
pub(crate) async fn sync(shared: &Shared, tenant: &Tenant, workflow: &str) -> Result<(), StoreFault> {
    let versions = workflows::versions(shared, tenant, Some(workflow)).await?;
    let newest = versions.into_iter().rev().find(|entry| entry.version.pre.is_empty());
    let Some(newest) = newest else { return Ok(()) };
    let wanted = read(&newest)?;
    for schedule in &wanted {
        define(shared, tenant, &newest, schedule).await?;
    }
    for row in rows(shared, tenant, &workflow.replace('/', ".")).await? {
        if !wanted.iter().any(|schedule| *schedule.id == *row.id) {
            retire(shared, tenant, &newest, &row.id).await?;
        }
    }
    Ok(())
}

/// The same for all workflows.
pub(super) async fn sync_all(shared: &Shared, tenant: &Tenant) -> Result<(), StoreFault> {
    for workflow in workflows::names(shared, tenant).await? {
        sync(shared, tenant, &workflow).await?;
    }
    Ok(())
}

fn read(entry: &WorkflowEntry) -> Result<Vec<Schedule>, StoreFault> {
    let damaged = |faults: Vec<Fault>| StoreFault::Damaged {
        what: format!("workflow {}/{}@{}", entry.namespace, entry.name, entry.version),
        why: faults.first().map(ToString::to_string).unwrap_or_default(),
    };
    schedules_of(&entry.source).map_err(damaged)
}

async fn rows(shared: &Shared, tenant: &Tenant, workflow: &str) -> Result<Vec<ScheduleRow>, StoreFault> {
    let prefix = format!("{workflow}.");
    let (mut after, mut found) = (prefix.clone(), Vec::new());
    loop {
        let page = shared.shelf.schedules(tenant, &after, PAGE).await?;
        let full = page.len() == PAGE as usize;
        for row in page {
            if !row.id.starts_with(&prefix) {
                return Ok(found);
            }
            after.clone_from(&row.id);
            found.push(row);
        }
        if !full {
            return Ok(found);
        }
    }
}

/// Makes a schedule's row, or brings it up to date. What an older version says does not count any more.
async fn define(
    shared: &Shared,
    tenant: &Tenant,
    newest: &WorkflowEntry,
    schedule: &Schedule,
) -> Result<(), StoreFault> {
    for _ in 0..TRIES {
        let row = shared.shelf.schedule(tenant, &schedule.id).await?;
        let (now, bounds) = (shared.now(), Bounds::from(&*shared.limits));
        let (expected, state) = match row.as_ref().map(Loaded::of).transpose()? {
            None => (0, State::since(newest.published_at)),
            Some(Loaded { kept, .. }) if kept.version > newest.version => return Ok(()),
            Some(Loaded { kept, schedule: old, version, .. }) => {
                let same = kept.version == newest.version && kept.entry == schedule.entry;
                if same && !kept.state.retired {
                    return Ok(());
                }
                let changed = old.timing.text() != schedule.timing.text();
                let timing = if changed { Changed::Yes } else { Changed::No };
                let input = Input::Define { since: newest.published_at, timing };
                let mut state = kept.state.clone();
                for fact in decide(schedule, &bounds, &kept.state, &input, now).unwrap_or_default() {
                    state.apply(&fact, now, &bounds);
                }
                (version, state)
            }
        };
        let kept = Kept {
            workflow: format!("{}/{}", newest.namespace, newest.name).into(),
            version: newest.version.clone(),
            entry: schedule.entry.clone(),
            state,
        };
        let write = ScheduleWrite {
            epoch: shared.epoch(),
            tenant: tenant.clone(),
            id: schedule.id.to_string(),
            expected,
            body: Some(body(&kept)),
        };
        if written(shared, write).await? {
            return Ok(());
        }
    }
    Err(StoreFault::Conflict(schedule.id.to_string()))
}

/// Lets a schedule end that the newest version has no more.
async fn retire(
    shared: &Shared,
    tenant: &Tenant,
    newest: &WorkflowEntry,
    id: &str,
) -> Result<(), StoreFault> {
    for _ in 0..TRIES {
        let Some(row) = shared.shelf.schedule(tenant, id).await? else { return Ok(()) };
        let loaded = Loaded::of(&row)?;
        if loaded.kept.version > newest.version || loaded.kept.state.retired {
            return Ok(());
        }
        let (now, bounds) = (shared.now(), Bounds::from(&*shared.limits));
        let facts = decide(&loaded.schedule, &bounds, &loaded.kept.state, &Input::Retire, now);
        let mut kept = Kept { version: newest.version.clone(), ..loaded.kept.clone() };
        let facts = facts.unwrap_or_default();
        for fact in &facts {
            kept.state.apply(fact, now, &bounds);
        }
        if written(shared, loaded.write(shared, &kept)).await? {
            super::count(&facts);
            return Ok(());
        }
    }
    Err(StoreFault::Conflict(id.to_owned()))
}

/// Whether the write was made; not where somebody was quicker.
async fn written(shared: &Shared, write: ScheduleWrite) -> Result<bool, StoreFault> {
    let name = (write.tenant.clone(), write.id.clone());
    match shared.shelf.put_schedule(write).await {
        Ok(_) => {
            shared.bell.ring(name);
            Ok(true)
        }
        Err(ScheduleFault::Conflict { .. }) => Ok(false),
        Err(fault @ ScheduleFault::Fenced { .. }) => Err(StoreFault::Unavailable(fault.to_string())),
        Err(ScheduleFault::Store(fault)) => Err(fault),
    }
}
