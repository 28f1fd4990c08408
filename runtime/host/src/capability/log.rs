//! `heddle:host/log`, and the sink behind it that stdout and stderr share.
//!
//! A guest may write as much as it has fuel for; what is kept is bounded by line, by rate and in all, and what is
//! dropped is counted and told in one last line. Control characters are escaped, so that no line can draw on a terminal
//! or pretend to be two.

use crate::bindings::Level;
use crate::guest::{Cx, Guest, enter};
use crate::host_calls::LogLevel;
use heddle_core::limits::Limits;
use std::borrow::Cow;
use std::time::{Duration, Instant};
use wasmtime::component::Linker;

const INTERFACE: &str = "heddle:host/log@0.1.0";

/// What one attempt may still write.
#[derive(Debug)]
pub(crate) struct LogSink {
    bytes_left: u64,
    line_bytes: usize,
    lines_per_second: u64,
    second_began: Option<Instant>,
    lines_in_second: u64,
    dropped_lines: u64,
    out: Stream,
    err: Stream,
}

/// stdout or stderr: bytes become lines.
#[derive(Debug)]
struct Stream {
    bytes_left: u64,
    dropped_bytes: u64,
    partial: Vec<u8>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdio {
    Out,
    Err,
}

impl LogSink {
    pub(crate) fn new(limits: &Limits) -> LogSink {
        let stream = || Stream { bytes_left: limits.stdio_bytes, dropped_bytes: 0, partial: Vec::new() };
        LogSink {
            bytes_left: limits.log_bytes,
            line_bytes: limits.log_line_bytes as usize,
            lines_per_second: limits.log_lines_per_second,
            second_began: None,
            lines_in_second: 0,
            dropped_lines: 0,
            out: stream(),
            err: stream(),
        }
    }

    /// Counts one line; whether the rate allows it.
    pub(crate) fn within_rate(&mut self) -> bool {
        let now = Instant::now();
        if self.second_began.is_none_or(|began| now - began >= Duration::from_secs(1)) {
            self.second_began = Some(now);
            self.lines_in_second = 0;
        }
        self.lines_in_second += 1;
        self.lines_in_second <= self.lines_per_second
    }

    /// The line as it may be kept, or nothing when it is dropped.
    fn admit(&mut self, line: &str) -> Option<String> {
        if !self.within_rate() || self.bytes_left == 0 {
            self.dropped_lines += 1;
            return None;
        }
        let line = printable(line, self.line_bytes.min(self.bytes_left as usize));
        self.bytes_left = self.bytes_left.saturating_sub(line.len() as u64);
        Some(line)
    }
}

impl Guest {
    /// Keeps one line, if the limits let it.
    pub(crate) fn write_log(&mut self, level: LogLevel, line: &str) {
        if let Some(line) = self.log.admit(line) {
            self.host_calls.log(&self.scope, level, &line);
        }
    }

    /// Takes what the guest wrote to stdout or stderr; never fails.
    pub(crate) fn write_stdio(&mut self, which: Stdio, bytes: &[u8]) {
        let stream = self.log.stream(which);
        let keep = bytes.len().min(stream.bytes_left as usize);
        stream.bytes_left -= keep as u64;
        stream.dropped_bytes += (bytes.len() - keep) as u64;
        for piece in bytes[..keep].split_inclusive(|&byte| byte == b'\n') {
            let partial = &mut self.log.stream(which).partial;
            partial.extend_from_slice(piece);
            if partial.pop_if(|last| *last == b'\n').is_some() {
                let line = std::mem::take(partial);
                self.write_log(which.level(), &text(&line));
            }
        }
    }

    /// Writes what is left, and what was dropped. Once, at the end of the attempt.
    pub(crate) fn finish_log(&mut self) {
        for which in [Stdio::Out, Stdio::Err] {
            let rest = std::mem::take(&mut self.log.stream(which).partial);
            if !rest.is_empty() {
                self.write_log(which.level(), &text(&rest));
            }
        }
        let (out, err) = (self.log.out.dropped_bytes, self.log.err.dropped_bytes);
        for (name, dropped) in [("stdout", out), ("stderr", err)] {
            if dropped > 0 {
                let mark = format!("{name}: {dropped} bytes dropped (`limits.stdio_bytes`)");
                self.host_calls.log(&self.scope, LogLevel::Warn, &mark);
            }
        }
        if self.log.dropped_lines + out + err > 0 {
            self.host_calls.dropped(&self.scope, self.log.dropped_lines, out + err);
        }
        if self.log.dropped_lines > 0 {
            let mark = format!(
                "{} lines dropped (`limits.log_bytes`, `limits.log_lines_per_second`)",
                self.log.dropped_lines
            );
            self.host_calls.log(&self.scope, LogLevel::Warn, &mark);
        }
    }
}

impl LogSink {
    fn stream(&mut self, which: Stdio) -> &mut Stream {
        match which {
            Stdio::Out => &mut self.out,
            Stdio::Err => &mut self.err,
        }
    }
}

impl Stdio {
    fn level(self) -> LogLevel {
        match self {
            Stdio::Out => LogLevel::Info,
            Stdio::Err => LogLevel::Warn,
        }
    }
}

/// Bytes as text. What is no UTF-8 is shown as what it is, byte by byte: a mark in its place would hide what was there.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 32);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    Cow::Owned(out)
}

/// The text cut to this many bytes, with every control character written as an escape.
pub(crate) fn printable(text: &str, max_bytes: usize) -> String {
    const MARK: &str = "…";
    let mut out = String::with_capacity(text.len().min(max_bytes));
    for c in text.chars() {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        if out.len() > max_bytes {
            out.truncate(before);
            while out.len() + MARK.len() > max_bytes && out.pop().is_some() {}
            if MARK.len() <= max_bytes {
                out.push_str(MARK);
            }
            break;
        }
    }
    out
}

/// Characters that change the direction or the look of what stands around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut log = linker.instance(INTERFACE)?;
    log.func_wrap("write", |mut cx: Cx<'_>, (level, message): (Level, String)| {
        enter(&mut cx, message.len())?;
        let level = match level {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        cx.data_mut().write_log(level, &message);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_cuts() {
        assert_eq!(printable("a\x1b[31m\r\nb\0", 100), "a\\u{1b}[31m\\r\\nb\\u{0}");
        assert_eq!(printable("aé\u{202e}x", 100), "aé\\u{202e}x");
        for max in 0..40 {
            let cut = printable("äöü\nßßßßßßßßßß\u{7}ßß", max);
            assert!(cut.len() <= max, "{max}: {cut}");
        }
        assert_eq!(printable("abcdefgh", 6), "abc…");
    }
    #[test]
    fn a_flood_is_dropped_and_counted() {
        let mut limits = Limits::default();
        limits.set("log_lines_per_second", 10).unwrap();
        let mut sink = LogSink::new(&limits);
        assert_eq!((0..100).filter_map(|_| sink.admit("x")).count(), 10);
        assert_eq!(sink.dropped_lines, 90);
        let mut sink = LogSink::new(&limits);
        sink.bytes_left = 5;
        assert_eq!((0..5).filter_map(|_| sink.admit("xx")).collect::<String>(), "xxxx");
    }
}
