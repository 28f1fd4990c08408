//! Published workflows: checked, frozen under `namespace/name@version`, found by range.

use crate::shared::Shared;
use heddle_core::document::{Doc, Fault, Part};
use heddle_core::id::{Digest, Tenant, is_name};
use heddle_core::json::Json;
use heddle_core::plan::{Plan, WorkflowRef};
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
pub(crate) fn check(
    shared: &Shared,
    tenant: &Tenant,
    doc: &Doc,
    lacking: Lacking,
) -> Result<Arc<Plan>, Vec<Fault>> {
    let catalog = shared.registry.catalog(tenant, lacking, shared.webhooks.secret_names());
    Plan::read(doc, Some(&catalog), &shared.limits).map(Arc::new)
}

/// Workflows that a document names and that are not published, with what to do about each.
pub(crate) type Lacking = Vec<(WorkflowRef, String)>;

/// Looks for the workflows that a document runs. One may run itself.
pub(crate) async fn lacking(shared: &Shared, tenant: &Tenant, doc: &Doc) -> Result<Lacking, StoreFault> {
    let mut named = Vec::new();
    references(doc, &mut named);
    let own = |key: &str| doc.get("document").and_then(|head| head.get(key)?.as_str()).unwrap_or_default();
    let own = format!("{}/{}", own("namespace"), own("name"));
    let mut lacking = Lacking::new();
    for reference in named.into_iter().filter(|reference| reference.name != own) {
        if entry(shared, tenant, &reference).await?.is_some() {
            continue;
        }
        let known = names(shared, tenant).await?;
        let hint = match known.contains(&reference.name) {
            true => format!("; it is there in other versions: `heddle workflow ls {}`", reference.name),
            false => crate::registry::hint(&reference.name, &known),
        };
        let hint = if hint.is_empty() {
            "; publish it first: `heddle workflow publish FILE`".to_owned()
        } else {
            hint
        };
        lacking.push((reference.clone(), format!("no workflow `{reference}` is published{hint}")));
    }
    Ok(lacking)
}

/// The workflows that the steps of a document run by name.
fn references(doc: &Doc, found: &mut Vec<WorkflowRef>) {
    match &doc.part {
        Part::Map(entries) => {
            for (key, value) in entries {
                let named = value.as_str().or_else(|| value.get("ref")?.as_str());
                if let (true, Some(Ok(reference))) = (*key.text == *"workflow", named.map(WorkflowRef::parse))
                {
                    found.push(reference);
                }
                references(value, found);
            }
        }
        Part::List(items) => items.iter().for_each(|item| references(item, found)),
        Part::Scalar(_) => {}
    }
}

/// Versions sort as text by this key: numbers have a fixed width, and a pre-release comes before its release.
fn key(namespace: &str, name: &str, version: &semver::Version) -> String {
    let release = if version.pre.is_empty() { "~".to_owned() } else { version.pre.to_string() };
    format!("{namespace}/{name}@{:010}.{:010}.{:010}-{release}", version.major, version.minor, version.patch)
}

/// Whether the version is taken by other content.
pub(crate) async fn conflict(
    shared: &Shared,
    tenant: &Tenant,
    plan: &Plan,
) -> Result<Option<PublishFault>, StoreFault> {
    let present = read(shared, tenant, &key(&plan.namespace, &plan.name, &plan.version)).await?;
    Ok(present.filter(|present| present.digest != plan.digest).map(|present| PublishFault::Conflict {
        name: plan.full_name(),
        version: plan.version.to_string(),
        digest: present.digest,
    }))
}

/// Whether this is a place in the list of workflows.
pub(crate) fn is_key(text: &str) -> bool {
    let parts = text.split_once('@').and_then(|(name, version)| Some((name.split_once('/')?, version)));
    parts.is_some_and(|((namespace, name), version)| {
        is_name(namespace) && is_name(name) && version.starts_with(|c: char| c.is_ascii_digit())
    })
}

pub(crate) async fn publish(shared: &Shared, tenant: &Tenant, doc: &Doc) -> Result<Published, PublishFault> {
    let lacking = lacking(shared, tenant, doc).await?;
    let plan = check(shared, tenant, doc, lacking).map_err(PublishFault::Invalid)?;
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
    if let Some(conflict) = conflict(shared, tenant, &plan).await? {
        return Err(conflict);
    }
    match shared.shelf.put(&collection(WORKFLOWS, tenant), &key, 0, body).await {
        Ok(_) => {
            shared.references.invalidate_all();
            crate::schedules::sync(shared, tenant, &plan.full_name()).await?;
            Ok(Published { entry, novelty: Novelty::New })
        }
        Err(StoreFault::Conflict(_)) => match read(shared, tenant, &key).await? {
            Some(present) if present.digest == entry.digest => {
                // The node that wrote it may have died before it came to this.
                crate::schedules::sync(shared, tenant, &plan.full_name()).await?;
                Ok(Published { entry: present, novelty: Novelty::Known })
            }
            // Somebody else was quicker.
            _ => Err(conflict(shared, tenant, &plan)
                .await?
                .unwrap_or_else(|| StoreFault::Conflict(key).into())),
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
    reference: &WorkflowRef,
) -> Result<Option<WorkflowEntry>, StoreFault> {
    let versions = versions(shared, tenant, Some(&reference.name)).await?;
    Ok(versions.into_iter().rev().find(|e| reference.range.matches(&e.version)))
}

/// Its plan, from the cache of checked plans where it is there.
pub(crate) async fn find(
    shared: &Shared,
    tenant: &Tenant,
    reference: &WorkflowRef,
) -> Result<Option<Arc<Plan>>, StoreFault> {
    let cached = (tenant.clone(), reference.clone());
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
