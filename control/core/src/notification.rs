//! Content of a `Notification` document, every unit resolved, and storage of its secrets: they are
//! written and never shown again.
//!
//! See decision 0119.

use std::collections::BTreeMap;

use holdfast_protocol::enrol::Fault;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use holdfast_api::Severity;

/// Placeholder for a secret in every document that is shown. Applied again, it keeps the stored
/// secret.
pub const HIDDEN: &str = "(hidden)";

/// Most `Notification` documents: each examines every alarm and has a queue and a connection of its
/// own.
pub const MAX_NOTIFICATIONS: usize = 50;

/// Filter, grouping, timing and receiver of one notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Lowest severity of alarms that are sent.
    pub severity: Severity,
    /// Kinds of alarms that are sent; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Properties by which alarms are grouped into one message: `kind`, `code`, `severity`,
    /// `device`, `workload`, or the key of a label.
    pub group_by: Vec<String>,
    /// Time that an alarm must last before it is sent, in seconds.
    pub delay: u64,
    /// Time that the first message of a group waits for further alarms, in seconds.
    pub group_wait: u64,
    /// Shortest time between a group's message and its next one about other alarms, in seconds.
    pub group_interval: u64,
    /// Time after which a group's message is repeated while it lasts, in seconds.
    pub repeat: u64,
    /// True if the end of alarms is sent too.
    pub send_resolved: bool,
    /// Address of the dashboard, for links in messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Receiver of the messages.
    pub to: Target,
}

/// Kind of receiver with its settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// HTTP receiver of `POST` requests with a JSON body.
    Webhook(Webhook),
    /// Receiver of mail over SMTP.
    Email(Email),
    /// Alertmanager, by its API v2.
    Alertmanager(Alertmanager),
}

/// Settings of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Address of the requests, `http` or `https`.
    pub url: String,
    /// True if the URL is itself a secret and is hidden.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub url_is_secret: bool,
    /// Key of the HMAC signature of each request; None: requests are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Further request headers; their values are secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Certificates of authorities in PEM that replace those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// Protection of the connection to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// STARTTLS: the connection begins in the clear and must change to TLS.
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// No encryption at all.
    None,
}

/// Mail server, sender and receivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Email {
    /// Name or address of the server.
    pub host: String,
    /// TCP port of the server.
    pub port: u16,
    /// Protection of the connection.
    pub tls: MailTls,
    /// User name for the login at the server; None: no login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password for the login at the server; a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Mail address of the sender.
    pub from: String,
    /// Mail addresses of the receivers.
    pub to: Vec<String>,
    /// Certificates of authorities in PEM that replace those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// Settings of an Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alertmanager {
    /// Base address, without `/api/v2/alerts`.
    pub url: String,
    /// Labels that are added to every alert.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Further request headers; their values are secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Certificates of authorities in PEM that replace those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

impl Target {
    /// Returns the kind of receiver as a word, such as `webhook`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Email(_) => "email",
            Self::Alertmanager(_) => "alertmanager",
        }
    }

    /// Returns the destination for people, without secrets: an address, or the receivers of mail.
    pub fn place(&self) -> String {
        match self {
            Self::Webhook(hook) if hook.url_is_secret => {
                format!("{}/{HIDDEN}", origin(&hook.url))
            }
            Self::Webhook(hook) => hook.url.clone(),
            Self::Email(mail) => mail.to.join(", "),
            Self::Alertmanager(other) => other.url.clone(),
        }
    }

    /// Returns the server that learns the secrets: stored ones are never sent to another.
    fn server(&self) -> String {
        match self {
            Self::Webhook(hook) => origin(&hook.url),
            Self::Email(mail) => format!("smtp://{}:{} {:?}", mail.host, mail.port, mail.tls),
            Self::Alertmanager(other) => origin(&other.url),
        }
    }

    /// Returns the secrets with their paths below `spec.to`, such as `["email", "password"]`.
    fn secrets(&mut self) -> Vec<(Vec<String>, &mut String)> {
        fn headers<'a>(
            word: &str,
            headers: &'a mut BTreeMap<String, String>,
        ) -> impl Iterator<Item = (Vec<String>, &'a mut String)> {
            headers.iter_mut().map(move |(name, value)| {
                (vec![word.to_owned(), "headers".to_owned(), name.clone()], value)
            })
        }
        let path = |field: &str| vec![field.to_owned()];
        match self {
            Self::Webhook(hook) => {
                let mut all: Vec<_> = headers("webhook", &mut hook.headers).collect();
                let at = |field: &str| ["webhook".to_owned()].into_iter().chain(path(field));
                all.extend(hook.secret.as_mut().map(|secret| (at("secret").collect(), secret)));
                if hook.url_is_secret {
                    all.push((at("secretUrl").collect(), &mut hook.url));
                }
                all
            }
            Self::Email(mail) => {
                let at = vec!["email".to_owned(), "password".to_owned()];
                mail.password.as_mut().map(|password| (at, password)).into_iter().collect()
            }
            Self::Alertmanager(other) => headers("alertmanager", &mut other.headers).collect(),
        }
    }
}

/// Returns scheme, host and port of an address, such as `https://hooks.example:8443`.
fn origin(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}")
}

impl Notification {
    /// Returns a text that identifies grouping and destination. When it changes, all groups begin
    /// anew.
    pub fn fingerprint(&self) -> String {
        format!("{} {} {}", self.group_by.join(","), self.to.server(), self.to.place())
    }

    /// True if at least one secret is the placeholder [`HIDDEN`].
    fn is_hidden(&mut self) -> bool {
        self.to.secrets().iter().any(|(_, secret)| *secret == HIDDEN)
    }

    /// Replaces placeholders by the stored secrets, here and in `written`, the document's spec. A
    /// stored secret is used for the same server only: a changed address must not receive it.
    ///
    /// # Errors
    /// One fault for each placeholder without a stored secret.
    pub fn keep_secrets(
        &mut self,
        written: &mut Value,
        known: Option<&Notification>,
    ) -> Result<(), Vec<Fault>> {
        if !self.is_hidden() {
            return Ok(());
        }
        let mut known = known.cloned();
        // A hidden address cannot be compared; it stands for the stored one, hence for the same
        // server.
        let hides_url = matches!(&self.to, Target::Webhook(hook) if hook.url == HIDDEN);
        let same = known.as_ref().is_some_and(|known| {
            let kind = known.to.word() == self.to.word();
            kind && (hides_url || known.to.server() == self.to.server())
        });
        let stored: BTreeMap<Vec<String>, String> = known
            .as_mut()
            .filter(|_| same)
            .map(|known| known.to.secrets())
            .into_iter()
            .flatten()
            .map(|(path, secret)| (path, secret.clone()))
            .collect();
        let mut faults = Vec::new();
        for (path, secret) in self.to.secrets() {
            if secret != HIDDEN {
                continue;
            }
            let Some(kept) = stored.get(&path) else {
                faults.push(Fault {
                    path: format!("spec.to.{}", path.join(".")),
                    message: format!(
                        "{HIDDEN:?} keeps the secret that is stored for the same server, and there is none: write the secret itself"
                    ),
                    of_key: false,
                });
                continue;
            };
            secret.clone_from(kept);
            if let Some(place) = path
                .iter()
                .try_fold(written.get_mut("to"), |at, step| Some(at?.get_mut(step.as_str())))
                && let Some(place) = place
            {
                *place = Value::String(kept.clone());
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// Returns a spec with [`HIDDEN`] in the place of each secret.
pub fn shown(written: &Value) -> Value {
    let mut shown = written.clone();
    let hide = |value: Option<&mut Value>| {
        if let Some(value) = value {
            *value = HIDDEN.into();
        }
    };
    for pointer in ["/to/webhook/secret", "/to/webhook/secretUrl", "/to/email/password"] {
        hide(shown.pointer_mut(pointer));
    }
    for pointer in ["/to/webhook/headers", "/to/alertmanager/headers"] {
        let headers = shown.pointer_mut(pointer).and_then(Value::as_object_mut);
        headers.into_iter().flatten().for_each(|(_, value)| hide(Some(value)));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hook(url: &str, secret: &str) -> Notification {
        Notification {
            severity: Severity::Warning,
            kinds: Vec::new(),
            group_by: vec!["kind".into()],
            delay: 0,
            group_wait: 0,
            group_interval: 60,
            repeat: 3_600,
            send_resolved: true,
            link: None,
            to: Target::Webhook(Webhook {
                url: url.into(),
                url_is_secret: false,
                secret: Some(secret.into()),
                headers: [("Authorization".to_owned(), secret.to_owned())].into(),
                ca: None,
            }),
        }
    }

    fn written(url: &str, secret: &str) -> Value {
        json!({ "to": { "webhook": { "url": url, "secret": secret, "headers": { "Authorization": secret } } } })
    }

    #[test]
    fn what_is_shown_holds_no_secret_and_can_be_applied_again() {
        let stored = written("https://a/x", "s3cret");
        let text = shown(&stored).to_string();
        assert!(!text.contains("s3cret") && text.contains("https://a/x"), "{text}");
        let mut again = shown(&stored);
        let mut notification = hook("https://a/other-path", HIDDEN);
        notification.keep_secrets(&mut again, Some(&hook("https://a/x", "s3cret"))).unwrap();
        assert_eq!(again, stored);
        assert_eq!(notification.to, hook("https://a/other-path", "s3cret").to);
    }

    #[test]
    fn another_server_is_not_told_a_stored_secret() {
        for (url, known) in [
            ("https://b/x", Some(hook("https://a/x", "s3cret"))),
            ("http://a/x", Some(hook("https://a/x", "s3cret"))),
            ("https://a/x", None),
        ] {
            let faults = hook(url, HIDDEN)
                .keep_secrets(&mut written(url, HIDDEN), known.as_ref())
                .unwrap_err();
            let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
            assert_eq!(paths, ["spec.to.webhook.headers.Authorization", "spec.to.webhook.secret"]);
        }
    }

    #[test]
    fn a_secret_address_is_hidden_and_kept() {
        let secret = |url: &str| {
            let mut made = hook(url, "k");
            if let Target::Webhook(hook) = &mut made.to {
                hook.url_is_secret = true;
            }
            made
        };
        let spec = json!({ "to": { "webhook": { "secretUrl": "https://a/T0/key" } } });
        assert_eq!(shown(&spec), json!({ "to": { "webhook": { "secretUrl": HIDDEN } } }));
        let mut again = shown(&spec);
        let mut made = secret(HIDDEN);
        made.keep_secrets(&mut again, Some(&secret("https://a/T0/key"))).unwrap();
        assert_eq!(again, spec);
        assert_eq!(made.to.place(), "https://a/(hidden)");
    }
}
