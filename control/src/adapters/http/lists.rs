//! Query parameters of lists.

use crate::api::selector::{Selector, parse};
use crate::service::{Failure, Query};

/// Page and selector of a list.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Maximum number of items; default 500, at most 5000.
    pub(super) limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    pub(super) after: Option<String>,
    /// Only items with these labels: `key=value,key2!=value,key3,!key4,key5 in (a,b)`.
    pub(super) label_selector: Option<String>,
}

impl ListQuery {
    /// Returns what the service is asked for.
    pub(super) fn query(&self) -> Result<Query, Failure> {
        let selector = selector(self.label_selector.as_deref())?;
        let (limit, after) = (self.limit, self.after.clone());
        Ok(Query { limit, after, selector })
    }
}

/// Page of a list whose items have no labels.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Maximum number of items; default 500, at most 5000.
    limit: Option<usize>,
    /// `metadata.continue` of the previous page.
    #[serde(rename = "continue")]
    after: Option<String>,
}

impl PageQuery {
    /// Returns what the service is asked for.
    pub(super) fn query(self) -> Query {
        Query { limit: self.limit, after: self.after, ..Default::default() }
    }
}

/// Parses the parameter `labelSelector`.
pub(super) fn selector(text: Option<&str>) -> Result<Selector, Failure> {
    parse(text.unwrap_or_default())
        .map_err(|error| Failure::invalid(format!("labelSelector: {error}")))
}
