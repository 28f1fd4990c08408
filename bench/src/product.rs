//! The product as it is shipped, in a process of its own, driven over HTTP; beside it the bare loop, driven the same.

mod beside;
mod chains;
mod fan_out;
mod node;
mod parked;
mod spinning;
mod start;

use crate::pace::Pace;
use crate::process::{Process, free_address};
use crate::report::{Report, Row};
use crate::{Part, say};
use node::Node;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where everything lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    /// The server's binary.
    pub(crate) heddle: &'a Path,
    /// The folder of built plugins.
    pub(crate) plugins: &'a Path,
    /// A folder for data, on the disk to be measured.
    pub(crate) data: &'a Path,
}

/// How long a server may take to listen before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every row that needs a server, of these parts.
pub(crate) async fn measure(places: Places<'_>, pace: Pace, parts: &[Part], report: &mut Report) {
    if parts.contains(&Part::Chains) {
        report.add("chains, over HTTP", chains(places, pace).await);
    }
    if parts.contains(&Part::FanOut) {
        report.limits_raised.push(fan_out::RAISED.to_owned());
        report.add("fan-out, over HTTP", fan_out(places, pace).await);
    }
    if parts.contains(&Part::Parked) {
        say("parked runs");
        report.add("parked runs", parked::rows(places, pace).await);
    }
    if parts.contains(&Part::Start) {
        say("start and kill -9");
        report.add("start and end", start::rows(places, pace).await);
    }
    if parts.contains(&Part::Spinning) {
        say("spinning guests");
        report.limits_raised.push(spinning::RAISED.to_owned());
        report.add("beside spinning guests", spinning::rows(places, pace).await);
    }
    if parts.contains(&Part::Hostile) {
        say("a neighbour of hostile guests");
        report.add("beside hostile guests", beside::rows(places, pace).await);
    }
}

async fn chains(places: Places<'_>, pace: Pace) -> anyhow::Result<Vec<Row>> {
    let node = Node::start(places.heddle, &places.data.join("chains"), &[]).await?;
    node.push(places.plugins, "echo").await?;
    node.push(places.plugins, "identity").await?;
    let bare = Bare::start(places).await?;
    let rows = chains::rows(&bare, &node, pace).await?;
    node.end()?;
    Ok(rows)
}

async fn fan_out(places: Places<'_>, pace: Pace) -> anyhow::Result<Vec<Row>> {
    say("fan-out");
    let node = Node::start(places.heddle, &places.data.join("fan-out"), fan_out::LIMITS).await?;
    node.push(places.plugins, "echo").await?;
    let rows = fan_out::rows(&node, pace).await?;
    node.end()?;
    Ok(rows)
}

/// The bare loop, as a server.
#[derive(Debug)]
struct Bare {
    process: Process,
    address: SocketAddr,
}

impl Bare {
    async fn start(places: Places<'_>) -> anyhow::Result<Bare> {
        let (address, data) = (free_address()?, places.data.join("bare"));
        std::fs::create_dir_all(&data)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare-loop").arg("--listen").arg(address.to_string());
        command.arg("--data").arg(&data).arg("--plugins").arg(places.plugins);
        let mut process = Process::start(&mut command, &places.data.join("bare.log"))?;
        let began = Instant::now();
        while tokio::net::TcpStream::connect(address).await.is_err() {
            process.check()?;
            anyhow::ensure!(began.elapsed() < PATIENCE, "the bare loop does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Bare { process, address })
    }
}
