//! Processes of the demo, and what the control plane among them greeted with.

use std::path::PathBuf;

use super::parts::Part;

/// Name of the control plane's process, as people see it.
pub(super) const PLANE: &str = "control plane";

/// Addresses and secrets that `holdfast serve` prints at its first start.
#[derive(Debug, Default, Clone)]
pub(super) struct Greeting {
    pub(super) api: String,
    pub(super) mqtt: String,
    pub(super) ca: String,
    pub(super) token: String,
}

impl Greeting {
    /// Parses the output of `holdfast serve`. None: it is not complete yet.
    pub(super) fn of(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = text.split_inclusive('\n').find(|line| line.starts_with(key))?;
            line.strip_suffix('\n')?.strip_prefix(key).map(ToOwned::to_owned)
        };
        Some(Self {
            api: value("api: ")?,
            mqtt: value("mqtt: ")?,
            ca: value("ca-sha256: ")?,
            token: value("admin-token: ")?,
        })
    }
}

/// Processes of the demo, and where they run.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) greeting: Greeting,
    pub(super) parts: Vec<Part>,
}

impl Stage {
    /// Creates a stage without processes.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, greeting: Greeting::default(), parts: Vec::new() }
    }
}
