//! Format of the control plane's store: which stores this program opens.
//!
//! A store of an older format is upgraded in place. One of a newer format is refused by the name of
//! the program that wrote it, before anything is changed. A kind of row, or a field without a
//! default, that older programs cannot read raises [`FORMAT`].
//!
//! See decision 0159.

use serde::{Deserialize, Serialize};

/// Format of the stores that this program writes. 1: from before there was a row of the format. 2:
/// the authority's keys are sealed, and there are data keys.
pub const FORMAT: u32 = 2;

/// Row of the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFormat {
    /// Number of the format.
    pub format: u32,
    /// Program that wrote it first, such as `holdfast 0.1.0`.
    pub program: String,
}

/// Reason why a store of another format is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data folder has format {} and was written by {}; this program ({ours}) reads formats up to {FORMAT}: start {} or a newer one. Nothing was changed", .found.format, .found.program, .found.program
)]
pub struct TooNew {
    /// What was found.
    found: StoreFormat,
    /// Name and version of this program.
    ours: String,
}

/// Returns the row of this program's format.
pub fn present(program: &str) -> StoreFormat {
    StoreFormat { format: FORMAT, program: program.into() }
}

/// Decides whether a store with this row can be opened, and whether it must be upgraded first. None:
/// the store has no row of the format.
///
/// # Errors
/// [`TooNew`].
pub fn check(found: Option<StoreFormat>, ours: &str) -> Result<Upgrade, TooNew> {
    match found {
        Some(found) if found.format > FORMAT => Err(TooNew { found, ours: ours.into() }),
        Some(found) if found.format == FORMAT => Ok(Upgrade::NotNeeded),
        Some(_) | None => Ok(Upgrade::Needed),
    }
}

/// Answer of [`check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// The store is of this program's format.
    NotNeeded,
    /// The store is of an older format.
    Needed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_formats_are_upgraded_and_newer_ones_refused_by_name() {
        let of = |format| Some(StoreFormat { format, program: "holdfast 9.1.0".into() });
        assert_eq!(check(None, "holdfast 0.1.0"), Ok(Upgrade::Needed));
        assert_eq!(check(of(1), "holdfast 0.1.0"), Ok(Upgrade::Needed));
        assert_eq!(check(of(FORMAT), "holdfast 0.1.0"), Ok(Upgrade::NotNeeded));
        let said = check(of(FORMAT + 1), "holdfast 0.1.0").unwrap_err().to_string();
        assert!(said.contains("start holdfast 9.1.0 or a newer one"), "{said}");
    }
}
