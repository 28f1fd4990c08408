//! Steps that can never run, whatever happens: they wait for an ending that the step before cannot have, or that ends
//! the run first.

use super::parts::Entry;
use super::walk::Faults;
use super::{Ending, OnStepFailure, Part, Reading, Step};
use crate::document::pointer;

/// Reports every dependency of `steps` of a new workflow that can never be met.
pub(super) fn check(
    steps: &[Step],
    entries: &[Entry<'_>],
    on_failure: OnStepFailure,
    reading: Reading,
    faults: &mut Faults,
) {
    if reading == Reading::Again {
        return;
    }
    let main = steps.iter().zip(entries).filter(|(step, _)| step.part == Part::Main);
    for (step, entry) in main {
        for dependency in &step.depends {
            let Some(before) = steps.get(dependency.step as usize) else { continue };
            let can = |ending: &Ending| match ending {
                Ending::Succeeded | Ending::Cancelled => true,
                Ending::Skipped => may_be_skipped(before),
                Ending::Failed => on_failure == OnStepFailure::FinishOthers,
            };
            if dependency.accepts.is_empty() || dependency.accepts.iter().any(can) {
                continue;
            }
            let (own, other) = (&step.id, &before.id);
            let message = match dependency.accepts.contains(&Ending::Failed) {
                true => format!(
                    "`{own}` can never run: when `{other}` fails, nothing new begins; write `failFast: false` on the workflow, or put `{own}` under `onError`"
                ),
                false => format!(
                    "`{own}` can never run: `{other}` is never skipped, because it has no `when` and waits for nobody; say another ending"
                ),
            };
            let declared = entry.doc.get("dependsOn").unwrap_or(entry.doc);
            faults.at(declared, &pointer(&entry.path, "dependsOn"), message);
        }
    }
}

/// Whether a step can end skipped: by its condition, by people, or because one before it ended otherwise than it wants.
fn may_be_skipped(step: &Step) -> bool {
    step.has_condition() || step.skippable || !step.depends.is_empty()
}
