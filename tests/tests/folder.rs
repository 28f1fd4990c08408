//! A folder of plugins that is watched: what comes or changes is loaded while the node serves, and what is broken takes
//! nothing away. With the real binary, real files and real components.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_host::testkit::Guest;
use heddle_tests::{PATIENCE, Server, binary, workflow};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// A tool that answers with this text.
fn teller(version: &str, answer: &str) -> Vec<u8> {
    let answer = format!("\"{answer}\"");
    let body = format!("(call $ok (i32.const 32768) (i32.const {}))", answer.len());
    Guest::tool("teller").version(version).data(32_768, answer.as_bytes()).body(&body).build()
}

const ASKING: &str = "steps: {a: {call: \"tool:teller\", cache: off}}\noutput: {as: \"${ steps.a.output }\"}";

fn told(server: &Server) -> Value {
    server.run(&workflow("asking", ASKING), json!({}))["output"].clone()
}

/// Waits until the log says this.
fn logged(folder: &Path, text: &str) {
    let since = Instant::now();
    while !std::fs::read_to_string(folder.join("server.log")).unwrap().contains(text) {
        assert!(since.elapsed() < PATIENCE, "the log never says `{text}`");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Case 67: a version never means two things, in a folder either.
#[test]
fn what_comes_into_the_folder_is_loaded_and_what_is_broken_takes_nothing_away() {
    let (data, plugins) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = |name: &str| plugins.path().join(name);
    std::fs::write(file("teller.wasm"), teller("1.0.0", "one")).unwrap();
    let server = Server::start(data.path(), &[("HEDDLE_PLUGINS", plugins.path().to_str().unwrap())]);
    server.until(|| (server.get("/v1/plugins/teller").status == 200).then_some(()));
    assert_eq!(told(&server), "one");
    // Renamed into its place, as careful people do.
    std::fs::write(file("next.tmp"), teller("1.1.0", "two")).unwrap();
    std::fs::rename(file("next.tmp"), file("teller.wasm")).unwrap();
    server.until(|| (told(&server) == "two").then_some(()));
    // Written in two halves: the first is no component, and the version before goes on.
    let whole = teller("1.2.0", "three");
    let mut half = std::fs::File::create(file("teller.wasm")).unwrap();
    half.write_all(&whole[..whole.len() / 2]).unwrap();
    half.sync_all().unwrap();
    logged(data.path(), "a plugin is not loaded");
    assert_eq!(told(&server), "two");
    half.write_all(&whole[whole.len() / 2..]).unwrap();
    drop(half);
    server.until(|| (told(&server) == "three").then_some(()));
    // Garbage, a folder that looks like a file, another name, and a file that goes: nothing is taken away.
    std::fs::write(file("garbage.wasm"), b"no component").unwrap();
    std::fs::create_dir(file("folder.wasm")).unwrap();
    std::fs::write(file("readme.txt"), b"hello").unwrap();
    logged(data.path(), "garbage.wasm");
    std::fs::remove_file(file("teller.wasm")).unwrap();
    std::fs::write(file("other.wasm"), Guest::tool("other").build()).unwrap();
    server.until(|| (server.get("/v1/plugins/other").status == 200).then_some(()));
    assert_eq!(told(&server), "three");
    // What an operator has deleted does not come back by a file that is still there.
    std::fs::write(file("gone.wasm"), Guest::tool("gone").version("1.0.0").build()).unwrap();
    server.until(|| (server.get("/v1/plugins/gone").status == 200).then_some(()));
    assert_eq!(server.delete("/v1/plugins/gone/versions/1.0.0").status, 204);
    std::fs::write(file("gone.copy.wasm"), Guest::tool("gone").version("1.0.0").build()).unwrap();
    logged(data.path(), "was deleted; `heddle plugin push FILE` brings it back");
    assert_eq!(server.get("/v1/plugins/gone").status, 404);
    // A version never means two things.
    std::fs::write(file("teller.wasm"), teller("1.2.0", "lies")).unwrap();
    logged(data.path(), "is already loaded with other bytes");
    assert_eq!(told(&server), "three");
}

/// The lines of a program, as they come.
fn told_lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

/// Whoever develops builds again under the same version, and the next run has it.
#[test]
fn a_node_for_development_takes_what_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    std::fs::write(plugins.join("teller.wasm"), teller("1.0.0", "one")).unwrap();
    let mut dev = Command::new(binary())
        .args(["dev", "--ephemeral", "--listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = told_lines(dev.stderr.take().unwrap());
    let says = |text: &str| loop {
        let line =
            lines.recv_timeout(PATIENCE).unwrap_or_else(|fault| panic!("nobody says `{text}`: {fault}"));
        if line.contains(text) {
            return line;
        }
    };
    let loaded = says("tool:teller@1.0.0");
    assert!(loaded.contains('✓'), "{loaded}");
    let page = says("http://");
    let url = page.split_whitespace().last().unwrap().trim_end_matches('/').to_owned();
    let run = || {
        let done = Command::new(binary())
            .args(["run", "asking.yaml", "--server", &url])
            .current_dir(folder.path())
            .output()
            .unwrap();
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    std::fs::write(folder.path().join("asking.yaml"), workflow("asking", ASKING)).unwrap();
    assert_eq!(run(), "\"one\"");
    std::fs::write(plugins.join("teller.wasm"), teller("1.0.0", "two")).unwrap();
    let built = says("tool:teller@1.0.0+dev.");
    assert_eq!(run(), "\"two\"", "{built}");
    // Who takes a change back has what there was before it, as the newest of them.
    std::fs::write(plugins.join("teller.wasm"), teller("1.0.0", "one")).unwrap();
    let again = says("tool:teller@1.0.0+dev.");
    assert_eq!(run(), "\"one\"", "{again}");
    std::fs::write(plugins.join("teller.wasm"), teller("1.0.0", "two")).unwrap();
    says("tool:teller@1.0.0+dev.");
    std::fs::write(plugins.join("teller.wasm"), b"broken").unwrap();
    let broken = says("teller.wasm");
    assert!(broken.contains('✗'), "{broken}");
    assert_eq!(run(), "\"two\"");
    dev.kill().unwrap();
    dev.wait().unwrap();
}
