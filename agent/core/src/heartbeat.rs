//! Keeping an idle link alive for the fewest bytes.
//!
//! MQTT requires a packet from the client within the keep-alive. A PINGREQ is answered, and the
//! answer is acknowledged: three TCP segments. A beat, an empty publish at QoS 0, is acknowledged
//! by the kernel alone: two, and `TCP_USER_TIMEOUT` still notices a link that is cut. That the
//! control plane itself is alive is seen by a real ping after every few beats.
//!
//! See decision 0024.

/// Beats between two pings: a control plane that hangs with its kernel alive is noticed within
/// five keep-alives.
const BEATS: u8 = 3;
/// Longest topic, in bytes, for which a beat costs less than a ping with its answer and its
/// acknowledgement: 22 bytes of TLS and 5 of MQTT beside it against 48, and 52 of headers less.
const WORTH: usize = 72;
/// Time by which a beat goes out before the MQTT client's own ping, in milliseconds.
const AHEAD: u64 = 1_000;

/// Keep-alive schedule of a link; times in milliseconds of a monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    keep_alive_ms: u64,
    worth: bool,
    beats: u8,
    last: u64,
}

impl Heartbeat {
    /// Creates the schedule of a connection that begins now; `topic` is the length in bytes of the
    /// beat's topic.
    pub fn new(keep_alive_s: u16, topic: usize, now: u64) -> Self {
        let keep_alive_ms = u64::from(keep_alive_s) * 1_000;
        let worth = topic <= WORTH && keep_alive_ms > AHEAD;
        Self { keep_alive_ms, worth, beats: 0, last: now }
    }

    /// Notes that a packet was sent, which restarts the keep-alive interval.
    pub fn sent(&mut self, now: u64) {
        self.last = now;
    }

    /// Notes that a ping was sent: its answer shows that the control plane is alive.
    pub fn ping_sent(&mut self, now: u64) {
        self.beats = 0;
        self.last = now;
    }

    /// Notes that a beat was sent.
    pub fn beat_sent(&mut self, now: u64) {
        self.beats = self.beats.saturating_add(1);
        self.last = now;
    }

    /// Time of the next beat if nothing else is sent, in milliseconds. None: the client's own ping
    /// is next.
    pub fn due(&self) -> Option<u64> {
        (self.worth && self.beats < BEATS)
            .then(|| self.last.saturating_add(self.keep_alive_ms - AHEAD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_beats_then_a_ping() {
        let mut heartbeat = Heartbeat::new(300, 40, 0);
        for round in 0..3 {
            assert_eq!(heartbeat.due(), Some((round + 1) * 299_000));
            heartbeat.beat_sent((round + 1) * 299_000);
        }
        assert_eq!(heartbeat.due(), None, "a control plane that hangs must not go unnoticed");
        heartbeat.ping_sent(1_200_000);
        assert_eq!(heartbeat.due(), Some(1_499_000));
    }

    #[test]
    fn whatever_goes_out_puts_the_next_beat_off_but_not_the_ping() {
        let mut heartbeat = Heartbeat::new(300, 40, 0);
        heartbeat.beat_sent(299_000);
        heartbeat.sent(400_000);
        assert_eq!(heartbeat.due(), Some(699_000));
        heartbeat.beat_sent(699_000);
        heartbeat.beat_sent(998_000);
        heartbeat.sent(1_000_000);
        assert_eq!(heartbeat.due(), None);
    }

    #[test]
    fn a_long_topic_is_not_worth_it() {
        assert!(Heartbeat::new(300, WORTH, 0).due().is_some());
        assert_eq!(Heartbeat::new(300, WORTH + 1, 0).due(), None);
        assert_eq!(Heartbeat::new(1, 40, 0).due(), None);
    }
}
