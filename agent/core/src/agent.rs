//! The whole device: the desired workloads, the lifecycle of each, and the version that is applied.
//!
//! Level-triggered: [`Agent::advance`] looks at everything anew and returns the effects due now;
//! [`Agent::next_wake`] returns when to call it again if nothing happens.
//!
//! See decision 0008.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_base::collect;
use holdfast_base::ids::{Digest, Name, StateVersion};
use holdfast_protocol::message::{DesiredState, DesiredWorkload, Detail, WorkloadReport};
use holdfast_protocol::workload::{Windows, WorkloadSpec};

use super::backoff::Entropy;
use super::effect::{Effect, Observed};
use super::lifecycle::{Surroundings, Wish, Workload};
use super::restart::NotRestarted;
use super::runtime::{Found, Handle, Known, NotPrepared, Role, RuntimeKind};
use super::saved::{Revision, SavedWorkload};
use super::secrets::{NoKey, Opener, Secrets};
use super::unidentified::{Unidentified, adoptable};
use super::window::Wall;
use super::zone::Zone;

/// Pause before a failed census is tried again, in milliseconds.
const CENSUS_RETRY: u64 = 1_000;

/// Everything that the agent finds on disk and on the machine when it starts.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Desired state on disk. None: there is none, or it is damaged.
    pub desired: Option<DesiredState>,
    /// The desired state before the last one, used where `desired` cannot be read. It says which
    /// revisions may run; it is no reason to remove a workload that it does not contain.
    pub former: Option<DesiredState>,
    /// Saved state of each workload on disk, by name.
    pub saved: BTreeMap<Name, SavedWorkload>,
    /// Parts of workloads that are on the machine.
    pub found: Vec<Found>,
    /// Names of the workloads that have a folder on disk.
    pub folders: BTreeSet<Name>,
    /// Artifacts that are complete on disk.
    pub artifacts: BTreeSet<Digest>,
    /// Seed of all random numbers (nonces, jitter).
    pub entropy: u64,
    /// Opener of sealed secrets. None: the device has no key.
    pub opener: Option<Arc<dyn Opener>>,
    /// Time zone of the device, in which windows are meant.
    pub zone: Zone,
}

/// Snapshot of all workloads, for reports and `holdfast-agent status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Version of the desired state that the agent follows.
    pub desired: StateVersion,
    /// Newest version that is completely applied: see `StateReport::generation`.
    pub applied: StateVersion,
    /// Report of each workload, by name, without detail of its runtime: see `View::detailed`.
    pub workloads: BTreeMap<Name, WorkloadReport>,
    /// Instance of each workload that has one, by name.
    pub instances: BTreeMap<Name, Handle>,
    /// True when nothing is under way that ends by itself within moments.
    pub settled: bool,
}

impl View {
    /// Adds to each report what the runtime of its instance knows of it beside the common state.
    #[must_use]
    pub fn detailed(mut self, detail: impl Fn(&Handle) -> Option<Detail>) -> Self {
        for (name, instance) in &self.instances {
            if let Some(report) = self.workloads.get_mut(name) {
                match detail(instance) {
                    // The run's number says it in fewer bytes.
                    Some(Detail::Process(pid)) => report.run = Some(pid),
                    Some(detail) => report.detail = Some(detail),
                    None => {}
                }
            }
        }
        self
    }
}

/// State machine of the whole device: all workloads and the version of the desired state.
#[derive(Debug)]
pub struct Agent {
    desired: StateVersion,
    applied: StateVersion,
    workloads: BTreeMap<Name, Workload>,
    /// Unidentified workloads: left alone until a desired state arrives and a census was taken.
    unidentified: BTreeMap<Name, Unidentified>,
    /// True once a desired state is followed.
    has_desired: bool,
    /// A census for the unidentified workloads is under way.
    taking_census: bool,
    /// Time before which no census is tried, because one failed; milliseconds.
    census_at: u64,
    artifacts: BTreeSet<Digest>,
    kept: Option<BTreeSet<Digest>>,
    entropy: Entropy,
    opener: Arc<dyn Opener>,
    wall: Wall,
    pending: Vec<Effect>,
}

impl Agent {
    /// Plans from what is found: adopts instances that should run, and sweeps those that should
    /// not.
    pub fn new(start: Start, now: u64) -> Self {
        let Start { desired, former, mut saved, found, folders, artifacts, entropy, opener, zone } =
            start;
        let specified = desired.as_ref().or(former.as_ref());
        let specified = specified.map(wanted_revisions).unwrap_or_default();
        let mut names: BTreeSet<Name> = folders;
        names.extend(saved.keys().cloned());
        names.extend(found.iter().map(|found| found.workload.clone()));
        if desired.is_none() {
            names.extend(specified.keys().cloned());
        }
        let mut agent = Self {
            desired: StateVersion::default(),
            applied: StateVersion::default(),
            workloads: BTreeMap::new(),
            unidentified: BTreeMap::new(),
            has_desired: false,
            taking_census: false,
            census_at: 0,
            artifacts,
            kept: None,
            entropy: Entropy::new(entropy),
            opener: opener.unwrap_or_else(|| Arc::new(NoKey)),
            wall: Wall::new(zone),
            pending: Vec::new(),
        };
        for name in names {
            let saved = saved.remove(&name).unwrap_or_default();
            let mine: Vec<&Found> = found.iter().filter(|it| it.workload == name).collect();
            let specified = specified.get(&name);
            if desired.is_none() && Unidentified::applies(&saved, specified, &mine) {
                agent.leave_alone(name, saved, &mine);
            } else {
                agent.take_over(name, saved, specified, &mine, now);
            }
        }
        if let Some(desired) = &desired {
            agent.follow(desired);
        } else {
            // Nothing is known of what is wanted (never enrolled, or the file is damaged): what
            // ran goes on running, and nothing is ended or removed on a guess.
            for (name, workload) in &mut agent.workloads {
                let last = workload.saved().current.as_ref().or(specified.get(name)).cloned();
                // What does not run is not started against the last word on it.
                let saved = workload.saved();
                let last_word = match (&saved.current, &former) {
                    (None, Some(former)) => is_paused(former, name),
                    _ => saved.paused,
                };
                let paused = last_word && workload.instance().is_none();
                workload.want(Wish { revision: last, paused, windows: Windows::default() });
            }
        }
        agent
    }

    /// Leaves a workload alone as unidentified, and watches its instance.
    fn leave_alone(&mut self, name: Name, saved: SavedWorkload, found: &[&Found]) {
        let found: Vec<Found> = found.iter().copied().cloned().collect();
        for main in found.iter().filter(|it| it.is_main()) {
            let (name, instance) = (name.clone(), main.instance.clone());
            self.pending.push(Effect::Watch { name, instance });
        }
        self.unidentified.insert(name, Unidentified { saved, found, wish: Wish::default() });
    }

    /// Plans the unidentified workloads, now that the desired state and (by `found`, a census)
    /// their processes are known.
    fn plan_unidentified(&mut self, found: &[Found], now: u64) {
        self.taking_census = false;
        for (name, known) in std::mem::take(&mut self.unidentified) {
            let mine: Vec<&Found> = found.iter().filter(|it| it.workload == name).collect();
            self.take_over(name.clone(), known.saved, known.wish.revision.as_ref(), &mine, now);
            if let Some(workload) = self.workloads.get_mut(&name) {
                workload.want(known.wish);
            }
        }
    }

    fn take_over(
        &mut self,
        name: Name,
        mut saved: SavedWorkload,
        wanted: Option<&Revision>,
        found: &[&Found],
        now: u64,
    ) {
        let last = saved.instance.clone();
        let known = found.iter().find(|it| Some(&it.instance) == last.as_ref());
        let unstarted = known.is_some_and(|it| it.role == Role::Prepared);
        let adopted = match known {
            Some(_) if unstarted => None,
            Some(known) => Some(known.instance.clone()),
            None => adoptable(found, &mut saved, wanted),
        };
        if adopted.is_none() {
            saved.instance = None;
        }
        let is_stray = |it: &&&Found| adopted.as_ref() != Some(&it.instance);
        let strays: Vec<&Found> = found.iter().filter(is_stray).copied().collect();
        let mut workload = Workload::new(name.clone(), saved);
        let mut world = Surroundings {
            now,
            artifacts: &self.artifacts,
            entropy: &mut self.entropy,
            opener: &*self.opener,
            wall: &self.wall,
            out: &mut self.pending,
        };
        match adopted {
            Some(instance) => {
                workload.adopt(instance.clone(), &mut world);
                if !strays.is_empty() {
                    let (name, spare, kill) = (name.clone(), Some(instance), true);
                    let runtimes = runtimes(&strays, last.as_ref());
                    self.pending.push(Effect::Sweep { name, runtimes, last, spare, kill });
                }
            }
            None if !strays.is_empty() || last.is_some() => {
                let runtimes = runtimes(&strays, last.as_ref());
                workload.sweep_first(last, unstarted, runtimes, &mut world);
            }
            None => {}
        }
        self.workloads.insert(name, workload);
    }

    /// Follows a desired state, which the caller has stored already.
    pub fn follow(&mut self, desired: &DesiredState) {
        self.desired = desired.version();
        self.has_desired = true;
        let mut wanted = wanted_revisions(desired);
        let wish = |name: &Name, revision| {
            let asked = desired.workloads.get(name);
            let windows = asked.map(|it| it.spec.windows.clone()).unwrap_or_default();
            Wish { revision, paused: is_paused(desired, name), windows }
        };
        for (name, known) in &mut self.unidentified {
            known.wish = wish(name, wanted.remove(name));
        }
        for (name, workload) in &mut self.workloads {
            workload.want(wish(name, wanted.remove(name)));
        }
        for (name, revision) in wanted {
            let mut workload = Workload::new(name.clone(), SavedWorkload::default());
            workload.want(wish(&name, Some(revision)));
            self.workloads.insert(name, workload);
        }
    }

    /// Stops the workloads that this state does not contain, and changes nothing else. For a state
    /// that cannot be stored: stopping a workload once more after a crash is harmless.
    pub fn end_unwanted(&mut self, desired: &DesiredState) {
        for (name, workload) in &mut self.workloads {
            if !desired.workloads.contains_key(name) {
                workload.want(Wish::default());
            }
        }
    }

    /// Stops a workload and starts the same revision again. [`Agent::restarted`] returns the
    /// result.
    ///
    /// # Errors
    /// Returns the reason if the workload cannot be restarted now.
    pub fn restart(&mut self, name: &Name) -> Result<(), NotRestarted> {
        match self.workloads.get_mut(name) {
            Some(workload) => workload.restart(&self.artifacts),
            None => Err(NotRestarted::NoWorkload),
        }
    }

    /// Result of the last [`Agent::restart`] of a workload. None: it is still under way.
    pub fn restarted(&self, name: &Name) -> Option<Result<(), NotRestarted>> {
        match self.workloads.get(name) {
            Some(workload) => workload.restarted(),
            None => Some(Err(NotRestarted::Removed)),
        }
    }

    /// Version of the desired state that is followed.
    pub fn version(&self) -> StateVersion {
        self.desired
    }

    /// Applies an observation to the workloads it concerns.
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
            Observed::FetchTrouble(..) | Observed::Progress(..) => self.each(&observed, now),
            Observed::Census(found) => self.plan_unidentified(found, now),
            Observed::Back(found) => self.compare(found, now),
            Observed::Blind => {
                self.taking_census = false;
                self.census_at = now + CENSUS_RETRY;
            }
            Observed::Prepared(name, _)
            | Observed::Saved(name, _)
            | Observed::Started(name, ..)
            | Observed::Exited(name, ..)
            | Observed::Refreshed(name, ..)
            | Observed::Probed(name, ..)
            | Observed::LeftBehind(name, _)
            | Observed::Swept(name, _)
            | Observed::Removed(name, _) => {
                let name = name.clone();
                if let Observed::Prepared(_, Err(NotPrepared::Artifact(digest))) = &observed {
                    self.artifacts.remove(digest);
                }
                if let (Some(known), Observed::Exited(_, gone, _)) =
                    (self.unidentified.get_mut(&name), &observed)
                {
                    known.found.retain(|it| it.instance != *gone);
                }
                let mut world = Surroundings {
                    now,
                    artifacts: &self.artifacts,
                    entropy: &mut self.entropy,
                    opener: &*self.opener,
                    wall: &self.wall,
                    out: &mut self.pending,
                };
                if let Some(workload) = self.workloads.get_mut(&name) {
                    workload.observe(observed, &mut world);
                }
            }
        }
    }

    /// Compares what is at an engine that was away with what is known: what nobody knows is ended,
    /// and what could not be started for want of it is tried at once.
    fn compare(&mut self, found: &[Found], now: u64) {
        for name in collect::set(found.iter().map(|it| &it.workload)) {
            let mine: Vec<&Found> = found.iter().filter(|it| it.workload == *name).collect();
            if !self.workloads.contains_key(name) && !self.unidentified.contains_key(name) {
                self.take_over(name.clone(), SavedWorkload::default(), None, &mine, now);
            }
        }
        let mut world = Surroundings {
            now,
            artifacts: &self.artifacts,
            entropy: &mut self.entropy,
            opener: &*self.opener,
            wall: &self.wall,
            out: &mut self.pending,
        };
        for (name, workload) in &mut self.workloads {
            let mine: Vec<&Found> = found.iter().filter(|it| it.workload == *name).collect();
            workload.engine_is_back(&mine, &mut world);
        }
    }

    fn each(&mut self, observed: &Observed, now: u64) {
        let mut world = Surroundings {
            now,
            artifacts: &self.artifacts,
            entropy: &mut self.entropy,
            opener: &*self.opener,
            wall: &self.wall,
            out: &mut self.pending,
        };
        for workload in self.workloads.values_mut() {
            workload.observe(observed.clone(), &mut world);
        }
    }

    /// Returns all effects that are due now, in the order in which they must be carried out.
    pub fn advance(&mut self, now: u64) -> Vec<Effect> {
        let mut world = Surroundings {
            now,
            artifacts: &self.artifacts,
            entropy: &mut self.entropy,
            opener: &*self.opener,
            wall: &self.wall,
            out: &mut self.pending,
        };
        for workload in self.workloads.values_mut() {
            workload.advance(&mut world);
        }
        self.workloads.retain(|_, workload| !workload.is_gone());
        self.spare_shared();
        if self.has_desired
            && !self.unidentified.is_empty()
            && !self.taking_census
            && now >= self.census_at
        {
            self.taking_census = true;
            self.pending.push(Effect::Census);
        }
        if self.is_settled() && self.unidentified.is_empty() {
            self.applied = self.desired;
            let keep = collect::set(self.workloads.values().flat_map(Workload::artifacts));
            if self.kept.as_ref() != Some(&keep) {
                self.artifacts.retain(|digest| keep.contains(digest));
                self.pending.push(Effect::Collect { keep: keep.clone() });
                self.kept = Some(keep);
            }
        }
        std::mem::take(&mut self.pending)
    }

    /// Drops the pauses of downloads that another workload wants now.
    fn spare_shared(&mut self) {
        let wanted = collect::set(self.workloads.values().filter_map(Workload::fetching));
        self.pending
            .retain(|effect| !matches!(effect, Effect::Pause(digest) if wanted.contains(digest)));
    }

    /// Tells the time in seconds since 1970 by which windows are judged. None: the clock cannot be
    /// relied on now.
    pub fn tell_time(&mut self, seconds: Option<u64>, now: u64) {
        self.wall.tell(seconds, now);
    }

    fn is_settled(&self) -> bool {
        // Unidentified workloads wait for a desired state, and with one only for the census.
        (self.unidentified.is_empty() || !self.has_desired)
            && self.workloads.values().all(Workload::is_settled)
    }

    /// Time of the next call of [`Agent::advance`] if nothing is observed before, in milliseconds
    /// of the monotonic clock. None: only an observation can change anything.
    pub fn next_wake(&self) -> Option<u64> {
        let census = self.has_desired && !self.unidentified.is_empty() && !self.taking_census;
        let workloads = self.workloads.values().filter_map(Workload::next_wake);
        workloads.chain(census.then_some(self.census_at)).min()
    }

    /// Snapshot for reports and `holdfast-agent status`.
    pub fn view(&self) -> View {
        View {
            desired: self.desired,
            applied: self.applied,
            workloads: collect::map(
                self.workloads.iter().map(|(name, it)| (name.clone(), it.report())).chain(
                    self.unidentified
                        .iter()
                        .filter_map(|(name, it)| Some((name.clone(), it.report()?))),
                ),
            ),
            instances: collect::map(
                self.instances()
                    .chain(
                        self.unidentified
                            .iter()
                            .filter_map(|(name, it)| Some((name, &it.shown()?.instance))),
                    )
                    .map(|(name, instance)| (name.clone(), instance.clone())),
            ),
            settled: self.is_settled(),
        }
    }

    /// Workloads whose secrets cannot be opened, or not be given to them, with the reason.
    pub fn unopened(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.workloads.iter().filter_map(|(name, it)| Some((name, it.unopened()?)))
    }

    /// Revision of every workload that is wanted.
    pub fn wanted(&self) -> impl Iterator<Item = (&Name, &Revision)> {
        self.workloads.iter().filter_map(|(name, it)| Some((name, it.wanted()?)))
    }

    /// Saved state of every workload, to write the store anew after it was lost.
    pub fn saved(&self) -> impl Iterator<Item = (&Name, &SavedWorkload)> {
        let unidentified = self.unidentified.iter().map(|(name, known)| (name, &known.saved));
        self.workloads.iter().map(|(name, workload)| (name, workload.saved())).chain(unidentified)
    }

    /// Instances that the saved states name: what a census is asked with.
    pub fn known(&self) -> Vec<Known> {
        self.saved().filter_map(|(name, saved)| saved.known(name)).collect()
    }

    /// Instance of each workload that runs, by name.
    pub fn instances(&self) -> impl Iterator<Item = (&Name, &Handle)> {
        self.workloads.iter().filter_map(|(name, it)| it.instance().map(|it| (name, it)))
    }
}

/// Runtimes that have something of a workload: those of what was found, and that of its last
/// instance.
fn runtimes(strays: &[&Found], last: Option<&Handle>) -> BTreeSet<RuntimeKind> {
    strays.iter().map(|it| &it.instance).chain(last).map(|it| it.runtime.clone()).collect()
}

fn is_paused(desired: &DesiredState, name: &Name) -> bool {
    desired.workloads.get(name).is_some_and(|it| it.paused)
}

fn wanted_revisions(desired: &DesiredState) -> BTreeMap<Name, Revision> {
    let revision = |it: &DesiredWorkload| Revision {
        number: it.revision,
        // Windows are no part of what runs: other ones restart nothing.
        spec: Arc::new(WorkloadSpec { windows: Windows::default(), ..it.spec.clone() }),
        secrets: Secrets::of(desired, it).map(Arc::new),
    };
    let workloads = desired.workloads.iter();
    collect::map(workloads.map(|(name, it)| (name.clone(), revision(it))))
}

#[cfg(test)]
mod tests {
    use holdfast_protocol::message::Phase;

    use super::*;
    use crate::runtime::RuntimeKind;

    #[test]
    fn a_process_is_reported_by_the_number_of_its_run() {
        let name: Name = "w".parse().unwrap();
        let handle = Handle { runtime: RuntimeKind::PROCESS, id: "id".into(), nonce: 7 << 32 };
        let report = WorkloadReport {
            revision: 1,
            phase: Phase::Running,
            restarts: 0,
            run: Some(handle.run()),
            detail: None,
            reason: String::new(),
            progress: None,
        };
        let view = View {
            workloads: collect::map([(name.clone(), report)]),
            instances: collect::map([(name.clone(), handle)]),
            ..View::default()
        };
        let of =
            |view: View| view.workloads.get(&name).map(|it| (it.run, it.detail.clone(), it.pid()));
        let process = view.clone().detailed(|_| Some(Detail::Process(4_711)));
        assert_eq!(of(process), Some((Some(4_711), None, Some(4_711))));
        assert_eq!(of(view.detailed(|_| None)), Some((Some(7), None, Some(7))));
    }
}
