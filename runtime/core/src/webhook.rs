//! Telling others what happens: which events leave, in which form, how they are signed, and what becomes of one that
//! was not taken. Sending is the shell's; everything that is decided about it is decided here.
//!
//! [`filter`] says which events an endpoint wants, [`message`] what is sent (a CloudEvent), [`signature`] how it is
//! signed (Standard Webhooks), [`retry`] when it is sent again, [`target`] where to. [`inbound`] is the other way: whether
//! what others send to us is to be believed.

pub mod filter;
pub mod inbound;
pub mod message;
pub mod retry;
pub mod signature;
pub mod target;

use crate::id::IdFault;
use std::fmt;
use std::str::FromStr;

/// The id of a delivery, which is the `webhook-id` of everything that is sent for it: `msg_` and 32 hexadecimal digits.
/// A UUID, version 7, made by the shell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u128);

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "msg_{:032x}", self.0)
    }
}
impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for DeliveryId {
    type Err = IdFault;
    fn from_str(text: &str) -> Result<DeliveryId, IdFault> {
        let digits = text.strip_prefix("msg_").filter(|digits| digits.len() == 32);
        let hex = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let id = hex.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        let fault =
            || IdFault(text.chars().take(64).collect(), "the id of a delivery (`msg_` and 32 digits)");
        id.map(DeliveryId).ok_or_else(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::DeliveryId;

    #[test]
    fn ids() {
        let id = DeliveryId(0x0190_0000_0000_7000_8000_0000_0000_0001);
        assert_eq!(id.to_string(), "msg_01900000000070008000000000000001");
        assert_eq!(id.to_string().parse::<DeliveryId>(), Ok(id));
        for text in [
            "",
            "msg_",
            "msg_1",
            "0190000000007000800000000000000001",
            "msg_+1900000000070008000000000000001",
        ] {
            assert!(text.parse::<DeliveryId>().is_err(), "{text}");
        }
    }
}
