//! A published version as it is kept, and where.

use crate::shared::Shared;
use heddle_core::id::{Digest, Tenant, is_name};
use heddle_core::json::Json;
use heddle_core::plan::{Plan, WorkflowRef};
use heddle_core::template::is_template;
use heddle_core::time::Timestamp;
use heddle_core::version::VersionStatus;
use heddle_store::{Record, StoreFault, shelf::collection};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const WORKFLOWS: &str = "workflows";
const PAGE: u32 = 200;

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
    /// Who published it, where that is known.
    #[serde(default)]
    pub by: Option<Arc<str>>,
    /// Its labels, by name.
    #[serde(default)]
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Where it stands.
    #[serde(default)]
    pub status: VersionStatus,
    /// The template that it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// When and by whom its status was changed last.
    #[serde(default)]
    pub changed: Option<Change>,
    /// When and by whom it was deleted. The version stays taken by its digest.
    #[serde(default)]
    pub removed: Option<Change>,
    /// The canonical source; null where it was deleted.
    pub source: Json,
}

/// What a workflow was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `namespace/name` of the template.
    pub template: String,
    /// Its version.
    pub version: semver::Version,
    /// Digest of its canonical source.
    pub digest: Digest,
    /// What was given for its parameters.
    pub parameters: Json,
}

/// Who did something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Arc<str>,
}

impl WorkflowEntry {
    /// The entry of a workflow that is published now.
    pub(crate) fn new(plan: &Plan, at: Timestamp) -> WorkflowEntry {
        WorkflowEntry {
            namespace: plan.namespace.to_string(),
            name: plan.name.to_string(),
            version: plan.version.clone(),
            digest: plan.digest,
            title: plan.title.to_string(),
            published_at: at,
            by: None,
            labels: plan.labels.clone(),
            origin: None,
            status: VersionStatus::default(),
            changed: None,
            removed: None,
            source: plan.source.clone(),
        }
    }
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
    /// Whether it is a template, and not to be run itself.
    pub fn is_template(&self) -> bool {
        is_template(self.source.value())
    }
    /// When anything was last changed about what this version means.
    pub(crate) fn touched(&self) -> Timestamp {
        let later = [&self.changed, &self.removed].into_iter().flatten().map(|change| change.at);
        later.fold(self.published_at, Timestamp::max)
    }
    pub(crate) fn key(&self) -> String {
        key(&self.full_name(), &self.version)
    }
}

/// Versions sort as text by this key: numbers have a fixed width, and a pre-release comes before its release.
pub(crate) fn key(name: &str, version: &semver::Version) -> String {
    let release = if version.pre.is_empty() { "~".to_owned() } else { version.pre.to_string() };
    format!("{name}@{:010}.{:010}.{:010}-{release}", version.major, version.minor, version.patch)
}

/// Whether this is a place in the list of workflows.
pub(crate) fn is_key(text: &str) -> bool {
    let parts = text.split_once('@').and_then(|(name, version)| Some((name.split_once('/')?, version)));
    parts.is_some_and(|((namespace, name), version)| {
        is_name(namespace) && is_name(name) && version.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// A version with the number of its record; deleted ones as well.
pub(super) async fn read(
    shared: &Shared,
    tenant: &Tenant,
    key: &str,
) -> Result<Option<(u64, WorkflowEntry)>, StoreFault> {
    let record = shared.shelf.get(&collection(WORKFLOWS, tenant), key).await?;
    record.map(|record| Ok((record.version, parse(&record)?))).transpose()
}

/// Writes a version, where its record still has this number; 0 where there is none yet.
pub(super) async fn write(
    shared: &Shared,
    tenant: &Tenant,
    expected: u64,
    entry: &WorkflowEntry,
) -> Result<(), StoreFault> {
    // An entry is plain data: it always has a form.
    let body = Json::trusted(serde_json::to_string(entry).unwrap_or_default());
    shared.shelf.put(&collection(WORKFLOWS, tenant), &entry.key(), expected, body).await?;
    shared.references.invalidate_all();
    Ok(())
}

/// Records after this key.
pub(crate) async fn scan(
    shared: &Shared,
    tenant: &Tenant,
    after: &str,
) -> Result<(Vec<Record>, bool), StoreFault> {
    let page = shared.shelf.scan(&collection(WORKFLOWS, tenant), after, PAGE).await?;
    let full = page.len() == PAGE as usize;
    Ok((page, full))
}

pub(crate) fn parse(record: &Record) -> Result<WorkflowEntry, StoreFault> {
    serde_json::from_str(record.body.text()).map_err(|error| StoreFault::Damaged {
        what: format!("workflow {}", record.key),
        why: error.to_string(),
    })
}

/// Every version of one workflow, oldest first; or of all of them, where no name is given. Deleted ones as well.
pub(crate) async fn ever(
    shared: &Shared,
    tenant: &Tenant,
    name: Option<&str>,
) -> Result<Vec<WorkflowEntry>, StoreFault> {
    let prefix = name.map(|n| format!("{n}@")).unwrap_or_default();
    let (mut after, mut found) = (prefix.clone(), Vec::new());
    loop {
        let (page, full) = scan(shared, tenant, &after).await?;
        for record in &page {
            if !record.key.starts_with(&prefix) {
                return Ok(found);
            }
            after.clone_from(&record.key);
            found.push(parse(record)?);
        }
        if !full {
            return Ok(found);
        }
    }
}

/// Every version of one workflow that there is, oldest first; or of all of them, where no name is given.
pub(crate) async fn versions(
    shared: &Shared,
    tenant: &Tenant,
    name: Option<&str>,
) -> Result<Vec<WorkflowEntry>, StoreFault> {
    let mut found = ever(shared, tenant, name).await?;
    found.retain(|entry| entry.removed.is_none());
    Ok(found)
}

/// The names of all workflows, deleted ones as well.
pub(crate) async fn names_ever(shared: &Shared, tenant: &Tenant) -> Result<Vec<String>, StoreFault> {
    let mut names: Vec<String> =
        ever(shared, tenant, None).await?.iter().map(WorkflowEntry::full_name).collect();
    names.dedup();
    Ok(names)
}

/// One version of a workflow, whatever its status.
pub(crate) async fn version(
    shared: &Shared,
    tenant: &Tenant,
    name: &str,
    version: &semver::Version,
) -> Result<Option<WorkflowEntry>, StoreFault> {
    let found = read(shared, tenant, &key(name, version)).await?;
    Ok(found.map(|(_, entry)| entry).filter(|entry| entry.removed.is_none()))
}

/// The version of a workflow that is shown to whoever names none: what a range of all means, or else the highest that
/// there is.
pub(crate) async fn newest(
    shared: &Shared,
    tenant: &Tenant,
    name: &str,
) -> Result<Option<WorkflowEntry>, StoreFault> {
    let mut versions = versions(shared, tenant, Some(name)).await?;
    let any = WorkflowRef { name: name.to_owned(), range: semver::VersionReq::STAR };
    let all = versions.iter().map(|entry| (&entry.version, entry.status));
    let meant = heddle_core::version::resolve(&any, all.clone()).ok().flatten();
    let shown = meant.or_else(|| all.map(|(version, _)| version).max()).cloned();
    versions.retain(|entry| Some(&entry.version) == shown.as_ref());
    Ok(versions.pop())
}
