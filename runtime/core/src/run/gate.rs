//! What an attempt must pass, with the keys that its run gives.

use super::Run;
use super::event::Node;
use super::scope::{RunScope, Values};
use crate::expr::Template;
use crate::gate::Gates;
use crate::outcome::{Failure, FailureKind};
use crate::plan::gates::gate_key_text;
use std::sync::Arc;

impl Run {
    /// What an attempt of this step or item must pass. What is tried instead passes nothing: it is another call.
    ///
    /// # Errors
    /// `expression_failed`, where a key has no value or one that is none.
    pub fn gates_of(&self, node: Node, values: &Values) -> Result<Gates, Failure> {
        let rules = self.plan.steps.get(node.step as usize).and_then(|step| step.gates.as_deref());
        let Some(rules) = rules.filter(|_| self.alternative(node) == 0) else { return Ok(Gates::default()) };
        let scope =
            self.node_scope(node, values).map_err(|f| self.expression_failure(&f, node.step, "rateLimit"))?;
        let mut gates = Gates::default();
        if let Some(rate) = &rules.rate {
            gates.rate = Some((self.gate_key(rate.key.as_ref(), &scope, (node, "rateLimit"))?, rate.rule));
        }
        if let Some(circuit) = &rules.circuit {
            let key = self.gate_key(circuit.key.as_ref(), &scope, (node, "circuitBreaker"))?;
            gates.circuit = Some((key, circuit.rule));
        }
        Ok(gates)
    }

    fn gate_key(
        &self,
        key: Option<&Template>,
        scope: &RunScope<'_>,
        (node, place): (Node, &str),
    ) -> Result<Arc<str>, Failure> {
        let Some(key) = key else {
            let call = self.plan.call_of(node.step).map(|(_, call)| call.pattern());
            return Ok(call.unwrap_or_default().into());
        };
        let value = key.eval(scope, &mut self.budget());
        let value = value.map_err(|fault| self.expression_failure(&fault, node.step, place))?;
        gate_key_text(&value, &self.limits).map(Into::into).map_err(|why| {
            let message = format!("{why} (in `{place}.key` of `{}`)", self.step_id(node.step));
            Failure::new(FailureKind::ExpressionFailed, message)
        })
    }
}
