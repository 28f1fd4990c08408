//! Which version of a plugin new runs get, as an operator or a gate decides it. What may follow what is decided in the
//! core ([`Release`]); here it is written, and held.

use crate::plugins::entry::PluginEntry;
use crate::plugins::registry::{Drawn, PluginKey, key_of, named, plugin_key};
use crate::record;
use crate::shared::Shared;
use crate::telemetry as t;
use crate::workflows;
use heddle_core::id::{Digest, Tenant};
use heddle_core::plan::Plan;
use heddle_core::plugin::Pinned;
use heddle_core::release::{HealthGate, Release, ReleaseFault, Seen, Trial, Verdict};
use heddle_core::route::Callee;
use heddle_core::time::Timestamp;
use heddle_store::{RunQuery, RunStatus, StoreFault, shelf::collection};
use metrics::counter;
use semver::Version;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

const RELEASES: &str = "plugin-releases";
/// Runs that are looked at in one question.
const PAGE: u32 = 500;
/// Users that are named of each sort.
const NAMED: usize = 3;

/// Why nothing was decided. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseRefused {
    /// There is no such plugin.
    #[error("no plugin `{0}` is loaded")]
    NoPlugin(String),
    /// The decision cannot be.
    #[error("`{0}`: {1}")]
    Refused(String, ReleaseFault),
    /// Something uses the version.
    #[error("`{0}` is used by {1}")]
    InUse(String, String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// What an operator decides.
#[derive(Clone, Debug)]
pub enum ReleaseWish {
    /// A version becomes the current one, or a share of the runs tries it.
    Promote {
        /// The version.
        version: Version,
        /// Of a hundred runs, how many get it.
        share: u8,
        /// What is asked of it.
        gate: Option<HealthGate>,
    },
    /// The version on trial is taken back, or the current one.
    RollBack {
        /// The one that is meant; where it is another that would be taken back, none is.
        version: Option<Version>,
        /// Why.
        why: String,
    },
    /// The newest version is meant again.
    Follow,
}

/// Reads what was decided of the tenant's plugins.
pub(crate) async fn load(shared: &Shared, tenant: &Tenant) -> Result<(), StoreFault> {
    let collection = collection(RELEASES, tenant);
    record::each(&*shared.shelf, &collection, "promote a version again", |key, release: Release| {
        if let Some(key) = plugin_key(key) {
            shared.registry.hold_release(tenant, key, release);
        }
    })
    .await
}

/// Decides, and gives what stands then.
pub(crate) async fn decide(
    shared: &Shared,
    tenant: &Tenant,
    key: &PluginKey,
    what: &ReleaseWish,
) -> Result<Release, ReleaseRefused> {
    let name = named(key);
    let release = changed(shared, tenant, key, |release, loaded| {
        if loaded.is_empty() {
            return Err(ReleaseRefused::NoPlugin(name.clone()));
        }
        let done = match what {
            ReleaseWish::Promote { version, share, gate } => {
                let (version, since) = (version.clone(), shared.now());
                release.promote(loaded, Trial { version, share: *share, since, gate: *gate })
            }
            ReleaseWish::RollBack { version, why } => {
                release.roll_back(loaded, version.as_ref(), (shared.now(), why.clone(), false))
            }
            ReleaseWish::Follow => {
                release.follow(shared.now());
                Ok(())
            }
        };
        done.map(|()| Decided::Yes).map_err(|fault| ReleaseRefused::Refused(name.clone(), fault))
    })
    .await?;
    Ok(release)
}

/// Whether anything was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    Yes,
    /// It was already, or only tidied up.
    No,
}

/// Changes what was decided, and tells it. One after the other on a node, so that what is held is what was written last.
async fn changed(
    shared: &Shared,
    tenant: &Tenant,
    key: &PluginKey,
    change: impl Fn(&mut Release, &BTreeMap<Version, PluginEntry>) -> Result<Decided, ReleaseRefused>,
) -> Result<Release, ReleaseRefused> {
    let _turn = shared.registry.deciding.lock().await;
    let (collection, loaded) = (collection(RELEASES, tenant), shared.registry.versions(tenant, key));
    let change = |release: &mut Release| change(release, &loaded);
    let (release, decided) = record::changed(&*shared.shelf, &collection, &named(key), change).await?;
    shared.registry.hold_release(tenant, key.clone(), release.clone());
    if decided == Decided::Yes {
        told(&named(key), &release);
    }
    Ok(release)
}

/// Tells the operator what was decided last.
fn told(plugin: &str, release: &Release) {
    let Some(change) = release.changes.back() else { return };
    let version = change.to.as_ref().map_or_else(|| "the newest".to_owned(), ToString::to_string);
    let (what, by) = (format!("{:?}", change.what), if change.by_gate { "gate" } else { "operator" });
    counter!(t::RELEASE_CHANGES, "what" => what.clone(), "by" => by).increment(1);
    tracing::info!(target: "heddle::audit", plugin, version, what, by, why = change.why, "a plugin's version was decided on");
}

/// Takes in how a version has done in the trial that began then, and does what its gate says. Several calls may end
/// before it is done; it is done once.
pub(crate) async fn judged(
    shared: Arc<Shared>,
    tenant: Tenant,
    pin: Arc<Pinned>,
    (since, seen): (Timestamp, Seen),
) {
    let key: PluginKey = (pin.kind, pin.name.clone());
    let done = changed(&shared, &tenant, &key, |release, loaded| {
        // A person may have decided meanwhile, or another call has spoken.
        match release.judge_since(since, seen) {
            None => Ok(Decided::No),
            Some(Verdict::Promote) => {
                release.pass(shared.now(), seen);
                Ok(Decided::Yes)
            }
            Some(Verdict::RollBack(why)) => release
                .roll_back(loaded, None, (shared.now(), why, true))
                .map(|()| Decided::Yes)
                .map_err(|fault| ReleaseRefused::Refused(named(&key), fault)),
        }
    });
    if let Err(fault) = done.await {
        tracing::error!(plugin = named(&key), %fault, "what a gate says cannot be written");
    }
}

/// Deletes a version that nothing uses. `None` where there is no such version.
pub(crate) async fn delete(
    shared: &Shared,
    tenant: &Tenant,
    key: &PluginKey,
    version: &Version,
) -> Result<Option<()>, ReleaseRefused> {
    // Nothing is decided meanwhile: what is promoted is there.
    let _turn = shared.registry.deciding.lock().await;
    let loaded = shared.registry.versions(tenant, key);
    let Some(entry) = loaded.get(version) else { return Ok(None) };
    let shown = format!("{}@{version}", named(key));
    let release = shared.registry.release(tenant, key).unwrap_or_default();
    let mut users = Vec::new();
    if release.needs(&loaded, version) {
        let how = "`heddle plugin promote` another one first";
        users.push(format!("those who name no version: it is the current one, or on trial ({how})"));
    }
    users.extend(of_workflows(shared, tenant, (key, version), (&loaded, &release)).await?);
    users.extend(of_runs(shared, tenant, entry.digest).await?);
    if !users.is_empty() {
        return Err(ReleaseRefused::InUse(shown, users.join(", and by ")));
    }
    shared.registry.remove(&*shared.shelf, tenant, key, entry, shared.now()).await?;
    tracing::info!(target: "heddle::audit", plugin = shown, "a plugin's version was deleted");
    Ok(Some(()))
}

/// The workflows that would find no other version.
async fn of_workflows(
    shared: &Shared,
    tenant: &Tenant,
    (key, version): (&PluginKey, &Version),
    (loaded, release): (&BTreeMap<Version, PluginEntry>, &Release),
) -> Result<Option<String>, StoreFault> {
    let others = loaded.keys().filter(|other| *other != version);
    let others: BTreeMap<Version, ()> = others.map(|other| (other.clone(), ())).collect();
    let is_last = others.is_empty();
    let needs = |call: &Callee| match call {
        Callee::Plugin(reference) => {
            (reference.kind, &reference.name) == (key.0, &key.1)
                && release.pick(loaded, reference, false).is_some()
                && release.pick(&others, reference, false).is_none()
        }
        Callee::Capability(capability) => {
            let found = shared.registry.candidates(tenant, capability, &Drawn::new()).unwrap_or_default();
            is_last && !found.is_empty() && found.iter().all(|entry| key_of(entry) == *key)
        }
    };
    // What an agent may call by its name; whoever grants it a pattern takes what there is.
    let grants = |tools: &[Arc<str>]| is_last && tools.iter().any(|tool| **tool == *named(key));
    let mut names = Vec::new();
    for entry in workflows::published(shared, tenant).await? {
        let is_user = |plan: Arc<Plan>| {
            plan.calls.iter().any(needs) || plan.steps.iter().any(|step| grants(&step.tools))
        };
        if shared.plan_of(&entry).is_ok_and(is_user) {
            names.push(format!("`{}@{}`", entry.full_name(), entry.version));
        }
    }
    let then = "publish it with another range, or archive it";
    Ok((!names.is_empty()).then(|| listed("workflow", &names, then)))
}

/// Runs that have not ended and were accepted with it.
async fn of_runs(shared: &Shared, tenant: &Tenant, digest: Digest) -> Result<Option<String>, StoreFault> {
    let (mut names, mut before) = (Vec::new(), None);
    let mut uses: HashMap<Digest, bool> = HashMap::new();
    loop {
        let query = RunQuery {
            tenant: tenant.clone(),
            status: RunStatus::OPEN.to_vec(),
            before,
            limit: PAGE,
            ..RunQuery::default()
        };
        let page = shared.store.runs(query).await?;
        before = page.last().map(heddle_store::Listed::run);
        let is_last = page.len() < PAGE as usize;
        for row in page.into_iter().filter_map(heddle_store::Listed::row) {
            let is_user = match uses.get(&row.snapshot) {
                Some(known) => *known,
                None => {
                    let snapshot = shared.snapshots.get(row.snapshot).await?;
                    let known = snapshot.uses(digest);
                    uses.insert(row.snapshot, known);
                    known
                }
            };
            if is_user {
                names.push(format!("`{}`", row.run));
            }
        }
        if is_last || names.len() > NAMED {
            let then = "it ends by itself, or with `heddle runs cancel RUN`";
            return Ok((!names.is_empty()).then(|| listed("run", &names, then)));
        }
    }
}

fn listed(what: &str, names: &[String], then: &str) -> String {
    let more = if names.len() > NAMED { " and more" } else { "" };
    let names: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    format!("{what} {}{more} ({then})", names.join(", "))
}
