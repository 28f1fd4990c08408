//! Secrets that never enter a guest: it has a text that stands for one, in its attempt and nowhere else. The value is put
//! in on the way out, where the request goes to a place for which the secret is granted; whatever comes back is searched
//! for it.

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heddle_core::id::Digest;
use heddle_core::limits::Limits;
use heddle_core::outside::{
    HttpFault, HttpFaultKind, HttpResponse, Prepared, SECRET_LEAST_BYTES, URL_BYTES, Url,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// What every text begins with that stands for a secret.
const BEGIN: &str = "heddle-secret-";
/// Headers with which an answer comes back packed or in part, so that nobody can look for a value in it.
const HIDING: &[&str] = &["accept-encoding", "range"];
/// Bytes of the name of a secret.
const NAME_BYTES: usize = 128;

/// What stands for which secret, in one attempt.
#[derive(Debug, Default)]
pub(super) struct Placeholders(Mutex<BTreeMap<Arc<str>, String>>);

impl Placeholders {
    /// What stands for this secret.
    ///
    /// # Errors
    /// Where the attempt has asked for too many.
    pub(super) fn of(&self, name: &str, most: usize) -> Result<String, String> {
        if name.len() > NAME_BYTES {
            return Err(format!("the name of a secret has at most {NAME_BYTES} bytes"));
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known.get(name) {
            return Ok(text.clone());
        }
        if known.len() >= most {
            return Err(format!("{most} secrets have been asked for; the limit secrets_used is {most}"));
        }
        // Nobody can guess it, and nothing of the secret is in it.
        let seed = format!("{}{}{name}", uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
        let text = format!("{BEGIN}{}", &Digest::of(seed.as_bytes()).hex()[..32]);
        known.insert(name.into(), text.clone());
        Ok(text)
    }

    /// This text stands for the secret: it did in an attempt that was cut off.
    pub(super) fn adopt(&self, name: &str, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), text.to_owned());
    }

    /// Puts the values in. Of a secret that is not granted for where the request goes, the text goes instead.
    ///
    /// # Errors
    /// Where a value cannot stand there, where the request would be larger with it than one may be, or where the answer
    /// would come back in a form in which nobody could find it.
    pub(super) fn put_in(
        &self,
        mut request: Prepared,
        granted: &[(&str, &str)],
        limits: &Limits,
    ) -> Result<Prepared, HttpFault> {
        let invalid = |message: String| HttpFault::new(HttpFaultKind::Invalid, message);
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut used = false;
        for (name, value) in granted {
            let Some(text) = held.get(*name) else { continue };
            let swap = Swap::new(text, value);
            for (header, content) in &mut request.headers {
                let Some(more) = swap.in_text(content, limits.http_header_bytes).map_err(invalid)? else {
                    continue;
                };
                if more.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
                    let message =
                        format!("the secret `{name}` has characters that the header `{header}` cannot have");
                    return Err(invalid(message));
                }
                (*content, used) = (more, true);
            }
            let encoded = url_encoded(value);
            let in_url = Swap::new(text, &encoded);
            let query = request.url.query().unwrap_or_default();
            if let Some(query) = in_url.in_text(query, URL_BYTES as u64).map_err(invalid)? {
                request.url.set_query(Some(&query));
                used = true;
            }
            if let Some(path) = in_url.in_text(request.url.path(), URL_BYTES as u64).map_err(invalid)? {
                request.url.set_path(&path);
                used = true;
            }
            if let Some(body) = swap.in_bytes(&request.body, limits.http_request_bytes).map_err(invalid)? {
                (request.body, used) = (body, true);
            }
        }
        let headers: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if used && headers as u64 > limits.http_header_bytes {
            return Err(invalid(too_large(headers, limits.http_header_bytes)));
        }
        match request.headers.iter().find(|(name, _)| used && HIDING.contains(&name.as_str())) {
            Some((name, _)) => Err(invalid(format!(
                "a request with a secret in it goes without the header `{name}`: the secret could not be found in the answer"
            ))),
            None => Ok(request),
        }
    }

    /// Takes the values out of an answer, in the forms in which they are likely to come back.
    ///
    /// # Errors
    /// Where the answer would be larger than one may be with what stands there instead.
    pub(super) fn take_out(
        &self,
        mut answer: HttpResponse,
        granted: &[(&str, &str)],
        limits: &Limits,
    ) -> Result<HttpResponse, HttpFault> {
        let large = |message: String| HttpFault::new(HttpFaultKind::TooLarge, message);
        let Some(forms) = self.forms(granted).map_err(large)? else { return Ok(answer) };
        for (name, content) in &mut answer.headers {
            for text in [name, content] {
                if let Some(less) = forms.out_of_text(text, limits.http_header_bytes).map_err(large)? {
                    *text = less;
                }
            }
        }
        if let Some(body) = forms.out_of(&answer.body, limits.http_response_bytes).map_err(large)? {
            answer.body = body;
        }
        Ok(answer)
    }
    /// The same of what is said about a failure.
    pub(super) fn take_out_of_fault(&self, fault: HttpFault, granted: &[(&str, &str)]) -> HttpFault {
        let message = match self.forms(granted) {
            Ok(None) => fault.message,
            Ok(Some(forms)) => {
                let less = forms.out_of_text(&fault.message, u64::MAX);
                less.ok().flatten().unwrap_or(fault.message)
            }
            Err(why) => why,
        };
        HttpFault { message, ..fault }
    }
    /// What is searched for; nothing where there is no secret.
    ///
    /// # Errors
    /// Where they are too large to be searched for.
    fn forms(&self, granted: &[(&str, &str)]) -> Result<Option<Forms>, String> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut forms, mut instead) = (Vec::new(), Vec::new());
        for (name, value) in granted.iter().filter(|(_, value)| value.len() >= SECRET_LEAST_BYTES) {
            let text = held.get(*name).cloned().unwrap_or_else(|| format!("[secret {name}]"));
            for form in forms_of(value) {
                forms.push(form);
                instead.push(text.clone());
            }
        }
        if forms.is_empty() {
            return Ok(None);
        }
        // Of those that begin at one place the longest is found.
        let found = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&forms);
        let found = found.map_err(|fault| format!("the secrets cannot be searched for: {fault}"))?;
        Ok(Some(Forms { found, instead }))
    }
}

/// Every form of the secrets of a place, searched for in one pass.
struct Forms {
    found: AhoCorasick,
    /// What is written instead of each.
    instead: Vec<String>,
}

impl Forms {
    /// The bytes without them; nothing where there are none. What they would be is counted first.
    ///
    /// # Errors
    /// Where they would be more than these.
    fn out_of(&self, bytes: &[u8], most: u64) -> Result<Option<Vec<u8>>, String> {
        let (mut length, mut is_there) = (bytes.len(), false);
        for found in self.found.find_iter(bytes) {
            length = length - found.len() + self.instead[found.pattern()].len();
            is_there = true;
        }
        if !is_there {
            return Ok(None);
        }
        if length > bytes.len() && length as u64 > most {
            return Err(too_large(length, most));
        }
        let (mut out, mut rest) = (Vec::with_capacity(length), 0);
        for found in self.found.find_iter(bytes) {
            out.extend_from_slice(&bytes[rest..found.start()]);
            out.extend_from_slice(self.instead[found.pattern()].as_bytes());
            rest = found.end();
        }
        out.extend_from_slice(&bytes[rest..]);
        Ok(Some(out))
    }
    /// The same of a text.
    fn out_of_text(&self, text: &str, most: u64) -> Result<Option<String>, String> {
        let bytes = self.out_of(text.as_bytes(), most)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// In which forms a value is likely to come back: as it is, in JSON, in an address, and in base64.
fn forms_of(value: &str) -> BTreeSet<String> {
    let (encoded, json) = (url_encoded(value), serde_json::Value::from(value).to_string());
    let mut forms: BTreeSet<String> = [
        value.to_owned(),
        // Without its own quotes, and with those that are the value's.
        json[1..json.len() - 1].to_owned(),
        value.replace('/', "\\/"),
        url_form(value),
        lower_percent(&encoded),
        encoded,
    ]
    .into();
    // It looks otherwise by where it begins among the three bytes that go together; those at its ends depend on what
    // stands beside it.
    for (before, depends) in [(0, 0), (1, 2), (2, 3)] {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value.as_bytes());
        let text = STANDARD.encode(bytes);
        let text = text.trim_end_matches('=');
        let inner = &text[depends..text.len() - 1];
        forms.insert(inner.to_owned());
        forms.insert(inner.replace('+', "-").replace('/', "_"));
    }
    forms
}

/// `%2f` where `%2F` stands.
fn lower_percent(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(part.len().min(2));
        out.push('%');
        out.push_str(&code.to_ascii_lowercase());
        out.push_str(rest);
    }
    out
}

fn too_large(bytes: usize, most: u64) -> String {
    format!("with its secrets put in or taken out it has {bytes} bytes, where at most {most} may be")
}

/// One text in place of another.
struct Swap<'a> {
    from: memchr::memmem::Finder<'a>,
    to: &'a [u8],
}

impl<'a> Swap<'a> {
    fn new(from: &'a str, to: &'a str) -> Swap<'a> {
        Swap { from: memchr::memmem::Finder::new(from), to: to.as_bytes() }
    }
    /// The bytes with it; nothing where there is nothing to put it for. What they would be is counted first.
    ///
    /// # Errors
    /// Where they would be more than these.
    fn in_bytes(&self, bytes: &[u8], most: u64) -> Result<Option<Vec<u8>>, String> {
        let from = self.from.needle().len();
        let found = self.from.find_iter(bytes).count();
        if found == 0 {
            return Ok(None);
        }
        let length = bytes.len() - found * from + found.saturating_mul(self.to.len());
        if length > bytes.len() && length as u64 > most {
            return Err(too_large(length, most));
        }
        let (mut out, mut rest) = (Vec::with_capacity(length), 0);
        for at in self.from.find_iter(bytes) {
            out.extend_from_slice(&bytes[rest..at]);
            out.extend_from_slice(self.to);
            rest = at + from;
        }
        out.extend_from_slice(&bytes[rest..]);
        Ok(Some(out))
    }
    /// The same of a text.
    fn in_text(&self, text: &str, most: u64) -> Result<Option<String>, String> {
        let bytes = self.in_bytes(text.as_bytes(), most)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// As it stands in an address.
fn url_encoded(value: &str) -> String {
    let pair: String = url_form(value);
    pair.replace('+', "%20")
}

fn url_form(value: &str) -> String {
    let mut url = Url::parse("http://a/").unwrap_or_else(|_| unreachable!("it is an address"));
    url.query_pairs_mut().append_pair("", value);
    url.query().unwrap_or_default().trim_start_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const VALUE: &str = "s3cr3t/value+1";

    const KEY: &[(&str, &str)] = &[("key", VALUE)];

    fn request(url: &str, text: &str) -> Prepared {
        Prepared {
            method: "POST".into(),
            url: Url::parse(&format!("{url}/{text}?q={text}")).unwrap(),
            headers: vec![("authorization".into(), format!("Bearer {text}"))],
            body: format!("[\"{text}\"]").into_bytes(),
            timeout: Duration::from_secs(1),
        }
    }

    fn put_in(
        placeholders: &Placeholders,
        request: Prepared,
        granted: &[(&str, &str)],
    ) -> Result<Prepared, HttpFault> {
        placeholders.put_in(request, granted, &Limits::default())
    }

    #[test]
    fn a_value_goes_to_where_it_is_granted_and_nowhere_else() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        assert_eq!(placeholders.of("key", 2).unwrap(), key, "one text for one secret");
        let other = placeholders.of("other", 2).unwrap();
        assert!(placeholders.of("third", 2).unwrap_err().contains("secrets_used"));
        let there = put_in(&placeholders, request("https://a.example", &key), KEY).unwrap();
        assert_eq!(there.headers[0].1, format!("Bearer {VALUE}"));
        assert_eq!(there.body, format!("[\"{VALUE}\"]").into_bytes());
        assert_eq!(there.url.as_str(), "https://a.example/s3cr3t%2Fvalue%2B1?q=s3cr3t%2Fvalue%2B1");
        let elsewhere = put_in(&placeholders, request("https://a.example", &other), KEY).unwrap();
        assert_eq!(elsewhere, request("https://a.example", &other), "it stays what it is");
        // Another attempt has other texts: those of this one mean nothing there.
        let later = Placeholders::default();
        assert_ne!(later.of("key", 2).unwrap(), key);
        let inert = put_in(&later, request("https://a.example", &key), KEY).unwrap();
        assert_eq!(inert, request("https://a.example", &key));
    }

    #[test]
    fn a_value_that_breaks_a_header_is_not_sent() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        let broken = [("key", "a\r\nx: y")];
        let fault = put_in(&placeholders, request("https://a.example", &key), &broken).unwrap_err();
        assert_eq!(fault.kind, HttpFaultKind::Invalid);
        assert!(!fault.message.contains("x: y"));
    }

    #[test]
    fn what_grows_with_a_value_is_held_to_the_same_bounds() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        let long = "x".repeat(4_096);
        let body = Prepared { body: key.repeat(90_000).into_bytes(), ..request("https://a.example", "t") };
        let header = Prepared {
            headers: (0..90).map(|n| (format!("h{n}"), key.clone())).collect(),
            ..request("https://a.example", "t")
        };
        let address = request("https://a.example", &format!("{key}{key}{key}"));
        for large in [body, header, address] {
            let fault = put_in(&placeholders, large, &[("key", &long)]).unwrap_err();
            assert!(fault.message.contains("bytes, where at most"), "{fault}");
        }
        let limits = Limits { http_response_bytes: 1_000, ..Limits::default() };
        let answer = HttpResponse { body: VALUE.repeat(60).into_bytes(), ..HttpResponse::default() };
        let fault = placeholders.take_out(answer, KEY, &limits).unwrap_err();
        assert_eq!(fault.kind, HttpFaultKind::TooLarge);
    }

    #[test]
    fn an_answer_in_which_nothing_could_be_found_is_not_asked_for() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        for name in HIDING {
            let mut hiding = request("https://a.example", &key);
            hiding.headers.push(((*name).into(), "x".into()));
            let fault = put_in(&placeholders, hiding.clone(), KEY).unwrap_err();
            assert!(fault.message.contains(name), "{fault}");
            put_in(&placeholders, hiding, &[]).unwrap();
        }
        assert!(placeholders.of(&"n".repeat(129), 2).unwrap_err().contains("128"));
    }

    #[test]
    fn quotes_of_a_value_are_its_own() {
        let value = "\"quoted\"\n";
        let answer = HttpResponse { body: br#"{"echo":"\"quoted\"\n"}"#.to_vec(), ..HttpResponse::default() };
        let clean = Placeholders::default().take_out(answer, &[("q", value)], &Limits::default()).unwrap();
        assert_eq!(String::from_utf8(clean.body).unwrap(), r#"{"echo":"[secret q]"}"#);
    }

    #[test]
    fn what_comes_back_has_no_value_in_it() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        let packed: Vec<String> = ["", "a", "ab", "abc"]
            .map(|before| STANDARD.encode(format!("{before}{VALUE}: and more")))
            .into_iter()
            .flat_map(|text| [text.replace('+', "-").replace('/', "_"), text])
            .collect();
        let echoed = format!(
            "you sent {VALUE} {} {} s3cr3t%2fvalue%2b1 s3cr3t\\/value+1 and another-one",
            STANDARD.encode(VALUE),
            packed.join(" ")
        );
        let answer = HttpResponse {
            status: 200,
            headers: vec![("location".into(), "https://x/?k=s3cr3t%2Fvalue%2B1".into())],
            body: echoed.into_bytes(),
        };
        let granted = [("key", VALUE), ("other", "another-one"), ("short", "a")];
        let clean = placeholders.take_out(answer, &granted, &Limits::default()).unwrap();
        let body = String::from_utf8(clean.body).unwrap();
        assert!(
            body.starts_with(&format!("you sent {key} ")) && body.ends_with("and [secret other]"),
            "{body}"
        );
        for text in packed.iter().map(String::as_str).chain(["s3cr3t%2f", "s3cr3t\\/"]) {
            assert!(!body.contains(text), "{body}");
        }
        assert_eq!(clean.headers[0].1, format!("https://x/?k={key}"));
        let fault = HttpFault::new(HttpFaultKind::Failed, format!("no answer for {VALUE}"));
        assert_eq!(placeholders.take_out_of_fault(fault, &granted).message, format!("no answer for {key}"));
    }
}
