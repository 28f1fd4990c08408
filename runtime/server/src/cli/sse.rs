//! Reading server-sent events, as a client: lines into events, whatever the chunks that they come in.

use bytes::Bytes;
use serde_json::Value;

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    /// Its id, where it has one.
    pub(crate) id: Option<String>,
    /// Its type.
    pub(crate) kind: String,
    /// Its data.
    pub(crate) data: Value,
}

/// Bytes of one event that are kept; an event of ours is far smaller.
const MOST: usize = 32 << 20;

/// Collects chunks until they make events.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    rest: Vec<u8>,
}

impl Reader {
    /// Takes a chunk and gives the events that are complete with it.
    pub(crate) fn take(&mut self, chunk: &Bytes) -> Vec<Event> {
        self.rest.extend_from_slice(chunk);
        let mut events = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            events.extend(parse(&String::from_utf8_lossy(&block)));
        }
        if self.rest.len() > MOST {
            self.rest.clear();
        }
        events
    }
}

fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data = String::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => event.id = Some(value.to_owned()),
            "event" => event.kind = value.to_owned(),
            "data" => {
                if !data.is_empty() {
                    data.push('\n');
                }
                data.push_str(value);
            }
            // Comments and `retry` are for the connection, not for its reader.
            _ => {}
        }
    }
    event.data = serde_json::from_str(&data).ok()?;
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_whatever_the_chunks() {
        let text = "retry: 1000\n\n: heartbeat\n\nid: 1.0\nevent: run.queued\ndata: {\"a\":1}\n\nevent: progress\ndata: {}\n\nid: 2";
        for size in [1, 2, 3, 7, 1000] {
            let mut reader = Reader::default();
            let events: Vec<Event> = text
                .as_bytes()
                .chunks(size)
                .flat_map(|chunk| reader.take(&Bytes::copy_from_slice(chunk)))
                .collect();
            assert_eq!(events.len(), 2, "{size}");
            assert_eq!((events[0].id.as_deref(), events[0].kind.as_str()), (Some("1.0"), "run.queued"));
            assert_eq!((events[1].id.as_deref(), events[1].kind.as_str()), (None, "progress"));
        }
    }
}
