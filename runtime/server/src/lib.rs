//! The server: configuration, wiring, HTTP and the command line. Rules of runs are nowhere here; they are in the core,
//! behind the executor.
//!
//! `config` says what the operator chose, `app` puts the parts together, `http` lets programs in, `mcp`
//! and `a2a` those that others wrote (`door` is what these share), and `cli` people.
//! `egress` is the way out, `registry` fetches components by it, `signature` says who made what comes in, and `telemetry` what operators see.

mod a2a;
pub mod app;
pub mod cli;
pub mod config;
mod door;
mod egress;
pub mod http;
mod mcp;
pub mod registry;
mod shell;
pub mod signature;
pub mod telemetry;
