//! What differs from kind to kind.
//!
//! See decision 0139.

use holdfast_base::ids::Name;

use super::{Looked, Page, Shown};
use crate::admission::{Admitted, At, Stored, What};
use crate::apply::{Planned, Refusal};
use crate::model::{BadRecord, Model};
use holdfast_api::Explanation;
use holdfast_api::selector::Selector;

/// One kind of document.
pub(crate) trait Kind {
    /// Form of `spec`: decodes it, or writes its schema. None: faults were noted.
    fn spec(&self, at: &At<'_>, stored: &Stored<'_>) -> Option<(Selector, What)>;

    /// Plans a document that was admitted: its next record, its effect, and what it is refused for.
    fn plan(&self, model: &Model, document: Admitted, now: u64) -> Result<Planned, Refusal>;

    /// Returns the resource version of a document. None: there is none of this name.
    fn version(&self, model: &Model, name: &Name) -> Option<u64>;

    /// Adds a row of the store to the model.
    fn load(&self, model: &mut Model, key: &str, value: &[u8]) -> Result<(), BadRecord>;

    /// Returns a page of the documents in the order of their names, each with its status and its
    /// name.
    fn list(&self, looked: &Looked<'_>, page: &Page<'_>) -> Vec<(String, Shown)>;

    /// Returns a document with its status. None: there is none of this name.
    fn show(&self, looked: &Looked<'_>, name: &Name) -> Option<Shown>;

    /// Explains why a document is not in force everywhere. None: there is none of this name.
    fn explain(&self, looked: &Looked<'_>, name: &Name) -> Option<Explanation>;
}
