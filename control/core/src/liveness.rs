//! Liveness of a device's connection: when it was last heard, when its next packet is due, and what
//! state people see.
//!
//! See decisions 0027, 0108 and 0131.

use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_protocol::problem::ProblemCode;

use super::records::{KnownProblem, Standing};
use holdfast_api::Connection;
use holdfast_api::time::rfc3339;
use holdfast_control_rows::Line;

/// Grace after the keep-alive before a promised packet counts as overdue, in seconds: a link has
/// latency, and lost segments are sent again.
const LATE: u64 = 10;

/// State of a device's connection in memory; nothing of it survives the process.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// Number of the connection, rising; 0: not connected.
    pub connection: u64,
    /// Random number that the device gave the connection; 0: not reported yet.
    pub session: u64,
    /// Begin of the connection, in seconds since 1970; 0: not connected, or not known.
    pub since: u64,
    /// Begin of the connection, in seconds since 1970, until it is written to the device's
    /// timeline; 0 afterwards.
    pub unwritten: u64,
    /// True if watchers were told that the next packet is overdue.
    pub late: bool,
    /// Source of the time of the last packet. None: not connected, or not known.
    pub line: Option<Arc<dyn Line>>,
    /// Time since which the device has not answered a request for a sign of life, in seconds since
    /// 1970; 0: it answers, or was not asked. See `answering.rs`.
    pub silent: u64,
}

impl Live {
    /// Records that a connection began. False: it is older than the known one and is ignored.
    pub fn begin(&mut self, connection: u64) -> bool {
        let newer = connection > self.connection;
        if newer {
            *self = Self { connection, ..Self::default() };
        }
        newer
    }

    /// Records that a connection ended. False: it is not the known one and is ignored.
    pub fn end(&mut self, connection: u64) -> bool {
        let known = connection == self.connection && connection != 0;
        if known {
            *self = Self::default();
        }
        known
    }

    /// Returns the time of the last packet on this connection, in seconds since 1970. None: not
    /// known.
    pub fn heard_at(&self, now: u64) -> Option<u64> {
        self.line.as_ref().map(|line| now.saturating_sub(line.silent()))
    }

    /// Returns the time by which the next packet is due, in seconds since 1970. None: not known, or
    /// no keep-alive was promised.
    pub fn heard_by(&self, now: u64) -> Option<u64> {
        let promised = u64::from(self.line.as_ref()?.keep_alive());
        (promised > 0).then(|| self.heard_at(now).map(|at| at + due_within(promised)))?
    }

    /// Returns for how many seconds the next packet is overdue. None: it is not.
    pub fn overdue(&self, now: u64) -> Option<u64> {
        now.checked_sub(self.heard_by(now)?).filter(|late| *late > 0)
    }

    /// True if the device's last report still holds: the device is connected, has not failed to
    /// answer, and its next packet is not overdue.
    pub fn is_heard(&self, now: u64) -> bool {
        self.is_in_time(now) && self.silent == 0
    }

    /// True if the device is connected and its next packet is not overdue. It may still fail to
    /// answer.
    pub fn is_in_time(&self, now: u64) -> bool {
        self.connection != 0 && self.overdue(now).is_none()
    }

    /// Returns the problem `not-answering` while the device does not answer. None: it does.
    pub fn problem(&self) -> Option<KnownProblem> {
        let since = self.silent;
        (since > 0).then(|| KnownProblem {
            code: ProblemCode::NotAnswering.into(),
            message: format!(
                "it does not answer since {}, though its connection is open: its agent hangs, or its link is dead and the connection not ended yet; what it said before may be over",
                rfc3339(since)
            ),
            since,
        })
    }

    /// Returns the connection state that people see. `ever`: the device was connected at least
    /// once.
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

/// Returns the time after a packet within which the next one is due, in seconds, for a keep-alive
/// in seconds: a quarter more, at most [`LATE`]. The gateway cuts the connection later, after one
/// and a half keep-alives. Example: 310 for a keep-alive of 300, 25 for 20.
fn due_within(keep_alive: u64) -> u64 {
    keep_alive + LATE.min(keep_alive / 4)
}

/// Returns a peer's address in canonical form: an IPv4 address as such, also when it came over an
/// IPv6 socket.
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
