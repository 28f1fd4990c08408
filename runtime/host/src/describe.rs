//! What a component says of itself, from its words to ours. It runs as a transform, under limits, before anybody
//! relies on it; every fault in what it says is reported at once.

use crate::fault::ComponentFault;
use heddle_core::json::Json;
use heddle_core::limits::AskedLimits;
use heddle_core::outcome::{FailureKind, PluginKind};
use heddle_core::plugin::Metadata;

/// `describe`'s answer, not yet believed.
#[derive(Debug)]
pub(crate) struct Said {
    name: String,
    version: String,
    kind: PluginKind,
    title: String,
    description: String,
    input_schema: String,
    output_schema: String,
    provides: Vec<String>,
    limits: AskedLimits,
    documentation: String,
}

/// The three worlds have the same record under three names, as generated code does.
macro_rules! said_from {
    ($world:ident) => {
        impl From<crate::bindings::$world::exports::heddle::plugin::metadata::Metadata> for Said {
            fn from(said: crate::bindings::$world::exports::heddle::plugin::metadata::Metadata) -> Said {
                use crate::bindings::$world::exports::heddle::plugin::metadata::Kind;
                Said {
                    name: said.name,
                    version: said.version,
                    kind: match said.kind {
                        Kind::Transform => PluginKind::Transform,
                        Kind::Tool => PluginKind::Tool,
                        Kind::Agent => PluginKind::Agent,
                    },
                    title: said.title,
                    description: said.description,
                    input_schema: said.input_schema,
                    output_schema: said.output_schema,
                    provides: said.provides,
                    limits: AskedLimits {
                        fuel: said.limits.fuel,
                        memory_bytes: said.limits.memory_bytes,
                        output_bytes: None,
                        wall_ms: said.limits.wall_ms,
                    },
                    documentation: said.documentation,
                }
            }
        }
    };
}
said_from!(transform);
said_from!(tool);
said_from!(agent);

impl Said {
    /// Believes it, or says everything that is wrong with it. `exports` is the kind that its exports make it.
    pub(crate) fn check(self, exports: PluginKind) -> Result<Metadata, ComponentFault> {
        let mut faults = Vec::new();
        let version = self.version.parse().unwrap_or_else(|fault| {
            let version: String = self.version.chars().take(80).collect();
            faults.push(format!("version `{version}` is not a semantic version such as `1.4.0`: {fault}"));
            semver::Version::new(0, 0, 0)
        });
        let mut schema = |what: &str, text: &str| {
            Json::parse(text.as_bytes()).unwrap_or_else(|fault| {
                faults.push(format!("{what} is not JSON: {fault}"));
                Json::trusted("true")
            })
        };
        let (input_schema, output_schema) =
            (schema("input schema", &self.input_schema), schema("output schema", &self.output_schema));
        if self.kind != exports {
            faults.push(format!(
                "`describe` says that it is a {}, but it exports the interface of a {}; make them agree",
                self.kind.word(),
                exports.word()
            ));
        }
        let metadata = Metadata {
            name: self.name,
            version,
            kind: exports,
            title: self.title,
            description: self.description,
            input_schema,
            output_schema,
            provides: self.provides,
            limits: self.limits,
            documentation: self.documentation,
        };
        faults.extend(metadata.faults());
        if faults.is_empty() {
            return Ok(metadata);
        }
        Err(ComponentFault { kind: FailureKind::ComponentInvalid, faults })
    }
}
