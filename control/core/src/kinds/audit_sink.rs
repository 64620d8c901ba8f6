//! `AuditSink`: where the entries of the tenant's audit log are forwarded to.
//!
//! See decision 0169.

use std::collections::BTreeMap;

use holdfast_protocol::enrol::Fault;
use serde_json::Value;

use super::{Looked, PolicyRules, Preview};
use crate::admission::{At, notification, references};
use crate::audit_sink::{AuditSink as Content, SYSLOG_PORT, SinkTarget, Sunk, Syslog};
use crate::notification::{HIDDEN, shown};
use crate::records::{Policy, PolicyRecord};
use holdfast_api::selector::Selector;
use holdfast_api::{Explanation, PolicyStatus};

/// Implementation of the kind `AuditSink`.
#[derive(Debug)]
pub(super) struct AuditSink;

impl PolicyRules for AuditSink {
    fn spec(&self, at: &At<'_>) -> Option<(Selector, Policy)> {
        at.object("Receiver of the audit log.", "", |spec| {
            let from_beginning = spec.or(
                "fromBeginning",
                "True for a new sink to get the whole log, false for what comes from now on. Default: `false`.",
                false,
                |at| at.flag(),
            );
            let to = spec.required(
                "to",
                "Receiver of the entries: `webhook` or `syslog`.",
                "where to: webhook or syslog",
                target,
            );
            let hidden = BTreeMap::new();
            let mut sink = Content { from_beginning: from_beginning?, to: to?, hidden };
            if let (Some(to), Some(mut receiver)) = (at.value().get("to"), sink.receiver()) {
                receiver.refer(to, references::place);
                sink.set_receiver(receiver);
            }
            Some((Selector::default(), Policy::AuditSink { sink: Box::new(sink) }))
        })
    }

    fn effect(&self, _devices: u64, _preview: &Preview) -> String {
        "forwards the audit log".to_owned()
    }

    fn keep_secrets(
        &self,
        written: &mut Value,
        policy: &mut Policy,
        known: Option<&Policy>,
    ) -> Result<(), Vec<Fault>> {
        let Policy::AuditSink { sink } = policy else { return Ok(()) };
        let Some(mut made) = sink.receiver() else { return Ok(()) };
        let stored = known.and_then(|known| match known {
            Policy::AuditSink { sink } => sink.receiver(),
            _ => None,
        });
        made.keep_secrets(written, stored.as_ref())?;
        sink.set_receiver(made);
        Ok(())
    }

    fn shown(&self, record: &PolicyRecord) -> Value {
        shown(&record.written)
    }

    fn status(
        &self,
        looked: &Looked<'_>,
        record: &PolicyRecord,
        _followed: PolicyStatus,
    ) -> PolicyStatus {
        let Policy::AuditSink { sink } = &record.policy else { return PolicyStatus::default() };
        let end = looked.model.meta.next_audit;
        let fresh = || Sunk { next: end, ..Sunk::default() };
        let sunk = looked.model.sunk.get(&record.name).cloned().unwrap_or_else(fresh);
        let delivery = sunk.delivery(&sink.to, end);
        let problems = u64::from(delivery.failing_since.is_some());
        PolicyStatus { problems, delivery: Some(delivery), ..PolicyStatus::default() }
    }

    fn explain(&self, looked: &Looked<'_>, record: &PolicyRecord) -> Explanation {
        let status = self.status(looked, record, PolicyStatus::default());
        let delivery = status.delivery.unwrap_or_default();
        let mut reasons = Vec::new();
        if let (Some(since), Some(why)) = (&delivery.failing_since, &delivery.last_error) {
            reasons.push(format!(
                "every attempt since {since} failed: {why}; {} entries wait, and none is skipped",
                delivery.queued
            ));
        }
        if delivery.dropped > 0 {
            reasons.push(format!(
                "{} entries were cut by retention before they could be sent; the receiver was told their numbers",
                delivery.dropped
            ));
        }
        let reached = match (&delivery.failing_since, &delivery.last_success) {
            (Some(_), _) => "its receiver is not reached".to_owned(),
            (None, Some(at)) => format!("its receiver was last reached at {at}"),
            (None, None) => "nothing was sent yet".to_owned(),
        };
        Explanation {
            kind: "auditsink".into(),
            name: record.name.to_string(),
            settled: delivery.failing_since.is_none(),
            summary: format!("audit log to {}: {reached}", delivery.place),
            reasons,
            hints: Vec::new(),
        }
    }
}

fn target(at: &At<'_>) -> Option<SinkTarget> {
    let about = "Receiver of entries: exactly one of `webhook` and `syslog`.";
    let such =
        "{ webhook: { url: https://… } } or { syslog: { address: logs.example.com:6514, ca: … } }";
    let forms = [
        ("webhook", "HTTP address that gets a `POST` with entries as JSON."),
        ("syslog", "Syslog server that gets messages of RFC 5424 over TLS."),
    ];
    at.object(about, such, |fields| {
        fields.one_of("a receiver", &forms, |which, at| match which {
            "webhook" => notification::webhook(at).map(SinkTarget::Webhook),
            _ => syslog(at).map(SinkTarget::Syslog),
        })
    })
}

fn syslog(at: &At<'_>) -> Option<Syslog> {
    let about = "Syslog server that gets messages of RFC 5424 over TLS, each with its length before it (RFC 5425).";
    at.object(about, "{ address: logs.example.com:6514, ca: … }", |fields| {
        let address = fields.required(
            "address",
            "Name or address of the server, which its certificate must name, and its port; without one 6514.",
            "such as logs.example.com:6514",
            |at| at.parsed(server),
        );
        let ca = fields.required(
            "ca",
            "Certificates of the authorities that the server is trusted by, in PEM.",
            "the authority's certificate in PEM",
            notification::pem,
        );
        let (host, port) = address?;
        Some(Syslog { host, port, ca: ca? })
    })
}

/// Parses `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn server(text: &str) -> Result<(String, u16), &'static str> {
    const WRONG: &str = "not the address of a server, such as logs.example.com:6514";
    if text == HIDDEN {
        return Err(WRONG);
    }
    let url = url::Url::parse(&format!("tls://{text}")).map_err(|_| WRONG)?;
    let bare = url.path().is_empty() && url.query().is_none() && url.username().is_empty();
    let host = url.host_str().filter(|host| bare && !host.is_empty()).ok_or(WRONG)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, url.port().unwrap_or(SYSLOG_PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_server_may_leave_out_its_port() {
        for (text, host, port) in [
            ("logs.example.com", "logs.example.com", 6514),
            ("logs.example.com:7000", "logs.example.com", 7000),
            ("192.0.2.7:6514", "192.0.2.7", 6514),
            ("[2001:db8::1]:99", "2001:db8::1", 99),
        ] {
            assert_eq!(server(text), Ok((host.to_owned(), port)), "{text}");
        }
        for text in ["", "a b", "host/path", "user@host", "host:99999", "host?x"] {
            assert!(server(text).is_err(), "{text}");
        }
    }
}
