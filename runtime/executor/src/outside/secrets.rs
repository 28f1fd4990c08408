//! Secrets that never enter a guest: it has a text that stands for one, in its attempt and nowhere else. The value is put
//! in on the way out, where the request goes to a place for which the secret is granted; whatever comes back is searched
//! for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use heddle_core::grant::Grants;
use heddle_core::id::Digest;
use heddle_core::outside::{HttpFault, HttpFaultKind, HttpResponse, Prepared, Url};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What every text begins with that stands for a secret.
const BEGIN: &str = "heddle-secret-";
/// Shorter values are not searched for: they would be found everywhere.
const LEAST_BYTES: usize = 6;

/// What stands for which secret, in one attempt.
#[derive(Debug, Default)]
pub(super) struct Placeholders(Mutex<BTreeMap<Arc<str>, String>>);

impl Placeholders {
    /// What stands for this secret.
    ///
    /// # Errors
    /// Where the attempt has asked for too many.
    pub(super) fn of(&self, name: &str, most: usize) -> Result<String, String> {
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

    /// Puts the values in. Of a secret that is not granted for where the request goes, the text goes instead.
    ///
    /// # Errors
    /// Where a value cannot stand there, or the request would go elsewhere with it.
    pub(super) fn put_in(
        &self,
        mut request: Prepared,
        grants: &Grants,
        known: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> Result<Prepared, HttpFault> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, text) in held {
            let places = grants.secrets.get(&name).map(Vec::as_slice).unwrap_or_default();
            let Some(value) =
                known.get(&name).filter(|_| places.iter().any(|place| place.admits(&request.url)))
            else {
                continue;
            };
            for (header, content) in request.headers.iter_mut().filter(|(_, content)| content.contains(&text))
            {
                *content = content.replace(&text, value);
                if content.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
                    let message =
                        format!("the secret `{name}` has characters that the header `{header}` cannot have");
                    return Err(HttpFault::new(HttpFaultKind::Invalid, message));
                }
            }
            if let Some(query) = request.url.query().filter(|query| query.contains(&text)) {
                let value: String = url_encoded(value);
                let query = query.replace(&text, &value);
                request.url.set_query(Some(&query));
            }
            if request.url.path().contains(&text) {
                let path = request.url.path().replace(&text, &url_encoded(value));
                request.url.set_path(&path);
            }
            if let Some(body) = replaced(&request.body, text.as_bytes(), value.as_bytes()) {
                request.body = body;
            }
        }
        Ok(request)
    }

    /// Takes the values out of an answer, in the forms in which they are likely to come back.
    pub(super) fn take_out(&self, mut answer: HttpResponse, granted: &[(&str, &str)]) -> HttpResponse {
        for (value, instead) in self.forms(granted) {
            for (_, content) in &mut answer.headers {
                if content.contains(&value) {
                    *content = content.replace(&value, &instead);
                }
            }
            if let Some(body) = replaced(&answer.body, value.as_bytes(), instead.as_bytes()) {
                answer.body = body;
            }
        }
        answer
    }
    /// The same of what is said about a failure.
    pub(super) fn take_out_of_fault(&self, fault: HttpFault, granted: &[(&str, &str)]) -> HttpFault {
        let mut message = fault.message;
        for (value, instead) in self.forms(granted) {
            message = message.replace(&value, &instead);
        }
        HttpFault { message, ..fault }
    }
    /// What is searched for, and what is written instead: as it is, in an address, and as base64.
    fn forms(&self, granted: &[(&str, &str)]) -> Vec<(String, String)> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut forms = Vec::new();
        for (name, value) in granted.iter().filter(|(_, value)| value.len() >= LEAST_BYTES) {
            let instead = held.get(*name).cloned().unwrap_or_else(|| format!("[secret {name}]"));
            let base64 = STANDARD.encode(value);
            // Its last characters depend on what follows.
            let base64 = base64.trim_end_matches('=');
            for form in [(*value).to_owned(), url_encoded(value), base64[..base64.len() - 1].to_owned()] {
                forms.push((form, instead.clone()));
            }
        }
        forms
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

/// The bytes with one text in place of another; nothing where that is not there.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let finder = memchr::memmem::Finder::new(from);
    let mut found = finder.find_iter(bytes).peekable();
    found.peek()?;
    let (mut out, mut rest) = (Vec::with_capacity(bytes.len()), 0);
    for at in found {
        out.extend_from_slice(&bytes[rest..at]);
        out.extend_from_slice(to);
        rest = at + from.len();
    }
    out.extend_from_slice(&bytes[rest..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_core::grant::Place;
    use std::time::Duration;

    const VALUE: &str = "s3cr3t/value+1";

    fn known() -> BTreeMap<Arc<str>, Arc<str>> {
        [("key".into(), VALUE.into()), ("other".into(), "another-one".into())].into()
    }
    fn grants() -> Grants {
        let at = |place| vec![Place::parse(place).unwrap()];
        let secrets = [("key".into(), at("https://a.example")), ("other".into(), at("https://b.example"))];
        Grants { secrets: secrets.into(), ..Grants::default() }
    }
    fn request(url: &str, text: &str) -> Prepared {
        Prepared {
            method: "POST".into(),
            url: Url::parse(&format!("{url}/{text}?q={text}")).unwrap(),
            headers: vec![("authorization".into(), format!("Bearer {text}"))],
            body: format!("[\"{text}\"]").into_bytes(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_value_goes_to_where_it_is_granted_and_nowhere_else() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        assert_eq!(placeholders.of("key", 2).unwrap(), key, "one text for one secret");
        let other = placeholders.of("other", 2).unwrap();
        assert!(placeholders.of("third", 2).unwrap_err().contains("secrets_used"));
        let there = placeholders.put_in(request("https://a.example", &key), &grants(), &known()).unwrap();
        assert_eq!(there.headers[0].1, format!("Bearer {VALUE}"));
        assert_eq!(there.body, format!("[\"{VALUE}\"]").into_bytes());
        assert_eq!(there.url.as_str(), "https://a.example/s3cr3t%2Fvalue%2B1?q=s3cr3t%2Fvalue%2B1");
        for (url, text) in
            [("https://b.example", &key), ("http://a.example", &key), ("https://a.example", &other)]
        {
            let elsewhere = placeholders.put_in(request(url, text), &grants(), &known()).unwrap();
            assert_eq!(elsewhere, request(url, text), "it stays what it is");
        }
        // Another attempt has other texts: those of this one mean nothing there.
        let later = Placeholders::default();
        assert_ne!(later.of("key", 2).unwrap(), key);
        let inert = later.put_in(request("https://a.example", &key), &grants(), &known()).unwrap();
        assert_eq!(inert, request("https://a.example", &key));
    }

    #[test]
    fn a_value_that_breaks_a_header_is_not_sent() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        let known = [("key".into(), "a\r\nx: y".into())].into();
        let fault = placeholders.put_in(request("https://a.example", &key), &grants(), &known).unwrap_err();
        assert_eq!(fault.kind, HttpFaultKind::Invalid);
        assert!(!fault.message.contains("x: y"));
    }

    #[test]
    fn what_comes_back_has_no_value_in_it() {
        let placeholders = Placeholders::default();
        let key = placeholders.of("key", 2).unwrap();
        let echoed = format!(
            "you sent {VALUE} {} {} and another-one",
            STANDARD.encode(VALUE),
            STANDARD.encode(format!("{VALUE}: and more"))
        );
        let answer = HttpResponse {
            status: 200,
            headers: vec![("location".into(), "https://x/?k=s3cr3t%2Fvalue%2B1".into())],
            body: echoed.into_bytes(),
        };
        let granted = [("key", VALUE), ("other", "another-one"), ("short", "a")];
        let clean = placeholders.take_out(answer, &granted);
        let body = String::from_utf8(clean.body).unwrap();
        assert!(
            body.starts_with(&format!("you sent {key} ")) && body.ends_with("and [secret other]"),
            "{body}"
        );
        assert!(!body.contains(&STANDARD.encode(VALUE)[..16]), "{body}");
        assert_eq!(clean.headers[0].1, format!("https://x/?k={key}"));
        let fault = HttpFault::new(HttpFaultKind::Failed, format!("no answer for {VALUE}"));
        assert_eq!(placeholders.take_out_of_fault(fault, &granted).message, format!("no answer for {key}"));
    }
}
