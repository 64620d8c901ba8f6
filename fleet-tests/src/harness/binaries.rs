//! Paths of the two programs, and a check that they are as new as their sources: a test of an old
//! binary would prove nothing.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Paths of the two programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// Path of `holdfast`.
    pub control: PathBuf,
    /// Path of `holdfast-agent`.
    pub agent: PathBuf,
}

impl Binaries {
    /// Finds the programs built beside the running test, or in `HOLDFAST_BIN_DIR`.
    ///
    /// # Panics
    /// Panics if one is missing or older than its sources, and names the command that builds it.
    pub fn find() -> Self {
        match std::env::var_os("HOLDFAST_BIN_DIR") {
            Some(dir) => Self::in_dir(Path::new(&dir)),
            None => {
                let found = Self::in_dir(&target_dir());
                if std::env::var_os("HOLDFAST_STALE_BINARIES").is_none() {
                    check_fresh(&found.control);
                    check_fresh(&found.agent);
                }
                found
            }
        }
    }

    fn in_dir(dir: &Path) -> Self {
        let found = Self { control: dir.join("holdfast"), agent: dir.join("holdfast-agent") };
        for program in [&found.control, &found.agent] {
            assert!(program.is_file(), "{} is missing: run `{BUILD}`", program.display());
        }
        found
    }
}

const BUILD: &str = "cargo build --workspace --bins";

/// Returns the folder of the profile that this program was built with (`target/debug`).
pub fn target_dir() -> PathBuf {
    let program = std::env::current_exe().expect("a running program has a path");
    let dir = program.parent().expect("a program is in a folder");
    // Tests are in `deps/`, programs in the folder above.
    if dir.ends_with("deps") { dir.parent().expect("deps is in a folder") } else { dir }.into()
}

/// Compares a program with its sources, which Cargo lists in `PROGRAM.d` beside it.
fn check_fresh(program: &Path) {
    let Ok(list) = std::fs::read_to_string(program.with_extension("d")) else { return };
    let built = changed(program).expect("the program was just found");
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    for source in sources.split_whitespace().map(Path::new) {
        let newer = changed(source).is_none_or(|at| at > built);
        assert!(
            !newer,
            "{} is older than {}: run `{BUILD}` (HOLDFAST_STALE_BINARIES=1 tests it all the same)",
            program.display(),
            source.display()
        );
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}
