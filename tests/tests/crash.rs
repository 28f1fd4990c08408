//! `kill -9` at random moments under load, and during recovery, again and again on one folder. Afterwards the journals
//! are compared with what clients were told, and with what was seen to be done.
//!
//! ```text
//!   clients ──► node ──► journals ─┐
//!      │          └────► its log ──┤► judge ──► counters, all zero
//!      └──────► ledger ────────────┘
//! ```
//!
//! `KILL_SEED` repeats the random choices of a run; when threads take turns is the machine's own affair.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![allow(clippy::print_stdout, reason = "the figures of the report")]

#[path = "crash/findings.rs"]
mod findings;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/kin.rs"]
mod kin;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/mix.rs"]
mod mix;
#[path = "crash/story.rs"]
mod story;
#[path = "crash/witness.rs"]
mod witness;

use findings::Findings;
use heddle_tests::{PATIENCE, Server};
use judge::Tally;
use ledger::{Ledger, Listed, Rng, Said};
use mix::Kind;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use witness::Lives;

/// Kills under load.
const KILLS: u64 = 100;
/// After every fifth, one more while the next process recovers.
const RECOVERY_EVERY: u64 = 5;
/// Runs that are to be in flight at a kill.
const IN_FLIGHT: u64 = 20;
/// Of the kills, as many as must land with so many runs and an append in flight.
const LOADED: usize = 90;
const CLIENTS: u64 = 6;
const READERS: usize = 4;

/// The log has what plugins write, and nothing else below a warning.
const SETTINGS: [(&str, &str); 2] =
    [("HEDDLE_TELEMETRY_FORMAT", "json"), ("HEDDLE_TELEMETRY_LEVEL", "warn,heddle::guest=debug")];

/// One folder, and the processes that follow one another on it.
struct Node {
    folder: tempfile::TempDir,
    server: Option<Server>,
    lives: Lives,
    rng: Rng,
    /// From the start of the last process until it was ready.
    took: Duration,
}

/// What the node said of itself just before it was killed.
#[derive(Clone, Copy, Debug, Default)]
struct Gauges {
    runs: u64,
    /// Rows handed to the store's writer and not on disk.
    appends: u64,
}

impl Gauges {
    fn of(server: &Server) -> Option<Gauges> {
        let text = server.try_get("/metrics")?.body;
        let gauge = |name: &str| {
            let line = text.as_str()?.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<f64>().ok().map(|value| value as u64)
        };
        Some(Gauges {
            runs: gauge("heddle_runs_active ")?,
            appends: gauge("heddle_journal_appends_waiting ")?,
        })
    }
    fn is_loaded(self) -> bool {
        self.runs >= IN_FLIGHT && self.appends > 0
    }
}

impl Node {
    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
    /// Starts the next process, and waits for nothing.
    fn spawn(&mut self) -> Server {
        let log = self.log();
        self.lives.begin(&log);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server::spawn(self.folder.path(), &format!("http://127.0.0.1:{port}"), &SETTINGS)
    }
    fn start(&mut self) {
        let since = Instant::now();
        let server = self.spawn();
        server.until(|| server.is_ready().then_some(()));
        self.took = since.elapsed();
        self.server = Some(server);
    }

    /// Lets clients work, and kills the node under them.
    fn kill_under_load(&mut self, cycle: u64, ledger: &Ledger) -> Gauges {
        let mut server = self.server.take().unwrap();
        let clients = if cycle.is_multiple_of(10) { 1 } else { CLIENTS };
        ledger.life.store(self.lives.last(), Ordering::SeqCst);
        let moment = Duration::from_micros(self.rng.below(60_000));
        let seed = self.rng.below(u64::MAX);
        let stop = AtomicBool::new(false);
        let at_kill = std::thread::scope(|scope| {
            for client in 0..clients {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || ledger.client(server, stop, Rng(seed ^ client)));
            }
            let since = Instant::now();
            let look = || {
                let gauges = Gauges::of(&server).unwrap_or_default();
                ledger.active.store(gauges.runs, Ordering::Relaxed);
                gauges
            };
            while look().runs < IN_FLIGHT && since.elapsed() < Duration::from_secs(3) {
                std::thread::sleep(Duration::from_millis(1));
            }
            // A random moment under load; then the first at which something is on its way to the disk.
            let since = Instant::now();
            while since.elapsed() < moment {
                look();
                std::thread::sleep(Duration::from_millis(1));
            }
            let since = Instant::now();
            let mut gauges = look();
            while !gauges.is_loaded() && since.elapsed() < Duration::from_millis(500) {
                gauges = look();
            }
            server.signal_kill();
            stop.store(true, Ordering::Relaxed);
            gauges
        });
        server.kill();
        at_kill
    }

    /// Starts the next process and kills it while it takes over what the last one left: before it is ready, or soon
    /// after. Gives whether it was ready.
    fn kill_in_recovery(&mut self) -> bool {
        let mut server = self.spawn();
        let late = self.rng.below(2) == 0;
        let (ready, killed) = (AtomicBool::new(false), AtomicBool::new(false));
        let took = self.took.as_micros() as u64;
        let moment = Duration::from_micros(self.rng.below(if late { 30_000 } else { took }));
        let is_ready = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ready.load(Ordering::SeqCst) && !killed.load(Ordering::SeqCst) {
                    ready.store(server.is_ready(), Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            let since = Instant::now();
            while late && !ready.load(Ordering::SeqCst) {
                assert!(since.elapsed() < PATIENCE, "it never becomes ready");
                std::thread::sleep(Duration::from_micros(100));
            }
            std::thread::sleep(moment);
            let is_ready = ready.load(Ordering::SeqCst);
            server.signal_kill();
            killed.store(true, Ordering::SeqCst);
            is_ready
        });
        server.kill();
        is_ready
    }
}

#[test]
fn a_hundred_kills_lose_nothing() {
    let began = Instant::now();
    let seed = std::env::var("KILL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5EED_0001);
    println!("seed: {seed} (KILL_SEED)");
    let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
    let mut node =
        Node { folder, server: None, lives: Lives::default(), rng: Rng(seed), took: Duration::default() };
    node.start();
    mix::load(node.server.as_ref().unwrap());
    let (mut at_kills, mut before_ready, mut after_ready) = (Vec::new(), 0, 0);
    for cycle in 0..KILLS {
        at_kills.push(node.kill_under_load(cycle, &ledger));
        if cycle % RECOVERY_EVERY == RECOVERY_EVERY - 1 {
            match node.kill_in_recovery() {
                true => after_ready += 1,
                false => before_ready += 1,
            }
        }
        node.start();
    }
    let loaded = at_kills.iter().filter(|gauges| gauges.is_loaded()).count();
    println!(
        "kills under load: {KILLS}, with {IN_FLIGHT} or more runs and an append in flight: {loaded}; {}",
        spread(&at_kills)
    );
    println!(
        "kills during recovery: {}, before it was ready: {before_ready}, after: {after_ready}",
        before_ready + after_ready
    );
    println!("{:.1} s until the last kill", began.elapsed().as_secs_f64());

    let findings = Findings::default();
    let ends = settle(&node, &ledger, &findings);
    println!("{:.1} s until everything is read", began.elapsed().as_secs_f64());
    // What has ended has ended as it was told, also for the next process; and nothing on the disk is damaged.
    node.server.take().unwrap().terminate();
    sound(node.folder.path());
    node.start();
    let server = node.server.as_ref().unwrap();
    each(&ends.into_iter().collect::<Vec<_>>(), |(id, end)| {
        let run = server.get(&format!("/v1/runs/{id}")).body;
        findings
            .check(end_of(&run) == *end, "terminal_changed", || format!("{id} was {end:?}, and is {run}"));
    });
    println!("{:.1} s in all", began.elapsed().as_secs_f64());
    findings.judge();
    assert!(before_ready > 0 && after_ready > 0, "the kills during recovery all fell on one side");
    assert!(loaded >= LOADED, "only {loaded} kills landed under load with an append in flight");
}

/// The least, the middle and the most of what was in flight at the kills.
fn spread(at_kills: &[Gauges]) -> String {
    let figures = |of: fn(&Gauges) -> u64| {
        let mut all: Vec<u64> = at_kills.iter().map(of).collect();
        all.sort_unstable();
        format!("{}, {}, {}", all[0], all[all.len() / 2], all[all.len() - 1])
    };
    format!("runs (least, middle, most): {}; appends: {}", figures(|g| g.runs), figures(|g| g.appends))
}

/// How a run ended: status, output and error.
type End = [Value; 3];

fn end_of(run: &Value) -> End {
    ["status", "output", "error"].map(|part| run[part].clone())
}

/// Says what is left to be said, waits until everything has ended, and judges each run.
fn settle(node: &Node, ledger: &Ledger, findings: &Findings) -> BTreeMap<String, End> {
    let server = node.server.as_ref().unwrap();
    ledger.life.store(node.lives.last(), Ordering::SeqCst);
    ledger.repeat(server);
    kin::stop(server);
    let asked = listed(server);
    account(server, ledger, &asked, findings);
    ledger.finish(server, &asked, findings);
    calm(server, findings);
    // With those that were asked for until the end.
    let listed = listed(server);
    let ticks = kin::ticks(&listed, findings);
    let families = kin::families(server, &listed, findings);
    let seen = witness::read(&node.log(), &node.lives);
    let said = ledger.said.lock().unwrap();
    let mut by_run: BTreeMap<&str, Vec<&Said>> = BTreeMap::new();
    for one in said.iter() {
        by_run.entry(&one.run).or_default().push(one);
    }
    let (ends, tally) = (Mutex::new(BTreeMap::new()), Mutex::new(Tally::default()));
    each(&listed, |Listed { id, .. }| {
        let doc = server.get(&format!("/v1/runs/{id}")).body;
        let is_over = matches!(doc["status"].as_str(), Some("succeeded" | "failed" | "cancelled"));
        if !is_over {
            return findings.note("not_terminal", format!("{doc}"));
        }
        ends.lock().unwrap().insert(id.clone(), end_of(&doc));
        let story = story::read(server, id, doc, findings);
        let (seen, said) = (seen.get(id).map_or(&[][..], Vec::as_slice), by_run.get(&**id));
        let said = said.map_or(&[][..], Vec::as_slice);
        let children = families.get(id).map_or(&[][..], Vec::as_slice);
        let figures = judge::judge(&story, seen, said, children, &node.lives, findings);
        tally.lock().unwrap().add(&figures);
    });
    for id in seen.keys().filter(|id| !listed.iter().any(|run| run.id == **id)) {
        findings.note("effect_unexplained", format!("there is no run {id}, and it was seen"));
    }
    let ends = ends.into_inner().unwrap();
    same_reports(&listed, &ends, findings);
    report(&ends, &said, ledger, &tally.into_inner().unwrap());
    println!("ticks: {ticks}");
    // One is due each second, and how many seconds the kills take is the machine's own affair.
    assert!(ticks >= 3, "only {ticks} ticks");
    ends
}

fn report(ends: &BTreeMap<String, End>, said: &[Said], ledger: &Ledger, tally: &Tally) {
    let mut statuses: BTreeMap<&str, u64> = BTreeMap::new();
    for end in ends.values() {
        *statuses.entry(end[0].as_str().unwrap()).or_default() += 1;
    }
    let accepted = ledger.accepted.lock().unwrap();
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for asked in accepted.values() {
        *kinds.entry(format!("{:?}", asked.kind)).or_default() += 1;
    }
    let unanswered = ledger.unanswered.lock().unwrap().len();
    println!(
        "runs acknowledged: {}, without an answer: {unanswered}; {kinds:?}; {statuses:?}",
        accepted.len()
    );
    let mut words: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for one in said {
        let count = words.entry(format!("{:?}", one.word)).or_default();
        count.0 += u64::from(one.answered);
        count.1 += u64::from(!one.answered);
    }
    println!(
        "words (acknowledged, without an answer): {words:?}; acknowledged when the end was settled: {}",
        tally.too_late
    );
    let Tally { effects, repeated, interrupted, entered, given_up, not_again, children, .. } = tally;
    println!("effects seen: {effects}, repeated after an interruption: {repeated}; children: {children}");
    assert!(*children >= 100, "only {children} children");
    println!(
        "attempts interrupted: {interrupted}, in their sandbox: {entered}; given up after three kills: {given_up}, after one with `onCrash: fail`: {not_again}"
    );
}

/// Every run of the node.
fn listed(server: &Server) -> Vec<Listed> {
    let (mut runs, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/runs?limit=200{cursor}"));
        for run in page.body["items"].as_array().unwrap_or_else(|| panic!("{page:?}")) {
            let kind = Kind::of(run["workflow"].as_str().unwrap()).unwrap();
            let n = run["labels"]["n"].as_str().and_then(|n| n.parse().ok());
            assert_eq!(n.is_some(), kind.is_asked_for(), "{run}");
            let tick = run["labels"]["scheduledAt"].as_str().map(str::to_owned);
            let id = run["id"].as_str().unwrap().to_owned();
            runs.push(Listed { id, n: n.unwrap_or_default(), kind, tick });
        }
        match page.body["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return runs,
        }
    }
}

/// What was acknowledged is there, once; the same key gives the same run; what had no answer is there at most once.
fn account(server: &Server, ledger: &Ledger, listed: &[Listed], findings: &Findings) {
    let accepted = ledger.accepted.lock().unwrap();
    let mut by_number: BTreeMap<u64, BTreeSet<&String>> = BTreeMap::new();
    for run in listed.iter().filter(|run| run.kind.is_asked_for()) {
        by_number.entry(run.n).or_default().insert(&run.id);
    }
    for (n, ids) in &by_number {
        findings.check(ids.len() == 1, "dup_run", || format!("request {n} made {ids:?}"));
    }
    for (id, asked) in accepted.iter() {
        let there = by_number.get(&asked.n).is_some_and(|ids| ids.contains(id));
        findings.check(there, "lost_ack", || format!("{id}: {asked:?}"));
    }
    let with_key: Vec<_> = accepted.iter().filter(|(_, asked)| asked.key.is_some()).collect();
    each(&with_key, |(id, asked)| {
        let again = asked.post(server).unwrap();
        findings.check(again.body["id"].as_str() == Some(id), "dup_run", || {
            format!("{id}: {asked:?}: {again:?}")
        });
    });
}

/// Audits of one lock file have one report, whatever was cached and however often they were interrupted.
fn same_reports(listed: &[Listed], ends: &BTreeMap<String, End>, findings: &Findings) {
    let mut reports: BTreeMap<u64, &Value> = BTreeMap::new();
    for run in listed.iter().filter(|run| run.kind == Kind::Audit) {
        let Some([status, report, _]) = ends.get(&run.id) else { continue };
        if status == "succeeded" {
            let first = *reports.entry(mix::audited(run.n)).or_insert(report);
            findings.check(report == first, "wrong_end", || format!("{}: {report}, not {first}", run.id));
        }
    }
}

/// Waits until nothing is under way, and everything that a run takes has been given back.
fn calm(server: &Server, findings: &Findings) {
    let under_way = || Gauges::of(server).map(|gauges| (gauges.runs, gauges.appends));
    let since = Instant::now();
    let open = || server.get("/v1/runs?status=queued,running,waiting,paused,compensating&limit=1").body;
    while under_way() != Some((0, 0)) || open()["items"].as_array().is_none_or(|items| !items.is_empty()) {
        if since.elapsed() > PATIENCE {
            return findings
                .note("not_terminal", format!("after {PATIENCE:?}: {:?}, {}", under_way(), open()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let node = server.get("/v1/node").body;
    let executor = &node["executor"];
    let held = ["runsActive", "runsQueued", "attemptsQueued", "nestedSlots", "subscribers"];
    let held = held.iter().map(|name| &executor[name]).chain([&executor["slots"][0]]);
    let back = held.into_iter().all(|held| held.as_u64() == Some(0));
    findings.check(back && executor["stuck"] == serde_json::json!({}), "leak", || format!("{executor}"));
}

/// What `doctor` says of the folder when nobody has it open.
fn sound(folder: &Path) {
    let look = Command::new(heddle_tests::binary())
        .args(["doctor", "--json", "--data"])
        .arg(folder)
        .current_dir(folder)
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&look.stdout).unwrap();
    for name in ["store", "journals"] {
        let finding = found.as_array().unwrap().iter().find(|f| f["name"] == name).unwrap();
        assert_eq!(finding["health"], "ok", "{finding}");
    }
}

/// Does this for each, a few at a time.
fn each<T: Sync>(all: &[T], what: impl Fn(&T) + Sync) {
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                while let Some(one) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    what(one);
                }
            });
        }
    });
}
