//! Plugins for tests, out of a few lines of WAT each.
//!
//! A [`Guest`] is a core module around a body of yours: memory, an allocator, the metadata and the helpers that build
//! results are there already, and `wit-component` makes a component of it, with the same contract that real toolchains
//! use. So a hostile guest can be written at the level at which it is hostile.
//!
//! ```
//! use heddle_host::testkit::Guest;
//! let upper = Guest::tool("answer").data(32_768, b"42").body("(call $ok (i32.const 32768) (i32.const 2))").build();
//! assert_eq!(&upper[..4], b"\0asm");
//! ```
//!
//! What a body may use: its parameters `$ptr $len` (the input), for an agent also `$has $sptr $slen` (the state);
//! `$alloc (size align) -> ptr`; `$ok (ptr len) -> result` and `$fail (case code_ptr code_len) -> result` with the cases
//! of `failure` 0 retryable, 1 permanent, 2 rate-limited; for an agent `$done (ptr len)` and `$continue (ptr len)`
//! instead of `$ok`. Memory from 32,768 to 65,535 is yours; the heap begins behind it.

use heddle_core::outcome::PluginKind;
use std::fmt::Write as _;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const HOST_WIT: &str = include_str!("../../../wit/host-0.1.0/host.wit");
const PLUGIN_WIT: &str = include_str!("../../../wit/plugin-0.1.0/plugin.wit");
const WASI_WIT: &str = include_str!("testkit/wasi.wit");
const PRELUDE: &str = include_str!("testkit/prelude.wat");

/// The version of WASI that tests are written with.
const WASI_VERSION: &str = "0.2.6";
/// Where the metadata record stands in the guest's memory.
const METADATA_AT: u32 = 1024;

/// A plugin to be.
#[derive(Clone, Debug)]
pub struct Guest {
    kind: PluginKind,
    name: String,
    version: String,
    says_kind: PluginKind,
    input_schema: String,
    output_schema: String,
    plugin_version: String,
    host_version: String,
    wasi_version: String,
    imports: String,
    items: String,
    body: String,
    describe: Option<String>,
    memory: String,
    realloc: Option<String>,
    data: Vec<(u32, Vec<u8>)>,
    world: String,
    wit: String,
    ballast: Vec<(String, u32)>,
    beside: Vec<String>,
}

impl Guest {
    fn new(kind: PluginKind, name: &str) -> Guest {
        let echo = match kind {
            PluginKind::Agent => "(call $done (local.get $ptr) (local.get $len))",
            _ => "(call $ok (local.get $ptr) (local.get $len))",
        };
        Guest {
            kind,
            name: name.into(),
            version: "1.0.0".into(),
            says_kind: kind,
            input_schema: "true".into(),
            output_schema: "true".into(),
            plugin_version: "0.1.0".into(),
            host_version: "0.1.0".into(),
            wasi_version: WASI_VERSION.into(),
            imports: String::new(),
            items: String::new(),
            body: echo.into(),
            describe: None,
            memory: "2".into(),
            realloc: None,
            data: Vec::new(),
            world: String::new(),
            wit: String::new(),
            ballast: Vec::new(),
            beside: Vec::new(),
        }
    }
    /// A tool that gives back its input, until it is told otherwise.
    pub fn tool(name: &str) -> Guest {
        Guest::new(PluginKind::Tool, name)
    }
    /// A transform that gives back its input, until it is told otherwise.
    pub fn transform(name: &str) -> Guest {
        Guest::new(PluginKind::Transform, name)
    }
    /// An agent that gives back its goal, until it is told otherwise.
    pub fn agent(name: &str) -> Guest {
        Guest::new(PluginKind::Agent, name)
    }
    /// The code of its one function, as WAT: leaves a result pointer on the stack.
    pub fn body(mut self, wat: &str) -> Guest {
        self.body = wat.into();
        self
    }
    /// Further fields of the module: functions, globals, tables, a start function.
    pub fn items(mut self, wat: &str) -> Guest {
        self.items.push_str(wat);
        self
    }
    /// Imports of the module, as WAT. What is imported must be in the world: see [`Guest::world`].
    pub fn imports(mut self, wat: &str) -> Guest {
        self.imports.push_str(wat);
        self
    }
    /// Bytes in the guest's memory; from 32,768 to 65,535 is free.
    pub fn data(mut self, at: u32, bytes: &[u8]) -> Guest {
        self.data.push((at, bytes.to_vec()));
        self
    }
    /// The memory's size in pages, as WAT: `2`, `2 100`.
    pub fn memory(mut self, wat: &str) -> Guest {
        self.memory = wat.into();
        self
    }
    /// Replaces the allocator that the host calls: the body of a function `$old $old_len $align $len -> ptr`.
    pub fn realloc(mut self, wat: &str) -> Guest {
        self.realloc = Some(wat.into());
        self
    }
    /// Replaces `describe`: a body that leaves a pointer to the metadata record.
    pub fn describe(mut self, wat: &str) -> Guest {
        self.describe = Some(wat.into());
        self
    }
    /// Further lines of its world, as WIT: `import wasi:clocks/wall-clock@0.2.6;`.
    pub fn world(mut self, wit: &str) -> Guest {
        self.world.push_str(wit);
        self
    }
    /// Further interfaces of its package, as WIT.
    pub fn wit(mut self, wit: &str) -> Guest {
        self.wit.push_str(wit);
        self
    }
    /// The name that it says it has.
    pub fn named(mut self, name: &str) -> Guest {
        self.name = name.into();
        self
    }
    /// The version that it says it has.
    pub fn version(mut self, version: &str) -> Guest {
        self.version = version.into();
        self
    }
    /// The kind that it says it is, whatever it exports.
    pub fn says_kind(mut self, kind: PluginKind) -> Guest {
        self.says_kind = kind;
        self
    }
    /// JSON Schema of its input and output.
    pub fn schemas(mut self, input: &str, output: &str) -> Guest {
        self.input_schema = input.into();
        self.output_schema = output.into();
        self
    }
    /// The version of `heddle:plugin` that it exports.
    pub fn plugin_version(mut self, version: &str) -> Guest {
        self.plugin_version = version.into();
        self
    }
    /// The version of `heddle:host` that it imports.
    pub fn host_version(mut self, version: &str) -> Guest {
        self.host_version = version.into();
        self
    }

    /// The version of WASI that it imports. Whatever its imports and its world are written with, it is built for this.
    pub fn wasi_version(mut self, version: &str) -> Guest {
        self.wasi_version = version.into();
        self
    }

    /// A further core module, as WAT, and how many instances of it the component makes: for what a component may hold.
    pub fn ballast(mut self, wat: &str, instances: u32) -> Guest {
        self.ballast.push((wat.into(), instances));
        self
    }

    /// A further component, as WAT, of which the component makes an instance: for what components do to each other.
    pub fn beside(mut self, wat: &str) -> Guest {
        self.beside.push(wat.into());
        self
    }

    /// The component's bytes.
    ///
    /// # Panics
    /// When the WAT or the WIT is wrong: this is for tests.
    pub fn build(&self) -> Vec<u8> {
        let wat = self.for_wasi(self.module());
        let mut module = wat::parse_str(&wat).unwrap_or_else(|fault| panic!("{fault}\n{wat}"));
        let (resolve, world) = self.resolve();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("metadata can be embedded");
        let encoder =
            ComponentEncoder::default().module(&module).unwrap_or_else(|fault| panic!("{fault:#}\n{wat}"));
        let mut component =
            encoder.validate(false).encode().unwrap_or_else(|fault| panic!("{fault:#}\n{wat}"));
        for (wat, instances) in &self.ballast {
            append(
                &mut component,
                &wat::parse_str(wat).unwrap_or_else(|fault| panic!("{fault}\n{wat}")),
                *instances,
            );
        }
        for wat in &self.beside {
            append_component(
                &mut component,
                &wat::parse_str(wat).unwrap_or_else(|fault| panic!("{fault}\n{wat}")),
            );
        }
        component
    }

    fn resolve(&self) -> (Resolve, wit_parser::WorldId) {
        let mut resolve = Resolve::default();
        let host = HOST_WIT.replace("heddle:host@0.1.0", &format!("heddle:host@{}", self.host_version));
        let plugin = PLUGIN_WIT
            .replace("package heddle:plugin@0.1.0", &format!("package heddle:plugin@{}", self.plugin_version))
            .replace("@0.1.0.{", &format!("@{}.{{", self.host_version))
            .replace("@0.1.0;", &format!("@{};", self.host_version));
        let plugin = plugin.replace(
            &format!("package heddle:plugin@{};", self.host_version),
            &format!("package heddle:plugin@{};", self.plugin_version),
        );
        let guest = format!(
            "package test:guest;\n{WASI_WIT}\n{}\nworld guest {{\n include heddle:plugin/{}@{};\n{}\n}}\n",
            self.wit,
            self.kind.word(),
            self.plugin_version,
            self.world
        );
        let guest = self.for_wasi(guest);
        let mut last = None;
        for (path, text) in [("host.wit", host.as_str()), ("plugin.wit", &plugin), ("guest.wit", &guest)] {
            last = Some(resolve.push_str(path, text).unwrap_or_else(|fault| panic!("{fault:#}\n{text}")));
        }
        let package = last.expect("the guest's own package came last");
        let world = resolve.select_world(&[package], Some("guest")).expect("the guest's world is there");
        (resolve, world)
    }

    fn for_wasi(&self, text: String) -> String {
        text.replace(&format!("@{WASI_VERSION}"), &format!("@{}", self.wasi_version))
    }

    fn module(&self) -> String {
        let (interface, function, parameters) = match self.kind {
            PluginKind::Transform => ("transformer", "apply", ""),
            PluginKind::Tool => ("callable", "call", ""),
            PluginKind::Agent => ("runnable", "run", "(param $has i32) (param $sptr i32) (param $slen i32)"),
        };
        let version = &self.plugin_version;
        let realloc = self.realloc.as_deref().unwrap_or(
            "(call $move (local.get $old) (local.get $old_len) (local.get $align) (local.get $len))",
        );
        let describe =
            self.describe.as_deref().map_or_else(|| format!("(i32.const {METADATA_AT})"), str::to_owned);
        let mut wat = format!(
            "(module $guest\n{}\n(memory (export \"memory\") {})\n{PRELUDE}\n",
            self.imports, self.memory
        );
        wat.push_str(&format!(
            "(func (export \"cabi_realloc\") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)\n{realloc})\n\
             {}\n\
             (func (export \"heddle:plugin/{interface}@{version}#{function}\") (param $ptr i32) (param $len i32) {parameters} (result i32)\n\
             (local $a i32) (local $b i32) (local $c i32) (local $wide i64)\n{})\n\
             (func (export \"heddle:plugin/metadata@{version}#describe\") (result i32)\n(local $a i32) (local $b i32)\n{describe})\n",
            self.items, self.body
        ));
        wat.push_str(&segment(METADATA_AT, &self.metadata()));
        for (at, bytes) in &self.data {
            wat.push_str(&segment(*at, bytes));
        }
        wat.push(')');
        wat
    }

    /// The metadata record in the canonical ABI's layout, with its strings behind it.
    fn metadata(&self) -> Vec<u8> {
        const RECORD_BYTES: usize = 120;
        let mut record = vec![0u8; RECORD_BYTES];
        let mut strings = Vec::new();
        let mut put = |at: usize, text: &str| {
            let pointer = METADATA_AT + RECORD_BYTES as u32 + strings.len() as u32;
            record[at..at + 4].copy_from_slice(&pointer.to_le_bytes());
            record[at + 4..at + 8].copy_from_slice(&(text.len() as u32).to_le_bytes());
            strings.extend_from_slice(text.as_bytes());
        };
        put(0, &self.name);
        put(8, &self.version);
        put(20, "a plugin for tests");
        put(28, "made of WAT");
        put(36, &self.input_schema);
        put(44, &self.output_schema);
        put(112, "");
        record[16] = match self.says_kind {
            PluginKind::Transform => 0,
            PluginKind::Tool => 1,
            PluginKind::Agent => 2,
        };
        // No capability names at 52, no limits asked for from 64 on.
        record.extend(strings);
        record
    }
}

fn segment(at: u32, bytes: &[u8]) -> String {
    let mut text = format!("(data (i32.const {at}) \"");
    for byte in bytes {
        let _ = write!(text, "\\{byte:02x}");
    }
    text.push_str("\")\n");
    text
}

/// Appends a module and instances of it: sections of a component may stand in any order, so they can stand last.
fn append(component: &mut Vec<u8>, module: &[u8], instances: u32) {
    let index = sections(component, |payload| matches!(payload, Payload::ModuleSection { .. }));
    section(component, 1, module);
    let mut body = leb(instances);
    for _ in 0..instances {
        body.push(0);
        body.extend(leb(index));
        body.push(0);
    }
    section(component, 2, &body);
}

/// Appends a component and one instance of it.
fn append_component(component: &mut Vec<u8>, inner: &[u8]) {
    let index = sections(component, |payload| matches!(payload, Payload::ComponentSection { .. }));
    section(component, 4, inner);
    let mut body = vec![1, 0];
    body.extend(leb(index));
    body.push(0);
    section(component, 5, &body);
}

/// How many such sections the component has itself, and not the ones inside it.
fn sections(component: &[u8], is: impl Fn(&Payload<'_>) -> bool) -> u32 {
    let (mut depth, mut count) = (0, 0);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.expect("the component was just encoded");
        count += u32::from(depth == 1 && is(&payload));
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    count
}

fn section(component: &mut Vec<u8>, id: u8, body: &[u8]) {
    component.push(id);
    component.extend(leb(body.len() as u32));
    component.extend(body);
}

fn leb(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
