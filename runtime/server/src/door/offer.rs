//! What may be called at a door: published workflows and plugins, as the operator offers them.

use crate::config::offer::Offer;
use crate::http::Api;
use crate::http::body;
use crate::http::problem::Problem;
use heddle_core::document::Doc;
use heddle_core::id::{Digest, Tenant};
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind;
use heddle_core::plan::{Plan, WorkflowRef};
use heddle_core::value::Value as Own;
use heddle_core::version::VersionStatus;
use heddle_executor::{PluginEntry, Submit, Timing, WorkflowChoice, WorkflowEntry, WorkflowFilter};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Who;

/// Bytes of a plain name: clients of language models take no longer ones.
const NAME_BYTES: usize = 64;

/// What is called.
#[derive(Clone, Debug)]
enum Callee {
    /// A published workflow.
    Workflow,
    /// A plugin, as a workflow of one step.
    Plugin(Arc<PluginEntry>),
}

/// What a call can do outside its run, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effects {
    /// Nothing.
    None,
    /// It may destroy something.
    Destroys,
    /// Nobody has said.
    Unknown,
}

/// Something that may be called.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    /// Letters, digits, `_` and `-`, and nothing else has it.
    pub(crate) id: String,
    /// `namespace/name` of a workflow, `kind:name` of a plugin.
    pub(crate) name: String,
    pub(crate) version: semver::Version,
    /// Empty where the author gave none.
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) input: Option<Json>,
    pub(crate) effects: Effects,
    callee: Callee,
}

impl Offered {
    pub(crate) fn is_workflow(&self) -> bool {
        matches!(self.callee, Callee::Workflow)
    }
    /// A wish for a run of it, by this door.
    pub(crate) fn wish(
        &self,
        api: &Api,
        (door, who): (&str, &Who),
        input: &Value,
    ) -> Result<Submit, Problem> {
        let input = body::json(input.to_string().as_bytes(), api.app.limits.json_depth)?;
        let workflow = match &self.callee {
            Callee::Workflow => WorkflowChoice::Named(WorkflowRef {
                name: self.name.clone(),
                range: semver::VersionReq::STAR,
            }),
            Callee::Plugin(entry) => WorkflowChoice::Inline(one_step(entry)),
        };
        Ok(wish(workflow, input, (door, who)))
    }
}

/// A wish for a run, by this door.
pub(crate) fn wish(workflow: WorkflowChoice, input: Json, (door, who): (&str, &Who)) -> Submit {
    Submit {
        tenant: Tenant::default(),
        workflow,
        input,
        labels: vec![("door".to_owned(), door.to_owned())],
        by: Some(who.submits.clone()),
        idempotency: None,
        traceparent: who.traceparent.clone(),
        timing: Timing::default(),
        rerun: None,
    }
}

/// Something that may be called, of which no more is known than its name.
enum Candidate {
    Workflow(Box<WorkflowEntry>),
    Plugin(PluginEntry),
}

impl Candidate {
    fn name(&self) -> String {
        match self {
            Candidate::Workflow(entry) => entry.full_name(),
            Candidate::Plugin(entry) => entry.metadata.reference(),
        }
    }
    fn offered(self, id: String) -> Option<Offered> {
        match self {
            Candidate::Workflow(entry) => of_workflow(&entry, id),
            Candidate::Plugin(entry) => Some(of_plugin(entry, id)),
        }
    }
}

/// Everything that is offered, in an order that does not change by itself. `taken` are names that are the door's own.
pub(crate) async fn offered(api: &Api, offer: &Offer, taken: &[&str]) -> Result<Vec<Offered>, Problem> {
    let named = named(api, offer, taken).await?;
    Ok(named.into_iter().filter_map(|(id, candidate)| candidate.offered(id)).collect())
}

/// The one with this name: its plain one, or its own.
pub(crate) async fn find(
    api: &Api,
    (offer, taken): (&Offer, &[&str]),
    wanted: &str,
) -> Result<Option<Offered>, Problem> {
    let named = named(api, offer, taken).await?;
    let found = named.into_iter().find(|(id, candidate)| id == wanted || candidate.name() == wanted);
    Ok(found.and_then(|(id, candidate)| candidate.offered(id)))
}

/// What is offered, each under its plain name.
async fn named(api: &Api, offer: &Offer, taken: &[&str]) -> Result<Vec<(String, Candidate)>, Problem> {
    let most = api.app.limits.offered as usize;
    let workflows =
        workflows(api, offer).await?.into_iter().map(|entry| Candidate::Workflow(Box::new(entry)));
    let patterns: Vec<Arc<str>> = offer.plugins().map(Arc::from).collect();
    let plugins = match patterns.is_empty() {
        true => Vec::new(),
        false => api.app.executor.live_plugins(&Tenant::default(), &patterns),
    };
    let mut all: Vec<Candidate> = workflows.chain(plugins.into_iter().map(Candidate::Plugin)).collect();
    if all.len() > most {
        tracing::warn!(
            offered = all.len(),
            most,
            "more is offered than `limits.offered`; the last are not shown"
        );
        all.truncate(most);
    }
    let names: Vec<String> = all.iter().map(Candidate::name).collect();
    Ok(plain_names(&names, taken).into_iter().zip(all).collect())
}

/// The version of each offered workflow that its name means.
async fn workflows(api: &Api, offer: &Offer) -> Result<Vec<WorkflowEntry>, Problem> {
    let filter = WorkflowFilter { status: vec![VersionStatus::Active], ..WorkflowFilter::default() };
    let (page, most) = (api.app.limits.page_items as u32, api.app.limits.list_scan);
    let mut newest: BTreeMap<String, WorkflowEntry> = BTreeMap::new();
    let mut looked = 0;
    // Those that are named need no search.
    let (exact, patterns): (Vec<&str>, Vec<&str>) = offer.workflows().partition(|one| !one.ends_with('*'));
    for name in exact {
        let of_name = WorkflowFilter { name: Some(name.to_owned()), ..filter.clone() };
        let (entries, _) = api.app.executor.workflows(&Tenant::default(), &of_name, ("", page)).await?;
        entries.into_iter().for_each(|entry| keep(&mut newest, entry));
    }
    let mut after = String::new();
    while !patterns.is_empty() {
        let (entries, cursor) =
            api.app.executor.workflows(&Tenant::default(), &filter, (&after, page)).await?;
        looked += entries.len() as u64;
        entries
            .into_iter()
            .filter(|entry| offer.has(&entry.full_name()))
            .for_each(|entry| keep(&mut newest, entry));
        match cursor {
            Some(_) if looked >= most => {
                tracing::warn!(
                    looked,
                    "of so many published versions the first are offered; name those that are to be"
                );
                break;
            }
            Some(cursor) => after = cursor,
            None => break,
        }
    }
    Ok(newest.into_values().collect())
}

/// Keeps a version where its workflow's name means it rather than the one that is kept.
fn keep(newest: &mut BTreeMap<String, WorkflowEntry>, entry: WorkflowEntry) {
    let rank = |entry: &WorkflowEntry| (entry.version.pre.is_empty(), entry.version.clone());
    let name = entry.full_name();
    if !entry.is_template() && newest.get(&name).is_none_or(|known| rank(known) < rank(&entry)) {
        newest.insert(name, entry);
    }
}

/// Names of letters, digits, `_` and `-`. Where two would be the same, or one is too long or the door's own, each of them
/// ends with some of its digest: a name never means something else because of what was published beside it.
fn plain_names(full: &[String], taken: &[&str]) -> Vec<String> {
    let plain = |full: &String| -> String {
        full.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
    };
    let all: Vec<String> = full.iter().map(plain).collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for name in all.iter().map(String::as_str).chain(taken.iter().copied()) {
        *count.entry(name).or_default() += 1;
    }
    let names = all.iter().zip(full).map(|(name, full)| {
        if name.len() <= NAME_BYTES && count.get(&**name) == Some(&1) {
            return name.clone();
        }
        let digest = Digest::of(full.as_bytes()).hex();
        format!("{}-{}", &name[..name.len().min(NAME_BYTES - 9)], &digest[..8])
    });
    names.collect()
}

fn of_workflow(entry: &WorkflowEntry, id: String) -> Option<Offered> {
    let Ok(plan) = Plan::reread(&entry.source) else {
        tracing::error!(workflow = entry.full_name(), "a published workflow cannot be read");
        return None;
    };
    let described = match plan.description.is_empty() {
        false => plan.description.to_string(),
        true => format!("Runs the workflow {}.", entry.full_name()),
    };
    Some(Offered {
        id,
        name: entry.full_name(),
        version: entry.version.clone(),
        title: plan.title.to_string(),
        description: described,
        input: plan.input_schema.as_ref().map(|schema| schema.text().clone()),
        effects: if plan.leaves_nothing() { Effects::None } else { Effects::Unknown },
        callee: Callee::Workflow,
    })
}

fn of_plugin(entry: PluginEntry, id: String) -> Offered {
    let said = entry.metadata.clone();
    let described = match said.description.is_empty() {
        false => said.description.clone(),
        true => format!("Calls {}.", said.reference()),
    };
    let effects = match (entry.destructive, entry.needs.is_empty() && said.kind != PluginKind::Agent) {
        (true, _) => Effects::Destroys,
        // What has no way out of its sandbox changes nothing.
        (false, true) => Effects::None,
        (false, false) => Effects::Unknown,
    };
    Offered {
        id,
        name: said.reference(),
        version: said.version.clone(),
        title: said.title.clone(),
        description: described,
        input: Some(said.input_schema.clone()),
        effects,
        callee: Callee::Plugin(Arc::new(entry)),
    }
}

/// The workflow that calls a plugin and nothing else.
fn one_step(entry: &PluginEntry) -> Doc {
    let said = &entry.metadata;
    let text = |text: String| Own::text(text);
    let name = said.name.replace('/', "-");
    let call = said.reference();
    let title = Some(said.title.clone()).filter(|title| !title.is_empty());
    let mut head = vec![
        ("dsl", text("1.0".into())),
        ("namespace", text("called".into())),
        ("name", text(name.chars().take(64).collect())),
        ("version", text("1.0.0".into())),
    ];
    head.extend(title.map(|title| ("title", text(title))));
    let step = Own::map([("call", text(call)), ("with", text("${ input }".into()))]);
    let input = Own::map([("schema", said.input_schema.value().clone())]);
    Doc::of_value(&Own::map([
        ("document", Own::map(head)),
        ("input", input),
        ("steps", Own::map([("call", step)])),
        ("output", Own::map([("as", text("${ steps.call.output }".into()))])),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_means_something_else() {
        let names = |full: &[&str]| {
            let full: Vec<String> = full.iter().map(ToString::to_string).collect();
            plain_names(&full, &["heddle_run"])
        };
        assert_eq!(names(&["acme/report", "tool:crm/find"]), ["acme_report", "tool_crm_find"]);
        let both = names(&["acme/a_b", "acme_a/b"]);
        assert!(both.iter().all(|name| name.starts_with("acme_a_b-") && name.len() == 17), "{both:?}");
        assert_ne!(both[0], both[1]);
        assert_ne!(names(&["heddle/run"]), ["heddle_run"]);
        assert_eq!(names(&[&format!("acme/{}", "x".repeat(80))])[0].len(), NAME_BYTES);
    }
}
