//! Who may put data in: told to the bus and the data socket as workloads come and go.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_base::ids::Name;
use holdfast_protocol::message::Problem;
use holdfast_protocol::workload::Bus as Permissions;
use holdfast_records::StreamName;
use serde_json::Value;

use super::Driver;
use crate::adapters::access::Access;
use crate::adapters::bus::{Bus, ProblemLog};
use crate::adapters::clock::uptime_ms;
use crate::adapters::data_socket::DataSocket;
use crate::adapters::intake::Intake;

/// The two ways in. Neither listens before somebody may come.
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

    /// A workload is about to run, or runs.
    /// `nonce`: of its instance, where that is known.
    pub(super) fn admit(&mut self, name: &Name, bus: &Permissions, nonce: Option<u64>) {
        self.bus.admit(name.clone(), bus.clone(), nonce);
        self.listen();
    }

    /// This instance runs already.
    pub(super) fn adopted(&mut self, name: &Name, nonce: u64) {
        self.bus.adopted(name, nonce);
    }

    /// It is gone.
    pub(super) fn dismiss(&mut self, name: &Name) {
        self.bus.dismiss(name);
    }

    /// The agent itself fills these streams: nobody else may.
    pub(super) fn keep_for_sources(&mut self, streams: BTreeSet<StreamName>) {
        self.bus.keep_for_sources(streams);
    }

    /// Looks for local accesses, and listens where it should and does not.
    pub(super) fn look(&mut self) {
        self.bus.refresh();
        if !self.bus.is_idle() {
            self.listen();
        }
    }

    /// Whoever is there is answered: the buffer is about to be closed.
    pub(super) async fn stop(&mut self) {
        self.socket.stop().await;
        self.bus.stop().await;
    }

    fn listen(&mut self) {
        self.socket.listen(&self.access.socket());
    }

    /// How they stand, for `holdfast-agent status`.
    pub(super) fn status(&self) -> Value {
        self.bus.counts()
    }

    /// What a person should know.
    /// `now`: in seconds since 1970.
    pub(super) fn problems(&self, now: u64) -> Vec<Problem> {
        let mut list = self.bus.problems();
        let refused = self.problem_log.problems(uptime_ms(), now);
        list.extend(refused.into_iter().map(|why| ("intake-refused", Some(why))));
        list.push(("data-socket", self.socket.problem()));
        let problem = |(code, message): (&str, Option<String>)| {
            message.map(|message| Problem { code: code.into(), message })
        };
        list.into_iter().filter_map(problem).collect()
    }
}

impl Driver {
    /// What runs already may come from the start.
    pub(super) fn admit_known(&mut self) {
        for (name, record) in self.agent.records() {
            if let Some(current) = &record.current {
                let nonce = record.instance.as_ref().map(|instance| instance.nonce);
                self.inlets.admit(name, &current.spec.bus, nonce);
            }
        }
        self.inlets.look();
    }
}
