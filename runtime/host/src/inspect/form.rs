//! What the bytes are at all. People upload the wrong file more often than a wrong component, so each wrong file gets
//! the sentence that helps.

use wasmparser::{Encoding, Parser, Payload};

/// Nothing when the bytes begin like a component, else what they are and what to do.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [] => Err("the upload is empty; send the bytes of a WebAssembly component".into()),
        [0x7f, b'E', b'L', b'F', ..] => Err(
            "this is machine code (a precompiled `.cwasm` or another executable), which is never accepted; send the \
             component that it was made from"
                .into(),
        ),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(core_module(bytes)),
        [0, b'a', b's', b'm', ..] => Err("a WebAssembly binary of an unknown version; send a component".into()),
        [b'P', b'K', 3, 4, ..] | [0x1f, 0x8b, ..] => {
            Err("this is an archive; send the component in it, not compressed".into())
        }
        _ if is_text_format(bytes) => {
            Err("this is the text format; assemble it first (`wasm-tools parse in.wat -o out.wasm`)".into())
        }
        _ => Err("these bytes are no WebAssembly; send the bytes of a component".into()),
    }
}

fn core_module(bytes: &[u8]) -> String {
    if imports_preview1(bytes) {
        return "this is a core module for WASI preview 1, not a component; build for `wasm32-wasip2`, or wrap it with \
                `wasm-tools component new --adapt`"
            .into();
    }
    "this is a core module, not a component; build with the SDK for `wasm32-wasip2`, or wrap it with `wasm-tools \
     component new`"
        .into()
}

fn imports_preview1(bytes: &[u8]) -> bool {
    for payload in Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(Payload::ImportSection(imports)) => {
                return imports
                    .into_imports()
                    .flatten()
                    .any(|import| import.module == "wasi_snapshot_preview1");
            }
            Ok(Payload::Version { encoding: Encoding::Module, .. } | Payload::TypeSection(_)) => {}
            _ => return false,
        }
    }
    false
}

fn is_text_format(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(fault) => std::str::from_utf8(&head[..fault.valid_up_to()]).unwrap_or_default(),
    };
    let code = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with(";;"));
    code.is_some_and(|line| line.starts_with("(component") || line.starts_with("(module"))
}
