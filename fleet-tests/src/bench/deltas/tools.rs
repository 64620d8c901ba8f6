//! Programs that make and apply deltas: ours, and its peers.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::pairs::Pair;

/// Program that makes and applies deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Ours,
    Bsdiff,
    Zstd,
    Xdelta,
    HDiff,
}

/// All of them.
pub(super) const TOOLS: [Tool; 5] =
    [Tool::Bsdiff, Tool::Zstd, Tool::Ours, Tool::Xdelta, Tool::HDiff];

/// Program for HDiffPatch, which comes as a module of Python.
const HDIFF: &str = "import sys, hdiffpatch as h
what, a, b, out = sys.argv[1:]
a, b = open(a, 'rb').read(), open(b, 'rb').read()
made = h.diff(a, b, h.COMPRESSION_LZMA2, validate=False) if what == 'make' else h.apply(a, b)
open(out, 'wb').write(made)";

/// Builds our program as it is shipped: optimised. Returns its path.
pub(super) fn build() -> PathBuf {
    let target = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/delta-bench"));
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--package", "holdfast-delta-maker", "--example", "delta"]);
    let built = cargo.arg("--target-dir").arg(target).status();
    assert!(built.is_ok_and(|status| status.success()), "our program is not built");
    target.join("release/examples/delta")
}

fn command<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

impl Tool {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "HFD1",
            Self::Bsdiff => "bsdiff",
            Self::Zstd => "zstd -19",
            Self::Xdelta => "xdelta3",
            Self::HDiff => "HDiffPatch",
        }
    }

    pub(super) fn make(self, pair: &Pair, delta: &Path, ours: &Path, memory: u64) -> Command {
        let Pair { old, new, .. } = pair;
        match self {
            Self::Ours => {
                let mut command = Command::new(ours);
                command.arg("make").arg(old).arg(new).arg(delta).arg(memory.to_string());
                command
            }
            Self::Bsdiff => {
                let mut command = Command::new("bsdiff");
                command.arg(old).arg(new).arg(delta);
                command
            }
            Self::Zstd => {
                let from = format!("--patch-from={}", old.display());
                let mut command = command("zstd", ["-q", "-f", "-19", "--long=27", &from]);
                command.arg(new).arg("-o").arg(delta);
                command
            }
            Self::Xdelta => {
                let mut command = command("xdelta3", ["-q", "-f", "-9", "-S", "lzma", "-e", "-s"]);
                command.arg(old).arg(new).arg(delta);
                command
            }
            Self::HDiff => {
                let mut command = command("python3", ["-c", HDIFF, "make"]);
                command.arg(old).arg(new).arg(delta).env("PYTHONPATH", &pair.modules);
                command
            }
        }
    }

    pub(super) fn apply(self, pair: &Pair, delta: &Path, made: &Path, ours: &Path) -> Command {
        let old = &pair.old;
        match self {
            Self::Ours => {
                let mut command = Command::new(ours);
                command.arg("apply").arg(delta).arg(old).arg(made);
                command
            }
            Self::Bsdiff => {
                let mut command = Command::new("bspatch");
                command.arg(old).arg(made).arg(delta);
                command
            }
            Self::Zstd => {
                let from = format!("--patch-from={}", old.display());
                let mut command = command("zstd", ["-q", "-f", "-d", "--long=27", &from]);
                command.arg(delta).arg("-o").arg(made);
                command
            }
            Self::Xdelta => {
                let mut command = command("xdelta3", ["-q", "-f", "-d", "-s"]);
                command.arg(old).arg(delta).arg(made);
                command
            }
            Self::HDiff => {
                let mut command = command("python3", ["-c", HDIFF, "apply"]);
                command.arg(old).arg(delta).arg(made).env("PYTHONPATH", &pair.modules);
                command
            }
        }
    }
}
