//! `LinkBudget`: bytes that a device's link may carry in a period.

use std::collections::BTreeMap;

use holdfast_records::{Interface, LinkBudget as Budget, Period, Share, TrafficClass};

use super::policy::{applies, placed};
use super::{PolicyRules, Preview};
use crate::admission::data::{OR_NOT, size};
use crate::admission::document::devices;
use crate::admission::{At, Quantity, Words};
use crate::desired::{Documents, approved};
use crate::model::{Device, Model};
use crate::policies::{self, Reaches};
use crate::records::{Policy, PolicyKind, PolicyRecord};
use holdfast_api::selector::Selector;
use holdfast_api::units;

/// Least link budget, in bytes. Less does not carry the keep-alive of a day.
const LEAST_BUDGET: u64 = 16 * 1024;
/// Most interfaces of a budget.
const MAX_INTERFACES: usize = 16;

/// Regular expressions for the schema: percentages and costs.
const PERCENT: &str = "^(100|[0-9]{1,2})%$";
const COST: &str = r"^[0-9]+(\.[0-9]{1,2})?$";

const PERIODS: Words<'static, Period> = Words {
    about: "Period of a budget.",
    what: "",
    list: &[
        ("day", "From midnight to midnight UTC.", Period::Day),
        ("month", "From midnight UTC on the first of a month to the next first.", Period::Month),
    ],
    or: &[],
};

/// Implementation of the kind `LinkBudget`.
#[derive(Debug)]
pub(super) struct LinkBudget;

impl PolicyRules for LinkBudget {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        at.object("Choice of devices, and the amount of bytes with its parts.", "", |spec| {
            let devices = spec.required(
                "devices",
                "Devices that the budget applies to: `all`, or a selector of labels. An empty selector is refused. If several budgets select a device, the first by name takes effect.",
                "which devices it holds on, such as { matchLabels: { link: lte } }",
                devices,
            );
            let period = spec.required(
                "per",
                "Period of the budget; a new one begins at midnight UTC.",
                "day or month",
                |at| at.word(&PERIODS),
            );
            let bytes = spec.required(
                "bytes",
                "Bytes of one period, sent and received together, with headers estimated. At least `16Ki`.",
                "how many the link may carry, such as 10Mi",
                |at| size(at, LEAST_BUDGET),
            );
            let shares = spec.or(
                "shares",
                "Parts of the budget by class of traffic, such as `{ data: 60% }`. Classes that are left out share what the others leave.",
                BTreeMap::new(),
                shares,
            );
            let interfaces = spec.or(
                "interfaces",
                "Network interfaces that are metered or have another cost. Traffic of all others counts once.",
                Vec::new(),
                |at| at.list(MAX_INTERFACES, OR_NOT, interface),
            );
            let neighbours = spec.or(
                "neighbours",
                "True: devices with the same label `site` take files of workloads from each other over their local network, so that one of them carries each over the link. Default: false.",
                false,
                |at| at.flag(),
            );
            let (period, bytes, shares) = (period?, bytes?, shares?);
            let (interfaces, neighbours) = (interfaces?, neighbours?);
            let budget = Budget { period, bytes, shares, interfaces, neighbours };
            Some((devices?, Policy::LinkBudget { budget }))
        })
    }

    fn preview(&self, documents: &Documents<'_>, record: &PolicyRecord) -> Preview {
        let changed = placed(documents, &record.key());
        Preview { changed, streams: 0, warning: shadowed(documents, record) }
    }

    fn effect(&self, devices: u64, preview: &Preview) -> String {
        let changed = &preview.changed;
        let change = match changed.gain_count + changed.update_count + changed.lose_count {
            0 => "no link changes".into(),
            1 => "1 link gets another bound".into(),
            more => format!("{more} links get another bound"),
        };
        applies(devices, change, preview)
    }

    fn gather<'a>(&self, model: &'a Model, device: &'a Device, all: &mut Reaches<'a>) {
        policies::budgets(model, device, all);
    }
}

/// Returns a warning when another budget takes precedence on some of the devices.
fn shadowed(documents: &Documents<'_>, record: &PolicyRecord) -> Option<String> {
    let model = documents.model();
    let mut names: Vec<&str> = Vec::new();
    let mut count = 0;
    for device in approved(model) {
        let labels = &device.record.labels;
        if !record.devices.matches(labels) {
            continue;
        }
        let first = documents.policies().find(|other| {
            other.policy.kind() == PolicyKind::LinkBudget && other.devices.matches(labels)
        });
        if let Some(first) = first.filter(|first| first.name != record.name) {
            count += 1;
            if !names.contains(&first.name.as_str()) && names.len() < 5 {
                names.push(first.name.as_str());
            }
        }
    }
    (count > 0).then(|| {
        format!(
            "on {count} of its devices another budget holds, the first by name: {}",
            names.join(", ")
        )
    })
}

/// Returns the description of a class of traffic as a field of `shares`.
fn about(class: TrafficClass) -> &'static str {
    match class {
        TrafficClass::Control => {
            "Desired states, calls, reports, keep-alive and enrolment. They are counted, but never held back."
        }
        TrafficClass::Events => "Streams of priority 8 and 9.",
        TrafficClass::Data => "Streams of priority 0 to 7.",
        TrafficClass::Logs => "Logs that people read, and replies to queries.",
        TrafficClass::Artifacts => "Artifacts, which are the programs of workloads.",
    }
}

fn shares(at: &At<'_>) -> Option<BTreeMap<TrafficClass, Share>> {
    let whole = "Parts of a budget by class of traffic, together at most `100%`.";
    let percent = Quantity { parse: units::percent, pattern: PERCENT, bare: "" };
    let shares = at.object(whole, "{ data: 60% }", |fields| {
        let each = TrafficClass::ALL.map(|class| {
            let share = fields.maybe(class.as_str(), about(class), |at| at.quantity(&percent));
            share.map(|percent| percent.map(|percent| (class, Share { percent })))
        });
        let each: Option<Vec<_>> = each.into_iter().collect();
        Some(each?.into_iter().flatten().collect::<BTreeMap<_, _>>())
    })?;
    let sum: u32 = shares.values().map(|share| u32::from(share.percent)).sum();
    if sum > 100 {
        at.fault(format!("together {sum}%: a budget has 100%"));
        return None;
    }
    Some(shares)
}

fn interface(at: &At<'_>) -> Option<Interface> {
    let about = "Network interface that is metered or has another cost.";
    at.object(about, "{ name: \"wwan*\", metered: true }", |fields| {
        let name = fields.required(
            "name",
            "Name of the interface, or beginning of names with a final `*`, such as `wwan*`.",
            "such as eth0 or wwan*",
            interface_name,
        );
        let metered = fields.or(
            "metered",
            "True if the interface is metered. If any interface is, the budget applies to metered ones only. Default: `false`.",
            false,
            |at| at.flag(),
        );
        let cost = fields.or(
            "cost",
            "Bytes that are counted for each byte, 0.01 to 1000. Default: 1.",
            100,
            |at| at.quantity(&Quantity { parse: units::hundredths, pattern: COST, bare: "number" }),
        );
        Some(Interface { name: name?, metered: metered?, cost_percent: cost? })
    })
}

fn interface_name(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let bare = text.strip_suffix('*').unwrap_or(text);
        let inner = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'*');
        // Names of interfaces have at most 15 bytes in Linux.
        if !text.is_empty() && bare.len() <= 15 && bare.bytes().all(inner) {
            Ok(text.to_owned())
        } else {
            Err("not the name of a network interface, nor the beginning of one and a final '*'")
        }
    })
}
