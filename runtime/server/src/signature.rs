//! Who made a component: detached ed25519 signatures in the format of minisign, so that its keys and tools fit. What is
//! judged are the bytes that were sent, before anything of them is compiled or run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{PublicKey, SignatureBox};
use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

/// What is beside `plugin.wasm`.
pub const EXTENSION: &str = "minisig";
/// The header of a request that carries a signature, in base64.
pub const HEADER: &str = "heddle-signature";
/// Bytes of a signature's file.
pub const MOST_BYTES: usize = 4 * 1024;

/// What becomes of what nobody trusted has signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It is refused.
    Require,
    /// It is loaded, and told.
    Warn,
    /// Nobody looks.
    #[default]
    Off,
}

/// Bytes of the signature of the comment.
const GLOBAL_BYTES: usize = 64;

/// Whose signatures are trusted, and what that means.
#[derive(Clone, Default)]
pub struct Trust {
    /// What becomes of the others.
    pub policy: Policy,
    /// Public keys.
    pub keys: Vec<Arc<PublicKey>>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({:?}, {} keys)", self.policy, self.keys.len())
    }
}

/// Why a component is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// There is no signature.
    #[error(
        "nobody has signed it, and this node wants that; sign it with `heddle plugin sign FILE --key KEY`, and the signature goes along with `heddle plugin push FILE`"
    )]
    Required,
    /// There is one that is not good.
    #[error("its signature is not good: {0}")]
    Invalid(String),
}

/// The id of a key, as minisign shows it.
pub fn id_of(key: &PublicKey) -> String {
    shown(key.keynum())
}

fn shown(number: &[u8]) -> String {
    number.iter().rev().map(|byte| format!("{byte:02X}")).collect()
}

/// Reads a public key: its one line of base64, or the whole file.
///
/// # Errors
/// Why it is none.
pub fn public_key(text: &str) -> Result<PublicKey, String> {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    PublicKey::from_base64(line).map_err(|fault| fault.to_string())
}

/// Checks a signature against one key.
///
/// # Errors
/// Why it is not good.
pub fn verify(key: &PublicKey, bytes: &[u8], signature: &str) -> Result<(), String> {
    let signature = read(signature)?;
    minisign::verify(key, &signature, Cursor::new(bytes), true, false, false)
        .map_err(|fault| fault.to_string())
}

fn read(signature: &str) -> Result<SignatureBox, String> {
    if signature.len() > MOST_BYTES {
        return Err(format!("it has {} bytes; at most {MOST_BYTES} are read", signature.len()));
    }
    // The library takes this one to be whole, and ends the process where it is not.
    let global = signature.lines().nth(3).map(str::trim).and_then(|line| STANDARD.decode(line).ok());
    if global.is_none_or(|bytes| bytes.len() != GLOBAL_BYTES) {
        return Err("its last line, which signs the comment, is missing or cut off".to_owned());
    }
    SignatureBox::from_string(signature).map_err(|fault| fault.to_string())
}

/// What a header carries.
///
/// # Errors
/// Why it carries nothing.
pub fn of_header(value: &str) -> Result<String, SignatureFault> {
    let text = STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| {
        SignatureFault::Invalid(format!("the header `{HEADER}` wants the signature's file in base64"))
    })
}

/// A signature as a header carries it.
pub fn to_header(signature: &str) -> String {
    STANDARD.encode(signature)
}

impl Trust {
    /// Who signed these bytes, of those who are trusted. None, where nobody has to.
    ///
    /// # Errors
    /// Where nobody has who is trusted, and the policy asks for it.
    pub fn judge(&self, bytes: &[u8], signature: Option<&str>) -> Result<Option<Arc<str>>, SignatureFault> {
        if self.policy == Policy::Off {
            return Ok(None);
        }
        match (self.signer(bytes, signature), self.policy) {
            (Ok(signer), _) => Ok(Some(signer)),
            (Err(fault), Policy::Require) => Err(fault),
            (Err(fault), _) => {
                tracing::warn!(%fault, "a component is loaded that nobody trusted has signed (`signatures.policy`)");
                Ok(None)
            }
        }
    }

    /// The signature that is good, or else the first one that may be one: what is passed on with the component.
    pub fn best<'a>(&self, bytes: &[u8], signatures: &'a [String]) -> Option<&'a str> {
        let good = signatures.iter().find(|signature| self.signer(bytes, Some(signature)).is_ok());
        good.or(signatures.iter().find(|text| read(text).is_ok())).map(String::as_str)
    }

    /// The same, where there may be several signatures: one that is good is enough.
    ///
    /// # Errors
    /// Where none is, and the policy asks for one.
    pub fn judge_any(&self, bytes: &[u8], signatures: &[String]) -> Result<Option<Arc<str>>, SignatureFault> {
        let good = signatures.iter().find(|signature| self.signer(bytes, Some(signature)).is_ok());
        self.judge(bytes, good.or(signatures.first()).map(String::as_str))
    }

    fn signer(&self, bytes: &[u8], signature: Option<&str>) -> Result<Arc<str>, SignatureFault> {
        let text = signature.ok_or(SignatureFault::Required)?;
        let signature = read(text).map_err(SignatureFault::Invalid)?;
        let Some(key) = self.keys.iter().find(|key| key.keynum() == signature.keynum()) else {
            let why = format!(
                "key {} is not among those that this node trusts (`signatures.keys`)",
                shown(signature.keynum())
            );
            return Err(SignatureFault::Invalid(why));
        };
        verify(key, bytes, text).map_err(SignatureFault::Invalid)?;
        Ok(id_of(key).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minisign::KeyPair;

    fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
        minisign::sign(None, &pair.sk, Cursor::new(bytes), None, None).unwrap().into_string()
    }
    fn pair() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().unwrap()
    }
    fn trusting(policy: Policy, pair: &KeyPair) -> Trust {
        Trust { policy, keys: vec![Arc::new(pair.pk.clone())] }
    }

    #[test]
    fn only_who_is_trusted_may_sign() {
        let (ours, other) = (pair(), pair());
        let (bytes, trust) = (b"a component", trusting(Policy::Require, &ours));
        let good = sign(&ours, bytes);
        assert_eq!(trust.judge(bytes, Some(&good)).unwrap().as_deref(), Some(&*id_of(&ours.pk)));
        assert_eq!(trust.judge(bytes, None), Err(SignatureFault::Required));
        for bad in [
            sign(&other, bytes),
            sign(&ours, b"another one"),
            good.replace("trusted comment: timestamp", "trusted comment: tampered"),
            good.replace(good.lines().nth(3).unwrap(), "AAAA"),
            good.replace(good.lines().nth(3).unwrap(), ""),
            good.lines().take(3).collect::<Vec<_>>().join("\n"),
            "garbage".to_owned(),
            String::new(),
            "x".repeat(MOST_BYTES + 1),
        ] {
            assert!(matches!(trust.judge(bytes, Some(&bad)), Err(SignatureFault::Invalid(_))), "{bad}");
            assert_eq!(trusting(Policy::Warn, &ours).judge(bytes, Some(&bad)), Ok(None));
            assert_eq!(trusting(Policy::Off, &ours).judge(bytes, Some(&bad)), Ok(None));
        }
        assert_eq!(of_header(&to_header(&good)).unwrap(), good);
        assert!(of_header("no base64!").is_err());
    }

    #[test]
    fn a_key_is_read_from_its_line_and_from_its_file() {
        let pair = pair();
        let file = pair.pk.to_box().unwrap().to_string();
        assert_eq!(id_of(&public_key(&file).unwrap()), id_of(&pair.pk));
        assert_eq!(id_of(&public_key(&pair.pk.to_base64()).unwrap()), id_of(&pair.pk));
        assert!(public_key("RWQ nonsense").is_err() && public_key("").is_err());
    }
}
