//! Form of `Stream` documents.
//!
//! See decision 0147.

use holdfast_base::ids::Name;
use holdfast_query::parse;
use holdfast_records::Window;
use holdfast_records::{Aggregate, Order, Overflow, Pattern, Ship, Source, StreamPolicy};

use super::at::{At, Words};
use super::document::{NAME, devices};
use super::fields::Fields;
use super::quantities::SIZE;
use crate::ingest::Retention;
use crate::records::Policy;
use holdfast_api::selector::Selector;

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
/// End of the fault of an empty list that may be left out.
pub(crate) const OR_NOT: &str = ", or leave it out";

/// Regular expressions for the schema: patterns of streams, times of the day and aggregates.
const PATTERN: &str = r"^(\*|[^$+#*\u0000-\u001f\u007f][^+#*\u0000-\u001f\u007f]*\*?)$";
const DAY_WINDOW: &str = "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$";
const AGGREGATE: &str = r"^(count|min|max|mean|last|p[0-9]{1,3}(\.[0-9])?)$";

const ORDERS: Words<'static, Order> = Words {
    about: "Order in which batches are shipped.",
    what: "order",
    list: &[
        ("oldest-first", "Batches are shipped in the order of their records.", Order::OldestFirst),
        (
            "newest-first",
            "New records are shipped first, the backlog after them.",
            Order::NewestFirst,
        ),
    ],
    or: &[],
};

/// Decodes the spec of a `Stream`. `None` if faults were noted.
pub(crate) fn stream(at: &At<'_>) -> Option<(Selector, Policy)> {
    at.object("Choice of devices and streams, and rules for them.", "", |spec| {
        let devices = spec.required(
            "devices",
            "Devices that the policy applies to: `all`, or a selector of labels. An empty selector is refused.",
            "which devices it holds on, such as { matchLabels: { role: gateway } }",
            devices,
        );
        let streams = spec.required(
            "streams",
            "Streams that the policy applies to: names, or beginnings of names with a final `*`, such as `pump/*`. If several policies match a stream, the one with the narrowest pattern takes effect.",
            "which streams, such as [\"pump/*\"]",
            patterns,
        );
        let source = spec.maybe(
            "source",
            "Data with which the agent itself fills the stream. Default: workloads publish to it.",
            source,
        );
        let shipping = shipping(spec);
        let storing = storing(spec);
        let retention = spec.or(
            "retention",
            "Limits on what the control plane keeps of each stream. Default: everything is kept.",
            Retention::default(),
            retention,
        );
        let (streams, source, retention) = (streams?, source?, retention?);
        if source.is_some() && !matches!(streams.as_slice(), [one] if !one.as_str().ends_with('*'))
        {
            spec.get("streams")?.fault(
                "a source fills one stream: give its name alone, without '*', such as [\"device/metrics\"]",
            );
            return None;
        }
        let (shipping, storing) = (shipping?, storing?);
        let policy = StreamPolicy {
            streams,
            source,
            priority: shipping.priority,
            ship: shipping.ship,
            order: shipping.order,
            windows: shipping.windows,
            ..storing
        };
        Some((devices?, Policy::Stream { policy, retention }))
    })
}

/// Decodes the fields about shipping; the others have their defaults.
fn shipping(spec: &Fields<'_>) -> Option<StreamPolicy> {
    let usual = StreamPolicy::default();
    let priority = spec.or(
        "priority",
        "Priority of shipping, from 0 (last) to 9 (first). 8 and 9 are urgent and may borrow from the link budget. Default: 5.",
        usual.priority,
        |at| u8::try_from(at.whole(0, 9)?).ok(),
    );
    let ship = spec.or(
        "ship",
        "Records that are shipped to the control plane. Default: `always`.",
        usual.ship.clone(),
        ship,
    );
    let order = spec.or(
        "order",
        "Order in which batches are shipped. Default: `oldest-first`.",
        usual.order,
        |at| at.word(&ORDERS),
    );
    let windows = spec.or(
        "windows",
        "Times of the day in UTC at which the stream is shipped, such as `01:00-04:00`. Default: at any time.",
        Vec::new(),
        windows,
    );
    Some(StreamPolicy {
        priority: priority?,
        ship: ship?,
        order: order?,
        windows: windows?,
        ..usual
    })
}

/// Decodes the fields about the device's disk; the others have their defaults.
fn storing(spec: &Fields<'_>) -> Option<StreamPolicy> {
    let usual = StreamPolicy::default();
    let ttl = spec.maybe(
        "ttl",
        "Age at which records are deleted on the device, shipped or not, such as `30d`. Default: they are deleted only when space is needed.",
        |at| at.duration(SHORTEST_TTL, LONGEST),
    );
    let quota = spec.maybe(
        "quota",
        "Space on the device's disk in bytes, such as `100Mi`, at least `128Ki`. Default: the space of the device's whole buffer.",
        |at| size(at, LEAST_QUOTA),
    );
    let overflow = spec.or(
        "overflow",
        "Records that are dropped when the quota is used up and no shipped records are left to delete. Default: `drop-oldest`.",
        usual.overflow,
        overflow,
    );
    let compress = spec.or(
        "compress",
        "True to compress records on disk and on the link. Default: `true`.",
        usual.compress,
        |at| at.flag(),
    );
    let durability = spec.or(
        "durability",
        "Time for which records may wait in order to be written to disk together, at most `60s`. Saves writes to flash. Publishers get their acknowledgement when the record is on disk in any case. Default: `0s`.",
        0,
        |at| u32::try_from(at.duration(0, LONGEST_DURABILITY)?).ok(),
    );
    Some(StreamPolicy {
        ttl_ms: ttl?,
        quota_bytes: quota?,
        overflow: overflow?,
        compress: compress?,
        durability_ms: durability?,
        ..usual
    })
}

/// Decodes a size of at least `least` bytes.
pub(crate) fn size(at: &At<'_>, least: u64) -> Option<u64> {
    let bytes = at.quantity(&SIZE)?;
    (bytes >= least).then_some(bytes).or_else(|| {
        at.refuse(format!("{bytes} bytes: at least {least}; did you mean Ki or Mi?"));
        None
    })
}

fn patterns(at: &At<'_>) -> Option<Vec<Pattern>> {
    at.list(MAX_ITEMS, "", |at| {
        at.put("pattern", PATTERN).parsed(|text| {
            text.parse::<Pattern>().map_err(|_| {
                "not a stream's name, nor the beginning of one and a final '*', such as pump/temperature or pump/*"
            })
        })
    })
}

fn source(at: &At<'_>) -> Option<Source> {
    let about = "Data with which the agent fills a stream: exactly one of `metrics` and `logs`.";
    let such = "{ metrics: { every: 10s } } or { logs: { workload: NAME } }";
    let forms = [
        ("metrics", "Metrics of the device: CPU, memory, disk, network, temperature."),
        ("logs", "Lines of a workload's log."),
    ];
    at.object(about, such, |fields| {
        fields.one_of("a source", &forms, |which, at| match which {
            "metrics" => metrics(at),
            _ => logs(at),
        })
    })
}

fn metrics(at: &At<'_>) -> Option<Source> {
    at.object("Metrics of the device as a stream.", "{ every: 10s }", |fields| {
        let every = fields.required(
            "every",
            "Time from one record to the next, `1s` to `1d`.",
            "from one record to the next, such as 10s",
            |at| at.duration(SHORTEST_EVERY, DAY),
        );
        Some(Source::Metrics { every_ms: every? })
    })
}

fn logs(at: &At<'_>) -> Option<Source> {
    let about = "Log of a workload as a stream: one record for each line.";
    at.object(about, "{ workload: NAME }", |fields| {
        let about = "Name of the workload whose log it is.";
        let workload = fields.required("workload", about, "whose log it is", |at| {
            at.put("pattern", NAME).parsed(str::parse::<Name>)
        });
        Some(Source::Logs { workload: workload? })
    })
}

const OVERFLOWS: Words<'static, Overflow> = Words {
    about: "Records that are dropped when a quota is used up.",
    what: "",
    list: &[
        ("drop-oldest", "The oldest records are dropped.", Overflow::DropOldest),
        (
            "drop-newest",
            "New records are refused, and their publishers get an error.",
            Overflow::DropNewest,
        ),
    ],
    or: &["{ thin: { keepEvery: N } }"],
};

fn overflow(at: &At<'_>) -> Option<Overflow> {
    at.either(
        |value| !value.is_object(),
        |at| at.word(&OVERFLOWS),
        |at| {
            let about =
                "Keeps every nth of the older records, such as `{ thin: { keepEvery: 10 } }`.";
            at.object(about, "", |fields| {
                let about = "Part of the older records that is kept.";
                let keep_every = fields.required("thin", about, "{ keepEvery: 10 }, say", thin);
                Some(Overflow::Thin { keep_every: keep_every? })
            })
        },
    )
}

fn thin(at: &At<'_>) -> Option<u32> {
    at.object("Part of the older records that is kept.", "{ keepEvery: 10 }", |fields| {
        fields.required(
            "keepEvery",
            "Interval of the records that are kept: 10 keeps every tenth record. At least 2.",
            "every how many-th older record stays",
            |at| u32::try_from(at.whole(2, 1_000_000)?).ok(),
        )
    })
}

fn ship(at: &At<'_>) -> Option<Ship> {
    let list = [
        ("always", "Every record is shipped.", Ship::Always),
        (
            "never",
            "No record is shipped. Records stay on the device and can be queried and fetched.",
            Ship::Never,
        ),
    ];
    let or = ["{ onChange: … }", "{ window: … }"];
    let about = "Records that are shipped to the control plane.";
    let words = Words { about, what: "", list: &list, or: &or };
    at.either(|value| !value.is_object(), |at| at.word(&words), reduced)
}

fn reduced(at: &At<'_>) -> Option<Ship> {
    let about = "Reduced shipping: exactly one of `onChange` and `window`. Other records stay on the device and can be queried and fetched.";
    let forms = [
        ("onChange", "Ships records in which a number has changed."),
        ("window", "Ships one record with aggregates for each window of time."),
    ];
    at.object(about, "", |fields| {
        fields.one_of("what is shipped", &forms, |which, at| match which {
            "onChange" => on_change(at),
            _ => window(at),
        })
    })
}

fn on_change(at: &At<'_>) -> Option<Ship> {
    let about =
        "Ships a record if its field differs from the last shipped one by more than the deadband.";
    at.object(about, "{ field: temp, deadband: \"0.5\" }", |fields| {
        let path = fields.or(
            "field",
            "Path of a number in JSON or CBOR records, such as `pump.temp`; names with other characters stand in back quotes. Default: the record itself is the number.",
            String::new(),
            field,
        );
        let deadband = fields.or(
            "deadband",
            "Largest change that is not shipped, in the unit of the field, such as `0.5`. Default: 0, so that any change is shipped.",
            "0".to_owned(),
            deadband,
        );
        Some(Ship::OnChange { field: path?, deadband: deadband? })
    })
}

fn deadband(at: &At<'_>) -> Option<String> {
    at.either(
        |value| !value.is_number(),
        |at| at.text().map(ToOwned::to_owned),
        |at| {
            at.put("type", "number");
            Some(at.value().to_string())
        },
    )
    .filter(|text| {
        let good = text.parse::<f64>().is_ok_and(|number| number.is_finite() && number >= 0.0);
        if !good {
            at.refuse("not how far the field may move: a number from 0, such as 0.5");
        }
        good
    })
}

fn window(at: &At<'_>) -> Option<Ship> {
    let about = "Ships one record for each window of time: the number of its records and aggregates of their fields.";
    at.object(about, "{ every: 5m, fields: [temp], aggregates: [mean, p95] }", |fields| {
        let every = fields.required(
            "every",
            "Length of a window, `1s` to `31d`.",
            "how long a window is, such as 5m",
            |at| at.duration(SHORTEST_EVERY, 31 * DAY),
        );
        let paths = fields.required(
            "fields",
            "Paths of numbers in the records, such as `[temp]`.",
            "paths of numbers in the records, such as [\"temp\"]",
            |at| at.list(MAX_ITEMS, "", field),
        );
        let aggregates = fields.required(
            "aggregates",
            "Aggregates of each field: `count`, `min`, `max`, `mean`, `last`, or quantiles such as `p50` and `p99.9`. The count is always included.",
            "what is said of each field, such as [min, max, mean, p95]",
            |at| at.list(MAX_ITEMS, "", aggregate),
        );
        let aggregates = aggregates?.into_iter().flatten().collect();
        Some(Ship::Window { every_ms: every?, fields: paths?, aggregates })
    })
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
    at.put("pattern", AGGREGATE).parsed(|text| match text {
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
    at.list(MAX_WINDOWS, OR_NOT, |at| {
        at.put("pattern", DAY_WINDOW).parsed(|text| {
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
    let about = "Limits on what the control plane keeps of each stream. The oldest records are deleted first.";
    at.object(about, "{ age: 90d }", |fields| {
        let age = fields.maybe(
            "age",
            "Time for which a record is kept after its arrival, such as `90d`, at least `1m`.",
            |at| at.duration(60_000, LONGEST),
        );
        let bytes = fields.maybe(
            "bytes",
            "Compressed bytes that are kept of each stream of each device, such as `10Gi`, at least `128Ki`.",
            |at| size(at, LEAST_QUOTA),
        );
        Some(Retention { age: age?.map(|millis| millis / 1_000), bytes: bytes? })
    })
}
