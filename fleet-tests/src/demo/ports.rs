//! Ports that people remember, or free ones when those are taken.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Of the API, as `holdfast serve` has it.
pub(super) const API: u16 = 8443;

/// Of the device gateway, as `holdfast serve` has it.
pub(super) const MQTT: u16 = 8883;

/// This port on loopback, or port 0 (a free one) when somebody listens there.
pub(super) fn choose(port: u16) -> SocketAddr {
    let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpListener::bind(wanted) {
        Ok(_free) => wanted,
        Err(_) => any(),
    }
}

/// Any free port on loopback.
pub(super) fn any() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
