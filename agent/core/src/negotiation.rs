//! Conclusions from how a try to connect to a broker ended: the version of MQTT to speak next, and
//! whether to subscribe to all topics at once.
//!
//! A broker that speaks 3.1.1 alone may answer a CONNECT of version 5 with a code, with a CONNACK of
//! its own version, or by closing the connection, as RabbitMQ 3.10 does. A network that breaks at
//! this moment looks the same as the last, so that such an end must not settle the version for ever.
//!
//! ```text
//!              the version is refused, or the connection closed after CONNECT
//!              (where 5 was answered before: only the third time in a row)
//!        ┌─────────────────────────────────────────────────────────────────────┐
//!        │                                                                     ▼
//!   ┌────┴───┐                                                            ┌─────────┐
//! ─►│   5    │                                                            │  3.1.1  │
//!   └────────┘                                                            └────┬────┘
//!        ▲                                                                     │
//!        └─────────────────────────────────────────────────────────────────────┘
//!              3.1.1 is refused, or closed after CONNECT; or a day has passed
//!              and nothing but closed connections spoke against 5
//! ```
//!
//! See decision 0146.

/// Closes in a row after CONNECT that speak against version 5 where it was answered before.
const CLOSES: u8 = 3;
/// Time in milliseconds after which version 5 is tried again if no broker has refused it in words:
/// one connection in a day that may end at once is not noticed.
const RETRY_V5: u64 = 86_400_000;

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MqttVersion {
    /// MQTT 5.0.
    #[default]
    V5,
    /// MQTT 3.1.1.
    V311,
}

/// End of a try to connect, as far as it says something about the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The broker was not reached, or TLS failed, or nothing came in time.
    NotReached,
    /// The connection was closed after CONNECT, without a CONNACK.
    ClosedOnConnect,
    /// The broker refused the version, or answered in another one.
    VersionRefused,
    /// The broker refused the device for another reason, with a CONNACK.
    Refused,
    /// The connection was closed after SUBSCRIBE, without a SUBACK.
    ClosedOnSubscribe,
    /// The broker refused a subscription with a code.
    SubscriptionRefused,
    /// The connection was in use, and ended.
    Served,
}

/// Way to connect to one broker, learned from the tries before. It is kept for the life of the
/// process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Negotiation {
    version: MqttVersion,
    /// True once the broker has answered a CONNECT of version 5.
    has_answered_v5: bool,
    /// Connections in a row that were closed after a CONNECT of version 5.
    closes: u8,
    /// Time in milliseconds at which 3.1.1 was chosen only because connections were closed.
    doubted_since: Option<u64>,
    one_by_one: bool,
}

impl Negotiation {
    /// Returns the version to speak now, in milliseconds of a monotonic clock.
    pub fn version(&self, now: u64) -> MqttVersion {
        let is_old = |since: u64| now.saturating_sub(since) >= RETRY_V5;
        if self.doubted_since.is_some_and(is_old) { MqttVersion::V5 } else { self.version }
    }

    /// Returns true if each subscription is to be asked for alone, so that the answer that is
    /// missing tells which one the broker refuses.
    pub fn subscribes_one_by_one(&self) -> bool {
        self.one_by_one
    }

    /// Returns the way to connect after a try with `spoken` that ended like this.
    #[must_use]
    pub fn after(self, spoken: MqttVersion, attempt: Attempt, now: u64) -> Self {
        let one_by_one = match attempt {
            Attempt::ClosedOnSubscribe | Attempt::SubscriptionRefused => true,
            Attempt::Served => false,
            _ => self.one_by_one,
        };
        let next = match (spoken, attempt) {
            (_, Attempt::NotReached) => self,
            (MqttVersion::V5, Attempt::ClosedOnConnect) => self.after_close(now),
            (MqttVersion::V5, Attempt::VersionRefused) => {
                Self { version: MqttVersion::V311, ..Self::default() }
            }
            (MqttVersion::V5, _) => Self { has_answered_v5: true, ..Self::default() },
            (MqttVersion::V311, Attempt::ClosedOnConnect | Attempt::VersionRefused) => {
                Self { has_answered_v5: self.has_answered_v5, ..Self::default() }
            }
            (MqttVersion::V311, _) => self,
        };
        Self { one_by_one, ..next }
    }

    fn after_close(self, now: u64) -> Self {
        let closes = self.closes.saturating_add(1);
        if self.has_answered_v5 && closes < CLOSES {
            return Self { version: MqttVersion::V5, closes, ..self };
        }
        Self { version: MqttVersion::V311, closes: 0, doubted_since: Some(now), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Attempt::{
        ClosedOnConnect, ClosedOnSubscribe, NotReached, Refused, Served, SubscriptionRefused,
        VersionRefused,
    };
    use MqttVersion::{V5, V311};

    /// Plays tries one after the other, a minute apart, and returns the version after each.
    fn play(attempts: &[Attempt]) -> Vec<MqttVersion> {
        let (mut known, mut now) = (Negotiation::default(), 0);
        let mut versions = Vec::new();
        for attempt in attempts {
            known = known.after(known.version(now), *attempt, now);
            now += 60_000;
            versions.push(known.version(now));
        }
        versions
    }

    #[test]
    fn the_version_follows_from_the_tries_before() {
        for (what, attempts, versions) in [
            ("5 at first", vec![NotReached, NotReached], vec![V5, V5]),
            ("a code", vec![VersionRefused, Served, Served], vec![V311; 3]),
            ("a close", vec![ClosedOnConnect, Served, NotReached, Served], vec![V311; 4]),
            ("refused in 3.1.1", vec![ClosedOnConnect, VersionRefused], vec![V311, V5]),
            ("closed in both", vec![ClosedOnConnect; 4], vec![V311, V5, V311, V5]),
            ("another refusal in 3.1.1", vec![ClosedOnConnect, Refused], vec![V311, V311]),
            ("another refusal in 5", vec![Refused, ClosedOnConnect], vec![V5, V5]),
            (
                "a network that breaks where 5 was answered",
                vec![Served, ClosedOnConnect, ClosedOnConnect, Served, ClosedOnConnect],
                vec![V5; 5],
            ),
            (
                "a broker that was replaced",
                vec![Served, ClosedOnConnect, ClosedOnConnect, ClosedOnConnect, Served],
                vec![V5, V5, V5, V311, V311],
            ),
            (
                "what was not reached does not count",
                vec![Served, ClosedOnConnect, NotReached, ClosedOnConnect, ClosedOnConnect],
                vec![V5, V5, V5, V5, V311],
            ),
            ("a code counts at once", vec![Served, VersionRefused], vec![V5, V311]),
        ] {
            assert_eq!(play(&attempts), versions, "{what}");
        }
    }

    #[test]
    fn a_version_that_was_only_doubted_is_tried_again_after_a_day() {
        let doubted = Negotiation::default().after(V5, ClosedOnConnect, 1_000);
        assert_eq!(doubted.version(1_000 + RETRY_V5 - 1), V311);
        let later = 1_000 + RETRY_V5;
        assert_eq!(doubted.version(later), V5);
        assert_eq!(doubted.after(V5, Served, later).version(later), V5, "it was the network");
        let again = doubted.after(V5, ClosedOnConnect, later);
        assert_eq!(again.version(later + 1), V311, "for another day");
        let refused = Negotiation::default().after(V5, VersionRefused, 1_000);
        assert_eq!(refused.version(later), V311, "it was refused in words");
    }

    #[test]
    fn subscriptions_are_asked_for_one_by_one_after_a_refusal() {
        for (attempts, one_by_one) in [
            (vec![Served], false),
            (vec![ClosedOnSubscribe], true),
            (vec![SubscriptionRefused], true),
            (vec![ClosedOnSubscribe, NotReached, ClosedOnConnect], true),
            (vec![ClosedOnSubscribe, Served], false),
        ] {
            let known = attempts
                .iter()
                .fold(Negotiation::default(), |known, attempt| known.after(V5, *attempt, 0));
            assert_eq!(known.subscribes_one_by_one(), one_by_one, "{attempts:?}");
        }
    }
}
