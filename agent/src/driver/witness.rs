//! Checkpoints of the control plane's audit log, in a file of the data folder. This device keeps
//! what desired states carried, says it when it is asked, and reports what cannot be one history.
//!
//! See decision 0170.

use std::path::{Path, PathBuf};

use holdfast_base::ids::hex;
use holdfast_protocol::checkpoint::Checkpoint;

use crate::adapters::files;
use crate::core::witness::{Contradiction, Witness};

/// Kept checkpoints, and their file.
pub(super) struct AuditWitness {
    file: PathBuf,
    witness: Witness,
}

impl AuditWitness {
    /// Reads the file. One that is damaged holds nothing: the next desired state begins anew.
    pub(super) fn load(data: &Path) -> Self {
        let file = data.join("audit.witness");
        let witness = match std::fs::read(&file) {
            Ok(bytes) => Witness::read(&bytes).unwrap_or_else(|| {
                tracing::warn!(file = %file.display(), "the kept checkpoints of the audit log cannot be read: they begin anew");
                Witness::default()
            }),
            Err(_) => Witness::default(),
        };
        Self { file, witness }
    }

    /// Keeps the checkpoint that a desired state of this epoch carried.
    pub(super) fn keep(&mut self, epoch: u64, carried: Option<Checkpoint>) {
        if carried.is_some_and(|checkpoint| self.witness.keep(epoch, checkpoint)) {
            self.write();
        }
    }

    /// Forgets what a former identity saw.
    pub(super) fn forget(&mut self) {
        self.witness = Witness::default();
        self.write();
    }

    /// Returns the reply's body with all that is kept.
    pub(super) fn testimony(&self) -> Vec<u8> {
        self.witness.testimony()
    }

    /// Says what of the audit log cannot be one history. None: nothing.
    pub(super) fn problem(&self) -> Option<String> {
        let Contradiction { kept, shown } = self.witness.contradiction()?;
        let said = |it: &Checkpoint| {
            let hash: String = hex(&it.hash).chars().take(16).collect();
            format!("entry {} with hash {hash}", it.number)
        };
        Some(format!(
            "the audit log of the control plane was put back or rewritten: it shows {} now, and this device saw {} before",
            said(&shown.checkpoint),
            said(&kept.checkpoint)
        ))
    }

    /// Writes the file. When that fails, memory still has it, and the newest one stands in the
    /// desired state on disk too.
    fn write(&self) {
        if let Err(error) = files::replace(&self.file, &self.witness.bytes(), 0o600) {
            tracing::warn!(%error, "a checkpoint of the audit log cannot be kept on disk");
        }
    }
}
