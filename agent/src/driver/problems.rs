//! List of the agent's problems, to which each part adds its own.
//!
//! See decision 0069.

use holdfast_protocol::message::Problem;
use holdfast_protocol::problem::ProblemCode;

/// Problems for reports and status.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem, if there is one. The text stands still as long as the problem does.
    pub(super) fn say(&mut self, code: ProblemCode, message: Option<String>) {
        self.0.extend(message.map(|message| Problem { code: code.into(), message }));
    }

    /// All problems, sorted by code.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.0.sort_by(|one, other| one.code.cmp(&other.code));
        self.0
    }
}
