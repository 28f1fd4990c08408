//! The product as it is shipped, in a process of its own, driven over HTTP; beside it the bare loop, driven the same.

mod chains;
mod fan_out;
mod node;
mod spinning;
mod start;

use crate::pace::Pace;
use crate::process::{Process, free_address};
use crate::report::{Report, Section};
use crate::say;
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

/// Every row that needs a server.
pub(crate) async fn measure(places: Places<'_>, pace: Pace, report: &mut Report) -> anyhow::Result<()> {
    let node = Node::start(places.heddle, &places.data.join("chains"), &[]).await?;
    node.push(places.plugins, "echo").await?;
    node.push(places.plugins, "identity").await?;
    let bare = Bare::start(places).await?;
    report
        .sections
        .push(Section { title: "chains, over HTTP", rows: chains::rows(&bare, &node, pace).await? });
    drop(bare);
    say("fan-out");
    report.sections.push(Section { title: "fan-out, over HTTP", rows: fan_out::rows(&node, pace).await? });
    node.end()?;
    say("start and kill -9");
    report.sections.push(Section { title: "start and end", rows: start::rows(places, pace).await? });
    say("spinning guests");
    let (rows, raised) = spinning::rows(places, pace).await?;
    report.sections.push(Section { title: "beside spinning guests", rows });
    report.limits_raised.extend(raised);
    Ok(())
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
