//! What an operator says of a plugin, apart from its bytes: `region=eu`, `cost=3`. Calls by capability choose by it;
//! a run that was accepted keeps the choice that it was accepted with.

use crate::plugins::registry::{PluginKey, named, plugin_key};
use crate::record;
use crate::shared::Shared;
use heddle_core::id::Tenant;
use heddle_core::route::{Labels, is_label, is_label_value};
use heddle_store::{StoreFault, shelf::collection};
use std::collections::BTreeMap;

const LABELS: &str = "plugin-labels";

/// Labels of one plugin.
const MOST: usize = 32;

/// Why labels were not taken.
#[derive(Debug, thiserror::Error)]
pub enum LabelsFault {
    /// There is no such plugin.
    #[error("no plugin `{0}` is loaded")]
    NoPlugin(String),
    /// What is wrong, by label.
    #[error("{} labels cannot be taken", .0.len())]
    Invalid(Vec<(String, String)>),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// Reads what is said of the tenant's plugins.
pub(crate) async fn load(shared: &Shared, tenant: &Tenant) -> Result<(), StoreFault> {
    let collection = collection(LABELS, tenant);
    record::each(&*shared.shelf, &collection, "set the labels again", |key, labels: Labels| {
        if let Some(key) = plugin_key(key) {
            shared.registry.hold_labels(tenant, key, labels);
        }
    })
    .await
}

/// Sets labels and takes away those without a value. Gives all that there are then.
pub(crate) async fn set(
    shared: &Shared,
    tenant: &Tenant,
    key: &PluginKey,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<Labels, LabelsFault> {
    let named = named(key);
    if shared.registry.versions(tenant, key).is_empty() {
        return Err(LabelsFault::NoPlugin(named));
    }
    let faults = faults(changes);
    if !faults.is_empty() {
        return Err(LabelsFault::Invalid(faults));
    }
    let change = |labels: &mut Labels| {
        for (label, value) in changes {
            match value {
                Some(value) => drop(labels.insert(label.clone(), value.clone())),
                None => drop(labels.remove(label)),
            }
        }
        match labels.len() > MOST {
            true => {
                let message = format!("{} labels; a plugin has at most {MOST}", labels.len());
                Err(LabelsFault::Invalid(vec![(String::new(), message)]))
            }
            false => Ok(()),
        }
    };
    let (labels, ()) = record::changed(&*shared.shelf, &collection(LABELS, tenant), &named, change).await?;
    shared.registry.hold_labels(tenant, key.clone(), labels.clone());
    Ok(labels)
}

fn faults(changes: &BTreeMap<String, Option<String>>) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    for (label, value) in changes {
        if !is_label(label) {
            let message = "a label's name is `[a-z][a-z0-9_-]*`, at most 64 bytes";
            faults.push((label.clone(), message.to_owned()));
        } else if value.as_deref().is_some_and(|value| !is_label_value(value)) {
            let message = "a label's value is 1 to 64 printing characters of ASCII without blanks";
            faults.push((label.clone(), message.to_owned()));
        } else if label == "cost" && value.as_deref().is_some_and(|cost| !is_cost(cost)) {
            faults.push((
                label.clone(),
                "`cost` is a number such as `2.5`: the lowest is the cheapest".to_owned(),
            ));
        }
    }
    faults
}

fn is_cost(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(|cost| cost.is_finite() && cost >= 0.0)
}
