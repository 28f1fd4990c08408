//! The server as its users meet it: over real sockets, and through what it prints.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

#[path = "server/program.rs"]
mod program;
#[path = "server/support.rs"]
mod support;

#[path = "server/asks.rs"]
mod asks;
#[path = "server/cli.rs"]
mod cli;
#[path = "server/config.rs"]
mod config;
#[path = "server/doctor.rs"]
mod doctor;
#[path = "server/events.rs"]
mod events;
#[path = "server/generated.rs"]
mod generated;
#[path = "server/layout.rs"]
mod layout;
#[path = "server/limits.rs"]
mod limits;
#[path = "server/pages.rs"]
mod pages;
#[path = "server/refusals.rs"]
mod refusals;
#[path = "server/routes.rs"]
mod routes;
#[path = "server/runs.rs"]
mod runs;
#[path = "server/shown.rs"]
mod shown;
