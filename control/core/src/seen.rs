//! What a caller sees whose roles reach some devices alone: a device with labels that one of its
//! selectors matches; a document of devices when it chooses at least one of those, or when the caller
//! reaches every device that it can ever choose; and of everything else what belongs to those.
//! Whatever is not known to be theirs is not shown.
//!
//! See decision 0167.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use holdfast_api::Event;
use holdfast_api::selector::Selector;
use holdfast_base::ids::{Labels, Name};

use super::alarms::Silence;
use super::change::Was;
use super::kinds::{AnyKind, PolicyKind};
use super::model::Model;
use super::records::{AuditRecord, TokenRecord};
use super::rights::Sight;
use super::timeline::EventRecord;

/// A tenant as one caller sees it. It remembers what it has found out, so it is made anew for each
/// answer.
#[derive(Debug)]
pub struct Seen<'a> {
    model: &'a Model,
    sight: &'a Sight<'a>,
    /// Labels of the devices that are seen, each set of labels once.
    labels: OnceCell<BTreeSet<&'a Labels>>,
    /// Documents that were asked about, and whether they are seen.
    known: RefCell<BTreeMap<(AnyKind, Name), bool>>,
}

impl<'a> Seen<'a> {
    /// Looks at a tenant with these eyes.
    pub fn new(model: &'a Model, sight: &'a Sight<'a>) -> Self {
        Self { model, sight, labels: OnceCell::new(), known: RefCell::default() }
    }

    /// True if there is a device of this name and it is seen.
    pub fn device(&self, name: &str) -> bool {
        self.model.devices.get(name).is_some_and(|known| self.sight.sees(&known.record.labels))
    }

    /// True if what names a device may be shown with the name.
    pub fn names(&self, device: &Name) -> bool {
        self.sight.is_all() || self.device(device.as_str())
    }

    /// True if documents are seen that choose these devices.
    pub fn chooses(&self, devices: &Selector) -> bool {
        self.sight.holds(devices) || self.labels().iter().any(|labels| devices.matches(labels))
    }

    fn labels(&self) -> &BTreeSet<&'a Labels> {
        self.labels.get_or_init(|| {
            let all = self.model.devices.values().map(|known| &known.record.labels);
            all.filter(|labels| self.sight.sees(labels)).collect()
        })
    }

    /// Returns the devices that a document chooses. None: there is none of this kind and name.
    pub(crate) fn devices_of(&self, kind: AnyKind, name: &Name) -> Option<&'a Selector> {
        match kind {
            AnyKind::Workload => self.model.workloads.get(name).map(|known| &known.record.devices),
            AnyKind::Policy(kind) => {
                self.model.policies.get(&(kind, name.clone())).map(|known| &known.record.devices)
            }
        }
    }

    /// True if there is a document of this kind and name and it is seen.
    pub fn document(&self, kind: AnyKind, name: &str) -> bool {
        let Some((name, devices)) = name.parse::<Name>().ok().and_then(|name| {
            let devices = self.devices_of(kind, &name)?;
            Some((name, devices))
        }) else {
            return false;
        };
        if self.sight.is_all() || !kind.of_devices() {
            return self.sight.is_all();
        }
        *self.known.borrow_mut().entry((kind, name)).or_insert_with(|| self.chooses(devices))
    }

    /// True if every device is reached that a document can ever choose.
    fn holds(&self, kind: AnyKind, name: &str) -> bool {
        let name = name.parse::<Name>().ok();
        let devices = name.and_then(|name| self.devices_of(kind, &name));
        devices.is_some_and(|devices| self.sight.holds(devices))
    }

    /// True if every device that can enrol with a token is reached.
    pub fn token(&self, token: &TokenRecord) -> bool {
        self.sight.keeps(&token.labels, |key| token.lets_claim(key))
    }

    /// True if an acknowledgement or a silence mutes alarms of devices that are reached, and of no
    /// others.
    pub fn silence(&self, silence: &Silence) -> bool {
        let matcher = &silence.matcher;
        let named = matcher.device.as_ref().is_some_and(|name| self.device(name.as_str()));
        named || self.sight.holds(&matcher.devices)
    }

    /// Returns an event as the caller may read it. None: it is of nothing that the caller sees.
    pub fn event(&self, event: &Event, was: Option<&Was>) -> Option<Event> {
        if self.sight.is_all() {
            return Some(event.clone());
        }
        let (name, kind) = (event.name.as_str(), event.kind.as_str());
        let unsaid = || Event { message: String::new(), ..event.clone() };
        match kind {
            "device" => {
                let left = matches!(was, Some(Was::Device(labels)) if self.sight.sees(labels));
                (left || self.device(name)).then(|| event.clone())
            }
            // It says that alarms are to be read again, and nothing of them.
            "alarm" => Some(Event { name: String::new(), ..unsaid() }),
            "token" => {
                let token = self.model.tokens.get(name);
                token.is_some_and(|token| self.token(token)).then(|| event.clone())
            }
            word => {
                let kind = AnyKind::of_word(word).filter(|kind| kind.of_devices())?;
                let left = match was {
                    Some(Was::Document(devices)) => self.chooses(devices),
                    _ => false,
                };
                // A text may name devices, such as "paused on pump-9".
                (left || self.document(kind, name)).then(|| match self.holds(kind, name) {
                    true => event.clone(),
                    false => unsaid(),
                })
            }
        }
    }

    /// Returns an entry of the audit log as the caller may read it. None: it is about nothing that
    /// the caller sees.
    pub fn audit(&self, record: &AuditRecord) -> Option<AuditRecord> {
        if self.sight.is_all() {
            return Some(record.clone());
        }
        let subject = record.subject.as_str();
        match record.action.split('.').next().unwrap_or_default() {
            "device" => self.device(subject).then(|| record.clone()),
            "token" => {
                let token = self.model.tokens.get(subject);
                token.is_some_and(|token| self.token(token)).then(|| record.clone())
            }
            "alarm" => {
                let silence = self.model.silences.get(subject);
                silence.is_some_and(|silence| self.silence(silence)).then(|| record.clone())
            }
            word => {
                let kind = AnyKind::of_word(word).filter(|kind| kind.of_devices())?;
                self.document(kind, subject).then(|| match self.holds(kind, subject) {
                    true => record.clone(),
                    false => AuditRecord { message: String::new(), ..record.clone() },
                })
            }
        }
    }

    /// True if the caller sees the device of an event of the fleet's timeline.
    pub fn happened(&self, record: &EventRecord) -> bool {
        self.sight.is_all()
            || record.device.as_ref().is_some_and(|device| self.device(device.as_str()))
    }

    /// Returns the workloads that are seen, in the order of their names.
    pub fn workloads(&self) -> impl Iterator<Item = &'a Name> {
        let all = self.model.workloads.iter();
        all.filter(move |(_, known)| self.chooses(&known.record.devices)).map(|(name, _)| name)
    }

    /// True if policies of a kind are seen that choose these devices.
    pub fn shows(&self, kind: PolicyKind, devices: &Selector) -> bool {
        self.sight.is_all() || kind.facts().of_devices && self.chooses(devices)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::selector;
    use serde_json::json;

    use super::*;

    fn token(labels: &[(&str, &str)], allow: &[&str], approve: &str) -> TokenRecord {
        serde_json::from_value(json!({
            "id": "t", "secretSha256": "", "createdAt": 0, "expiresAt": 1, "uses": 1, "used": 0,
            "labels": labels.iter().copied().collect::<BTreeMap<_, _>>(), "allowLabels": allow,
            "approve": approve, "version": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_token_lets_nobody_in_whom_its_maker_does_not_reach() {
        let model = Model::empty("acme".parse().unwrap());
        let kiel = [("site", "kiel")];
        for (selector, labels, allow, approve, seen) in [
            ("site=kiel", &kiel[..], &[][..], "auto", true),
            ("site=kiel", &kiel, &["role"], "auto", true),
            ("site=kiel", &kiel, &["*"], "auto", true),
            ("site=kiel", &kiel, &["*"], "manual", true),
            ("site=kiel", &[], &[], "auto", false),
            ("site=kiel", &[], &["site"], "auto", false),
            ("site=kiel", &[("site", "bonn")], &[], "auto", false),
            ("site=kiel,!retired", &kiel, &[], "auto", true),
            ("site=kiel,!retired", &kiel, &["retired"], "auto", false),
            ("site=kiel,!retired", &kiel, &["*"], "auto", false),
            ("site=kiel,!retired", &kiel, &[], "manual", false),
            ("site=kiel,role", &kiel, &["role"], "auto", false),
        ] {
            let selector = selector::parse(selector).unwrap();
            let sight = Sight::Selected(vec![&selector]);
            let token = token(labels, allow, approve);
            let is = Seen::new(&model, &sight).token(&token);
            assert_eq!(is, seen, "{} {labels:?} {allow:?} {approve}", selector.words());
            assert!(Seen::new(&model, &Sight::All).token(&token));
        }
    }

    #[test]
    fn what_is_not_known_to_be_theirs_is_not_shown() {
        let model = Model::empty("acme".parse().unwrap());
        let selector = selector::parse("site=kiel").unwrap();
        let sight = Sight::Selected(vec![&selector]);
        let seen = Seen::new(&model, &sight);
        let event = |kind: &str| Event {
            kind: kind.into(),
            name: "x".into(),
            action: "changed".into(),
            at: String::new(),
            message: "about x".into(),
            parts: Vec::new(),
        };
        for kind in ["device", "workload", "notification", "user", "access", "token", "new-kind"] {
            assert!(seen.event(&event(kind), None).is_none(), "{kind}");
            let all = Seen::new(&model, &Sight::All);
            assert!(all.event(&event(kind), None).is_some(), "{kind}");
        }
        let alarm = seen.event(&event("alarm"), None).unwrap();
        assert_eq!((alarm.name.as_str(), alarm.message.as_str()), ("", ""));
        let labels = |site: &str| Was::Device([("site".to_owned(), site.to_owned())].into());
        assert!(seen.event(&event("device"), Some(&labels("kiel"))).is_some(), "it was theirs");
        assert!(seen.event(&event("device"), Some(&labels("bonn"))).is_none());
        let was = |text: &str| Was::Document(selector::parse(text).unwrap());
        let told = seen.event(&event("workload"), Some(&was("site=kiel,x=y"))).unwrap();
        assert_eq!(told.message, "", "whose it is now is not known");
        assert!(seen.event(&event("workload"), Some(&was("site=bonn"))).is_none());
        assert!(seen.event(&event("notification"), Some(&was("site=kiel"))).is_none());
        for action in ["device.label", "workload.apply", "user.create", "backup.read", "new.word"] {
            let record = serde_json::from_value(json!({
                "number": 1, "at": 1, "by": "b", "action": action, "subject": "x",
            }));
            assert!(seen.audit(&record.unwrap()).is_none(), "{action}");
        }
    }
}
