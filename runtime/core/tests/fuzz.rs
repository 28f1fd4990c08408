#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]
#![allow(clippy::print_stdout, reason = "the figures of the report")]
//! Whatever somebody sends as a workflow, the checker answers; and what it accepts can be printed, read again and run.
//! Every workflow that we show to anybody is spoilt in many ways, chosen by a seed. A fault names its seed, and
//! `FUZZ_SEED=123` plays that one alone.

#[path = "documents/corpus.rs"]
mod corpus;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/play.rs"]
mod play;
#[path = "simulation/rng.rs"]
mod rng;

use heddle_core::document::print::{printed, tidied};
use heddle_core::document::{Doc, Order};
use heddle_core::json::Json;
use heddle_core::limits::AskedLimits;
use heddle_core::limits::Limits;
use heddle_core::plan::{Catalog, Plan, schedules_of};
use heddle_core::plugin::{Metadata, PluginRef};
use rng::Rng;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Documents in all, over both parts: about a minute.
const DOCUMENTS: u64 = 600_000;

/// A catalog with one plugin of each kind, which wants something and promises something.
struct Loaded;

impl Catalog for Loaded {
    fn find(&self, reference: &PluginRef) -> Option<Arc<Metadata>> {
        if !["e", "t", "a", "echo", "text"].contains(&&*reference.name) {
            return None;
        }
        let schema = |text: &str| Json::parse(text.as_bytes()).unwrap();
        Some(Arc::new(Metadata {
            name: reference.name.clone(),
            version: semver::Version::new(1, 0, 0),
            kind: reference.kind,
            title: String::new(),
            description: String::new(),
            input_schema: schema(
                r#"{"type":"object","required":["n"],"properties":{"n":{"type":"integer"},"list":{"type":"array","items":{"type":"string"}}},"additionalProperties":false}"#,
            ),
            output_schema: schema(
                r#"{"type":"object","properties":{"n":{"type":"integer"},"text":{"type":"string"}},"additionalProperties":false}"#,
            ),
            provides: Vec::new(),
            limits: AskedLimits::default(),
            documentation: String::new(),
        }))
    }
    fn names(&self) -> Vec<String> {
        ["tool:e", "transform:t", "agent:a", "tool:echo", "transform:text"].map(str::to_owned).to_vec()
    }
}

struct Fuzz {
    texts: Vec<String>,
    trees: Vec<Doc>,
    order: Order,
    limits: Arc<Limits>,
}

#[derive(Debug, Default)]
struct Figures {
    documents: u64,
    read: u64,
    accepted: u64,
    began: u64,
}

impl Fuzz {
    fn new() -> Fuzz {
        let trees: Vec<Doc> = corpus::workflows().into_iter().map(|(_, doc)| doc).collect();
        let order = Order::of_schema(corpus::SCHEMA).unwrap();
        // Stories stand many in a file; here each is a text of its own.
        let mut texts: Vec<String> = trees.iter().map(|doc| printed(doc, &order)).collect();
        texts.extend(
            corpus::texts().into_iter().map(|(_, text)| text).filter(|text| text.contains("document:")),
        );
        Fuzz { texts, trees, order, limits: Arc::default() }
    }

    fn one(&self, seed: u64, figures: &mut Figures) -> Result<(), String> {
        let mut rng = Rng::new(seed);
        let pick = |rng: &mut Rng, of: usize| rng.below(of as u64) as usize;
        figures.documents += 1;
        if rng.once_in(2) {
            let (text, other) = (
                &self.texts[pick(&mut rng, self.texts.len())],
                &self.texts[pick(&mut rng, self.texts.len())],
            );
            let text = mutate::text(text, other, &mut rng);
            let Ok(doc) = Doc::parse(&text, &self.limits) else { return Ok(()) };
            figures.read += 1;
            let laid_out = tidied(&text, &self.order, &self.limits).map_err(|fault| fault.to_string())?;
            self.is_same(&doc, &laid_out, &text)?;
            self.check(&doc, figures, &mut rng)
        } else {
            let (doc, other) = (
                &self.trees[pick(&mut rng, self.trees.len())],
                &self.trees[pick(&mut rng, self.trees.len())],
            );
            let doc = mutate::tree(doc, other, &mut rng);
            self.check(&doc, figures, &mut rng)
        }
    }

    /// The text says what the tree says, where it is not too much for one document.
    fn is_same(&self, doc: &Doc, text: &str, from: &str) -> Result<(), String> {
        let wanted = Json::from_value(doc.value());
        let found = Doc::parse(text, &self.limits).map(|doc| Json::from_value(doc.value()));
        match found {
            Ok(found) if found == wanted => Ok(()),
            // Written out, it can be larger than it was.
            Err(fault)
                if fault.message.contains("limit document_")
                    || fault.message.contains("(limit json_depth)") =>
            {
                Ok(())
            }
            found => Err(format!("laid out it is {found:?}, and was {wanted:?}\n{text}\n--\n{from}")),
        }
    }

    fn check(&self, doc: &Doc, figures: &mut Figures, rng: &mut Rng) -> Result<(), String> {
        let _ = Plan::read(doc, Some(&Loaded), &self.limits);
        let plan = match Plan::read(doc, None, &self.limits) {
            Ok(plan) => plan,
            Err(faults) if faults.is_empty() => return Err("refused without a fault".into()),
            Err(faults) => {
                let unsaid = faults.iter().find(|fault| fault.message.is_empty());
                return unsaid.map_or(Ok(()), |fault| Err(format!("a fault says nothing: {fault:?}")));
            }
        };
        figures.accepted += 1;
        self.is_same(doc, &printed(doc, &self.order), "a tree")?;
        let again = Plan::reread(&plan.source).map_err(|faults| format!("not read again: {faults:?}"))?;
        if again.digest != plan.digest || again.steps.len() != plan.steps.len() {
            return Err(format!("read again it is another one: {:?}", plan.source));
        }
        let _ = schedules_of(&plan.source);
        figures.began += u64::from(play::play(plan, &self.limits, rng));
        Ok(())
    }

    /// All of these; what went wrong, with its seed.
    fn all(&self, seeds: impl Iterator<Item = u64>) -> (Figures, Vec<String>) {
        let (mut figures, mut wrong) = (Figures::default(), Vec::new());
        for seed in seeds {
            let ended = catch_unwind(AssertUnwindSafe(|| self.one(seed, &mut figures)));
            let fault = match ended {
                Ok(Ok(())) => continue,
                Ok(Err(fault)) => fault,
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    format!("panicked: {}", text.unwrap_or_default())
                }
            };
            wrong.push(format!("FUZZ_SEED={seed}: {fault}"));
            if wrong.len() >= 5 {
                break;
            }
        }
        (figures, wrong)
    }
}

#[allow(clippy::disallowed_methods, reason = "a seed to play again is told to the test, not to the core")]
fn part(number: u64) {
    let fuzz = Fuzz::new();
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    let (figures, wrong) = match seed {
        Some(seed) => fuzz.all(std::iter::once(seed)),
        None => fuzz.all(number * DOCUMENTS / 2..(number + 1) * DOCUMENTS / 2),
    };
    println!("part {number}: {figures:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // A fuzzer that is turned away at the door finds nothing behind it.
    let all = figures.documents;
    let deep = figures.read > all / 10 && figures.accepted > all / 20 && figures.began > all / 50;
    assert!(seed.is_some() || deep, "{figures:?}");
}

#[test]
fn whatever_is_sent_is_answered_part_0() {
    part(0);
}
#[test]
fn whatever_is_sent_is_answered_part_1() {
    part(1);
}
