//! Form of `Notification` documents.
//!
//! See decisions 0119 and 0147.

use std::collections::BTreeMap;

use holdfast_base::ids::check_label_key;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use url::Url;

use super::at::{At, Words};
use super::data::OR_NOT;
use super::document::devices;
use super::faults::nearest;
use super::fields::Fields;
use super::references;
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

/// Words of `groupBy` that are not labels of devices.
const GROUPS: [&str; 5] = ["kind", "code", "severity", "device", "workload"];

/// Decodes the spec of a `Notification`. `None` if faults were noted.
pub(crate) fn notification(at: &At<'_>) -> Option<(Selector, Policy)> {
    let is_alertmanager = at.value().pointer("/to/alertmanager").is_some();
    at.object("Choice of alarms, times of the messages, and their receiver.", "", |spec| {
        let devices = spec.required(
            "devices",
            "Devices whose alarms are sent: `all`, or a selector of labels. An empty selector is refused.",
            "of which devices, such as all or { matchLabels: { site: kiel } }",
            devices,
        );
        let severity = spec.or(
            "severity",
            "Least severity of the alarms: `critical`, `warning` or `info`. `warning` includes critical alarms, `info` includes all. Default: `warning`.",
            Severity::Warning,
            |at| at.word(&SEVERITIES),
        );
        let kinds = spec.or(
            "kinds",
            "Kinds of the alarms: `lost`, `never-seen`, `certificate`, `failing`, `problem`, `waiting`. Default: all kinds.",
            Vec::new(),
            |at| at.list(MAX_ITEMS, OR_NOT, kind),
        );
        let group_by = spec.or(
            "groupBy",
            "Properties that the alarms of one message have in common: `kind`, `code`, `severity`, `device`, `workload`, or the key of a label. Default: `[site, kind]`.",
            vec!["site".to_owned(), "kind".to_owned()],
            |at| at.list(MAX_ITEMS, OR_NOT, group),
        );
        let times = times(spec, is_alertmanager);
        let send_resolved = spec.or(
            "sendResolved",
            "True to send a message when the last alarm of a group has ended. Default: `true`.",
            true,
            |at| at.flag(),
        );
        let link = spec.maybe(
            "link",
            "Address of the dashboard for a link in each message, such as `https://holdfast.example.com`.",
            url,
        );
        let to = spec.required(
            "to",
            "Receiver of the messages: `webhook`, `email` or `alertmanager`.",
            "where to: webhook, email or alertmanager",
            target,
        );
        let [delay, group_wait, group_interval, repeat] = times?;
        let mut notification = Notification {
            severity: severity?,
            kinds: kinds?,
            group_by: groups(group_by?, is_alertmanager),
            delay,
            group_wait,
            group_interval,
            repeat,
            send_resolved: send_resolved?,
            link: link?,
            to: to?,
            hidden: BTreeMap::new(),
        };
        if let Some(to) = at.value().get("to") {
            notification.refer(to, references::place);
        }
        Some((devices?, Policy::Notification { notification: Box::new(notification) }))
    })
}

/// Decodes `delay`, `groupWait`, `groupInterval` and `repeat`, in seconds.
fn times(spec: &Fields<'_>, is_alertmanager: bool) -> Option<[u64; 4]> {
    let (wait, again) =
        if is_alertmanager { (WAIT_ALERTS, REPEAT_ALERTS) } else { (GROUP_WAIT, REPEAT) };
    let delay = spec.or(
        "delay",
        "Time that an alarm must last before it is sent, and that it must be gone before it is resolved. At most `1d`. Default: `2m`.",
        DELAY,
        |at| at.duration(0, DAY),
    );
    let group_wait = spec.or(
        "groupWait",
        "Time that the first message of a group waits for further alarms. At most `1h`. Default: `30s`, for an Alertmanager `5s`.",
        wait,
        |at| at.duration(0, 60 * MINUTE),
    );
    let group_interval = spec.or(
        "groupInterval",
        "Time from a message of a group to the next one about other alarms of the group, `1s` to `1d`. Default: `5m`.",
        GROUP_INTERVAL,
        |at| at.duration(SECOND, DAY),
    );
    let repeat = spec.or(
        "repeat",
        "Time from a message of a group to its repetition while the alarms last, `10s` to `30d`. Default: `4h`, for an Alertmanager `1m`.",
        again,
        |at| at.duration(10 * SECOND, 30 * DAY),
    );
    Some([delay?, group_wait?, group_interval?, repeat?].map(|millis| millis / SECOND))
}

/// Adds what an Alertmanager needs: the identity of an alert there must not change while the alert
/// fires.
fn groups(mut group_by: Vec<String>, is_alertmanager: bool) -> Vec<String> {
    for word in ["kind", "severity"] {
        if is_alertmanager && !group_by.iter().any(|known| known == word) {
            group_by.push(word.to_owned());
        }
    }
    group_by
}

const SEVERITIES: Words<'static, Severity> = Words {
    about: "Least severity of the alarms that are sent.",
    what: "",
    list: &[
        ("critical", "Alarms about something that does not work.", Severity::Critical),
        (
            "warning",
            "Alarms about something that will stop working, and critical ones.",
            Severity::Warning,
        ),
        (
            "info",
            "All alarms, including those about something that waits for a person.",
            Severity::Info,
        ),
    ],
    or: &[],
};

fn kind(at: &At<'_>) -> Option<String> {
    at.put("pattern", "^[a-z][a-z-]*$").parsed(|text| {
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
    let about = "Receiver of messages: exactly one of `webhook`, `email` and `alertmanager`.";
    let such = "{ webhook: { url: https://… } }, { email: { smtp: smtp://…, from: …, to: [...] } } or { alertmanager: { url: http://… } }";
    let forms = [
        ("webhook", "HTTP address that gets a `POST` with a JSON body."),
        ("email", "Mail server (SMTP) and addresses that get a mail."),
        ("alertmanager", "Alertmanager that gets the alarms by its API v2."),
    ];
    at.object(about, such, |fields| {
        fields.one_of("a receiver", &forms, |which, at| match which {
            "webhook" => webhook(at).map(Target::Webhook),
            "email" => email(at).map(Target::Email),
            _ => alertmanager(at).map(Target::Alertmanager),
        })
    })
}

const HEADERS: &str =
    "Additional headers, such as `Authorization`. Their values are never shown again.";
const CA: &str = "Certificates of the authorities to trust, in PEM. Default: those of the system.";

pub(crate) fn webhook(at: &At<'_>) -> Option<Webhook> {
    let about =
        "HTTP address that gets a `POST`. A status of 2xx is success; redirects are not followed.";
    let forms = [
        ("url", "Address of the receiver, such as `https://example.com/hook`."),
        (
            "secretUrl",
            "Address of the receiver, if knowing it is enough to send to it. It is never shown again.",
        ),
    ];
    at.object(about, "{ url: https://example.com/hook, secret: … }", |fields| {
        let address = fields.one_of("an address", &forms, |which, at| match which {
            "secretUrl" => secret(at, secret_url).map(|url| (url, true)),
            _ => url(at).map(|url| (url, false)),
        });
        let secret = fields.maybe(
            "secret",
            "Key of the signature in the header `X-Holdfast-Signature`, at least 8 characters. It is never shown again.",
            |at| secret(at, |at| text(at, 8)),
        );
        let headers = fields.or("headers", HEADERS, BTreeMap::new(), headers);
        let ca = fields.maybe("ca", CA, pem);
        let (url, url_is_secret) = address?;
        Some(Webhook { url, url_is_secret, secret: secret?, headers: headers?, ca: ca? })
    })
}

fn alertmanager(at: &At<'_>) -> Option<Alertmanager> {
    let about =
        "Alertmanager that gets alarms. `kind` and `severity` are always part of `groupBy` for it.";
    at.object(about, "{ url: http://alertmanager:9093 }", |fields| {
        let address = fields.required(
            "url",
            "Address of the Alertmanager, such as `http://alertmanager:9093`.",
            "such as http://alertmanager:9093",
            url,
        );
        let about = "Labels that are added to every alert.";
        let labels = fields.or("labels", about, BTreeMap::new(), labels);
        let headers = fields.or("headers", HEADERS, BTreeMap::new(), headers);
        let ca = fields.maybe("ca", CA, pem);
        let url = address?.trim_end_matches('/').trim_end_matches("/api/v2/alerts").to_owned();
        Some(Alertmanager { url, labels: labels?, headers: headers?, ca: ca? })
    })
}

const PROTECTIONS: Words<'static, MailTls> = Words {
    about: "Protection of the connection to a mail server.",
    what: "",
    list: &[
        (
            "starttls",
            "The connection begins unencrypted and must change to TLS.",
            MailTls::Starttls,
        ),
        ("tls", "The connection uses TLS from the first byte.", MailTls::Tls),
        (
            "none",
            "The connection is never encrypted. A user name and password are refused.",
            MailTls::None,
        ),
    ],
    or: &[],
};

fn email(at: &At<'_>) -> Option<Email> {
    let such =
        "{ smtp: smtp://mail.example.com:587, from: holdfast@example.com, to: [duty@example.com] }";
    at.object("Mail server and the addresses that get a mail.", such, |fields| {
        let server = fields.required(
            "smtp",
            "Address of the mail server: `smtp://HOST:PORT` or `smtps://HOST:PORT`.",
            "the mail server, such as smtp://mail.example.com:587",
            server,
        );
        let tls = fields.maybe(
            "tls",
            "Protection of the connection. Default: `starttls`, with `smtps://` `tls`.",
            |at| at.word(&PROTECTIONS),
        );
        let username = fields.maybe(
            "username",
            "User name for the login at the mail server. Requires `password`.",
            |at| text(at, 1),
        );
        let password = fields.maybe(
            "password",
            "Password for the login at the mail server. It is never shown again.",
            |at| secret(at, |at| text(at, 1)),
        );
        let from = fields.required(
            "from",
            "Address of the sender, such as `Holdfast <holdfast@example.com>`.",
            "the sender, such as holdfast@example.com",
            mailbox,
        );
        let to = fields.required(
            "to",
            "Addresses that get the mail, such as `[duty@example.com]`.",
            "who gets it, such as [duty@example.com]",
            |at| at.list(MAX_ITEMS, "", mailbox),
        );
        let ca = fields.maybe("ca", CA, pem);
        let ((is_smtps, host, port), tls) = (server?, tls?);
        let tls = tls.unwrap_or(if is_smtps { MailTls::Tls } else { MailTls::Starttls });
        sound(fields, tls)?;
        let usual = match tls {
            MailTls::Tls => 465,
            MailTls::Starttls => 587,
            MailTls::None => 25,
        };
        Some(Email {
            host,
            port: port.unwrap_or(usual),
            tls,
            username: username?,
            password: password?,
            from: from?,
            to: to?,
            ca: ca?,
        })
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

/// Decodes `smtp://HOST:PORT` into: true for `smtps`, host, port.
fn server(at: &At<'_>) -> Option<(bool, String, Option<u16>)> {
    at.put("pattern", "^smtps?://").parsed(|text| {
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
    at.put("pattern", "^https?://").parsed(checked_url)
}

/// Decodes a secret: a text, or a reference to a value of a `Secret`, in whose place the placeholder
/// stands.
fn secret(at: &At<'_>, form: impl Fn(&At<'_>) -> Option<String>) -> Option<String> {
    let reference = |at: &At<'_>| references::secret(at).map(|_| HIDDEN.to_owned());
    at.either(|value| !value.is_object(), form, reference)
}

/// Decodes an address that may be hidden in a document that was read back.
fn secret_url(at: &At<'_>) -> Option<String> {
    if at.value() == HIDDEN {
        return Some(HIDDEN.to_owned());
    }
    match checked_url(at.text()?) {
        Ok(url) => Some(url),
        // The address is a secret, so the fault must not quote it.
        Err(why) => {
            at.fault(why);
            None
        }
    }
}

fn checked_url(text: &str) -> Result<String, &'static str> {
    let wrong = "not an address over HTTP, such as https://example.com/hook";
    let url = Url::parse(text).map_err(|_| wrong)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a user and password in an address would be shown: give them as a header, Authorization",
        );
    }
    if text.len() > MAX_TEXT {
        return Err("too long: at most 2048 bytes");
    }
    Ok(text.to_owned())
}

/// Decodes a text of one line with at least `least` characters.
pub(super) fn text(at: &At<'_>, least: usize) -> Option<String> {
    if least > 1 {
        at.put("minLength", least);
    }
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
    let entries = at.map(|name, at| {
        let value = secret(at, |at| text(at, 0));
        let lower = name.to_ascii_lowercase();
        if at.node().is_some() {
            return None;
        }
        if name.parse::<http::header::HeaderName>().is_err() {
            at.fault("not the name of a header");
        } else if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("x-holdfast-") {
            at.fault("this header is written by the control plane itself");
        } else if value.as_ref().is_some_and(|it| it.parse::<http::header::HeaderValue>().is_err())
        {
            at.fault("holds characters that no header can have");
        } else {
            return value;
        }
        None
    });
    let count = entries.len();
    if count > MAX_ITEMS {
        at.fault(format!("{count} headers, at most {MAX_ITEMS}"));
        return None;
    }
    let headers: BTreeMap<String, String> =
        entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
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

pub(crate) fn pem(at: &At<'_>) -> Option<String> {
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
