//! Explains in words why records that a device holds have not been shipped: its policies, its link
//! budget, its connection. The decision itself is made on the device.

use holdfast_records::{
    DataPolicies, LinkUse, Ship, StreamName, StreamPolicy, StreamReport, TrafficClass, Window,
};

use holdfast_api::link;

/// Lowest priority whose records belong to the traffic class `events`; lower ones belong to `data`.
const URGENT: u8 = 8;

/// Everything that affects the shipping of a device's streams at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// Policies of the device's desired state.
    pub policies: Option<&'a DataPolicies>,
    /// Reported use of the device's link.
    pub link: Option<&'a LinkUse>,
    /// True if the device is connected.
    pub online: bool,
    /// Minute of the day in UTC, 0 to 1,439.
    pub minute: u16,
}

impl Circumstances<'_> {
    /// Returns what holds back records of a stream, one text for each cause. `fetched`: the records
    /// were requested by a fetch, so that `ship: never` does not apply.
    pub fn hold_back(&self, stream: &StreamName, fetched: bool) -> Vec<String> {
        let found = self.policies.and_then(|policies| policies.of(stream));
        let mut reasons = Vec::new();
        if let Some((name, policy)) = found {
            if policy.ship == Ship::Never && !fetched {
                reasons.push(format!("policy {name}: ship never"));
            } else if let Some(opens) = opens(&policy.windows, self.minute) {
                reasons.push(format!("policy {name}: shipped from {} UTC", clock(opens)));
            }
        }
        let usual = StreamPolicy::default().priority;
        let urgent = found.map_or(usual, |(_, policy)| policy.priority) >= URGENT;
        let class = if urgent { TrafficClass::Events } else { TrafficClass::Data };
        let budget = self.policies.and_then(|policies| policies.link_name.as_ref());
        let budget = budget.map_or("", |name| name.as_str());
        reasons.extend(self.link.and_then(|it| link::held(it, class, budget)));
        if !self.online {
            reasons.push("the device is offline".into());
        }
        reasons
    }
}

/// Returns the minute of the day at which the next window opens. None: one is open, or there are
/// none.
fn opens(windows: &[Window], minute: u16) -> Option<u16> {
    const DAY: u16 = 1_440;
    if windows.iter().any(|window| window.contains(minute)) {
        return None;
    }
    // The distance to each opening is taken around midnight: at 12:00 (720) a window from 01:00
    // (60) opens in 780 minutes, one from 22:00 (1,320) in 600, so 22:00 is next.
    windows.iter().map(|window| window.from).min_by_key(|from| (from + DAY - minute % DAY) % DAY)
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Explains why no record of a stream has arrived although the device reports that it holds some.
pub fn nothing_shipped(
    device: &str,
    stream: &StreamName,
    said: &StreamReport,
    reasons: &[String],
) -> String {
    let why = match reasons {
        [] => "nothing of it has arrived yet".to_owned(),
        reasons => reasons.join("; "),
    };
    format!(
        "device {device} holds {} bytes of stream \"{stream}\", up to record {}, and has shipped none ({why}): \
         a question reads them there, a fetch has them shipped",
        said.bytes, said.last
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use holdfast_records::ClassUse;

    use super::*;

    fn policies(policy: StreamPolicy) -> DataPolicies {
        let policy = StreamPolicy { streams: vec!["pump/*".parse().unwrap()], ..policy };
        let streams = BTreeMap::from([("night".parse().unwrap(), policy)]);
        DataPolicies { streams, link: None, link_name: Some("my-events".parse().unwrap()) }
    }

    #[test]
    fn what_holds_records_back_is_said() {
        let never = policies(StreamPolicy { ship: Ship::Never, ..StreamPolicy::default() });
        let windows = vec![Window { from: 60, to: 240 }, Window { from: 1_320, to: 30 }];
        let night = policies(StreamPolicy { windows, ..StreamPolicy::default() });
        let urgent = policies(StreamPolicy { priority: 9, ..StreamPolicy::default() });
        let waits = ClassUse { waits: Some(0), ..ClassUse::default() };
        let classes = BTreeMap::from([(TrafficClass::Data, waits)]);
        let used_up = LinkUse { budget: Some(1_048_576), classes, ..LinkUse::default() };
        let budget = Some(&used_up);
        let quiet: Option<&LinkUse> = None;
        let open: &[&str] = &[];
        let noon = 12 * 60;
        for (policies, link, online, minute, fetched, wanted) in [
            (&never, quiet, true, noon, false, &["policy night: ship never"][..]),
            (&never, quiet, true, noon, true, open),
            (&night, quiet, true, 100, false, open),
            (&night, quiet, true, 1_400, true, open),
            (&night, quiet, true, 40, true, &["policy night: shipped from 01:00 UTC"]),
            (&night, quiet, true, noon, true, &["policy night: shipped from 22:00 UTC"]),
            (&urgent, budget, true, noon, true, open),
            (
                &never,
                budget,
                true,
                noon,
                true,
                &[
                    "link budget my-events (1Mi): data has used what is due by now, and goes on little by little",
                ],
            ),
            (&never, quiet, false, noon, true, &["the device is offline"]),
        ] {
            let now = Circumstances { policies: Some(policies), link, online, minute };
            assert_eq!(now.hold_back(&"pump/a".parse().unwrap(), fetched), wanted, "{now:?}");
        }
        let bare = Circumstances { policies: None, link: budget, online: true, minute: 0 };
        assert_eq!(bare.hold_back(&"x".parse().unwrap(), false).len(), 1);
        let said = StreamReport { last: 1_000, bytes: 4_096, ..StreamReport::default() };
        let text = nothing_shipped("d-1", &"x".parse().unwrap(), &said, &[]);
        assert!(text.contains("4096 bytes") && text.contains("1000") && text.contains("yet"));
    }
}
