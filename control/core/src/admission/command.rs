//! Bounds of Linux on what a program is given: arguments, variables and paths.

use serde_json::Value;

use super::at::At;

/// Most arguments, and most environment variables.
pub(super) const MAX_WORDS: usize = 1_000;
/// Longest path of Linux, and so longest `path` and `workdir`, in bytes.
pub(super) const MAX_PATH: usize = 4_095;
/// Longest name of a file or folder in Linux file systems, in bytes.
const MAX_FILE_NAME: usize = 255;
/// Longest argument or variable (`NAME=VALUE`) including its final NUL, in bytes: 32 pages of 4 KiB
/// (`MAX_ARG_STRLEN`). A document is too small to reach the kernel's bound on all of them together,
/// a quarter of the stack's limit, which is 2 MiB.
const MAX_WORD: usize = 131_072;

/// Notes a fault if Linux cannot execute a program with this argument or variable because of its
/// length. `name` is the number of bytes before the value, including the `=`.
pub(super) fn fits(at: &At<'_>, name: usize, value: &str) {
    let count = name + value.len() + 1;
    if count > MAX_WORD {
        let counted = if name > 0 { "NAME=, value" } else { "argument" };
        at.fault(format!(
            "{count} bytes ({counted} and the NUL behind it): Linux executes nothing with more than \
             {MAX_WORD}; lay it as a file by spec.config, or push it as an artifact"
        ));
    }
}

/// Decodes a list of words, such as arguments of a program.
pub(super) fn args(at: &At<'_>) -> Vec<String> {
    let count = at.value().as_array().map_or(0, Vec::len);
    if count > MAX_WORDS {
        at.fault(format!("{count} of them, at most {MAX_WORDS}"));
        return Vec::new();
    }
    let word = |at: &At<'_>| {
        let word = at.text_without_nul()?;
        fits(at, 0, word);
        Some(word.to_owned())
    };
    at.each(word).into_iter().flatten().collect()
}

/// Notes a fault if Linux cannot open a program because of the length of its path.
pub(super) fn openable(at: &At<'_>) {
    if let Value::String(path) = at.value() {
        is_short_enough(at, path, MAX_PATH);
    }
}

/// Notes a fault if Linux cannot open a path because of its length. Returns false then.
pub(super) fn is_short_enough(at: &At<'_>, path: &str, most: usize) -> bool {
    if path.len() > most {
        at.refuse(format!("{} bytes, longer than the {most} that are taken here", path.len()));
        return false;
    }
    if let Some(long) = path.split('/').find(|part| part.len() > MAX_FILE_NAME) {
        let count = long.len();
        at.refuse(format!(
            "a name in it has {count} bytes, longer than the {MAX_FILE_NAME} of Linux file systems"
        ));
        return false;
    }
    true
}
