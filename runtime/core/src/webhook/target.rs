//! Where a message goes: an address of the web, checked as far as it can be without looking anything up. Whether it may
//! be dialled is judged at each delivery, by the address that its name then has.

use std::sync::Arc;
use url::Url;

/// Bytes that an address may have.
const MOST_BYTES: usize = 2_048;

/// Why the text is no address that messages can be sent to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// It cannot be read.
    #[error("`{said}` is no address of the web ({why}); write `https://host/path`")]
    Unreadable {
        /// What was said, cut.
        said: String,
        /// What the parser says.
        why: String,
    },
    /// Another scheme.
    #[error("webhooks go by `https` (or `http`), not by `{0}`")]
    Scheme(String),
    /// A secret would stand in workflows and lists.
    #[error("an address has no user and no password in it; the signature says who sends")]
    Credentials,
    /// What stands behind `#` is never sent.
    #[error("what stands behind `#` is never sent; leave it out")]
    Fragment,
    /// Too long.
    #[error("the address has {0} bytes; at most {MOST_BYTES} are kept")]
    Long(usize),
}

/// Reads an address, and gives it as it is sent to.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<Arc<str>, TargetFault> {
    if text.len() > MOST_BYTES {
        return Err(TargetFault::Long(text.len()));
    }
    let unreadable = |why: String| TargetFault::Unreadable { said: text.chars().take(200).collect(), why };
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(unreadable("it has white space in it".into()));
    }
    let url = Url::parse(text).map_err(|fault| unreadable(fault.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(TargetFault::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetFault::Credentials);
    }
    if url.fragment().is_some() {
        return Err(TargetFault::Fragment);
    }
    Ok(url.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_web() {
        for (given, read_as) in [
            ("https://erp.example/hooks/runs", "https://erp.example/hooks/runs"),
            ("HTTPS://ERP.example:443?a=1", "https://erp.example/?a=1"),
            ("http://127.1:8080/x", "http://127.0.0.1:8080/x"),
            ("http://[::1]:1/", "http://[::1]:1/"),
        ] {
            assert_eq!(read(given).as_deref(), Ok(read_as));
        }
        for (bad, says) in [
            ("", "no address"),
            ("erp.example/hooks", "no address"),
            ("https://", "no address"),
            ("https://a b/", "white space"),
            ("ftp://a.example/", "`ftp`"),
            ("file:///etc/passwd", "`file`"),
            ("https://user@a.example/", "no user"),
            ("https://:pw@a.example/", "no user"),
            ("https://a.example/#x", "behind `#`"),
            ("https://999.0.0.1/", "no address"),
        ] {
            let said = read(bad).unwrap_err().to_string();
            assert!(said.contains(says), "{bad}: {said}");
        }
        assert!(matches!(
            read(&format!("https://a.example/{}", "x".repeat(3_000))),
            Err(TargetFault::Long(_))
        ));
    }
}
