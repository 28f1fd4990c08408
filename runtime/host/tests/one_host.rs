//! Every hostile component of the list, in one process and one host: one after another, all at once, and cancelled
//! half way, round after round, beside a neighbour who must not notice. In the end the host is as it was.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "the figures of the report")]

mod support;

#[path = "one_host/attack.rs"]
mod attack;
#[path = "one_host/boundary.rs"]
mod boundary;
#[path = "one_host/resources.rs"]
mod resources;

use attack::{Attack, Ends};
use heddle_core::json::Json;
use heddle_core::outcome::{AttemptEnd, Outcome};
use heddle_host::testkit::Guest;
use heddle_host::{Call, Loaded};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::process::{Held, held};
use support::{Bench, Recorder, output, soon};
use tokio::task::JoinHandle;

/// What the process may have more in memory after the rounds than after the first. All its guests together write
/// several GiB in each, so anything that is kept of them shows.
const MAY_GROW_KIB: u64 = 32 * 1024;

/// The cases of both lists that need no network. Case 37 is not a component but what is done to all of them.
const CASES: &[u32] = &[
    1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31,
    33, 34, 35, 36, 39,
];

/// An attack that got as far as being loaded, or one that must not.
struct Armed {
    attack: Attack,
    loaded: Option<Loaded>,
    input: Json,
}

async fn arm(bench: &Bench, attack: Attack) -> Armed {
    let loaded = match attack.ends {
        Ends::Refused(_) => None,
        _ => Some(
            bench
                .host
                .load(attack.component.clone())
                .await
                .unwrap_or_else(|fault| panic!("{}: {fault}", attack.name)),
        ),
    };
    let input = Json::parse(attack.input.as_bytes()).unwrap();
    Armed { attack, loaded, input }
}

impl Armed {
    fn call(&self, bench: &Bench) -> Option<Call> {
        let loaded = self.loaded.as_ref()?;
        let mut call = bench.call(loaded, "1");
        call.input = self.input.clone();
        (self.attack.limits)(&mut call.limits);
        call.host_calls = Arc::new(Recorder::default());
        Some(call)
    }
    /// Does it, and holds its end against the list.
    async fn strike(&self, bench: &Bench) {
        match self.call(bench) {
            Some(call) => self.ended(bench.host.call(call).await),
            None => {
                let refused = bench.host.load(self.attack.component.clone()).await.unwrap_err();
                let Ends::Refused(kind) = self.attack.ends else { unreachable!() };
                assert_eq!(refused.kind, kind, "case {}, {}: {refused}", self.attack.case, self.attack.name);
            }
        }
    }
    fn ended(&self, end: AttemptEnd) {
        let which = format!("case {}, {}: {:?}", self.attack.case, self.attack.name, end.outcome);
        match (self.attack.ends, &end.outcome) {
            (Ends::Fails(kind), Outcome::Failed(failure)) => assert_eq!(failure.kind, kind, "{which}"),
            (Ends::Says(kind, code), Outcome::Failed(failure)) => {
                assert_eq!((failure.kind, failure.code.as_deref()), (kind, Some(code)), "{which}");
            }
            (Ends::Succeeds(text), Outcome::Done(output)) => assert_eq!(output.text(), text, "{which}"),
            _ => panic!("{which}"),
        }
    }
}

/// The neighbour: writes a pattern into a MiB of its memory, works for some ticks, and looks whether it is still there.
fn canary() -> Guest {
    let mark = "(i32.mul (local.get $a) (i32.const 0x9e3779b1))";
    Guest::transform("canary").memory("20").body(&format!(
        "(local.set $a (i32.const 131072))
        (loop $next (i32.store (local.get $a) {mark})
          (br_if $next (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 4))) (i32.const 1179648))))
        (local.set $c (i32.const 10000000))
        (loop $work (br_if $work (local.tee $c (i32.sub (local.get $c) (i32.const 1)))))
        (local.set $a (i32.const 131072))
        (loop $next
          (local.set $b (i32.or (local.get $b) (i32.xor (i32.load (local.get $a)) {mark})))
          (br_if $next (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 4))) (i32.const 1179648))))
        (call $number (i64.extend_i32_u (local.get $b)))"
    ))
}

/// Runs the neighbour again and again until it is told to stop; gives how often.
fn sing(bench: &Arc<Bench>, loaded: &Loaded, stop: &Arc<AtomicBool>) -> JoinHandle<u32> {
    let (bench, loaded, stop) = (bench.clone(), loaded.clone(), stop.clone());
    tokio::spawn(async move {
        let mut sung = 0;
        while !stop.load(Ordering::Relaxed) || sung == 0 {
            assert_eq!(
                output(&bench.host.call(bench.call(&loaded, "1")).await),
                "0",
                "the canary was touched"
            );
            sung += 1;
        }
        sung
    })
}

/// One after another. After each, everything is free but for what the neighbour has.
async fn one_by_one(bench: &Arc<Bench>, armed: &[Arc<Armed>]) {
    for attack in armed {
        attack.strike(bench).await;
        soon("not everything was given back", || {
            bench.host.gauges().slots_free + 1 >= bench.host.gauges().slots
        })
        .await;
    }
}

/// All at once, in another order each time; they queue for the few sandboxes there are.
async fn all_at_once(bench: &Arc<Bench>, armed: &[Arc<Armed>], round: usize) {
    let strikes: Vec<_> = (0..armed.len())
        .map(|n| {
            let (bench, attack) = (bench.clone(), armed[(n * 7 + round) % armed.len()].clone());
            tokio::spawn(async move { attack.strike(&bench).await })
        })
        .collect();
    for strike in strikes {
        strike.await.unwrap();
    }
}

/// Case 37: each is cancelled somewhere on its way, or has ended as it must.
async fn cut_off(bench: &Arc<Bench>, armed: &[Arc<Armed>]) {
    let strikes: Vec<_> = (0..armed.len() as u64 * 4)
        .map(|n| {
            let (bench, attack) = (bench.clone(), armed[n as usize % armed.len()].clone());
            let patience = Duration::from_micros(n * 7_919 % 150_000);
            tokio::spawn(async move { tokio::time::timeout(patience, attack.strike(&bench)).await.is_err() })
        })
        .collect();
    let mut cancelled = 0;
    for strike in strikes {
        cancelled += u32::from(strike.await.unwrap());
    }
    assert!(cancelled > 0, "all of them ended by themselves");
}

/// How long a thread for blocking work stays when it has none, and some more.
const THREADS_STAY: Duration = Duration::from_secs(30);

/// What is held when nothing runs. `like` is what it was before, to be waited for. (An attempt that was cancelled is over
/// for its caller, and counted as such, before the last of its sandbox is gone.)
async fn settled(bench: &Bench, like: Option<Held>) -> Held {
    soon("not everything was given back", || bench.all_free()).await;
    bench.flush().await;
    let began = Instant::now();
    let large = |now: Held| like.is_some_and(|like| now.resident_kib > like.resident_kib + MAY_GROW_KIB);
    let more = |now: Held| {
        large(now) || like.is_some_and(|like| now.threads > like.threads || now.open_files > like.open_files)
    };
    while more(held()) {
        assert!(
            began.elapsed() < THREADS_STAY,
            "threads, files or memory were not given back: {like:?} {:?}",
            held()
        );
        // Guests keep threads busy, so only for the sake of memory.
        if large(held()) {
            bench.flush().await;
        }
        tokio::task::yield_now().await;
    }
    held()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_in_one_host_leaves_it_as_it_was() {
    let bench = Arc::new(Bench::new());
    let (mut armed, mut cases) = (Vec::new(), BTreeSet::new());
    for attack in resources::all().into_iter().chain(boundary::all()) {
        cases.insert(attack.case);
        armed.push(Arc::new(arm(&bench, attack).await));
    }
    assert!(cases.iter().eq(CASES), "{cases:?}");
    let neighbour = bench.load(&canary()).await;

    let stop = Arc::new(AtomicBool::new(false));
    let singing = sing(&bench, &neighbour, &stop);
    // The first round makes what is made at first use.
    one_by_one(&bench, &armed).await;
    all_at_once(&bench, &armed, 0).await;
    cut_off(&bench, &armed).await;
    stop.store(true, Ordering::Relaxed);
    let mut sung = singing.await.unwrap();
    let before = settled(&bench, None).await;

    for round in 1..=2 {
        let stop = Arc::new(AtomicBool::new(false));
        let singing = sing(&bench, &neighbour, &stop);
        one_by_one(&bench, &armed).await;
        all_at_once(&bench, &armed, round).await;
        cut_off(&bench, &armed).await;
        stop.store(true, Ordering::Relaxed);
        sung += singing.await.unwrap();
        soon("not everything was given back", || bench.all_free()).await;
        bench.is_well().await;
    }
    let after = settled(&bench, Some(before)).await;
    println!(
        "{} components, {} cases; the canary ran {sung} times; before {before:?}, after {after:?}",
        armed.len(),
        cases.len()
    );
    // The two canaries have one, too.
    let most = armed.iter().filter(|a| a.loaded.is_some()).count() + 2 + bench.host.gauges().slots;
    assert!(after.images <= most, "more memory images than components and sandboxes: {after:?}, {most}");
    assert!(after.resident_kib <= before.resident_kib + MAY_GROW_KIB, "before {before:?}, after {after:?}");
    bench.is_well().await;
}

/// Where the guide says that a case is tested, there is such a test, and it says so too. No case is left out.
#[test]
fn the_guide_says_where_each_case_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = fs::read_to_string(root.join("docs/guide/security.md")).unwrap();
    let mut found = BTreeSet::new();
    for row in guide.lines().filter(|row| row.starts_with("| ")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let Ok(case) = cells[0].trim_start_matches("| ").parse::<u32>() else { continue };
        let mut source = String::new();
        for word in cells.last().unwrap().split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                let folders = ["runtime/host/tests", "tests/tests", "runtime", "."];
                let read = |folder| fs::read_to_string(root.join(folder).join(word)).ok();
                source =
                    folders.into_iter().find_map(read).unwrap_or_else(|| panic!("there is no test `{word}`"));
                continue;
            }
            let at =
                source.find(&format!("fn {word}(")).unwrap_or_else(|| panic!("case {case}: no `{word}`"));
            // What stands between the end of the item before and the test.
            let comment = source[..at].rsplit("\n}\n").next().unwrap().to_lowercase();
            let numbers = comment.split("case ").skip(1);
            let mut numbers = numbers.map(|text| text.split(|c: char| !c.is_ascii_digit()).next().unwrap());
            assert!(
                numbers.any(|number| number == case.to_string()),
                "`{word}` does not say that it is case {case}"
            );
            found.insert(case);
        }
    }
    let expected: BTreeSet<u32> = CASES
        .iter()
        .copied()
        .chain([
            37, 40, 41, 43, 44, 46, 47, 48, 49, 50, 51, 53, 54, 55, 56, 57, 58, 60, 61, 62, 63, 64, 65, 67,
            68, 82, 110, 111, 112,
        ])
        .chain(201..=230)
        .collect();
    assert_eq!(found, expected);
}
