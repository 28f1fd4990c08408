//! What is too large, too much or too slow, over a real socket.

use crate::support::{PATIENCE_MS, address, ask, get, parse, post, raw};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn a_target_a_head_and_a_body_have_bounds() {
    get(&format!("/v1/runs?label={}", "x".repeat(9_000))).is_problem(414, "uri_too_long");
    let many: Vec<(String, String)> = (0..101).map(|i| (format!("x-{i}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    ask("GET", "/livez", &many, "").is_problem(431, "headers_too_large");
    let large = "x".repeat(65 * 1024);
    ask("GET", "/livez", &[("x-large", &large)], "").is_problem(431, "headers_too_large");
    let far_too_large = "x".repeat(300 * 1024);
    assert_eq!(ask("GET", "/livez", &[("x-large", &far_too_large)], "").status, 431);
    post("/v1/runs", &format!("\"{}\"", "x".repeat(200_000))).is_problem(413, "body_too_large");
    assert_eq!(get("/livez").status, 200);
}

#[test]
fn a_body_is_bounded_whatever_its_head_says() {
    // A length that lies, and none at all.
    raw(b"POST /v1/runs HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n")
        .is_problem(413, "body_too_large");
    let mut chunked = b"POST /v1/plugins HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: application/wasm\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..10 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x10000]);
        chunked.extend_from_slice(b"\r\n");
    }
    raw(&chunked).is_problem(413, "body_too_large");
}

#[test]
fn a_slow_head_is_closed_and_a_slow_body_is_told() {
    let began = Instant::now();
    let mut slow = TcpStream::connect(address()).unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: t\r\n").unwrap();
    let mut rest = Vec::new();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    slow.read_to_end(&mut rest).unwrap();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(PATIENCE_MS / 2) && took < Duration::from_millis(PATIENCE_MS + 5_000),
        "{took:?}"
    );
    assert!(matches!(parse(&rest).status, 0 | 408), "{rest:?}");

    raw(b"POST /v1/runs HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{").is_problem(408, "request_timeout");
}

#[test]
fn smuggled_lengths_are_refused() {
    for head in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let answer = raw(format!("POST /v1/runs HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{head}\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
        assert_eq!(answer.status, 400, "{head} {answer:?}");
        assert!(!answer.body.contains("HTTP/1.1 200"), "{answer:?}");
    }
}
