//! Randomness, as the kind of the plugin may have it.
//!
//! Real for tools; generated from the attempt's seed for agents; from a fixed seed for transforms.

use crate::host;

/// The most bytes that the host gives in one call.
const CALL_MAX_BYTES: usize = 64 * 1024;

/// `len` random bytes, in as many calls as that takes.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend(host::random_bytes((len - bytes.len()).min(CALL_MAX_BYTES)));
    }
    bytes
}

/// A random number over the whole range of `u64`.
pub fn next_u64() -> u64 {
    host::random_u64()
}
