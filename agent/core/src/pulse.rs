//! What keeps an idle link alive for the fewest bytes.
//!
//! MQTT wants a word from the client within the keep-alive. A PINGREQ is answered, and the answer
//! is acknowledged: three segments. A beat, an empty publish at QoS 0, is acknowledged by the
//! kernel alone: two, and `TCP_USER_TIMEOUT` still notices a link that is cut. That the control
//! plane itself answers is seen by a real ping after every few beats.
//! See decision 0024.

/// Beats between two pings: a control plane that hangs with its kernel alive is noticed within
/// five keep-alives.
const BEATS: u8 = 3;
/// Longest topic for which a beat costs less than a ping with its answer and its
/// acknowledgement: 22 bytes of TLS and 5 of MQTT beside it against 48, and 52 of headers less.
const WORTH: usize = 72;
/// How long before the MQTT client's own ping a beat goes out, in milliseconds.
const AHEAD: u64 = 1_000;

/// The idle link's rhythm, by times in milliseconds of a rising clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulse {
    keep_alive_ms: u64,
    worth: bool,
    beats: u8,
    last: u64,
}

impl Pulse {
    /// Of a connection that begins now; `topic` is the length in bytes of the beat's topic.
    pub fn new(keep_alive_s: u16, topic: usize, now: u64) -> Self {
        let keep_alive_ms = u64::from(keep_alive_s) * 1_000;
        let worth = topic <= WORTH && keep_alive_ms > AHEAD;
        Self { keep_alive_ms, worth, beats: 0, last: now }
    }

    /// Something went out: a word of its own restarts the silence.
    pub fn said(&mut self, now: u64) {
        self.last = now;
    }

    /// A ping went out: its answer tells about the control plane.
    pub fn pinged(&mut self, now: u64) {
        self.beats = 0;
        self.last = now;
    }

    /// A beat goes out.
    pub fn beaten(&mut self, now: u64) {
        self.beats = self.beats.saturating_add(1);
        self.last = now;
    }

    /// When the next beat is due if nothing else goes out. None: the client's own ping comes.
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
        let mut pulse = Pulse::new(300, 40, 0);
        for round in 0..3 {
            assert_eq!(pulse.due(), Some((round + 1) * 299_000));
            pulse.beaten((round + 1) * 299_000);
        }
        assert_eq!(pulse.due(), None, "a control plane that hangs must not go unnoticed");
        pulse.pinged(1_200_000);
        assert_eq!(pulse.due(), Some(1_499_000));
    }

    #[test]
    fn whatever_goes_out_puts_the_next_beat_off_but_not_the_ping() {
        let mut pulse = Pulse::new(300, 40, 0);
        pulse.beaten(299_000);
        pulse.said(400_000);
        assert_eq!(pulse.due(), Some(699_000));
        pulse.beaten(699_000);
        pulse.beaten(998_000);
        pulse.said(1_000_000);
        assert_eq!(pulse.due(), None);
    }

    #[test]
    fn a_long_topic_is_not_worth_it() {
        assert!(Pulse::new(300, WORTH, 0).due().is_some());
        assert_eq!(Pulse::new(300, WORTH + 1, 0).due(), None);
        assert_eq!(Pulse::new(1, 40, 0).due(), None);
    }
}
