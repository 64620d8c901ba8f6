//! The whole device: what is wanted, each workload's life, and what has been applied.
//!
//! Level-triggered: [`Agent::advance`] looks at everything anew and says what to do now;
//! [`Agent::next_wake`] says when to look again if nothing happens.
//! See decision 0008.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_base::ids::{Digest, Name, StateVersion};
use holdfast_protocol::message::{DesiredState, WorkloadReport};

use super::backoff::Entropy;
use super::effect::{Effect, Observed};
use super::held::Held;
use super::lifecycle::{Surroundings, Workload};
use super::record::{Found, Instance, Record, Revision};

/// Between two tries of a census that could not be taken, in milliseconds.
const LOOK_AGAIN: u64 = 1_000;

/// What the agent finds when it starts.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The desired state on its disk.
    pub desired: Option<DesiredState>,
    /// Where that cannot be trusted: the one before. It tells what may run, and not what may not.
    pub former: Option<DesiredState>,
    /// The records on its disk.
    pub records: BTreeMap<Name, Record>,
    /// Its processes on the machine.
    pub found: Vec<Found>,
    /// Folders of workloads.
    pub folders: BTreeSet<Name>,
    /// Artifacts that are whole.
    pub artifacts: BTreeSet<Digest>,
    /// Seed of everything random.
    pub entropy: u64,
}

/// How everything stands, for reports and people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The desired state that is followed.
    pub desired: StateVersion,
    /// The newest that is applied: see `StateReport::generation`.
    pub applied: StateVersion,
    /// By name.
    pub workloads: BTreeMap<Name, WorkloadReport>,
    /// Nothing is under way that ends by itself in a moment.
    pub settled: bool,
}

/// The device.
#[derive(Debug)]
pub struct Agent {
    desired: StateVersion,
    applied: StateVersion,
    workloads: BTreeMap<Name, Workload>,
    /// Left alone until a desired state comes, and then looked at anew.
    held: BTreeMap<Name, Held>,
    /// A desired state is followed.
    informed: bool,
    /// A look at the machine for what is held is under way.
    looking: bool,
    /// Not before: a census failed.
    look_at: u64,
    artifacts: BTreeSet<Digest>,
    kept: Option<BTreeSet<Digest>>,
    entropy: Entropy,
    pending: Vec<Effect>,
}

impl Agent {
    /// Plans from what is found: adopts what runs as it should, sweeps what runs and should not.
    pub fn new(start: Start, now: u64) -> Self {
        let Start { desired, former, mut records, found, folders, artifacts, entropy } = start;
        let told = desired.as_ref().or(former.as_ref());
        let told = told.map(wanted_revisions).unwrap_or_default();
        let mut names: BTreeSet<Name> = folders;
        names.extend(records.keys().cloned());
        names.extend(found.iter().map(|found| found.workload.clone()));
        if desired.is_none() {
            names.extend(told.keys().cloned());
        }
        let mut agent = Self {
            desired: StateVersion::default(),
            applied: StateVersion::default(),
            workloads: BTreeMap::new(),
            held: BTreeMap::new(),
            informed: false,
            looking: false,
            look_at: 0,
            artifacts,
            kept: None,
            entropy: Entropy::new(entropy),
            pending: Vec::new(),
        };
        for name in names {
            let record = records.remove(&name).unwrap_or_default();
            let mine: Vec<&Found> = found.iter().filter(|it| it.workload == name).collect();
            let told = told.get(&name);
            if desired.is_none() && Held::is_due(&record, told, &mine) {
                agent.hold(name, record, &mine);
            } else {
                agent.take_over(name, record, told, &mine, now);
            }
        }
        if let Some(desired) = &desired {
            agent.follow(desired);
        } else {
            // Nothing is known of what is wanted (never enrolled, or the file is damaged): what
            // ran goes on running, and nothing is ended or removed on a guess.
            for (name, workload) in &mut agent.workloads {
                let last = workload.record().current.as_ref().or(told.get(name)).cloned();
                // What does not run is not started against the last word on it.
                let record = workload.record();
                let last_word = match (&record.current, &former) {
                    (None, Some(former)) => is_paused(former, name),
                    _ => record.paused,
                };
                let paused = last_word && workload.instance().is_none();
                workload.want(last, paused);
            }
        }
        agent
    }

    /// Leaves it alone, and watches what runs of it.
    fn hold(&mut self, name: Name, record: Record, found: &[&Found]) {
        let found: Vec<Found> = found.iter().copied().cloned().collect();
        for main in found.iter().filter(|it| it.leader && !it.at_gate) {
            let (name, instance) = (name.clone(), main.instance.clone());
            self.pending.push(Effect::Watch { name, instance });
        }
        self.held.insert(name, Held { record, found, wanted: None, paused: false });
    }

    /// What is held is planned, now that it is known what is wanted and what runs.
    fn release(&mut self, found: &[Found], now: u64) {
        self.looking = false;
        for (name, held) in std::mem::take(&mut self.held) {
            let mine: Vec<&Found> = found.iter().filter(|it| it.workload == name).collect();
            self.take_over(name.clone(), held.record, held.wanted.as_ref(), &mine, now);
            if let Some(workload) = self.workloads.get_mut(&name) {
                workload.want(held.wanted, held.paused);
            }
        }
    }

    fn take_over(
        &mut self,
        name: Name,
        mut record: Record,
        wanted: Option<&Revision>,
        found: &[&Found],
        now: u64,
    ) {
        let recorded = record.instance.clone();
        let adopted = match found.iter().find(|it| Some(&it.instance) == recorded.as_ref()) {
            Some(known) => Some(known.instance.clone()),
            None => unrecorded(found, &mut record, wanted),
        };
        if adopted.is_none() {
            record.instance = None;
        }
        let strays = found.iter().any(|it| adopted.as_ref() != Some(&it.instance));
        let mut workload = Workload::new(name.clone(), record);
        let mut world = Surroundings {
            now,
            artifacts: &self.artifacts,
            entropy: &mut self.entropy,
            out: &mut self.pending,
        };
        match adopted {
            Some(instance) => {
                workload.adopt(instance.clone(), &mut world);
                if strays {
                    let spare = Some(instance);
                    let (name, last, kill) = (name.clone(), recorded, true);
                    self.pending.push(Effect::Sweep { name, last, spare, kill });
                }
            }
            None if strays || recorded.is_some() => workload.sweep_first(recorded, &mut world),
            None => {}
        }
        self.workloads.insert(name, workload);
    }

    /// Follows a desired state. It is stored already.
    pub fn follow(&mut self, desired: &DesiredState) {
        self.desired = desired.version();
        self.informed = true;
        let mut wanted = wanted_revisions(desired);
        let paused = |name: &Name| is_paused(desired, name);
        for (name, held) in &mut self.held {
            (held.wanted, held.paused) = (wanted.remove(name), paused(name));
        }
        for (name, workload) in &mut self.workloads {
            workload.want(wanted.remove(name), paused(name));
        }
        for (name, revision) in wanted {
            let mut workload = Workload::new(name.clone(), Record::default());
            workload.want(Some(revision), paused(&name));
            self.workloads.insert(name, workload);
        }
    }

    /// Ends what this state does not contain, and follows it in nothing else: for one that cannot
    /// be stored. To end a workload twice, after a crash, harms nothing.
    pub fn end_unwanted(&mut self, desired: &DesiredState) {
        for (name, workload) in &mut self.workloads {
            if !desired.workloads.contains_key(name) {
                workload.want(None, false);
            }
        }
    }

    /// Stops a workload and starts the same revision again. Whether that is done is what
    /// [`Agent::restarted`] tells.
    ///
    /// # Errors
    /// Why it is not restarted, in words.
    pub fn restart(&mut self, name: &Name) -> Result<(), String> {
        match self.workloads.get_mut(name) {
            Some(workload) => workload.restart(&self.artifacts),
            None => Err("this device has no such workload".into()),
        }
    }

    /// What came of [`Agent::restart`]. None: it is under way.
    pub fn restarted(&self, name: &Name) -> Option<Result<(), String>> {
        match self.workloads.get(name) {
            Some(workload) => workload.restarted(),
            None => Some(Err("it was removed".into())),
        }
    }

    /// The version that is followed.
    pub fn version(&self) -> StateVersion {
        self.desired
    }

    /// Takes in what happened.
    pub fn observe(&mut self, observed: Observed, now: u64) {
        match &observed {
            Observed::Fetched(digest) => {
                self.artifacts.insert(*digest);
                if self.kept.as_ref().is_some_and(|kept| !kept.contains(digest)) {
                    // It came when it was not wanted any more: collected once more.
                    self.kept = None;
                }
                self.each(&observed, now);
            }
            Observed::FetchTrouble(..) => self.each(&observed, now),
            Observed::Census(found) => self.release(found, now),
            Observed::Blind => {
                self.looking = false;
                self.look_at = now + LOOK_AGAIN;
            }
            Observed::Launched(name, _)
            | Observed::Unfit(name, _)
            | Observed::Missing(name, _)
            | Observed::Recorded(name, _)
            | Observed::Opened(name, ..)
            | Observed::Exited(name, ..)
            | Observed::Probed(name, ..)
            | Observed::LeftBehind(name, _)
            | Observed::Swept(name, _)
            | Observed::Removed(name, _) => {
                let name = name.clone();
                if let Observed::Missing(_, digest) = &observed {
                    self.artifacts.remove(digest);
                }
                if let (Some(held), Observed::Exited(_, gone, _)) =
                    (self.held.get_mut(&name), &observed)
                {
                    held.found.retain(|it| it.instance != *gone);
                }
                let mut world = Surroundings {
                    now,
                    artifacts: &self.artifacts,
                    entropy: &mut self.entropy,
                    out: &mut self.pending,
                };
                if let Some(workload) = self.workloads.get_mut(&name) {
                    workload.observe(observed, &mut world);
                }
            }
        }
    }

    fn each(&mut self, observed: &Observed, now: u64) {
        let mut world = Surroundings {
            now,
            artifacts: &self.artifacts,
            entropy: &mut self.entropy,
            out: &mut self.pending,
        };
        for workload in self.workloads.values_mut() {
            workload.observe(observed.clone(), &mut world);
        }
    }

    /// Everything to do now, in order.
    pub fn advance(&mut self, now: u64) -> Vec<Effect> {
        let mut world = Surroundings {
            now,
            artifacts: &self.artifacts,
            entropy: &mut self.entropy,
            out: &mut self.pending,
        };
        for workload in self.workloads.values_mut() {
            workload.advance(&mut world);
        }
        self.workloads.retain(|_, workload| !workload.is_gone());
        if self.informed && !self.held.is_empty() && !self.looking && now >= self.look_at {
            self.looking = true;
            self.pending.push(Effect::Census);
        }
        if self.is_settled() && self.held.is_empty() {
            self.applied = self.desired;
            let keep: BTreeSet<Digest> =
                self.workloads.values().flat_map(Workload::artifacts).collect();
            if self.kept.as_ref() != Some(&keep) {
                self.artifacts.retain(|digest| keep.contains(digest));
                self.pending.push(Effect::Collect { keep: keep.clone() });
                self.kept = Some(keep);
            }
        }
        std::mem::take(&mut self.pending)
    }

    fn is_settled(&self) -> bool {
        // What is held waits for something outside, unless it is known what is wanted.
        (self.held.is_empty() || !self.informed)
            && self.workloads.values().all(Workload::is_settled)
    }

    /// When to look again if nothing happens, in milliseconds of the rising clock.
    pub fn next_wake(&self) -> Option<u64> {
        let census = self.informed && !self.held.is_empty() && !self.looking;
        let workloads = self.workloads.values().filter_map(Workload::next_wake);
        workloads.chain(census.then_some(self.look_at)).min()
    }

    /// How everything stands.
    pub fn view(&self) -> View {
        View {
            desired: self.desired,
            applied: self.applied,
            workloads: self
                .workloads
                .iter()
                .map(|(name, it)| (name.clone(), it.report()))
                .chain(self.held.iter().filter_map(|(name, it)| Some((name.clone(), it.report()?))))
                .collect(),
            settled: self.is_settled(),
        }
    }

    /// What is to be stored of every workload, for a store that has to be written anew.
    pub fn records(&self) -> impl Iterator<Item = (&Name, &Record)> {
        let held = self.held.iter().map(|(name, held)| (name, &held.record));
        self.workloads.iter().map(|(name, workload)| (name, workload.record())).chain(held)
    }

    /// The processes that run, by workload.
    pub fn instances(&self) -> impl Iterator<Item = (&Name, &Instance)> {
        self.workloads.iter().filter_map(|(name, it)| it.instance().map(|it| (name, it)))
    }
}

/// A main process that stands in no record (the record was lost, or could not be written) but is
/// the wanted revision by its nonce: adopted, since a healthy workload is not restarted for our
/// bookkeeping. A number alone says nothing: it comes again after a restore.
pub(super) fn unrecorded(
    found: &[&Found],
    record: &mut Record,
    wanted: Option<&Revision>,
) -> Option<Instance> {
    // Revision 0 is a probe, or says nothing of itself.
    let mains = || found.iter().filter(|it| it.leader && !it.at_gate && it.revision != 0);
    // A child may have a session of its own: the first of one instance is its main process.
    let main = mains().min_by_key(|it| (it.instance.start, it.instance.pid))?;
    if mains().any(|it| it.instance.nonce != main.instance.nonce) {
        return None;
    }
    let known = [record.current.as_ref(), wanted];
    let known = known.into_iter().flatten().find(|it| it.gave(main.instance.nonce));
    let revision = known?.clone();
    if record.current.as_ref().is_none_or(|current| current.spec != revision.spec) {
        let former = record.current.replace(revision);
        if record.proven {
            record.previous = former;
        }
        record.proven = false;
        record.restarts = 0;
    }
    Some(main.instance.clone())
}

fn is_paused(desired: &DesiredState, name: &Name) -> bool {
    desired.workloads.get(name).is_some_and(|it| it.paused)
}

fn wanted_revisions(desired: &DesiredState) -> BTreeMap<Name, Revision> {
    let revision = |number: u64, spec: &_| Revision { number, spec: Arc::new(Clone::clone(spec)) };
    let workloads = desired.workloads.iter();
    workloads.map(|(name, it)| (name.clone(), revision(it.revision, &it.spec))).collect()
}
