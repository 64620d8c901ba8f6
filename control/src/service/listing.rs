//! Pages of lists, as people ask for them.

use std::ops::Bound;

use holdfast_base::ids::{Labels, Name};

use super::Failure;
use crate::api::selector::Selector;
use crate::api::{List, ListMeta};

/// Number of items of a page when the request does not say.
const DEFAULT_LIMIT: usize = 500;

/// Maximum number of items of a page.
const MAX_LIMIT: usize = 5_000;

/// Page of a list, and a selector for its items.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Maximum number of items.
    pub limit: Option<usize>,
    /// Key of the item after which the page begins.
    pub after: Option<String>,
    /// Selector of the items' labels; empty for all items.
    pub selector: Selector,
}

/// Page of a list, or why there is none.
pub type Listed<T> = Result<List<T>, Failure>;

impl Query {
    pub(super) fn limit(&self) -> Result<usize, Failure> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
            Some(limit) => Err(Failure::invalid(format!("limit={limit}: from 1 to {MAX_LIMIT}"))),
        }
    }

    pub(super) fn chooses(&self, labels: &Labels) -> bool {
        self.selector.is_empty() || self.selector.matches(labels)
    }

    pub(super) fn after(&self) -> Result<Bound<Name>, Failure> {
        match &self.after {
            None => Ok(Bound::Unbounded),
            Some(after) => after
                .parse()
                .map(Bound::Excluded)
                .map_err(|_| Failure::invalid("continue: not a value that a page gave; leave it out to begin with the first page")),
        }
    }
}

/// Cuts a page to its limit. `items` must hold one item more than the limit when another page
/// follows.
pub(super) fn page<T>(mut items: Vec<(String, T)>, limit: usize, resource_version: u64) -> List<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(|(name, _)| name.clone()) } else { None };
    List {
        items: items.into_iter().map(|(_, item)| item).collect(),
        metadata: ListMeta { next, resource_version, total: None },
    }
}
