//! Decodes the documents about data: `Stream` and `LinkBudget`.

use std::collections::BTreeMap;

use holdfast_base::ids::Name;
use holdfast_query::parse;
use holdfast_records::Window;
use holdfast_records::{
    Aggregate, Interface, LinkBudget, Order, Overflow, Pattern, Period, Share, Ship, Source,
    StreamPolicy, TrafficClass,
};

use super::decode::At;
use super::workload::devices;
use crate::ingest::Retention;
use crate::records::Policy;
use holdfast_api::selector::Selector;
use holdfast_api::units;

/// Most patterns of a document, and most fields and most aggregates of a window.
const MAX_ITEMS: usize = 64;
/// Most windows of a day.
const MAX_WINDOWS: usize = 24;
/// Longest time to live and longest retention, in milliseconds: ten years.
const LONGEST: u64 = 3_653 * DAY;
/// Milliseconds of a day.
const DAY: u64 = 86_400_000;
/// Shortest time to live, in milliseconds. Shorter-lived records would never be shipped.
const SHORTEST_TTL: u64 = 1_000;
/// Least quota of a stream, in bytes: two groups of records.
const LEAST_QUOTA: u64 = 128 * 1024;
/// Longest time that records may wait to be stored, in milliseconds. Publishers wait as long for
/// their acknowledgement.
const LONGEST_DURABILITY: u64 = 60_000;
/// Shortest interval of windows and of metrics, in milliseconds.
const SHORTEST_EVERY: u64 = 1_000;
/// Longest path of a field, in bytes.
const MAX_FIELD: usize = 256;
/// Least link budget, in bytes. Less does not carry the keep-alive of a day.
const LEAST_BUDGET: u64 = 16 * 1024;
/// End of the fault of an empty list that may be left out.
pub(super) const OR_NOT: &str = ", or leave it out";
/// Most interfaces of a budget.
const MAX_INTERFACES: usize = 16;

const STREAM: &[&str] = &[
    "devices",
    "streams",
    "source",
    "priority",
    "ttl",
    "quota",
    "overflow",
    "ship",
    "order",
    "compress",
    "durability",
    "windows",
    "retention",
];
const SOURCE: &[&str] = &["metrics", "logs"];
/// Possible forms of `source`, for faults.
const SOURCES: &str = "{ metrics: { every: 10s } } or { logs: { workload: NAME } }";
const METRICS: &[&str] = &["every"];
const LOGS: &[&str] = &["workload"];
const OVERFLOW: &[&str] = &["thin"];
const THIN: &[&str] = &["keepEvery"];
const SHIP: &[&str] = &["onChange", "window"];
const ON_CHANGE: &[&str] = &["field", "deadband"];
const WINDOW: &[&str] = &["every", "fields", "aggregates"];
const RETENTION: &[&str] = &["age", "bytes"];
const LINK_BUDGET: &[&str] = &["devices", "per", "bytes", "shares", "interfaces"];
const SHARES: &[&str] = &["control", "events", "data", "logs", "artifacts"];
const INTERFACE: &[&str] = &["name", "metered", "cost"];

/// Decodes an optional field; `usual` is its value if it is absent. `None` if faults were noted.
pub(super) fn or<T>(
    field: Option<At<'_>>,
    usual: T,
    decode: impl FnOnce(&At<'_>) -> Option<T>,
) -> Option<T> {
    field.map_or(Some(usual), |at| decode(&at))
}

/// Decodes the spec of a `Stream`. `None` if faults were noted.
pub(crate) fn stream(at: &At<'_>) -> Option<(Selector, Policy)> {
    let spec = at.fields(STREAM)?;
    let devices = spec
        .required(
            "devices",
            "which devices it holds on, such as { matchLabels: { role: gateway } }",
        )
        .and_then(|at| devices(&at));
    let streams = spec
        .required("streams", "which streams, such as [\"pump/*\"]")
        .and_then(|at| patterns(&at));
    let source = or(spec.get("source"), None, |at| source(at).map(Some));
    let usual = StreamPolicy::default();
    let priority = or(spec.get("priority"), u64::from(usual.priority), |at| at.whole(0, 9));
    let ttl = or(spec.get("ttl"), None, |at| at.duration(SHORTEST_TTL, LONGEST).map(Some));
    let quota = or(spec.get("quota"), None, |at| size(at, LEAST_QUOTA).map(Some));
    let overflow = or(spec.get("overflow"), usual.overflow, overflow);
    let ship = or(spec.get("ship"), usual.ship, ship);
    let order = or(spec.get("order"), usual.order, |at| {
        at.parsed(|text| match text {
            "oldest-first" => Ok(Order::OldestFirst),
            "newest-first" => Ok(Order::NewestFirst),
            _ => Err("unknown order; there are oldest-first and newest-first"),
        })
    });
    let compress = or(spec.get("compress"), usual.compress, |at| at.flag());
    let durability = or(spec.get("durability"), 0, |at| at.duration(0, LONGEST_DURABILITY));
    let windows = or(spec.get("windows"), Vec::new(), windows);
    let retention = or(spec.get("retention"), Retention::default(), retention);
    let (streams, source) = (streams?, source?);
    if source.is_some() && !matches!(streams.as_slice(), [one] if !one.as_str().ends_with('*')) {
        spec.get("streams")?.fault(
            "a source fills one stream: give its name alone, without '*', such as [\"device/metrics\"]",
        );
        return None;
    }
    let policy = StreamPolicy {
        streams,
        source,
        priority: u8::try_from(priority?).ok()?,
        ttl_ms: ttl?,
        quota_bytes: quota?,
        overflow: overflow?,
        ship: ship?,
        order: order?,
        compress: compress?,
        durability_ms: u32::try_from(durability?).ok()?,
        windows: windows?,
    };
    Some((devices?, Policy::Stream { policy, retention: retention? }))
}

fn size(at: &At<'_>, least: u64) -> Option<u64> {
    let bytes = at.quantity(units::memory)?;
    (bytes >= least).then_some(bytes).or_else(|| {
        at.refuse(format!("{bytes} bytes: at least {least}; did you mean Ki or Mi?"));
        None
    })
}

/// Decodes a list of 1 to `most` items. `or_not` ends the fault of an empty list and tells what to
/// do to have no items. `None` if faults were noted.
pub(super) fn list<T>(
    at: &At<'_>,
    most: usize,
    or_not: &str,
    decode: impl Fn(&At<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let items = at.items();
    if items.len() > most {
        at.fault(format!("{} of them, at most {most}", items.len()));
        return None;
    }
    if items.is_empty() {
        if at.value().is_array() {
            at.fault(format!("an empty list; name at least one{or_not}"));
        }
        return None;
    }
    let count = items.len();
    let good: Vec<T> = items.iter().filter_map(decode).collect();
    (good.len() == count).then_some(good)
}

fn patterns(at: &At<'_>) -> Option<Vec<Pattern>> {
    list(at, MAX_ITEMS, "", |at| {
        at.parsed(|text| {
            text.parse::<Pattern>().map_err(|_| {
                "not a stream's name, nor the beginning of one and a final '*', such as pump/temperature or pump/*"
            })
        })
    })
}

fn source(at: &At<'_>) -> Option<Source> {
    at.fields_like(SOURCE, SOURCES)?.one_of(SOURCE, "a source", |which, at| match which {
        "metrics" => {
            let fields = at.fields_like(METRICS, "{ every: 10s }")?;
            let every = fields.required("every", "from one record to the next, such as 10s")?;
            Some(Source::Metrics { every_ms: every.duration(SHORTEST_EVERY, DAY)? })
        }
        _ => {
            let fields = at.fields_like(LOGS, "{ workload: NAME }")?;
            let workload = fields.required("workload", "whose log it is")?;
            Some(Source::Logs { workload: workload.parsed(str::parse::<Name>)? })
        }
    })
}

fn overflow(at: &At<'_>) -> Option<Overflow> {
    if at.value().is_object() {
        let thin = at.fields(OVERFLOW)?.required("thin", "{ keepEvery: 10 }, say")?;
        let every = thin
            .fields_like(THIN, "{ keepEvery: 10 }")?
            .required("keepEvery", "every how many-th older record stays")?;
        let keep_every = u32::try_from(every.whole(2, 1_000_000)?).ok()?;
        return Some(Overflow::Thin { keep_every });
    }
    at.parsed(|text| match text {
        "drop-oldest" => Ok(Overflow::DropOldest),
        "drop-newest" => Ok(Overflow::DropNewest),
        _ => Err("unknown; there are drop-oldest, drop-newest and { thin: { keepEvery: N } }"),
    })
}

fn ship(at: &At<'_>) -> Option<Ship> {
    if at.value().is_object() {
        return at.fields(SHIP)?.one_of(SHIP, "what is shipped", |which, at| match which {
            "onChange" => on_change(at),
            _ => window(at),
        });
    }
    at.parsed(|text| match text {
        "always" => Ok(Ship::Always),
        "never" => Ok(Ship::Never),
        _ => Err("unknown; there are always, never, { onChange: … } and { window: … }"),
    })
}

fn on_change(at: &At<'_>) -> Option<Ship> {
    let fields = at.fields_like(ON_CHANGE, "{ field: temp, deadband: \"0.5\" }")?;
    let field = or(fields.get("field"), String::new(), field);
    let deadband = or(fields.get("deadband"), "0".to_owned(), |at| {
        let text = match at.value() {
            serde_json::Value::Number(number) => number.to_string(),
            _ => at.text()?.to_owned(),
        };
        let good = text.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0);
        good.then_some(text).or_else(|| {
            at.refuse("not how far the field may move: a number from 0, such as 0.5");
            None
        })
    });
    Some(Ship::OnChange { field: field?, deadband: deadband? })
}

fn window(at: &At<'_>) -> Option<Ship> {
    let fields =
        at.fields_like(WINDOW, "{ every: 5m, fields: [temp], aggregates: [mean, p95] }")?;
    let every = fields
        .required("every", "how long a window is, such as 5m")
        .and_then(|at| at.duration(SHORTEST_EVERY, 31 * DAY));
    let paths = fields
        .required("fields", "paths of numbers in the records, such as [\"temp\"]")
        .and_then(|at| list(&at, MAX_ITEMS, "", field));
    let aggregates = fields
        .required("aggregates", "what is said of each field, such as [min, max, mean, p95]")
        .and_then(|at| list(&at, MAX_ITEMS, "", aggregate));
    let aggregates = aggregates?.into_iter().flatten().collect();
    Some(Ship::Window { every_ms: every?, fields: paths?, aggregates })
}

/// Decodes the path of a number, written as in queries: parts divided by `.`, in back quotes unless
/// they are words. Empty or `.` is the record itself.
fn field(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        if text.len() > MAX_FIELD || text.chars().any(char::is_control) {
            return Err(format!("not the path of a field: at most {MAX_FIELD} bytes, on one line"));
        }
        match parse::path("not the path of a field", text) {
            Ok(_) => Ok(text.trim().to_owned()),
            Err(fault) => Err(fault.to_string()),
        }
    })
}

/// Decodes an aggregate. The inner `None` is `count`, which is always reported.
fn aggregate(at: &At<'_>) -> Option<Option<Aggregate>> {
    at.parsed(|text| match text {
        "count" => Ok(None),
        "min" => Ok(Some(Aggregate::Min)),
        "max" => Ok(Some(Aggregate::Max)),
        "mean" => Ok(Some(Aggregate::Mean)),
        "last" => Ok(Some(Aggregate::Last)),
        other => quantile(other).map(|thousandths| Some(Aggregate::Quantile(thousandths))).ok_or(
            "unknown; there are count, min, max, mean, last and quantiles such as p50 or p99.9",
        ),
    })
}

/// Parses a quantile into thousandths: `p99.9` to 999.
fn quantile(text: &str) -> Option<u16> {
    let (whole, tenth) =
        text.strip_prefix('p')?.split_once('.').unwrap_or((text.strip_prefix('p')?, "0"));
    let number = |text: &str, most: usize| {
        let good = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| good)
    };
    let thousandths = number(whole, 3)? * 10 + number(tenth, 1)?;
    (1..1_000).contains(&thousandths).then_some(thousandths)
}

fn windows(at: &At<'_>) -> Option<Vec<Window>> {
    list(at, MAX_WINDOWS, OR_NOT, |at| {
        at.parsed(|text| {
            let minute = |text: &str| {
                let (hour, minute) = text.trim().split_once(':')?;
                let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 2);
                let (hour, minute) = (number(hour)?, number(minute)?);
                let end = hour == 24 && minute == 0;
                (end || (hour < 24 && minute < 60)).then_some(hour * 60 + minute)
            };
            let ends =
                text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
            match ends {
                Some((from, to)) if from != to && from < 1_440 => Ok(Window { from, to }),
                _ => Err("not a time of the day in UTC, such as 01:00-04:00 or 22:00-06:00"),
            }
        })
    })
}

fn retention(at: &At<'_>) -> Option<Retention> {
    let fields = at.fields_like(RETENTION, "{ age: 90d }")?;
    let age = or(fields.get("age"), None, |at| at.duration(60_000, LONGEST).map(Some));
    let bytes = or(fields.get("bytes"), None, |at| size(at, LEAST_QUOTA).map(Some));
    Some(Retention { age: age?.map(|millis| millis / 1_000), bytes: bytes? })
}

/// Decodes the spec of a `LinkBudget`. `None` if faults were noted.
pub(crate) fn link_budget(at: &At<'_>) -> Option<(Selector, Policy)> {
    let spec = at.fields(LINK_BUDGET)?;
    let devices = spec
        .required("devices", "which devices it holds on, such as { matchLabels: { link: lte } }")
        .and_then(|at| devices(&at));
    let period = spec.required("per", "day or month").and_then(|at| {
        at.parsed(|text| match text {
            "day" => Ok(Period::Day),
            "month" => Ok(Period::Month),
            _ => Err("unknown; there are day and month"),
        })
    });
    let bytes = spec
        .required("bytes", "how many the link may carry, such as 10Mi")
        .and_then(|at| size(&at, LEAST_BUDGET));
    let shares = or(spec.get("shares"), BTreeMap::new(), shares);
    let interfaces =
        or(spec.get("interfaces"), Vec::new(), |at| list(at, MAX_INTERFACES, OR_NOT, interface));
    let budget =
        LinkBudget { period: period?, bytes: bytes?, shares: shares?, interfaces: interfaces? };
    Some((devices?, Policy::LinkBudget { budget }))
}

fn shares(at: &At<'_>) -> Option<BTreeMap<TrafficClass, Share>> {
    let fields = at.fields_like(SHARES, "{ data: 60% }")?;
    let mut shares = BTreeMap::new();
    let mut good = true;
    for class in TrafficClass::ALL {
        let Some(at) = fields.get(class.as_str()) else { continue };
        match at.quantity(units::percent) {
            Some(percent) => drop(shares.insert(class, Share { percent })),
            None => good = false,
        }
    }
    let sum: u32 = shares.values().map(|share| u32::from(share.percent)).sum();
    if sum > 100 {
        at.fault(format!("together {sum}%: a budget has 100%"));
        return None;
    }
    good.then_some(shares)
}

fn interface(at: &At<'_>) -> Option<Interface> {
    let fields = at.fields_like(INTERFACE, "{ name: \"wwan*\", metered: true }")?;
    let name = fields.required("name", "such as eth0 or wwan*").and_then(|at| {
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
    });
    let metered = or(fields.get("metered"), false, |at| at.flag());
    let cost = or(fields.get("cost"), 100, |at| at.quantity(units::hundredths));
    Some(Interface { name: name?, metered: metered?, cost_percent: cost? })
}
