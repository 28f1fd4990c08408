//! The world outside a sandbox, as the operator grants it: requests, secrets, values that a plugin keeps, and what it is
//! told. A grant is looked up by the plugin's name at each use, never by what a guest or a workflow says.
//!
//! ```text
//!  guest ─► Reach ─► Desk (one attempt) ─┬─ http ─► prepare ─► grant? ─► secrets put in ─► Outbound ─► secrets taken out
//!                                        ├─ secret ─► what stands for it, in this attempt
//!                                        ├─ kv ─► records of the shelf, by plugin
//!                                        ├─ artifacts ─► handed over with the attempt's end
//!                                        └─ config
//! ```

mod files;
mod kv;
mod secrets;

use crate::shared::Shared;
use crate::telemetry as t;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use heddle_core::grant::{Grants, Narrowing};
use heddle_core::id::{RunId, Tenant};
use heddle_core::json::Json;
use heddle_core::outside::{
    ArtifactAnswer, ArtifactCall, ArtifactFault, HttpFault, HttpFaultKind, HttpRequest, HttpResponse,
    KvAnswer, KvCall, KvFault, Prepared, Url, prepare,
};
use heddle_core::time::Timestamp;
use metrics::counter;
use secrets::Placeholders;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use files::Files;
pub(crate) use kv::Kept as KeptValues;

/// Sends requests. The server plugs in the web; tests plug in a script.
pub trait Outbound: Send + Sync + 'static {
    /// Sends one request and gives what came back. Whoever does it looks the name up, dials only an address that may be
    /// dialled, follows nothing, unpacks nothing, and reads no more than may be read.
    fn send(&self, request: Prepared) -> BoxFuture<'static, Result<HttpResponse, HttpFault>>;
}

impl Outbound for crate::Nowhere {
    fn send(&self, _: Prepared) -> BoxFuture<'static, Result<HttpResponse, HttpFault>> {
        let fault = HttpFault::new(HttpFaultKind::Denied, "this node sends nothing");
        Box::pin(async { Err(fault) })
    }
}

/// What a node lets plugins do outside their sandboxes.
#[derive(Clone)]
pub struct OutsideParts {
    /// What sends requests.
    pub outbound: Arc<dyn Outbound>,
    /// What the operator grants, by `kind:name`.
    pub grants: BTreeMap<String, Arc<Grants>>,
    /// The operator's secrets, by name.
    pub secrets: BTreeMap<Arc<str>, Arc<str>>,
}

impl fmt::Debug for OutsideParts {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutsideParts").field("grants", &self.grants).finish_non_exhaustive()
    }
}

impl Default for OutsideParts {
    /// Nobody may do anything.
    fn default() -> OutsideParts {
        OutsideParts { outbound: Arc::new(crate::Nowhere), grants: BTreeMap::new(), secrets: BTreeMap::new() }
    }
}

impl OutsideParts {
    /// What is granted to a plugin, `kind:name`.
    pub(crate) fn of(&self, plugin: &str) -> Arc<Grants> {
        // What is granted to a connector is granted to each of its endpoints.
        let of_service = || self.grants.get(&format!("{}/*", plugin.split_once('/')?.0));
        self.grants.get(plugin).or_else(of_service).cloned().unwrap_or_default()
    }
    /// Why a plugin that needs these capabilities cannot do its work.
    pub(crate) fn lacks(&self, plugin: &str, needs: &[Arc<str>]) -> Option<String> {
        let grants = self.of(plugin);
        let missing: Vec<&str> = needs.iter().map(|need| &**need).filter(|need| !grants.has(need)).collect();
        (!missing.is_empty()).then(|| lacking(plugin, &missing))
    }
}

impl OutsideParts {
    /// Why a plugin may not use a secret.
    pub(crate) fn lacks_use(&self, plugin: &str, secret: &str) -> Option<String> {
        (!self.of(plugin).secrets.contains_key(secret)).then(|| not_granted(plugin, secret))
    }
}

/// What is said of a plugin to which something is not granted.
fn lacking(plugin: &str, missing: &[&str]) -> String {
    let plugin = &match plugin.split_once('/') {
        Some((service, _)) => format!("{service}/*"),
        None => plugin.to_owned(),
    };
    let list = missing.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let example = match missing.first() {
        Some(&"http") => "http = [\"GET https://api.example.com\"]",
        Some(&"secret") => "secrets = [\"api-key https://api.example.com\"]",
        Some(&"artifacts") => "artifacts = true",
        Some(&"config") => "config = '{\"region\": \"eu\"}'",
        _ => "kv = true",
    };
    format!(
        "`{plugin}` uses {list}, which nobody has granted to it; an operator does in heddle.toml: `[grants.\"{plugin}\"]`, `{example}`"
    )
}

/// Characters of a name that a guest chose, as records show them.
const NAME_SHOWN: usize = 128;

/// For whom something is done outside.
#[derive(Clone, Debug)]
pub(crate) struct For {
    pub(crate) tenant: Tenant,
    /// `kind:name`.
    pub(crate) plugin: Arc<str>,
    pub(crate) run: RunId,
    pub(crate) step: Arc<str>,
    pub(crate) attempt: u32,
    pub(crate) traceparent: Option<String>,
    /// When the attempt is over, where its requests are its own time.
    pub(crate) deadline: Option<Timestamp>,
}

/// What one attempt does outside.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    who: Arc<For>,
    /// What is granted, whatever the step leaves of it.
    granted: Arc<Grants>,
    /// What the step leaves of it.
    grants: Arc<Grants>,
    narrowing: Option<Arc<Narrowing>>,
    placeholders: Arc<Placeholders>,
    files: Files,
}

impl Desk {
    pub(crate) fn new(
        shared: Arc<Shared>,
        who: For,
        narrowing: Option<Arc<Narrowing>>,
        files: Files,
    ) -> Desk {
        let granted = shared.outside.of(&who.plugin);
        let grants = narrowing.as_ref().map_or(granted.clone(), |step| Arc::new(granted.narrowed(step)));
        Desk { shared, who: Arc::new(who), granted, grants, narrowing, placeholders: Arc::default(), files }
    }

    /// Sends a request, if it may be sent.
    pub(crate) fn http(&self, request: HttpRequest) -> BoxFuture<'static, Result<HttpResponse, HttpFault>> {
        let (shared, who) = (self.shared.clone(), self.who.clone());
        let (grants, placeholders) = (self.grants.clone(), self.placeholders.clone());
        let granted = self.granted.clone();
        async move {
            let method = request.method.clone();
            let prepared = prepare(request, &shared.limits);
            let host = prepared.as_ref().ok().and_then(|request| request.url.host_str().map(str::to_owned));
            let asked = Asked { who: &who, method, host: host.unwrap_or_default(), outcome: None };
            let answer = match prepared.and_then(|request| admit(&grants, &who, request)) {
                Ok(admitted) => send(&shared, &who, (&granted, &grants), &placeholders, admitted).await,
                Err(fault) => Err(fault),
            };
            asked.ended(&answer);
            answer
        }
        .boxed()
    }
    /// For whom it all is.
    pub(crate) fn who(&self) -> Arc<For> {
        self.who.clone()
    }
    /// The names of the models that the plugin may ask, the default first.
    pub(crate) fn models(&self) -> Vec<String> {
        self.shared.models.granted(&self.grants)
    }
    /// What stands for secrets, to be told what stood for them before.
    pub(crate) fn stands(&self) -> Stands {
        Stands { placeholders: self.placeholders.clone(), narrowing: self.narrowing.clone() }
    }
    /// What stands for a secret.
    pub(crate) fn secret(&self, asked: &str) -> Result<String, String> {
        let name = secret_of(self.narrowing.as_deref(), asked);
        let Some(name) = name else {
            self.audit("secret", "denied", &asked.chars().take(NAME_SHOWN).collect::<String>());
            let asked: String = asked.chars().take(NAME_SHOWN).collect();
            let named = self.narrowing.as_ref().and_then(|step| step.secrets.as_ref());
            let left: Vec<String> =
                named.iter().flat_map(|all| all.keys()).map(|name| format!("`{name}`")).collect();
            return Err(format!(
                "the step leaves the plugin no secret `{asked}`; it leaves {}",
                if left.is_empty() { "none".to_owned() } else { left.join(", ") }
            ));
        };
        let answer = match self.grants.secrets.contains_key(name) {
            false => Err(not_granted(&self.who.plugin, name)),
            true if !self.shared.outside.secrets.contains_key(name) => Err(format!(
                "this node has no secret `{name}`; an operator gives it one in heddle.toml: `[secrets]`"
            )),
            true => self.placeholders.of(name, self.shared.limits.secrets_used as usize),
        };
        let outcome = if answer.is_ok() { "ok" } else { "denied" };
        let name: String = name.chars().take(NAME_SHOWN).collect();
        self.audit("secret", outcome, &name);
        answer
    }
    /// What the plugin is told.
    pub(crate) fn config(&self) -> Option<Json> {
        self.grants.config.clone()
    }
    /// Reads or writes a value.
    pub(crate) fn kv(&self, call: KvCall) -> BoxFuture<'static, Result<KvAnswer, KvFault>> {
        if !self.grants.kv {
            self.audit("kv", "denied", "");
            let why = self.why_not("kv", self.granted.kv);
            return async move { Err(KvFault::Denied(why)) }.boxed();
        }
        let (shared, who) = (self.shared.clone(), self.who.clone());
        async move {
            let answer = kv::done(&shared, &who, call).await;
            let outcome = if answer.is_ok() { "ok" } else { "failed" };
            counter!(t::OUTSIDE_CALLS, "capability" => "kv", "outcome" => outcome).increment(1);
            answer
        }
        .boxed()
    }
    /// Keeps or reads a file of the run.
    pub(crate) fn artifact(
        &self,
        call: ArtifactCall,
    ) -> BoxFuture<'static, Result<ArtifactAnswer, ArtifactFault>> {
        if !self.grants.artifacts {
            self.audit("artifacts", "denied", "");
            let why = self.why_not("artifacts", self.granted.artifacts);
            return async move { Err(ArtifactFault::Denied(why)) }.boxed();
        }
        let (shared, who, files) = (self.shared.clone(), self.who.clone(), self.files.clone());
        async move {
            let answer = files::done(&shared, &who, &files, call).await;
            let outcome = if answer.is_ok() { "ok" } else { "failed" };
            counter!(t::OUTSIDE_CALLS, "capability" => "artifacts", "outcome" => outcome).increment(1);
            answer
        }
        .boxed()
    }
    fn why_not(&self, capability: &'static str, is_granted: bool) -> String {
        match is_granted {
            true => format!("the step takes `{capability}` away from `{}` (`grants`)", self.who.plugin),
            false => lacking(&self.who.plugin, &[capability]),
        }
    }
    fn audit(&self, capability: &'static str, outcome: &'static str, what: &str) {
        counter!(t::OUTSIDE_CALLS, "capability" => capability, "outcome" => outcome).increment(1);
        let who = &self.who;
        tracing::info!(target: "heddle::audit", capability, outcome, what, plugin = %who.plugin, tenant = %who.tenant, run = %who.run, step = %who.step, attempt = who.attempt, "a plugin asked the outside");
    }
}

/// The secret of the node that is meant by a name.
fn secret_of<'a>(narrowing: Option<&'a Narrowing>, asked: &'a str) -> Option<&'a str> {
    match narrowing.and_then(|step| step.secrets.as_ref()) {
        None => Some(asked),
        Some(named) => named.get(asked).map(|name| &**name),
    }
}

/// What stands for the secrets of one attempt.
pub(crate) struct Stands {
    placeholders: Arc<Placeholders>,
    narrowing: Option<Arc<Narrowing>>,
}

impl Stands {
    /// This text stands for the secret that is meant by this name. Whether it is put in anywhere is for the grants to say,
    /// as ever.
    pub(crate) fn adopt(&self, asked: &str, text: &str) {
        if let Some(name) = secret_of(self.narrowing.as_deref(), asked) {
            self.placeholders.adopt(name, text);
        }
    }
}

fn not_granted(plugin: &str, secret: &str) -> String {
    let secret: String = secret.chars().take(NAME_SHOWN).collect();
    format!(
        "the secret `{secret}` is not granted to `{plugin}`; an operator does in heddle.toml: `[grants.\"{plugin}\"]`, `secrets = [\"{secret} https://api.example.com\"]`"
    )
}

/// Every request leaves a trace, one that its attempt breaks off as well: who sent it where, and what came of it. Neither
/// path nor body is in it.
struct Asked<'a> {
    who: &'a For,
    method: String,
    host: String,
    outcome: Option<(&'static str, u16)>,
}

impl Asked<'_> {
    fn ended(mut self, answer: &Result<HttpResponse, HttpFault>) {
        self.outcome = Some(match answer {
            Ok(answer) => ("ok", answer.status),
            Err(fault) => (fault.kind.word(), 0),
        });
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let (outcome, status) = self.outcome.unwrap_or(("aborted", 0));
        counter!(t::OUTSIDE_CALLS, "capability" => "http", "outcome" => outcome).increment(1);
        let method: String = self.method.chars().filter(char::is_ascii_graphic).take(16).collect();
        let (who, host) = (self.who, self.host.as_str());
        tracing::info!(target: "heddle::audit", capability = "http", outcome, status, method, host, plugin = %who.plugin, tenant = %who.tenant, run = %who.run, step = %who.step, attempt = who.attempt, "a plugin asked the outside");
    }
}

/// Whether the plugin may send it.
fn admit(grants: &Grants, who: &For, request: Prepared) -> Result<Prepared, HttpFault> {
    if grants.admits(&request.method, &request.url) {
        return Ok(request);
    }
    let denied = |message: String| Err(HttpFault::new(HttpFaultKind::Denied, message));
    if grants.http.is_empty() {
        return denied(lacking(&who.plugin, &["http"]));
    }
    let is_granted = grants.http.iter().any(|rule| rule.admits(&request.method, &request.url));
    let (by, rules) = match grants.only.as_deref().filter(|_| is_granted) {
        Some(only) => ("the step leaves", only),
        None => ("is granted", &*grants.http),
    };
    let rules: Vec<String> = rules.iter().map(|rule| format!("`{rule}`")).collect();
    let rules = if rules.is_empty() { "nothing".to_owned() } else { rules.join(", ") };
    let url = &request.url;
    denied(format!(
        "`{} {}://{}:{}` is not among what {by} to `{}`: {}",
        request.method,
        url.scheme(),
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default(),
        who.plugin,
        rules
    ))
}

/// The secrets that are granted for where a request goes. Those of other places are neither put in nor searched for: what
/// one service sends must not tell a plugin that it guessed the secret of another.
fn there<'a>(
    grants: &'a Grants,
    known: &'a BTreeMap<Arc<str>, Arc<str>>,
    url: &Url,
) -> Vec<(&'a str, &'a str)> {
    let granted = grants.secrets.iter().filter(|(_, places)| places.iter().any(|place| place.admits(url)));
    granted.filter_map(|(name, _)| Some((&**name, &**known.get(name)?))).collect()
}

async fn send(
    shared: &Shared,
    who: &For,
    (granted, left): (&Grants, &Grants),
    placeholders: &Placeholders,
    request: Prepared,
) -> Result<HttpResponse, HttpFault> {
    let known = &shared.outside.secrets;
    let left = there(left, known, &request.url);
    // What a step does not leave is not put in; it is searched for all the same.
    let granted = there(granted, known, &request.url);
    let mut request = placeholders.put_in(request, &left, &shared.limits)?;
    if let Some(deadline) = who.deadline {
        request.timeout = request.timeout.min(Duration::from_millis(deadline.since_ms(shared.now()).max(1)));
    }
    if !request.headers.iter().any(|(name, _)| name == "user-agent") {
        request.headers.push(("user-agent".into(), concat!("heddle/", env!("CARGO_PKG_VERSION")).into()));
    }
    if let Some(traceparent) = &who.traceparent {
        request.headers.push(("traceparent".into(), traceparent.clone()));
    }
    let answer = shared.outside.outbound.send(request).await;
    match answer {
        Ok(answer) => placeholders.take_out(answer, &granted, &shared.limits),
        Err(fault) => Err(placeholders.take_out_of_fault(fault, &granted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_core::grant::Place;

    #[test]
    fn a_secret_is_there_only_where_it_is_granted() {
        let at = |places: &[&str]| places.iter().map(|place| Place::parse(place).unwrap()).collect();
        let secrets = [
            ("one".into(), at(&["https://a.example"])),
            ("both".into(), at(&["https://a.example", "https://b.example"])),
            ("gone".into(), at(&["https://b.example"])),
        ];
        let grants = Grants { secrets: secrets.into(), ..Grants::default() };
        let known = [("one".into(), "first-value".into()), ("both".into(), "second-value".into())].into();
        let names = |url| there(&grants, &known, &Url::parse(url).unwrap()).into_iter().map(|(name, _)| name);
        assert!(names("https://a.example/x").eq(["both", "one"]));
        assert!(names("https://b.example").eq(["both"]), "one that the node has not is nowhere");
        assert!(names("http://a.example").eq([""; 0]), "not by another scheme");
    }
}
