//! What becomes of a published version: its status changes, or it is deleted. What may follow what is decided in the
//! core; here it is written, and the schedules follow.

use super::entry::{self, Change, Origin, WorkflowEntry};
use super::references;
use super::speaker::follow;
use crate::schedules;
use crate::shared::Shared;
use heddle_core::document::Doc;
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::plan::WorkflowRef;
use heddle_core::version::{NoTransition, VersionStatus, resolve};
use heddle_store::{Listed, RunQuery, RunStatus, StoreFault};
use std::fmt::Write as _;
use std::sync::Arc;

/// How often a write is tried again because somebody else was quicker.
const TRIES: usize = 8;
/// What uses a version is named so often of each sort.
const NAMED: usize = 3;

/// Why a version was not changed or deleted. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum LifeFault {
    /// The status does not follow.
    #[error("`{name}`: {fault}")]
    Transition {
        /// `namespace/name@version`.
        name: String,
        /// What does not follow what.
        fault: NoTransition,
    },
    /// Something uses it.
    #[error("`{name}` is used by {users}")]
    InUse {
        /// `namespace/name@version`.
        name: String,
        /// By what.
        users: Users,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// What uses a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// Runs that have not ended: the first few.
    pub runs: Vec<String>,
    /// Its schedules.
    pub schedules: Vec<String>,
    /// Workflows that run it, and would find no other version.
    pub workflows: Vec<String>,
}

impl Users {
    fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.schedules.is_empty() && self.workflows.is_empty()
    }
}

impl std::fmt::Display for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sorts = [
            ("run", &self.runs, "it ends by itself, or with `heddle runs cancel RUN`"),
            ("schedule", &self.schedules, "`heddle workflow deactivate` ends it"),
            ("workflow", &self.workflows, "publish it with another range first"),
        ];
        let mut text = String::new();
        for (what, names, then) in sorts.into_iter().filter(|(_, names, _)| !names.is_empty()) {
            let shown =
                names.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let more = if names.len() > NAMED { " and more" } else { "" };
            let gap = if text.is_empty() { "" } else { ", and by " };
            let _ = write!(text, "{gap}{what} {shown}{more} ({then})");
        }
        f.write_str(&text)
    }
}

/// Whether anything was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was.
    Yes,
    /// It was so already.
    No,
}

/// Changes the status of a version. `None` where there is no such version.
pub(crate) async fn set_status(
    shared: &Shared,
    tenant: &Tenant,
    (name, version): (&str, &semver::Version),
    status: VersionStatus,
    by: &str,
) -> Result<Option<(WorkflowEntry, Changed)>, LifeFault> {
    let key = entry::key(name, version);
    for _ in 0..TRIES {
        let Some((number, mut entry)) = entry::read(shared, tenant, &key).await? else { return Ok(None) };
        if entry.removed.is_some() {
            return Ok(None);
        }
        let shown = || format!("{name}@{version}");
        entry.status.to(status).map_err(|fault| LifeFault::Transition { name: shown(), fault })?;
        if entry.status == status {
            // The node that wrote it may have died before it came to this.
            follow(shared, tenant, name).await?;
            return Ok(Some((entry, Changed::No)));
        }
        entry.status = status;
        entry.changed = Some(Change { at: shared.now(), by: by.into() });
        match entry::write(shared, tenant, number, &entry).await {
            Ok(()) => {
                follow(shared, tenant, name).await?;
                return Ok(Some((entry, Changed::Yes)));
            }
            Err(StoreFault::Conflict(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Err(StoreFault::Conflict(key).into())
}

/// Deletes a version that nothing uses. Its digest keeps the version taken. `None` where there is no such version.
pub(crate) async fn remove(
    shared: &Shared,
    tenant: &Tenant,
    (name, version): (&str, &semver::Version),
    by: &str,
) -> Result<Option<()>, LifeFault> {
    let key = entry::key(name, version);
    let Some((number, mut entry)) = entry::read(shared, tenant, &key).await? else { return Ok(None) };
    if entry.removed.is_some() {
        return Ok(None);
    }
    let users = users(shared, tenant, name, version).await?;
    if !users.is_empty() {
        return Err(LifeFault::InUse { name: format!("{name}@{version}"), users });
    }
    entry.removed = Some(Change { at: shared.now(), by: by.into() });
    entry.source = Json::null();
    entry::write(shared, tenant, number, &entry).await?;
    follow(shared, tenant, name).await?;
    Ok(Some(()))
}

/// What uses a version, as far as it can be known without reading runs. A run owns its snapshot, so one that has ended
/// needs the version no more.
async fn users(
    shared: &Shared,
    tenant: &Tenant,
    name: &str,
    version: &semver::Version,
) -> Result<Users, StoreFault> {
    let query = RunQuery {
        tenant: tenant.clone(),
        status: RunStatus::OPEN.to_vec(),
        workflow: Some(name.to_owned()),
        version: Some(version.to_string()),
        limit: NAMED as u32 + 1,
        ..RunQuery::default()
    };
    let runs = shared.store.runs(query).await?;
    let mut users = Users {
        runs: runs.iter().map(Listed::run).map(|run| run.to_string()).collect(),
        schedules: schedules::of_version(shared, tenant, name, version).await?,
        workflows: Vec::new(),
    };
    let all = entry::versions(shared, tenant, None).await?;
    let others: Vec<(&semver::Version, VersionStatus)> = all
        .iter()
        .filter(|entry| entry.full_name() == name && entry.version != *version)
        .map(|entry| (&entry.version, entry.status))
        .collect();
    let needs = |reference: &WorkflowRef| {
        let other = resolve(reference, others.iter().copied());
        reference.name == name && reference.range.matches(version) && !matches!(other, Ok(Some(_)))
    };
    for entry in
        all.iter().filter(|entry| entry.status != VersionStatus::Archived && entry.full_name() != name)
    {
        let mut named = Vec::new();
        references(&Doc::of_value(entry.source.value()), &mut named);
        if named.iter().any(needs) {
            users.workflows.push(format!("{}@{}", entry.full_name(), entry.version));
        }
    }
    Ok(users)
}

/// Who publishes, and as what.
#[derive(Clone, Debug, Default)]
pub struct PublishWish {
    /// The status of a version that is new.
    pub status: VersionStatus,
    /// Who asks, where that is known.
    pub by: Option<Arc<str>>,
    /// The template that it was made of.
    pub origin: Option<Origin>,
}
