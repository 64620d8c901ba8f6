//! Well-known ports, or free ones when those are taken.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Default port of the API, as in `holdfast serve`.
pub(super) const API: u16 = 8443;

/// Default port of the device gateway, as in `holdfast serve`.
pub(super) const MQTT: u16 = 8883;

/// Returns this port on loopback, or port 0 (a free one) if another program listens there.
pub(super) fn choose(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(wanted) {
        Ok(_free) => wanted,
        Err(_) => any(),
    }
}

/// Returns port 0 on loopback: any free port.
pub(super) fn any() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
