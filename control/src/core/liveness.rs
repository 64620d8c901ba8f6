//! Whether a device can be reached.

use std::net::SocketAddr;

use super::records::Standing;
use crate::api::Connection;

/// What is known of a device's connection; nothing of it outlives the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Number of its connection. 0: none.
    pub connection: u64,
    /// The device's own random number of it. 0: not said yet.
    pub session: u64,
    /// When it began, in seconds since 1970. 0: none, or not known.
    pub since: u64,
    /// When it began, seconds since 1970, until that is written to the device's history; 0 then.
    pub unwritten: u64,
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

    /// What people see. `ever`: whether it was ever connected.
    pub fn seen(self, standing: Standing, ever: bool) -> Connection {
        match (standing, self.connection) {
            (Standing::Revoked, _) => Connection::Revoked,
            (Standing::Pending, _) => Connection::Pending,
            (Standing::Approved, 0) if !ever => Connection::NeverSeen,
            (Standing::Approved, 0) => Connection::Offline,
            (Standing::Approved, _) => Connection::Online,
        }
    }
}

/// An address as it is kept: an IPv4 one as such, also when it came over an IPv6 socket.
pub fn address(peer: SocketAddr) -> std::net::IpAddr {
    peer.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

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
