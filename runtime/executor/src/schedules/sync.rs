//! What a workflow's highest active version says of schedules becomes rows. Done when a version is published or changes
//! its status, and again now and then for all of them: a node may die between the two writes.

use super::{Kept, Loaded, TRIES, body};
use crate::shared::Shared;
use crate::workflows::{self, Speaker, WorkflowEntry, speaker};
use heddle_core::document::Fault;
use heddle_core::id::Tenant;
use heddle_core::plan::schedules_of;
use heddle_core::schedule::Schedule;
use heddle_core::schedule::machine::{Bounds, Changed, Input, decide};
use heddle_core::schedule::state::State;
use heddle_core::time::Timestamp;
use heddle_store::{ScheduleFault, ScheduleRow, ScheduleWrite, StoreFault};

const PAGE: u32 = 200;

/// Brings the rows of a workflow to what its highest active version says. Where it has none, its schedules end.
pub(crate) async fn sync(shared: &Shared, tenant: &Tenant, workflow: &str) -> Result<(), StoreFault> {
    let mut says = speaker(shared, tenant, workflow).await?;
    for _ in 0..TRIES {
        if bring(shared, tenant, workflow, &says).await? == Written::No {
            return Ok(());
        }
        // Another version may have come to count while this one was written.
        let now = speaker(shared, tenant, workflow).await?;
        if now.version() == says.version() {
            return Ok(());
        }
        says = now;
    }
    Err(StoreFault::Conflict(workflow.to_owned()))
}

/// Whether anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Yes,
    No,
}

impl Written {
    fn or(self, other: Written) -> Written {
        if self == Written::Yes { self } else { other }
    }
}

async fn bring(
    shared: &Shared,
    tenant: &Tenant,
    workflow: &str,
    speaker: &Speaker,
) -> Result<Written, StoreFault> {
    let (wanted, mut written) =
        (speaker.entry.as_ref().map(read).transpose()?.unwrap_or_default(), Written::No);
    for schedule in &wanted {
        if let Some(entry) = &speaker.entry {
            written = written.or(define(shared, tenant, (entry, speaker.since), schedule).await?);
        }
    }
    for row in rows(shared, tenant, &workflow.replace('/', ".")).await? {
        if !wanted.iter().any(|schedule| *schedule.id == *row.id) {
            written = written.or(retire(shared, tenant, speaker, &row.id).await?);
        }
    }
    Ok(written)
}

/// The schedules that stand in the list of this version and have not ended.
pub(crate) async fn of_version(
    shared: &Shared,
    tenant: &Tenant,
    workflow: &str,
    version: &semver::Version,
) -> Result<Vec<String>, StoreFault> {
    let mut found = Vec::new();
    for row in rows(shared, tenant, &workflow.replace('/', ".")).await? {
        let kept = Loaded::of(&row)?.kept;
        if kept.version == *version && !kept.state.retired {
            found.push(row.id);
        }
    }
    Ok(found)
}

/// The same for all workflows.
pub(super) async fn sync_all(shared: &Shared, tenant: &Tenant) -> Result<(), StoreFault> {
    for workflow in workflows::names_ever(shared, tenant).await? {
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

/// Makes a schedule's row, or brings it up to date.
async fn define(
    shared: &Shared,
    tenant: &Tenant,
    (entry, since): (&WorkflowEntry, Timestamp),
    schedule: &Schedule,
) -> Result<Written, StoreFault> {
    for _ in 0..TRIES {
        let row = shared.shelf.schedule(tenant, &schedule.id).await?;
        let (now, bounds) = (shared.now(), Bounds::from(&*shared.limits));
        let (expected, state) = match row.as_ref().map(Loaded::of).transpose()? {
            None => (0, State::since(since)),
            Some(Loaded { kept, schedule: old, version, .. }) => {
                let same = kept.version == entry.version && kept.entry == schedule.entry;
                if same && !kept.state.retired {
                    return Ok(Written::No);
                }
                let changed = old.timing.text() != schedule.timing.text();
                let timing = if changed { Changed::Yes } else { Changed::No };
                let input = Input::Define { since, timing };
                let mut state = kept.state.clone();
                for fact in decide(schedule, &bounds, &kept.state, &input, now).unwrap_or_default() {
                    state.apply(&fact, now, &bounds);
                }
                (version, state)
            }
        };
        let kept = Kept {
            workflow: entry.full_name().into(),
            version: entry.version.clone(),
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
            return Ok(Written::Yes);
        }
    }
    Err(StoreFault::Conflict(schedule.id.to_string()))
}

/// Lets a schedule end that the version which counts has no more.
async fn retire(
    shared: &Shared,
    tenant: &Tenant,
    speaker: &Speaker,
    id: &str,
) -> Result<Written, StoreFault> {
    for _ in 0..TRIES {
        let Some(row) = shared.shelf.schedule(tenant, id).await? else { return Ok(Written::No) };
        let loaded = Loaded::of(&row)?;
        if loaded.kept.state.retired {
            return Ok(Written::No);
        }
        let (now, bounds) = (shared.now(), Bounds::from(&*shared.limits));
        let facts = decide(&loaded.schedule, &bounds, &loaded.kept.state, &Input::Retire, now);
        let mut kept = loaded.kept.clone();
        kept.version = speaker.version().cloned().unwrap_or(kept.version);
        let facts = facts.unwrap_or_default();
        for fact in &facts {
            kept.state.apply(fact, now, &bounds);
        }
        if written(shared, loaded.write(shared, &kept)).await? {
            super::count(&facts);
            return Ok(Written::Yes);
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
