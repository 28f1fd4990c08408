//! The outside of native tests: requests go to what the test has said, secrets stand for themselves, and values are kept
//! in the thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::Value;

use crate::http::{Fault, FaultKind, Request, Response};
use crate::kv::{self, Entry};

type Answers = Rc<dyn Fn(&Request) -> Result<Response, Fault>>;

thread_local! {
    static ANSWERS: RefCell<Option<Answers>> = RefCell::default();
    static CONFIG: RefCell<BTreeMap<String, Value>> = RefCell::default();
    static FILES: RefCell<Vec<Vec<u8>>> = RefCell::default();
    static KEPT: RefCell<BTreeMap<String, Entry>> = RefCell::default();
}

/// From now on requests of this thread are answered so.
pub(crate) fn answer_http(answers: Answers) {
    ANSWERS.with(|known| *known.borrow_mut() = Some(answers));
}

/// From now on the plugin is told this.
pub(crate) fn configure(name: &str, value: Value) {
    CONFIG.with(|known| known.borrow_mut().insert(name.to_owned(), value));
}

pub(crate) fn send_http(request: Request) -> Result<Response, Fault> {
    let answers = ANSWERS.with(|known| known.borrow().clone());
    let nobody = || Fault {
        kind: FaultKind::Denied,
        message: "nobody answers requests here; say how with `testing::answer_http`".into(),
    };
    answers.ok_or_else(nobody)?(&request)
}

/// A request that was answered at once, because a stand-in has nothing to wait for.
#[derive(Debug)]
pub(crate) struct PendingResponse(Result<Response, Fault>);

pub(crate) fn start_http(request: Request) -> PendingResponse {
    PendingResponse(send_http(request))
}

pub(crate) fn wait_http(_pending: &[&PendingResponse]) -> usize {
    0
}

pub(crate) fn take_http(pending: &PendingResponse) -> Result<Response, Fault> {
    pending.0.clone()
}

#[expect(clippy::unnecessary_wraps, reason = "the component's may fail")]
pub(crate) fn secret(name: &str) -> Result<String, String> {
    Ok(format!("heddle-secret-{name}"))
}

pub(crate) fn config(name: &str) -> Option<String> {
    CONFIG.with(|known| known.borrow().get(name).map(ToString::to_string))
}

pub(crate) fn config_names() -> Vec<String> {
    CONFIG.with(|known| known.borrow().keys().cloned().collect())
}

#[expect(clippy::unnecessary_wraps, reason = "the component's may fail")]
pub(crate) fn kv_get(key: &str) -> Result<Option<Entry>, kv::Fault> {
    Ok(KEPT.with(|kept| kept.borrow().get(key).cloned()))
}

pub(crate) fn kv_set(
    key: &str,
    value: &[u8],
    expected: Option<u64>,
    _ttl_ms: Option<u64>,
) -> Result<u64, kv::Fault> {
    KEPT.with(|kept| {
        let mut kept = kept.borrow_mut();
        let now = kept.get(key).map_or(0, |entry| entry.version);
        if expected.is_some_and(|expected| expected != now) {
            return Err(kv::Fault::Conflict(now));
        }
        kept.insert(key.to_owned(), Entry { value: value.to_vec(), version: now + 1 });
        Ok(now + 1)
    })
}

pub(crate) fn kv_increment(key: &str, by: i64) -> Result<i64, kv::Fault> {
    let now = match kv_get(key)? {
        None => 0,
        Some(entry) => String::from_utf8_lossy(&entry.value)
            .parse::<i64>()
            .map_err(|_| kv::Fault::NotANumber(format!("`{key}` is no number")))?,
    };
    let sum = now.checked_add(by).ok_or_else(|| kv::Fault::NotANumber("the sum is too large".into()))?;
    kv_set(key, sum.to_string().as_bytes(), None, None)?;
    Ok(sum)
}

#[expect(clippy::unnecessary_wraps, reason = "the component's may fail")]
pub(crate) fn kv_delete(key: &str) -> Result<bool, kv::Fault> {
    Ok(KEPT.with(|kept| kept.borrow_mut().remove(key).is_some()))
}

#[expect(clippy::unnecessary_wraps, reason = "the component's may fail")]
pub(crate) fn kv_keys(prefix: &str, after: &str, limit: u32) -> Result<Vec<String>, kv::Fault> {
    let fits = |key: &&String| key.starts_with(prefix) && key.as_str() > after;
    Ok(KEPT.with(|kept| kept.borrow().keys().filter(fits).take(limit as usize).cloned().collect()))
}

/// A file of a native test: kept in the thread, under a number in place of its digest.
pub(crate) fn artifact_put(
    name: &str,
    media_type: &str,
    bytes: &[u8],
) -> Result<crate::artifacts::Artifact, crate::artifacts::Fault> {
    FILES.with(|files| {
        let mut files = files.borrow_mut();
        files.push(bytes.to_vec());
        Ok(crate::artifacts::Artifact {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            digest: format!("sha256:{:064}", files.len()),
            size: bytes.len() as u64,
        })
    })
}

pub(crate) fn artifact_get(digest: &str) -> Result<Vec<u8>, crate::artifacts::Fault> {
    let number = digest.rsplit(':').next().and_then(|digits| digits.parse::<usize>().ok());
    let found = FILES.with(|files| files.borrow().get(number?.checked_sub(1)?).cloned());
    found.ok_or_else(|| crate::artifacts::Fault::NotThere(format!("the run has no file `{digest}`")))
}
