//! Signatures of Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, with every secret that counts at the moment.
//! Whoever has one of them knows that the message is ours, whole, and not one of last week.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// What a secret's text begins with.
pub const PREFIX: &str = "whsec_";
/// Bytes of a secret: fewer can be guessed, more are pointless.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How far a message's time may lie from now, in seconds.
pub const TOLERANCE_S: u64 = 300;

/// A secret that signs. It is never printed but by [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The text is no secret. It does not say which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a webhook secret is `whsec_` and the base64 of 24 to 64 random bytes: `echo whsec_$(openssl rand -base64 32)`"
)]
pub struct SecretFault;

impl Secret {
    /// These bytes as a secret.
    ///
    /// # Errors
    /// Where they are too few or too many.
    pub fn of(bytes: &[u8]) -> Result<Secret, SecretFault> {
        match SECRET_BYTES.contains(&bytes.len()) {
            true => Ok(Secret(bytes.into())),
            false => Err(SecretFault),
        }
    }
    /// Reads `whsec_…`; the prefix may be left out.
    ///
    /// # Errors
    /// Where it is no secret.
    pub fn parse(text: &str) -> Result<Secret, SecretFault> {
        let text = text.trim();
        let bytes = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).map_err(|_| SecretFault)?;
        Secret::of(&bytes)
    }
    /// A secret that follows from a key and a name, and from which neither can be found.
    pub fn derive(key: &[u8; 32], name: &str) -> Secret {
        let mut mac = keyed(key);
        mac.update(b"heddle webhook secret\0");
        mac.update(name.as_bytes());
        Secret(mac.finalize().into_bytes()[..].into())
    }
    /// Its text, for the one time that it is shown.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(&self.0))
    }
    fn mac(&self, id: &str, timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = keyed(&self.0);
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        mac
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // A key of any length will do.
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"))
}

/// The `webhook-signature` of a message: one part for each secret.
pub fn sign(secrets: &[Secret], id: &str, timestamp: u64, body: &[u8]) -> String {
    let one = |secret: &Secret| {
        format!("v1,{}", STANDARD.encode(secret.mac(id, timestamp, body).finalize().into_bytes()))
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A message that is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Its time.
    #[error(
        "its time lies more than {TOLERANCE_S} s from now: it may be an old message sent again, or a clock is wrong"
    )]
    Time,
    /// Its signature.
    #[error("no signature fits: another secret, or the body is not byte for byte what was sent")]
    Signature,
}

/// Whether a message is from somebody who has the secret, as it was sent, and lately. Takes as long for a signature that
/// nearly fits as for one that does not.
///
/// # Errors
/// Why it is not to be believed.
pub fn verify(
    secret: &Secret,
    (id, timestamp, signature): (&str, u64, &str),
    body: &[u8],
    now_s: u64,
) -> Result<(), Unverified> {
    if now_s.abs_diff(timestamp) > TOLERANCE_S {
        return Err(Unverified::Time);
    }
    let fits = |part: &str| {
        let given = part.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        given.is_some_and(|given| secret.mac(id, timestamp, body).verify_slice(&given).is_ok())
    };
    // All of them are looked at, whichever fits.
    match signature.split(' ').filter(|part| fits(part)).count() {
        0 => Err(Unverified::Signature),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_known_example() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(
            std::slice::from_ref(&secret),
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(secret.reveal(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    #[test]
    fn what_is_believed() {
        let (old, new) = (Secret::derive(&[1; 32], "a/1"), Secret::derive(&[1; 32], "a/2"));
        let both = sign(&[new.clone(), old.clone()], "msg_1", 1_000, b"{}");
        assert_eq!(both.split(' ').count(), 2);
        for secret in [&old, &new] {
            assert_eq!(verify(secret, ("msg_1", 1_000, &both), b"{}", 1_300), Ok(()));
            assert_eq!(verify(secret, ("msg_1", 1_000, &both), b"{}", 1_301), Err(Unverified::Time));
            assert_eq!(verify(secret, ("msg_1", 1_000, &both), b"{ }", 1_000), Err(Unverified::Signature));
            assert_eq!(verify(secret, ("msg_2", 1_000, &both), b"{}", 1_000), Err(Unverified::Signature));
            assert_eq!(verify(secret, ("msg_1", 1_001, &both), b"{}", 1_000), Err(Unverified::Signature));
        }
        let third = Secret::derive(&[2; 32], "a/1");
        assert_eq!(verify(&third, ("msg_1", 1_000, &both), b"{}", 1_000), Err(Unverified::Signature));
        for junk in ["", "v1,", "v1,!", "v1a,AAAA", "v1,AAAA v2,AAAA"] {
            assert_eq!(
                verify(&old, ("msg_1", 1_000, junk), b"{}", 1_000),
                Err(Unverified::Signature),
                "{junk}"
            );
        }
    }

    #[test]
    fn secrets_have_a_length_and_are_not_printed() {
        let short = format!("whsec_{}", STANDARD.encode([1; 23]));
        assert_eq!(Secret::parse(&short), Err(SecretFault));
        assert_eq!(Secret::parse("hunter2"), Err(SecretFault));
        assert!(Secret::parse(&STANDARD.encode([1; 24])).is_ok());
        let secret = Secret::derive(&[1; 32], "a");
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(Secret::parse(&secret.reveal()), Ok(secret));
    }
}
