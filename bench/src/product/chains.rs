//! Ten steps in a chain, and one alone: the product and the bare loop in turn, on the same cores, with the same client.

use super::Bare;
use super::node::Node;
use crate::bare_loop;
use crate::http::request;
use crate::journal::row_body;
use crate::load::{Asked, Load, closed_loop, median};
use crate::pace::Pace;
use crate::report::{Row, Target};
use crate::say;
use std::fmt::Write as _;

/// Steps of a chain.
const STEPS: usize = 10;
/// Clients where there are many.
const MANY: usize = 100;

/// Bare and product, in turn.
struct Turn {
    bare: Load,
    bare_cpu_ms: f64,
    product: Load,
    product_cpu_ms: f64,
}

/// What is compared: a route of the bare loop, a workflow of ours.
struct Pair {
    bare: Asked,
    product: Asked,
}

/// All rows of chains.
pub(super) async fn rows(bare: &Bare, node: &Node, pace: Pace) -> anyhow::Result<Vec<Row>> {
    node.publish(&chain("tools", STEPS, "tool:echo", "value", "")).await?;
    node.publish(&chain("tool", 1, "tool:echo", "value", "")).await?;
    node.publish(&chain("transforms", STEPS, "transform:identity", "n", "cache: off")).await?;
    let pair = |path: &str, workflow: &str| Pair {
        bare: Asked {
            address: bare.address,
            request: request("POST", path, &[("content-type", "application/json")], b"{\"n\":1}").into(),
            proof: bare_loop::PROOF,
        },
        product: node.run(workflow, "{\"n\":1}"),
    };
    let mut rows = Vec::new();
    say("ten transforms, one client");
    rows.extend(transforms(bare, node, &pair("/transforms/10", "bench/transforms"), pace).await?);
    say("ten tools, one client");
    rows.extend(tools_alone(bare, node, &pair("/tools/10", "bench/tools"), pace).await?);
    say("ten tools, 100 clients");
    rows.extend(tools_loaded(bare, node, &pair("/tools/10", "bench/tools"), pace).await?);
    say("one tool, 100 clients");
    let turns = turns(bare, node, &pair("/tools/1", "bench/tool"), MANY, pace).await?;
    let row = compared("one tool, 100 clients", "runs/s", &turns, Load::per_second)
        .target(Target::AtLeast(6_000.0));
    rows.push(row.note(format!("p99 {:.1} ms", middle(&turns, |turn| turn.product.within_ms(0.99)))));
    Ok(rows)
}

async fn transforms(bare: &Bare, node: &Node, pair: &Pair, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let before = (node.commits().await?, node.runs_of("bench/transforms")?);
    let turns = turns(bare, node, pair, 1, pace).await?;
    let runs = node.runs_of("bench/transforms")? - before.1;
    let flushes = (node.commits().await? - before.0) / runs;
    let name = "ten transforms, 1 client";
    Ok(vec![
        compared(&format!("{name}: p50"), "ms", &turns, |load| load.within_ms(0.5))
            .target(Target::AtMost(1.2)),
        compared(&format!("{name}: p99"), "ms", &turns, |load| load.within_ms(0.99)),
        Row::new(format!("{name}: flushes per run"), flushes, "").target(Target::AtMost(2.0)),
    ])
}

async fn tools_alone(bare: &Bare, node: &Node, pair: &Pair, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let turns = turns(bare, node, pair, 1, pace).await?;
    let name = "ten tools, 1 client";
    Ok(vec![
        compared(&format!("{name}: p50"), "ms", &turns, |load| load.within_ms(0.5))
            .target(Target::AtMost(2.5)),
        compared(&format!("{name}: p99"), "ms", &turns, |load| load.within_ms(0.99))
            .target(Target::AtMost(6.0)),
    ])
}

async fn tools_loaded(bare: &Bare, node: &Node, pair: &Pair, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let rows_before = node.query("SELECT CAST(max(id) AS REAL) FROM journal")?;
    let before = (node.database_bytes()?, node.runs_of("bench/tools")?);
    let turns = turns(bare, node, pair, MANY, pace).await?;
    let steps = (node.runs_of("bench/tools")? - before.1) * STEPS as f64;
    let database = (node.database_bytes()? - before.0) / steps;
    let bodies = node
        .query(&format!("SELECT CAST(sum(length(body)) AS REAL) FROM journal WHERE id > {rows_before}"))?
        / steps;
    let row = node.query(&format!(
        "SELECT avg(length(body)) FROM journal WHERE id > {rows_before} AND seq BETWEEN 3 AND 9"
    ))?;
    let name = "ten tools, 100 clients";
    let runs = compared(name, "runs/s", &turns, Load::per_second).target(Target::RatioAtLeast(0.8));
    let in_steps = format!(
        "{:.0} steps/s, bare {:.0}",
        runs.figure * STEPS as f64,
        runs.bare.unwrap_or(0.0) * STEPS as f64
    );
    let cpu = |cpu_ms: f64, load: &Load| cpu_ms / (load.done() as f64 * STEPS as f64);
    let bare_cpu = middle(&turns, |turn| cpu(turn.bare_cpu_ms, &turn.bare));
    Ok(vec![
        runs.note(in_steps),
        compared(&format!("{name}: p50"), "ms", &turns, |load| load.within_ms(0.5)),
        compared(&format!("{name}: p99"), "ms", &turns, |load| load.within_ms(0.99))
            .target(Target::AtMost(80.0)),
        Row::new("server CPU per step", middle(&turns, |turn| cpu(turn.product_cpu_ms, &turn.product)), "ms")
            .beside(bare_cpu)
            .target(Target::AtMost(0.08)),
        Row::new("database per step, everything", database, "bytes").target(Target::AtMost(600.0)).note(
            format!(
                "journal bodies {bodies:.0} per step; a row in the middle of a chain {row:.0}, bare {}",
                row_body().len()
            ),
        ),
        Row::new("resident after that load", node.process.resident_mib()?, "MiB")
            .beside(bare.process.resident_mib()?),
    ])
}

async fn turns(
    bare: &Bare,
    node: &Node,
    pair: &Pair,
    clients: usize,
    pace: Pace,
) -> anyhow::Result<Vec<Turn>> {
    let mut turns = Vec::new();
    for _ in 0..pace.rounds {
        let (bare, bare_cpu_ms) =
            closed_loop(&pair.bare, clients, pace.span, || bare.process.cpu_ms()).await?;
        let (product, product_cpu_ms) =
            closed_loop(&pair.product, clients, pace.span, || node.process.cpu_ms()).await?;
        turns.push(Turn { bare, bare_cpu_ms, product, product_cpu_ms });
    }
    Ok(turns)
}

fn middle(turns: &[Turn], figure: impl Fn(&Turn) -> f64) -> f64 {
    median(turns.iter().map(figure).collect())
}

fn compared(name: &str, unit: &'static str, turns: &[Turn], figure: impl Fn(&Load) -> f64) -> Row {
    let bare = middle(turns, |turn| figure(&turn.bare));
    Row::new(name, middle(turns, |turn| figure(&turn.product)), unit).beside(bare)
}

/// A workflow of so many steps, each of which takes what the one before gave.
fn chain(name: &str, steps: usize, call: &str, member: &str, more: &str) -> String {
    let mut text = format!(
        "document: {{ dsl: \"1.0\", namespace: bench, name: {name}, version: 1.0.0 }}\n\
         input: {{ schema: {{ type: object, required: [n], properties: {{ n: {{ type: integer }} }} }} }}\nsteps:\n"
    );
    let mut value = "input.n".to_owned();
    for step in 0..steps {
        let _ = write!(text, "  s{step}:\n    call: {call}\n    with: {{ {member}: \"${{ {value} }}\" }}\n");
        if !more.is_empty() {
            let _ = writeln!(text, "    {more}");
        }
        value = format!("steps.s{step}.output.{member}");
    }
    text
}
