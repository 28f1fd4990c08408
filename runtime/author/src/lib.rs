//! What a plugin author needs before a node sees anything: a project that builds, and a component out of it. Knows the
//! contract (`wit/`), the SDK of each language (`sdk/`) and the languages' own toolchains, and nothing of running.
//!
//! ```text
//! new:    kind, language ──► files of a project (template.rs)
//! build:  plugin.toml ──► what it says of itself (manifest.rs), its world (world.rs)
//!         + source   ──► glue (build/glue files) ──► the language's toolchain (toolchain.rs) ──► component
//! ```
//!
//! A new language is one file in `build/`, one folder in `sdk/`, and one variant of [`Language`].

mod build;
mod language;
mod manifest;
mod template;
mod toolchain;
mod world;

pub use build::{Built, build};
pub use language::{Kind, Language};
pub use manifest::{MANIFEST, Manifest};
pub use template::{Made, make};
pub use toolchain::AuthorFault;
