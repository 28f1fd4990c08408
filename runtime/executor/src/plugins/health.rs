//! How the plugins of a node do, from the calls that it makes of them. Kept in memory, a day of it, and from the start
//! of the process only.

use crate::plugins::entry::PluginEntry;
use crate::plugins::releases;
use crate::shared::Shared;
use heddle_core::gate;
use heddle_core::gate::circuit;
use heddle_core::health::{Call, Health, State, Sum, Traffic, Turn};
use heddle_core::id::{Digest, Tenant};
use heddle_core::outcome::{AttemptEnd, Outcome};
use heddle_core::plugin::Pinned;
use heddle_core::release::Standing;
use heddle_core::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// How often health is looked at where nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Versions of which something is kept; the calls of further ones are not counted.
const MOST: usize = 2_000;

/// A version of a tenant, by its component.
type Version = (Tenant, Digest);

/// What is known of each version.
#[derive(Debug, Default)]
pub(crate) struct Healths {
    of: RwLock<HashMap<Version, Arc<Mutex<Traffic>>>>,
    /// Whether it was told that there is no room for more.
    is_told: AtomicBool,
}

/// How a version does.
#[derive(Clone, Debug)]
pub struct Doing {
    /// How it stands among the others.
    pub standing: Standing,
    /// How it is now.
    pub health: Health,
    /// Its changes of health, the latest last.
    pub turns: Vec<Turn>,
    /// What to do, in one sentence.
    pub advice: String,
}

/// What the calls of a version came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Metered {
    /// The sums.
    pub sum: Sum,
    /// The first minute of which something is known.
    pub since: Option<Timestamp>,
}

impl Healths {
    fn known(&self, tenant: &Tenant, digest: Digest) -> Option<Arc<Mutex<Traffic>>> {
        let all = self.of.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&(tenant.clone(), digest)).cloned()
    }
    /// What is known of a version, from now on.
    fn of(&self, tenant: &Tenant, digest: Digest) -> Option<Arc<Mutex<Traffic>>> {
        let of = self.known(tenant, digest).or_else(|| {
            let mut all = self.of.write().unwrap_or_else(PoisonError::into_inner);
            let key = (tenant.clone(), digest);
            (all.len() < MOST || all.contains_key(&key)).then(|| all.entry(key).or_default().clone())
        });
        if of.is_none() && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the calls of {MOST} versions of plugins are counted, and those of further ones are not: no gate judges them; `heddle plugin rm` old ones"
            );
        }
        of
    }
    /// Forgets the versions of a tenant that are no longer there.
    fn retain(&self, tenant: &Tenant, there: &HashSet<Digest>) {
        let mut all = self.of.write().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.retain(|(owner, digest), _| owner != tenant || there.contains(digest));
        if all.len() < before {
            self.is_told.store(false, Ordering::Relaxed);
        }
    }
}

fn lock(traffic: &Mutex<Traffic>) -> MutexGuard<'_, Traffic> {
    traffic.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes in how a call ended.
pub(crate) fn observe(shared: &Arc<Shared>, tenant: &Tenant, pin: &Arc<Pinned>, end: &AttemptEnd) {
    let Some(traffic) = shared.healths.of(tenant, pin.digest) else { return };
    let call = Call {
        said: gate::said(&end.outcome),
        is_failure: matches!(end.outcome, Outcome::Failed(_)),
        wall_us: end.usage.wall_us,
        fuel: end.usage.fuel,
    };
    let tried = shared.registry.trial(tenant, pin);
    let trial = tried.as_ref().and_then(|release| release.trial.as_ref());
    let seen = {
        let mut traffic = lock(&traffic);
        // Asked before the call is counted as well, so that the first one of a trial is.
        let began = trial.map(|trial| trial.since);
        began.map(|since| traffic.seen(since));
        traffic.record(shared.now(), call);
        began.map(|since| (since, traffic.seen(since)))
    };
    if let (Some(release), Some((since, seen))) = (tried, seen)
        && release.judge_since(since, seen).is_some()
    {
        tokio::spawn(releases::judged(shared.clone(), tenant.clone(), pin.clone(), (since, seen)));
    }
}

/// The circuits that let nobody through.
pub(crate) fn open_circuits(shared: &Shared, tenant: &Tenant) -> HashSet<Arc<str>> {
    let circuits = shared.gates.circuits(tenant).into_iter();
    let open = circuits.filter(|circuit| matches!(circuit.standing, circuit::Standing::Open(_)));
    open.map(|circuit| circuit.key).collect()
}

/// How a version does now.
pub(crate) fn doing(
    shared: &Shared,
    tenant: &Tenant,
    entry: &PluginEntry,
    open: &HashSet<Arc<str>>,
) -> Doing {
    let plugin = entry.metadata.reference();
    let is_open = open.contains(&*plugin);
    let (health, turns) = match shared.healths.known(tenant, entry.digest) {
        None => (Health { state: State::Unknown, why: "nothing is counted of it".to_owned() }, Vec::new()),
        Some(traffic) => {
            let mut traffic = lock(&traffic);
            (traffic.health(shared.now(), is_open), traffic.turns().cloned().collect())
        }
    };
    let advice = match health.state {
        State::Unknown => "nothing to do".to_owned(),
        State::Healthy => "keep it".to_owned(),
        State::Degraded => format!(
            "look at what fails: `heddle runs ls --status failed`; a circuit breaker or `heddle plugin rollback {plugin}` keeps runs away from it"
        ),
        State::Unhealthy => {
            format!("go back: `heddle plugin rollback {plugin}`, or load a version that works")
        }
    };
    let standing = shared.registry.standing(tenant, entry);
    Doing { standing, health, turns, advice }
}

/// What the calls of a version came to between these times.
pub(crate) fn metered(
    shared: &Shared,
    tenant: &Tenant,
    digest: Digest,
    (from, to): (Timestamp, Timestamp),
) -> Metered {
    match shared.healths.known(tenant, digest) {
        None => Metered { sum: Sum::default(), since: None },
        Some(traffic) => {
            let traffic = lock(&traffic);
            Metered { sum: traffic.between(from, to), since: traffic.since() }
        }
    }
}

/// Looks how the plugins do, for as long as the node lives: what does badly is tried last.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let tenant = Tenant::default();
    while !shared.is_draining() && !shared.lost.load(Ordering::Acquire) {
        tokio::time::sleep(LOOK_EVERY).await;
        let (mut ranks, open) = (HashMap::new(), open_circuits(&shared, &tenant));
        let all = shared.registry.all(&tenant);
        shared.healths.retain(&tenant, &all.iter().map(|entry| entry.digest).collect());
        for entry in all {
            let state = doing(&shared, &tenant, &entry, &open).health.state;
            if state.rank() > 0 {
                ranks.insert(entry.digest, state.rank());
            }
        }
        shared.registry.hold_ranks(&tenant, &ranks);
    }
}
