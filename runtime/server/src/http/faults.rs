//! Every fault of the inside and the problem that it is outside. The matches are exhaustive: a new fault does not
//! compile before somebody has said what a client is told.

use super::codes::Code;
use super::problem::{Place, Problem};
use crate::app::loader::AcceptFault;
use crate::registry::RegistryFault;
use crate::signature::SignatureFault;
use heddle_core::document::{Fault, FaultClass, pointer};
use heddle_core::outcome::FailureKind;
use heddle_core::run::queue::AdmissionFault;
use heddle_core::schema::Mismatch;
use heddle_executor::{LabelsFault, PublishFault, ReadFault, ReferenceFault, SnapshotFault, SubmitFault};
use heddle_host::ComponentFault;
use heddle_store::StoreFault;

/// When a client may try again while we are busy.
pub(super) const BUSY_MS: u64 = 1_000;
/// When a client may try again while the node restarts.
const RESTART_MS: u64 = 5_000;

impl From<LabelsFault> for Problem {
    fn from(fault: LabelsFault) -> Problem {
        match fault {
            LabelsFault::NoPlugin(name) => super::plugins::no_plugin(&name),
            LabelsFault::Invalid(faults) => {
                let place = |(label, message): (String, String)| Place {
                    pointer: if label.is_empty() { label } else { pointer("", &label) },
                    message,
                    ..Place::default()
                };
                let faults: Vec<Place> = faults.into_iter().map(place).collect();
                let detail = faults.first().map_or(String::new(), |first| first.message.clone());
                Problem::new(Code::BodyInvalid, detail).at(faults)
            }
            LabelsFault::Store(fault) => fault.into(),
        }
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            StoreFault::Damaged { .. } | StoreFault::NewerSchema { .. } | StoreFault::InUse(_) => {
                tracing::error!(%detail, "the store cannot be read");
                Problem::new(Code::Internal, detail)
            }
            StoreFault::Unavailable(_) => Problem::new(Code::StoreUnavailable, detail).after(RESTART_MS),
            StoreFault::Conflict(_) => Problem::new(Code::VersionConflict, detail),
        }
    }
}

impl From<ReadFault> for Problem {
    fn from(fault: ReadFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            ReadFault::Store(fault) => fault.into(),
            ReadFault::NoSuchEvent { .. } | ReadFault::NoSuchPlace { .. } => {
                Problem::new(Code::ParameterInvalid, detail)
            }
            ReadFault::Illegal { .. } | ReadFault::Stuck { .. } => {
                tracing::error!(%detail, "a run cannot be read");
                Problem::new(Code::Internal, detail)
            }
            ReadFault::TooManySubscribers { .. } => Problem::new(Code::QuotaExceeded, detail).after(BUSY_MS),
        }
    }
}

/// A rule of the workflow, with its place.
fn admission(fault: &AdmissionFault) -> Problem {
    let place = Place { pointer: fault.path.clone(), message: fault.why.clone(), ..Place::default() };
    Problem::new(Code::AdmissionInvalid, fault.to_string()).at([place])
}

impl From<SubmitFault> for Problem {
    fn from(fault: SubmitFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            SubmitFault::Reference(fault) => fault.into(),
            SubmitFault::InvalidWorkflow(faults) => invalid_workflow(faults),
            SubmitFault::InvalidInput(mismatches) => invalid_input(mismatches),
            SubmitFault::Snapshot(SnapshotFault::Unresolved(_)) => Problem::new(Code::PluginMissing, detail),
            SubmitFault::Snapshot(SnapshotFault::Store(fault)) => fault.into(),
            SubmitFault::TooLarge { .. } => Problem::new(Code::InputTooLarge, detail),
            SubmitFault::IdempotencyMismatch { .. } => Problem::new(Code::IdempotencyMismatch, detail),
            SubmitFault::Admission(fault) => admission(&fault),
            SubmitFault::SlotsTaken { .. } => Problem::new(Code::ConcurrencyLimit, detail).after(BUSY_MS),
            SubmitFault::DuplicateRun { .. } => Problem::new(Code::DuplicateRun, detail),
            SubmitFault::TooFarAhead { .. } => Problem::new(Code::InputTooLarge, detail),
            SubmitFault::NoTime { .. } => Problem::new(Code::DeadlinePassed, detail),
            SubmitFault::QueueFull { .. } => Problem::new(Code::QueueFull, detail).after(BUSY_MS),
            SubmitFault::Draining => Problem::new(Code::Draining, detail).after(RESTART_MS),
            SubmitFault::Store(fault) => fault.into(),
        }
    }
}

impl From<ReferenceFault> for Problem {
    fn from(fault: ReferenceFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            ReferenceFault::Unknown { .. } => Problem::new(Code::WorkflowNotFound, detail),
            ReferenceFault::NotRunnable(_) | ReferenceFault::Template(_) => {
                Problem::new(Code::WorkflowState, detail)
            }
            ReferenceFault::Store(fault) => fault.into(),
        }
    }
}

impl From<PublishFault> for Problem {
    fn from(fault: PublishFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            PublishFault::Invalid(faults) => invalid_workflow(faults),
            PublishFault::Conflict { .. } => Problem::new(Code::VersionConflict, detail),
            PublishFault::Store(fault) => fault.into(),
        }
    }
}

impl From<SignatureFault> for Problem {
    fn from(fault: SignatureFault) -> Problem {
        let code = match fault {
            SignatureFault::Required => Code::SignatureRequired,
            SignatureFault::Invalid(_) => Code::SignatureInvalid,
        };
        Problem::new(code, fault.to_string())
    }
}

impl From<RegistryFault> for Problem {
    fn from(fault: RegistryFault) -> Problem {
        let detail = fault.to_string();
        match fault {
            RegistryFault::NotAllowed(_) => Problem::new(Code::RegistryDenied, detail),
            RegistryFault::Denied(_) => Problem::new(Code::EgressDenied, detail),
            RegistryFault::NotThere(_) => Problem::new(Code::ComponentNotFound, detail),
            RegistryFault::Artifact(_) => Problem::new(Code::ComponentInvalid, detail),
            RegistryFault::Failed(_) => Problem::new(Code::RegistryFailed, detail),
            RegistryFault::Busy { .. } => Problem::new(Code::QuotaExceeded, detail).after(BUSY_MS),
        }
    }
}

impl From<AcceptFault> for Problem {
    fn from(fault: AcceptFault) -> Problem {
        match fault {
            AcceptFault::Signature(fault) => fault.into(),
            AcceptFault::Component(fault) => component(&fault),
            AcceptFault::Store(fault) => fault.into(),
            AcceptFault::Busy { .. } => Problem::new(Code::QuotaExceeded, fault.to_string()).after(BUSY_MS),
        }
    }
}

/// What to do with a document that has faults.
const CORRECT: &str = "correct each of `errors` and send it again; `heddle workflow validate FILE` shows them in their lines, `heddle workflow schema` describes every key";

/// A workflow that was read and has faults.
pub(crate) fn invalid_workflow(faults: Vec<Fault>) -> Problem {
    let detail = match faults.as_slice() {
        [one] => one.to_string(),
        more => format!("the workflow has {} faults", more.len()),
    };
    Problem::new(Code::WorkflowInvalid, detail).then(CORRECT).at(faults.into_iter().map(Place::from))
}

/// The code of a document that could not be read.
pub(crate) fn document_code(fault: &Fault) -> Code {
    match fault.class {
        FaultClass::Budget => Code::YamlBudget,
        FaultClass::Content => Code::YamlInvalid,
    }
}

/// A document that could not be read as a workflow at all.
pub(crate) fn unreadable_document(fault: Fault) -> Problem {
    Problem::new(document_code(&fault), fault.to_string()).then(CORRECT).at([Place::from(fault)])
}

fn invalid_input(mismatches: Vec<Mismatch>) -> Problem {
    let detail = match mismatches.as_slice() {
        [one] => format!("the input does not match the workflow's schema {one}"),
        more => format!("the input does not match the workflow's schema in {} places", more.len()),
    };
    let places = mismatches.into_iter().map(|m| Place {
        pointer: format!("/input{}", m.pointer),
        message: m.message,
        ..Place::default()
    });
    Problem::new(Code::InputInvalid, detail).at(places)
}

fn component(fault: &ComponentFault) -> Problem {
    let code = match fault.kind {
        FailureKind::CompileLimit => Code::CompileLimit,
        FailureKind::Internal => Code::Internal,
        _ => Code::ComponentInvalid,
    };
    let places = fault.faults.iter().map(|message| Place { message: message.clone(), ..Place::default() });
    Problem::new(code, fault.to_string()).at(places)
}
