//! The bindings of a component, and the layer between them and the SDK's own types.
//!
//! There is one world of imports and one for each export, because a plugin is one of three kinds: the attribute asks
//! for `metadata` and for the one interface of its kind, and the linker drops every import that is not called. All of
//! it is generated from `/wit`, so nothing here can drift from the contract.

#![allow(unsafe_code, reason = "generated bindings cross the boundary of the component")]
#![allow(
    unreachable_pub,
    missing_debug_implementations,
    reason = "generated code, hidden from plugin authors"
)]

use crate::{Detail, Failure, Kind, Outcome, Plugin};

macro_rules! export {
    ($module:ident, $world:literal, $export:literal, $path:literal) => {
        #[doc(hidden)]
        pub mod $module {
            wit_bindgen::generate!({
                inline: $world,
                path: ["../../wit/host-0.1.0", "../../wit/plugin-0.1.0"],
                with: { "heddle:host/types@0.1.0": crate::__component::imports::heddle::host::types },
                pub_export_macro: true,
                export_macro_name: $export,
                default_bindings_module: $path,
                runtime_path: "::heddle_sdk::__component::wit_bindgen::rt",
            });
        }
    };
}

pub mod imports {
    wit_bindgen::generate!({
        inline: "package heddle:guest;
            world imports {
                import heddle:host/types@0.1.0;
                import heddle:host/log@0.1.0;
                import heddle:host/clock@0.1.0;
                import heddle:host/random@0.1.0;
                import heddle:host/context@0.1.0;
                import heddle:host/progress@0.1.0;
                import heddle:host/http@0.1.0;
                import heddle:host/secret@0.1.0;
                import heddle:host/config@0.1.0;
                import heddle:host/kv@0.1.0;
                import heddle:host/artifacts@0.1.0;
                import heddle:host/model@0.1.0;
                import heddle:host/tools@0.1.0;
            }",
        path: ["../../wit/host-0.1.0", "../../wit/plugin-0.1.0"],
        generate_all,
        generate_unused_types: true,
    });
}

export!(
    metadata_export,
    "package heddle:guest-metadata; world guest-metadata { export heddle:plugin/metadata@0.1.0; }",
    "export_metadata",
    "::heddle_sdk::__component::metadata_export"
);
export!(
    transformer_export,
    "package heddle:guest-transform; world guest-transform { export heddle:plugin/transformer@0.1.0; }",
    "export_transformer",
    "::heddle_sdk::__component::transformer_export"
);
export!(
    callable_export,
    "package heddle:guest-tool; world guest-tool { export heddle:plugin/callable@0.1.0; }",
    "export_callable",
    "::heddle_sdk::__component::callable_export"
);
export!(
    runnable_export,
    "package heddle:guest-agent; world guest-agent { export heddle:plugin/runnable@0.1.0; }",
    "export_runnable",
    "::heddle_sdk::__component::runnable_export"
);

pub use callable_export::{export_callable, exports::heddle::plugin::callable};
pub use imports::heddle::host::types;
pub use metadata_export::{export_metadata, exports::heddle::plugin::metadata};
pub use runnable_export::{export_runnable, exports::heddle::plugin::runnable};
pub use transformer_export::{export_transformer, exports::heddle::plugin::transformer};
pub use wit_bindgen;

/// `metadata.describe` for a plugin.
pub fn describe<P: Plugin>() -> metadata::Metadata {
    let said = P::describe();
    metadata::Metadata {
        name: said.name,
        version: said.version,
        kind: match said.kind {
            Kind::Transform => metadata::Kind::Transform,
            Kind::Tool => metadata::Kind::Tool,
            Kind::Agent => metadata::Kind::Agent,
        },
        title: said.title,
        description: said.description,
        input_schema: said.input_schema.to_string(),
        output_schema: said.output_schema.to_string(),
        provides: said.provides,
        limits: metadata::Limits {
            fuel: said.limits.fuel,
            memory_bytes: said.limits.memory_bytes,
            wall_ms: said.limits.wall_ms,
        },
        documentation: said.documentation,
    }
}

/// The one function of a transform or a tool.
pub fn answer<P: Plugin>(input: &str) -> Result<String, types::Failure> {
    match P::run(input, None) {
        Ok(Outcome::Done(output) | Outcome::Continue(output)) => Ok(output),
        Err(failure) => Err(write_failure(failure)),
    }
}

/// The one function of an agent.
pub fn outcome<P: Plugin>(goal: &str, state: Option<&str>) -> Result<runnable::Outcome, types::Failure> {
    match P::run(goal, state) {
        Ok(Outcome::Done(output)) => Ok(runnable::Outcome::Done(output)),
        Ok(Outcome::Continue(state)) => Ok(runnable::Outcome::Continue(state)),
        Err(failure) => Err(write_failure(failure)),
    }
}

/// A failure on its way to the host.
fn write_failure(failure: Failure) -> types::Failure {
    let write = |detail: Detail| types::Detail {
        code: detail.code,
        message: detail.message,
        data: detail.data.map(|data| data.to_string()),
    };
    match failure {
        Failure::Retryable(detail) => types::Failure::Retryable(write(detail)),
        Failure::Permanent(detail) => types::Failure::Permanent(write(detail)),
        Failure::RateLimited { retry_after_ms, detail } => {
            types::Failure::RateLimited(types::Later { retry_after_ms, detail: write(detail) })
        }
    }
}

/// A failure of a call, on its way to the plugin.
pub(crate) fn read_failure(failure: types::Failure) -> Failure {
    let read = |detail: types::Detail| Detail {
        code: detail.code,
        message: detail.message,
        data: detail.data.and_then(|data| serde_json::from_str(&data).ok()),
    };
    match failure {
        types::Failure::Retryable(detail) => Failure::Retryable(read(detail)),
        types::Failure::Permanent(detail) => Failure::Permanent(read(detail)),
        types::Failure::RateLimited(later) => {
            Failure::RateLimited { retry_after_ms: later.retry_after_ms, detail: read(later.detail) }
        }
    }
}
