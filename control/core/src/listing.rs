//! The list of devices: which of them, in which order. Asked for by strangers to the code, so
//! every word of a query is checked.

use super::absence;
use super::attention::{Attention, Watch};
use super::model::Device;
use super::{state, view};
use holdfast_api::selector::Selector;
use holdfast_api::{Absence, Connection, HealthState};

/// Longest text that is searched for, in bytes.
const MAX_TEXT: usize = 200;

/// Which devices. What is not said chooses all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those with these labels.
    pub selector: Selector,
    /// Those in which this stands; see [`Filter::text`].
    pub text: Option<String>,
    /// Those whose connection is one of these.
    pub connections: Vec<Connection>,
    /// Those whose health is one of these.
    pub health: Vec<HealthState>,
    /// Those that report a problem with this code.
    pub problem: Option<String>,
    /// Those that should run this workload, or still report it.
    pub workload: Option<String>,
    /// Those whose label `site` is this; empty: that have none.
    pub site: Option<String>,
    /// Those that are away, and of which this is to be thought.
    pub absences: Vec<Absence>,
    /// Those that need a person for this.
    pub attention: Option<Attention>,
}

impl Filter {
    /// A text to search for, as it is compared: without regard to case.
    ///
    /// # Errors
    /// It is too long.
    pub fn text(text: &str) -> Result<Option<String>, String> {
        match text.trim() {
            "" => Ok(None),
            text if text.len() > MAX_TEXT => Err(format!("at most {MAX_TEXT} bytes")),
            text => Ok(Some(text.to_lowercase())),
        }
    }

    /// `online,offline` as connections.
    ///
    /// # Errors
    /// A word that is none.
    pub fn connections(text: &str) -> Result<Vec<Connection>, String> {
        let all = [
            Connection::Online,
            Connection::Offline,
            Connection::NeverSeen,
            Connection::Pending,
            Connection::Revoked,
        ];
        let one = |word: &str| {
            let found = all.into_iter().find(|known| known.as_str() == word);
            found.ok_or_else(|| {
                "of online, offline, never-seen, pending and revoked, with commas".to_owned()
            })
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(one).collect()
    }

    /// `failing,problem` as states of health.
    ///
    /// # Errors
    /// A word that is none.
    pub fn health(text: &str) -> Result<Vec<HealthState>, String> {
        let one = |word: &str| {
            let found = HealthState::ALL.into_iter().find(|known| known.as_str() == word);
            found.ok_or_else(|| {
                let words = HealthState::ALL.map(HealthState::as_str);
                format!("of {}, with commas", words.join(", "))
            })
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(one).collect()
    }

    /// `unexpected,expected` as absences.
    ///
    /// # Errors
    /// A word that is none.
    pub fn absences(text: &str) -> Result<Vec<Absence>, String> {
        let one = |word: &str| {
            let found = Absence::ALL.into_iter().find(|known| known.as_str() == word);
            found.ok_or_else(|| "of unexpected, expected and ignored, with commas".to_owned())
        };
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(one).collect()
    }

    /// Whether a device is chosen.
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
            && self
                .problem
                .as_ref()
                .is_none_or(|code| device.problems().iter().any(|problem| problem.code == *code))
            && (self.absences.is_empty()
                || absence::class(device, watch.now)
                    .is_some_and(|class| self.absences.contains(&class)))
            && self.attention.is_none_or(|attention| watch.sees(attention, device))
            && self.text.as_deref().is_none_or(|text| holds(device, text, watch.now))
    }
}

/// The label of those who share a place and a link.
pub const SITE: &str = "site";

/// Whether any connection or health begins so: of 50,000 devices the health takes time.
fn is_word(text: &str) -> bool {
    ["online", "offline"].iter().any(|word| word.starts_with(text))
        || HealthState::ALL.iter().any(|state| state.as_str().starts_with(text))
}

/// Whether a text in lower case stands in a device's name, a value of its labels, its address,
/// the name of a workload that it should run, the code of a problem, its connection or its health.
fn holds(device: &Device, text: &str, now: u64) -> bool {
    let report = &device.report;
    // Names have no capitals.
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
            && device.problems().iter().any(|problem| problem.code.contains(text)))
}

/// What a list is sorted by; equals stand by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Their names.
    Name,
    /// Online, offline, never seen, pending, revoked.
    Connection,
    /// How much they need a person: failing, with a problem, unknown, never seen, pending,
    /// progressing, healthy, revoked.
    Health,
    /// When they were last heard; never is longest ago.
    HeardAt,
    /// How many workloads fail on them and problems they report.
    Problems,
    /// How many workloads fail on them, then how many they should run.
    Workloads,
    /// When their certificates end; none is first.
    Certificate,
    /// When they enrolled.
    CreatedAt,
}

/// An order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: By,
    /// The greatest first.
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
    /// From `heardAt`, or descending from `-heardAt`.
    ///
    /// # Errors
    /// There is no such order.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (descending, word) = text.strip_prefix('-').map_or((false, text), |word| (true, word));
        let found = ORDERS.iter().find(|(known, _)| *known == word);
        found.map(|(_, by)| Self { by: *by, descending }).ok_or_else(|| {
            let words: Vec<&str> = ORDERS.iter().map(|(word, _)| *word).collect();
            format!("one of {}, with - before it for the greatest first", words.join(", "))
        })
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
            By::Certificate => view::certificate_end(device).unwrap_or(0),
            By::CreatedAt => device.record.created_at,
        };
        if self.descending { !key } else { key }
    }
}

/// The devices at `offset` and after in this order, `limit` at most, of those given by name; and
/// how many there are.
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
        // Only what is shown must be in order.
        keys.select_nth_unstable(end);
        keys.truncate(end);
    }
    keys.sort_unstable();
    let shown = keys.into_iter().skip(offset).filter_map(|(_, place)| devices.get(place).copied());
    (shown.collect(), total as u64)
}
