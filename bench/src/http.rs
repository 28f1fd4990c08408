//! The client that every server here is driven with, ours and the bare loop alike.
//!
//! HTTP/1.1 over one kept connection, written out by hand: on two cores the load generator runs beside the server, so
//! each microsecond that it spends is taken from what it measures. A request is bytes made once and sent many times.

use anyhow::{Context as _, bail, ensure};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What ends a head.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// One kept connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer, in the connection's own buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    /// The status.
    pub(crate) status: u16,
    head: &'a [u8],
    /// The body.
    pub(crate) body: &'a [u8],
}

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method != "GET" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("nothing listens at `{address}`"))?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, read: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let head = loop {
            let seen = self.read.len().saturating_sub(END_OF_HEAD.len() - 1);
            ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server closed the connection");
            if let Some(at) = find(&self.read[seen..], END_OF_HEAD) {
                break seen + at + END_OF_HEAD.len();
            }
        };
        let length = body_length(&self.read[..head])?;
        while self.read.len() < head + length {
            ensure!(
                self.stream.read_buf(&mut self.read).await? > 0,
                "the server closed the connection within an answer"
            );
        }
        let status = self.read.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        let status = status.context("the answer has no status")?;
        Ok(Answer { status, head: &self.read[..head], body: &self.read[head..head + length] })
    }
}

impl Answer<'_> {
    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(self.head, name)
    }
    /// The body as JSON, where the status is one of these.
    pub(crate) fn json(&self, statuses: &[u16]) -> anyhow::Result<serde_json::Value> {
        let text = String::from_utf8_lossy(self.body);
        if !statuses.contains(&self.status) {
            bail!("the server answered {}: {}", self.status, text.chars().take(2_000).collect::<String>());
        }
        serde_json::from_slice(self.body).with_context(|| format!("the answer is not JSON: {text:.200}"))
    }
}

fn body_length(head: &[u8]) -> anyhow::Result<usize> {
    ensure!(header(head, "transfer-encoding").is_none(), "this client reads no answers in chunks");
    header(head, "content-length").map_or(Ok(0), |text| text.parse().context("a length that is no number"))
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Where `wanted` begins.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_headers_are_read() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\nLocation: /v1/x\r\n\r\n";
        assert_eq!(body_length(head).unwrap(), 17);
        assert_eq!(header(head, "location"), Some("/v1/x"));
        assert!(body_length(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
    #[test]
    fn a_request_says_how_long_it_is() {
        let bytes = request("POST", "/a", &[("prefer", "wait=60")], b"{}");
        assert_eq!(
            bytes,
            b"POST /a HTTP/1.1\r\nhost: bench\r\nprefer: wait=60\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
