//! The cache key: SHA-256 over everything that can influence a step's output, and over nothing else.
//!
//! Every part goes in with its length in front, so that no two lists of parts can run together. Limits and the
//! version of the sandbox are not parts: they decide whether there is an output, never which.

use crate::id::{Digest, Tenant};
use crate::json::Json;
use crate::outcome::PluginKind;
use crate::plan::CacheScope;
use sha2::{Digest as _, Sha256};

/// The parts of a fingerprint.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The owner: nothing is ever shared between tenants.
    pub tenant: &'a Tenant,
    /// Who shares the entry.
    pub scope: CacheScope,
    /// `namespace/name` of the workflow, for the narrower scopes.
    pub workflow: &'a str,
    /// Id of the step, for the narrowest.
    pub step: &'a str,
    /// The plugin's kind.
    pub kind: PluginKind,
    /// The component.
    pub component: Digest,
    /// For tools and agents: what they were granted, as sorted text. A transform has nothing.
    pub grants: &'a [String],
    /// The input, exactly as the guest gets it.
    pub input: &'a Json,
}

/// Changes when the list of parts does.
const VERSION: &[u8] = b"heddle fingerprint 1";

impl Parts<'_> {
    /// The key.
    pub fn fingerprint(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(VERSION);
        part(self.tenant.0.as_bytes());
        match self.scope {
            CacheScope::Tenant => part(b"tenant"),
            CacheScope::Workflow => {
                part(b"workflow");
                part(self.workflow.as_bytes());
            }
            CacheScope::Step => {
                part(b"step");
                part(self.workflow.as_bytes());
                part(self.step.as_bytes());
            }
        }
        part(self.kind.word().as_bytes());
        part(&self.component.0);
        // Kept in the list although they are empty today: the export's config and the middleware bound around it.
        part(b"");
        part(b"");
        if !self.kind.is_pure() {
            part(&(self.grants.len() as u64).to_le_bytes());
            for grant in self.grants {
                part(grant.as_bytes());
            }
        }
        part(self.input.text().as_bytes());
        Digest(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_spelling_of_the_input_counts() {
        let (tenant, other) = (Tenant::default(), Tenant("other".into()));
        let (one, one_point) = (Json::parse(b"{\"a\": 1}").unwrap(), Json::parse(b"{\"a\": 1.0}").unwrap());
        let base = Parts {
            tenant: &tenant,
            scope: CacheScope::Tenant,
            workflow: "a/b",
            step: "c",
            kind: PluginKind::Tool,
            component: Digest::of(b"x"),
            grants: &[],
            input: &one,
        };
        let grants = ["tool:x".to_owned()];
        let variants = [
            Parts { tenant: &other, ..base.clone() },
            Parts { scope: CacheScope::Workflow, ..base.clone() },
            Parts { scope: CacheScope::Step, ..base.clone() },
            Parts { kind: PluginKind::Transform, ..base.clone() },
            Parts { component: Digest::of(b"y"), ..base.clone() },
            Parts { grants: &grants, ..base.clone() },
            Parts { input: &one_point, ..base.clone() },
        ];
        for variant in &variants {
            assert_ne!(variant.fingerprint(), base.fingerprint(), "{variant:?}");
        }
        let spaced = Json::parse(b" { \"a\" : 1 } ").unwrap();
        assert_eq!(Parts { input: &spaced, ..base.clone() }.fingerprint(), base.fingerprint());
        assert_eq!(
            Parts { workflow: "other", step: "other", ..base.clone() }.fingerprint(),
            base.fingerprint()
        );
    }
}
