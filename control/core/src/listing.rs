//! Filter, order and paging of the list of devices. The words of a query come from outside, so each
//! is checked.
//!
//! See decision 0031.

use super::absence;
use super::attention::{Attention, Watch};
use super::model::Device;
use super::parameter::BadParameter;
use super::{state, view};
use holdfast_api::selector::Selector;
use holdfast_api::{Absence, Connection, HealthState};

/// Longest text to search for, in bytes.
const MAX_TEXT: usize = 200;

/// Filter of the list of devices. Conditions that are not set match every device.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Labels that a device must have.
    pub selector: Selector,
    /// Text in lower case that a device must contain in its name, label values, address, workloads,
    /// problem codes or states; made by [`Filter::text`].
    pub text: Option<String>,
    /// Connection states of which a device must have one; empty: any.
    pub connections: Vec<Connection>,
    /// Health states of which a device must have one; empty: any.
    pub health: Vec<HealthState>,
    /// Code of a problem that a device must have.
    pub problem: Option<String>,
    /// Workload that a device should run or still reports.
    pub workload: Option<String>,
    /// Value that the label `site` must have; empty: devices without that label.
    pub site: Option<String>,
    /// Kinds of absence of which an offline device must have one; empty: any device.
    pub absences: Vec<Absence>,
    /// Reason for which a device must need a person.
    pub attention: Option<Attention>,
}

impl Filter {
    /// Prepares a text to search for: trimmed and in lower case. None: it is empty.
    ///
    /// # Errors
    /// The text is longer than 200 bytes.
    pub fn text(text: &str) -> Result<Option<String>, BadParameter> {
        match text.trim() {
            "" => Ok(None),
            text if text.len() > MAX_TEXT => Err(BadParameter::Bytes(MAX_TEXT)),
            text => Ok(Some(text.to_lowercase())),
        }
    }

    /// Parses connection states such as `online,offline`.
    ///
    /// # Errors
    /// Lists the known words when one is unknown.
    pub fn connections(text: &str) -> Result<Vec<Connection>, BadParameter> {
        let all = [
            Connection::Online,
            Connection::Offline,
            Connection::NeverSeen,
            Connection::Pending,
            Connection::Revoked,
        ];
        let one = |word: &str| {
            let found = all.into_iter().find(|known| known.as_str() == word);
            let words = "online, offline, never-seen, pending and revoked";
            found.ok_or_else(|| BadParameter::NoneOf(words.to_owned()))
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(one).collect()
    }

    /// Parses health states such as `failing,problem`.
    ///
    /// # Errors
    /// Lists the known words when one is unknown.
    pub fn health(text: &str) -> Result<Vec<HealthState>, BadParameter> {
        let one = |word: &str| {
            let found = HealthState::ALL.into_iter().find(|known| known.as_str() == word);
            found.ok_or_else(|| {
                let words = HealthState::ALL.map(HealthState::as_str);
                BadParameter::NoneOf(words.join(", "))
            })
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(one).collect()
    }

    /// Parses kinds of absence such as `unexpected,expected`.
    ///
    /// # Errors
    /// Lists the known words when one is unknown.
    pub fn absences(text: &str) -> Result<Vec<Absence>, BadParameter> {
        let one = |word: &str| {
            let found = Absence::ALL.into_iter().find(|known| known.as_str() == word);
            let words = "unexpected, expected and ignored";
            found.ok_or_else(|| BadParameter::NoneOf(words.to_owned()))
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(one).collect()
    }

    /// True if a device matches every condition.
    pub fn chooses(&self, device: &Device, watch: Watch) -> bool {
        let record = &device.record;
        let workload = |name: &str| {
            device.desired.workloads.iter().any(|(known, _)| known.as_str() == name)
                || device.report.workloads.iter().any(|(known, _)| known.as_str() == name)
        };
        let connection = device.live.seen(record.standing, device.report.last_seen > 0);
        let site = record.labels.get(SITE).map_or("", String::as_str);
        (self.connections.is_empty() || self.connections.contains(&connection))
            && (self.health.is_empty()
                || self.health.contains(&state::health(device, watch.now).state))
            && self.site.as_ref().is_none_or(|wanted| wanted == site)
            && (self.selector.is_empty() || self.selector.matches(&record.labels))
            && self.workload.as_deref().is_none_or(workload)
            && self.problem.as_ref().is_none_or(|code| {
                device.problems().iter().any(|problem| problem.code.as_str() == code)
            })
            && (self.absences.is_empty()
                || absence::class(device, watch.now)
                    .is_some_and(|class| self.absences.contains(&class)))
            && self.attention.is_none_or(|attention| watch.sees(attention, device))
            && self.text.as_deref().is_none_or(|text| holds(device, text, watch.now))
    }
}

/// Key of the label for devices that share a place and a link.
pub const SITE: &str = "site";

/// True if a connection or health state begins with `text`. Checked first, because the health of
/// 50,000 devices takes time to compute.
fn is_word(text: &str) -> bool {
    ["online", "offline"].iter().any(|word| word.starts_with(text))
        || HealthState::ALL.iter().any(|state| state.as_str().starts_with(text))
}

/// True if a text in lower case occurs in a device's name, label values, address, names of desired
/// workloads or problem codes, or begins its connection or health state.
fn holds(device: &Device, text: &str, now: u64) -> bool {
    let report = &device.report;
    // Names of devices have no capitals, so they need no conversion.
    device.record.name.as_str().contains(text)
        || device.record.labels.values().any(|value| {
            value.contains(text)
                || (value.bytes().any(|byte| byte.is_ascii_uppercase())
                    && value.to_ascii_lowercase().contains(text))
        })
        || report.address.is_some_and(|address| address.to_string().contains(text))
        || device.desired.workloads.iter().any(|(name, _)| name.as_str().contains(text))
        || (is_word(text)
            && (device
                .live
                .seen(device.record.standing, report.last_seen > 0)
                .as_str()
                .starts_with(text)
                || state::health(device, now).state.as_str().starts_with(text)))
        || (device.has_problems()
            && device.problems().iter().any(|problem| problem.code.as_str().contains(text)))
}

/// Sort key of the list of devices. Devices with equal keys are sorted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Name of the device.
    Name,
    /// Connection state: online, offline, never seen, pending, revoked.
    Connection,
    /// Health by urgency: failing, problem, unknown, never seen, pending, progressing, healthy,
    /// revoked.
    Health,
    /// Time of the last packet; devices that were never heard count as the longest ago.
    HeardAt,
    /// Number of failing workloads plus number of problems.
    Problems,
    /// Number of failing workloads, then number of desired workloads.
    Workloads,
    /// End of the certificate; devices without one come first.
    Certificate,
    /// Time of the enrolment.
    CreatedAt,
}

/// Order of the list of devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Key to sort by.
    pub by: By,
    /// True: the greatest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { by: By::Name, descending: false }
    }
}

const ORDERS: [(&str, By); 8] = [
    ("name", By::Name),
    ("connection", By::Connection),
    ("health", By::Health),
    ("heardAt", By::HeardAt),
    ("problems", By::Problems),
    ("workloads", By::Workloads),
    ("certificate", By::Certificate),
    ("createdAt", By::CreatedAt),
];

impl Order {
    /// Parses a sort key such as `heardAt`, or `-heardAt` for descending order.
    ///
    /// # Errors
    /// Lists the known keys when the word is unknown.
    pub fn parse(text: &str) -> Result<Self, BadParameter> {
        let (descending, word) = text.strip_prefix('-').map_or((false, text), |word| (true, word));
        let found = ORDERS.iter().find(|(known, _)| *known == word);
        found
            .map(|(_, by)| Self { by: *by, descending })
            .ok_or_else(|| BadParameter::Order(ORDERS.iter().map(|(word, _)| *word).collect()))
    }

    fn key(self, device: &Device, place: u64, now: u64) -> u64 {
        let key = match self.by {
            By::Name => place,
            By::Connection => {
                match device.live.seen(device.record.standing, device.report.last_seen > 0) {
                    Connection::Online => 0,
                    Connection::Offline => 1,
                    Connection::NeverSeen => 2,
                    Connection::Pending => 3,
                    Connection::Revoked => 4,
                }
            }
            By::Health => match state::health(device, now).state {
                HealthState::Failing => 0,
                HealthState::Problem => 1,
                HealthState::Unknown => 2,
                HealthState::NeverSeen => 3,
                HealthState::Pending => 4,
                HealthState::Progressing => 5,
                HealthState::Healthy => 6,
                HealthState::Revoked => 7,
            },
            By::HeardAt => device.heard_at(now),
            By::Problems => state::failing(device, now) + device.problems().len() as u64,
            By::Workloads => {
                (state::failing(device, now) << 32) | device.desired.workloads.len() as u64
            }
            // Failing workloads in the upper half, desired ones in the lower: 2 failing of 5 is
            // 0x2_0000_0005.
            By::Certificate => view::certificate_end(device).unwrap_or(0),
            By::CreatedAt => device.record.created_at,
        };
        if self.descending { !key } else { key }
    }
}

/// Returns at most `limit` devices from `offset` on in this order, and the number of all. `devices`
/// must come sorted by name.
pub fn page<'m>(
    devices: impl Iterator<Item = &'m Device>,
    order: Order,
    (offset, limit): (usize, usize),
    now: u64,
) -> (Vec<&'m Device>, u64) {
    let devices: Vec<&Device> = devices.collect();
    let total = devices.len();
    let mut keys: Vec<(u64, usize)> = devices
        .iter()
        .enumerate()
        .map(|(place, device)| (order.key(device, place as u64, now), place))
        .collect();
    let end = offset.saturating_add(limit);
    if end < total {
        // Only the devices up to `end` need to be in order: selecting them takes linear time,
        // sorting 50,000 does not.
        keys.select_nth_unstable(end);
        keys.truncate(end);
    }
    keys.sort_unstable();
    let shown = keys.into_iter().skip(offset).filter_map(|(_, place)| devices.get(place).copied());
    (shown.collect(), total as u64)
}
