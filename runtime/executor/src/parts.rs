//! What an executor is made of, and the seams at which the outside is plugged in.

use crate::models::ModelParts;
use crate::outside::OutsideParts;
use crate::webhooks::WebhookParts;
use futures_util::future::BoxFuture;
use heddle_core::call_log::Budget;
use heddle_core::host_call::{Answered, HostCall};
use heddle_core::id::RunId;
use heddle_core::json::Json;
use heddle_core::limits::{AttemptLimits, Limits};
use heddle_core::outcome::{AttemptEnd, Failure};
use heddle_core::plugin::{Metadata, Pinned};
use heddle_core::run::event::{Defaults, Node};
use heddle_core::share::Share;
use heddle_core::time::Timestamp;
use heddle_store::{RunStore, Shelf};
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The parts of an executor.
#[derive(Clone)]
pub struct Parts {
    /// Runs and journals.
    pub store: Arc<dyn RunStore>,
    /// Workflows and plugins.
    pub shelf: Arc<dyn Shelf>,
    /// The sandbox.
    pub invoker: Arc<dyn Invoker>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The limits of this node.
    pub limits: Arc<Limits>,
    /// What the operator chose.
    pub settings: Settings,
    /// The attempts that were in a sandbox when the last process of this node was killed; `None` where nobody knows.
    /// Others were only waiting, and are not counted as interrupted. With each, what is to be held until it is on disk
    /// what became of it.
    pub left_inside: Option<Vec<(LeftInside, Held)>>,
    /// What sends messages to webhooks, and to which of the node.
    pub webhooks: WebhookParts,
    /// What plugins may do outside their sandboxes, and what does it.
    pub outside: OutsideParts,
    /// The language models of the node.
    pub models: ModelParts,
}

/// Something of the invoker's that is held until the end of an attempt is on disk, and then dropped: what tells the
/// next process that the attempt was in its sandbox.
#[derive(Clone, Default)]
pub struct Held(Arc<OnceLock<Box<dyn Any + Send + Sync>>>);

impl Held {
    /// Holds this. What comes second for the same attempt says nothing new.
    pub fn hold(&self, what: impl Any + Send + Sync) {
        let _ = self.0.set(Box::new(what));
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({})", self.0.get().is_some())
    }
}

/// An attempt that was in its sandbox when its process went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftInside {
    /// The run.
    pub run: RunId,
    /// The step or item, by its number in the plan.
    pub node: Node,
    /// The attempt.
    pub attempt: u32,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What an operator chooses besides limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's name; its lease is under it.
    pub node: Arc<str>,
    /// Attempts at once of a run whose workflow says nothing.
    pub run_parallel: u32,
    /// Sandboxes at once.
    pub workers: usize,
    /// The most attempts begun in a second; no such limit without it.
    pub start_rate_per_s: Option<u32>,
    /// What steps do whose workflow says nothing.
    pub defaults: Option<Defaults>,
    /// A run that waits longer than this is given back to the store.
    pub park_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            node: "local".into(),
            run_parallel: 16,
            workers: 16,
            start_rate_per_s: None,
            defaults: None,
            park_after_ms: 5_000,
        }
    }
}

/// Runs attempts. The server plugs in the sandbox; simulations plug in a script.
pub trait Invoker: Send + Sync + 'static {
    /// Runs one attempt. Dropping the future cancels it. Every end is a value; it never panics.
    fn invoke(&self, invocation: Invocation) -> BoxFuture<'static, AttemptEnd>;
    /// Whether attempts of this plugin are known to be over at once, so that they need not wait behind others.
    fn is_quick(&self, _plugin: &Pinned) -> bool {
        false
    }
}

/// One attempt, with everything that its sandbox needs to know.
#[derive(Clone)]
pub struct Invocation {
    /// What to run.
    pub plugin: Arc<Pinned>,
    /// Its input, canonical.
    pub input: Json,
    /// An agent's checkpoint.
    pub state: Option<Json>,
    /// Its limits.
    pub limits: AttemptLimits,
    /// The owner of the run, and its workflow: on whose account the attempt runs.
    pub share: Share,
    /// The run.
    pub run: RunId,
    /// The step's id.
    pub step: Arc<str>,
    /// Its number in the plan.
    pub step_number: u32,
    /// The item, where the step is a `forEach`.
    pub item: Option<u32>,
    /// The attempt, from 1.
    pub attempt: u32,
    /// What the guest is told of that: an agent that goes on with the call log of another attempt is told the number of
    /// the one that opened it.
    pub told_attempt: u32,
    /// Whether it must not run twice, even if this process ends in order and cuts it off.
    pub at_most_once: bool,
    /// Which of the step's alternatives it is: 0 for its own call.
    pub alternative: u32,
    /// Which call of an agent it is, where it is one.
    pub within: Option<Arc<str>>,
    /// When the attempt must have ended.
    pub deadline: Timestamp,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// An agent's randomness grows from this.
    pub seed: [u8; 32],
    /// When the attempt opened: an agent's clock.
    pub opened: Timestamp,
    /// Where it may begin.
    pub begin: Begin,
    /// What the guest may reach.
    pub reach: Arc<dyn Reach>,
    /// Where the invoker puts what is to outlive the attempt until its end is on disk.
    pub held: Held,
}

/// Where an attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// On the thread that asks, for a moment, if the plugin is known to be quick: nothing else of the run waits.
    Here,
    /// Elsewhere, so that whoever asks can begin others.
    Apart,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invocation({} {}/{:?}#{})", self.run, self.step, self.item, self.attempt)
    }
}

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Details.
    Trace,
    /// For whoever debugs.
    Debug,
    /// Worth knowing.
    Info,
    /// Not as it should be.
    Warn,
    /// Something failed.
    Error,
}

impl LogLevel {
    /// The word of the API.
    pub fn word(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

/// What a guest reaches through the host.
pub trait Reach: Send + Sync + 'static {
    /// A line for the operator.
    fn log(&self, level: LogLevel, message: &str);
    /// What the guest wrote beyond its limits: lines of its log, and bytes of its output streams.
    fn dropped(&self, _lines: u64, _bytes: u64) {}
    /// How far along the work is.
    fn progress(&self, stage: &str, percent: Option<u8>, message: &str);
    /// Asks for something, if the plugin may. Calls are asked in the order in which the guest makes them. Dropping the
    /// future cancels the call; an `Err` ends the attempt.
    fn ask(&self, call: HostCall) -> BoxFuture<'static, Result<Answered, Failure>>;
    /// Which of several calls have ended first: `first` finds it out, and a record may know better.
    fn pick(&self, first: BoxFuture<'static, Vec<u32>>) -> BoxFuture<'static, Vec<u32>> {
        first
    }
    /// The plugins that the step grants, by name.
    fn tools(&self) -> Vec<Arc<Metadata>>;
    /// What an agent had spent when its segment began, and what it might still spend then.
    fn budget(&self) -> Budget {
        Budget::default()
    }
}

/// The time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the epoch.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as u64)
    }
}
