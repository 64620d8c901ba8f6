//! Whether a device can be reached.

use std::net::SocketAddr;
use std::sync::Arc;

use super::records::{KnownProblem, Standing};
use holdfast_api::Connection;
use holdfast_api::time::rfc3339;

/// Of a promised packet: how much later than the keep-alive it may come, in seconds. A link has its
/// latency, and a lost segment is sent again.
const LATE: u64 = 10;

/// When a connection's device was last heard: asked by whoever looks, so that noting a packet is
/// one store to an atomic of the gateway's.
pub trait Line: std::fmt::Debug + Send + Sync + 'static {
    /// Seconds since the last packet of any kind.
    fn silent(&self) -> u64;
    /// Seconds within which the device promised its next packet (MQTT's keep-alive).
    fn keep_alive(&self) -> u16;
}

/// What is known of a device's connection; nothing of it outlives the process.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Number of its connection. 0: none.
    pub connection: u64,
    /// The device's own random number of it. 0: not said yet.
    pub session: u64,
    /// When it began, in seconds since 1970. 0: none, or not known.
    pub since: u64,
    /// When it began, seconds since 1970, until that is written to the device's history; 0 then.
    pub unwritten: u64,
    /// Whether watchers were told that its next packet is overdue.
    pub late: bool,
    /// Tells when it was last heard. None: not connected, or nobody knows.
    pub line: Option<Arc<dyn Line>>,
    /// Since when it does not answer what it is asked, seconds since 1970; 0: it does, as far as
    /// anybody asked. See `answering.rs`.
    pub silent: u64,
}

impl Live {
    /// A connection began. False: it is an older one than is known.
    pub fn begin(&mut self, connection: u64) -> bool {
        let newer = connection > self.connection;
        if newer {
            *self = Self { connection, ..Self::default() };
        }
        newer
    }

    /// A connection ended. False: it is not the one that is known.
    pub fn end(&mut self, connection: u64) -> bool {
        let known = connection == self.connection && connection != 0;
        if known {
            *self = Self::default();
        }
        known
    }

    /// When it was last heard by this connection, in seconds since 1970. None: not known.
    pub fn heard_at(&self, now: u64) -> Option<u64> {
        self.line.as_ref().map(|line| now.saturating_sub(line.silent()))
    }

    /// When its next packet is due, in seconds since 1970. None: not known.
    pub fn heard_by(&self, now: u64) -> Option<u64> {
        let promised = u64::from(self.line.as_ref()?.keep_alive());
        (promised > 0).then(|| self.heard_at(now).map(|at| at + due_within(promised)))?
    }

    /// For how long its next packet is overdue, in seconds. None: it is not.
    pub fn overdue(&self, now: u64) -> Option<u64> {
        now.checked_sub(self.heard_by(now)?).filter(|late| *late > 0)
    }

    /// Whether what the device said last is what it does: it is connected and, as far as anybody
    /// asked, answers.
    pub fn is_heard(&self) -> bool {
        self.connection != 0 && self.silent == 0
    }

    /// That it does not answer.
    pub fn problem(&self) -> Option<KnownProblem> {
        let since = self.silent;
        (since > 0).then(|| KnownProblem {
            code: "not-answering".into(),
            message: format!(
                "it does not answer since {}, though its connection is open: its agent hangs, or its link is dead and the connection not ended yet; what it said before may be over",
                rfc3339(since)
            ),
            since,
        })
    }

    /// What people see. `ever`: whether it was ever connected.
    pub fn seen(&self, standing: Standing, ever: bool) -> Connection {
        match (standing, self.connection) {
            (Standing::Revoked, _) => Connection::Revoked,
            (Standing::Pending, _) => Connection::Pending,
            (Standing::Approved, 0) if !ever => Connection::NeverSeen,
            (Standing::Approved, 0) => Connection::Offline,
            (Standing::Approved, _) => Connection::Online,
        }
    }
}

/// Within how many seconds a packet must come after the one before, at this keep-alive in seconds.
/// The connection is cut after one and a half of it.
fn due_within(keep_alive: u64) -> u64 {
    keep_alive + LATE.min(keep_alive / 4)
}

/// An address as it is kept: an IPv4 one as such, also when it came over an IPv6 socket.
pub fn address(peer: SocketAddr) -> std::net::IpAddr {
    peer.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Silent(u64, u16);

    impl Line for Silent {
        fn silent(&self) -> u64 {
            self.0
        }
        fn keep_alive(&self) -> u16 {
            self.1
        }
    }

    #[test]
    fn a_packet_is_due_a_little_after_the_keep_alive() {
        for (silent, keep_alive, by, overdue) in [
            (0, 300, Some(1_310), None),
            (310, 300, Some(1_000), None),
            (311, 300, Some(999), Some(1)),
            (400, 300, Some(910), Some(90)),
            (12, 8, Some(998), Some(2)),
            (5_000, 0, None, None),
        ] {
            let live = Live { line: Some(Arc::new(Silent(silent, keep_alive))), ..Live::default() };
            let said = (live.heard_by(1_000), live.overdue(1_000));
            assert_eq!(said, (by, overdue), "silent for {silent} s of {keep_alive} s");
            assert_eq!(live.heard_at(1_000), Some(1_000_u64.saturating_sub(silent)));
        }
        assert_eq!(Live::default().heard_at(1_000), None);
        assert_eq!(Live::default().overdue(1_000), None);
    }

    #[test]
    fn an_end_reported_late_changes_nothing() {
        let mut live = Live::default();
        assert!(live.begin(3));
        assert!(live.begin(5));
        assert!(!live.end(3), "the older connection's end comes after the newer began");
        assert!(!live.begin(4), "so may its beginning");
        assert_eq!(live.seen(Standing::Approved, true), Connection::Online);
        assert!(live.end(5));
        assert!(!live.end(5));
        assert_eq!(live.seen(Standing::Approved, true), Connection::Offline);
        assert_eq!(live.seen(Standing::Revoked, true), Connection::Revoked);
        assert_eq!(live.seen(Standing::Pending, true), Connection::Pending);
        assert_eq!(live.seen(Standing::Approved, false), Connection::NeverSeen);
    }
}
