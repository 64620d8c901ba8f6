//! Setting a damaged database aside.
//!
//! See decision 0046.

use std::path::Path;

use super::file::path;

/// Sets the file aside after the thread panicked on its content, so that it is not opened again.
pub(super) fn suspect(data: &Path, why: &str) {
    tracing::error!("the buffer's thread failed: {why}");
    let _what_is_left = set_aside(data, why);
}

/// Sets the database aside as `data.damaged`, replacing a former one; returns the notice for a
/// person.
pub(super) fn set_aside(data: &Path, why: &str) -> String {
    let (file, aside) = (path(data), data.join("data.damaged"));
    let moved = std::fs::rename(&file, &aside);
    let notice = format!(
        "the buffer was damaged ({why}) and set aside as {}: {}; what was in it stands in the gap ledger",
        aside.display(),
        if moved.is_ok() { "begun anew" } else { "it could not even be moved" }
    );
    tracing::error!("{notice}");
    notice
}
