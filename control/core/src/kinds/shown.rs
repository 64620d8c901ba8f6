//! Documents as people read them, with their status, and what a status is told from.

use serde::Serialize;

use crate::alarms::delivery::Standings;
use crate::model::Model;
use crate::rights::Sight;
use holdfast_api::selector::Selector;
use holdfast_api::{Policy, Workload};
use holdfast_base::ids::Labels;

/// Model and what else a status is told from.
#[derive(Debug, Clone, Copy)]
pub struct Looked<'a> {
    /// Documents and devices.
    pub model: &'a Model,
    /// Devices that the reader reaches: others are not counted, and documents of others not shown.
    pub sight: &'a Sight<'a>,
    /// Delivery states of notifications; empty when another kind is asked about.
    pub told: &'a Standings,
    /// Time in seconds since 1970.
    pub now: u64,
}

/// Part of the list of a kind.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Name after which the page begins. Empty: it is the first.
    pub after: &'a str,
    /// Selector of the documents' own labels; empty for all.
    pub selector: &'a Selector,
    /// Most documents.
    pub limit: usize,
}

impl Page<'_> {
    /// True if the page has documents with these labels.
    pub(crate) fn chooses(&self, labels: &Labels) -> bool {
        self.selector.is_empty() || self.selector.matches(labels)
    }
}

/// Document in the API's form.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// Document of the kind `Workload`.
    Workload(Box<Workload>),
    /// Document of any other kind.
    Policy(Box<Policy>),
}
