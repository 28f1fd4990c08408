//! Programs that others wrote, for tests that ask somebody else's opinion. They are put under `target/tools` when they
//! are first needed, by the installers that they come with; a test that cannot have one fails and says what is missing.

use crate::root;
use std::path::{Path, PathBuf};
use std::process::Command;

const SCHEMATHESIS: &str = "4.32.5";
const WEBSOCKETS: &str = "17.4";
const ORAS: &str = "0.2.43";
const MCP: &str = "2.3.0";
const OPENAI: &str = "3.52.0";
const ANTHROPIC: &str = "2.14.0";
const A2A: &str = "1.3.0";
const OLDER_MCP: &str = "1.28.1";

fn tools() -> PathBuf {
    root().join("target/tools")
}

/// `schemathesis`, which makes up requests from an OpenAPI document, in a Python environment of its own.
pub fn schemathesis() -> PathBuf {
    let package = format!("schemathesis=={SCHEMATHESIS}");
    python(&format!("schemathesis-{SCHEMATHESIS}"), &[&package]).with_file_name("schemathesis")
}

/// A Python that has `websockets`, a WebSocket client.
pub fn python_with_websockets() -> PathBuf {
    python(&format!("websockets-{WEBSOCKETS}"), &[&format!("websockets=={WEBSOCKETS}")])
}

/// A Python that has these packages, in an environment of its own with this name. Tests may ask for it at the same time.
pub fn python(name: &str, packages: &[&str]) -> PathBuf {
    std::fs::create_dir_all(tools()).unwrap();
    let lock = std::fs::File::create(tools().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let folder = tools().join(name);
    let whole = folder.join("whole");
    if !whole.exists() {
        run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder),
            "install python3 with its venv module",
        );
        run(
            Command::new(folder.join("bin/pip")).args(["install", "--quiet"]).args(packages),
            "check the connection to the package index",
        );
        std::fs::write(whole, "").unwrap();
    }
    folder.join("bin/python")
}

/// The `node_modules` of a project with this `package.json`, as `npm install` makes it. Tests may ask for it at the same
/// time.
pub fn node_modules(name: &str, package: &str) -> PathBuf {
    let folder = tools().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(tools().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let whole = folder.join("whole");
    if std::fs::read_to_string(&whole).ok().as_deref() != Some(package) {
        std::fs::write(folder.join("package.json"), package).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(&folder);
        run(&mut npm, "install Node.js with npm");
        std::fs::write(whole, package).unwrap();
    }
    folder.join("node_modules")
}

/// `promtool`, which reads metrics as Prometheus does: the one on the path, or the one of the Debian package.
pub fn promtool() -> PathBuf {
    match is_on_the_path("promtool", "--version") {
        true => "promtool".into(),
        false => debian("prometheus", &["prometheus"]).join("usr/bin/promtool"),
    }
}

/// `minisign`, which signs and checks signatures: the one on the path, or the one of the Debian package.
pub fn minisign() -> Command {
    if is_on_the_path("minisign", "-v") {
        return Command::new("minisign");
    }
    let folder = debian("minisign", &["minisign", "libsodium23"]);
    let mut command = Command::new(folder.join("usr/bin/minisign"));
    command.env("LD_LIBRARY_PATH", folder.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)));
    command
}

fn is_on_the_path(program: &str, version: &str) -> bool {
    Command::new(program).arg(version).output().is_ok_and(|output| output.status.success())
}

/// A folder with these Debian packages unpacked, not installed. Tests may ask for it at the same time.
fn debian(name: &str, packages: &[&str]) -> PathBuf {
    let folder = tools().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(tools().join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let whole = folder.join("whole");
    if whole.exists() {
        return folder;
    }
    let help =
        format!("install {}, or refresh the package lists with `apt-get update`", packages.join(" and "));
    run(Command::new("apt-get").arg("download").args(packages).current_dir(&folder), &help);
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    for package in files.filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        run(Command::new("dpkg").arg("-x").args([package.as_path(), Path::new(&folder)]), &help);
    }
    std::fs::write(whole, "").unwrap();
    folder
}

fn run(command: &mut Command, help: &str) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; {help}"));
    assert!(output.status.success(), "{command:?}: {}; {help}", String::from_utf8_lossy(&output.stderr));
}

/// `docker-registry`, an OCI registry: the one on the path, or the one of the Debian package.
pub fn docker_registry() -> PathBuf {
    match is_on_the_path("docker-registry", "--version") {
        true => "docker-registry".into(),
        false => debian("docker-registry", &["docker-registry"]).join("usr/bin/docker-registry"),
    }
}

/// A Python that has `oras`, a client of OCI registries.
pub fn python_with_oras() -> PathBuf {
    python(&format!("oras-{ORAS}"), &[&format!("oras=={ORAS}")])
}

/// The conformance suite of the Model Context Protocol, with the Node.js that it wants: that, and the suite.
pub fn mcp_conformance() -> (PathBuf, PathBuf) {
    let package = r#"{"private": true, "dependencies": {"@modelcontextprotocol/conformance": "0.1.16", "node": "24.21.0"}}"#;
    let modules = node_modules("mcp-conformance", package);
    (modules.join("node/bin/node"), modules.join(".bin/conformance"))
}

/// A Python that has `mcp`, the official SDK of the Model Context Protocol.
pub fn python_with_mcp() -> PathBuf {
    python(&format!("mcp-{MCP}"), &[&format!("mcp=={MCP}")])
}

/// A Python that has `mcp` of the generation before, whose servers want sessions.
pub fn python_with_older_mcp() -> PathBuf {
    python(&format!("mcp-{OLDER_MCP}"), &[&format!("mcp=={OLDER_MCP}")])
}

/// A Python that has `a2a`, the official SDK of the Agent2Agent protocol.
pub fn python_with_a2a() -> PathBuf {
    let packages = [format!("a2a-sdk[http-server]=={A2A}"), "uvicorn==0.54.0".to_owned()];
    python(&format!("a2a-sdk-{A2A}-served"), &packages.each_ref().map(String::as_str))
}

/// A Python that has `openai` and `anthropic`, the official clients of the two providers.
pub fn python_with_models() -> PathBuf {
    let packages = [format!("openai=={OPENAI}"), format!("anthropic=={ANTHROPIC}")];
    python(&format!("models-{OPENAI}-{ANTHROPIC}"), &packages.each_ref().map(String::as_str))
}
