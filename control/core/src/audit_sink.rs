//! Forwarding of the audit log to other systems: content of an `AuditSink` document, the form of
//! what is sent, the position that is stored, and when a failed delivery is tried again.
//!
//! See decision 0169.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use holdfast_api::time::rfc3339;
use holdfast_api::{AuditRecord, Delivery, Severity};
use serde::{Deserialize, Serialize};

use super::notification::{HIDDEN, Hidden, Notification, Target, Webhook};

/// Most `AuditSink` documents of a tenant: each has a connection of its own.
pub const MAX_SINKS: usize = 10;

/// Most entries of one delivery.
pub const BATCH: usize = 100;

/// Longest time between two attempts, in seconds.
const LONGEST_WAIT: u64 = 300;

/// Receiver of the entries of a tenant's audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkTarget {
    /// HTTP receiver of `POST` requests with a JSON body.
    Webhook(Webhook),
    /// Syslog server, by RFC 5424 over TLS (RFC 5425).
    Syslog(Syslog),
}

/// Syslog server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Syslog {
    /// Name or address of the server, which its certificate must name.
    pub host: String,
    /// TCP port of the server.
    pub port: u16,
    /// Certificates of the authorities that it is trusted by, in PEM.
    pub ca: String,
}

/// Port of syslog over TLS (RFC 5425).
pub const SYSLOG_PORT: u16 = 6514;

/// Content of an `AuditSink` document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditSink {
    /// True if a new sink gets the whole log; otherwise what comes after it was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_beginning: bool,
    /// Receiver of the entries. A secret of it that is in `hidden` is a placeholder here.
    pub to: SinkTarget,
    /// Secrets of the receiver by their paths below `spec.to`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hidden: BTreeMap<String, Hidden>,
}

impl AuditSink {
    /// Returns a notification to the same webhook: its secrets are kept, sealed and opened alike.
    /// None: the receiver has no secrets.
    pub fn receiver(&self) -> Option<Notification> {
        let SinkTarget::Webhook(hook) = &self.to else { return None };
        Some(Notification {
            severity: Severity::Info,
            kinds: Vec::new(),
            group_by: Vec::new(),
            delay: 0,
            group_wait: 0,
            group_interval: 0,
            repeat: 0,
            send_resolved: false,
            link: None,
            to: Target::Webhook(hook.clone()),
            hidden: self.hidden.clone(),
        })
    }

    /// Takes back what [`AuditSink::receiver`] gave.
    pub fn set_receiver(&mut self, receiver: Notification) {
        if let Target::Webhook(hook) = receiver.to {
            (self.to, self.hidden) = (SinkTarget::Webhook(hook), receiver.hidden);
        }
    }
}

impl SinkTarget {
    /// Returns the kind of receiver as a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
        }
    }

    /// Returns the address of the receiver, without secrets.
    pub fn place(&self) -> String {
        match self {
            Self::Webhook(hook) if hook.url_is_secret => HIDDEN.to_owned(),
            Self::Webhook(hook) => hook.url.clone(),
            Self::Syslog(server) => format!("{}:{}", server.host, server.port),
        }
    }
}

/// Position of a sink in the log, and how its last deliveries went. It is stored with each success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sunk {
    /// Number of the next entry to send.
    pub next: u64,
    /// Number of entries that were sent.
    #[serde(default)]
    pub sent: u64,
    /// Number of entries that retention cut before they could be sent. The receiver was told.
    #[serde(default)]
    pub missed: u64,
    /// Time of the last success, in seconds since 1970; 0: never.
    #[serde(default)]
    pub last_success: u64,
    /// Time of the last failure, in seconds since 1970; 0: never. Not stored.
    #[serde(skip)]
    pub last_failure: u64,
    /// Reason of the last failure, in words. Not stored.
    #[serde(skip)]
    pub last_error: String,
    /// Time since which every attempt failed, in seconds since 1970; 0: the last one did not. Not
    /// stored.
    #[serde(skip)]
    pub failing_since: u64,
    /// Number of failures since the last success. Not stored.
    #[serde(skip)]
    pub failures: u32,
}

impl Sunk {
    /// Begins a sink; the log has the entries `first` to before `next`.
    pub fn begin(sink: &AuditSink, first: u64, next: u64) -> Self {
        Self { next: if sink.from_beginning { first } else { next }, ..Self::default() }
    }

    /// True if the next attempt is due at this time.
    pub fn is_due(&self, now: u64) -> bool {
        let wait = 1_u64.checked_shl(self.failures.min(16)).unwrap_or(u64::MAX).min(LONGEST_WAIT);
        self.failures == 0 || now.abs_diff(self.last_failure) >= wait
    }

    /// Notes that everything before `next` was sent.
    pub fn took(&mut self, (sent, missed): (u64, u64), next: u64, now: u64) {
        self.next = next;
        self.sent = self.sent.saturating_add(sent);
        self.missed = self.missed.saturating_add(missed);
        (self.last_success, self.failing_since, self.failures) = (now, 0, 0);
    }

    /// Notes that an attempt failed.
    pub fn failed(&mut self, why: String, now: u64) {
        if self.failing_since == 0 {
            self.failing_since = now;
        }
        (self.last_failure, self.last_error) = (now, why);
        self.failures = self.failures.saturating_add(1);
    }

    /// Returns the state of the deliveries; `end` is the number that the next entry of the log gets.
    pub fn delivery(&self, to: &SinkTarget, end: u64) -> Delivery {
        let at = |seconds: u64| (seconds > 0).then(|| rfc3339(seconds));
        Delivery {
            receiver: to.word().into(),
            place: to.place(),
            last_success: at(self.last_success),
            last_failure: at(self.last_failure),
            last_error: Some(self.last_error.clone()).filter(|why| !why.is_empty()),
            failing_since: at(self.failing_since),
            queued: end.saturating_sub(self.next),
            sent: self.sent,
            dropped: self.missed,
            open: 0,
        }
    }
}

/// One delivery: entries, and those before them that are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkBatch {
    /// Tenant whose audit log it is.
    pub tenant: String,
    /// First and last number of entries that retention cut before they could be sent. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<(u64, u64)>,
    /// Entries, the oldest first.
    pub entries: Vec<AuditRecord>,
    /// Number of the entry after the last one.
    pub next: u64,
}

impl SinkBatch {
    /// Makes the delivery of a sink whose next entry is `from`: these entries, of a log that begins
    /// with `first`. None: there is nothing to send.
    pub fn of(tenant: &str, from: u64, first: u64, entries: Vec<AuditRecord>) -> Option<Self> {
        let missing = (from < first).then(|| (from, first - 1));
        let after = entries.last().map(|entry| entry.number.saturating_add(1));
        let next = after.or(missing.map(|_| first))?;
        Some(Self { tenant: tenant.into(), missing, entries, next })
    }

    /// Number of entries that are sent, and of those that are missing.
    pub fn counts(&self) -> (u64, u64) {
        let missing =
            self.missing.map_or(0, |(from, to)| to.saturating_sub(from).saturating_add(1));
        (self.entries.len() as u64, missing)
    }

    /// Returns the delivery as syslog messages (RFC 5424), each with the count of its octets before
    /// it (RFC 5425, section 4.3).
    pub fn syslog(&self, now: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((from, to)) = self.missing {
            let text = format!("entries {from} to {to} were cut before they could be sent");
            let entry = AuditRecord {
                number: to,
                at: now,
                count: 1,
                by: "holdfast".into(),
                action: "audit.missing".into(),
                subject: "audit log".into(),
                message: text,
                ..AuditRecord::default()
            };
            frame(&mut out, &syslog(&entry, &self.tenant));
        }
        for entry in &self.entries {
            frame(&mut out, &syslog(entry, &self.tenant));
        }
        out
    }
}

fn frame(out: &mut Vec<u8>, message: &str) {
    out.extend_from_slice(message.len().to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(message.as_bytes());
}

/// Facility `log audit` of RFC 5424.
const FACILITY: u32 = 13;

/// Id of the structured data. The number is the one that RFC 5612 keeps for examples: this project
/// has none of its own.
const DATA_ID: &str = "audit@32473";

/// Returns an entry as a syslog message (RFC 5424).
pub fn syslog(entry: &AuditRecord, tenant: &str) -> String {
    // Notice, and warning for a refusal.
    let severity = if entry.result.is_done() { 5 } else { 4 };
    let id: String = entry.action.chars().filter(char::is_ascii_graphic).take(32).collect();
    let id = if id.is_empty() { "-".to_owned() } else { id };
    let mut data = format!("[{DATA_ID}");
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a text does not fail.
            let _written = write!(data, " {name}=\"{}\"", escaped(value));
        }
    };
    put("tenant", tenant);
    put("number", &entry.number.to_string());
    put("by", &entry.by);
    put("name", entry.by_name.as_deref().unwrap_or_default());
    put("from", entry.from.as_deref().unwrap_or_default());
    put("action", &entry.action);
    put("object", &entry.subject);
    put("result", entry.result.as_str());
    put("request", entry.request.as_deref().unwrap_or_default());
    put("count", &if entry.count > 1 { entry.count.to_string() } else { String::new() });
    put("before", entry.before.as_deref().unwrap_or_default());
    put("after", entry.after.as_deref().unwrap_or_default());
    put("hash", entry.hash.as_deref().unwrap_or_default());
    data.push(']');
    let priority = FACILITY * 8 + severity;
    let text: String =
        entry.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = if text.is_empty() { entry.action.clone() } else { text };
    // The mark before the text says that it is UTF-8 (RFC 5424, section 6.4).
    format!("<{priority}>1 {} - holdfast - {id} {data} \u{feff}{text}", rfc3339(entry.at))
}

/// Returns a value of structured data: quotes, backslashes and brackets are escaped (RFC 5424,
/// section 6.3.3), control characters become spaces.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::AuditResult;

    fn entry(number: u64) -> AuditRecord {
        AuditRecord {
            number,
            at: 1_795_467_661,
            count: 1,
            by: "admin".into(),
            action: "workload.apply".into(),
            subject: "a \"b\" [c] \\d".into(),
            message: "changed,\nrevision 2".into(),
            ..AuditRecord::default()
        }
    }

    #[test]
    fn an_entry_is_a_message_of_rfc_5424() {
        assert_eq!(
            syslog(&entry(7), "acme"),
            "<109>1 2026-11-23T21:01:01Z - holdfast - workload.apply [audit@32473 tenant=\"acme\" number=\"7\" by=\"admin\" action=\"workload.apply\" object=\"a \\\"b\\\" [c\\] \\\\d\" result=\"done\"] \u{feff}changed, revision 2"
        );
        let refused = AuditRecord { result: AuditResult::Refused, ..entry(7) };
        assert!(syslog(&refused, "acme").starts_with("<108>1 "));
    }

    #[test]
    fn messages_are_framed_by_their_octets() {
        let batch = SinkBatch::of("acme", 3, 5, vec![entry(5), entry(6)]).unwrap();
        assert_eq!((batch.missing, batch.next, batch.counts()), (Some((3, 4)), 7, (2, 2)));
        let bytes = batch.syslog(9);
        let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let space = rest.iter().position(|byte| *byte == b' ').unwrap();
            let length: usize = std::str::from_utf8(&rest[..space]).unwrap().parse().unwrap();
            let message = &rest[space + 1..space + 1 + length];
            found.push(String::from_utf8(message.to_vec()).unwrap());
            rest = &rest[space + 1 + length..];
        }
        assert_eq!(found.len(), 3);
        assert!(found[0].contains("entries 3 to 4 were cut"), "nothing is skipped in silence");
    }

    #[test]
    fn a_sink_begins_where_it_says_and_is_tried_less_often_while_it_fails() {
        let hook = Webhook {
            url: "https://a/x".into(),
            url_is_secret: false,
            secret: None,
            headers: Default::default(),
            ca: None,
        };
        let mut sink = AuditSink {
            from_beginning: false,
            to: SinkTarget::Webhook(hook),
            hidden: BTreeMap::new(),
        };
        assert_eq!(Sunk::begin(&sink, 5, 90).next, 90);
        sink.from_beginning = true;
        let mut sunk = Sunk::begin(&sink, 5, 90);
        assert_eq!(sunk.next, 5);
        for (failures, wait) in [(1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (40, 300)] {
            sunk.failures = failures - 1;
            sunk.failed("no".into(), 1_000);
            assert!(!sunk.is_due(1_000 + wait - 1) && sunk.is_due(1_000 + wait), "{failures}");
        }
        assert_eq!(sunk.failing_since, 1_000);
        sunk.took((10, 0), 15, 2_000);
        assert!(sunk.is_due(2_000) && sunk.failing_since == 0);
        assert_eq!(sunk.delivery(&sink.to, 90).queued, 75);
        assert_eq!(SinkBatch::of("acme", 5, 0, Vec::new()), None);
    }
}
