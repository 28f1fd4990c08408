//! `wasi:filesystem` and `wasi:sockets`: linked, because the libraries of C and Python import them, and absent.
//!
//! No descriptor and no socket can ever be made here, so the methods on them cannot be reached by a guest that keeps to
//! the rules, and one that does not is stopped at the handle. What makes them answers like a system without them.

use super::name;
use crate::guest::{Cx, Guest, enter};
use crate::refusal::Refusal;
use heddle_core::outcome::FailureKind;
use wasmtime::component::types::{ComponentFunc, Type};
use wasmtime::component::{Linker, LinkerInstance, ResourceType, Val};

/// A file, a folder, a socket: anything that does not exist here.
enum Absent {}

/// An interface, the resources that it names, and its functions; a resource's methods carry its name.
pub(super) struct Interface {
    pub(super) name: &'static str,
    pub(super) resources: &'static [(&'static str, &'static [&'static str])],
    pub(super) functions: &'static [&'static str],
}

const INTERFACES: &[Interface] = &[
    Interface {
        name: "filesystem/types",
        resources: &[
            (
                "descriptor",
                &[
                    "read-via-stream",
                    "write-via-stream",
                    "append-via-stream",
                    "advise",
                    "sync-data",
                    "get-flags",
                    "get-type",
                    "set-size",
                    "set-times",
                    "read",
                    "write",
                    "read-directory",
                    "sync",
                    "create-directory-at",
                    "stat",
                    "stat-at",
                    "set-times-at",
                    "link-at",
                    "open-at",
                    "readlink-at",
                    "remove-directory-at",
                    "rename-at",
                    "symlink-at",
                    "unlink-file-at",
                    "is-same-object",
                    "metadata-hash",
                    "metadata-hash-at",
                ],
            ),
            ("directory-entry-stream", &["read-directory-entry"]),
        ],
        functions: &["filesystem-error-code"],
    },
    Interface { name: "filesystem/preopens", resources: &[], functions: &["get-directories"] },
    Interface { name: "sockets/network", resources: &[("network", &[])], functions: &["network-error-code"] },
    Interface { name: "sockets/instance-network", resources: &[], functions: &["instance-network"] },
    Interface {
        name: "sockets/ip-name-lookup",
        resources: &[("resolve-address-stream", &["resolve-next-address", "subscribe"])],
        functions: &["resolve-addresses"],
    },
    Interface {
        name: "sockets/tcp",
        resources: &[(
            "tcp-socket",
            &[
                "start-bind",
                "finish-bind",
                "start-connect",
                "finish-connect",
                "start-listen",
                "finish-listen",
                "accept",
                "local-address",
                "remote-address",
                "is-listening",
                "address-family",
                "set-listen-backlog-size",
                "keep-alive-enabled",
                "set-keep-alive-enabled",
                "keep-alive-idle-time",
                "set-keep-alive-idle-time",
                "keep-alive-interval",
                "set-keep-alive-interval",
                "keep-alive-count",
                "set-keep-alive-count",
                "hop-limit",
                "set-hop-limit",
                "receive-buffer-size",
                "set-receive-buffer-size",
                "send-buffer-size",
                "set-send-buffer-size",
                "subscribe",
                "shutdown",
            ],
        )],
        functions: &[],
    },
    Interface { name: "sockets/tcp-create-socket", resources: &[], functions: &["create-tcp-socket"] },
    Interface {
        name: "sockets/udp",
        resources: &[
            (
                "udp-socket",
                &[
                    "start-bind",
                    "finish-bind",
                    "stream",
                    "local-address",
                    "remote-address",
                    "address-family",
                    "unicast-hop-limit",
                    "set-unicast-hop-limit",
                    "receive-buffer-size",
                    "set-receive-buffer-size",
                    "send-buffer-size",
                    "set-send-buffer-size",
                    "subscribe",
                ],
            ),
            ("incoming-datagram-stream", &["receive", "subscribe"]),
            ("outgoing-datagram-stream", &["check-send", "send", "subscribe"]),
        ],
        functions: &[],
    },
    Interface { name: "sockets/udp-create-socket", resources: &[], functions: &["create-udp-socket"] },
];

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for interface in INTERFACES {
        link_absent(&mut linker.instance(&name(interface.name))?, interface)?;
    }
    Ok(())
}

/// The resources and functions of an interface, where they are for nothing.
pub(super) fn link_absent(
    instance: &mut LinkerInstance<'_, Guest>,
    interface: &Interface,
) -> wasmtime::Result<()> {
    for (resource, methods) in interface.resources {
        instance.resource(resource, ResourceType::host::<Absent>(), |_, _| Ok(()))?;
        for method in *methods {
            instance.func_new(&format!("[method]{resource}.{method}"), absent)?;
        }
    }
    for function in interface.functions {
        instance.func_new(function, absent)?;
    }
    Ok(())
}

/// Answers as a system without files and network would, as far as the function's type has a word for it.
fn absent(mut cx: Cx<'_>, ty: ComponentFunc, _: &[Val], results: &mut [Val]) -> wasmtime::Result<()> {
    enter(&mut cx, 0)?;
    let answer = ty.results().next().and_then(|result| match result {
        Type::List(_) => Some(Val::List(Vec::new())),
        Type::Option(_) => Some(Val::Option(None)),
        Type::Result(result) => match result.err()? {
            Type::Enum(codes) => {
                let word = ["access-denied", "not-permitted"]
                    .into_iter()
                    .find(|word| codes.names().any(|n| n == *word))?;
                Some(Val::Result(Err(Some(Box::new(Val::Enum(word.to_owned()))))))
            }
            _ => None,
        },
        _ => None,
    });
    match (answer, results.first_mut()) {
        (Some(answer), Some(slot)) => {
            *slot = answer;
            Ok(())
        }
        _ => {
            let message = "plugins have no files and no network here; use the capabilities of `heddle:host`";
            Err(Refusal::new(FailureKind::CapabilityDenied, message).into())
        }
    }
}
