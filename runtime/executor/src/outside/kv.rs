//! Values that plugins keep: records of the shelf, each written at the version that was read, so that whoever comes
//! second finds out; writers of one key on one node take turns, so that finding out is rare. A plugin sees its own and
//! nobody else's.

mod kept;

use super::For;
use crate::shared::Shared;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heddle_core::json::Json;
use heddle_core::outside::{KvAnswer, KvCall, KvFault};
use heddle_core::time::Timestamp;
use heddle_store::{Record, StoreFault, shelf::collection};
use kept::{Keeper, Room};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLockReadGuard;

pub(crate) use kept::Kept;

/// How often a write is tried again because somebody else was quicker.
const TRIES: usize = 64;
/// Records read at a time.
const PAGE: u32 = 100;

/// A value, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Kv {
    /// In base64.
    value: String,
    /// When it is gone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expires: Option<Timestamp>,
    /// What the plugin knows it by. Not the record's, which begins anew when a value is written after a delete.
    #[serde(default)]
    version: u64,
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
            let version = found.seen();
            Ok(KvAnswer::Entry(found.live.map(|value| (value, version))))
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
                _ => Ok(Written { value: STANDARD.encode(&value), expires, answer: () }),
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
                Ok(Written { value: STANDARD.encode(sum.to_string()), expires, answer: sum })
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
    record: u64,
    /// The version of the value.
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
        let expires = kept.expires.filter(|_| is_live);
        Ok(Found { record: record.version, version: kept.version.max(record.version), live, expires })
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

/// What is to be written, and what is answered then.
struct Written<T> {
    /// In base64.
    value: String,
    expires: Option<Timestamp>,
    answer: T,
}

/// Writes what follows from what is there, until nobody was quicker.
async fn write<T>(
    shared: &Shared,
    who: &For,
    key: &str,
    follows: impl Fn(&Found) -> Result<Written<T>, KvFault>,
) -> Result<(u64, T), KvFault> {
    let keeper = shared.kept_values.of(who);
    let _turn = keeper.turn(key).await;
    for _ in 0..TRIES {
        let found = read(shared, who, key).await?;
        let Written { value, expires, answer } = follows(&found)?;
        let version = shared.kept_values.next_version(shared.now(), found.version);
        let body = Json::trusted(serde_json::to_string(&Kv { value, expires, version }).unwrap_or_default());
        let is_new = found.record == 0;
        let changing = if is_new { make_room(shared, who, &keeper).await? } else { keeper.change().await };
        let put = shared.shelf.put(&values_of(who), key, found.record, body).await;
        if is_new && put.is_err() {
            keeper.give_back();
        }
        drop(changing);
        match put {
            Ok(_) => return Ok((version, answer)),
            Err(StoreFault::Conflict(_)) => tokio::task::yield_now().await,
            Err(fault) => return Err(failed(&fault)),
        }
    }
    Err(KvFault::Failed(format!("`{key}` is being written by others all the time")))
}

async fn delete(shared: &Shared, who: &For, key: &str) -> Result<bool, KvFault> {
    let keeper = shared.kept_values.of(who);
    let _turn = keeper.turn(key).await;
    for _ in 0..TRIES {
        let found = read(shared, who, key).await?;
        if found.record == 0 {
            return Ok(false);
        }
        let _changing = keeper.change().await;
        match shared.shelf.delete(&values_of(who), key, found.record).await {
            Ok(_) => {
                keeper.give_back();
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

/// Takes room for one more value: what is over goes when there is none. Nobody counts until it is written.
async fn make_room<'a>(
    shared: &Shared,
    who: &For,
    keeper: &'a Keeper,
) -> Result<RwLockReadGuard<'a, ()>, KvFault> {
    let most = shared.limits.kv_entries;
    // A second round where others took the room that the count had found.
    for _ in 0..TRIES {
        let changing = keeper.change().await;
        if keeper.take(most) == Room::Taken {
            return Ok(changing);
        }
        drop(changing);
        let count = keeper.recount(swept(shared, who)).await?;
        if count >= most {
            return Err(KvFault::TooLarge(format!(
                "{count} values are kept; the limit kv_entries is {most}: delete some, or let them end with a TTL"
            )));
        }
    }
    Err(KvFault::Failed("others take the room of every value that ends".to_owned()))
}

/// Deletes what is over, and counts the rest.
async fn swept(shared: &Shared, who: &For) -> Result<u64, KvFault> {
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
            return Ok(count);
        }
    }
}
