//! One pass over the bytes: validation with exactly the features we allow, and the structural caps.
//!
//! Instances are counted as they would be made, not as they are written: a component that instantiates a component
//! that instantiates a module twice needs two core instances, and twenty such levels would need a million.

use crate::engine::FEATURES;
use crate::fault::ComponentFault;
use heddle_core::limits::Limits;
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef,
    Encoding, FuncValidatorAllocations, FunctionBody, Instance, Operator, Parser, Payload, ValidPayload,
    Validator,
};

const PAGE_BYTES: u64 = 64 << 10;

/// The names that a component shows, and what is wrong with its structure.
#[derive(Debug, Default)]
pub(super) struct Surface {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    /// The exports that are interfaces.
    pub(super) instances: Vec<String>,
    pub(super) faults: Vec<String>,
}

/// What making one instance of something takes.
#[derive(Clone, Copy, Debug, Default)]
struct Needs {
    core_instances: u64,
    memories: u64,
    memory_bytes: u64,
    tables: u64,
    table_elements: u64,
}

impl Needs {
    fn add(&mut self, other: Needs) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
        self.tables = self.tables.saturating_add(other.tables);
        self.table_elements = self.table_elements.saturating_add(other.table_elements);
    }
}

/// A module or component being read. `None` stands for one that comes from outside, of unknown needs.
#[derive(Debug, Default)]
struct Frame {
    is_component: bool,
    needs: Needs,
    modules: Vec<Option<Needs>>,
    components: Vec<Option<Needs>>,
}

struct Walk<'l> {
    limits: &'l Limits,
    frames: Vec<Frame>,
    functions: u64,
    surface: Surface,
}

/// Reads everything. A component that does not validate is an error at once: what follows the fault means nothing.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Surface, ComponentFault> {
    let mut walk = Walk { limits, frames: Vec::new(), functions: 0, surface: Surface::default() };
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let invalid = |fault: wasmparser::Error| ComponentFault::invalid(explain(&fault));
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        let valid = validator.payload(&payload).map_err(invalid)?;
        if let ValidPayload::Func(function, body) = valid {
            walk.body(&body).map_err(invalid)?;
            let mut function = function.into_validator(allocations);
            function.validate(&body).map_err(invalid)?;
            allocations = function.into_allocations();
        }
        walk.payload(&payload).map_err(invalid)?;
    }
    Ok(walk.surface)
}

/// What the validator says only in words, and the feature that is meant.
const TOLD_IN_WORDS: &[(&str, &str)] = &[("multiple memories", "multi-memory"), ("shared", "threads")];

/// Names the feature that is missing, where that is what is wrong.
fn explain(fault: &wasmparser::Error) -> String {
    let place = format!("{} at byte {}", fault.message().replace('\n', ": "), fault.offset());
    let names: Vec<String> = match fault.missing_wasm_feature() {
        Some(missing) => (missing & !FEATURES).iter_names().map(|(name, _)| feature_name(name)).collect(),
        None => {
            let told = TOLD_IN_WORDS.iter().find(|(words, _)| fault.message().contains(words));
            told.map(|(_, feature)| (*feature).to_owned()).into_iter().collect()
        }
    };
    if names.is_empty() {
        return format!("not a valid component: {place}");
    }
    format!(
        "needs the WebAssembly feature `{}`, which plugins may not use; build without it ({place})",
        names.join("`, `")
    )
}

fn feature_name(name: &str) -> String {
    match name {
        "CM_ASYNC" => "component-model-async".into(),
        other => other.to_ascii_lowercase().replace("cm_", "component-model-").replace('_', "-"),
    }
}

impl Walk<'_> {
    fn fault(&mut self, fault: String) {
        if self.surface.faults.len() < super::MAX_FAULTS && !self.surface.faults.contains(&fault) {
            self.surface.faults.push(fault);
        }
    }
    fn cap(&mut self, what: &str, found: u64, limit: &str) {
        let Some(max) = self.limits.get(limit) else { return };
        if found > max {
            self.fault(format!("{what}: {found}; `limits.{limit}` is {max}"));
        }
    }
    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> wasmparser::Result<()> {
        self.functions += 1;
        let size = body.range().len() as u64;
        if size > self.limits.function_body_bytes {
            self.cap("bytes of a function body", size, "function_body_bytes");
        }
        let (mut depth, mut deepest) = (0u64, 0u64);
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                Operator::End => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.cap("nested blocks of a function", deepest, "function_nesting");
        Ok(())
    }

    fn payload(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { encoding, .. } => {
                self.frames
                    .push(Frame { is_component: *encoding == Encoding::Component, ..Frame::default() });
            }
            Payload::End(_) => self.end(),
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let bytes = memory?.initial.saturating_mul(PAGE_BYTES);
                    self.top().needs.add(Needs { memories: 1, memory_bytes: bytes, ..Needs::default() });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables.clone() {
                    let elements = table?.ty.initial;
                    self.top().needs.add(Needs { tables: 1, table_elements: elements, ..Needs::default() });
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances.clone() {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        let needs = self.top().modules.get(module_index as usize).copied().flatten();
                        self.instantiate("module", needs, 1);
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances.clone() {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let needs = self.top().components.get(component_index as usize).copied().flatten();
                        self.instantiate("component", needs, 0);
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases.clone() {
                    self.alias(&alias?);
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports.clone() {
                    let import = import?;
                    self.import(import.name.name, import.ty);
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    self.export(export.name.name, export.kind, export.index);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn instantiate(&mut self, what: &str, needs: Option<Needs>, core_instances: u64) {
        let Some(mut needs) = needs else {
            self.fault(format!("instantiates a {what} that it does not contain; put it in"));
            return;
        };
        needs.core_instances = needs.core_instances.saturating_add(core_instances);
        self.top().needs.add(needs);
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                self.top().modules.push(None)
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                self.top().components.push(None);
            }
            ComponentAlias::Outer { kind, count, index } => {
                let outer =
                    (self.frames.len() - 1).checked_sub(*count as usize).and_then(|at| self.frames.get(at));
                match kind {
                    ComponentOuterAliasKind::CoreModule => {
                        let needs =
                            outer.and_then(|frame| frame.modules.get(*index as usize).copied().flatten());
                        self.top().modules.push(needs);
                    }
                    ComponentOuterAliasKind::Component => {
                        let needs =
                            outer.and_then(|frame| frame.components.get(*index as usize).copied().flatten());
                        self.top().components.push(needs);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn import(&mut self, name: &str, ty: ComponentTypeRef) {
        match ty {
            ComponentTypeRef::Module(_) => self.top().modules.push(None),
            ComponentTypeRef::Component(_) => self.top().components.push(None),
            _ => {}
        }
        if self.frames.len() == 1 {
            self.surface.imports.push(name.to_owned());
        }
    }

    fn export(&mut self, name: &str, kind: ComponentExternalKind, index: u32) {
        // An export is a new index of the same thing.
        let top = self.top();
        match kind {
            ComponentExternalKind::Module => {
                let needs = top.modules.get(index as usize).copied().flatten();
                top.modules.push(needs);
            }
            ComponentExternalKind::Component => {
                let needs = top.components.get(index as usize).copied().flatten();
                top.components.push(needs);
            }
            _ => {}
        }
        if self.frames.len() == 1 {
            self.surface.exports.push(name.to_owned());
            if kind == ComponentExternalKind::Instance {
                self.surface.instances.push(name.to_owned());
            }
        }
    }

    fn end(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let Some(parent) = self.frames.last_mut() else {
            self.totals(frame.needs);
            return;
        };
        if frame.is_component {
            parent.components.push(Some(frame.needs));
        } else {
            parent.modules.push(Some(frame.needs));
        }
    }

    fn totals(&mut self, needs: Needs) {
        self.cap("functions", self.functions, "functions");
        self.cap("core instances", needs.core_instances, "core_instances");
        self.cap("linear memories", needs.memories, "memories");
        self.cap("tables", needs.tables, "tables");
        self.cap("table elements at the start", needs.table_elements, "table_elements");
        self.cap("bytes of memory at the start", needs.memory_bytes, "memory_bytes");
    }
}
