//! Signatures of plugins, at the real binary: keys that are made and used at the command line, minisign's own program,
//! and nodes that want, warn and do not look.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_host::testkit::Guest;
use heddle_tests::{Server, binary, tools};
use serde_json::json;
use std::path::Path;
use std::process::{Command, Output};

fn teller(version: &str) -> Vec<u8> {
    Guest::tool("teller").version(version).build()
}

fn typed(folder: &Path, words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        Command::new(binary()).args(words).current_dir(folder).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), text)
}

/// A pair of keys, and the line of the public one.
fn keys(folder: &Path, name: &str) -> String {
    let file = format!("{name}.key");
    let (code, text) = typed(folder, &["plugin", "keygen", &file]);
    assert_eq!(code, Some(0), "{text}");
    let public = std::fs::read_to_string(folder.join(format!("{name}.pub"))).unwrap();
    public.lines().last().unwrap().to_owned()
}

fn trusting(folder: &Path, key: &str, policy: &str) {
    let policy = if policy.is_empty() { String::new() } else { format!("policy = \"{policy}\"\n") };
    let text = format!("[signatures]\nkeys = [\"{key}\"]\n{policy}");
    std::fs::write(folder.join("heddle.toml"), text).unwrap();
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

/// Case 62: what is not signed as it must be is never compiled.
#[test]
fn a_node_with_keys_takes_only_what_they_have_signed() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (ours, _) = (keys(at, "ours"), keys(at, "other"));
    trusting(at, &ours, "");
    write(at, "a.wasm", &teller("1.0.0"));
    let server = Server::start(at, &[]);
    let push = || typed(at, &["plugin", "push", "a.wasm", "--server", &server.url]);
    let compiled = || std::fs::read_dir(at.join("compiled")).map_or(0, Iterator::count);
    let before = compiled();
    let unsigned = server.post_bytes("/v1/plugins", "application/wasm", teller("1.0.0"));
    assert_eq!(
        (unsigned.status, &unsigned.body["code"]),
        (403, &json!("signature_required")),
        "{unsigned:?}"
    );
    let (code, text) = push();
    assert!(code == Some(1) && text.contains("heddle plugin sign FILE"), "{text}");
    // Signed by somebody else, and signed and then changed.
    typed(at, &["plugin", "sign", "a.wasm", "--key", "other.key"]);
    let (code, text) = push();
    assert!(code == Some(1) && text.contains("is not among those that this node trusts"), "{text}");
    typed(at, &["plugin", "sign", "a.wasm", "--key", "ours.key"]);
    write(at, "a.wasm", &teller("1.0.1"));
    let (code, text) = push();
    assert!(code == Some(1) && text.contains("not good"), "{text}");
    assert_eq!(compiled(), before, "nothing of it was compiled");
    // As it must be.
    let (code, text) = typed(at, &["plugin", "sign", "a.wasm", "--key", "ours.key"]);
    assert_eq!((code, text.trim()), (Some(0), "a.wasm.minisig"));
    assert_eq!(typed(at, &["plugin", "verify", "a.wasm", "--key", "ours.pub"]).0, Some(0));
    assert_eq!(typed(at, &["plugin", "verify", "a.wasm", "--key", "other.pub"]).0, Some(1));
    let (code, text) = push();
    assert!(code == Some(0) && text.contains("tool:teller@1.0.1"), "{text}");
    let signed_by = server.get("/v1/plugins/teller").body["items"][0]["signedBy"].clone();
    let (_, verified) = typed(at, &["plugin", "verify", "a.wasm", "--key", &ours]);
    assert!(verified.contains(signed_by.as_str().unwrap()), "{verified} {signed_by}");
    // A connector is held to the same.
    let connector = "connector: \"1.0\"\nname: a\nversion: 1.0.0\nbaseUrl: https://a.example\nendpoints: {b: {path: /}}\n";
    let unsigned = server.post_bytes("/v1/connectors", "application/yaml", connector);
    assert_eq!(unsigned.status, 403, "{unsigned:?}");
    write(at, "c.yaml", connector.as_bytes());
    typed(at, &["plugin", "sign", "c.yaml", "--key", "ours.key"]);
    let (code, text) = typed(at, &["connector", "push", "c.yaml", "--server", &server.url]);
    assert!(code == Some(0) && text.contains("tool:a/b@1.0.0"), "{text}");
}

/// Case 62, for files.
#[test]
fn a_folder_is_held_to_it_and_a_file_is_taken_when_it_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (at, plugins) = (folder.path(), folder.path().join("in"));
    std::fs::create_dir(&plugins).unwrap();
    trusting(at, &keys(at, "ours"), "require");
    write(&plugins, "a.wasm", &teller("1.0.0"));
    let server = Server::start(at, &[("HEDDLE_PLUGINS", plugins.to_str().unwrap())]);
    server.until(|| {
        let log = std::fs::read_to_string(at.join("server.log")).unwrap();
        log.contains("nobody has signed it").then_some(())
    });
    assert_eq!(server.get("/v1/plugins/teller").status, 404);
    let (code, text) = typed(at, &["plugin", "sign", "in/a.wasm", "--key", "ours.key"]);
    assert_eq!(code, Some(0), "{text}");
    server.until(|| (server.get("/v1/plugins/teller").status == 200).then_some(()));
}

#[test]
fn a_node_may_warn_or_not_look() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let ours = keys(at, "ours");
    for (policy, warns) in [("warn", true), ("off", false)] {
        trusting(at, &ours, policy);
        std::fs::write(at.join("server.log"), "").unwrap();
        let server = Server::start(at, &[]);
        server.push(teller(if warns { "1.0.0" } else { "1.1.0" }));
        let log = std::fs::read_to_string(at.join("server.log")).unwrap();
        assert_eq!(log.contains("nobody trusted has signed"), warns, "{policy}: {log}");
    }
    // What cannot hold is said at the start.
    write(at, "heddle.toml", b"[signatures]\npolicy = \"require\"\n");
    let (code, text) = typed(at, &["config", "show"]);
    assert!(code == Some(2) && text.contains("names no key"), "{text}");
    write(at, "heddle.toml", b"[signatures]\nkeys = [\"RWnonsense\"]\n");
    let (code, text) = typed(at, &["config", "show"]);
    assert!(code == Some(2) && text.contains("line of a `.pub` file"), "{text}");
}

/// Keys and signatures are minisign's: its own program reads ours, and we read its.
#[test]
fn minisign_itself_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let run = |words: &[&str]| tools::minisign().args(words).current_dir(at).output().unwrap();
    write(at, "a.wasm", &teller("1.0.0"));
    keys(at, "ours");
    typed(at, &["plugin", "sign", "a.wasm", "--key", "ours.key"]);
    let theirs = run(&["-V", "-p", "ours.pub", "-m", "a.wasm"]);
    assert!(theirs.status.success(), "{theirs:?}");
    let made = run(&["-G", "-W", "-p", "their.pub", "-s", "their.key"]);
    assert!(made.status.success(), "{made:?}");
    std::fs::remove_file(at.join("a.wasm.minisig")).unwrap();
    assert!(run(&["-S", "-W", "-s", "their.key", "-m", "a.wasm"]).status.success());
    let (code, text) = typed(at, &["plugin", "verify", "a.wasm", "--key", "their.pub"]);
    assert_eq!(code, Some(0), "{text}");
    std::fs::remove_file(at.join("a.wasm.minisig")).unwrap();
    let (code, text) = typed(at, &["plugin", "sign", "a.wasm", "--key", "their.key"]);
    assert_eq!(code, Some(0), "their secret key signs here: {text}");
    assert!(run(&["-V", "-p", "their.pub", "-m", "a.wasm"]).status.success());
}
