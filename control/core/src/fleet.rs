//! Summary of the fleet: counts, the most urgent conditions, sites and labels. Devices are added
//! one by one, so that the reader of the model may let writers in between.
//!
//! See decisions 0031, 0110 and 0120.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use holdfast_base::ids::Name;

use super::absence;
use super::alarms::{Silence, muted};
use super::attention::{Alarm, Attention, Watch};
use super::listing::SITE;
use super::model::{Device, Model};
use super::records::Standing;
use super::{state, view};
use holdfast_api::Muting;
use holdfast_api::count::either;
use holdfast_api::time::rfc3339;
use holdfast_api::{
    Absence, AttentionItem, Connection, DeviceCounts, Fleet, LabelKey, LabelValue, Severity, Site,
    WorkloadCounts, WorkloadState, WorkloadSummary,
};

/// Most items of attention in a summary; the rest is only counted.
const MAX_ATTENTION: usize = 50;

/// Most sites in a summary; the rest is only counted.
const MAX_SITES: usize = 500;

/// Most device names listed in one item of attention.
const NAMED: usize = 5;

/// Most codes of problems that are counted separately. Devices choose the codes.
const MAX_CODES: usize = 1_000;

/// Code under which problems beyond [`MAX_CODES`] are counted together.
const OTHER: &str = "other";

/// Devices that have one condition in common; becomes one item of attention.
#[derive(Debug, Default)]
struct Group {
    severity: Option<Severity>,
    count: u64,
    /// Devices of the group that are offline or were not heard in time, so that the condition is
    /// known from when they were last heard.
    unknown: u64,
    /// Devices of the group whose alarm is acknowledged.
    acknowledged: u64,
    /// Devices of the group whose alarm is silenced.
    silenced: u64,
    /// Start of the earliest alarm of the group, in seconds since 1970. 0: not known.
    since: u64,
    first: Vec<String>,
    /// First non-empty message of an alarm of the group.
    message: String,
    /// Time that the devices may be away, in words such as `5 min`. `None` if it differs between
    /// them.
    allowed: Option<String>,
}

impl Group {
    fn add(&mut self, device: &Device, alarm: Alarm, muting: Option<Muting>) {
        if matches!(alarm.kind, Attention::Lost | Attention::NeverSeen) {
            let allowed = Some(absence::allowed(device));
            self.allowed =
                allowed.filter(|one| self.count == 0 || self.allowed.as_ref() == Some(one));
        }
        self.count += 1;
        self.acknowledged += u64::from(muting == Some(Muting::Acknowledgement));
        self.silenced += u64::from(muting == Some(Muting::Silence));
        self.unknown += u64::from(!alarm.is_known);
        if alarm.since > 0 && (self.since == 0 || alarm.since < self.since) {
            self.since = alarm.since;
        }
        // Severities are ordered from the most urgent, so `min` is the most urgent.
        self.severity = Some(self.severity.map_or(alarm.severity, |was| was.min(alarm.severity)));
        if self.message.is_empty() {
            self.message = alarm.message;
        }
        if self.first.len() < NAMED {
            self.first.push(device.record.name.to_string());
        }
    }
}

/// Figures of the devices added so far.
#[derive(Debug)]
pub struct Tally {
    watch: Watch,
    silences: Vec<Silence>,
    devices: DeviceCounts,
    groups: BTreeMap<(Attention, String), Group>,
    codes: usize,
    workloads: BTreeMap<Name, WorkloadSummary>,
    sites: BTreeMap<String, Site>,
}

impl Tally {
    /// Creates an empty tally. `silences` are the acknowledgements and silences of alarms.
    pub fn new(watch: Watch, silences: Vec<Silence>) -> Self {
        Self {
            watch,
            silences,
            devices: DeviceCounts::default(),
            groups: BTreeMap::new(),
            codes: 0,
            workloads: BTreeMap::new(),
            sites: BTreeMap::new(),
        }
    }

    /// Adds a device to all figures.
    pub fn add(&mut self, device: &Device) {
        let connection = device.live.seen(device.record.standing, device.report.last_seen > 0);
        let away = absence::class(device, self.watch.now);
        self.devices.total += 1;
        match (connection, away) {
            (_, Some(Absence::Expected)) => self.devices.expected_away += 1,
            (_, Some(Absence::Ignored)) => self.devices.ignored += 1,
            (Connection::Online, _) => self.devices.online += 1,
            (Connection::Offline, _) => self.devices.offline += 1,
            (Connection::NeverSeen, _) => self.devices.never_seen += 1,
            (Connection::Pending, _) => self.devices.pending += 1,
            (Connection::Revoked, _) => self.devices.revoked += 1,
        }
        // A device that does not answer is unhealthy already.
        let overdue = connection == Connection::Online
            && device.live.silent == 0
            && !device.live.is_in_time(self.watch.now);
        self.devices.overdue += u64::from(overdue);
        let unhealthy = state::is_unhealthy(device, self.watch.now);
        self.devices.unhealthy += u64::from(unhealthy);
        self.alarms_of(device);
        self.workloads_of(device);
        self.site_of(device, connection, away, unhealthy, overdue);
    }

    /// Adds the alarms of a device. It counts once for each kind and code.
    fn alarms_of(&mut self, device: &Device) {
        let mut seen: Vec<(Attention, String)> = Vec::new();
        for alarm in self.watch.alarms(device) {
            let mut key = (alarm.kind, alarm.code.clone());
            if seen.contains(&key) {
                continue;
            }
            seen.push(key.clone());
            if alarm.kind == Attention::Problem && !self.groups.contains_key(&key) {
                self.codes += 1;
                if self.codes > MAX_CODES {
                    OTHER.clone_into(&mut key.1);
                }
            }
            let of = (&device.record.name, &device.record.labels);
            let what = (alarm.kind.as_str(), alarm.code.as_str());
            let muting = muted(&self.silences, self.watch.now, of, what, alarm.since);
            let muting = muting.map(|silence| silence.muting);
            self.groups.entry(key).or_default().add(device, alarm, muting);
        }
    }

    fn workloads_of(&mut self, device: &Device) {
        if device.record.standing != Standing::Approved {
            return;
        }
        for (name, revision) in &device.desired.workloads {
            let summary = match self.workloads.get_mut(name) {
                Some(summary) => summary,
                None => self.workloads.entry(name.clone()).or_default(),
            };
            let now = self.watch.now;
            view::count(
                summary,
                state::of(device, name, *revision, now),
                absence::is_normal(device, now),
            );
        }
    }

    fn site_of(
        &mut self,
        device: &Device,
        connection: Connection,
        away: Option<Absence>,
        unhealthy: bool,
        overdue: bool,
    ) {
        let name = device.record.labels.get(SITE).map_or("", String::as_str);
        let site = match self.sites.get_mut(name) {
            Some(site) => site,
            None => self.sites.entry(name.to_owned()).or_default(),
        };
        site.total += 1;
        site.online += u64::from(connection == Connection::Online);
        match away {
            None => {}
            Some(Absence::Unexpected) => site.offline += 1,
            Some(Absence::Expected) => site.expected_away += 1,
            Some(Absence::Ignored) => site.ignored += 1,
        }
        site.unhealthy += u64::from(unhealthy);
        site.overdue += u64::from(overdue);
        site.failing += u64::from(state::failing(device, self.watch.now) > 0);
    }

    /// Returns the summary. `workloads` names all workloads that exist, also those that no device
    /// runs.
    pub fn fleet<'m>(mut self, workloads: impl Iterator<Item = &'m Name>) -> Fleet {
        let mut counts = WorkloadCounts::default();
        for name in workloads {
            counts.total += 1;
            let state = self.workloads.get(name).map_or(WorkloadState::Unplaced, view::overall);
            *match state {
                WorkloadState::Unplaced => &mut counts.unplaced,
                WorkloadState::Failing => &mut counts.failing,
                WorkloadState::Progressing => &mut counts.progressing,
                WorkloadState::Unknown => &mut counts.unknown,
                WorkloadState::Paused => &mut counts.paused,
                WorkloadState::Running => &mut counts.running,
                WorkloadState::Done => &mut counts.done,
            } += 1;
        }
        let (sites, more_sites) = sites(std::mem::take(&mut self.sites));
        let devices = self.devices;
        let (attention, more_attention) = self.attention();
        let (settled, summary) = verdict(devices, counts, attention.len() as u64 + more_attention);
        Fleet {
            settled,
            summary,
            devices,
            workloads: counts,
            attention,
            more_attention,
            sites,
            more_sites,
        }
    }

    fn attention(self) -> (Vec<AttentionItem>, u64) {
        let workloads = &self.workloads;
        let mut all: Vec<AttentionItem> = self
            .groups
            .into_iter()
            .map(|((kind, code), group)| {
                let of = workloads.get(code.as_str()).map_or(0, |summary| summary.desired);
                item(kind, code, group, of)
            })
            .collect();
        all.sort_by(|one, other| {
            // Items of which all alarms are acknowledged or silenced come last.
            let key = |item: &AttentionItem| {
                let muted = item.acknowledged + item.silenced >= item.count;
                (muted, item.severity, Reverse(item.count))
            };
            key(one).cmp(&key(other)).then_with(|| one.since.cmp(&other.since))
        });
        let more = all.len().saturating_sub(MAX_ATTENTION) as u64;
        all.truncate(MAX_ATTENTION);
        (all, more)
    }
}

/// Returns whether nothing needs a person, and the summary's sentence.
fn verdict(devices: DeviceCounts, workloads: WorkloadCounts, items: u64) -> (bool, String) {
    let mut parts = Vec::new();
    let mut add = |count: u64, one: &str, many: &str| {
        if count > 0 {
            parts.push(either(count, one, many));
        }
    };
    add(devices.unhealthy, "device is unhealthy", "devices are unhealthy");
    add(devices.offline, "device is offline", "devices are offline");
    add(devices.never_seen, "device has never connected", "devices have never connected");
    add(devices.overdue, "device was not heard in time", "devices were not heard in time");
    add(devices.pending, "device waits for approval", "devices wait for approval");
    add(workloads.failing, "workload fails", "workloads fail");
    add(workloads.progressing, "workload is progressing", "workloads are progressing");
    if parts.is_empty() && items > 0 {
        parts.push(either(items, "thing needs attention", "things need attention"));
    }
    if !parts.is_empty() {
        return (false, parts.join(", "));
    }
    let mut all = match (devices.online, devices.total - devices.revoked) {
        (_, 0) => "no device is enrolled".to_owned(),
        (0, _) => "no device is online".to_owned(),
        (count, _) => {
            either(count, "device is online and healthy", "devices are online and healthy")
        }
    };
    if devices.expected_away > 0 {
        let words = either(devices.expected_away, "is away as expected", "are away as expected");
        all.push_str(&format!(", {words}"));
    }
    (true, all)
}

/// Returns the sentence of an item of attention. `of` is the number of devices that should run the
/// failing workload.
fn message(kind: Attention, code: &str, group: &Group, of: u64) -> String {
    let count = group.count;
    match kind {
        Attention::Lost => {
            let words = either(count, "device has been", "devices have been");
            match &group.allowed {
                Some(allowed) => format!("{words} offline for over {allowed}"),
                None => format!("{words} offline for longer than they may be"),
            }
        }
        Attention::NeverSeen => {
            let words = either(count, "device was", "devices were");
            match &group.allowed {
                Some(allowed) => format!("{words} enrolled over {allowed} ago and never connected"),
                None => format!("{words} enrolled and never connected in time"),
            }
        }
        Attention::Certificate if code.is_empty() => {
            let words = either(count, "certificate ends soon", "certificates end soon");
            format!("{words}, without having been renewed")
        }
        Attention::Certificate => {
            either(count, "certificate has expired", "certificates have expired")
        }
        Attention::Waiting => {
            either(count, "device waits for approval", "devices wait for approval")
        }
        Attention::Problem if count == 1 => group.message.clone(),
        Attention::Problem => {
            format!("{count} devices report {code}, the first: {}", group.message)
        }
        Attention::Failing => {
            let said = match group.message.as_str() {
                "" => String::new(),
                reason => format!(": {reason}"),
            };
            let heard = match (group.unknown, count) {
                (0, _) => String::new(),
                (unknown, count) if unknown == count => " when last heard".to_owned(),
                (unknown, _) => format!(" ({unknown} of them when last heard)"),
            };
            let verb = if group.unknown == count { "was failing" } else { "fails" };
            let devices = match of {
                1 => "its only device".to_owned(),
                of if of == count => format!("all {of} devices"),
                of => format!("{count} of {of} devices"),
            };
            format!("{code} {verb} on {devices}{heard}{said}")
        }
    }
}

fn item(kind: Attention, code: String, group: Group, of: u64) -> AttentionItem {
    let message = message(kind, &code, &group, of);
    let mut query: BTreeMap<String, String> = match kind {
        Attention::Waiting => [("connection".to_owned(), "pending".to_owned())].into(),
        Attention::Problem => [("problem".to_owned(), code.clone())].into(),
        other => [("attention".to_owned(), other.as_str().to_owned())].into(),
    };
    if kind == Attention::Failing {
        query.insert("workload".into(), code.clone());
    }
    let told = matches!(kind, Attention::Problem | Attention::Failing);
    AttentionItem {
        kind: kind.as_str().into(),
        code: told.then_some(code),
        severity: group.severity.unwrap_or(Severity::Info),
        message,
        since: (group.since > 0).then(|| rfc3339(group.since)),
        count: group.count,
        unknown: group.unknown,
        acknowledged: group.acknowledged,
        silenced: group.silenced,
        devices: group.first,
        query,
    }
}

/// Returns the sites with the most unhealthy and offline devices first, and how many more there
/// are.
fn sites(all: BTreeMap<String, Site>) -> (Vec<Site>, u64) {
    let mut sites: Vec<Site> =
        all.into_iter().map(|(name, site)| Site { site: name, ..site }).collect();
    let trouble = |site: &Site| site.unhealthy + site.offline;
    sites.sort_by(|one, other| {
        (trouble(other), other.total, &one.site).cmp(&(trouble(one), one.total, &other.site))
    });
    let more = sites.len().saturating_sub(MAX_SITES) as u64;
    sites.truncate(MAX_SITES);
    (sites, more)
}

/// Most keys of labels in the list of labels in use.
const MAX_KEYS: usize = 500;

/// Most values of one label in the list of labels in use; the rest is only counted.
const MAX_VALUES: usize = 50;

/// Labels in use: devices by key, and by value of each key.
#[derive(Debug, Default)]
pub struct LabelTally(BTreeMap<String, (u64, BTreeMap<String, u64>)>);

impl LabelTally {
    /// Adds the labels of a device.
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

    /// Returns the labels, those of the most devices first.
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

/// Calls `add` for the next `most` devices after the name `after`. Returns the name of the last of
/// them, with which the next call continues; `None` if no device was left.
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
