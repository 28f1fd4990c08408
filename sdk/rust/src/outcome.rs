//! How one segment of an agent's work ends.

/// Finished, or a checkpoint from which the agent is started afresh.
///
/// After `Continue(state)` the host records the state, drops the instance, and calls the agent again with
/// `Some(state)`: what came before is never repeated, however often the host restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<Output, State> {
    /// Finished, with its output.
    Done(Output),
    /// A checkpoint.
    Continue(State),
}
