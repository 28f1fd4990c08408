//! A component in memory, ready to be called: machine code linked for its kind, and what it said of itself.

use crate::begin::Quickness;
use crate::bindings::{Agent, AgentPre, Tool, ToolPre, Transform, TransformPre};
use crate::capability::Linkers;
use crate::describe::Said;
use crate::fault::ComponentFault;
use crate::guest::Guest;
use crate::purity::{CONTRACT_VERSION, KINDS};
use crate::refusal::Refusal;
use heddle_core::outcome::{FailureKind, PluginKind};
use heddle_core::plugin::Metadata;
use heddle_core::schema::Schema;
use wasmtime::Store;
use wasmtime::component::Component;

/// A component, linked once; each attempt makes a fresh instance of it.
pub(crate) enum Linked {
    Transform(TransformPre<Guest>),
    Tool(ToolPre<Guest>),
    Agent(AgentPre<Guest>),
}

/// A component that was described: everything that a call needs.
pub(crate) struct Ready {
    pub(crate) linked: Linked,
    pub(crate) metadata: Metadata,
    pub(crate) input_schema: Schema,
    pub(crate) output_schema: Schema,
    /// Bytes of machine code, for the bound on what is kept in memory.
    pub(crate) code_bytes: usize,
    pub(crate) quickness: Quickness,
}

impl Linked {
    /// Links a component for the kind that it exports. The types of its imports and exports are checked here.
    pub(crate) fn new(linkers: &Linkers, component: &Component) -> Result<Linked, ComponentFault> {
        let exports = |interface: &str| {
            component
                .get_export_index(None, format!("heddle:plugin/{interface}@{CONTRACT_VERSION}"))
                .is_some()
        };
        let kind = KINDS.iter().find(|(_, interface)| exports(interface)).map(|(kind, _)| *kind);
        let kind =
            kind.ok_or_else(|| ComponentFault::invalid("exports none of the interfaces of a plugin"))?;
        let link = || {
            let pre = linkers.of(kind).instantiate_pre(component)?;
            Ok::<_, wasmtime::Error>(match kind {
                PluginKind::Transform => Linked::Transform(TransformPre::new(pre)?),
                PluginKind::Tool => Linked::Tool(ToolPre::new(pre)?),
                PluginKind::Agent => Linked::Agent(AgentPre::new(pre)?),
            })
        };
        link().map_err(|fault| {
            ComponentFault::invalid(format!(
                "its interfaces are not those of this host: {fault:#}; build against `heddle:plugin@{CONTRACT_VERSION}`"
            ))
        })
    }

    pub(crate) fn kind(&self) -> PluginKind {
        match self {
            Linked::Transform(_) => PluginKind::Transform,
            Linked::Tool(_) => PluginKind::Tool,
            Linked::Agent(_) => PluginKind::Agent,
        }
    }

    /// Asks what it says of itself. The first instance is also where the types of its exports are checked.
    pub(crate) async fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<Said> {
        match self {
            Linked::Transform(pre) => {
                let instance = pre.instance_pre().instantiate_async(&mut *store).await?;
                let plugin = Transform::new(&mut *store, &instance).map_err(other_types)?;
                Ok(plugin.heddle_plugin_metadata().call_describe(store).await?.into())
            }
            Linked::Tool(pre) => {
                let instance = pre.instance_pre().instantiate_async(&mut *store).await?;
                let plugin = Tool::new(&mut *store, &instance).map_err(other_types)?;
                Ok(plugin.heddle_plugin_metadata().call_describe(store).await?.into())
            }
            Linked::Agent(pre) => {
                let instance = pre.instance_pre().instantiate_async(&mut *store).await?;
                let plugin = Agent::new(&mut *store, &instance).map_err(other_types)?;
                Ok(plugin.heddle_plugin_metadata().call_describe(store).await?.into())
            }
        }
    }
}

/// An export with the right name and another type.
fn other_types(fault: wasmtime::Error) -> Refusal {
    let message = format!("an export is not what `heddle:plugin@{CONTRACT_VERSION}` says: {fault:#}");
    Refusal::new(FailureKind::ComponentInvalid, message)
}
