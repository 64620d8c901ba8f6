//! Decodes the fields of `Notification` documents.
//!
//! See decision 0119.

use std::collections::BTreeMap;

use holdfast_base::ids::check_label_key;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use url::Url;

use super::data::{OR_NOT, list, or};
use super::decode::{At, Fields, nearest};
use super::workload::devices;
use crate::attention::Attention;
use crate::notification::{Alertmanager, Email, HIDDEN, MailTls, Notification, Target, Webhook};
use crate::records::Policy;
use holdfast_api::Severity;
use holdfast_api::selector::Selector;

/// Second, minute and day in milliseconds.
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 86_400 * SECOND;

/// Defaults of times, in milliseconds.
const DELAY: u64 = 2 * MINUTE;
const GROUP_WAIT: u64 = 30 * SECOND;
const GROUP_INTERVAL: u64 = 5 * MINUTE;
const REPEAT: u64 = 4 * 60 * MINUTE;
/// Default of `repeat` for an Alertmanager, in milliseconds. Alertmanager drops an alert that is
/// not sent again; Prometheus also sends each minute.
const REPEAT_ALERTS: u64 = MINUTE;
/// Default of `groupWait` for an Alertmanager, in milliseconds. Alertmanager has a waiting time of
/// its own.
const WAIT_ALERTS: u64 = 5 * SECOND;

/// Most words of `groupBy`, kinds, headers, labels and receivers of mail.
const MAX_ITEMS: usize = 20;
/// Longest address, header or secret, in bytes.
const MAX_TEXT: usize = 2_048;
/// Longest text of certificates (PEM), in bytes.
const MAX_PEM: usize = 64 * 1024;

const SPEC: &[&str] = &[
    "devices",
    "severity",
    "kinds",
    "groupBy",
    "delay",
    "groupWait",
    "groupInterval",
    "repeat",
    "sendResolved",
    "link",
    "to",
];
const TO: &[&str] = &["webhook", "email", "alertmanager"];
const WEBHOOK: &[&str] = &["url", "secretUrl", "secret", "headers", "ca"];
const EMAIL: &[&str] = &["smtp", "tls", "username", "password", "from", "to", "ca"];
const ALERTMANAGER: &[&str] = &["url", "labels", "headers", "ca"];

/// Words of `groupBy` that are not labels of devices.
const GROUPS: [&str; 5] = ["kind", "code", "severity", "device", "workload"];

/// Decodes the spec of a `Notification`. `None` if faults were noted.
pub(crate) fn notification(at: &At<'_>) -> Option<(Selector, Policy)> {
    let spec = at.fields(SPEC)?;
    let devices = spec
        .required("devices", "of which devices, such as all or { matchLabels: { site: kiel } }")
        .and_then(|at| devices(&at));
    let severity = or(spec.get("severity"), Severity::Warning, severity);
    let kinds = or(spec.get("kinds"), Vec::new(), |at| list(at, MAX_ITEMS, OR_NOT, kind));
    let group_by = or(spec.get("groupBy"), vec!["site".to_owned(), "kind".to_owned()], |at| {
        list(at, MAX_ITEMS, OR_NOT, group)
    });
    let is_alertmanager = at.value().pointer("/to/alertmanager").is_some();
    let (wait, again) =
        if is_alertmanager { (WAIT_ALERTS, REPEAT_ALERTS) } else { (GROUP_WAIT, REPEAT) };
    let time = |key: &str, usual: u64, least: u64, most: u64| {
        or(spec.get(key), usual, |at| at.duration(least, most)).map(|millis| millis / SECOND)
    };
    let delay = time("delay", DELAY, 0, DAY);
    let group_wait = time("groupWait", wait, 0, 60 * MINUTE);
    let group_interval = time("groupInterval", GROUP_INTERVAL, SECOND, DAY);
    let repeat = time("repeat", again, 10 * SECOND, 30 * DAY);
    let send_resolved = or(spec.get("sendResolved"), true, |at| at.flag());
    let link = or(spec.get("link"), None, |at| url(at).map(Some));
    let to =
        spec.required("to", "where to: webhook, email or alertmanager").and_then(|at| target(&at));
    let mut group_by = group_by?;
    if is_alertmanager {
        // The identity of an alert in Alertmanager must not change while the alert fires.
        for word in ["kind", "severity"] {
            if !group_by.iter().any(|known| known == word) {
                group_by.push(word.to_owned());
            }
        }
    }
    let notification = Notification {
        severity: severity?,
        kinds: kinds?,
        group_by,
        delay: delay?,
        group_wait: group_wait?,
        group_interval: group_interval?,
        repeat: repeat?,
        send_resolved: send_resolved?,
        link: link?,
        to: to?,
    };
    Some((devices?, Policy::Notification { notification: Box::new(notification) }))
}

fn severity(at: &At<'_>) -> Option<Severity> {
    at.parsed(|text| {
        Severity::parse(text)
            .ok_or("unknown; there are critical, warning and info, and each holds those before it")
    })
}

fn kind(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let kinds = Attention::words();
        if kinds.contains(&text) {
            return Ok(text.to_owned());
        }
        let meant = nearest(text, &kinds).map(|kind| format!("; did you mean {kind:?}?"));
        Err(format!(
            "unknown kind of alarm; there are {}{}",
            kinds.join(", "),
            meant.unwrap_or_default()
        ))
    })
}

fn group(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        if GROUPS.contains(&text) || check_label_key(text).is_ok() {
            return Ok(text.to_owned());
        }
        Err(format!("neither one of {} nor the key of a label, such as site", GROUPS.join(", ")))
    })
}

fn target(at: &At<'_>) -> Option<Target> {
    let such = "{ webhook: { url: https://… } }, { email: { smtp: smtp://…, from: …, to: [...] } } or { alertmanager: { url: http://… } }";
    at.fields_like(TO, such)?.one_of(TO, "a receiver", |which, at| match which {
        "webhook" => webhook(at).map(Target::Webhook),
        "email" => email(at).map(Target::Email),
        _ => alertmanager(at).map(Target::Alertmanager),
    })
}

fn webhook(at: &At<'_>) -> Option<Webhook> {
    let fields = at.fields_like(WEBHOOK, "{ url: https://example.com/hook, secret: … }")?;
    let address = fields.one_of(&["url", "secretUrl"], "an address", |which, at| {
        let is_secret = which == "secretUrl";
        if is_secret && at.value() == HIDDEN {
            return Some((HIDDEN.to_owned(), true));
        }
        url(at).map(|url| (url, is_secret))
    });
    let secret = or(fields.get("secret"), None, |at| text(at, 8).map(Some));
    let headers = or(fields.get("headers"), BTreeMap::new(), headers);
    let ca = or(fields.get("ca"), None, |at| pem(at).map(Some));
    let (url, url_is_secret) = address?;
    Some(Webhook { url, url_is_secret, secret: secret?, headers: headers?, ca: ca? })
}

fn alertmanager(at: &At<'_>) -> Option<Alertmanager> {
    let fields = at.fields_like(ALERTMANAGER, "{ url: http://alertmanager:9093 }")?;
    let address =
        fields.required("url", "such as http://alertmanager:9093").and_then(|at| url(&at));
    let labels = or(fields.get("labels"), BTreeMap::new(), labels);
    let headers = or(fields.get("headers"), BTreeMap::new(), headers);
    let ca = or(fields.get("ca"), None, |at| pem(at).map(Some));
    let url = address?.trim_end_matches('/').trim_end_matches("/api/v2/alerts").to_owned();
    Some(Alertmanager { url, labels: labels?, headers: headers?, ca: ca? })
}

fn email(at: &At<'_>) -> Option<Email> {
    let such =
        "{ smtp: smtp://mail.example.com:587, from: holdfast@example.com, to: [duty@example.com] }";
    let fields = at.fields_like(EMAIL, such)?;
    let server = fields
        .required("smtp", "the mail server, such as smtp://mail.example.com:587")
        .and_then(|at| server(&at));
    let tls = or(fields.get("tls"), None, |at| tls(at).map(Some));
    let username = or(fields.get("username"), None, |at| text(at, 1).map(Some));
    let password = or(fields.get("password"), None, |at| text(at, 1).map(Some));
    let from = fields
        .required("from", "the sender, such as holdfast@example.com")
        .and_then(|at| mailbox(&at));
    let to = fields
        .required("to", "who gets it, such as [duty@example.com]")
        .and_then(|at| list(&at, MAX_ITEMS, "", mailbox));
    let ca = or(fields.get("ca"), None, |at| pem(at).map(Some));
    let (server, tls) = (server?, tls?);
    let tls = tls.unwrap_or(if server.0 { MailTls::Tls } else { MailTls::Starttls });
    sound(&fields, tls)?;
    let usual = match tls {
        MailTls::Tls => 465,
        MailTls::Starttls => 587,
        MailTls::None => 25,
    };
    Some(Email {
        host: server.1,
        port: server.2.unwrap_or(usual),
        tls,
        username: username?,
        password: password?,
        from: from?,
        to: to?,
        ca: ca?,
    })
}

/// Checks that user name and password come together, and only with encryption.
fn sound(fields: &Fields<'_>, tls: MailTls) -> Option<()> {
    match (fields.get("username"), fields.get("password")) {
        (Some(at), None) => {
            at.fault("a user name without a password: give both, or none");
            None
        }
        (None, Some(at)) => {
            at.fault("a password without username: give both, or none");
            None
        }
        (Some(_), Some(at)) if tls == MailTls::None => {
            at.fault("with tls: none the password would cross the network in the clear; use starttls or tls");
            None
        }
        _ => Some(()),
    }
}

fn tls(at: &At<'_>) -> Option<MailTls> {
    at.parsed(|text| match text {
        "starttls" => Ok(MailTls::Starttls),
        "tls" => Ok(MailTls::Tls),
        "none" => Ok(MailTls::None),
        _ => Err("unknown; there are starttls, tls and none"),
    })
}

/// Decodes `smtp://HOST:PORT` into: true for `smtps`, host, port.
fn server(at: &At<'_>) -> Option<(bool, String, Option<u16>)> {
    at.parsed(|text| {
        const WRONG: &str = "not the address of a mail server, such as smtp://mail.example.com:587 or smtps://mail.example.com; user and password have fields of their own";
        let url = Url::parse(text).map_err(|_| WRONG)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        let good = matches!(url.scheme(), "smtp" | "smtps") && bare && url.username().is_empty();
        let host = url.host_str().filter(|host| good && !host.is_empty()).ok_or(WRONG)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok::<_, &str>((url.scheme() == "smtps", host, url.port()))
    })
}

fn mailbox(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let good = text.parse::<lettre::message::Mailbox>().is_ok() && text.len() <= MAX_TEXT;
        good.then(|| text.to_owned()).ok_or(
            "not an address of mail, such as duty@example.com or Night duty <duty@example.com>",
        )
    })
}

fn url(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let wrong = "not an address over HTTP, such as https://example.com/hook";
        let url = Url::parse(text).map_err(|_| wrong)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user and password in an address would be shown: give them as a header, Authorization");
        }
        if text.len() > MAX_TEXT {
            return Err("too long: at most 2048 bytes");
        }
        Ok(text.to_owned())
    })
}

/// Decodes a text of one line with at least `least` characters.
fn text(at: &At<'_>, least: usize) -> Option<String> {
    let text = at.text()?;
    // The text may be a secret, so the fault must not quote it.
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        at.fault(format!("at most {MAX_TEXT} bytes, on one line"));
        return None;
    }
    if text.chars().count() < least {
        at.fault(format!("too short: at least {least} characters"));
        return None;
    }
    Some(text.to_owned())
}

/// Headers that the control plane sets itself, and headers that concern the connection.
const OWN_HEADERS: [&str; 5] =
    ["content-type", "content-length", "host", "connection", "transfer-encoding"];

fn headers(at: &At<'_>) -> Option<BTreeMap<String, String>> {
    let entries = at.entries();
    if entries.len() > MAX_ITEMS {
        at.fault(format!("{} headers, at most {MAX_ITEMS}", entries.len()));
        return None;
    }
    let count = entries.len();
    let mut headers = BTreeMap::new();
    for (name, at) in entries {
        let lower = name.to_ascii_lowercase();
        if name.parse::<http::header::HeaderName>().is_err() {
            at.fault("not the name of a header");
        } else if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("x-holdfast-") {
            at.fault("this header is written by the control plane itself");
        } else if let Some(value) = text(&at, 0) {
            if value.parse::<http::header::HeaderValue>().is_ok() {
                headers.insert(name.to_owned(), value);
            } else {
                at.fault("holds characters that no header can have");
            }
        }
    }
    (headers.len() == count).then_some(headers)
}

/// Decodes labels with names as Prometheus allows them.
fn labels(at: &At<'_>) -> Option<BTreeMap<String, String>> {
    let entries = at.entries();
    if entries.len() > MAX_ITEMS {
        at.fault(format!("{} labels, at most {MAX_ITEMS}", entries.len()));
        return None;
    }
    let count = entries.len();
    let mut labels = BTreeMap::new();
    for (name, at) in entries {
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        let good = name.chars().next().is_some_and(first)
            && name.chars().all(|c| first(c) || c.is_ascii_digit());
        if !good {
            at.fault("not the name of a label in Alertmanager: letters, digits and _, without a digit at the beginning");
        } else if let Some(value) = text(&at, 1) {
            labels.insert(name.to_owned(), value);
        }
    }
    (labels.len() == count).then_some(labels)
}

fn pem(at: &At<'_>) -> Option<String> {
    at.parsed(|text| {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let der = certificate.map_err(|_| "a certificate in it cannot be read")?;
            webpki::anchor_from_trusted_cert(&der)
                .map_err(|_| "a certificate in it cannot be read")?;
            count += 1;
        }
        match count {
            0 => Err("no certificate in PEM: it begins with -----BEGIN CERTIFICATE-----"),
            _ if text.len() > MAX_PEM => Err("too long: at most 64 KiB"),
            _ => Ok(text.to_owned()),
        }
    })
}
