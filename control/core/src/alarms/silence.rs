//! Acknowledgements and silences, which keep alarms from being reported by messages. Both name the
//! person who made them and the time at which they end. The alarms remain visible and are counted
//! separately.
//!
//! See decision 0120.

use holdfast_base::ids::{Labels, Name};
use serde::{Deserialize, Serialize};

use holdfast_api::Muting;
use holdfast_api::selector::Selector;

/// Most acknowledgements and silences at the same time. Each of them is matched against each alarm.
pub const MAX_SILENCES: usize = 1_000;

/// Longest silence, in seconds. What is to be silent for longer belongs into the `Notification`
/// document.
pub const LONGEST_SILENCE: u64 = 366 * 86_400;

/// Longest note, in bytes.
pub const MAX_NOTE: usize = 1_000;

/// Choice of alarms. All fields that are given must match, and at least one must be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matcher {
    /// Kind of the alarms, such as `lost` or `failing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Code of a problem, or name of a failing workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Name of the only device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Name>,
    /// Selector of devices by their labels.
    #[serde(default, skip_serializing_if = "Selector::is_empty")]
    pub devices: Selector,
}

impl Matcher {
    /// Returns true if no field is given, so that every alarm would match.
    pub fn is_empty(&self) -> bool {
        self.kind.is_none()
            && self.code.is_none()
            && self.device.is_none()
            && self.devices.is_empty()
    }

    /// Returns true if an alarm of a device with these labels matches.
    pub fn matches(&self, device: &Name, labels: &Labels, kind: &str, code: &str) -> bool {
        self.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && self.code.as_deref().is_none_or(|wanted| wanted == code)
            && self.device.as_ref().is_none_or(|wanted| wanted == device)
            && (self.devices.is_empty() || self.devices.matches(labels))
    }

    /// Returns the choice in words, such as `kind lost, device gw-1`.
    pub fn words(&self) -> String {
        let mut said = Vec::new();
        said.extend(self.kind.as_ref().map(|kind| format!("kind {kind}")));
        said.extend(self.code.as_ref().map(|code| format!("code {code}")));
        said.extend(self.device.as_ref().map(|device| format!("device {device}")));
        if !self.devices.is_empty() {
            said.push(format!("devices with {}", self.devices.words()));
        }
        said.join(", ")
    }
}

/// Acknowledgement or silence of alarms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Id of 16 hexadecimal digits.
    pub id: Box<str>,
    /// Type: an acknowledgement or a silence.
    #[serde(rename = "type")]
    pub muting: Muting,
    /// Choice of the alarms.
    pub matcher: Matcher,
    /// Id of the access token of the person who made it.
    pub by: Box<str>,
    /// Comment of the access token at that time, by which its holder is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_name: Option<Box<str>>,
    /// Reason for the next shift to read; may be empty.
    #[serde(default)]
    pub note: Box<str>,
    /// Time at which it was made, in seconds since 1970.
    pub at: u64,
    /// Time at which it ends, in seconds since 1970. `None`: when its alarms have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Silence {
    /// Returns true if its time is not over at `now`, in seconds since 1970.
    pub fn lasts(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Returns true if it applies to an alarm now. An acknowledgement applies only to alarms that
    /// had begun when it was made.
    pub fn mutes(
        &self,
        now: u64,
        (device, labels): (&Name, &Labels),
        (kind, code): (&str, &str),
        since: u64,
    ) -> bool {
        self.lasts(now)
            && (self.muting == Muting::Silence || since <= self.at)
            && self.matcher.matches(device, labels, kind, code)
    }
}

/// Returns what mutes an alarm: an acknowledgement before a silence, because it says that a person
/// acts; then the oldest.
pub fn muted<'s>(
    silences: impl IntoIterator<Item = &'s Silence>,
    now: u64,
    device: (&Name, &Labels),
    alarm: (&str, &str),
    since: u64,
) -> Option<&'s Silence> {
    let mutes = silences.into_iter().filter(|one| one.mutes(now, device, alarm, since));
    mutes.min_by_key(|one| (one.muting, one.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::selector;

    fn silence(muting: Muting, matcher: Matcher, at: u64, until: Option<u64>) -> Silence {
        Silence {
            id: "1".into(),
            muting,
            matcher,
            by: "a".into(),
            by_name: None,
            note: "".into(),
            at,
            until,
        }
    }

    #[test]
    fn matchers_and_times() {
        let device: Name = "gw-1".parse().unwrap();
        let labels: Labels = [("site".to_owned(), "kiel".to_owned())].into();
        let kind = |kind: &str| Matcher { kind: Some(kind.into()), ..Matcher::default() };
        let named = |name: &str| Matcher { device: Some(name.parse().unwrap()), ..kind("lost") };
        let at =
            |text: &str| Matcher { devices: selector::parse(text).unwrap(), ..Matcher::default() };
        let code = Matcher { code: Some("hello".into()), ..Matcher::default() };
        use Muting::{Acknowledgement as Ack, Silence as Quiet};
        for (what, muting, matcher, made, until, since, expected) in [
            ("a silence by kind", Quiet, kind("lost"), 100, Some(200), 150, true),
            ("its end", Quiet, kind("lost"), 100, Some(150), 140, false),
            ("another kind", Quiet, kind("failing"), 100, Some(200), 150, false),
            ("one device", Quiet, named("gw-1"), 100, Some(200), 150, true),
            ("another device", Quiet, named("gw-2"), 100, Some(200), 150, false),
            ("by label", Quiet, at("site=kiel"), 100, Some(200), 150, true),
            ("by another label", Quiet, at("site=ulm"), 100, Some(200), 150, false),
            ("another code", Quiet, code, 100, Some(200), 150, false),
            ("acknowledged", Ack, kind("lost"), 100, None, 100, true),
            ("what began later is not acknowledged", Ack, kind("lost"), 100, None, 101, false),
        ] {
            let silence = silence(muting, matcher, made, until);
            let mutes = silence.mutes(150, (&device, &labels), ("lost", ""), since);
            assert_eq!(mutes, expected, "{what}");
        }
    }

    #[test]
    fn an_acknowledgement_goes_before_a_silence() {
        let device: Name = "gw-1".parse().unwrap();
        let labels = Labels::new();
        let all = Matcher { kind: Some("lost".into()), ..Matcher::default() };
        let both = [
            silence(Muting::Silence, all.clone(), 10, Some(900)),
            silence(Muting::Acknowledgement, all, 20, None),
        ];
        let found = muted(&both, 30, (&device, &labels), ("lost", ""), 5).unwrap();
        assert_eq!(found.muting, Muting::Acknowledgement);
    }
}
