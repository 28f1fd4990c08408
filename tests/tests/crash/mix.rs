//! What is asked of the node while it is killed: the demo's audit, and workflows with each way in which a run can wait,
//! fail, be spoken to and be undone.

use heddle_tests::{Server, plugin, root, workflow};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Packages of the audited lock file, besides the project itself.
const PACKAGES: usize = 28;

/// What the node is loaded with: what the demo uses, and what the workflows here call.
const PLUGINS: [&str; 7] =
    ["lockfile_parse", "package_examine", "audit_report", "markdown_table", "text", "identity", "witness"];

/// Pure and effectful steps, a fan-out, a step that fails at first, a short wait.
const CHAIN: &str = r#"
input: {schema: {type: object, properties: {n: {type: integer}}}}
steps:
  first: {call: "transform:text", with: {text: "run ${ input.n }", operations: [{op: upper}]}}
  slow: {call: "tool:witness", with: {value: "${ steps.first.output.text }", delayMs: 60}}
  many: {forEach: {in: "${ [1, 2, 3, 4] }", maxParallel: 2}, call: "tool:witness", with: {value: "${ item }", delayMs: 10}, dependsOn: [slow]}
  flaky: {call: "tool:witness", with: {value: 7, succeedsAt: 2}, retry: {delay: 20ms, limit: {attempts: 8}}, dependsOn: [first]}
  rest: {wait: 30ms, dependsOn: [first]}
  last: {call: "transform:identity", with: {all: "${ steps.many.output.map(o, o.value) }", n: "${ input.n }"}, dependsOn: [flaky, rest]}
output: {as: "${ steps.last.output }"}
"#;

/// Effects that are undone, and what follows a failure.
const UNDO: &str = r#"
input: {schema: {type: object, properties: {n: {type: integer}, fails: {type: boolean}}}}
steps:
  a: {call: "tool:witness", with: {value: "${ input.n }", delayMs: 5}, compensate: {call: "tool:witness", with: {value: "${ steps.a.output.value }", delayMs: 5}}}
  b: {call: "tool:witness", with: {delayMs: 15}, dependsOn: [a], compensate: {call: "tool:witness"}}
  c: {call: "tool:witness", with: {succeedsAt: "${ input.fails ? 99 : 1 }"}, dependsOn: [b], compensate: {call: "tool:witness", with: {delayMs: 5}}}
  d: {call: "tool:witness", with: {value: "${ input.n }"}, dependsOn: [c]}
onError: {steps: {tell: {call: "tool:witness"}}}
finally: {clean: {call: "tool:witness", with: {delayMs: 5}}}
output: {as: {n: "${ steps.d.output.value }"}}
"#;

/// What must not run twice.
const ONCE: &str = r#"
input: {schema: {type: object, properties: {n: {type: integer}}}}
steps:
  a: {call: "tool:witness", with: {value: "${ input.n }", delayMs: 8}, onCrash: fail}
  b: {call: "tool:witness", with: {value: "${ steps.a.output.value }"}, onCrash: fail}
output: {as: {n: "${ steps.b.output.value }"}}
"#;

/// Waits for a signal, then for a person.
const TALK: &str = r#"
input: {schema: {type: object, properties: {n: {type: integer}}}}
steps:
  before: {call: "tool:witness", with: {delayMs: 5}, compensate: {call: "tool:witness"}}
  paid: {wait: {signal: paid, match: "${ event.data.n == input.n }", timeout: 30m}}
  ask: {approval: {timeout: 30m}, dependsOn: [paid]}
  after: {call: "tool:witness", with: {value: "${ steps.paid.output.n }", delayMs: 10}, dependsOn: [ask, before]}
output: {as: {n: "${ steps.after.output.value }"}}
"#;

/// Runs others: one whose end it waits for and undoes, and two side by side.
const FAMILY: &str = r#"
input: {schema: {type: object, properties: {n: {type: integer}, fails: {type: boolean}}}}
steps:
  before: {call: "tool:witness", with: {delayMs: 5}, compensate: {call: "tool:witness"}}
  sub: {workflow: test/child, with: {n: "${ input.n }"}, dependsOn: [before], compensate: {call: "tool:witness", with: {value: "${ steps.sub.output.n }"}}}
  several: {forEach: {in: "${ [0, 1] }"}, workflow: test/child, with: {n: "${ input.n + item }"}, dependsOn: [before]}
  last: {call: "tool:witness", with: {succeedsAt: "${ input.fails ? 99 : 1 }"}, dependsOn: [sub, several]}
output: {as: {n: "${ steps.sub.output.n }"}}
"#;

/// What they run.
const CHILD: &str = r#"
input: {schema: {type: object, properties: {n: {type: integer}}}}
steps:
  work: {call: "tool:witness", with: {value: "${ input.n }", delayMs: 10}}
  rest: {wait: 25ms, dependsOn: [work]}
output: {as: {n: "${ steps.work.output.value }"}}
"#;

/// What runs by itself.
const TICK: &str = r#"
schedule: [{id: beat, every: 1s, overlap: allowAll, catchup: 1h}]
steps:
  work: {call: "tool:witness", with: {delayMs: 5}}
  rest: {wait: 20ms, dependsOn: [work]}
output: {as: {at: "${ run.scheduledAt }"}}
"#;

/// The schedule of that.
pub(crate) const SCHEDULE: &str = "test.tick.beat";

/// The step of a family that runs another workflow, by its number in the journal: steps are counted by their names.
pub(crate) const SUB: u64 = 3;

/// A workflow of the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Chain,
    Audit,
    Undo,
    Once,
    Talk,
    Family,
    /// Asked for by a run of that.
    Child,
    /// Asked for by a schedule.
    Tick,
}

/// Something that is said to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Cancel,
    Signal,
    Approve,
    Reject,
    Pause,
    Resume,
}

impl Kind {
    /// One of them, the usual ones more often.
    pub(crate) fn by(dice: u64) -> Kind {
        match dice % 20 {
            0..=4 => Kind::Chain,
            5 => Kind::Audit,
            6..=8 => Kind::Undo,
            9..=12 => Kind::Once,
            13..=16 => Kind::Talk,
            _ => Kind::Family,
        }
    }
    /// Whether clients ask for it.
    pub(crate) fn is_asked_for(self) -> bool {
        !matches!(self, Kind::Child | Kind::Tick)
    }
    pub(crate) fn of(workflow: &str) -> Option<Kind> {
        let asked = [Kind::Chain, Kind::Audit, Kind::Undo, Kind::Once, Kind::Talk, Kind::Family];
        asked.into_iter().chain([Kind::Child, Kind::Tick]).find(|kind| kind.workflow() == workflow)
    }
    /// The published name.
    pub(crate) fn workflow(self) -> &'static str {
        match self {
            Kind::Chain => "test/chain",
            Kind::Audit => "heddle/supply-chain-audit",
            Kind::Undo => "test/undo",
            Kind::Once => "test/once",
            Kind::Talk => "test/talk",
            Kind::Family => "test/family",
            Kind::Child => "test/child",
            Kind::Tick => "test/tick",
        }
    }
    /// The input of the run with this number.
    pub(crate) fn input(self, n: u64) -> Value {
        match self {
            Kind::Audit => {
                json!({"lockfile": lock_file(audited(n)), "project": format!("kill {}", audited(n))})
            }
            Kind::Undo | Kind::Family => json!({"n": n, "fails": fails(n)}),
            _ => json!({"n": n}),
        }
    }
    /// What is said to the run with this number, in this order.
    pub(crate) fn words(self, n: u64) -> &'static [Word] {
        use Word::{Approve, Cancel, Pause, Reject, Resume, Signal};
        match (self, n % 5) {
            (Kind::Talk, 0) => &[Signal, Approve],
            (Kind::Talk, 1) => &[Pause, Signal, Resume, Approve],
            (Kind::Talk, 2) => &[Signal, Cancel],
            (Kind::Talk, 3) => &[Signal, Reject],
            (Kind::Talk, _) => &[Signal, Pause, Cancel],
            (Kind::Chain | Kind::Undo | Kind::Family, 4) => &[Cancel],
            _ => &[],
        }
    }
    /// How the run with this number ends if no step of it is given up after interruptions, and `output.n` where it
    /// succeeds. A cancel that comes while the run may end by itself leaves two ways.
    pub(crate) fn ends(self, n: u64) -> &'static [&'static str] {
        match self {
            Kind::Audit | Kind::Once | Kind::Tick => &["succeeded"],
            // With the run that asked for it.
            Kind::Child => &["succeeded", "cancelled"],
            Kind::Undo | Kind::Family if fails(n) && self.words(n).is_empty() => &["failed"],
            Kind::Undo | Kind::Family if fails(n) => &["failed", "cancelled"],
            Kind::Chain | Kind::Undo | Kind::Family if self.words(n).is_empty() => &["succeeded"],
            Kind::Chain | Kind::Undo | Kind::Family => &["succeeded", "cancelled"],
            Kind::Talk => match n % 5 {
                0 | 1 => &["succeeded"],
                3 => &["failed"],
                _ => &["cancelled"],
            },
        }
    }
    /// The steps whose effect is seen from outside, with the steps that undo them.
    pub(crate) fn is_witnessed(self, step: &str) -> bool {
        match self {
            Kind::Chain => matches!(step, "slow" | "many" | "flaky"),
            Kind::Audit => false,
            Kind::Undo | Kind::Once => true,
            Kind::Family => !matches!(step, "sub" | "several"),
            Kind::Child | Kind::Tick => step == "work",
            Kind::Talk => step.starts_with("before") || step == "after",
        }
    }
    /// The steps that are undone in a run that does not succeed.
    pub(crate) fn is_undone(self, step: &str) -> bool {
        match self {
            Kind::Undo => matches!(step, "a" | "b" | "c"),
            Kind::Talk => step == "before",
            Kind::Family => matches!(step, "before" | "sub"),
            _ => false,
        }
    }
}

/// Which lock file the audit with this number is about. A few share one, so that they find in the cache what the others
/// left there.
pub(crate) fn audited(n: u64) -> u64 {
    n / 60
}

fn fails(n: u64) -> bool {
    !n.is_multiple_of(3)
}

/// Loads the plugins and publishes the workflows.
pub(crate) fn load(server: &Server) {
    for name in PLUGINS {
        server.push(plugin(name));
    }
    let audit = std::fs::read_to_string(root().join("plugins/samples/audit.yaml")).unwrap();
    let asked = [("chain", CHAIN), ("undo", UNDO), ("once", ONCE), ("talk", TALK)];
    let bodies = [("child", CHILD), ("family", FAMILY), ("tick", TICK)].into_iter().chain(asked);
    let ours = bodies.map(|(name, body)| workflow(name, body));
    for text in ours.into_iter().chain([audit]) {
        let published = server.post_bytes("/v1/workflows", "application/yaml", text);
        assert_eq!(published.status, 201, "{published:?}");
    }
}

/// A lock file: the first packages of this repository's own, under a project whose name says which it is. The name is
/// in the entry of each package that it depends on, so each project's examinations are its own.
fn lock_file(which: u64) -> String {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.map(|rest| rest.trim_end_matches('"').to_owned())
    };
    let packages: Vec<&str> =
        text.split("[[package]]\n").skip(1).filter(|p| p.contains("checksum")).collect();
    let packages = &packages[..PACKAGES];
    let names: BTreeSet<String> = packages.iter().filter_map(|p| field(p, "name")).collect();
    let mut lock = format!(
        "version = 4\n\n[[package]]\nname = \"kill-{which}\"\nversion = \"1.0.0\"\ndependencies = [\n"
    );
    for name in &names {
        let _ = writeln!(lock, " \"{name}\",");
    }
    lock.push_str("]\n");
    let mut taken = BTreeSet::new();
    for package in packages {
        let name = field(package, "name").unwrap();
        if !taken.insert(name.clone()) {
            continue;
        }
        let [version, source, checksum] =
            ["version", "source", "checksum"].map(|f| field(package, f).unwrap());
        let _ = write!(
            lock,
            "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\nchecksum = \"{checksum}\"\n"
        );
        let known = package.lines().filter(|line| names.contains(line.trim_matches([' ', '"', ','])));
        let known: Vec<&str> = known.filter(|line| line.starts_with(' ')).collect();
        if !known.is_empty() {
            let _ = writeln!(lock, "dependencies = [\n{}\n]", known.join("\n"));
        }
    }
    lock
}
