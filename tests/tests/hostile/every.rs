//! Every hostile component of the host's own tests, through the real binary: pushed over HTTP, called by steps, round
//! after round and all at once, while a canary of another workflow meets its latency.

use crate::attack::{Attack, Ends};
use crate::{STARVED, boundary, canary, held, p99, resources};
use heddle_core::limits::{AskedLimits, Limits};
use heddle_core::outcome::PluginKind;
use heddle_tests::Server;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the node allows beyond its defaults: the input of 8 MiB and what is around it, and so much fuel that CPU time ends first.
const SETTINGS: [(&str, &str); 4] = [
    ("HEDDLE_LIMITS_BODY_BYTES", "16MiB"),
    ("HEDDLE_LIMITS_INPUT_BYTES", "9MiB"),
    ("HEDDLE_LIMITS_FUEL", "100000000000"),
    ("HEDDLE_LIMITS_CPU_MS", "5s"),
];
/// Rounds that are measured, after one that makes what is made at first use.
const ROUNDS: usize = 2;
/// What the server may have more in memory after the rounds than before.
const MAY_GROW_KIB: u64 = 128 << 10;

/// The workflow of all attacks but for its step: one hostile neighbour.
fn attack(attack: &Attack, plugin: &str) -> Value {
    let mut limits = Limits::default().attempt(PluginKind::Tool, &AskedLimits::default());
    (attack.limits)(&mut limits);
    json!({
        "document": {"dsl": "1.0", "namespace": "test", "name": "attack", "version": "1.0.0"},
        "steps": {"a": {
            "call": plugin,
            "with": "${ input.with }",
            "cache": "off",
            "timeout": format!("{}ms", limits.wall_ms),
            "limits": {
                "fuel": limits.fuel,
                "memory": format!("{}B", limits.memory_bytes),
                "output": format!("{}B", limits.output_bytes),
            },
        }},
        "output": {"as": "${ steps.a.output }"},
    })
}

/// An attack whose component was accepted: what it is submitted with.
struct Armed {
    attack: Attack,
    definition: String,
    input: Value,
}

fn arm(server: &Server, attack_: Attack) -> Armed {
    let plugin = server.push(attack_.component.to_vec());
    let plugin = plugin["plugin"].as_str().unwrap_or_else(|| panic!("{plugin}"));
    let definition = attack(&attack_, plugin).to_string();
    let input = json!({"with": serde_json::from_str::<Value>(&attack_.input).unwrap()});
    Armed { attack: attack_, definition, input }
}

/// Pushes what must be refused, at once or when it is asked what it is.
fn refused(server: &Server, attack: &Attack) {
    let Ends::Refused(kind) = attack.ends else { unreachable!() };
    let answer = server.post_bytes("/v1/plugins", "application/wasm", attack.component.to_vec());
    let code = match answer.status {
        202 | 200 => {
            let place = answer.headers["location"].to_str().unwrap().to_owned();
            server.until(|| {
                let now = server.get(&place).body;
                assert_ne!(now["status"], "ready", "case {}, {}", attack.case, attack.name);
                (now["status"] == "failed").then(|| now["failure"]["code"].clone())
            })
        }
        _ => answer.body["code"].clone(),
    };
    assert_eq!(code, kind.word(), "case {}, {}", attack.case, attack.name);
}

impl Armed {
    fn ended(&self, run: &Value) {
        let which = || format!("case {}, {}: {}", self.attack.case, self.attack.name, run["error"]);
        let (status, error) = (run["status"].as_str(), &run["error"]);
        match self.attack.ends {
            Ends::Succeeds(text) => {
                assert_eq!(
                    (status, run["output"].to_string().as_str()),
                    (Some("succeeded"), text),
                    "{}",
                    which()
                );
            }
            Ends::Fails(kind) => {
                assert_eq!(
                    (status, error["kind"].as_str()),
                    (Some("failed"), Some(kind.word())),
                    "{}",
                    which()
                );
            }
            Ends::Says(kind, code) => {
                let found = (status, error["kind"].as_str(), error["code"].as_str());
                assert_eq!(found, (Some("failed"), Some(kind.word()), Some(code)), "{}", which());
            }
            Ends::Refused(_) => unreachable!(),
        }
    }
}

/// All at once, in another order each time, and what is refused is sent beside them.
fn round(server: &Server, armed: &[Armed], barred: &[Attack], number: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| barred.iter().for_each(|attack| refused(server, attack)));
        let runs: Vec<(&Armed, String)> = (0..armed.len())
            .map(|n| &armed[(n * 7 + number) % armed.len()])
            .map(|armed| (armed, server.submit(&armed.definition, armed.input.clone())))
            .collect();
        for (armed, run) in runs {
            armed.ended(&server.ended(&run));
        }
    });
}

#[test]
fn every_hostile_component_at_once_and_the_neighbour_keeps_its_latency() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &SETTINGS);
    server.push(heddle_tests::plugin("echo"));
    let (barred, accepted): (Vec<Attack>, Vec<Attack>) = resources::all()
        .into_iter()
        .chain(boundary::all())
        .partition(|attack| matches!(attack.ends, Ends::Refused(_)));
    let pid = server.pid();
    let armed: Vec<Armed> = accepted.into_iter().map(|attack| arm(&server, attack)).collect();
    round(&server, &armed, &barred, 0);
    let mut quiet: Vec<Duration> = (0..300).map(|_| canary(&server)).collect();
    let before = held(&server);

    let stop = AtomicBool::new(false);
    let mut loud = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                times.push(canary(&server));
            }
            times
        });
        for number in 1..=ROUNDS {
            round(&server, &armed, &barred, number);
        }
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    quiet.extend((0..300).map(|_| canary(&server)));

    let (quiet, loud, runs) = (p99(&mut quiet), p99(&mut loud), loud.len());
    let ratio = loud.as_secs_f64() / quiet.as_secs_f64();
    println!(
        "{} components, {} of them refused; canary p99: quiet {quiet:?}, beside them {loud:?}, {ratio:.1} times ({runs} runs)",
        armed.len() + barred.len(),
        barred.len(),
    );
    assert_eq!(server.pid(), pid);
    server.until(|| {
        let node = server.get("/v1/node").body;
        (node["executor"]["runsActive"] == 0 && node["executor"]["slots"][0] == 0).then_some(())
    });
    let after = server.until(|| {
        let after = held(&server);
        (after.0 <= before.0 + 8 && after.1 <= before.1 + 2).then_some(after)
    });
    println!("open files, threads, resident KiB: before {before:?}, after {after:?}");
    assert!(after.2 <= before.2 + MAY_GROW_KIB, "memory grew: before {before:?}, after {after:?}");
    assert!(loud < STARVED, "the canary starved: {loud:?}");
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(!log.contains("panic"), "{log}");
}
