//! The fleet at a glance: counts, what needs a person first, and sites. Devices are added one by
//! one, so that whoever reads them may let others write in between.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use holdfast_protocol::ids::Name;

use super::attention::{Attention, LOST_AFTER, Watch};
use super::listing::SITE;
use super::model::{Device, Model};
use super::records::Standing;
use super::view::{Fares, fares};
use crate::api::{
    AttentionItem, Connection, DeviceCounts, Fleet, LabelKey, LabelValue, Severity, Site,
    WorkloadCounts,
};

/// Most things that need a person; the rest is a number.
const MAX_ATTENTION: usize = 50;

/// Most sites; the rest is a number.
const MAX_SITES: usize = 500;

/// Devices named for each thing that needs a person.
const NAMED: usize = 5;

/// Most codes of problems that are told apart: devices choose them.
const MAX_CODES: usize = 1_000;

/// The code under which the others are counted.
const OTHER: &str = "other";

/// Devices that have something in common.
#[derive(Debug, Default)]
struct Group {
    count: u64,
    first: Vec<String>,
    /// What one of them says.
    message: String,
}

impl Group {
    fn add(&mut self, device: &Device) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(device.record.name.to_string());
        }
    }
}

#[derive(Debug, Default)]
struct Running {
    desired: u64,
    running: u64,
    progressing: u64,
    failing: Group,
}

/// What was counted so far.
#[derive(Debug)]
pub struct Tally {
    watch: Watch,
    devices: DeviceCounts,
    problems: BTreeMap<String, Group>,
    lost: Group,
    certificate: Group,
    expired: Group,
    waiting: Group,
    workloads: BTreeMap<Name, Running>,
    sites: BTreeMap<String, Site>,
}

impl Tally {
    /// Nothing yet.
    pub fn new(watch: Watch) -> Self {
        Self {
            watch,
            devices: DeviceCounts::default(),
            problems: BTreeMap::new(),
            lost: Group::default(),
            certificate: Group::default(),
            expired: Group::default(),
            waiting: Group::default(),
            workloads: BTreeMap::new(),
            sites: BTreeMap::new(),
        }
    }

    /// Adds a device.
    pub fn add(&mut self, device: &Device) {
        let connection = device.live.seen(device.record.standing);
        self.devices.total += 1;
        match connection {
            Connection::Online => self.devices.online += 1,
            Connection::Offline => self.devices.offline += 1,
            Connection::Pending => self.devices.pending += 1,
            Connection::Revoked => self.devices.revoked += 1,
        }
        if connection == Connection::Offline && device.report.last_seen == 0 {
            self.devices.never_seen += 1;
        }
        let watch = self.watch;
        if watch.sees(Attention::Waiting, device) {
            self.waiting.add(device);
        }
        if watch.sees(Attention::Lost, device) {
            self.lost.add(device);
        }
        if watch.sees(Attention::Certificate, device) {
            if watch.expired(device) { &mut self.expired } else { &mut self.certificate }
                .add(device);
        }
        self.problems_of(device);
        let failing = self.workloads_of(device);
        self.site_of(device, connection, failing);
    }

    fn problems_of(&mut self, device: &Device) {
        let problems = device.report.all_problems();
        for (at, problem) in problems.iter().enumerate() {
            let earlier = problems.iter().take(at);
            if earlier.into_iter().any(|other| other.code == problem.code) {
                continue;
            }
            let known = self.problems.contains_key(&problem.code);
            let code = if known || self.problems.len() < MAX_CODES { &problem.code } else { OTHER };
            let group = match self.problems.get_mut(code) {
                Some(group) => group,
                None => self.problems.entry(code.to_owned()).or_default(),
            };
            if group.count == 0 {
                group.message.clone_from(&problem.message);
            }
            group.add(device);
        }
    }

    /// True when a workload fails on it.
    fn workloads_of(&mut self, device: &Device) -> bool {
        if device.record.standing != Standing::Approved {
            return false;
        }
        let mut failing = false;
        for (name, revision) in &device.desired.workloads {
            let running = match self.workloads.get_mut(name) {
                Some(running) => running,
                None => self.workloads.entry(name.clone()).or_default(),
            };
            running.desired += 1;
            match fares(device, name, *revision) {
                Fares::Running => running.running += 1,
                Fares::Progressing => running.progressing += 1,
                Fares::Offline => {}
                Fares::Failing => {
                    failing = true;
                    if running.failing.count == 0
                        && let Some(said) = device.report.workload(name)
                    {
                        running.failing.message.clone_from(&said.reason);
                    }
                    running.failing.add(device);
                }
            }
        }
        failing
    }

    fn site_of(&mut self, device: &Device, connection: Connection, failing: bool) {
        let name = device.record.labels.get(SITE).map_or("", String::as_str);
        let site = match self.sites.get_mut(name) {
            Some(site) => site,
            None => self.sites.entry(name.to_owned()).or_default(),
        };
        site.total += 1;
        site.online += u64::from(connection == Connection::Online);
        site.offline += u64::from(connection == Connection::Offline);
        site.with_problems += u64::from(device.report.has_problems());
        site.failing += u64::from(failing);
    }

    /// What it comes to. `workloads` are all that there are.
    pub fn fleet<'m>(mut self, workloads: impl Iterator<Item = &'m Name>) -> Fleet {
        let mut counts = WorkloadCounts::default();
        for name in workloads {
            counts.total += 1;
            match self.workloads.get(name) {
                Some(one) if one.failing.count > 0 => counts.failing += 1,
                Some(one) if one.progressing > 0 || one.running == 0 => counts.progressing += 1,
                Some(_) => counts.healthy += 1,
                None => counts.unplaced += 1,
            }
        }
        let (sites, more_sites) = sites(std::mem::take(&mut self.sites));
        let devices = self.devices;
        let (attention, more_attention) = self.attention();
        Fleet { devices, workloads: counts, attention, more_attention, sites, more_sites }
    }

    fn attention(self) -> (Vec<AttentionItem>, u64) {
        let mut all = Vec::new();
        let minutes = LOST_AFTER / 60;
        all.extend(item(Attention::Lost, Severity::Critical, self.lost, |count| {
            let words = words(count, "device is", "devices are");
            format!("{words} offline for over {minutes} minutes")
        }));
        all.extend(item(Attention::Certificate, Severity::Critical, self.expired, |count| {
            words(count, "certificate has expired", "certificates have expired")
        }));
        all.extend(item(Attention::Certificate, Severity::Warning, self.certificate, |count| {
            let words = words(count, "certificate ends soon", "certificates end soon");
            format!("{words}, without having been renewed")
        }));
        all.extend(item(Attention::Waiting, Severity::Info, self.waiting, |count| {
            words(count, "device waits for approval", "devices wait for approval")
        }));
        for (code, group) in self.problems {
            let said = group.message.clone();
            let made = item(Attention::Problem, Severity::Warning, group, |count| match count {
                1 => said,
                _ => format!("{count} devices report {code}, the first: {said}"),
            });
            all.extend(made.map(|mut item| {
                item.query = [("problem".to_owned(), code.clone())].into();
                item.code = Some(code);
                item
            }));
        }
        for (name, running) in self.workloads {
            let said = match running.failing.message.as_str() {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            let of = running.desired;
            let made = item(Attention::Failing, Severity::Critical, running.failing, |count| {
                format!("{name} fails on {count} of {of} devices{said}")
            });
            all.extend(made.map(|mut item| {
                item.query.insert("workload".into(), name.to_string());
                item.code = Some(name.to_string());
                item
            }));
        }
        all.sort_by(|one, other| (one.severity, other.count).cmp(&(other.severity, one.count)));
        let more = all.len().saturating_sub(MAX_ATTENTION) as u64;
        all.truncate(MAX_ATTENTION);
        (all, more)
    }
}

fn words(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// None: nobody has it.
fn item(
    kind: Attention,
    severity: Severity,
    group: Group,
    message: impl FnOnce(u64) -> String,
) -> Option<AttentionItem> {
    let query = match kind {
        Attention::Waiting => ("connection", "pending"),
        other => ("attention", other.as_str()),
    };
    (group.count > 0).then(|| AttentionItem {
        kind: kind.as_str().into(),
        code: None,
        severity,
        message: message(group.count),
        count: group.count,
        devices: group.first,
        query: [(query.0.to_owned(), query.1.to_owned())].into(),
    })
}

/// The sites with the biggest trouble first, and how many more there are.
fn sites(all: BTreeMap<String, Site>) -> (Vec<Site>, u64) {
    let mut sites: Vec<Site> =
        all.into_iter().map(|(name, site)| Site { site: name, ..site }).collect();
    let trouble = |site: &Site| site.failing + site.with_problems + site.offline;
    sites.sort_by(|one, other| {
        (trouble(other), other.total, &one.site).cmp(&(trouble(one), one.total, &other.site))
    });
    let more = sites.len().saturating_sub(MAX_SITES) as u64;
    sites.truncate(MAX_SITES);
    (sites, more)
}

/// Most keys of labels that are told.
const MAX_KEYS: usize = 500;

/// Most values of a label that are told.
const MAX_VALUES: usize = 50;

/// The labels in use.
#[derive(Debug, Default)]
pub struct LabelTally(BTreeMap<String, (u64, BTreeMap<String, u64>)>);

impl LabelTally {
    /// Adds a device.
    pub fn add(&mut self, device: &Device) {
        for (key, value) in &device.record.labels {
            let (count, values) = match self.0.get_mut(key) {
                Some(known) => known,
                None => self.0.entry(key.clone()).or_default(),
            };
            *count += 1;
            match values.get_mut(value) {
                Some(count) => *count += 1,
                None => drop(values.insert(value.clone(), 1)),
            }
        }
    }

    /// What it comes to: the most used first.
    pub fn labels(self) -> Vec<LabelKey> {
        let mut keys: Vec<LabelKey> = self
            .0
            .into_iter()
            .map(|(key, (devices, values))| {
                let mut values: Vec<LabelValue> = values
                    .into_iter()
                    .map(|(value, devices)| LabelValue { value, devices })
                    .collect();
                values.sort_by_key(|value| Reverse(value.devices));
                let more_values = values.len().saturating_sub(MAX_VALUES) as u64;
                values.truncate(MAX_VALUES);
                LabelKey { key, devices, values, more_values }
            })
            .collect();
        keys.sort_by_key(|key| Reverse(key.devices));
        keys.truncate(MAX_KEYS);
        keys
    }
}

/// Adds the next `most` devices of a model after this one. The last of them; None: there are no
/// more.
pub fn some<'m>(
    model: &'m Model,
    after: Option<&Name>,
    most: usize,
    mut add: impl FnMut(&'m Device),
) -> Option<Name> {
    use std::ops::Bound;
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut last = None;
    for (name, device) in model.devices.range::<Name, _>((from, Bound::Unbounded)).take(most) {
        add(device);
        last = Some(name);
    }
    last.cloned()
}
