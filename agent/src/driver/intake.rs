//! Access to the intake: tells the bus and the data socket which workloads may put data in, as
//! workloads come and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_protocol::problem::ProblemCode;
use holdfast_protocol::workload::Bus as Permissions;
use holdfast_records::StreamName;
use serde_json::Value;

use super::problems::Problems;
use crate::adapters::access::Access;
use crate::adapters::bus::{Bus, ProblemLog};
use crate::adapters::clock::uptime_ms;
use crate::adapters::data_socket::DataSocket;
use crate::adapters::intake::Intake;

/// Bus and data socket: the two ways to put data in. Neither listens before there is somebody who
/// may use it.
pub(super) struct Inlets {
    access: Arc<Access>,
    bus: Bus,
    socket: DataSocket,
    problem_log: Arc<ProblemLog>,
}

impl Inlets {
    pub(super) fn new(access: Arc<Access>, intake: Arc<dyn Intake>) -> Self {
        let problem_log = Arc::<ProblemLog>::default();
        let bus = Bus::new(Arc::clone(&access), Arc::clone(&intake), Arc::clone(&problem_log));
        let socket = DataSocket::new(bus.authority(), intake, Arc::clone(&problem_log));
        Self { access, bus, socket, problem_log }
    }

    /// Admits a workload that is about to run, or runs. `nonce`: that of its process, if known.
    pub(super) fn admit(&mut self, name: &Name, bus: &Permissions, nonce: Option<u64>) {
        self.bus.admit(name.clone(), bus.clone(), nonce);
        self.listen();
    }

    /// Admits a process that was adopted.
    pub(super) fn adopted(&mut self, name: &Name, nonce: u64) {
        self.bus.adopted(name, nonce);
    }

    /// Withdraws the access of a workload that is gone.
    pub(super) fn dismiss(&mut self, name: &Name) {
        self.bus.dismiss(name);
    }

    /// Reserves streams that the agent itself fills: nobody else may publish to them.
    pub(super) fn keep_for_sources(&mut self, streams: BTreeSet<StreamName>) {
        self.bus.keep_for_sources(streams);
    }

    /// Reads the local accesses again, and listens where it should and does not.
    pub(super) fn look(&mut self) {
        self.bus.refresh();
        if !self.bus.is_idle() {
            self.listen();
        }
    }

    /// Stops taking data in, after replies to all open requests: the buffer is about to be closed.
    pub(super) async fn stop(&mut self) {
        self.socket.stop().await;
        self.bus.stop().await;
    }

    fn listen(&mut self) {
        self.socket.listen(&self.access.socket());
    }

    /// Part of `holdfast-agent status` about clients and messages.
    pub(super) fn status(&self) -> Value {
        self.bus.counts()
    }

    /// Adds the problems of the bus and the data socket; `now` in seconds since 1970.
    pub(super) fn problems(&self, now: u64, list: &mut Problems) {
        for (code, message) in self.bus.problems() {
            list.say(code, message);
        }
        for why in self.problem_log.problems(uptime_ms(), now) {
            list.say(ProblemCode::IntakeRefused, Some(why));
        }
        list.say(ProblemCode::DataSocket, self.socket.problem());
    }
}
