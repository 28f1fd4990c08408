//! Workflows that are made of templates.

use super::entry::Origin;
use super::{PublishFault, PublishWish, Published, ReferenceFault, checked, meant, publish};
use crate::shared::Shared;
use heddle_core::document::{Doc, Fault};
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::plan::{Plan, WorkflowRef};
use heddle_core::template::{Head, instantiate};
use heddle_core::version::VersionStatus;
use std::sync::Arc;

/// A wish for a workflow that is made of a template.
#[derive(Clone, Debug)]
pub struct Instantiate {
    /// The template.
    pub template: WorkflowRef,
    /// What the workflow is called.
    pub head: Head,
    /// What is put in place.
    pub parameters: Json,
    /// The status of the workflow.
    pub status: VersionStatus,
    /// Who asks, where that is known.
    pub by: Option<Arc<str>>,
    /// Whether it is kept.
    pub keep: Keep,
}

/// Whether a workflow is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is published.
    Yes,
    /// It is only checked.
    No,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Instance {
    /// It has no fault.
    Checked(Arc<Plan>, Origin),
    /// It is published.
    Published(Box<Published>),
}

/// Why no workflow was made.
#[derive(Debug, thiserror::Error)]
pub enum InstanceFault {
    /// The reference means no template.
    #[error(transparent)]
    Reference(#[from] ReferenceFault),
    /// It is a workflow as it is.
    #[error(
        "`{0}` is no template: it has no `template.parameters`; `heddle workflow ls` lists what there is"
    )]
    NoTemplate(String),
    /// The parameters are not as the template wants them.
    #[error("the parameters have {} faults", .0.len())]
    Parameters(Vec<Fault>),
    /// What came of it was not published.
    #[error(transparent)]
    Publish(#[from] PublishFault),
}

pub(super) async fn make(
    shared: &Shared,
    tenant: &Tenant,
    wish: Instantiate,
) -> Result<Instance, InstanceFault> {
    let entry = meant(shared, tenant, &wish.template).await?;
    let name = format!("{}@{}", entry.full_name(), entry.version);
    if !entry.is_template() {
        return Err(InstanceFault::NoTemplate(name));
    }
    let source = Doc::of_value(entry.source.value());
    let doc = instantiate(&source, &wish.parameters, &wish.head, &shared.limits);
    let doc = doc.map_err(InstanceFault::Parameters)?;
    let origin = Origin {
        template: entry.full_name(),
        version: entry.version,
        digest: entry.digest,
        parameters: wish.parameters,
    };
    if wish.keep == Keep::No {
        return Ok(Instance::Checked(checked(shared, tenant, &doc).await?, origin));
    }
    let publishing = PublishWish { status: wish.status, by: wish.by, origin: Some(origin) };
    Ok(Instance::Published(Box::new(publish(shared, tenant, &doc, &publishing).await?)))
}
