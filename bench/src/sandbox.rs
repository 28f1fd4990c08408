//! A bare sandbox: wasmtime and nothing of ours around it. What a call costs here is what a call must cost.
//!
//! The engine is the host's own, from the same limits: pooling allocator, fuel, epoch, async. A comparison with less
//! would flatter nobody but the bare side.

use anyhow::{Context as _, anyhow};
use heddle_core::limits::Limits;
use std::path::Path;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};

#[allow(unreachable_pub, missing_debug_implementations, reason = "generated code")]
mod tool {
    wasmtime::component::bindgen!({
        path: ["../wit/host-0.1.0", "../wit/plugin-0.1.0"],
        world: "heddle:plugin/tool",
        exports: { default: async },
    });
}

#[allow(unreachable_pub, missing_debug_implementations, reason = "generated code")]
mod transform {
    wasmtime::component::bindgen!({
        path: ["../wit/host-0.1.0", "../wit/plugin-0.1.0"],
        world: "heddle:plugin/transform",
        exports: { default: async },
    });
}

/// What `echo` gets in every measured call, here and in the product.
pub(crate) const ECHO_INPUT: &str = r#"{"value":1}"#;
/// What `identity` gets.
pub(crate) const IDENTITY_INPUT: &str = r#"{"n":1}"#;

/// The two plugins, linked, and the `Engine` that runs them.
pub(crate) struct Sandboxes {
    engine: Engine,
    fuel: u64,
    echo: tool::ToolPre<Began>,
    identity: transform::TransformPre<Began>,
    echo_input: String,
    identity_input: String,
}

/// What a bare sandbox knows: when it began, for its clock.
struct Began(Instant);

/// Which of the two to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    /// `tool:echo`.
    Echo,
    /// `transform:identity`.
    Identity,
}

impl std::fmt::Debug for Sandboxes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sandboxes")
    }
}

impl Sandboxes {
    /// Compiles and links both, from the folder of built plugins.
    pub(crate) fn new(plugins: &Path) -> anyhow::Result<Sandboxes> {
        let limits = Limits::default();
        let engine = heddle_host::bare_wasmtime(&limits)?;
        let load = |name: &str| {
            let path = plugins.join(name);
            let bytes = std::fs::read(&path).with_context(|| {
                format!("`{}` is not built; `cargo xtask bench` builds it", path.display())
            })?;
            Component::new(&engine, bytes).map_err(wasmtime_fault)
        };
        let (echo, identity) = (load("echo.wasm")?, load("identity.wasm")?);
        let echo = linker(&engine, &echo)?
            .instantiate_pre(&echo)
            .and_then(tool::ToolPre::new)
            .map_err(wasmtime_fault)?;
        let identity = linker(&engine, &identity)?.instantiate_pre(&identity);
        let identity = identity.and_then(transform::TransformPre::new).map_err(wasmtime_fault)?;
        tick(&engine, Duration::from_millis(limits.epoch_tick_ms))?;
        let (echo_input, identity_input) = (ECHO_INPUT.to_owned(), IDENTITY_INPUT.to_owned());
        Ok(Sandboxes { engine, fuel: limits.fuel, echo, identity, echo_input, identity_input })
    }

    /// A fresh sandbox, one call, and nothing left of it. Gives what the guest answered.
    pub(crate) async fn call(&self, plugin: Plugin) -> anyhow::Result<String> {
        let mut store = Store::new(&self.engine, Began(Instant::now()));
        store.set_fuel(self.fuel).map_err(wasmtime_fault)?;
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let said = match plugin {
            Plugin::Echo => {
                let guest = self.echo.instantiate_async(&mut store).await.map_err(wasmtime_fault)?;
                let said = guest.heddle_plugin_callable().call_call(&mut store, &self.echo_input).await;
                said.map_err(wasmtime_fault)?.map_err(|failure| format!("{failure:?}"))
            }
            Plugin::Identity => {
                let guest = self.identity.instantiate_async(&mut store).await.map_err(wasmtime_fault)?;
                let said =
                    guest.heddle_plugin_transformer().call_apply(&mut store, &self.identity_input).await;
                said.map_err(wasmtime_fault)?.map_err(|failure| format!("{failure:?}"))
            }
        };
        said.map_err(|failure| anyhow!("the guest failed: {failure}"))
    }
}

fn wasmtime_fault(fault: wasmtime::Error) -> anyhow::Error {
    anyhow!("{fault:#}")
}

impl tool::heddle::host::context::Host for Began {
    fn current(&mut self) -> tool::heddle::host::context::Context {
        tool::heddle::host::context::Context {
            tenant: "default".into(),
            run: "00000000-0000-7000-8000-000000000000".into(),
            step: "s1".into(),
            item: None,
            attempt: 1,
            idempotency_key: "0".repeat(64),
            deadline_ms: 0,
            fuel_left: 0,
            traceparent: None,
        }
    }
}

/// A clock and a context, because `echo` reads them, and nothing else: whatever is called beyond is a trap.
fn linker(engine: &Engine, component: &Component) -> anyhow::Result<Linker<Began>> {
    let link = || {
        let mut linker = Linker::new(engine);
        tool::heddle::host::context::add_to_linker::<_, wasmtime::component::HasSelf<_>>(
            &mut linker,
            |began| began,
        )?;
        let mut clock = linker.instance("heddle:host/clock@0.1.0")?;
        clock.func_wrap("monotonic-ns", |store: wasmtime::StoreContextMut<'_, Began>, ()| {
            Ok((store.data().0.elapsed().as_nanos() as u64,))
        })?;
        linker.define_unknown_imports_as_traps(component)?;
        wasmtime::Result::Ok(linker)
    };
    link().map_err(wasmtime_fault)
}

/// Advances the epoch until the `Engine` is gone.
fn tick(engine: &Engine, every: Duration) -> anyhow::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("bare-epoch".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(every);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bare_side_knows_all_that_the_measured_plugins_call() {
        let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/target/wasm32-wasip2/release");
        let sandboxes = Sandboxes::new(&plugins).unwrap();
        let echo = sandboxes.call(Plugin::Echo).await.unwrap();
        assert!(echo.starts_with(r#"{"value":1,"#), "{echo}");
        assert_eq!(sandboxes.call(Plugin::Identity).await.unwrap(), IDENTITY_INPUT);
    }
}
