//! Content of a `Notification` document, every unit resolved, and storage of its secrets: they are
//! sealed or refer to a `Secret`, and are never shown again.
//!
//! See decisions 0119 and 0163.

use std::collections::BTreeMap;

use holdfast_protocol::enrol::Fault;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secrets::place::Place;
use crate::secrets::value::SealedValue;
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
    /// Receiver of the messages. A secret of it that is in `hidden` is a placeholder here.
    pub to: Target,
    /// Secrets of the receiver by their paths below `spec.to`, such as `webhook.secret`. Records of
    /// versions before 0.9 have none: their secrets are sealed at the next start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hidden: BTreeMap<String, Hidden>,
}

/// Secret of a receiver as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hidden {
    /// Sealed value.
    Sealed(SealedValue),
    /// Value of a `Secret` document.
    Secret(Place),
}

/// Returns the path of a secret as text, such as `webhook.secret`.
fn joined(path: &[String]) -> String {
    path.join(".")
}

/// True if a text stands for a secret: [`HIDDEN`], or an address of which the origin alone is left.
fn is_placeholder(text: &str) -> bool {
    text.strip_suffix(HIDDEN).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// Returns what stands in the place of a secret: of an address its origin is known.
fn placeholder(path: &str, secret: &str) -> String {
    match path.strip_suffix("secretUrl") {
        Some(_) => format!("{}/{HIDDEN}", origin(secret)),
        None => HIDDEN.to_owned(),
    }
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
            Self::Webhook(hook) if hook.url == HIDDEN => HIDDEN.to_owned(),
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

/// True if a text is an address over HTTP, as the value of a `Secret` has to be.
pub fn is_address(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
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

    /// Returns the values of `Secret` documents that are referred to, with their paths below
    /// `spec.to`.
    pub fn places(&self) -> Vec<(String, Place)> {
        let places = self.hidden.iter().filter_map(|(path, hidden)| match hidden {
            Hidden::Secret(place) => Some((path.clone(), place.clone())),
            Hidden::Sealed(_) => None,
        });
        places.collect()
    }

    /// Notes the secrets that `written`, the document's `spec.to`, takes from `Secret` documents.
    /// `place` reads such a reference.
    pub(crate) fn refer(&mut self, written: &Value, place: impl Fn(&Value) -> Option<Place>) {
        for (path, _) in self.to.secrets() {
            let value = path.iter().try_fold(written, |at, step| at.get(step.as_str()));
            if let Some(place) = value.and_then(&place) {
                self.hidden.insert(joined(&path), Hidden::Secret(place));
            }
        }
    }

    /// True if a secret is still written in plain text.
    pub fn has_plain(&self) -> bool {
        self.to.clone().secrets().iter().any(|(_, secret)| !is_placeholder(secret))
    }

    /// Seals the secrets that are written in plain text: `seal` is given the path and the text of
    /// each. Their texts are placeholders afterwards.
    ///
    /// # Errors
    /// The first error of `seal`; then some secrets are not sealed.
    pub fn seal<E>(
        &mut self,
        mut seal: impl FnMut(&str, &str) -> Result<SealedValue, E>,
    ) -> Result<(), E> {
        for (path, secret) in self.to.secrets() {
            let path = joined(&path);
            if is_placeholder(secret) {
                continue;
            }
            let sealed = seal(&path, secret)?;
            *secret = placeholder(&path, secret);
            self.hidden.insert(path, Hidden::Sealed(sealed));
        }
        Ok(())
    }

    /// Puts the secrets into their places: `open` is given the path and the stored form of each.
    ///
    /// # Errors
    /// The first error of `open`.
    pub fn reveal<E>(
        &mut self,
        mut open: impl FnMut(&str, &Hidden) -> Result<String, E>,
    ) -> Result<(), E> {
        for (path, secret) in self.to.secrets() {
            let path = joined(&path);
            if let Some(hidden) = self.hidden.get(&path) {
                *secret = open(&path, hidden)?;
            }
        }
        Ok(())
    }

    /// Replaces placeholders by the stored secrets, and hides all secrets in `written`, the
    /// document's spec. A stored secret is used for the same server only: a changed address must not
    /// receive it.
    ///
    /// # Errors
    /// One fault for each placeholder without a stored secret.
    pub fn keep_secrets(
        &mut self,
        written: &mut Value,
        known: Option<&Notification>,
    ) -> Result<(), Vec<Fault>> {
        // A hidden address cannot be compared; it stands for the stored one, hence for the same
        // server.
        let hides_url = matches!(&self.to, Target::Webhook(hook) if hook.url == HIDDEN);
        let known = known.filter(|known| {
            let kind = known.to.word() == self.to.word();
            kind && (hides_url || known.to.server() == self.to.server())
        });
        let mut faults = Vec::new();
        for (path, secret) in self.to.secrets() {
            let path = joined(&path);
            if self.hidden.contains_key(&path) {
                continue;
            }
            let kept = known.and_then(|known| Some((known.hidden.get(&path)?, known)));
            let Some((kept, known)) = kept else {
                faults.push(Fault {
                    path: format!("spec.to.{path}"),
                    message: format!(
                        "{HIDDEN:?} keeps the secret that is stored for the same server, and there is none: write the secret itself"
                    ),
                    of_key: false,
                });
                continue;
            };
            if let (true, Target::Webhook(hook)) = (path.ends_with("secretUrl"), &known.to) {
                secret.clone_from(&hook.url);
            }
            self.hidden.insert(path, kept.clone());
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        *written = shown(written);
        Ok(())
    }
}

/// Returns a spec with [`HIDDEN`] in the place of each secret; a reference to a `Secret` is none.
pub fn shown(written: &Value) -> Value {
    let mut shown = written.clone();
    let hide = |value: Option<&mut Value>| {
        if let Some(value) = value.filter(|value| !value.is_object()) {
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
    use crate::secrets::place::Store;
    use serde_json::json;

    fn sealed(text: &str) -> SealedValue {
        SealedValue {
            sealed: format!("sealed-{}", text.len()).into(),
            digest: "0123456789".into(),
            length: 6,
            text: true,
            changed_at: 0,
            rule: None,
        }
    }

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
            hidden: BTreeMap::new(),
        }
    }

    /// Seals the secrets, as the service does.
    fn stored(mut notification: Notification) -> Notification {
        notification.seal(|_, text| Ok::<_, ()>(sealed(text))).unwrap();
        assert!(!notification.has_plain());
        notification
    }

    fn written(url: &str, secret: &str) -> Value {
        json!({ "to": { "webhook": { "url": url, "secret": secret, "headers": { "Authorization": secret } } } })
    }

    #[test]
    fn what_is_stored_and_shown_holds_no_secret_and_can_be_applied_again() {
        let known = stored(hook("https://a/x", "s3cret"));
        let text = serde_json::to_string(&known).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let mut shown = written("https://a/x", "s3cret");
        known.clone().keep_secrets(&mut shown, None).unwrap();
        let text = shown.to_string();
        assert!(!text.contains("s3cret") && text.contains("https://a/x"), "{text}");
        let mut notification = hook("https://a/other-path", HIDDEN);
        notification.keep_secrets(&mut shown, Some(&known)).unwrap();
        assert_eq!(notification.hidden, known.hidden);
        let mut revealed = notification;
        revealed.reveal(|path, _| Ok::<_, ()>(format!("open {path}"))).unwrap();
        let Target::Webhook(hook) = &revealed.to else { panic!("a webhook") };
        assert_eq!(hook.secret.as_deref(), Some("open webhook.secret"));
        assert_eq!(hook.headers["Authorization"], "open webhook.headers.Authorization");
    }

    #[test]
    fn another_server_is_not_told_a_stored_secret() {
        for (url, known) in [
            ("https://b/x", Some(stored(hook("https://a/x", "s3cret")))),
            ("http://a/x", Some(stored(hook("https://a/x", "s3cret")))),
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
        let known = stored(secret("https://a/T0/key"));
        assert!(!serde_json::to_string(&known).unwrap().contains("T0"));
        let mut again = shown(&spec);
        let mut made = secret(HIDDEN);
        if let Target::Webhook(hook) = &mut made.to {
            (hook.secret, hook.headers) = (None, BTreeMap::new());
        }
        made.keep_secrets(&mut again, Some(&known)).unwrap();
        assert_eq!(again, shown(&spec));
        assert_eq!(made.to.place(), "https://a/(hidden)");
        assert_eq!(made.fingerprint(), secret("https://a/T0/key").fingerprint(), "as before");
        assert_eq!(made.hidden["webhook.secretUrl"], known.hidden["webhook.secretUrl"]);
    }

    #[test]
    fn a_secret_can_be_a_value_of_a_secret_document() {
        let reference = json!({ "secret": "hooks", "key": "night" });
        let spec = json!({ "to": { "webhook": { "secretUrl": reference, "secret": reference } } });
        assert_eq!(shown(&spec), spec, "a reference is shown");
        let place =
            Place { store: Store::Secret, name: "hooks".parse().unwrap(), key: "night".into() };
        let mut made = hook(HIDDEN, HIDDEN);
        if let Target::Webhook(hook) = &mut made.to {
            (hook.url_is_secret, hook.headers) = (true, BTreeMap::new());
        }
        made.refer(&spec["to"], |value| value.is_object().then(|| place.clone()));
        made.keep_secrets(&mut spec.clone(), None).unwrap();
        let paths: Vec<String> = made.places().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["webhook.secret", "webhook.secretUrl"]);
        assert_eq!(made.to.place(), HIDDEN);
    }
}
