//! `heddle dev` and `heddle serve`: a node, from its start to its orderly end.

use super::NodeArgs;
use super::exit::{Exit, Fault};
use super::out::note;
use super::paint::{Colour, Paint, harmless};
use super::plugin::components;
use super::run::in_use;
use crate::app::folder::{Folder, Loaded};
use crate::app::loader::Replacing;
use crate::app::{App, Keeping};
use crate::config::{Config, Origin};
use crate::http::server::{Ending, listen, serve as accept};
use crate::http::{Api, router};
use heddle_core::id::Tenant;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The folder whose components a node for development loads where nobody names one.
const DEV_PLUGINS: &str = "plugins";

pub(super) async fn dev(args: &NodeArgs, keeping: Option<Keeping>) -> Result<Exit, Fault> {
    let mut config = args.load()?;
    let said = |key: &str| config.shown.iter().any(|s| s.key == key && s.origin != Origin::Default);
    if !said("telemetry.level") {
        "warn".clone_into(&mut config.telemetry.level);
    }
    if !said("plugins") && Path::new(DEV_PLUGINS).is_dir() {
        config.plugins = Some(PathBuf::from(DEV_PLUGINS));
    }
    let node = Node::start(&config, keeping.unwrap_or(Keeping::Everything), args).await?;
    node.load_plugins(&config, Replacing::AsBuild, show_loaded).await;
    // Those of the folder, and those that were pushed before.
    let plugins = node.app.executor.plugins(&Tenant::default()).len();
    banner(&config, keeping, &node, plugins);
    node.until_told().await;
    Ok(Exit::Ok)
}

pub(super) async fn serve(args: &NodeArgs) -> Result<Exit, Fault> {
    let config = args.load()?;
    let node = Node::start(&config, Keeping::Everything, args).await?;
    tracing::info!(listen = %node.address, data = %config.data.display(), node = %config.node, "the node takes work");
    if !config.listen.ip().is_loopback() {
        tracing::warn!(
            "the API listens beyond this machine and asks nobody for a key; put something before it that does"
        );
    }
    node.load_plugins(&config, Replacing::Never, |_| ()).await;
    node.until_told().await;
    Ok(Exit::Ok)
}

/// Tells a person what became of a file.
fn show_loaded(loaded: &Loaded) {
    let paint = Paint::for_stderr();
    match &loaded.outcome {
        Ok(plugin) => note(&format!("  {} {plugin}", paint.with(Colour::Green, "✓"))),
        Err(reasons) => note(&format!(
            "  {} {}: {}",
            paint.with(Colour::Red, "✗"),
            loaded.file.display(),
            harmless(&reasons.join("; "))
        )),
    }
}

/// A node that serves.
struct Node {
    app: Arc<App>,
    address: SocketAddr,
    end: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

impl Node {
    async fn start(config: &Config, keeping: Keeping, args: &NodeArgs) -> Result<Node, Fault> {
        // What is only typed wrongly is said before a run is taken.
        if let Some(folder) = &config.plugins {
            components(folder)?;
        }
        crate::telemetry::log_to(&config.telemetry)?;
        // The socket comes first: a second node should fail before it touches the data.
        let (listener, address) =
            listen(config.listen).await.map_err(|error| Fault::failed(error.to_string()))?;
        let app = App::open(config, keeping).await.map_err(|error| in_use(&error, args))?;
        let app = Arc::new(app);
        let (end, ending) = watch::channel(false);
        let router = router(Api::new(app.clone(), ending.clone()));
        let limits = app.limits.clone();
        let mut servers = vec![tokio::spawn(accept(listener, router, limits.clone(), ending.clone()))];
        if let Some(address) = config.metrics_listen {
            let (listener, _) = listen(address).await.map_err(|error| Fault::failed(error.to_string()))?;
            servers.push(metrics_server(listener, app.clone(), ending));
        }
        Ok(Node { app, address, end, servers })
    }

    /// Loads the folder of the configuration, and goes on watching it. A component that fails does not keep the others
    /// from serving.
    async fn load_plugins(&self, config: &Config, replacing: Replacing, show: fn(&Loaded)) {
        let Some(path) = &config.plugins else { return };
        let most = config.limits.component_bytes;
        let mut folder = Folder::new(path, self.app.loader.clone(), replacing, most);
        let tell = move |loaded: &Loaded| {
            show(loaded);
            if let Err(reasons) = &loaded.outcome {
                let (file, why) = (loaded.file.display(), reasons.join("; "));
                tracing::error!(%file, why, "a plugin is not loaded: `heddle plugin inspect FILE`");
            }
        };
        let first = folder.look().await;
        first.iter().for_each(tell);
        if first.iter().all(|loaded| loaded.outcome.is_err()) {
            tracing::warn!(folder = %path.display(), "no plugin of this folder is loaded");
        }
        tokio::spawn(folder.watch(tell));
    }

    /// Serves until a signal comes; a second one ends at once.
    async fn until_told(self) {
        told().await;
        note("ending: nothing new begins, running attempts may finish; a second signal ends at once");
        tokio::select! {
            () = self.stop() => {}
            () = told() => note("ended at once; what was accepted goes on at the next start"),
        }
    }

    /// Answers `/readyz` with 503 while running attempts end, then closes the sockets.
    async fn stop(self) {
        self.app.close().await;
        let _ = self.end.send(true);
        for server in self.servers {
            let _ = server.await;
        }
    }
}

/// Until the process is asked to end.
async fn told() {
    let mut term = signal(SignalKind::terminate()).ok();
    let terminated = async {
        match &mut term {
            Some(term) => drop(term.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// `/metrics` at an address of its own, for networks in which the API may not be seen by whoever collects them.
fn metrics_server(listener: TcpListener, app: Arc<App>, ending: Ending) -> JoinHandle<()> {
    let limits = app.limits.clone();
    let render = move || {
        let text = app.metrics.render();
        async move { ([(hyper::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
    };
    let router = axum::Router::new().route("/metrics", axum::routing::get(render));
    tokio::spawn(accept(listener, router, limits, ending))
}

fn banner(config: &Config, keeping: Option<Keeping>, node: &Node, plugins: usize) {
    let paint = Paint::for_stderr();
    let url = format!("http://{}", node.address);
    let data = match keeping {
        Some(Keeping::Nothing) => "in memory; gone when this ends".to_owned(),
        _ => config.data.display().to_string(),
    };
    note(&format!(
        "{} {}",
        paint.with(Colour::Bold, "heddle dev"),
        paint.with(Colour::Yellow, "for development: whoever reaches this address may use it")
    ));
    for (name, value) in [
        ("page", format!("{url}/")),
        ("API", format!("{url}/v1/runs   described at {url}/openapi.json")),
        ("data", data),
        ("plugins", format!("{plugins} loaded")),
    ] {
        note(&format!("  {:<8} {value}", paint.with(Colour::Dim, name)));
    }
    note(&format!(
        "try:  curl -s {url}/v1/runs -H 'content-type: application/json' -H 'prefer: wait=10' -d \
         '{{\"definition\":{{\"document\":{{\"dsl\":\"1.0\",\"namespace\":\"try\",\"name\":\"hello\",\"version\":\"1.0.0\"}},\"steps\":{{\"greet\":{{\"set\":\"hello\"}}}}}}}}'"
    ));
}
