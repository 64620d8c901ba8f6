//! Activity of people (audit log) and of devices (events) as API documents, with the filter of its
//! listing and its CSV export.
//!
//! See decisions 0125 and 0126.

use super::explain::in_words;
use super::parameter::BadParameter;
use super::records::AuditRecord;
use super::timeline::{EventRecord, What};
use holdfast_api::time::{moment, rfc3339};
use holdfast_api::{Activity, ActivityObject, AuditResult, Category, EventKind, TimelineEvent};

/// Longest text of a filter, in characters.
const MAX_TEXT: usize = 200;

/// Parsed filter of activity. A field that is not given lets every entry pass.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    who: Option<String>,
    actions: Vec<String>,
    object: Option<(Option<String>, String)>,
    text: Option<String>,
    categories: Vec<Category>,
    since: Option<u64>,
    until: Option<u64>,
}

/// Filter of activity as it stands in the query of a request, before it is parsed.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Part of the id or name of the person, or of the device's name. Case does not matter.
    pub who: Option<String>,
    /// Actions or their first parts, separated by commas: `workload.apply,device`.
    pub action: Option<String>,
    /// Object of the action: `KIND/NAME`, `KIND/` or `NAME`.
    pub object: Option<String>,
    /// Text that some field of an entry contains. Case does not matter.
    pub q: Option<String>,
    /// Categories, separated by commas: `change,login`.
    pub category: Option<String>,
    /// Earliest time that is included: RFC 3339, or a time before now such as `2h`.
    pub since: Option<String>,
    /// End of the time range, itself excluded: RFC 3339, or a time before now such as `2h`.
    pub until: Option<String>,
}

fn given(text: Option<String>) -> Result<Option<String>, BadParameter> {
    let text = text.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.chars().count() > MAX_TEXT => Err(BadParameter::Characters(MAX_TEXT)),
        text => Ok(text),
    }
}

/// Parses a time of a query into seconds since 1970. Accepts RFC 3339 and a length of time before
/// `now`, such as `2h`; an empty text counts as absent.
///
/// # Errors
/// [`BadParameter::Time`] with the parameter `name`.
pub fn second(name: &str, text: Option<&str>, now: u64) -> Result<Option<u64>, BadParameter> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    let read = |text: &str| {
        moment(text, now.saturating_mul(1_000))
            .map(|millis| millis / 1_000)
            .ok_or_else(|| BadParameter::Time { name: name.to_owned(), text: text.to_owned() })
    };
    text.map(read).transpose()
}

/// Parses words separated by commas, each of which must be a word of `all`.
fn listed<T: Copy>(
    text: &str,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Result<Vec<T>, BadParameter> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let known = || all.iter().map(|one| word(*one)).collect();
            let found = all.iter().find(|one| word(**one) == part).copied();
            found.ok_or_else(|| BadParameter::Word { word: part.to_owned(), known: known() })
        })
        .collect()
}

/// Parses kinds of events separated by commas: `phase,problem`.
///
/// # Errors
/// The part that is unknown and the kinds that exist.
pub fn kinds(text: &str) -> Result<Vec<EventKind>, BadParameter> {
    listed(text, &EventKind::ALL, EventKind::as_str)
}

impl Filter {
    /// Parses the filter of a request.
    ///
    /// # Errors
    /// The fault of the first parameter that has one, with its name.
    pub fn read(asked: Asked, now: u64) -> Result<Self, BadParameter> {
        let named = BadParameter::of;
        let object = given(asked.object).map_err(named("object"))?;
        let object = object.map(|text| match text.split_once('/') {
            Some((kind, name)) => (Some(kind.to_owned()), name.to_owned()),
            None => (None, text),
        });
        let actions = given(asked.action).map_err(named("action"))?.unwrap_or_default();
        let category = given(asked.category).map_err(named("category"))?.unwrap_or_default();
        Ok(Self {
            who: given(asked.who).map_err(named("who"))?,
            actions: actions
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect(),
            object,
            text: given(asked.q).map_err(named("q"))?,
            categories: listed(&category, &Category::ALL, Category::as_str)
                .map_err(named("category"))?,
            since: second("since", asked.since.as_deref(), now)?,
            until: second("until", asked.until.as_deref(), now)?,
        })
    }

    /// Returns true if entries of this category can pass the filter.
    pub fn wants(&self, category: Category) -> bool {
        self.categories.is_empty() || self.categories.contains(&category)
    }

    /// Returns the earliest time that can pass, in seconds since 1970.
    pub fn since(&self) -> Option<u64> {
        self.since
    }

    /// Returns true if an entry of the audit log passes the filter.
    pub fn chooses(&self, record: &AuditRecord) -> bool {
        self.is_within(record.at, record.at)
            && self.wants(of_entry(record))
            && self.passes(&of_person(record))
    }

    /// Converts an event of a device, if it passes the filter.
    pub fn device(&self, record: &EventRecord) -> Option<Activity> {
        let within = self.is_within(record.at, record.until.unwrap_or(record.at));
        (within && self.wants(Category::Device))
            .then(|| of_device(record))
            .filter(|item| self.passes(item))
    }

    fn is_within(&self, from: u64, to: u64) -> bool {
        self.since.is_none_or(|since| to >= since) && self.until.is_none_or(|until| from < until)
    }

    fn passes(&self, item: &Activity) -> bool {
        let holds = |text: &str, part: &str| text.to_lowercase().contains(part);
        let name = item.by_name.as_deref().unwrap_or_default();
        let object = item.object.as_ref();
        let who = |who: &String| holds(&item.by, who) || holds(name, who);
        let action = |asked: &String| {
            item.action
                .strip_prefix(asked.trim_end_matches('.'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.who.as_ref().is_none_or(who)
            && (self.actions.is_empty() || self.actions.iter().any(action))
            && self.object.as_ref().is_none_or(|(kind, name)| {
                let is = |is_kind: &str, is_name: &str| {
                    kind.as_ref().is_none_or(|kind| kind == is_kind)
                        && (is_name.eq_ignore_ascii_case(name) || name.is_empty() && kind.is_some())
                };
                object.is_some_and(|object| is(&object.kind, &object.name))
                    || item.category == Category::Device && is("device", &item.by)
            })
            && self.text.as_ref().is_none_or(|text| {
                let title = object.and_then(|object| object.title.as_deref()).unwrap_or_default();
                let of = object.map_or("", |object| &object.name);
                [&item.by, name, &item.action, of, title, &item.message]
                    .iter()
                    .any(|part| holds(part, text))
            })
    }
}

/// Returns the category of an action of the audit log. `session.*` is a login, `*.read` a read, all
/// others are changes.
pub fn category(action: &str) -> Category {
    match action.split_once('.') {
        Some(("session", _) | ("reader", "connect")) => Category::Login,
        Some(("audit", "list" | "export" | "verify") | ("stream", "export" | "export-all")) => {
            Category::Read
        }
        Some(("policy", "list" | "get" | "devices") | ("activity", "list")) => Category::Read,
        Some((_, "read" | "read-unencrypted" | "log")) => Category::Read,
        _ => Category::Change,
    }
}

/// Returns the category of an entry: a refusal is of those who try to get in, whatever they tried.
pub fn of_entry(record: &AuditRecord) -> Category {
    if record.result.is_done() { category(&record.action) } else { Category::Login }
}

fn object(record: &AuditRecord) -> Option<ActivityObject> {
    let kind = match record.action.split('.').next().unwrap_or_default() {
        "session" => "access",
        "backup" | "restore" => return None,
        kind => kind,
    };
    if let ("policy", Some(name)) = (kind, record.subject.strip_prefix("secrets/")) {
        return Some(ActivityObject { kind: "secret".into(), name: name.into(), title: None });
    }
    let title = record.subject_name.as_deref().map(str::to_owned);
    (!record.subject.is_empty()).then(|| ActivityObject {
        kind: kind.into(),
        name: record.subject.clone(),
        title,
    })
}

/// Converts an entry of the audit log.
pub fn of_person(record: &AuditRecord) -> Activity {
    Activity {
        at: rfc3339(record.at),
        until: record.until.map(rfc3339),
        count: u32::try_from(record.count).unwrap_or(u32::MAX),
        category: of_entry(record),
        by: record.by.clone(),
        by_name: record.by_name.as_deref().map(str::to_owned),
        action: record.action.clone(),
        object: object(record),
        revision: record.revision,
        from: record.from.as_deref().map(str::to_owned),
        request: record.request.as_deref().map(str::to_owned),
        result: record.result,
        message: record.message.clone(),
    }
}

/// Converts an event of a device into an activity of that device.
pub fn of_device(record: &EventRecord) -> Activity {
    let event = event(record);
    let by = record.device.as_ref().map(ToString::to_string).unwrap_or_default();
    let object = match &event.workload {
        Some(name) => ("workload", name.clone()),
        None => ("device", by.clone()),
    };
    let action = match event.kind {
        EventKind::Connection => event.event,
        kind => kind.as_str().to_owned(),
    };
    Activity {
        at: event.at,
        until: event.until,
        count: event.count,
        category: Category::Device,
        action: format!("device.{action}"),
        object: Some(ActivityObject { kind: object.0.into(), name: object.1, title: None }),
        by,
        by_name: None,
        revision: None,
        from: None,
        request: None,
        result: AuditResult::Done,
        message: event.message,
    }
}

/// Converts a stored event into an event of a device's timeline.
pub fn event(record: &EventRecord) -> TimelineEvent {
    let mut event = TimelineEvent {
        number: record.number,
        at: rfc3339(record.at),
        until: record.until.map(rfc3339),
        count: record.count,
        kind: EventKind::More,
        event: "changed".into(),
        message: words(record),
        workload: None,
        problem: None,
        from: None,
        to: None,
        revision: None,
        restarts: None,
        reason: None,
        address: None,
        while_away: record.while_away,
    };
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let number = |number: u64| (number > 0).then(|| number.to_string());
    match &record.what {
        What::Connected { address } => {
            (event.kind, event.event) = (EventKind::Connection, "connected".into());
            event.address = address.map(|address| address.to_string());
        }
        What::Disconnected { reason } => {
            (event.kind, event.event) = (EventKind::Connection, "disconnected".into());
            event.reason = said(reason);
        }
        What::Phase { workload, from, to, revision, restarts, reason } => {
            event.kind = if *restarts > 0 { EventKind::Restart } else { EventKind::Phase };
            if to.is_none() {
                event.event = "gone".into();
            }
            event.workload = Some(workload.to_string());
            (event.from, event.to) =
                (from.map(|phase| phase.to_string()), to.map(|phase| phase.to_string()));
            event.revision = Some(*revision);
            event.restarts = (*restarts > 0).then_some(*restarts);
            event.reason = said(reason);
        }
        What::Revision { workload, from, to, .. } => {
            event.kind = EventKind::Revision;
            event.workload = Some(workload.to_string());
            (event.from, event.to, event.revision) = (number(*from), number(*to), Some(*to));
        }
        What::Generation { from, to } => {
            event.kind = EventKind::Generation;
            (event.from, event.to) = (number(*from), number(*to));
        }
        What::Problem { code, began, text } => {
            event.kind = EventKind::Problem;
            event.event = if *began { "began" } else { "ended" }.into();
            event.problem = Some(code.to_string());
            event.reason = said(text);
        }
        What::More => {}
    }
    event
}

/// Returns an event in words, without its times.
fn words(record: &EventRecord) -> String {
    let (count, several) = (record.count, record.count > 1);
    let why = |text: &str| if text.is_empty() { String::new() } else { format!(": {text}") };
    let often =
        |words: &str| if several { format!("{words} {count} times, last ") } else { String::new() };
    let mut text = match &record.what {
        What::Connected { address } => {
            let from = address.map(|address| format!(" from {address}")).unwrap_or_default();
            format!("{}connected{from}", often("connected or disconnected"))
        }
        What::Disconnected { reason } => {
            format!("{}disconnected{}", often("connected or disconnected"), why(reason))
        }
        What::Phase { workload, from, to, restarts, reason, .. } => {
            let now = to.map_or("removed", in_words);
            let how = match (*restarts, from) {
                (0, _) if several => format!("{count} changes, last {now}"),
                (0, Some(from)) if to.is_some() => format!("{} → {now}", in_words(*from)),
                (0, _) => now.to_owned(),
                (1, _) => format!("restarted, {now}"),
                (restarts, _) => format!("restarted {restarts} times, last {now}"),
            };
            // A reason that begins with the phase would say it twice.
            let said = reason.strip_prefix(now).and_then(|rest| rest.strip_prefix(": "));
            format!("{workload}: {how}{}", why(said.unwrap_or(reason)))
        }
        What::Revision { workload, from: 0, to, phase } => {
            format!("{workload}: revision {to}, {}", in_words(*phase))
        }
        What::Revision { workload, from, to, phase } => {
            format!("{workload}: revision {from} → {to}, {}", in_words(*phase))
        }
        What::Generation { from: 0, to } => format!("applied desired state {to}"),
        What::Generation { from, to } => format!("applied desired state {to}, {from} before"),
        What::Problem { code, began, text } => {
            let now = if *began { "began" } else { "ended" };
            format!("problem {code} {}{now}{}", often("began or ended"), why(text))
        }
        What::More => format!("{count} more events"),
    };
    if record.while_away {
        text.push_str(" (while the device was away)");
    }
    text
}

/// Header line of the CSV export.
pub const COLUMNS: &str = "time,until,count,category,who,who_name,action,object_kind,object,revision,text,from,result,request\r\n";

/// Formats an activity as a line of CSV (RFC 4180).
pub fn csv(item: &Activity) -> String {
    let object = item.object.as_ref();
    let revision = item.revision.map(|number| number.to_string()).unwrap_or_default();
    let fields = [
        item.at.as_str(),
        item.until.as_deref().unwrap_or_default(),
        &item.count.to_string(),
        item.category.as_str(),
        &item.by,
        item.by_name.as_deref().unwrap_or_default(),
        &item.action,
        object.map_or("", |object| &object.kind),
        object.map_or("", |object| &object.name),
        &revision,
        &item.message,
        item.from.as_deref().unwrap_or_default(),
        if item.category == Category::Device { "" } else { item.result.as_str() },
        item.request.as_deref().unwrap_or_default(),
    ];
    let mut line = String::new();
    for (at, field) in fields.iter().enumerate() {
        line.push_str(if at == 0 { "" } else { "," });
        line.push_str(&cell(field));
    }
    line + "\r\n"
}

/// Formats a cell of CSV. A text that a spreadsheet would take for a formula gets an apostrophe in
/// front, because devices and people choose these texts.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000;

    fn done(at: u64, action: &str, subject: &str, by: &str, name: Option<&str>) -> AuditRecord {
        AuditRecord {
            number: 0,
            at,
            by: by.into(),
            by_name: name.map(Into::into),
            action: action.into(),
            subject: subject.into(),
            message: "changed, revision 2, for 4 devices".into(),
            count: 1,
            ..AuditRecord::default()
        }
    }

    fn happened(at: u64, until: Option<u64>, what: What) -> EventRecord {
        let device = Some("gw-1".parse().unwrap());
        EventRecord { number: 0, at, until, count: 1, while_away: false, device, what }
    }

    fn filter(change: impl Fn(&mut Asked)) -> Filter {
        let mut asked = Asked::default();
        change(&mut asked);
        Filter::read(asked, NOW).unwrap()
    }

    #[test]
    #[allow(clippy::type_complexity, reason = "a table")]
    fn what_people_did_is_found_by_who_what_object_time_and_text() {
        let applied =
            done(NOW - 60, "workload.apply", "hello", "7f091e39bb79af7c", Some("Night duty"));
        let table: &[(&str, fn(&mut Asked, String), &[(&str, bool)])] = &[
            (
                "who",
                |asked, text| asked.who = Some(text),
                &[("night", true), ("7F09", true), ("day", false), ("", true)],
            ),
            (
                "action",
                |asked, text| asked.action = Some(text),
                &[
                    ("workload.apply", true),
                    ("workload", true),
                    ("workload.", true),
                    ("work", false),
                    ("device,workload.apply", true),
                    ("device", false),
                ],
            ),
            (
                "object",
                |asked, text| asked.object = Some(text),
                &[
                    ("workload/hello", true),
                    ("hello", true),
                    ("workload/", true),
                    ("device/hello", false),
                    ("hell", false),
                ],
            ),
            (
                "q",
                |asked, text| asked.q = Some(text),
                &[("Revision 2", true), ("HELLO", true), ("duty", true), ("revision 3", false)],
            ),
            (
                "category",
                |asked, text| asked.category = Some(text),
                &[("change", true), ("login, change", true), ("login,read,device", false)],
            ),
            (
                "since",
                |asked, text| asked.since = Some(text),
                &[("2m", true), ("60s", true), ("59s", false), ("now", false)],
            ),
            (
                "until",
                |asked, text| asked.until = Some(text),
                &[("59s", true), ("60s", false), ("2026-11-25T00:00:00Z", true)],
            ),
        ];
        for (name, set, cases) in table {
            for (text, expected) in *cases {
                let found = filter(|asked| set(asked, (*text).to_owned())).chooses(&applied);
                assert_eq!(found, *expected, "{name}={text}");
            }
        }
        for (name, asked) in [
            ("category", Asked { category: Some("all".into()), ..Asked::default() }),
            ("since", Asked { since: Some("yesterday".into()), ..Asked::default() }),
            ("q", Asked { q: Some("x".repeat(201)), ..Asked::default() }),
        ] {
            let error = Filter::read(asked, NOW).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn logins_and_readings_are_categories_of_their_own() {
        for (action, expected) in [
            ("session.begin", Category::Login),
            ("session.end", Category::Login),
            ("backup.read", Category::Read),
            ("logs.read", Category::Read),
            ("device.log", Category::Read),
            ("audit.list", Category::Read),
            ("stream.export-all", Category::Read),
            ("backup.read-unencrypted", Category::Read),
            ("policy.get", Category::Read),
            ("reader.connect", Category::Login),
            ("audit.begin", Category::Change),
            ("workload.apply", Category::Change),
            ("restore", Category::Change),
        ] {
            assert_eq!(category(action), expected, "{action}");
        }
    }

    #[test]
    fn a_phase_that_its_reason_begins_with_is_said_once() {
        use holdfast_protocol::message::Phase::{Backoff, Paused, Running};
        let reason = "paused: it starts when it is resumed";
        for (to, reason, expected) in [
            (Paused, reason, "w: running → paused: it starts when it is resumed"),
            (
                Backoff,
                reason,
                "w: running → waiting to restart: paused: it starts when it is resumed",
            ),
            (Backoff, "backoffs: 3", "w: running → waiting to restart: backoffs: 3"),
        ] {
            let (workload, from) = ("w".parse().unwrap(), Some(Running));
            let (to, reason) = (Some(to), reason.into());
            let what = What::Phase { workload, from, to, revision: 1, restarts: 0, reason };
            assert_eq!(words(&happened(NOW, None, what)), expected);
        }
    }

    #[test]
    fn a_devices_event_is_of_the_device_and_of_its_workload() {
        let failed = happened(
            NOW - 600,
            Some(NOW - 60),
            What::Phase {
                workload: "hello".parse().unwrap(),
                from: None,
                to: Some(holdfast_protocol::message::Phase::Backoff),
                revision: 2,
                restarts: 3,
                reason: "exit code 1".into(),
            },
        );
        for (object, expected) in [
            ("workload/hello", true),
            ("device/gw-1", true),
            ("gw-1", true),
            ("device/hello", false),
        ] {
            let found = filter(|asked| asked.object = Some(object.into())).device(&failed);
            assert_eq!(found.is_some(), expected, "{object}");
        }
        let within = |since: &str, until: &str| {
            filter(|asked| (asked.since, asked.until) = (Some(since.into()), Some(until.into())))
                .device(&failed)
                .is_some()
        };
        assert!(within("2m", "now") && within("15m", "9m"), "it went on until a minute ago");
        assert!(!within("30s", "now") && !within("20m", "11m"));
        let item = filter(|_| {}).device(&failed).unwrap();
        assert_eq!((item.by.as_str(), item.action.as_str()), ("gw-1", "device.restart"));
    }

    #[test]
    fn a_table_keeps_its_cells_and_holds_no_formula() {
        let mut record = done(NOW, "workload.apply", "hello", "admin", Some("=1+1, \"x\""));
        record.revision = Some(2);
        record.message = "a\nb".into();
        assert_eq!(
            csv(&of_person(&record)),
            format!(
                "{},,1,change,admin,\"'=1+1, \"\"x\"\"\",workload.apply,workload,hello,2,\"a\nb\",,done,\r\n",
                rfc3339(NOW)
            )
        );
        assert_eq!(COLUMNS.matches(',').count(), 13);
        for text in ["=x", "+1", "-1", "@x", "\tx"] {
            assert!(cell(text).trim_start_matches('"').starts_with('\''), "{text:?}");
        }
    }
}
