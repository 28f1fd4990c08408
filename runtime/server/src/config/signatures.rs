//! Whose signatures a node trusts: `[signatures]`.

use super::{Origin, Reader};
use crate::signature::{Policy, Trust, public_key};
use std::sync::Arc;

impl Reader<'_> {
    /// Whom the node trusts. Where keys are named and nothing else is said, a signature is required.
    pub(super) fn trust(&mut self) -> Trust {
        let (value, origin) = self.take("signatures.keys");
        let mut keys = Vec::new();
        for text in value.split([',', ' ']).filter(|text| !text.is_empty()) {
            match public_key(text) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(fault) => {
                    let message = format!(
                        "`signatures.keys` lists public keys such as `RWQ...`, the line of a `.pub` file, not `{text}`: {fault}"
                    );
                    self.fault(origin.clone(), message);
                }
            }
        }
        let said = self.text("signatures.policy");
        let said_by = self.shown.last().map_or(Origin::Default, |shown| shown.origin.clone());
        let policy = match said.as_str() {
            "require" => Policy::Require,
            "warn" => Policy::Warn,
            "off" => Policy::Off,
            _ if keys.is_empty() => Policy::Off,
            _ => Policy::Require,
        };
        if policy == Policy::Require && keys.is_empty() && value.is_empty() {
            let message = "`signatures.policy` is `require`, and `signatures.keys` names no key: nothing could be loaded";
            self.fault(said_by, message.to_owned());
        }
        Trust { policy, keys }
    }
}
