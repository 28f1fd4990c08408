//! Values that plugins keep: records of the shelf, each written at the version that was read, so that whoever comes
//! second finds out. A plugin sees its own and nobody else's.

use super::For;
use crate::shared::Shared;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heddle_core::id::Tenant;
use heddle_core::json::Json;
use heddle_core::outside::{KvAnswer, KvCall, KvFault};
use heddle_core::time::Timestamp;
use heddle_store::{Record, StoreFault, shelf::collection};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How often a write is tried again because somebody else was quicker.
const TRIES: usize = 64;
/// Records read at a time.
const PAGE: u32 = 500;

/// A value, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kv {
    /// In base64.
    value: String,
    /// When it is gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires: Option<Timestamp>,
}

/// How many values each plugin keeps, as far as this node has counted them.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<(Tenant, Arc<str>), u64>>);

impl Kept {
    fn known(&self, who: &For) -> Option<u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&(who.tenant.clone(), who.plugin.clone())).copied()
    }
    fn set(&self, who: &For, count: u64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.insert((who.tenant.clone(), who.plugin.clone()), count);
    }
    fn add(&self, who: &For, change: i64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&(who.tenant.clone(), who.plugin.clone())) {
            *count = count.saturating_add_signed(change);
        }
    }
}

fn failed(fault: &StoreFault) -> KvFault {
    KvFault::Failed(format!("the store did not answer: {fault}"))
}

/// The collection of a plugin's values.
fn values_of(who: &For) -> String {
    format!("{}/{}", collection("kv", &who.tenant), who.plugin)
}

/// Does it.
pub(super) async fn done(shared: &Shared, who: &For, call: KvCall) -> Result<KvAnswer, KvFault> {
    match call {
        KvCall::Get { key } => {
            check_key(shared, &key)?;
            let found = read(shared, who, &key).await?;
            Ok(KvAnswer::Entry(found.live.map(|value| (value, found.version))))
        }
        KvCall::Set { key, value, expected, ttl_ms } => {
            check_key(shared, &key)?;
            let most = shared.limits.kv_value_bytes;
            if value.len() as u64 > most {
                let found = value.len();
                return Err(KvFault::TooLarge(format!(
                    "the value has {found} bytes; the limit kv_value_bytes is {most}"
                )));
            }
            let expires = ttl_ms.map(|ms| shared.now().plus_ms(ms));
            write(shared, who, &key, |found| match expected {
                Some(version) if version != found.seen() => Err(KvFault::Conflict(found.seen())),
                _ => Ok((Kv { value: STANDARD.encode(&value), expires }, ())),
            })
            .await
            .map(|(version, ())| KvAnswer::Version(version))
        }
        KvCall::Increment { key, by } => {
            check_key(shared, &key)?;
            write(shared, who, &key, |found| {
                let now = number(found)?;
                let sum = now.checked_add(by).ok_or_else(|| {
                    KvFault::NotANumber(format!("{now} and {by} is no whole number of 64 bits"))
                })?;
                let expires = found.expires;
                Ok((Kv { value: STANDARD.encode(sum.to_string()), expires }, sum))
            })
            .await
            .map(|(_, sum)| KvAnswer::Number(sum))
        }
        KvCall::Delete { key } => {
            check_key(shared, &key)?;
            delete(shared, who, &key).await.map(KvAnswer::Deleted)
        }
        KvCall::Keys { prefix, after, limit } => {
            keys(shared, who, (&prefix, &after), limit as usize).await.map(KvAnswer::Keys)
        }
    }
}

fn check_key(shared: &Shared, key: &str) -> Result<(), KvFault> {
    let most = shared.limits.kv_key_bytes;
    match key.is_empty() || key.len() as u64 > most {
        true => Err(KvFault::TooLarge(format!(
            "the key has {} bytes; it has at least one, and the limit kv_key_bytes is {most}",
            key.len()
        ))),
        false => Ok(()),
    }
}

/// What stands under a key.
#[derive(Default)]
struct Found {
    /// The version of the record; 0 where there is none.
    version: u64,
    /// The value, where its time is not over.
    live: Option<Vec<u8>>,
    expires: Option<Timestamp>,
}

impl Found {
    fn of(record: &Record, now: Timestamp) -> Result<Found, KvFault> {
        let kept: Kv = serde_json::from_str(record.body.text()).map_err(|fault| {
            KvFault::Failed(format!("the value under `{}` is damaged: {fault}", record.key))
        })?;
        let is_live = kept.expires.is_none_or(|at| now < at);
        let live = is_live.then(|| STANDARD.decode(&kept.value).unwrap_or_default());
        Ok(Found { version: record.version, live, expires: kept.expires.filter(|_| is_live) })
    }
    /// The version that the plugin has seen: none, where the time is over.
    fn seen(&self) -> u64 {
        if self.live.is_some() { self.version } else { 0 }
    }
}

fn number(found: &Found) -> Result<i64, KvFault> {
    let Some(value) = &found.live else { return Ok(0) };
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| KvFault::NotANumber("what stands under the key is no whole number of 64 bits".into()))
}

async fn read(shared: &Shared, who: &For, key: &str) -> Result<Found, KvFault> {
    let record = shared.shelf.get(&values_of(who), key).await.map_err(|fault| failed(&fault))?;
    record.map_or(Ok(Found::default()), |record| Found::of(&record, shared.now()))
}

/// Writes what follows from what is there, until nobody was quicker.
async fn write<T>(
    shared: &Shared,
    who: &For,
    key: &str,
    follows: impl Fn(&Found) -> Result<(Kv, T), KvFault>,
) -> Result<(u64, T), KvFault> {
    for _ in 0..TRIES {
        let found = read(shared, who, key).await?;
        let (kept, answer) = follows(&found)?;
        if found.version == 0 {
            make_room(shared, who).await?;
        }
        // Plain data: it always has a form.
        let body = Json::trusted(serde_json::to_string(&kept).unwrap_or_default());
        match shared.shelf.put(&values_of(who), key, found.version, body).await {
            Ok(version) => {
                if found.version == 0 {
                    shared.kept_values.add(who, 1);
                }
                return Ok((version, answer));
            }
            Err(StoreFault::Conflict(_)) => tokio::task::yield_now().await,
            Err(fault) => return Err(failed(&fault)),
        }
    }
    Err(KvFault::Failed(format!("`{key}` is being written by others all the time")))
}

async fn delete(shared: &Shared, who: &For, key: &str) -> Result<bool, KvFault> {
    for _ in 0..TRIES {
        let found = read(shared, who, key).await?;
        if found.version == 0 {
            return Ok(false);
        }
        match shared.shelf.delete(&values_of(who), key, found.version).await {
            Ok(_) => {
                shared.kept_values.add(who, -1);
                return Ok(found.live.is_some());
            }
            Err(StoreFault::Conflict(_)) => tokio::task::yield_now().await,
            Err(fault) => return Err(failed(&fault)),
        }
    }
    Err(KvFault::Failed(format!("`{key}` is being written by others all the time")))
}

async fn keys(
    shared: &Shared,
    who: &For,
    (prefix, after): (&str, &str),
    limit: usize,
) -> Result<Vec<String>, KvFault> {
    let (now, mut keys) = (shared.now(), Vec::new());
    // Keys that begin so stand together; the first of them is the prefix itself.
    let mut last = after.to_owned();
    if prefix > after && !prefix.is_empty() {
        if read(shared, who, prefix).await?.live.is_some() && limit > 0 {
            keys.push(prefix.to_owned());
        }
        prefix.clone_into(&mut last);
    }
    while keys.len() < limit {
        let page = shared.shelf.scan(&values_of(who), &last, PAGE).await.map_err(|fault| failed(&fault))?;
        let is_last = page.len() < PAGE as usize;
        for record in page {
            if !record.key.starts_with(prefix) {
                return Ok(keys);
            }
            last.clone_from(&record.key);
            if Found::of(&record, now)?.live.is_some() && keys.len() < limit {
                keys.push(record.key);
            }
        }
        if is_last {
            break;
        }
    }
    Ok(keys)
}

/// Sees to it that one more value may be kept: what is over goes when there is no room.
async fn make_room(shared: &Shared, who: &For) -> Result<(), KvFault> {
    let most = shared.limits.kv_entries;
    let is_free = |count: u64| count < most;
    if shared.kept_values.known(who).is_some_and(is_free) {
        return Ok(());
    }
    let (now, mut count, mut last) = (shared.now(), 0, String::new());
    loop {
        let page = shared.shelf.scan(&values_of(who), &last, PAGE).await.map_err(|fault| failed(&fault))?;
        let is_last = page.len() < PAGE as usize;
        for record in page {
            last.clone_from(&record.key);
            let is_over = Found::of(&record, now).is_ok_and(|found| found.live.is_none());
            let gone =
                is_over && shared.shelf.delete(&values_of(who), &record.key, record.version).await.is_ok();
            count += u64::from(!gone);
        }
        if is_last {
            break;
        }
    }
    shared.kept_values.set(who, count);
    match is_free(count) {
        true => Ok(()),
        false => Err(KvFault::TooLarge(format!(
            "{count} values are kept; the limit kv_entries is {most}: delete some, or let them end with a TTL"
        ))),
    }
}
