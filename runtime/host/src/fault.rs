//! Why a component was not accepted.

use heddle_core::outcome::FailureKind;
use std::fmt;

/// Everything that is wrong with a component, as far as it can be known at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentFault {
    /// `component_invalid`, `compile_limit`, or how `describe` failed.
    pub kind: FailureKind,
    /// One sentence each; never empty.
    pub faults: Vec<String>,
}

impl ComponentFault {
    /// The bytes are no component that this host accepts.
    pub(crate) fn invalid(fault: impl Into<String>) -> ComponentFault {
        ComponentFault { kind: FailureKind::ComponentInvalid, faults: vec![fault.into()] }
    }
    /// Compiling it takes more than allowed.
    pub(crate) fn compile_limit(fault: impl Into<String>) -> ComponentFault {
        ComponentFault { kind: FailureKind::CompileLimit, faults: vec![fault.into()] }
    }
    /// A fault of ours.
    pub(crate) fn internal(fault: impl fmt::Display) -> ComponentFault {
        ComponentFault { kind: FailureKind::Internal, faults: vec![fault.to_string()] }
    }
}

impl fmt::Display for ComponentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("; "))
    }
}

impl std::error::Error for ComponentFault {}
