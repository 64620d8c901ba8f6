//! The list of devices: which of them, in which order. Asked for by strangers to the code, so
//! every word of a query is checked.

use super::attention::{Attention, Watch, failing};
use super::model::Device;
use super::selector::Selector;
use super::view;
use crate::api::Connection;

/// Longest text that is searched for, in bytes.
const MAX_TEXT: usize = 200;

/// Which devices. What is not said chooses all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those with these labels.
    pub selector: Selector,
    /// Those in whose name, label values or address this stands; see [`Filter::text`].
    pub text: Option<String>,
    /// Those whose connection is one of these.
    pub connections: Vec<Connection>,
    /// Those that report a problem with this code.
    pub problem: Option<String>,
    /// Those that should run this workload, or still report it.
    pub workload: Option<String>,
    /// Those whose label `site` is this; empty: that have none.
    pub site: Option<String>,
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
        let all =
            [Connection::Online, Connection::Offline, Connection::Pending, Connection::Revoked];
        let one = |word: &str| {
            let found = all.into_iter().find(|known| known.as_str() == word);
            found.ok_or_else(|| "of online, offline, pending and revoked, with commas".to_owned())
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
        let connection = device.live.seen(record.standing);
        let site = record.labels.get(SITE).map_or("", String::as_str);
        (self.connections.is_empty() || self.connections.contains(&connection))
            && self.site.as_ref().is_none_or(|wanted| wanted == site)
            && (self.selector.is_empty() || self.selector.matches(&record.labels))
            && self.workload.as_deref().is_none_or(workload)
            && self.problem.as_ref().is_none_or(|code| {
                device.report.all_problems().iter().any(|problem| problem.code == *code)
            })
            && self.attention.is_none_or(|attention| watch.sees(attention, device))
            && self.text.as_deref().is_none_or(|text| holds(device, text))
    }
}

/// The label of those who share a place and a link.
pub const SITE: &str = "site";

/// Whether a text in lower case stands in a device's name, in a value of its labels or in its
/// address.
fn holds(device: &Device, text: &str) -> bool {
    // Only what may be a part of an address is compared with it: writing one takes time.
    let address = |text: &str| {
        text.contains(['.', ':'])
            && device.report.address.is_some_and(|address| address.to_string().contains(text))
    };
    // Names have no capitals.
    device.record.name.as_str().contains(text)
        || address(text)
        || device.record.labels.values().any(|value| {
            value.contains(text)
                || (value.bytes().any(|byte| byte.is_ascii_uppercase())
                    && value.to_ascii_lowercase().contains(text))
        })
}

/// What a list is sorted by; equals stand by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Their names.
    Name,
    /// Online, offline, pending, revoked.
    Connection,
    /// When they were last heard of; never is longest ago.
    LastSeen,
    /// How many problems they report.
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

const ORDERS: [(&str, By); 7] = [
    ("name", By::Name),
    ("connection", By::Connection),
    ("lastSeen", By::LastSeen),
    ("problems", By::Problems),
    ("workloads", By::Workloads),
    ("certificate", By::Certificate),
    ("createdAt", By::CreatedAt),
];

impl Order {
    /// From `lastSeen`, or descending from `-lastSeen`.
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

    fn key(self, device: &Device, place: u64) -> u64 {
        let key = match self.by {
            By::Name => place,
            By::Connection => match device.live.seen(device.record.standing) {
                Connection::Online => 0,
                Connection::Offline => 1,
                Connection::Pending => 2,
                Connection::Revoked => 3,
            },
            By::LastSeen => device.report.last_seen,
            By::Problems => device.report.all_problems().len() as u64,
            By::Workloads => (failing(device) << 32) | device.desired.workloads.len() as u64,
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
    offset: usize,
    limit: usize,
) -> (Vec<&'m Device>, u64) {
    let devices: Vec<&Device> = devices.collect();
    let total = devices.len();
    let mut keys: Vec<(u64, usize)> = devices
        .iter()
        .enumerate()
        .map(|(place, device)| (order.key(device, place as u64), place))
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
