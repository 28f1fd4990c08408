//! Published workflows: checked, frozen under `namespace/name@version`, found by range.

use crate::shared::Shared;
use heddle_core::document::{Doc, Fault};
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::plan::Plan;
use heddle_core::time::Timestamp;
use heddle_store::{StoreFault, shelf::collection};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A published version.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkflowEntry {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The version.
    pub version: semver::Version,
    /// Digest of the canonical source.
    pub digest: Digest,
    /// A few words for a list.
    pub title: String,
    /// When it was published.
    pub published_at: Timestamp,
    /// The canonical source.
    pub source: Json,
}

/// What publishing did.
#[derive(Clone, Debug)]
pub struct Published {
    /// The version.
    pub entry: WorkflowEntry,
    /// Whether it is new.
    pub novelty: Novelty,
}

/// Whether something is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is.
    New,
    /// The same bytes were there before.
    Known,
}

/// Why a workflow was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishFault {
    /// It has faults.
    #[error("the workflow has {} faults", .0.len())]
    Invalid(Vec<Fault>),
    /// Other bytes have this version.
    #[error("`{name}@{version}` is published with other content ({digest}); raise the version")]
    Conflict {
        /// `namespace/name`.
        name: String,
        /// The version.
        version: String,
        /// The content that has it.
        digest: Digest,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

const WORKFLOWS: &str = "workflows";
const PAGE: u32 = 200;

/// Checks a workflow against the tenant's plugins.
pub(crate) fn check(shared: &Shared, tenant: &Tenant, doc: &Doc) -> Result<Arc<Plan>, Vec<Fault>> {
    Plan::read(doc, Some(&shared.registry.catalog(tenant)), &shared.limits).map(Arc::new)
}

/// Versions sort as text by this key: numbers have a fixed width, and a pre-release comes before its release.
fn key(namespace: &str, name: &str, version: &semver::Version) -> String {
    let release = if version.pre.is_empty() { "~".to_owned() } else { version.pre.to_string() };
    format!("{namespace}/{name}@{:010}.{:010}.{:010}-{release}", version.major, version.minor, version.patch)
}

pub(crate) async fn publish(shared: &Shared, tenant: &Tenant, doc: &Doc) -> Result<Published, PublishFault> {
    let plan = check(shared, tenant, doc).map_err(PublishFault::Invalid)?;
    let entry = WorkflowEntry {
        namespace: plan.namespace.to_string(),
        name: plan.name.to_string(),
        version: plan.version.clone(),
        digest: plan.digest,
        title: plan.title.to_string(),
        published_at: shared.now(),
        source: plan.source.clone(),
    };
    let key = key(&entry.namespace, &entry.name, &entry.version);
    let body = Json::trusted(serde_json::to_string(&entry).unwrap_or_default());
    match shared.shelf.put(&collection(WORKFLOWS, tenant), &key, 0, body).await {
        Ok(_) => {
            shared.references.invalidate_all();
            Ok(Published { entry, novelty: Novelty::New })
        }
        Err(StoreFault::Conflict(_)) => match read(shared, tenant, &key).await? {
            Some(present) if present.digest == entry.digest => {
                Ok(Published { entry: present, novelty: Novelty::Known })
            }
            Some(present) => {
                let name = format!("{}/{}", entry.namespace, entry.name);
                Err(PublishFault::Conflict {
                    name,
                    version: entry.version.to_string(),
                    digest: present.digest,
                })
            }
            None => Err(StoreFault::Conflict(key).into()),
        },
        Err(fault) => Err(fault.into()),
    }
}

async fn read(shared: &Shared, tenant: &Tenant, key: &str) -> Result<Option<WorkflowEntry>, StoreFault> {
    let record = shared.shelf.get(&collection(WORKFLOWS, tenant), key).await?;
    record.map(|r| parse(key, &r.body)).transpose()
}

fn parse(key: &str, body: &Json) -> Result<WorkflowEntry, StoreFault> {
    serde_json::from_str(body.text())
        .map_err(|e| StoreFault::Damaged { what: format!("workflow {key}"), why: e.to_string() })
}

/// Every version of one workflow, oldest first; or of all of them, where no name is given.
pub(crate) async fn versions(
    shared: &Shared,
    tenant: &Tenant,
    name: Option<&str>,
) -> Result<Vec<WorkflowEntry>, StoreFault> {
    let prefix = name.map(|n| format!("{n}@")).unwrap_or_default();
    let (mut after, mut found) = (prefix.clone(), Vec::new());
    loop {
        let page = shared.shelf.scan(&collection(WORKFLOWS, tenant), &after, PAGE).await?;
        for record in &page {
            if !record.key.starts_with(&prefix) {
                return Ok(found);
            }
            after.clone_from(&record.key);
            found.push(parse(&record.key, &record.body)?);
        }
        if page.len() < PAGE as usize {
            return Ok(found);
        }
    }
}

/// A page of all versions, after this key.
pub(crate) async fn page(
    shared: &Shared,
    tenant: &Tenant,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, WorkflowEntry)>, StoreFault> {
    let page = shared.shelf.scan(&collection(WORKFLOWS, tenant), after, limit).await?;
    page.into_iter().map(|r| Ok((r.key.clone(), parse(&r.key, &r.body)?))).collect()
}

/// The names of all workflows, for hints.
pub(crate) async fn names(shared: &Shared, tenant: &Tenant) -> Result<Vec<String>, StoreFault> {
    let mut names: Vec<String> =
        versions(shared, tenant, None).await?.iter().map(|e| format!("{}/{}", e.namespace, e.name)).collect();
    names.dedup();
    Ok(names)
}

/// The newest version that `namespace/name@range` can mean.
pub(crate) async fn entry(
    shared: &Shared,
    tenant: &Tenant,
    reference: &str,
) -> Result<Option<WorkflowEntry>, StoreFault> {
    let (name, range) = reference.split_once('@').unwrap_or((reference, "*"));
    let Ok(range) = semver::VersionReq::parse(range) else { return Ok(None) };
    let versions = versions(shared, tenant, Some(name)).await?;
    Ok(versions.into_iter().rev().find(|e| range.matches(&e.version)))
}

/// Its plan, from the cache of checked plans where it is there.
pub(crate) async fn find(
    shared: &Shared,
    tenant: &Tenant,
    reference: &str,
) -> Result<Option<Arc<Plan>>, StoreFault> {
    let cached = (tenant.clone(), reference.to_owned());
    if let Some(plan) = shared.references.get(&cached) {
        return Ok(Some(plan));
    }
    let Some(entry) = entry(shared, tenant, reference).await? else { return Ok(None) };
    let damaged = |why: String| StoreFault::Damaged { what: format!("workflow {reference}"), why };
    let plan = shared
        .plan_of(&entry)
        .map_err(|faults| damaged(faults.first().map(ToString::to_string).unwrap_or_default()))?;
    shared.references.insert(cached, plan.clone());
    Ok(Some(plan))
}
