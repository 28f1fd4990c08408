//! Which plugins can do what a workflow asks for by capability, and in which order they are tried.
//!
//! A call by capability names what is wanted (`ocr.text`), what must be so (`requires`) and what would be better
//! (`prefer`). Accepting a run turns it into a list of candidates, which the run keeps; the first attempt goes to the
//! first, and each failure moves on to the next. So the choice is a function of the run, and is told with each attempt.

use crate::outcome::PluginKind;
use crate::plugin::{Metadata, Pinned, PluginRef};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What an operator says of a plugin, apart from its bytes: `region=eu`, `cost=3`.
pub type Labels = BTreeMap<String, String>;

/// The most candidates that a run keeps of one call.
pub const MOST_CANDIDATES: usize = 16;

/// What a step calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// A plugin, by name and range.
    Plugin(PluginRef),
    /// Whoever can do it.
    Capability(CapabilityRef),
}

/// A call by capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CapabilityRef {
    /// The kind of the plugin.
    pub kind: PluginKind,
    /// Dotted names, such as `ocr.text`.
    pub name: Arc<str>,
    /// What would be better, the most important first.
    pub prefer: Vec<Preference>,
    /// Labels that the plugin must have.
    pub requires: BTreeMap<Arc<str>, Arc<str>>,
}

/// What would be better.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Preference {
    /// The lowest label `cost`; those without one come last. `cheapest`.
    Cheapest,
    /// The highest version. `newest`.
    Newest,
    /// A plugin with this label: `local` means `local=true`, `region=eu` itself.
    Label(Arc<str>, Arc<str>),
}

impl Preference {
    /// Reads `cheapest`, `newest`, `label` or `label=value`.
    pub fn parse(text: &str) -> Option<Preference> {
        let (label, value) = text.split_once('=').unwrap_or((text, "true"));
        match text {
            "cheapest" => Some(Preference::Cheapest),
            "newest" => Some(Preference::Newest),
            _ => (is_label(label) && is_label_value(value))
                .then(|| Preference::Label(label.into(), value.into())),
        }
    }
}

/// Whether this is the name of a label.
pub fn is_label(text: &str) -> bool {
    crate::id::is_name(text)
}

/// Whether this can be the value of a label: 1 to 64 printing characters of ASCII without a blank.
pub fn is_label_value(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Callee {
    /// The kind of what is called.
    pub fn kind(&self) -> PluginKind {
        match self {
            Callee::Plugin(plugin) => plugin.kind,
            Callee::Capability(capability) => capability.kind,
        }
    }
    /// What is called whatever its version: `tool:name`, or `tool:{ocr.text}`.
    pub fn pattern(&self) -> String {
        match self {
            Callee::Plugin(plugin) => format!("{}:{}", plugin.kind.word(), plugin.name),
            Callee::Capability(capability) => capability.to_string(),
        }
    }
}

impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Callee::Plugin(plugin) => plugin.fmt(f),
            Callee::Capability(capability) => capability.fmt(f),
        }
    }
}

impl fmt::Display for CapabilityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{{{}}}", self.kind.word(), self.name)
    }
}

/// A plugin with what its operator says of it.
pub trait Provider {
    /// What it says of itself.
    fn metadata(&self) -> &Metadata;
    /// What its operator says.
    fn labels(&self) -> &Labels;
    /// How it does: what has a higher one is tried after all others.
    fn rank(&self) -> u8 {
        0
    }
}

impl CapabilityRef {
    /// Why this plugin cannot do it; `None` where it can.
    pub fn refuses(&self, provider: &dyn Provider) -> Option<String> {
        let metadata = provider.metadata();
        if metadata.kind != self.kind || !metadata.provides.iter().any(|name| **name == *self.name) {
            return Some(format!("it does not provide `{}`", self.name));
        }
        let lacks = self
            .requires
            .iter()
            .find(|(label, value)| provider.labels().get(&***label).map(String::as_str) != Some(&***value));
        lacks.map(|(label, value)| match provider.labels().get(&**label) {
            Some(other) => format!("its label `{label}` is `{other}`, not `{value}`"),
            None => format!("it has no label `{label}={value}`"),
        })
    }
    /// Those that can do it, in the order in which they are tried. `all` has one version of each plugin.
    pub fn candidates<P: Provider>(&self, mut all: Vec<P>) -> Vec<P> {
        all.retain(|provider| self.refuses(provider).is_none());
        all.sort_by(|a, b| self.order(a, b));
        all.truncate(MOST_CANDIDATES);
        all
    }
    fn order(&self, a: &dyn Provider, b: &dyn Provider) -> Ordering {
        let by = |preference: &Preference| match preference {
            Preference::Cheapest => cost(a).total_cmp(&cost(b)),
            Preference::Newest => b.metadata().version.cmp(&a.metadata().version),
            Preference::Label(label, value) => {
                let has = |p: &dyn Provider| p.labels().get(&**label).map(String::as_str) == Some(&**value);
                has(b).cmp(&has(a))
            }
        };
        let does = a.rank().cmp(&b.rank());
        let preferred = self.prefer.iter().map(by).find(|order| order.is_ne());
        does.then(preferred.unwrap_or_else(|| a.metadata().name.cmp(&b.metadata().name)))
    }
}

fn cost(provider: &dyn Provider) -> f64 {
    let cost = provider.labels().get("cost").and_then(|cost| cost.parse::<f64>().ok());
    cost.filter(|cost| cost.is_finite()).unwrap_or(f64::INFINITY)
}

/// The plugins that the calls of a plan were resolved to when its run was accepted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pins(Vec<Candidates>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Candidates {
    One(Arc<Pinned>),
    Many(Vec<Arc<Pinned>>),
}

impl Pins {
    /// One list for each call, in the order of the plan's calls; what is tried first stands first.
    pub fn new(calls: impl IntoIterator<Item = Vec<Arc<Pinned>>>) -> Pins {
        let one = |mut list: Vec<Arc<Pinned>>| match (list.len(), list.pop()) {
            (1, Some(only)) => Candidates::One(only),
            (_, last) => Candidates::Many(list.into_iter().chain(last).collect()),
        };
        Pins(calls.into_iter().map(one).collect())
    }
    /// The plugin that a call means after so many failures.
    pub fn pick(&self, call: usize, turn: u32) -> Option<&Arc<Pinned>> {
        match self.0.get(call)? {
            Candidates::One(only) => Some(only),
            Candidates::Many(list) => list.get(turn as usize % list.len().max(1)),
        }
    }
    /// Everything that a call can come to.
    pub fn of(&self, call: usize) -> &[Arc<Pinned>] {
        match self.0.get(call) {
            Some(Candidates::One(only)) => std::slice::from_ref(only),
            Some(Candidates::Many(list)) => list,
            None => &[],
        }
    }
    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;
    use crate::limits::AskedLimits;
    use crate::plugin::Form;

    struct Plugin(Metadata, Labels);

    impl Provider for Plugin {
        fn metadata(&self) -> &Metadata {
            &self.0
        }
        fn labels(&self) -> &Labels {
            &self.1
        }
    }

    fn plugin(name: &str, version: u64, provides: &str, labels: &[(&str, &str)]) -> Plugin {
        let metadata = Metadata {
            name: name.to_owned(),
            version: semver::Version::new(version, 0, 0),
            kind: PluginKind::Tool,
            title: String::new(),
            description: String::new(),
            input_schema: Json::trusted("{}"),
            output_schema: Json::trusted("{}"),
            provides: vec![provides.to_owned()],
            limits: AskedLimits::default(),
            documentation: String::new(),
        };
        Plugin(
            metadata,
            labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
        )
    }

    fn names(prefer: &[&str], requires: &[(&str, &str)]) -> Vec<String> {
        let wanted = CapabilityRef {
            kind: PluginKind::Tool,
            name: "ocr.text".into(),
            prefer: prefer.iter().map(|text| Preference::parse(text).unwrap()).collect(),
            requires: requires.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect(),
        };
        let all = vec![
            plugin("cloud", 3, "ocr.text", &[("cost", "9"), ("region", "us")]),
            plugin("desk", 1, "ocr.text", &[("local", "true"), ("region", "eu"), ("cost", "4.5")]),
            plugin("barn", 2, "ocr.text", &[("local", "true"), ("region", "eu")]),
            plugin("other", 2, "ocr.tables", &[("region", "eu")]),
        ];
        wanted.candidates(all).into_iter().map(|plugin| plugin.0.name).collect()
    }

    #[test]
    fn candidates_are_those_that_can_in_the_order_that_is_preferred() {
        assert_eq!(names(&[], &[]), ["barn", "cloud", "desk"]);
        assert_eq!(names(&["local", "cheapest"], &[]), ["desk", "barn", "cloud"]);
        assert_eq!(names(&["cheapest"], &[]), ["desk", "cloud", "barn"]);
        assert_eq!(names(&["newest"], &[]), ["cloud", "barn", "desk"]);
        assert_eq!(names(&["region=us", "newest"], &[]), ["cloud", "barn", "desk"]);
        assert_eq!(names(&["newest"], &[("region", "eu")]), ["barn", "desk"]);
        assert!(names(&[], &[("region", "mars")]).is_empty());
        assert_eq!(Preference::parse("two words"), None);
        assert_eq!(Preference::parse("a=b c"), None);
    }

    #[test]
    fn each_failure_moves_on_and_comes_round() {
        let pin = |name: &str| {
            Arc::new(Pinned {
                kind: PluginKind::Tool,
                name: name.to_owned(),
                version: semver::Version::new(1, 0, 0),
                digest: crate::id::Digest::of(name.as_bytes()),
                limits: AskedLimits::default(),
                form: Form::Component,
            })
        };
        let pins = Pins::new([vec![pin("a")], vec![pin("b"), pin("c")], vec![]]);
        let picked = |call, turn| pins.pick(call, turn).map(|pin| pin.name.clone());
        assert_eq!([0, 1].map(|turn| picked(0, turn)), [Some("a".to_owned()), Some("a".to_owned())]);
        let turns = [0, 1, 2].map(|turn| picked(1, turn).unwrap_or_default());
        assert_eq!(turns, ["b", "c", "b"]);
        assert_eq!((picked(2, 0), picked(3, 0)), (None, None));
        let text = serde_json::to_string(&pins).unwrap();
        assert!(text.starts_with(r#"[{"kind":"tool","name":"a""#), "{text}");
        assert_eq!(serde_json::from_str::<Pins>(&text).unwrap(), pins);
    }
}
