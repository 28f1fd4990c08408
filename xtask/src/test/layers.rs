//! The layers, the quick ones first: what is wrong with the tree shows before anything large is compiled.

use super::{Count, Suite};
use crate::arguments::Arguments;
use crate::build::Profile;
use crate::workspace::run;
use crate::{build, demo, deny, plugins, tidy, toolchain};
use anyhow::Result;

/// Whether a layer needs the programs and tests of the workspace.
#[derive(Clone, Copy)]
pub(super) enum Needs {
    Nothing,
    Build,
}

/// One layer.
pub(super) struct Layer {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) needs: Needs,
    pub(super) run: fn(&Suite<'_>) -> Result<Count>,
}

pub(super) const LAYERS: &[Layer] = &[
    Layer {
        name: "tidy",
        about: "who may depend on whom, sizes, names, pages",
        needs: Needs::Nothing,
        run: tidy,
    },
    Layer {
        name: "deny",
        about: "licences, sources and versions of what comes in, by deny.toml",
        needs: Needs::Nothing,
        run: |s| deny::check(s.workspace).map(Count::passed),
    },
    Layer { name: "format", about: "rustfmt changes nothing", needs: Needs::Nothing, run: format },
    Layer {
        name: "plugins",
        about: "the SDK and the plugins, natively",
        needs: Needs::Nothing,
        run: |s| s.apart("plugins", &[]),
    },
    Layer {
        name: "sdk-docs",
        about: "the examples in the SDK's documentation",
        needs: Needs::Nothing,
        run: sdk_docs,
    },
    Layer { name: "components", about: "the plugins as components", needs: Needs::Nothing, run: components },
    Layer {
        name: "portable",
        about: "the core compiles for WebAssembly",
        needs: Needs::Nothing,
        run: portable,
    },
    Layer { name: "clippy", about: "no warnings, in both workspaces", needs: Needs::Nothing, run: clippy },
    Layer {
        name: "build",
        about: "the programs and all tests; the first time this compiles wasmtime, which takes minutes",
        needs: Needs::Nothing,
        run: build_all,
    },
    Layer { name: "xtask", about: "these commands", needs: Needs::Build, run: |s| s.package("xtask", "") },
    Layer {
        name: "core",
        about: "plans, expressions, the state machine",
        needs: Needs::Build,
        run: |s| s.package("heddle-core", " & not binary(simulation)"),
    },
    Layer {
        name: "simulation",
        about: "random runs with crashes, and planted faults that must be found",
        needs: Needs::Build,
        run: simulation,
    },
    Layer {
        name: "store",
        about: "one suite for every store",
        needs: Needs::Build,
        run: |s| s.package("heddle-store", ""),
    },
    Layer {
        name: "executor",
        about: "drivers, cache, recovery",
        needs: Needs::Build,
        run: |s| s.package("heddle-executor", ""),
    },
    Layer {
        name: "host",
        about: "hostile components in real sandboxes",
        needs: Needs::Build,
        run: |s| s.package("heddle-host", ""),
    },
    Layer {
        name: "server",
        about: "configuration, API, command line",
        needs: Needs::Build,
        run: |s| s.package("heddle-server", ""),
    },
    Layer {
        name: "bench",
        about: "that what is compared can be compared: the bare side runs what is measured",
        needs: Needs::Build,
        run: bench,
    },
    Layer { name: "e2e", about: "the real binary over HTTP", needs: Needs::Build, run: end_to_end },
    Layer {
        name: "demo",
        about: "`cargo xtask demo`, from its own build of the server to the third report",
        needs: Needs::Nothing,
        run: |s| demo::run(s.workspace, Arguments::new(std::iter::empty())).map(|()| Count::passed(1)),
    },
];

fn tidy(suite: &Suite<'_>) -> Result<Count> {
    tidy::check(suite.workspace).map(Count::passed)
}

fn format(suite: &Suite<'_>) -> Result<Count> {
    for folder in ["", "plugins"] {
        run(suite.workspace.cargo(folder).args(["fmt", "--all", "--check"]))?;
    }
    Ok(Count::passed(2))
}

fn sdk_docs(suite: &Suite<'_>) -> Result<Count> {
    suite.tests(suite.workspace.cargo("plugins").args(["test", "--doc", "--package", "heddle-sdk"]))
}

fn components(suite: &Suite<'_>) -> Result<Count> {
    let built = plugins::build(suite.workspace)?;
    Ok(Count::passed(u32::try_from(built.len())?))
}

fn bench(suite: &Suite<'_>) -> Result<Count> {
    plugins::build(suite.workspace)?;
    suite.package("heddle-bench", "")
}

fn portable(suite: &Suite<'_>) -> Result<Count> {
    toolchain::wasm_target(suite.workspace)?;
    run(suite.workspace.cargo("").args(["check", "--package", "heddle-core", "--target", toolchain::WASM]))?;
    Ok(Count::passed(1))
}

fn clippy(suite: &Suite<'_>) -> Result<Count> {
    for folder in ["", "plugins"] {
        run(suite.workspace.cargo(folder).args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))?;
    }
    Ok(Count::passed(2))
}

fn build_all(suite: &Suite<'_>) -> Result<Count> {
    // Tests of a package come with its programs, so this builds `heddle` as well.
    run(suite.workspace.cargo("").args(["test", "--workspace", "--no-run"]))?;
    if !suite.workspace.target.join("debug/heddle").exists() {
        build::programs(suite.workspace, Profile::Dev, &["heddle"])?;
    }
    Ok(Count::passed(1))
}

fn simulation(suite: &Suite<'_>) -> Result<Count> {
    // The faults are features of the core. Selecting the whole workspace keeps its dependencies as they are, so that
    // only the core is compiled again.
    suite.apart("", &["--features", "heddle-core/planted-bugs", "--test", "simulation"])
}

fn end_to_end(suite: &Suite<'_>) -> Result<Count> {
    plugins::build(suite.workspace)?;
    suite.package("heddle-tests", "")
}
