//! Uploads that would take a node with them, at the real binary: without an end, without a compiler's mercy, and code that
//! is compiled already.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

use heddle_host::testkit::Guest;
use heddle_tests::{Server, workflow};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// Case 56. What is sent is counted as it comes; nobody waits for the end of it.
#[test]
fn an_upload_without_an_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_LIMITS_COMPONENT_BYTES", "4MiB")]);
    let host = server.url.trim_start_matches("http://");
    let piece = [format!("{:x}\r\n", 1 << 16).as_bytes(), &vec![b'x'; 1 << 16], b"\r\n"].concat();
    for length in ["transfer-encoding: chunked", "content-length: 209715200", "content-length: 5000000"] {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
            stream,
            "POST /v1/plugins HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/wasm\r\n{length}\r\n\r\n"
        )
        .unwrap();
        let mut sent = 0;
        // Two hundred MiB are offered; the node hangs up long before.
        while sent < 200 << 20 && stream.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        let mut answer = Vec::new();
        // A connection that is closed while it is written to may lose the answer that was on its way.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{length}: {answer}");
        assert!(sent < 64 << 20, "{length}: {sent} bytes were taken");
    }
    assert_eq!(server.get("/v1/plugins").body["items"], json!([]));
    let whole = server.post_bytes("/v1/plugins", "application/wasm", vec![0; 5 << 20]);
    assert_eq!((whole.status, &whole.body["code"]), (413, &json!("body_too_large")), "{whole:?}");
}

/// Case 61.
#[test]
fn compiled_code_is_no_component() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.push(Guest::tool("good").build());
    let compiled =
        std::fs::read_dir(folder.path().join("compiled")).unwrap().map(|entry| entry.unwrap().path());
    let compiled = compiled.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm"));
    for path in compiled {
        let whole = std::fs::read(path).unwrap();
        for bytes in [whole.clone(), whole[40..].to_vec()] {
            let refused = server.post_bytes("/v1/plugins", "application/wasm", bytes);
            assert_eq!(
                (refused.status, &refused.body["code"]),
                (422, &json!("component_invalid")),
                "{refused:?}"
            );
        }
    }
}

/// Case 58. While the compiler is stopped, the API answers and the version before runs.
#[test]
fn a_bomb_takes_nothing_from_the_version_that_serves() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[("HEDDLE_LIMITS_COMPILE_MS", "1500ms")]);
    server.push(Guest::tool("teller").version("1.0.0").build());
    let asking = workflow("asking", "steps: {a: {call: \"tool:teller\", with: 1, cache: off}}");
    let sum = "(local.set $x (i32.add (i32.mul (local.get $x) (local.get $x)) (i32.const 3)))".repeat(20_000);
    let bomb = format!("(func (param $x i32) {sum})").repeat(150);
    let bomb = Guest::tool("teller").version("1.1.0").items(&bomb).build();
    let taken = server.post_bytes("/v1/plugins", "application/wasm", bomb);
    assert_eq!(taken.status, 202, "{taken:?}");
    let path = taken.headers["location"].to_str().unwrap().to_owned();
    let mut ran = 0;
    let ended: Value = loop {
        let run = server.run(&asking, json!({}));
        assert_eq!(run["status"], "succeeded", "{run}");
        assert_eq!(run["steps"][0]["plugin"]["version"], "1.0.0", "{run}");
        let now = server.get(&path);
        assert_eq!(now.status, 200);
        if now.body["status"] != "compiling" {
            break now.body;
        }
        ran += 1;
    };
    assert_eq!(
        (&ended["status"], &ended["failure"]["code"]),
        (&json!("failed"), &json!("compile_limit")),
        "{ended}"
    );
    assert!(ran > 0, "nothing ran while it was compiled");
    // Another one comes after it as if nothing had been.
    server.push(Guest::tool("teller").version("1.2.0").build());
    assert_eq!(server.run(&asking, json!({}))["steps"][0]["plugin"]["version"], "1.2.0");
}
