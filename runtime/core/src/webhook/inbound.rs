//! What others send to a trigger's address: how it is signed, and whether it is to be believed. Senders cannot be
//! taught, so the ways of the widespread ones are known here.

use super::signature::{self, Secret, TOLERANCE_S, Unverified};
use crate::id::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::sync::Arc;

/// How a message is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Standard,
    /// GitHub: `x-hub-signature-256` over the body. It names no time, so an old message sent again is known by its
    /// `x-github-delivery` only.
    Github,
    /// Stripe: `stripe-signature` over time and body.
    Stripe,
}

impl Scheme {
    /// The words of the language.
    pub const WORDS: &[(&str, Scheme)] =
        &[("standard", Scheme::Standard), ("github", Scheme::Github), ("stripe", Scheme::Stripe)];
    /// The word.
    pub fn word(self) -> &'static str {
        Scheme::WORDS.iter().find(|(_, scheme)| *scheme == self).map_or("", |(word, _)| word)
    }
}

/// Why a message is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    /// A header is not there, or not as it has to be.
    #[error("the header `{0}` is missing or is not as the scheme wants it")]
    Header(&'static str),
    /// The signature or its time.
    #[error(transparent)]
    Unverified(#[from] Unverified),
}

/// Checks a message, and gives what makes it the only one. `header` knows a header by its name in lower case; whichever
/// of the secrets fits will do.
///
/// # Errors
/// Why it is not to be believed.
pub fn verify<'a>(
    scheme: Scheme,
    secrets: &[Secret],
    header: impl Fn(&'static str) -> Option<&'a str>,
    body: &[u8],
    now_s: u64,
) -> Result<Arc<str>, NotBelieved> {
    let need = |name: &'static str| {
        header(name).filter(|text| !text.is_empty() && text.len() <= 1_024).ok_or(NotBelieved::Header(name))
    };
    match scheme {
        Scheme::Standard => {
            let (id, signature) = (need("webhook-id")?, need("webhook-signature")?);
            let time = need("webhook-timestamp")?.parse().ok();
            let time = time.ok_or(NotBelieved::Header("webhook-timestamp"))?;
            any(secrets, |secret| signature::verify(secret, (id, time, signature), body, now_s))?;
            Ok(id.into())
        }
        Scheme::Github => {
            let id = need("x-github-delivery")?;
            let given = need("x-hub-signature-256")?;
            let given = given.strip_prefix("sha256=").and_then(unhex);
            let given = given.ok_or(NotBelieved::Header("x-hub-signature-256"))?;
            any(secrets, |secret| fits(secret, &[body], &given))?;
            Ok(id.into())
        }
        Scheme::Stripe => {
            let text = need("stripe-signature")?;
            let fault = NotBelieved::Header("stripe-signature");
            let parts = text.split(',').filter_map(|part| part.trim().split_once('='));
            let time = parts.clone().find(|(name, _)| *name == "t").map(|(_, time)| time).ok_or(fault)?;
            let seconds: u64 = time.parse().map_err(|_| fault)?;
            if now_s.abs_diff(seconds) > TOLERANCE_S {
                return Err(Unverified::Time.into());
            }
            let given: Vec<Vec<u8>> =
                parts.filter(|(name, _)| *name == "v1").filter_map(|(_, hex)| unhex(hex)).collect();
            let signed = [time.as_bytes(), b".", body];
            any(secrets, |secret| {
                let fitting = given.iter().filter(|given| fits(secret, &signed, given).is_ok()).count();
                if fitting > 0 { Ok(()) } else { Err(Unverified::Signature) }
            })?;
            // Its events have an id in the body, so the same body is the same event.
            Ok(Digest::of(body).hex().into())
        }
    }
}

/// Whether any of the secrets fits; all of them are tried.
fn any(secrets: &[Secret], fits: impl Fn(&Secret) -> Result<(), Unverified>) -> Result<(), Unverified> {
    let mut answer = Err(Unverified::Signature);
    for secret in secrets {
        match fits(secret) {
            Ok(()) => answer = Ok(()),
            Err(fault @ Unverified::Time) => return Err(fault),
            Err(Unverified::Signature) => {}
        }
    }
    answer
}

/// Whether this is the HMAC-SHA256 of these parts. The key is the secret's text, as the settings of such senders take it.
fn fits(secret: &Secret, parts: &[&[u8]], given: &[u8]) -> Result<(), Unverified> {
    let key = secret.reveal();
    // A key of any length will do.
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| Unverified::Signature)?;
    parts.iter().for_each(|part| mac.update(part));
    mac.verify_slice(given).map_err(|_| Unverified::Signature)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => {
            let digit = |c: u8| char::from(c).to_digit(16);
            Some((digit(*high)? * 16 + digit(*low)?) as u8)
        }
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NOW: u64 = 1_750_000_000;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
    fn mac(secret: &Secret, parts: &[&[u8]]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        hex(&mac.finalize().into_bytes())
    }
    fn said(
        scheme: Scheme,
        secrets: &[Secret],
        headers: &[(&'static str, String)],
        body: &[u8],
    ) -> Result<Arc<str>, NotBelieved> {
        let headers: BTreeMap<&str, &str> =
            headers.iter().map(|(name, text)| (*name, text.as_str())).collect();
        verify(scheme, secrets, |name| headers.get(name).copied(), body, NOW)
    }

    #[test]
    fn the_way_of_the_standard() {
        let (old, new) = (Secret::derive(&[1; 32], "a"), Secret::derive(&[2; 32], "a"));
        let headers = |secret: &Secret, time: u64| {
            let signature = signature::sign(std::slice::from_ref(secret), "msg_1", time, b"{}");
            [
                ("webhook-id", "msg_1".to_owned()),
                ("webhook-timestamp", time.to_string()),
                ("webhook-signature", signature),
            ]
        };
        let both = [old.clone(), new.clone()];
        for secret in &both {
            assert_eq!(said(Scheme::Standard, &both, &headers(secret, NOW), b"{}"), Ok("msg_1".into()));
        }
        let forged = said(Scheme::Standard, std::slice::from_ref(&new), &headers(&old, NOW), b"{}");
        assert_eq!(forged, Err(Unverified::Signature.into()));
        let late = said(Scheme::Standard, &both, &headers(&new, NOW - 301), b"{}");
        assert_eq!(late, Err(Unverified::Time.into()));
        let nothing = said(Scheme::Standard, &both, &[], b"{}");
        assert_eq!(nothing, Err(NotBelieved::Header("webhook-id")));
        assert_eq!(
            said(Scheme::Standard, &[], &headers(&new, NOW), b"{}"),
            Err(Unverified::Signature.into())
        );
    }

    #[test]
    fn the_way_of_github() {
        let secret = Secret::derive(&[1; 32], "a");
        let headers = |signature: String| {
            [("x-github-delivery", "72d3162e".to_owned()), ("x-hub-signature-256", signature)]
        };
        let good = format!("sha256={}", mac(&secret, &[b"{}"]));
        let secrets = [secret];
        assert_eq!(said(Scheme::Github, &secrets, &headers(good.clone()), b"{}"), Ok("72d3162e".into()));
        let other = said(Scheme::Github, &secrets, &headers(good.clone()), b"{ }");
        assert_eq!(other, Err(Unverified::Signature.into()));
        for bad in [good.replace("sha256=", "sha1="), "sha256=0".to_owned(), "sha256=é".to_owned()] {
            let fault = said(Scheme::Github, &secrets, &headers(bad), b"{}");
            assert_eq!(fault, Err(NotBelieved::Header("x-hub-signature-256")));
        }
    }

    #[test]
    fn the_way_of_stripe() {
        let secret = Secret::derive(&[1; 32], "a");
        let signed = |time: u64| mac(&secret, &[time.to_string().as_bytes(), b".", b"{}"]);
        let header = |text: String| [("stripe-signature", text)];
        let secrets = [secret.clone()];
        let good = format!("t={NOW},v0=00,v1={},v1={}", "0".repeat(64), signed(NOW));
        assert_eq!(said(Scheme::Stripe, &secrets, &header(good), b"{}"), Ok(Digest::of(b"{}").hex().into()));
        let late = format!("t={},v1={}", NOW - 301, signed(NOW - 301));
        assert_eq!(said(Scheme::Stripe, &secrets, &header(late), b"{}"), Err(Unverified::Time.into()));
        let moved = format!("t={},v1={}", NOW - 1, signed(NOW));
        assert_eq!(said(Scheme::Stripe, &secrets, &header(moved), b"{}"), Err(Unverified::Signature.into()));
        let none = said(Scheme::Stripe, &secrets, &header("v1=00".into()), b"{}");
        assert_eq!(none, Err(NotBelieved::Header("stripe-signature")));
    }
}
