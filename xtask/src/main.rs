//! The project's own commands: `cargo xtask demo`, `cargo xtask test`, and what the two are made of.
//!
//! Everybody who tries the project compiles this crate before anything else, so it stays light: no async runtime, no
//! argument parser, nothing of the product. One file per command; [`workspace`] knows where things are and how cargo is
//! called, [`toolchain`] installs what is missing.

#![allow(clippy::print_stdout, reason = "these commands are there to be read in a terminal")]

mod arguments;
mod bench;
mod build;
mod demo;
mod deny;
mod openapi;
mod plugins;
mod test;
mod tidy;
mod toolchain;
mod wit_lock;
mod workspace;

use anyhow::Result;
use arguments::Arguments;
use std::process::ExitCode;
use workspace::Workspace;

/// One command.
struct Verb {
    name: &'static str,
    takes: &'static str,
    about: &'static str,
    run: fn(&Workspace, Arguments) -> Result<()>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "demo",
        takes: "[Cargo.lock] [--keep]",
        about: "audit a Cargo.lock with the real server, three times",
        run: demo::run,
    },
    Verb {
        name: "test",
        takes: "[--layer NAME]... [--list]",
        about: "every layer of tests, or those named",
        run: test::run,
    },
    Verb { name: "tidy", takes: "", about: "who may depend on whom, sizes, names, pages", run: tidy::run },
    Verb {
        name: "plugins",
        takes: "",
        about: "build the bundled plugins and print their sizes",
        run: plugins::run,
    },
    Verb {
        name: "bench",
        takes: "[ARGUMENT]...",
        about: "measure; the arguments are the benchmark's own",
        run: bench::run,
    },
    Verb {
        name: "openapi",
        takes: "",
        about: "write the generated documents that tests compare",
        run: openapi::run,
    },
    Verb {
        name: "wit-lock",
        takes: "[--check]",
        about: "write or check the digests of the contract",
        run: wit_lock::run,
    },
];

fn usage() -> String {
    let width = VERBS.iter().map(|v| v.name.len() + 1 + v.takes.len()).max().unwrap_or(0);
    let lines = VERBS
        .iter()
        .map(|v| format!("  cargo xtask {:width$}  {}", format!("{} {}", v.name, v.takes), v.about));
    format!("usage:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn main() -> ExitCode {
    let mut given = std::env::args().skip(1);
    let asked = given.next().unwrap_or_default();
    let Some(verb) = VERBS.iter().find(|v| v.name == asked) else {
        match &*asked {
            "" | "help" | "--help" | "-h" => println!("{}", usage()),
            _ => eprintln!("error: there is no command `{asked}`\n\n{}", usage()),
        }
        return ExitCode::from(if asked.is_empty() || asked.contains("help") { 0 } else { 2 });
    };
    match Workspace::open().and_then(|workspace| (verb.run)(&workspace, Arguments::new(given))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<test::Failed>() {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(if error.is::<arguments::Misuse>() { 2 } else { 1 })
        }
    }
}
