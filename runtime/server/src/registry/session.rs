//! One conversation with a registry about one repository: its scheme, the token that it asks for, redirects. A redirect is
//! followed a few times, is judged like every address, never leaves TLS, and gets no credentials elsewhere.

use super::{Access, RegistryFault};
use crate::app::outbound::Requests;
use heddle_core::id::Digest;
use heddle_core::oci::Reference;
use heddle_core::outside::{HttpFault, HttpResponse, Prepared, Url};
use heddle_executor::Outbound as _;
use serde_json::Value;
use std::time::Duration;

/// Redirects of one request that are followed.
const REDIRECTS: u32 = 5;
/// Characters of what a registry says of itself that are shown.
const SAID: usize = 300;
/// Bytes of a refusal that are read at all.
const SAID_READ: usize = 8 * 1024;

/// A conversation.
pub(super) struct Session<'a> {
    /// What is read whole and little: everything but blobs.
    small: &'a Requests,
    blobs: &'a Requests,
    reference: &'a Reference,
    access: &'a Access,
    /// `pull`, or `pull,push`.
    actions: &'a str,
    timeout: Duration,
    /// What it asked for, once it has.
    authorization: Option<String>,
}

/// A request before it has its credentials.
struct Wish {
    method: &'static str,
    url: Url,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Whether its answer is a blob.
    is_blob: bool,
}

impl Wish {
    fn new(method: &'static str, url: Url) -> Wish {
        Wish { method, url, headers: Vec::new(), body: Vec::new(), is_blob: false }
    }
}

fn failed(message: impl Into<String>) -> RegistryFault {
    RegistryFault::Failed(message.into())
}

impl<'a> Session<'a> {
    pub(super) fn new(
        (small, blobs): (&'a Requests, &'a Requests),
        reference: &'a Reference,
        access: &'a Access,
        (actions, timeout): (&'a str, Duration),
    ) -> Session<'a> {
        Session { small, blobs, reference, access, actions, timeout, authorization: None }
    }

    pub(super) async fn get(&mut self, path: &str, accept: &[&str]) -> Result<HttpResponse, RegistryFault> {
        let headers = vec![("accept".to_owned(), accept.join(", "))];
        self.ask(Wish { headers, ..Wish::new("GET", self.url(path)?) }).await
    }
    pub(super) async fn blob(&mut self, digest: Digest) -> Result<HttpResponse, RegistryFault> {
        let url = self.url(&format!("blobs/{digest}"))?;
        self.ask(Wish { is_blob: true, ..Wish::new("GET", url) }).await
    }
    pub(super) async fn head(&mut self, path: &str) -> Result<HttpResponse, RegistryFault> {
        self.ask(Wish::new("HEAD", self.url(path)?)).await
    }
    pub(super) async fn put(
        &mut self,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> Result<HttpResponse, RegistryFault> {
        let headers = vec![("content-type".to_owned(), media_type.to_owned())];
        self.ask(Wish { headers, body, ..Wish::new("PUT", self.url(path)?) }).await
    }
    /// Sends a blob: the registry says where to.
    pub(super) async fn upload(&mut self, digest: Digest, body: Vec<u8>) -> Result<(), RegistryFault> {
        let begun = self.url("blobs/uploads/")?;
        let answer = self.ask(Wish::new("POST", begun.clone())).await?;
        let answer = self.wanted(answer, 202, "a new blob")?;
        let mut url = next(&begun, &answer)?;
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let headers = vec![("content-type".to_owned(), "application/octet-stream".to_owned())];
        let answer = self.ask(Wish { headers, body, ..Wish::new("PUT", url) }).await?;
        self.wanted(answer, 201, "a blob").map(drop)
    }
    /// The answer, where it is as it should be.
    pub(super) fn wanted(
        &self,
        answer: HttpResponse,
        status: u16,
        what: &str,
    ) -> Result<HttpResponse, RegistryFault> {
        if answer.status == status {
            return Ok(answer);
        }
        let (reference, said) = (self.reference, said(&answer.body));
        Err(match answer.status {
            404 => RegistryFault::NotThere(format!(
                "the registry has no `{reference}`: {what} is not there{said}"
            )),
            401 | 403 => failed(format!(
                "`{}` refuses `{}` of `{}` to {}{said}",
                reference.registry,
                self.actions,
                reference.repository,
                match &self.access.credentials {
                    Some((name, _)) => format!("`{name}`"),
                    None => "somebody without a password".to_owned(),
                }
            )),
            other => failed(format!("`{}` answered {other} for {what}{said}", reference.registry)),
        })
    }

    fn url(&self, path: &str) -> Result<Url, RegistryFault> {
        let scheme = if self.access.plain_http { "http" } else { "https" };
        let Reference { registry, repository, .. } = self.reference;
        let text = format!("{scheme}://{registry}/v2/{repository}/{path}");
        Url::parse(&text).map_err(|fault| failed(format!("`{text}` is no address: {fault}")))
    }

    /// Sends it, once more with credentials where the registry itself asks for them. What it was given before may be too
    /// little, or too old.
    async fn ask(&mut self, wish: Wish) -> Result<HttpResponse, RegistryFault> {
        let (answer, is_home) = self.follow(&wish).await?;
        if answer.status != 401 || !is_home {
            return Ok(answer);
        }
        let challenge = answer.headers.iter().find(|(name, _)| name == "www-authenticate");
        let Some(authorization) = self.authorize(challenge.map_or("", |(_, value)| value)).await? else {
            return Ok(answer);
        };
        self.authorization = Some(authorization);
        Ok(self.follow(&wish).await?.0)
    }

    /// Sends it, and again to wherever the registry says. Whether it was the registry that has answered.
    async fn follow(&self, wish: &Wish) -> Result<(HttpResponse, bool), RegistryFault> {
        let mut url = wish.url.clone();
        let home = self.url("")?.origin();
        for _ in 0..=REDIRECTS {
            let mut headers = wish.headers.clone();
            // Credentials are for the registry, and for nobody whom it names.
            let credentials = self.authorization.iter().filter(|_| url.origin() == home);
            headers.extend(credentials.map(|credentials| ("authorization".to_owned(), credentials.clone())));
            let by = if wish.is_blob { self.blobs } else { self.small };
            let answer = self.send(by, (wish.method, &url), headers, wish.body.clone()).await?;
            let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            if !is_redirect || !matches!(wish.method, "GET" | "HEAD") {
                return Ok((answer, url.origin() == home));
            }
            url = next(&url, &answer)?;
        }
        Err(failed(format!("`{}` redirects more than {REDIRECTS} times", self.reference.registry)))
    }

    async fn send(
        &self,
        by: &Requests,
        (method, url): (&str, &Url),
        mut headers: Vec<(String, String)>,
        body: Vec<u8>,
    ) -> Result<HttpResponse, HttpFault> {
        headers.push(("user-agent".to_owned(), concat!("heddle/", env!("CARGO_PKG_VERSION")).to_owned()));
        let (method, url) = (method.to_owned(), url.clone());
        by.send(Prepared { method, url, headers, body, timeout: self.timeout }).await
    }

    /// What the registry wants to see, as its challenge says. Nothing, where we have nothing to show.
    async fn authorize(&self, challenge: &str) -> Result<Option<String>, RegistryFault> {
        let challenges = http_auth::parse_challenges(challenge)
            .map_err(|_| failed(format!("`{}` asks for what cannot be read", self.reference.registry)))?;
        for challenge in challenges {
            let told = |name: &str| {
                let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                return Ok(self.access.basic());
            }
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let realm = told("realm").unwrap_or_default();
                return self.token(&realm, (told("service"), told("scope"))).await.map(Some);
            }
        }
        Ok(None)
    }

    async fn token(
        &self,
        realm: &str,
        (service, scope): (Option<String>, Option<String>),
    ) -> Result<String, RegistryFault> {
        let registry = &self.reference.registry;
        let unfit = || failed(format!("`{registry}` names no place that gives tokens"));
        let mut url = Url::parse(realm).map_err(|_| unfit())?;
        if url.scheme() != "https" && !(self.access.plain_http && url.scheme() == "http") {
            return Err(unfit());
        }
        // A registry asks for what the request at hand needs, and the next one needs more.
        let own = format!("repository:{}:{}", self.reference.repository, self.actions);
        let other =
            scope.filter(|scope| !scope.starts_with(&format!("repository:{}:", self.reference.repository)));
        let service = service.map(|service| ("service", service));
        let scopes = [Some(own), other].into_iter().flatten().map(|scope| ("scope", scope));
        let asked = service.into_iter().chain(scopes);
        url.query_pairs_mut().extend_pairs(asked);
        let headers = self.access.basic().map(|basic| ("authorization".to_owned(), basic));
        let answer = self.send(self.small, ("GET", &url), headers.into_iter().collect(), Vec::new()).await?;
        let answer = self.wanted(answer, 200, "a token")?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = body["token"].as_str().or(body["access_token"].as_str());
        let fits = |token: &&str| token.len() <= 16 * 1024 && token.bytes().all(|b| b.is_ascii_graphic());
        token.filter(fits).map(|token| format!("Bearer {token}")).ok_or_else(|| {
            failed(format!("`{}` gave no token for `{registry}`", url.host_str().unwrap_or_default()))
        })
    }
}

/// Where an answer points to.
fn next(from: &Url, answer: &HttpResponse) -> Result<Url, RegistryFault> {
    let location = answer.headers.iter().find(|(name, _)| name == "location").map(|(_, value)| value);
    let url = location.and_then(|location| from.join(location).ok());
    let url = url.ok_or_else(|| failed("the registry points to nowhere"))?;
    let fits = url.scheme() == from.scheme() || url.scheme() == "https";
    match fits && url.username().is_empty() && url.password().is_none() {
        true => Ok(url),
        false => Err(failed(format!("the registry points to `{}`, which is not followed", url.scheme()))),
    }
}

/// What a registry says of its refusal, for a person.
fn said(body: &[u8]) -> String {
    if body.len() > SAID_READ {
        return String::new();
    }
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let first = &value["errors"][0];
    let text = first["message"].as_str().or(first["code"].as_str()).unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).take(SAID).collect();
    if text.is_empty() { text } else { format!(" ({text})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointing(to: &str) -> HttpResponse {
        HttpResponse { status: 307, headers: vec![("location".into(), to.into())], body: Vec::new() }
    }

    #[test]
    fn a_redirect_never_leaves_tls() {
        let from = Url::parse("https://registry.example/v2/a/blobs/x").unwrap();
        assert_eq!(next(&from, &pointing("/b?c")).unwrap().as_str(), "https://registry.example/b?c");
        assert!(next(&from, &pointing("https://other.example/b")).is_ok());
        for bad in ["http://registry.example/b", "ftp://a/b", "https://u:p@other.example/", "https://"] {
            assert!(next(&from, &pointing(bad)).is_err(), "{bad}");
        }
        assert!(next(&from, &HttpResponse::default()).is_err());
        let plain = Url::parse("http://127.0.0.1:5000/v2/").unwrap();
        assert!(next(&plain, &pointing("http://127.0.0.1:5000/b")).is_ok());
    }

    #[test]
    fn what_a_registry_says_is_bounded() {
        assert_eq!(said(br#"{"errors":[{"code":"DENIED","message":"not you\u0007"}]}"#), " (not you)");
        assert_eq!(said(br#"{"errors":[{"code":"DENIED"}]}"#), " (DENIED)");
        assert_eq!(said(b"<html>"), "");
        let long = |bytes| format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "x".repeat(bytes));
        assert_eq!(said(long(1_000).as_bytes()).len(), SAID + 3);
        assert_eq!(said(long(10_000).as_bytes()), "");
    }
}
