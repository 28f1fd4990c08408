//! A component in memory, ready to be called: machine code linked for its kind, and what it said of itself.

use crate::bindings::{AgentPre, ToolPre, TransformPre};
use crate::capability::Linkers;
use crate::fault::ComponentFault;
use crate::guest::Guest;
use crate::purity::{CONTRACT_VERSION, KINDS};
use heddle_core::outcome::PluginKind;
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
}

impl Linked {
    /// Links a component for the kind that it exports. The types of its imports and exports are checked here.
    pub(crate) fn new(linkers: &Linkers, component: &Component) -> Result<Linked, ComponentFault> {
        let exports = |interface: &str| {
            component.get_export_index(None, &format!("heddle:plugin/{interface}@{CONTRACT_VERSION}")).is_some()
        };
        let kind = KINDS.iter().find(|(_, interface)| exports(interface)).map(|(kind, _)| *kind);
        let kind = kind.ok_or_else(|| ComponentFault::invalid("exports none of the interfaces of a plugin"))?;
        let link = || {
            let pre = linkers.of(kind).instantiate_pre(component)?;
            Ok::<_, wasmtime::Error>(match kind {
                PluginKind::Transform => Linked::Transform(TransformPre::new(pre)?),
                PluginKind::Tool => Linked::Tool(ToolPre::new(pre)?),
                PluginKind::Agent => Linked::Agent(AgentPre::new(pre)?),
            })
        };
        link().map_err(|fault| {
            ComponentFault::invalid(format!("its interfaces are not those of this host: {fault:#}; build against `heddle:plugin@{CONTRACT_VERSION}`"))
        })
    }

    pub(crate) fn kind(&self) -> PluginKind {
        match self {
            Linked::Transform(_) => PluginKind::Transform,
            Linked::Tool(_) => PluginKind::Tool,
            Linked::Agent(_) => PluginKind::Agent,
        }
    }

    /// Asks what it says of itself, in its own types.
    pub(crate) async fn describe(&self, store: &mut Store<Guest>) -> wasmtime::Result<crate::describe::Said> {
        match self {
            Linked::Transform(pre) => {
                let plugin = pre.instantiate_async(&mut *store).await?;
                Ok(plugin.heddle_plugin_metadata().call_describe(store).await?.into())
            }
            Linked::Tool(pre) => {
                let plugin = pre.instantiate_async(&mut *store).await?;
                Ok(plugin.heddle_plugin_metadata().call_describe(store).await?.into())
            }
            Linked::Agent(pre) => {
                let plugin = pre.instantiate_async(&mut *store).await?;
                Ok(plugin.heddle_plugin_metadata().call_describe(store).await?.into())
            }
        }
    }
}
