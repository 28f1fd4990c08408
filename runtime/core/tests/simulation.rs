//! Random runs under crashes, duplicates, stale answers, early timers, cancels and a second node that does not know it
//! has lost its lease. A crash loses what was not synced; what had been started stays started. After every event an
//! independent checker (`simulation/checker.rs`) compares what happened with what the plan allows.
//!
//! The same test finds planted faults: a simulation that never goes red proves nothing.

#![allow(clippy::print_stdout, reason = "the figures of the report")]

#[path = "simulation/after.rs"]
mod after;
#[path = "simulation/checker.rs"]
mod checker;
#[path = "simulation/children.rs"]
mod children;
#[path = "simulation/plans.rs"]
mod plans;
#[path = "simulation/queue.rs"]
mod queue;
#[path = "simulation/report.rs"]
mod report;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/told.rs"]
mod told;
#[path = "simulation/versions.rs"]
mod versions;
#[path = "simulation/why.rs"]
mod why;
#[path = "simulation/world.rs"]
mod world;

use heddle_core::planted::{Bug, plant};
use plans::Case;
use report::Report;
use std::collections::BTreeMap;
use world::World;

/// Runs of the honest simulation, over all four parts.
const RUNS: u64 = 120_000;
/// Distinct workflows; each is run many times under different seeds.
const PLANS: u64 = 600;

fn simulate(seeds: std::ops::Range<u64>, cases: &[Case]) -> Result<Report, String> {
    let mut total = Report::default();
    for seed in seeds {
        let case = &cases[(seed % cases.len() as u64) as usize];
        let report = World::new(case, seed)
            .run()
            .map_err(|fault| format!("seed {seed}: {fault}\nworkflow: {}", case.source))?;
        total.add(report);
    }
    Ok(total)
}

fn part(number: u64) {
    plant(None);
    let cases: Vec<Case> = (0..PLANS).map(|n| plans::case(number * PLANS + n)).collect();
    let report = simulate(number * RUNS / 4..(number + 1) * RUNS / 4, &cases)
        .unwrap_or_else(|fault| panic!("{fault}"));
    println!("part {number}: {report}");
    for kind in heddle_core::run::event::Event::KINDS {
        assert!(report.events.contains_key(*kind), "no run had a {kind}");
    }
    assert!(
        report.crashes > 1_000
            && report.lost_rows > 1_000
            && report.fenced > 100
            && report.duplicates > 1_000
            && report.kept > 3_000
            && report.differed > 500
    );
}

#[test]
fn thirty_thousand_runs_part_0() {
    part(0);
}
#[test]
fn thirty_thousand_runs_part_1() {
    part(1);
}
#[test]
fn thirty_thousand_runs_part_2() {
    part(2);
}
#[test]
fn thirty_thousand_runs_part_3() {
    part(3);
}

#[test]
fn every_planted_fault_is_found() {
    let cases: Vec<Case> = (0..PLANS).map(plans::case).collect();
    let mut found = BTreeMap::new();
    for bug in Bug::ALL {
        plant(Some(*bug));
        let fault = (0..60_000).step_by(500).find_map(|from| simulate(from..from + 500, &cases).err());
        plant(None);
        let fault = fault.unwrap_or_else(|| panic!("{bug:?} was not found in 60,000 runs"));
        found.insert(format!("{bug:?}"), fault.lines().next().unwrap_or_default().to_owned());
    }
    for (bug, fault) in &found {
        println!("{bug}: {fault}");
    }
    assert!(found.len() >= 10);
}
