//! Reading a request: its body within a bound of bytes and of time, its members by name, its parameters by name.
//! Nothing that is not asked for is let through, so that a misspelt member is an error and not a silence.

use super::codes::Code;
use super::problem::{Place, Problem};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use heddle_core::document::pointer;
use heddle_core::expr::tree::nearest;
use heddle_core::json::{Json, JsonFault};
use heddle_core::limits::Limits;
use heddle_core::value::Value;
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// How much of a body is read.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Bytes.
    pub bytes: u64,
    /// The limit that says so.
    pub limit: &'static str,
    /// Milliseconds for the whole body.
    pub read_ms: u64,
}

impl Bound {
    /// Of every request but uploads of components.
    pub fn small(limits: &Limits) -> Bound {
        Bound { bytes: limits.body_bytes, limit: "body_bytes", read_ms: limits.body_read_ms }
    }
}

/// Reads a whole body. Stops at the bound, whatever the headers said.
pub async fn read(headers: &HeaderMap, body: Body, bound: Bound) -> Result<Bytes, Problem> {
    let said: Option<u64> = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    if said.is_some_and(|bytes| bytes > bound.bytes) {
        let enough = tokio::time::timeout(Duration::from_millis(bound.read_ms), drain(body, bound));
        // Whoever sends it more slowly than that gets the answer anyway.
        let _ = enough.await;
        return Err(too_large(bound));
    }
    match tokio::time::timeout(Duration::from_millis(bound.read_ms), collect(body, bound)).await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body did not come within {} ms (`limits.body_read_ms`)", bound.read_ms);
            Err(Problem::new(Code::RequestTimeout, detail))
        }
    }
}

async fn collect(mut body: Body, bound: Bound) -> Result<Bytes, Problem> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Problem::new(Code::BodyInvalid, format!("the body broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            if (read.len() + data.len()) as u64 > bound.bytes {
                drain(body, bound).await;
                return Err(too_large(bound));
            }
            read.extend_from_slice(data);
        }
    }
    Ok(read.freeze())
}

/// Takes what else comes, as far as a body may go: a connection that is closed upon a sender who still sends loses the
/// answer that says why.
async fn drain(mut body: Body, bound: Bound) {
    let mut more = 0;
    while let Some(Ok(frame)) = body.frame().await {
        more += frame.data_ref().map_or(0, Bytes::len) as u64;
        if more > bound.bytes {
            return;
        }
    }
}

fn too_large(bound: Bound) -> Problem {
    let detail = format!("the body has more than {} bytes (`limits.{}`)", bound.bytes, bound.limit);
    Problem::new(Code::BodyTooLarge, detail)
}

/// The media type of a body, without parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next()?.trim().to_ascii_lowercase())
}

/// The character set that the headers claim, in lower case.
fn charset(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let (_, value) = text
        .split(';')
        .skip(1)
        .filter_map(|p| p.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches('"').to_ascii_lowercase())
}

/// Refuses a body that says it is something else.
pub fn want_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    if let Some(said) = charset(headers).filter(|said| !["utf-8", "utf8", "us-ascii"].contains(&&**said)) {
        return Err(Problem::new(Code::UnsupportedMediaType, format!("the body is in `{said}`; send UTF-8")));
    }
    match media_type(headers) {
        Some(said) if !wanted.contains(&&*said) => {
            let list = wanted.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
            Err(Problem::new(Code::UnsupportedMediaType, format!("the body is `{said}`; send {list}")))
        }
        _ => Ok(()),
    }
}

/// The body as JSON, of at most so many levels.
pub fn json(bytes: &[u8], levels: u64) -> Result<Json, Problem> {
    Json::parse_within(bytes, levels).map_err(|fault| {
        let code = match fault {
            JsonFault::TooDeep { .. } => Code::JsonDepth,
            JsonFault::NotUtf8 | JsonFault::Syntax { .. } | JsonFault::DuplicateKey { .. } => {
                Code::JsonInvalid
            }
        };
        let at = match fault {
            JsonFault::Syntax { at, .. }
            | JsonFault::DuplicateKey { at, .. }
            | JsonFault::TooDeep { at, .. } => Some(at),
            JsonFault::NotUtf8 => None,
        };
        let place = at.map(|at| line_and_column(bytes, at));
        let error = Place {
            message: fault.to_string(),
            line: place.map(|p| p.0),
            column: place.map(|p| p.1),
            ..Place::default()
        };
        Problem::new(code, fault.to_string()).at([error])
    })
}

/// The JSON of a small request, within the bounds that all of these have.
pub async fn small(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Json, Problem> {
    want_type(headers, &["application/json"])?;
    json(&read(headers, body, Bound::small(limits)).await?, limits.json_depth)
}

/// The same of a request that may say nothing.
pub async fn small_or_none(
    headers: &HeaderMap,
    body: Body,
    limits: &Limits,
) -> Result<Option<Json>, Problem> {
    let bytes = read(headers, body, Bound::small(limits)).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    want_type(headers, &["application/json"])?;
    json(&bytes, limits.json_depth).map(Some)
}

fn line_and_column(text: &[u8], at: usize) -> (u32, u32) {
    let before = &text[..at.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() as u32 + 1)
}

/// The members of an object, asked for one by one. What nobody asked for is a fault.
#[derive(Debug)]
pub struct Members<'a> {
    value: &'a Value,
    asked: Vec<&'static str>,
    faults: Vec<Place>,
}

impl<'a> Members<'a> {
    /// The members of the body.
    pub fn of(body: &'a Json) -> Members<'a> {
        let mut faults = Vec::new();
        if !matches!(body.value(), Value::Map(_)) {
            faults.push(Place {
                message: format!("wants an object, and this is {}", body.value().type_name()),
                ..Place::default()
            });
        }
        Members { value: body.value(), asked: Vec::new(), faults }
    }
    /// A member, where it is there and not null.
    pub fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.asked.push(name);
        self.value.get(name).filter(|value| !matches!(value, Value::Null))
    }
    /// A member that is true or false.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.get(name)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                let message = format!("wants `true` or `false`, and this is {}", other.type_name());
                self.fault(name, message);
                None
            }
        }
    }
    /// A member that is a whole number of this range.
    pub fn whole(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(name)?;
        let mut text = String::new();
        value.write_json(&mut text);
        let read = text.parse::<u64>().ok().filter(|number| range.contains(number));
        if read.is_none() {
            self.fault(name, format!("wants a whole number from {} to {}", range.start(), range.end()));
        }
        read
    }
    /// A member that is text.
    pub fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.get(name)?;
        if value.as_str().is_none() {
            self.fault(name, format!("wants text, and this is {}", value.type_name()));
        }
        value.as_str()
    }
    /// A member that is an object of texts.
    pub fn texts(&mut self, name: &'static str) -> Vec<(String, String)> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let Value::Map(map) = value else {
            self.fault(name, format!("wants an object of texts, and this is {}", value.type_name()));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (key, value) in map.iter() {
            match value.as_str() {
                Some(text) => texts.push((key.to_string(), text.to_owned())),
                None => {
                    let message = format!("wants text, and this is {}", value.type_name());
                    self.faults.push(Place {
                        pointer: pointer(&pointer("", name), key),
                        message,
                        ..Place::default()
                    });
                }
            }
        }
        texts
    }
    /// Notes a fault of a member.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        let pointer = if name.is_empty() { String::new() } else { pointer("", name) };
        self.faults.push(Place { pointer, message: message.into(), ..Place::default() });
    }
    /// Everything has been asked for.
    pub fn finish(mut self) -> Result<(), Problem> {
        if let Value::Map(map) = self.value {
            for key in map.keys().filter(|key| !self.asked.contains(&&***key)) {
                let hint = did_you_mean(key, &self.asked);
                self.faults.push(Place {
                    pointer: pointer("", key),
                    message: format!("there is no member `{key}`{hint}"),
                    ..Place::default()
                });
            }
        }
        refuse(Code::BodyInvalid, "the body has", self.faults)
    }
}

/// The parameters of a query, asked for one by one. What nobody asked for is a fault.
#[derive(Debug)]
pub struct Query {
    given: Vec<(String, String)>,
    asked: Vec<&'static str>,
    faults: Vec<Place>,
}

impl Query {
    /// The parameters of a request target.
    pub fn of(query: Option<&str>) -> Query {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let given = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Query { given: given.collect(), asked: Vec::new(), faults: Vec::new() }
    }
    /// A parameter; a fault where it stands twice.
    pub fn get(&mut self, name: &'static str) -> Option<String> {
        self.asked.push(name);
        let mut found = self.given.iter().filter(|(n, _)| n == name);
        let first = found.next().map(|(_, value)| value.clone());
        if found.next().is_some() {
            self.fault(name, "stands twice");
        }
        first
    }
    /// A parameter, read in this way; `wants` says what it should be.
    pub fn read<T>(
        &mut self,
        name: &'static str,
        wants: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.get(name)?;
        let read = parse(&text);
        if read.is_none() {
            self.fault(name, format!("is {wants}, not `{}`", text.chars().take(64).collect::<String>()));
        }
        read
    }
    /// Where a page shall begin: `cursor`. An empty one is none.
    pub fn cursor<T: FromStr>(&mut self) -> Option<T> {
        let read = self.read("cursor", "the `cursor` of the last page", |text| match text.is_empty() {
            true => Some(None),
            false => text.parse().ok().map(Some),
        });
        read.flatten()
    }
    /// A label that is asked for: `label`, as `key=value`.
    pub fn label(&mut self) -> Option<(String, String)> {
        let pair = |text: &str| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.read("label", "`key=value`", pair)
    }
    /// How many items a page shall have: `limit`, at most the node's.
    pub fn page(&mut self, most: u64) -> u32 {
        let wants = format!("a whole number from 1 to {most}");
        let read = self.read("limit", &wants, |text| {
            text.parse::<u32>().ok().filter(|n| (1..=most).contains(&u64::from(*n)))
        });
        read.unwrap_or(50.min(most as u32))
    }
    fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(Place {
            pointer: name.to_owned(),
            message: format!("`{name}` {}", message.into()),
            ..Place::default()
        });
    }
    /// Everything has been asked for.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in self.given.iter().filter(|(name, _)| !self.asked.contains(&&**name)) {
            let hint = did_you_mean(name, &self.asked);
            let message = format!("there is no parameter `{name}`{hint}");
            self.faults.push(Place { pointer: name.clone(), message, ..Place::default() });
        }
        refuse(Code::ParameterInvalid, "the query has", self.faults)
    }
}

fn did_you_mean(said: &str, known: &[&'static str]) -> String {
    match nearest(said, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if known.is_empty() => String::new(),
        None => {
            format!("; there are {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Refuses what has faults.
pub(super) fn refuse(code: Code, what: &str, faults: Vec<Place>) -> Result<(), Problem> {
    match faults.as_slice() {
        [] => Ok(()),
        [one] => Err(Problem::new(code, one.message.clone()).at(faults)),
        more => Err(Problem::new(code, format!("{what} {} faults", more.len())).at(faults)),
    }
}

/// `%41` and `+` as they are meant; what is no escape stays as it is.
pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |i: usize| bytes.get(i).and_then(|b| (*b as char).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_members_and_parameters_are_refused_with_the_nearest() {
        let body = Json::parse(br#"{"workflow":"a/b","imput":{},"labels":{"a":1}}"#).unwrap();
        let mut members = Members::of(&body);
        assert_eq!(members.text("workflow"), Some("a/b"));
        members.get("input");
        members.texts("labels");
        let problem = members.finish().unwrap_err();
        assert_eq!(problem.errors.len(), 2, "{problem:?}");
        assert!(problem.errors.iter().any(|e| e.message.contains("did you mean `input`")));
        assert!(problem.errors.iter().any(|e| e.pointer == "/labels/a"));

        let mut query = Query::of(Some("limit=0&labell=x%20y&limit=2"));
        query.page(200);
        query.get("label");
        let problem = query.finish().unwrap_err();
        assert_eq!(problem.errors.len(), 3, "{problem:?}");
    }
    #[test]
    fn json_faults_say_line_and_column() {
        let problem = json(b"{\n  \"a\": 1,\n  \"a\": 2}", 64).unwrap_err();
        assert_eq!((problem.code, problem.errors[0].line), (Code::JsonInvalid, Some(3)));
        assert_eq!(json("[".repeat(100).as_bytes(), 64).unwrap_err().code, Code::JsonDepth);
        assert_eq!(json(b"\xff", 64).unwrap_err().code, Code::JsonInvalid);
    }
    #[test]
    fn escapes() {
        assert_eq!(decode("a%2Fb+c%zz%4"), "a/b c%zz%4");
    }
}
