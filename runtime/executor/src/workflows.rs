//! Published workflows: checked, frozen under `namespace/name@version`, found by range. [`entry`] is how they are kept,
//! [`life`] what becomes of them, [`speaker`] which of them starts runs by itself, [`handle`] what others ask for.

mod entry;
mod handle;
mod instance;
mod life;
mod speaker;

pub use entry::{Change, Origin, WorkflowEntry};
pub(crate) use entry::{ever, names_ever, parse, scan, version, versions};
pub use instance::{Instance, InstanceFault, Instantiate, Keep};
pub use life::{Changed, LifeFault, PublishWish, Users};
pub(crate) use speaker::{Speaker, speaker};

use crate::shared::Shared;
use heddle_core::document::{Doc, Fault, Part};
use heddle_core::id::{Digest, Tenant};
use heddle_core::plan::{Plan, WorkflowRef};
use heddle_core::template::checked_form;
use heddle_core::version::{NotRunnable, VersionStatus, resolve};
use heddle_store::StoreFault;
use std::sync::Arc;

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
    #[error("`{name}@{version}` {was} with other content ({digest}); raise the version")]
    Conflict {
        /// `namespace/name`.
        name: String,
        /// The version.
        version: String,
        /// Whether it is there still.
        was: &'static str,
        /// The content that has it.
        digest: Digest,
    },
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// Why a reference means nothing that can be run.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceFault {
    /// No version fits it.
    #[error("no workflow `{reference}` is published{hint}")]
    Unknown {
        /// What was asked for.
        reference: String,
        /// What may have been meant.
        hint: String,
    },
    /// None of those that fit begins a run.
    #[error(transparent)]
    NotRunnable(#[from] NotRunnable),
    /// It is a template.
    #[error(
        "`{0}` is a template and does not run by itself; `heddle workflow instantiate {0} NAME --param KEY=VALUE` makes a workflow of it"
    )]
    Template(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The versions that may still be run.
pub(crate) async fn published(shared: &Shared, tenant: &Tenant) -> Result<Vec<WorkflowEntry>, StoreFault> {
    let mut all = entry::versions(shared, tenant, None).await?;
    all.retain(|entry| entry.status != VersionStatus::Archived);
    Ok(all)
}

/// Checks a workflow against the tenant's plugins.
pub(crate) fn check(
    shared: &Shared,
    tenant: &Tenant,
    doc: &Doc,
    lacking: Lacking,
) -> Result<Arc<Plan>, Vec<Fault>> {
    let catalog = shared.registry.catalog(tenant, lacking, shared.webhooks.secret_names(), &shared.outside);
    Plan::read(doc, Some(&catalog), &shared.limits).map(Arc::new)
}

/// Workflows that a document names and that cannot be run, with what to do about each.
pub(crate) type Lacking = Vec<(WorkflowRef, String)>;

/// Looks for the workflows that a document runs. One may run itself.
pub(crate) async fn lacking(shared: &Shared, tenant: &Tenant, doc: &Doc) -> Result<Lacking, StoreFault> {
    let mut named = Vec::new();
    references(&checked_form(doc, &shared.limits), &mut named);
    let own = |key: &str| doc.get("document").and_then(|head| head.get(key)?.as_str()).unwrap_or_default();
    let own = format!("{}/{}", own("namespace"), own("name"));
    let mut lacking = Lacking::new();
    for reference in named.into_iter().filter(|reference| reference.name != own) {
        let why = match meant(shared, tenant, &reference).await {
            Ok(entry) if entry.is_template() => ReferenceFault::Template(reference.name.clone()).to_string(),
            Ok(_) => continue,
            Err(ReferenceFault::Store(fault)) => return Err(fault),
            Err(ReferenceFault::Unknown { reference, hint }) if hint.is_empty() => {
                format!(
                    "no workflow `{reference}` is published; publish it first: `heddle workflow publish FILE`"
                )
            }
            Err(other) => other.to_string(),
        };
        lacking.push((reference, why));
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

/// Whether the version is taken by other content, be it deleted.
pub(crate) async fn conflict(
    shared: &Shared,
    tenant: &Tenant,
    plan: &Plan,
) -> Result<Option<PublishFault>, StoreFault> {
    let present = entry::read(shared, tenant, &entry::key(&plan.full_name(), &plan.version)).await?;
    let other = present.map(|(_, present)| present).filter(|present| present.digest != plan.digest);
    Ok(other.map(|other| PublishFault::Conflict {
        name: plan.full_name(),
        version: plan.version.to_string(),
        was: if other.removed.is_some() { "was published and deleted" } else { "is published" },
        digest: other.digest,
    }))
}

/// Checks a workflow as publishing does.
async fn checked(shared: &Shared, tenant: &Tenant, doc: &Doc) -> Result<Arc<Plan>, PublishFault> {
    let lacking = lacking(shared, tenant, doc).await?;
    let plan = check(shared, tenant, doc, lacking).map_err(PublishFault::Invalid)?;
    match conflict(shared, tenant, &plan).await? {
        Some(conflict) => Err(conflict),
        None => Ok(plan),
    }
}

pub(crate) async fn publish(
    shared: &Shared,
    tenant: &Tenant,
    doc: &Doc,
    wish: &PublishWish,
) -> Result<Published, PublishFault> {
    let plan = checked(shared, tenant, doc).await?;
    let entry = WorkflowEntry {
        status: wish.status,
        by: wish.by.clone(),
        origin: wish.origin.clone(),
        ..WorkflowEntry::new(&plan, shared.now())
    };
    let present = entry::read(shared, tenant, &entry.key()).await?;
    let published = match present {
        Some((_, present)) if present.removed.is_none() => {
            Published { entry: present, novelty: Novelty::Known }
        }
        // What was deleted is published again: it has the same content.
        present => {
            let number = present.map_or(0, |(number, _)| number);
            match entry::write(shared, tenant, number, &entry).await {
                Ok(()) => Published { entry, novelty: Novelty::New },
                // Somebody else was quicker.
                Err(StoreFault::Conflict(key)) => match entry::read(shared, tenant, &key).await? {
                    Some((_, present)) if present.removed.is_none() && present.digest == entry.digest => {
                        Published { entry: present, novelty: Novelty::Known }
                    }
                    _ => {
                        let conflict = conflict(shared, tenant, &plan).await?;
                        return Err(conflict.unwrap_or_else(|| StoreFault::Conflict(key).into()));
                    }
                },
                Err(fault) => return Err(fault.into()),
            }
        }
    };
    // For one that was known, too: the node that wrote it may have died before it came to this.
    speaker::follow(shared, tenant, &plan.full_name()).await?;
    Ok(published)
}

/// The version that a reference means.
pub(crate) async fn meant(
    shared: &Shared,
    tenant: &Tenant,
    reference: &WorkflowRef,
) -> Result<WorkflowEntry, ReferenceFault> {
    let mut versions = versions(shared, tenant, Some(&reference.name)).await?;
    let all = versions.iter().map(|entry| (&entry.version, entry.status));
    let version = resolve(reference, all)?.cloned();
    versions.retain(|entry| Some(&entry.version) == version.as_ref());
    match versions.pop() {
        Some(entry) => Ok(entry),
        None => Err(unknown(shared, tenant, reference).await?),
    }
}

/// What to say of a reference that fits nothing.
async fn unknown(
    shared: &Shared,
    tenant: &Tenant,
    reference: &WorkflowRef,
) -> Result<ReferenceFault, StoreFault> {
    let known = versions(shared, tenant, None).await?;
    let mut known: Vec<String> = known.iter().map(WorkflowEntry::full_name).collect();
    known.dedup();
    let hint = match known.contains(&reference.name) {
        true => format!("; it is there in other versions: `heddle workflow ls {}`", reference.name),
        false => crate::plugins::registry::hint(&reference.name, &known),
    };
    Ok(ReferenceFault::Unknown { reference: reference.to_string(), hint })
}

/// The plan that a reference means, from the cache of checked plans where it is there.
pub(crate) async fn find(
    shared: &Shared,
    tenant: &Tenant,
    reference: &WorkflowRef,
) -> Result<Arc<Plan>, ReferenceFault> {
    let cached = (tenant.clone(), reference.clone());
    if let Some(plan) = shared.references.get(&cached) {
        return Ok(plan);
    }
    let entry = meant(shared, tenant, reference).await?;
    let damaged = |why: String| StoreFault::Damaged { what: format!("workflow {reference}"), why };
    let plan = shared
        .plan_of(&entry)
        .map_err(|faults| damaged(faults.first().map(ToString::to_string).unwrap_or_default()))?;
    runs(&plan)?;
    shared.references.insert(cached, plan.clone());
    Ok(plan)
}

/// Whether a plan can be run: a template cannot.
pub(crate) fn runs(plan: &Plan) -> Result<(), ReferenceFault> {
    match plan.template {
        Some(_) => Err(ReferenceFault::Template(plan.full_name())),
        None => Ok(()),
    }
}
