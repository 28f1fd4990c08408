//! Lists with filters that no index has: entries are looked at one by one, at most so many for a page, and the page
//! says where the next one goes on.

use crate::shared::Shared;
use crate::workflows::{self, WorkflowEntry};
use heddle_core::id::{RunId, Tenant};
use heddle_core::version::VersionStatus;
use heddle_store::{Listed, RunQuery, RunRow, StoreFault};

/// Rows of runs that are asked for at once.
const ROWS: u32 = 200;

/// Which workflows a list shows.
#[derive(Clone, Debug, Default)]
pub struct WorkflowFilter {
    /// Only versions of this `namespace/name`.
    pub name: Option<String>,
    /// Only with one of these statuses; empty for all but archived ones.
    pub status: Vec<VersionStatus>,
    /// Only those that this caller published.
    pub by: Option<String>,
    /// Only with this label.
    pub label: Option<(String, String)>,
    /// Only those whose name, title or labels have this text in them, in whatever case.
    pub text: Option<String>,
}

/// What a list of runs is filtered by besides what the store's indexes have.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only those that this caller asked for.
    pub by: Option<String>,
    /// Only those whose id, workflow or labels have this text in them, in whatever case.
    pub text: Option<String>,
}

/// Whether one of these has the text in it. An empty text is in everything.
fn says<'a>(text: Option<&String>, places: impl IntoIterator<Item = &'a str>) -> bool {
    let Some(text) = text.map(|text| text.to_lowercase()) else { return true };
    places.into_iter().any(|place| place.to_lowercase().contains(&text))
}

impl WorkflowFilter {
    fn fits(&self, entry: &WorkflowEntry) -> bool {
        let status = match self.status.is_empty() {
            true => entry.status != VersionStatus::Archived,
            false => self.status.contains(&entry.status),
        };
        let has = |(name, value): &(String, String)| {
            entry.labels.iter().any(|(n, v)| **n == **name && **v == **value)
        };
        let full_name = entry.full_name();
        let labels = entry.labels.iter().flat_map(|(name, value)| [&**name, &**value]);
        entry.removed.is_none()
            && status
            && self.by.as_deref().is_none_or(|by| entry.by.as_deref() == Some(by))
            && self.label.as_ref().is_none_or(has)
            && says(self.text.as_ref(), [&*full_name, &*entry.title].into_iter().chain(labels))
    }
}

impl RunFilter {
    fn fits(&self, row: &RunRow) -> bool {
        let id = row.run.to_string();
        let labels = row.labels.iter().flat_map(|(name, value)| [&**name, &**value]);
        self.by.as_deref().is_none_or(|by| row.by.as_deref() == Some(by))
            && says(self.text.as_ref(), [&*id, &*row.workflow].into_iter().chain(labels))
    }
}

/// A page of versions after this key, and the key after which the next one begins.
pub(crate) async fn workflows(
    shared: &Shared,
    tenant: &Tenant,
    filter: &WorkflowFilter,
    (after, limit): (&str, u32),
) -> Result<(Vec<WorkflowEntry>, Option<String>), StoreFault> {
    let prefix = filter.name.as_ref().map(|name| format!("{name}@")).unwrap_or_default();
    let mut last = if after.is_empty() { prefix.clone() } else { after.to_owned() };
    let (mut found, mut looked) = (Vec::new(), 0);
    loop {
        let (page, full) = workflows::scan(shared, tenant, &last).await?;
        for record in page {
            if !record.key.starts_with(&prefix) {
                return Ok((found, None));
            }
            if found.len() == limit as usize || looked == shared.limits.list_scan {
                return Ok((found, Some(last)));
            }
            looked += 1;
            let entry = workflows::parse(&record)?;
            last = record.key;
            if filter.fits(&entry) {
                found.push(entry);
            }
        }
        if !full {
            return Ok((found, None));
        }
    }
}

/// A page of runs, newest first, and the run after which the next one begins. One whose row cannot be read stands
/// among them where nothing is asked of it.
pub(crate) async fn runs(
    shared: &Shared,
    query: RunQuery,
    filter: &RunFilter,
) -> Result<(Vec<Listed>, Option<RunId>), StoreFault> {
    let filtered = filter.by.is_some() || filter.text.is_some();
    let rows = if filtered { ROWS } else { query.limit + 1 };
    let (mut found, mut looked, mut before) = (Vec::new(), 0, query.before);
    loop {
        let page = shared.store.runs(RunQuery { limit: rows, before, ..query.clone() }).await?;
        let full = page.len() == rows as usize;
        for listed in page {
            if found.len() == query.limit as usize || looked == shared.limits.list_scan {
                return Ok((found, before));
            }
            (looked, before) = (looked + 1, Some(listed.run()));
            let fits = match &listed {
                Listed::Run(row) => filter.fits(row),
                Listed::Unreadable { .. } => !filtered,
            };
            if fits {
                found.push(listed);
            }
        }
        if !full {
            return Ok((found, None));
        }
    }
}
