//! One `heddle serve`, with the few things that a benchmark asks of it.

use super::PATIENCE;
use crate::http::{Answer, Client, request};
use crate::load::Asked;
use crate::process::{Process, free_address};
use anyhow::{Context as _, bail, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Near the beginning of the document of a run that ended well.
const SUCCEEDED: &str = "\"status\":\"succeeded\"";
/// How often a node that starts is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_micros(500);

/// A running node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
    /// From the start of the process to the first good answer of `/readyz`.
    pub(super) ready_after: Duration,
    data: PathBuf,
}

impl Node {
    /// Starts a node on this folder, with these settings in its environment, and waits until it is ready.
    pub(super) async fn start(heddle: &Path, data: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Node> {
        std::fs::create_dir_all(data)?;
        let address = free_address()?;
        let mut command = Command::new(heddle);
        // Nothing of whoever runs the benchmark shall change what is measured: no environment, no `heddle.toml`.
        command.arg("serve").env_clear().current_dir(data);
        command
            .env("HEDDLE_LISTEN", address.to_string())
            .env("HEDDLE_DATA", data)
            .envs(settings.iter().copied());
        let began = Instant::now();
        let mut process = Process::start(&mut command, &data.with_extension("log"))?;
        let ready = request("GET", "/readyz", &[], b"");
        while !answers(address, &ready).await {
            process.check()?;
            ensure!(began.elapsed() < PATIENCE, "the node is not ready after {PATIENCE:?}");
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(Node { process, address, ready_after: began.elapsed(), data: data.to_owned() })
    }
    /// Ends it in good order.
    pub(super) fn end(self) -> anyhow::Result<()> {
        self.process.end(PATIENCE)
    }

    /// Asks for something. Gives the answer's JSON.
    pub(super) async fn ask(&self, request: &[u8]) -> anyhow::Result<Value> {
        Client::connect(self.address).await?.send(request).await?.json(&[200, 201, 202])
    }

    /// Loads a plugin from the folder of built ones, and waits until runs may use it.
    pub(super) async fn push(&self, plugins: &Path, name: &str) -> anyhow::Result<()> {
        let path = plugins.join(format!("{name}.wasm"));
        let bytes = std::fs::read(&path).with_context(|| format!("`{}` is not built", path.display()))?;
        self.push_all(vec![bytes]).await
    }
    /// Loads components, a few at a time.
    pub(super) async fn push_all(&self, components: Vec<Vec<u8>>) -> anyhow::Result<()> {
        const AT_ONCE: usize = 16;
        let mut client = Client::connect(self.address).await?;
        for some in components.chunks(AT_ONCE) {
            let mut places = Vec::new();
            for bytes in some {
                let push = request("POST", "/v1/plugins", &[("content-type", "application/wasm")], bytes);
                let answer = client.send(&push).await?;
                places.push(accepted(answer)?);
            }
            for place in places {
                until_loaded(&mut client, &place).await?;
            }
        }
        Ok(())
    }
    /// Publishes a workflow.
    pub(super) async fn publish(&self, workflow: &str) -> anyhow::Result<()> {
        let publish =
            request("POST", "/v1/workflows", &[("content-type", "application/yaml")], workflow.as_bytes());
        self.ask(&publish).await?;
        Ok(())
    }
    /// What a client asks for who wants to have the output when the run ends, and no list of steps.
    pub(super) fn run(&self, workflow: &str, input: &str) -> Asked {
        let request = submit(workflow, input, &[("prefer", "wait=60, return=minimal")]);
        Asked { address: self.address, request: request.into(), proof: SUCCEEDED }
    }

    /// Commits of the store since the start, by its own count.
    pub(super) async fn commits(&self) -> anyhow::Result<f64> {
        let report = self.ask(&request("GET", "/v1/node", &[], b"")).await?;
        report["store"]["commits"].as_f64().with_context(|| format!("no count of commits in {report}"))
    }
    /// A number that a query on the database gives, beside the running node.
    pub(super) fn query(&self, sql: &str) -> anyhow::Result<f64> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(self.data.join("heddle.db"), flags)?;
        let number: Option<f64> = db.query_row(sql, [], |row| row.get(0))?;
        Ok(number.unwrap_or(0.0))
    }
    /// Bytes of the database, as far as it is committed.
    pub(super) fn database_bytes(&self) -> anyhow::Result<f64> {
        self.query("SELECT CAST(page_count * page_size AS REAL) FROM pragma_page_count, pragma_page_size")
    }
    /// Runs of a workflow.
    pub(super) fn runs_of(&self, workflow: &str) -> anyhow::Result<f64> {
        self.query(&format!("SELECT CAST(count(*) AS REAL) FROM runs WHERE workflow = '{workflow}'"))
    }
}

/// The request that submits a run.
pub(super) fn submit(workflow: &str, input: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    let body = format!("{{\"workflow\":\"{workflow}\",\"input\":{input}}}");
    request("POST", "/v1/runs", &headers, body.as_bytes())
}

async fn answers(address: SocketAddr, request: &[u8]) -> bool {
    let Ok(mut client) = Client::connect(address).await else { return false };
    client.send(request).await.is_ok_and(|answer| answer.status == 200)
}

fn accepted(answer: Answer<'_>) -> anyhow::Result<String> {
    answer.json(&[202])?;
    Ok(answer.header("location").context("the answer names no place")?.to_owned())
}

async fn until_loaded(client: &mut Client, place: &str) -> anyhow::Result<()> {
    let look = request("GET", place, &[], b"");
    let began = Instant::now();
    loop {
        let component = client.send(&look).await?.json(&[200])?;
        match component["status"].as_str() {
            Some("ready") => return Ok(()),
            Some("compiling") if began.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(5)).await
            }
            _ => bail!("the plugin was not loaded: {component}"),
        }
    }
}
