//! Deterministic world: the real cores of agent and control plane, real signatures and codec, on a
//! virtual clock, with a network that loses, repeats and delays, disks that fill, processes that
//! crash, agents that are killed between any two steps, machines that reboot, and a control plane
//! that stops and is restored from old backups. A seed replays any failure.
//!
//! Safety is checked at each step; convergence after a period without faults.

mod control;
pub mod data;
mod device;
mod run;

pub use run::{Outcome, run};

use holdfast_agent::core::backoff::Entropy;
use holdfast_protocol::workload::{Executable, Run, WorkloadSpec};

/// Random choices of a world, all from one seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(Entropy);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Entropy::new(seed))
    }

    /// Returns a number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.draw() % end.max(1)
    }

    /// Returns a number from `from` to below `end`.
    pub(crate) fn between(&mut self, from: u64, end: u64) -> u64 {
        from + self.below(end - from)
    }

    /// Returns true with a chance of `chance` in a thousand.
    pub(crate) fn permille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }
}

/// Behaviour of a program in this world, determined by the path that it is started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// The program runs until it is told to end.
    Good,
    /// The program ignores the request to end, and has to be killed.
    Stubborn,
    /// The program ends with an error after a while.
    Crashing,
    /// The program cannot be executed.
    Missing,
    /// The program runs, and its probe fails.
    Sick,
    /// The program ends with success after a while, and is not to be started again.
    Job,
}

impl Behaviour {
    pub(crate) const ALL: [(Self, &'static str); 6] = [
        (Self::Good, "/bin/good"),
        (Self::Stubborn, "/bin/stubborn"),
        (Self::Crashing, "/bin/crashing"),
        (Self::Missing, "/bin/missing"),
        (Self::Sick, "/bin/sick"),
        (Self::Job, "/bin/job"),
    ];

    /// Returns the behaviour for a specification; programs from artifacts are `Good`.
    pub(crate) fn of(spec: &WorkloadSpec) -> Self {
        let Run::Process(process) = &spec.run else { return Self::Good };
        match &process.executable {
            Executable::Artifact(_) => Self::Good,
            Executable::Path(path) => Self::ALL
                .into_iter()
                .find(|(_, known)| known == path)
                .map_or(Self::Good, |(behaviour, _)| behaviour),
        }
    }

    /// Returns true if the program works once it runs.
    pub(crate) fn works(self) -> bool {
        matches!(self, Self::Good | Self::Stubborn)
    }
}
