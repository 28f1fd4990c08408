//! Whose pages may use what a browser lets any page ask for: it sends the request with whatever its user is allowed, and
//! tells only the page's origin. So a page of another origin is refused, unless the operator names it.

use super::codes::Code;
use super::problem::Problem;
use hyper::HeaderMap;
use hyper::header::{HOST, ORIGIN};

/// Whether the page that sent this request, where a page did, is the node's own or one of `allowed`.
///
/// # Errors
/// That it may not do `what`.
pub(crate) fn check(headers: &HeaderMap, allowed: &[String], what: &str) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_same(origin, host) || allowed.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    let detail = format!(
        "a page of `{}` may not {what} here; name it in the setting `api.origins`",
        origin.chars().take(200).collect::<String>()
    );
    Err(Problem::new(Code::OriginDenied, detail))
}

/// Whether a request names this node by one of its names. A name that means this machine for a moment, because somebody
/// else's page needs that, is none of them.
///
/// # Errors
/// That it does not.
pub(crate) fn check_host(headers: &HeaderMap, of_uri: Option<&str>, known: &[String]) -> Result<(), Problem> {
    let said = headers.get(HOST).and_then(|host| host.to_str().ok()).or(of_uri).unwrap_or_default();
    if known.iter().any(|known| is_host(known, said)) {
        return Ok(());
    }
    let said: String = said.chars().take(200).collect();
    Err(Problem::new(
        Code::OriginDenied,
        format!("this node is not called `{said}`; name that in the setting `api.hosts`"),
    ))
}

/// Whether a host, with or without a port, is this one; a known one without a port is meant with any.
fn is_host(known: &str, said: &str) -> bool {
    let plain = |text: &str| text.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let bare = match said.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => said,
    };
    known.eq_ignore_ascii_case(said) || plain(known) == plain(bare)
}

/// Whether a page's origin is the host that the request was sent to. What speaks TLS stands before the node, so the
/// scheme says only which port is meant by none.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let plain = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    !host.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_knows_its_names() {
        for (known, said) in [
            ("localhost", "localhost:7878"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]:7878"),
            ("::1", "[::1]"),
            ("heddle.example", "Heddle.Example:443"),
            ("heddle.example:8443", "heddle.example:8443"),
        ] {
            assert!(is_host(known, said), "{known} {said}");
        }
        for (known, said) in [
            ("localhost", "localhost.evil.example"),
            ("heddle.example:8443", "heddle.example:443"),
            ("127.0.0.1", "127.0.0.1.evil.example:7878"),
            ("localhost", ""),
        ] {
            assert!(!is_host(known, said), "{known} {said}");
        }
    }

    #[test]
    fn a_page_of_the_node_is_told_from_others() {
        for (origin, host) in [
            ("http://127.0.0.1:7878", "127.0.0.1:7878"),
            ("https://heddle.example", "Heddle.example"),
            ("https://heddle.example", "heddle.example:443"),
            ("http://[::1]:7878", "[::1]:7878"),
        ] {
            assert!(is_same(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://127.0.0.1:7879", "127.0.0.1:7878"),
            ("http://evil.example", "heddle.example"),
            ("https://heddle.example", "heddle.example:80"),
            ("http://heddle.example.evil.example", "heddle.example"),
            ("null", "heddle.example"),
            ("file://", ""),
            ("", ""),
        ] {
            assert!(!is_same(origin, host), "{origin} {host}");
        }
    }
}
