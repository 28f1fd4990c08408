//! Secrets that the plugin uses and never sees.
//!
//! [`get`] gives a text that stands for the secret in this attempt. Put it into a header, the address or the body of a
//! [request](crate::http): the host puts the value in where the request goes to a place for which the operator has
//! granted it, and takes the value out of whatever comes back. Anywhere else the text stays what it is.

use crate::{Failure, host};

/// What stands for the secret.
///
/// # Errors
/// `secret_denied`, where the operator has not granted it, or the node has none of this name.
pub fn get(name: &str) -> Result<String, Failure> {
    host::secret(name).map_err(|why| Failure::permanent("secret_denied", why))
}
