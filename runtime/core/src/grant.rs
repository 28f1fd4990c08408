//! What an operator lets a plugin do outside its sandbox. Nothing is granted that is not said: a plugin that imports a
//! capability which nobody has granted is refused by name, and a request that fits no rule leaves no trace on the wire.

use crate::json::Json;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use url::Url;

/// The capabilities that must be granted, by the names of their interfaces in `heddle:host`.
pub const CAPABILITIES: &[&str] = &["http", "kv", "artifacts", "secret", "config"];

/// What one plugin may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Requests that it may send: those that fit one of the rules.
    pub http: Vec<HttpRule>,
    /// Secrets that it may use, each at these places only.
    pub secrets: BTreeMap<Arc<str>, Vec<Place>>,
    /// Whether it may keep values of its own.
    pub kv: bool,
    /// Whether it may leave files with its run.
    pub artifacts: bool,
    /// What it is told: a JSON object.
    pub config: Option<Json>,
    /// The models that it may ask, by the operator's names; `*` for all.
    pub models: Vec<Arc<str>>,
    /// Of its requests only those that fit one of these, too, where a step says so.
    pub only: Option<Vec<HttpRule>>,
}

/// What a step leaves of what is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// Only requests that fit one of these.
    pub http: Option<Vec<HttpRule>>,
    /// Only these secrets: the name that the plugin asks for, and the secret of the node that it gets then.
    pub secrets: Option<BTreeMap<Arc<str>, Arc<str>>>,
    /// No values of its own.
    pub no_kv: bool,
    /// No files.
    pub no_artifacts: bool,
    /// Nothing that it is told.
    pub no_config: bool,
}

/// Requests that may be sent: `GET|HEAD https://api.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    /// Only by these methods; any, where there is none.
    pub methods: Vec<Arc<str>>,
    /// Only to here.
    pub place: Place,
}

/// Where a request may go: `https://api.example.com`, `https://*.example.com:8443`, `http://10.1.0.7:8080`, `https://*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    scheme: &'static str,
    host: HostRule,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostRule {
    /// This one.
    Exact(Arc<str>),
    /// All below this one, and not itself; with its dot.
    Below(Arc<str>),
    /// All.
    Any,
}

/// The text is no place or no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    /// Not a place.
    #[error(
        "`{0}` is no place that requests may go to; write `https://host`, `https://*.host:8443` or `https://*`, without a path"
    )]
    Place(String),
    /// Not a method.
    #[error("`{0}` is no method; write such as `GET|POST https://host`, in capital letters")]
    Method(String),
}

impl Place {
    /// Reads a place.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Place, GrantFault> {
        let fault = || GrantFault::Place(text.chars().take(200).collect());
        let scheme = ["https", "http"].into_iter().find(|scheme| text.starts_with(&format!("{scheme}://")));
        let scheme = scheme.ok_or_else(fault)?;
        let rest = &text[scheme.len() + 3..];
        let (rest, below) = match rest.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        // A star alone stands where a host would.
        let (rest, any) = match rest.strip_prefix('*') {
            Some(rest) if !below && (rest.is_empty() || rest.starts_with(':')) => {
                (format!("any{rest}"), true)
            }
            _ => (rest.to_owned(), false),
        };
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| fault())?;
        let plain = url.path() == "/"
            && !rest.ends_with('/')
            && !rest.contains(['*', '?', '#', '@', '%'])
            && url.username().is_empty();
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
        let (Some(port), true, false) = (port, plain, host.is_empty()) else { return Err(fault()) };
        let host = match (any, below) {
            (true, _) => HostRule::Any,
            (_, true) if host.parse::<std::net::Ipv4Addr>().is_err() && !host.starts_with('[') => {
                HostRule::Below(format!(".{host}").into())
            }
            (_, true) => return Err(fault()),
            _ => HostRule::Exact(host.into()),
        };
        Ok(Place { scheme, host, port })
    }
    /// Whether this address is within.
    pub fn admits(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let fits = match &self.host {
            HostRule::Exact(wanted) => **wanted == *host,
            HostRule::Below(suffix) => {
                host.strip_suffix(&**suffix).is_some_and(|label| !label.is_empty() && !label.ends_with('.'))
            }
            HostRule::Any => true,
        };
        fits && url.scheme() == self.scheme && url.port_or_known_default() == Some(self.port)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            HostRule::Exact(host) => host.to_string(),
            HostRule::Below(suffix) => format!("*{suffix}"),
            HostRule::Any => "*".to_owned(),
        };
        write!(f, "{}://{host}:{}", self.scheme, self.port)
    }
}

impl HttpRule {
    /// Reads a rule: methods with `|` between them, a space, a place; or a place alone.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<HttpRule, GrantFault> {
        let (methods, place) = match text.trim().rsplit_once(char::is_whitespace) {
            Some((methods, place)) => (methods.trim(), place),
            None => ("", text.trim()),
        };
        let list: Vec<&str> =
            if methods.is_empty() { Vec::new() } else { methods.split('|').map(str::trim).collect() };
        let read = |method: &str| match !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase()) {
            true => Ok(Arc::from(method)),
            false => Err(GrantFault::Method(method.chars().take(40).collect())),
        };
        Ok(HttpRule {
            methods: list.into_iter().map(read).collect::<Result<_, _>>()?,
            place: Place::parse(place)?,
        })
    }
    /// Whether such a request may be sent.
    pub fn admits(&self, method: &str, url: &Url) -> bool {
        self.place.admits(url) && (self.methods.is_empty() || self.methods.iter().any(|m| **m == *method))
    }
}

impl fmt::Display for HttpRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.methods.is_empty() {
            write!(f, "{} ", self.methods.join("|"))?;
        }
        self.place.fmt(f)
    }
}

impl Grants {
    /// Whether this capability is granted at all.
    pub fn has(&self, capability: &str) -> bool {
        match capability {
            "http" => !self.http.is_empty(),
            "kv" => self.kv,
            "artifacts" => self.artifacts,
            "secret" => !self.secrets.is_empty(),
            "config" => self.config.is_some(),
            // Whatever needs no grant.
            _ => !CAPABILITIES.contains(&capability),
        }
    }
    /// Whether such a request may be sent.
    pub fn admits(&self, method: &str, url: &Url) -> bool {
        let fits = |rules: &[HttpRule]| rules.iter().any(|rule| rule.admits(method, url));
        fits(&self.http) && self.only.as_deref().is_none_or(fits)
    }
    /// What a step leaves of it. What was not granted is not there afterwards either.
    pub fn narrowed(&self, step: &Narrowing) -> Grants {
        let mut left = self.clone();
        left.only = step.http.clone();
        left.kv &= !step.no_kv;
        left.artifacts &= !step.no_artifacts;
        left.config = left.config.filter(|_| !step.no_config);
        if let Some(named) = &step.secrets {
            left.secrets.retain(|name, _| named.values().any(|kept| kept == name));
        }
        left
    }
    /// All of it as sorted text, without any secret: what an output may depend on, and what people are shown.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.http.iter().map(|rule| format!("http {rule}")).collect();
        for (name, places) in &self.secrets {
            lines.extend(places.iter().map(|place| format!("secret {name} at {place}")));
        }
        if let Some(only) = &self.only {
            lines.push("http by the step only".to_owned());
            lines.extend(only.iter().map(|rule| format!("http by the step {rule}")));
        }
        lines.extend(self.kv.then(|| "kv".to_owned()));
        lines.extend(self.artifacts.then(|| "artifacts".to_owned()));
        lines.extend(self.models.iter().map(|name| format!("model {name}")));
        lines.extend(self.config.as_ref().map(|config| format!("config {}", config.text())));
        lines.sort();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn places() {
        for (place, address, admitted) in [
            ("https://api.example.com", "https://api.example.com/a?b=c", true),
            ("https://api.example.com", "https://API.example.com:443/", true),
            ("https://api.example.com", "http://api.example.com/", false),
            ("https://api.example.com", "https://api.example.com:8443/", false),
            ("https://api.example.com", "https://api.example.com.evil.example/", false),
            ("https://api.example.com", "https://api.example.com./", false),
            ("https://*.example.com:8443", "https://a.b.example.com:8443/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://evilexample.com/", false),
            ("https://*.example.com", "https://.example.com/", false),
            ("http://10.1.0.7:8080", "http://10.1.0.7:8080/x", true),
            // However it is written, it is the same address.
            ("http://10.1.0.7", "http://0x0a010007/", true),
            ("http://127.0.0.1", "http://2130706433/", true),
            ("http://[::1]:80", "http://[0:0:0:0:0:0:0:1]/", true),
            ("https://*", "https://anything.example/", true),
            ("https://*", "http://anything.example/", false),
            ("https://bücher.example", "https://xn--bcher-kva.example/", true),
        ] {
            assert_eq!(Place::parse(place).unwrap().admits(&url(address)), admitted, "{place} {address}");
        }
        for bad in [
            "",
            "api.example.com",
            "ftp://a",
            "https://",
            "https://a/path",
            "https://a/",
            "https://u@a",
            "https://a?q",
            "https://*x.example",
            "https://a.*.example",
            "https://*.*",
            "https://*.10.0.0.1",
            "https://a:99999",
            "https:// a",
        ] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rules() {
        let rule = HttpRule::parse("GET|HEAD https://a.example").unwrap();
        assert_eq!(rule.to_string(), "GET|HEAD https://a.example:443");
        assert!(
            rule.admits("GET", &url("https://a.example/"))
                && !rule.admits("POST", &url("https://a.example/"))
        );
        assert!(HttpRule::parse("https://a.example").unwrap().admits("PURGE", &url("https://a.example/")));
        assert!(matches!(HttpRule::parse("get https://a.example"), Err(GrantFault::Method(_))));
        assert!(matches!(HttpRule::parse("GET a.example"), Err(GrantFault::Place(_))));
        assert!(matches!(HttpRule::parse("| https://a.example"), Err(GrantFault::Method(_))));
    }

    #[test]
    fn a_step_takes_away_and_never_adds() {
        let rules =
            |texts: &[&str]| texts.iter().map(|text| HttpRule::parse(text).unwrap()).collect::<Vec<_>>();
        let place = || vec![Place::parse("https://a.example").unwrap()];
        let granted = Grants {
            http: rules(&["GET|POST https://*.example"]),
            secrets: [("one".into(), place()), ("two".into(), place())].into(),
            kv: true,
            ..Grants::default()
        };
        let step = Narrowing {
            http: Some(rules(&[
                "GET https://a.example",
                "DELETE https://a.example",
                "GET https://other.org",
            ])),
            secrets: Some([("KEY".into(), "one".into()), ("MORE".into(), "three".into())].into()),
            no_kv: true,
            ..Narrowing::default()
        };
        let left = granted.narrowed(&step);
        for (method, address, admitted) in [
            ("GET", "https://a.example/", true),
            ("POST", "https://a.example/", false),
            ("GET", "https://b.example/", false),
            ("DELETE", "https://a.example/", false),
            ("GET", "https://other.org/", false),
        ] {
            assert_eq!(left.admits(method, &url(address)), admitted, "{method} {address}");
        }
        assert!(
            left.secrets.keys().eq(["one"]
                .iter()
                .map(|name| &**name as &str)
                .map(Arc::from)
                .collect::<Vec<Arc<str>>>()
                .iter())
        );
        assert!(!left.kv && !left.artifacts && left.config.is_none());
        assert_ne!(left.lines(), granted.lines());
        assert_eq!(granted.narrowed(&Narrowing::default()), granted);
        let nothing = granted.narrowed(&Narrowing { http: Some(Vec::new()), ..Narrowing::default() });
        assert!(!nothing.admits("GET", &url("https://a.example/")));
    }

    #[test]
    fn nothing_is_granted_that_is_not_said() {
        let none = Grants::default();
        assert!(CAPABILITIES.iter().all(|capability| !none.has(capability)));
        assert!(none.has("log") && !none.admits("GET", &url("https://a.example/")));
        let some = Grants {
            http: vec![HttpRule::parse("GET https://a.example").unwrap()],
            secrets: [("key".into(), vec![Place::parse("https://a.example").unwrap()])].into(),
            kv: true,
            artifacts: true,
            config: Some(Json::trusted(r#"{"a":1}"#)),
            models: vec!["fast".into()],
            only: None,
        };
        let lines = [
            "artifacts",
            r#"config {"a":1}"#,
            "http GET https://a.example:443",
            "kv",
            "model fast",
            "secret key at https://a.example:443",
        ];
        assert_eq!(some.lines(), lines);
    }
}
