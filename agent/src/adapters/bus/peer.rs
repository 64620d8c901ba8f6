//! User of a client on the bus's TCP port, asked of the kernel for that very connection by
//! `sock_diag`. Where the kernel cannot tell (it was built without), the password alone decides.
//!
//! See decision 0053.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::core::caller::Peer;

/// Netlink message type `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// Netlink message type `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// Size of a netlink header, in bytes.
const HEADER: usize = 16;
/// Size of `inet_diag_req_v2`, in bytes.
const REQUEST: usize = 56;
/// Offset of the user id in a reply with `inet_diag_msg`; [`INODE`] is that of the inode.
const USER: usize = HEADER + 64;
const INODE: usize = HEADER + 68;

/// Finds the user of the client of a connection on this machine; `from` is the client's end.
pub(super) fn of(from: SocketAddr, to: SocketAddr) -> Peer {
    ask(from, to).unwrap_or(Peer::Unknown)
}

/// Finds the user that listens on this port of 127.0.0.1, or of all addresses.
pub(super) fn listener(port: u16) -> Option<u32> {
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    ask(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), nobody).ok()?.user()
}

fn ask(from: SocketAddr, to: SocketAddr) -> io::Result<Peer> {
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = (from, to) else {
        return Ok(Peer::Unknown);
    };
    let mut request = Vec::with_capacity(HEADER + REQUEST);
    let length = u32::try_from(HEADER + REQUEST).unwrap_or(0);
    request.extend(length.to_ne_bytes());
    request.extend(BY_FAMILY.to_ne_bytes());
    request.extend(1_u16.to_ne_bytes()); // NLM_F_REQUEST
    request.extend([0; 8]);
    // AF_INET, IPPROTO_TCP, no extensions; every state.
    request.extend([2, 6, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(from.port().to_be_bytes());
    request.extend(to.port().to_be_bytes());
    for address in [from.ip(), to.ip()] {
        request.extend(address.octets());
        request.extend([0; 12]);
    }
    // Any interface, any cookie.
    request.extend([0; 4]);
    request.extend([0xff; 8]);
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::SOCK_DIAG),
    )?;
    rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    // The kernel has answered when the call above returns.
    let mut answer = [0_u8; 512];
    let (count, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    let answer = answer.get(..count).unwrap_or_default();
    let number = |at: usize| {
        let bytes = answer.get(at..at + 4).and_then(|it| <[u8; 4]>::try_from(it).ok());
        bytes.map(u32::from_ne_bytes).ok_or(io::ErrorKind::InvalidData)
    };
    let kind = answer.get(4..6).and_then(|it| <[u8; 2]>::try_from(it).ok());
    match kind.map(u16::from_ne_bytes) {
        Some(BY_FAMILY) if number(INODE)? == 0 => Ok(Peer::Gone),
        Some(BY_FAMILY) => Ok(Peer::User(number(USER)?)),
        // ENOENT: there is no such connection.
        Some(ERROR) if number(HEADER)?.cast_signed() == -2 => Ok(Peer::Gone),
        _ => Ok(Peer::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_who_a_client_is_and_who_listens() {
        let me = rustix::process::geteuid().as_raw();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        assert_eq!(super::listener(to.port()), Some(me));
        let client = std::net::TcpStream::connect(to).unwrap();
        let (_served, from) = listener.accept().unwrap();
        assert_eq!(of(from, to), Peer::User(me));
        drop(client);
        assert_eq!(of(from, to), Peer::Gone, "it may have been anybody");
    }
}
