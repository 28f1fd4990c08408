//! Where requests go, with a name server that lies: in a network of its own, in which a public address, this machine and
//! the name server are all the test's. It needs what every Linux has: namespaces, `mount` and Python.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_tests::{binary, plugin, root};
use serde_json::{Value, json};
use std::process::Command;

/// What came of a request to each of these hosts, one after another.
fn asked(hosts: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    std::fs::write(plugins.join("http_fetch.wasm"), plugin("http_fetch")).unwrap();
    // Whoever is nobody in particular becomes the root of a world of its own.
    let how = if rustix::process::geteuid().is_root() { "-nm" } else { "-Urnm" };
    let output = Command::new("unshare")
        .args([how, "python3"])
        .arg(root().join("tests/tests/names/world.py"))
        .args([binary(), plugins, folder.path().to_owned()])
        .args(hosts)
        .output()
        .unwrap_or_else(|error| panic!("unshare: {error}; install util-linux"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Case 43: what a name means is asked once, each address is judged, and only a judged one is dialled.
#[test]
fn a_name_that_lies_leads_nowhere() {
    const PUBLIC: &str = "93.184.216.34";
    let hosts = [
        "public.example",
        "rebinding.example",
        "rebinding.example",
        "mixed.example",
        "inside.example",
        "metadata.example",
        "six.example",
        "mapped.example",
        "translated.example",
        "many.example",
        "nothing.example",
        "silent.example",
        "unknown.example",
        "nobody.invalid",
    ];
    let results = asked(&hosts);
    let of = |place: usize| &results[place];
    for place in [0, 1, 3] {
        let one = of(place);
        assert_eq!((&one["exit"], &one["came"]), (&json!(0), &json!([PUBLIC])), "{one}");
    }
    // One request asks once for each family: there is no moment between judging and dialling.
    let first: Vec<u64> = of(1)["asked"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert_eq!(first.iter().filter(|kind| **kind == 1).count(), 1, "{}", of(1));
    for place in [2, 4, 5, 6, 7, 8, 9] {
        let one = of(place);
        assert_eq!((&one["kind"], &one["came"]), (&json!("egress_denied"), &json!([])), "{one}");
    }
    for (place, kind) in [(10, "egress_failed"), (11, "egress_timeout"), (12, "egress_failed")] {
        assert_eq!(of(place)["kind"], kind, "{}", of(place));
    }
    // Case 40: who is not granted is not even looked up.
    assert_eq!((&of(13)["kind"], &of(13)["asked"]), (&json!("egress_denied"), &json!([])), "{}", of(13));
}
