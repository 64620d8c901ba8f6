//! Reports to the control plane, and the history numbers of this data folder in them.
//!
//! See decisions 0011, 0081 and 0150.

use std::path::{Path, PathBuf};

use holdfast_base::codec::{self, CodecError};
use holdfast_base::ids::StateVersion;
use holdfast_protocol::message::{AgentInfo, EngineInfo, Problem, ReportAck};
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::topic::Channel;
use holdfast_records::DataReport;

use super::inputs::{TaskResult, Tell};
use super::problems::Problems;
use crate::adapters::clock::uptime_ms;
use crate::adapters::files;
use crate::adapters::link::Outlet;
use crate::adapters::neighbours::Neighbours;
use crate::core::agent::View;
use crate::core::backoff::Entropy;
use crate::core::certificate::Life;
use crate::core::lineage::{self, Lineage};
use crate::core::report::{self, Reporter};

/// Name of the file with the history numbers of this data folder (see `core/lineage.rs`).
const HISTORY: &str = "history";

/// Reports of this device, of which one at a time is under way.
pub(super) struct Reports {
    reporter: Reporter,
    /// History of this data folder, compared with the one that the control plane knows.
    lineage: Lineage,
    file: PathBuf,
    entropy: Entropy,
    tell: Tell,
    neighbours: Neighbours,
}

impl Reports {
    /// Reads the history numbers. `first`: number before that of the first report.
    pub(super) fn new(
        data: &Path,
        first: u16,
        entropy: Entropy,
        (tell, neighbours): (Tell, Neighbours),
    ) -> Self {
        let file = data.join(HISTORY);
        let lineage = Lineage::read(&std::fs::read_to_string(&file).unwrap_or_default());
        Self { reporter: Reporter::new(first), lineage, file, entropy, tell, neighbours }
    }

    /// Begins a connection, with a history number of its own: a copy of this data folder would send
    /// another one.
    pub(super) fn connected(&mut self) {
        self.begin_history();
        self.reporter.connected();
    }

    fn begin_history(&mut self) {
        let drawn = u32::try_from(self.entropy.draw() >> 32).unwrap_or(1);
        let Some(numbers) = self.lineage.begin(drawn) else { return };
        let text = lineage::text(&numbers);
        match files::replace(&self.file, text.as_bytes(), 0o600) {
            Ok(()) => self.lineage.begun(numbers),
            // The former numbers are sent.
            Err(error) => tracing::warn!(%error, "{HISTORY} cannot be stored now"),
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.reporter.disconnected();
    }

    /// Time at which a report may be due without an event, in milliseconds since the boot.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.reporter.next_wake()
    }

    /// Makes the next report a full one: it contains the end of the certificate's life.
    pub(super) fn forget_reported(&mut self) {
        self.reporter.forget_reported();
    }

    /// Notes whether the broker took the report of this number.
    pub(super) fn taken(&mut self, id: u32, taken: bool) {
        if taken {
            self.reporter.taken(id, uptime_ms());
        } else {
            self.reporter.refused(id, uptime_ms());
        }
    }

    /// Takes in the control plane's acknowledgement of a report.
    ///
    /// # Errors
    /// Returns the reason if it cannot be read.
    pub(super) fn acknowledged(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        let ack: ReportAck = codec::decode(bytes)?;
        if self.reporter.acknowledged(ack.id) {
            self.lineage.reported();
        }
        Ok(())
    }

    /// Notes that the control plane knows another history of this device.
    pub(super) fn diverged(&mut self) {
        self.lineage.diverged(uptime_ms());
    }

    /// Confirms to the control plane that this device's records are numbered above all that it
    /// told with this history `number`.
    pub(super) fn confirm(&self, outlet: Option<&Outlet>, applied: StateVersion, number: u32) {
        let Some(outlet) = outlet.cloned() else { return };
        let StateVersion { epoch, generation } = applied;
        let report = report::confirmation(epoch, generation, number);
        if let Ok(payload) = report::encode(report) {
            // If it is lost, the control plane asks again after the next connect.
            tokio::spawn(async move { outlet.publish(Channel::State, payload).await });
        }
    }

    /// Sends what has changed, if a report is due. `life`: validity of the certificate. `refused`:
    /// number of inputs refused since the start. `engine`: container engine of this device.
    pub(super) fn send(
        &mut self,
        outlet: Outlet,
        (view, problems): (&View, &[Problem]),
        data: DataReport,
        life: Option<Life>,
        (refused, engine): (u64, EngineInfo),
    ) {
        let info = || AgentInfo {
            version: env!("CARGO_PKG_VERSION").into(),
            arch: std::env::consts::ARCH.into(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            certificate_not_after: life.map(|it| it.not_after),
            refused,
            witness: true,
            engine: Some(engine.clone()),
            neighbours: self.neighbours.addresses(),
        };
        let now = uptime_ms();
        let Some(mut report) = self.reporter.next(view, problems, Some(data), info, now) else {
            return;
        };
        if report.full {
            report.history = self.lineage.numbers();
        }
        let (tell, id) = (self.tell.clone(), report.id.unwrap_or_default());
        match report::encode(report) {
            Ok(payload) => {
                tokio::spawn(async move {
                    let taken = outlet.publish(Channel::State, payload).await;
                    let _agent_ends = tell.send(TaskResult::ReportTaken(id, taken)).await;
                });
            }
            Err(error) => {
                tracing::error!(%error, "the state cannot be reported");
                self.reporter.refused(id, now);
            }
        }
    }

    /// Adds the problems of this data folder's history.
    pub(super) fn problems(&self, list: &mut Problems) {
        let now = uptime_ms();
        list.say(ProblemCode::IdentityTwice, self.lineage.duplicated(now));
        list.say(ProblemCode::RolledBack, self.lineage.rolled_back(now));
    }
}
