//! The pure domain of Heddle: no async, no clock, no I/O, no logging. Everything that is decided is decided here.
//!
//! `workflow` is what an author wrote, `plan` its checked and frozen form, `run` one execution as a state machine.
//! `limits` holds every maximum, `outcome` every way in which an attempt can end.

pub mod call_log;
pub mod connector;
pub mod diff;
pub mod document;
pub mod egress;
pub mod expr;
pub mod fingerprint;
pub mod gate;
pub mod grant;
pub mod health;
pub mod host_call;
pub mod id;
pub mod journal;
pub mod json;
pub mod limits;
pub mod model;
pub mod oci;
pub mod outcome;
pub mod outside;
pub mod plan;
pub mod planted;
pub mod plugin;
pub mod release;
pub mod route;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod share;
pub mod template;
pub mod time;
pub mod trigger;
pub mod value;
pub mod version;
pub mod webhook;
