//! `wasi:http`, outgoing: for components that are built with ordinary HTTP libraries. A request goes the way of
//! `heddle:host/http`, with the same grants, counts and bounds; the answer is whole when the guest gets it, so its body
//! is read from memory.
//!
//! ```text
//!  fields ─► outgoing-request ─► handle ─► future-incoming-response ─► incoming-response ─► incoming-body ─► input-stream
//!                 └► outgoing-body ─► output-stream        ▲ sent when the body is finished
//! ```

mod fields;
mod kinds;
mod request;
mod response;

pub(super) use request::Exchange;

use super::absent::{Interface, link_absent};
use super::name;
use crate::guest::Guest;
use wasmtime::component::Linker;

/// What is only there for components that answer requests.
const INCOMING: Interface = Interface {
    name: "http/types",
    resources: &[
        ("incoming-request", &["method", "path-with-query", "scheme", "authority", "headers", "consume"]),
        ("outgoing-response", &["status-code", "set-status-code", "headers", "body"]),
        ("response-outparam", &["send-informational"]),
    ],
    functions: &["[constructor]outgoing-response", "[static]response-outparam.set"],
};

pub(in crate::capability) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut types = linker.instance(&name("http/types"))?;
    fields::link(&mut types)?;
    request::link(&mut types)?;
    response::link(&mut types)?;
    link_absent(&mut types, &INCOMING)?;
    request::link_handler(&mut linker.instance(&name("http/outgoing-handler"))?)
}
