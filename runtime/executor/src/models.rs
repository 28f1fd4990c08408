//! Language models, as the operator has set them up: names for agents, and behind each name a chain of providers. A call
//! goes to the first whose circuit lets it through, is tried again where that may help, and then to the next; what it
//! cost is counted by the operator's prices.
//!
//! ```text
//!  name ─► provider/model ─► circuit ─► request ─► Outbound ─► answer ─► tokens, price
//!              └─ busy or failing: again, later ─► next of the chain
//! ```

use crate::outside::{For, Outbound};
use crate::shared::Shared;
use crate::telemetry as t;
use heddle_core::call_log::Budget;
use heddle_core::gate::circuit::{Asked, Circuit, Pass, Rule, Said, WhenOpen};
use heddle_core::grant::Grants;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use heddle_core::model::provider::{Kind, answer, authorization, request};
use heddle_core::model::{Completion, ModelCall, Tokens};
use heddle_core::outcome::{Failure, FailureKind, Spent};
use heddle_core::outside::prepare;
use heddle_core::plan::agent::AgentBudget;
use heddle_core::time::Span;
use metrics::{counter, histogram};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Calls of a model that an agent may make where its step does not say.
const TURNS: u64 = 25;
/// Below this many tokens left, an answer is kept to what is left.
const TOKENS_NEAR: u64 = 4_096;
/// The longest wait for a provider that asks for one, where another one can be asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// The wait before the second try at one provider; twice as long each time.
const AGAIN_MS: u64 = 500;
/// When the circuit of a provider opens.
const CIRCUIT: Rule = Rule {
    failure_rate: 0.5,
    min_calls: 5,
    window: Span(60_000),
    open_for: Span(30_000),
    when_open: WhenOpen::Fail,
};

/// A provider.
#[derive(Clone)]
pub struct Provider {
    /// What it speaks.
    pub kind: Kind,
    /// Where it is.
    pub url: String,
    /// The key of the account.
    pub key: Option<Arc<str>>,
    /// Headers that go with every request.
    pub headers: Vec<(String, String)>,
}

impl fmt::Debug for Provider {
    /// Without what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("kind", &self.kind).field("url", &self.url).finish_non_exhaustive()
    }
}

/// A name for agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAlias {
    /// The name.
    pub name: Arc<str>,
    /// Provider and model, the first first.
    pub chain: Vec<(Arc<str>, Arc<str>)>,
}

/// What a million tokens cost, in millionths of the operator's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Read.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Read from the provider's cache.
    pub cached: u64,
}

impl Price {
    fn of(self, tokens: Tokens) -> u64 {
        let cached = tokens.cached.min(tokens.input);
        let parts =
            [(tokens.input - cached, self.input), (cached, self.cached), (tokens.output, self.output)];
        let sum: u128 = parts.iter().map(|(count, price)| u128::from(*count) * u128::from(*price)).sum();
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// The language models of a node.
#[derive(Clone)]
pub struct ModelParts {
    /// What asks them.
    pub outbound: Arc<dyn Outbound>,
    /// By name.
    pub providers: BTreeMap<Arc<str>, Provider>,
    /// The default first.
    pub aliases: Vec<ModelAlias>,
    /// By `provider/model`.
    pub prices: BTreeMap<String, Price>,
}

impl Default for ModelParts {
    /// There are none.
    fn default() -> ModelParts {
        ModelParts {
            outbound: Arc::new(crate::Nowhere),
            providers: BTreeMap::new(),
            aliases: Vec::new(),
            prices: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for ModelParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelParts").field("aliases", &self.aliases).finish_non_exhaustive()
    }
}

/// The models, and how their providers do.
#[derive(Debug)]
pub(crate) struct Models {
    parts: ModelParts,
    circuits: Mutex<BTreeMap<Arc<str>, Circuit>>,
}

impl Models {
    pub(crate) fn new(parts: ModelParts) -> Models {
        Models { parts, circuits: Mutex::default() }
    }
    /// The names that are granted, the default first.
    pub(crate) fn granted(&self, grants: &Grants) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for granted in &grants.models {
            let meant = self.parts.aliases.iter().filter(|alias| &**granted == "*" || alias.name == *granted);
            let more = meant.map(|alias| alias.name.to_string()).filter(|name| !names.contains(name));
            let more: Vec<String> = more.collect();
            names.extend(more);
        }
        names
    }
}

/// A call that its provider's circuit has let through. One that is broken off says nothing of the provider.
struct Through<'a> {
    shared: &'a Shared,
    provider: &'a Arc<str>,
    pass: Pass,
    said: Said,
}

impl<'a> Through<'a> {
    fn ask(shared: &'a Shared, provider: &'a Arc<str>) -> Option<Through<'a>> {
        let mut circuits = shared.models.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        match circuits.entry(provider.clone()).or_default().ask(&CIRCUIT, shared.now()) {
            Asked::Through(pass) => Some(Through { shared, provider, pass, said: Said::Nothing }),
            Asked::Shut(_) | Asked::Probed => None,
        }
    }
}

impl Drop for Through<'_> {
    fn drop(&mut self) {
        let mut circuits = self.shared.models.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(circuit) = circuits.get_mut(self.provider) {
            circuit.ended(&CIRCUIT, self.pass, self.said, self.shared.now());
        }
    }
}

/// A call, and what bounds it.
pub(crate) struct Wanted {
    pub(crate) call: ModelCall,
    /// The names that the plugin may use, the default first.
    pub(crate) granted: Vec<String>,
    pub(crate) left: Budget,
    /// What a provider knows every try of it by.
    pub(crate) key: String,
}

impl Wanted {
    /// Whether it is the agent that has set a time.
    fn is_hurried(&self) -> bool {
        self.call.settings.timeout_ms.is_some()
    }
}

/// What an agent has spent, and what its step and the node leave it.
pub(crate) fn budget(spent: Spent, step: &AgentBudget, limits: &Limits) -> Budget {
    let left = |most: u64, used: u64| Some(most.saturating_sub(used));
    let turns = step.turns.unwrap_or(TURNS).min(limits.model_calls);
    let tokens = step.tokens.unwrap_or(limits.agent_tokens);
    let cost = step.cost_micros.unwrap_or(limits.agent_cost_micros);
    Budget {
        spent,
        calls_left: left(turns, spent.model_calls),
        tokens_left: left(tokens, spent.tokens()),
        cost_micros_left: left(cost, spent.cost_micros),
    }
}

/// What a completion used of a budget.
pub(crate) fn spent(completion: &Completion) -> Spent {
    Spent {
        model_calls: 1,
        input_tokens: completion.tokens.input,
        output_tokens: completion.tokens.output,
        cost_micros: completion.cost_micros,
    }
}

/// Asks, within the budget, the chain of the name that is wanted.
pub(crate) async fn complete(shared: &Shared, who: &For, mut wanted: Wanted) -> Result<Completion, Failure> {
    afford(&mut wanted)?;
    let alias = alias(shared, who, &wanted)?;
    let most = Duration::from_millis(shared.limits.model_ms);
    let asked = wanted.call.settings.timeout_ms.map_or(most, |ms| Duration::from_millis(ms.max(1)).min(most));
    chain(shared, who, &alias, (&wanted, Instant::now() + asked)).await
}

/// Refuses what nothing is left for, and keeps an answer to what is left where that is little.
fn afford(wanted: &mut Wanted) -> Result<(), Failure> {
    let Budget { calls_left, tokens_left, cost_micros_left, spent } = wanted.left;
    let used_up = match (calls_left, tokens_left, cost_micros_left) {
        (Some(0), ..) => Some(("turns", format!("{} calls of a model", spent.model_calls))),
        (_, Some(0), _) => Some(("tokens", format!("{} tokens", spent.tokens()))),
        (.., Some(0)) => {
            Some(("cost", format!("{} of the operator's currency", spent.cost_micros as f64 / 1e6)))
        }
        _ => None,
    };
    if let Some((code, used)) = used_up {
        let message = format!(
            "the agent has used up its budget: {used}; a step says more with `agent.maxTurns` and `agent.budget`, within the limits model_calls, agent_tokens and agent_cost_micros"
        );
        return Err(Failure::new(FailureKind::BudgetExhausted, message).with_code(code));
    }
    let settings = &mut wanted.call.settings;
    if let Some(left) = tokens_left.filter(|left| *left < TOKENS_NEAR) {
        settings.max_tokens = Some(settings.max_tokens.unwrap_or(u32::MAX).min(left as u32));
    }
    Ok(())
}

fn alias(shared: &Shared, who: &For, wanted: &Wanted) -> Result<ModelAlias, Failure> {
    let name = wanted.call.settings.model.as_deref();
    let found = match name {
        None => wanted.granted.first(),
        Some(name) => wanted.granted.iter().find(|granted| *granted == name),
    };
    let aliases = &shared.models.parts.aliases;
    let found = found.and_then(|found| aliases.iter().find(|alias| *alias.name == **found));
    found.cloned().ok_or_else(|| {
        let plugin = &who.plugin;
        let message = match (aliases.is_empty(), name) {
            (true, _) => "this node has no language models; an operator sets them up in heddle.toml: `[models]`".to_owned(),
            (false, None) => format!("no model is granted to `{plugin}`; an operator does in heddle.toml: `[grants.\"{plugin}\"]`, `models = [\"{}\"]`", aliases[0].name),
            (false, Some(name)) => {
                let name: String = name.chars().take(64).collect();
                format!("the model `{name}` is not granted to `{plugin}`; it has: {}", if wanted.granted.is_empty() { "none".to_owned() } else { wanted.granted.join(", ") })
            }
        };
        Failure::new(FailureKind::CapabilityDenied, message).with_code("model_not_granted")
    })
}

/// Each of the chain may have its part of the time that is left: one that never answers takes nothing from the next.
async fn chain(
    shared: &Shared,
    who: &For,
    alias: &ModelAlias,
    (wanted, until): (&Wanted, Instant),
) -> Result<Completion, Failure> {
    let mut last = None;
    for (place, (provider, model)) in alias.chain.iter().enumerate() {
        let further = (alias.chain.len() - place - 1) as u32;
        let part = until.saturating_duration_since(Instant::now()) / (further + 1);
        let within = Within { until: Instant::now() + part, is_last: further == 0 };
        match provider_of(shared, who, (provider, model), (wanted, within)).await {
            Ok(completion) => return Ok(completion),
            // Another provider would be asked the same wrong thing.
            Err(failure) if failure.code.as_deref() == Some("request_invalid") => return Err(failure),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| {
        Failure::new(FailureKind::Internal, format!("the model `{}` has no provider", alias.name))
    }))
}

/// How long one of a chain may take.
#[derive(Clone, Copy)]
struct Within {
    until: Instant,
    is_last: bool,
}

/// Asks one provider, and again where that may help.
async fn provider_of(
    shared: &Shared,
    who: &For,
    (name, model): (&Arc<str>, &str),
    (wanted, within): (&Wanted, Within),
) -> Result<Completion, Failure> {
    let Some(provider) = shared.models.parts.providers.get(name) else {
        return Err(Failure::new(FailureKind::Internal, format!("there is no provider `{name}`")));
    };
    let mut wait = AGAIN_MS;
    let mut tries = 0;
    loop {
        let Some(mut through) = Through::ask(shared, name) else {
            let message =
                format!("the provider `{name}` has failed too often lately and is left alone for a while");
            return Err(Failure::new(FailureKind::CircuitOpen, message).with_code("provider_circuit"));
        };
        tries += 1;
        let began = Instant::now();
        let key = key_of(&wanted.key, name, model);
        let asked = timeout_at(within.until, once(shared, provider, model, (&wanted.call, &key))).await;
        let asked = asked.unwrap_or_else(|_| {
            let message = format!("the provider `{name}` has not answered within its part of the time");
            Err(Failure::new(FailureKind::EgressTimeout, message))
        });
        through.said = match &asked {
            Ok(_) => Said::Well,
            // An agent that is in a hurry says nothing of the provider.
            Err(failure) if failure.kind == FailureKind::EgressTimeout && wanted.is_hurried() => {
                Said::Nothing
            }
            Err(failure) if failure.retryable => Said::Ill,
            Err(_) => Said::Nothing,
        };
        drop(through);
        note(who, name, model, &asked, began.elapsed());
        let failure = match asked {
            Ok(completion) => return Ok(priced(shared, name, model, completion)),
            Err(failure) => failure,
        };
        let pause = Duration::from_millis(failure.retry_after_ms.unwrap_or(wait));
        let is_long = !within.is_last && pause > PATIENCE;
        let is_late = Instant::now() + pause >= within.until;
        if !failure.retryable || tries >= shared.limits.model_tries || is_long || is_late {
            return Err(failure);
        }
        tokio::time::sleep(pause).await;
        wait *= 2;
    }
}

/// What one provider knows every try of a call by; two of a chain have nothing in common.
fn key_of(call: &str, provider: &str, model: &str) -> String {
    Digest::of(format!("{call} {provider}/{model}").as_bytes()).hex()[..32].to_owned()
}

/// One request, by the node's own way out. The key of the account is in no answer and in no failure.
async fn once(
    shared: &Shared,
    provider: &Provider,
    model: &str,
    (call, idempotency_key): (&ModelCall, &str),
) -> Result<Completion, Failure> {
    let Provider { kind, url, key, headers } = provider;
    let mut sent = request(*kind, url, model, call, idempotency_key);
    sent.headers.extend(headers.iter().cloned());
    sent.headers.push(("user-agent".to_owned(), concat!("heddle/", env!("CARGO_PKG_VERSION")).to_owned()));
    let of_fault = |fault: heddle_core::outside::HttpFault| Failure::new(fault.kind.failure(), fault.message);
    let mut prepared = prepare(sent, &shared.limits).map_err(of_fault)?;
    prepared.headers.extend(key.iter().map(|key| authorization(*kind, key)));
    // How long a model may take is for the whole call to say.
    prepared.timeout = Duration::from_millis(shared.limits.model_ms);
    let mut response = shared.models.parts.outbound.send(prepared).await.map_err(of_fault)?;
    if let Some(key) = key.as_deref().filter(|key| !key.is_empty()) {
        response.body = without(&response.body, key.as_bytes());
    }
    answer(*kind, &response)
}

/// What is left of bytes without these.
fn without(bytes: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(secret) {
            left.extend_from_slice(b"(secret)");
            at += secret.len();
        } else {
            left.push(bytes[at]);
            at += 1;
        }
    }
    left
}

fn priced(shared: &Shared, provider: &Arc<str>, model: &str, completion: Completion) -> Completion {
    let price = shared.models.parts.prices.get(&format!("{provider}/{model}")).copied().unwrap_or_default();
    let cost_micros = price.of(completion.tokens);
    Completion { provider: provider.to_string(), cost_micros, ..completion }
}

fn note(who: &For, provider: &Arc<str>, model: &str, asked: &Result<Completion, Failure>, took: Duration) {
    let outcome = match asked {
        Ok(_) => "ok",
        Err(failure) => failure.kind.word(),
    };
    counter!(t::MODEL_CALLS, "provider" => provider.to_string(), "outcome" => outcome).increment(1);
    histogram!(t::MODEL_SECONDS, "provider" => provider.to_string()).record(took.as_secs_f64());
    let tokens = asked.as_ref().map(|completion| completion.tokens).unwrap_or_default();
    counter!(t::MODEL_TOKENS, "provider" => provider.to_string(), "direction" => "input")
        .increment(tokens.input);
    counter!(t::MODEL_TOKENS, "provider" => provider.to_string(), "direction" => "output")
        .increment(tokens.output);
    tracing::info!(target: "heddle::audit", capability = "model", outcome, provider = %provider, model, input_tokens = tokens.input, output_tokens = tokens.output, plugin = %who.plugin, tenant = %who.tenant, run = %who.run, step = %who.step, attempt = who.attempt, "a plugin asked the outside");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_by_the_million() {
        let price = Price { input: 3_000_000, output: 15_000_000, cached: 300_000 };
        assert_eq!(price.of(Tokens { input: 1_000, output: 100, cached: 0 }), 3_000 + 1_500);
        assert_eq!(price.of(Tokens { input: 1_000, output: 0, cached: 1_000 }), 300);
        assert_eq!(price.of(Tokens { input: 1, output: 0, cached: 5 }), 1, "a part of one is one");
        assert_eq!(price.of(Tokens { input: u64::MAX, output: u64::MAX, cached: 0 }), u64::MAX);
    }
    #[test]
    fn a_secret_is_taken_out_wherever_it_stands() {
        assert_eq!(without(b"akkey-1b key-1", b"key-1"), b"ak(secret)b (secret)");
    }
}
