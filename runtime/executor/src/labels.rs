//! What an operator says of a plugin, apart from its bytes: `region=eu`, `cost=3`. Calls by capability choose by it;
//! a run that was accepted keeps the choice that it was accepted with.

use crate::shared::Shared;
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::outcome::PluginKind;
use heddle_core::route::{Labels, is_label, is_label_value};
use heddle_store::{StoreFault, shelf::collection};
use std::collections::BTreeMap;

const LABELS: &str = "plugin-labels";
const PAGE: u32 = 200;

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
    /// Somebody else was faster, several times.
    #[error("the labels of `{0}` are being changed by others; try again")]
    Busy(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// Reads what is said of the tenant's plugins.
pub(crate) async fn load(shared: &Shared, tenant: &Tenant) -> Result<(), StoreFault> {
    let mut after = String::new();
    loop {
        let page = shared.shelf.scan(&collection(LABELS, tenant), &after, PAGE).await?;
        for record in &page {
            after.clone_from(&record.key);
            let key = record
                .key
                .split_once(':')
                .and_then(|(kind, name)| Some((PluginKind::from_word(kind)?, name)));
            match (key, serde_json::from_str::<Labels>(record.body.text())) {
                (Some((kind, name)), Ok(labels)) => {
                    shared.registry.hold_labels(tenant, (kind, name.to_owned()), labels);
                }
                _ => tracing::error!(key = record.key, "a record of labels is damaged; set them again"),
            }
        }
        if page.len() < PAGE as usize {
            return Ok(());
        }
    }
}

/// Sets labels and takes away those without a value. Gives all that there are then.
pub(crate) async fn set(
    shared: &Shared,
    tenant: &Tenant,
    (kind, name): (PluginKind, &str),
    changes: &BTreeMap<String, Option<String>>,
) -> Result<Labels, LabelsFault> {
    let key = format!("{}:{name}", kind.word());
    if !shared.registry.all(tenant).iter().any(|entry| entry.metadata.reference() == key) {
        return Err(LabelsFault::NoPlugin(key));
    }
    let faults = faults(changes);
    if !faults.is_empty() {
        return Err(LabelsFault::Invalid(faults));
    }
    let collection = collection(LABELS, tenant);
    for _ in 0..8 {
        let record = shared.shelf.get(&collection, &key).await?;
        let version = record.as_ref().map_or(0, |record| record.version);
        let mut labels: Labels =
            record.and_then(|record| serde_json::from_str(record.body.text()).ok()).unwrap_or_default();
        for (label, value) in changes {
            match value {
                Some(value) => drop(labels.insert(label.clone(), value.clone())),
                None => drop(labels.remove(label)),
            }
        }
        if labels.len() > MOST {
            let message = format!("{} labels; a plugin has at most {MOST}", labels.len());
            return Err(LabelsFault::Invalid(vec![(String::new(), message)]));
        }
        let body = Json::trusted(serde_json::to_string(&labels).unwrap_or_default());
        match shared.shelf.put(&collection, &key, version, body).await {
            Ok(_) => {
                shared.registry.hold_labels(tenant, (kind, name.to_owned()), labels.clone());
                return Ok(labels);
            }
            Err(StoreFault::Conflict(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Err(LabelsFault::Busy(key))
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
