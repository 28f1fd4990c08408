//! A node in this process that has one plugin and calls it: for `heddle check` and `heddle test`.

use super::super::client::{Ask, Client};
use super::super::exit::Fault;
use super::super::follow::Show;
use super::super::node_args::NodeArgs;
use super::super::paint::harmless;
use super::super::plugin::{Pushed, push};
use super::tape::Tape;
use crate::app::{App, Keeping};
use crate::config::Origin;
use crate::http::{Api, router};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The input is handed over as a value: within the definition, `${ }` in it would be read as an expression.
const GIVEN: &str = "${ input.given }";

/// The node.
pub(super) struct Bench {
    app: Arc<App>,
    client: Client,
    end: watch::Sender<bool>,
    /// What stands between the plugin and the outside.
    pub(super) tape: Tape,
    /// The plugin, as `GET /v1/plugins` shows it.
    pub(super) plugin: Value,
}

impl Bench {
    /// Loads the plugin, under the configuration that a node would have here. Who asks nobody needs no secrets.
    pub(super) async fn open(file: &Path, node: &NodeArgs, asks: bool) -> Result<Bench, Fault> {
        if node.plugins.is_some() {
            return Err(Fault::usage("`--plugins` has no use here: the plugin is called by itself")
                .with_hint(
                    "leave it out, or call it in a workflow: `heddle run workflow.yaml --plugins FOLDER`",
                ));
        }
        let mut config = node.load()?;
        if !asks {
            config.secrets.clear();
        }
        if config.shown.iter().any(|s| s.key == "telemetry.level" && s.origin == Origin::Default) {
            "error".clone_into(&mut config.telemetry.level);
        }
        crate::telemetry::log_to(&config.telemetry)?;
        let tape = Tape::default();
        let app = App::open_with(&config, Keeping::Nothing, |invoker| tape.around(invoker)).await;
        let app = Arc::new(app.map_err(|error| Fault::failed(format!("{error:#}")))?);
        let (end, ending) = watch::channel(false);
        let client = Client::Here(router(Api::new(app.clone(), ending)));
        let mut bench = Bench { app, client, end, tape, plugin: Value::Null };
        match bench.load(file).await {
            Ok(plugin) => {
                bench.plugin = plugin;
                Ok(bench)
            }
            Err(fault) => {
                bench.close().await;
                Err(fault)
            }
        }
    }

    async fn load(&self, file: &Path) -> Result<Value, Fault> {
        let mut pushed = push(&self.client, &[file.to_owned()], Show::Nothing).await?;
        match pushed.pop() {
            Some((_, Pushed::Ready(_))) => {
                let page = self.client.json(Ask::get("/v1/plugins")).await?;
                Ok(page["items"][0].clone())
            }
            Some((_, Pushed::Failed(reasons))) => {
                let reasons = harmless(&reasons.join("; "));
                Err(Fault::failed(format!("`{}` is not loaded: {reasons}", file.display())))
            }
            None => Err(Fault::failed("nothing was loaded")),
        }
    }

    /// Calls the plugin, and gives the run as `GET /v1/runs/{id}` shows it.
    pub(super) async fn call(&self, input: &Value) -> Result<Value, Fault> {
        let text = |key: &str| self.plugin[key].as_str().unwrap_or_default().to_owned();
        let (kind, name) = (text("kind"), text("name"));
        let step = match kind.as_str() {
            "agent" => json!({ "agent": { "use": name, "goal": GIVEN }, "cache": "off" }),
            _ => json!({ "call": format!("{kind}:{name}"), "with": GIVEN, "cache": "off" }),
        };
        let definition = json!({
            "document": { "dsl": "1.0", "namespace": "test", "name": "call", "version": "1.0.0" },
            "steps": { "call": step },
            "output": { "as": "${ steps.call.output }" },
        });
        let body = json!({ "definition": definition.to_string(), "input": { "given": input } }).to_string();
        let submitted = self.client.json(Ask::post("/v1/runs", "application/json", body)).await?;
        let path = format!("/v1/runs/{}", submitted["id"].as_str().unwrap_or_default());
        loop {
            let run = self.client.json(Ask::get(&path)).await?;
            if run["finishedAt"].is_string() {
                return Ok((*run).clone());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends it.
    pub(super) async fn close(self) {
        let _ = self.end.send(true);
        self.app.close().await;
    }
}
