//! One way to change a record of the shelf: read, change, write at the version that was read, and again where somebody
//! was quicker.

use heddle_core::json::Json;
use heddle_store::{Shelf, StoreFault};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a write is tried again because somebody else was quicker.
const TRIES: usize = 8;
/// Records read at a time.
const PAGE: u32 = 200;

/// Changes a record; one that is not there, or is damaged, is as one that says nothing. Gives what it says then, and
/// what the change gave.
///
/// # Errors
/// What the change says, the store's, and a conflict where others were quicker every time.
pub(crate) async fn changed<T, R, E>(
    shelf: &dyn Shelf,
    collection: &str,
    key: &str,
    change: impl Fn(&mut T) -> Result<R, E>,
) -> Result<(T, R), E>
where
    T: Default + Serialize + DeserializeOwned,
    E: From<StoreFault>,
{
    for _ in 0..TRIES {
        let record = shelf.get(collection, key).await?;
        let version = record.as_ref().map_or(0, |record| record.version);
        let mut value: T =
            record.and_then(|record| serde_json::from_str(record.body.text()).ok()).unwrap_or_default();
        let answer = change(&mut value)?;
        let body = Json::trusted(serde_json::to_string(&value).unwrap_or_default());
        match shelf.put(collection, key, version, body).await {
            Ok(_) => return Ok((value, answer)),
            Err(StoreFault::Conflict(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Err(StoreFault::Conflict(key.to_owned()).into())
}

/// Reads every record of a collection. A damaged one is told to the operator, with what to do, and left out.
pub(crate) async fn each<T: DeserializeOwned>(
    shelf: &dyn Shelf,
    collection: &str,
    what_to_do: &str,
    mut take: impl FnMut(&str, T),
) -> Result<(), StoreFault> {
    let mut after = String::new();
    loop {
        let page = shelf.scan(collection, &after, PAGE).await?;
        for record in &page {
            after.clone_from(&record.key);
            match serde_json::from_str(record.body.text()) {
                Ok(value) => take(&record.key, value),
                Err(fault) => {
                    tracing::error!(collection, key = record.key, %fault, "a record is damaged; {what_to_do}");
                }
            }
        }
        if page.len() < PAGE as usize {
            return Ok(());
        }
    }
}
