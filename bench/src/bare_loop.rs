//! The limit to compare with: HTTP, a fresh sandbox for each step, one writer with group commit, and no product around
//! them. In a process of its own, driven like the product is.

use crate::journal::Writer;
use crate::sandbox::{Plugin, Sandboxes};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the process is started with.
#[derive(Debug, clap::Args)]
pub(crate) struct BareLoop {
    /// Where to listen.
    #[arg(long)]
    pub(crate) listen: SocketAddr,
    /// Where the journal goes.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Where `echo.wasm` and `identity.wasm` lie.
    #[arg(long)]
    pub(crate) plugins: PathBuf,
}

/// Near the beginning of each good answer.
pub(crate) const PROOF: &str = "\"status\":\"succeeded\"";

struct Parts {
    sandboxes: Sandboxes,
    writer: Writer,
    runs: AtomicU64,
}

/// Serves until the process is killed.
pub(crate) async fn serve(options: BareLoop) -> anyhow::Result<()> {
    let parts = Parts {
        sandboxes: Sandboxes::new(&options.plugins)?,
        writer: Writer::start(&options.data)?,
        runs: AtomicU64::new(1),
    };
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new()
        .route("/tools/{steps}", post(tools))
        .route("/transforms/{steps}", post(transforms))
        .with_state(Arc::new(parts));
    Ok(axum::serve(listener, router).await?)
}

/// Steps in a chain, each committed before the next.
async fn tools(State(parts): State<Arc<Parts>>, Path(steps): Path<u64>) -> Result<String, StatusCode> {
    let run = parts.new_run();
    parts.writer.append(run, 1).await.map_err(lost)?;
    for step in 1..=steps {
        parts.sandboxes.call(Plugin::Echo).await.map_err(failed)?;
        parts.writer.append(run, step + 1).await.map_err(lost)?;
    }
    Ok(answer(run))
}

/// Steps in a chain that run ahead of the disk; only the end waits for it.
async fn transforms(State(parts): State<Arc<Parts>>, Path(steps): Path<u64>) -> Result<String, StatusCode> {
    let run = parts.new_run();
    let mut last = parts.writer.append(run, 1);
    for step in 1..=steps {
        parts.sandboxes.call(Plugin::Identity).await.map_err(failed)?;
        last = parts.writer.append(run, step + 1);
    }
    last.await.map_err(lost)?;
    Ok(answer(run))
}

impl Parts {
    /// Ids ascend in time, like the product's.
    fn new_run(&self) -> u128 {
        u128::from(self.runs.fetch_add(1, Ordering::Relaxed)) << 64 | 0x7000_8000_0000
    }
}

fn answer(run: u128) -> String {
    format!("{{\"id\":\"{run:032x}\",{PROOF},\"output\":{{\"value\":1,\"waitedMs\":0}}}}")
}

#[allow(clippy::print_stderr, reason = "whoever reads the log of this process wants to know why")]
fn failed(fault: anyhow::Error) -> StatusCode {
    eprintln!("{fault:#}");
    StatusCode::BAD_GATEWAY
}

fn lost(_: tokio::sync::oneshot::error::RecvError) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
