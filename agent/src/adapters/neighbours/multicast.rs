//! Multicast DNS over IPv4: answers whoever asks for devices of the site, and asks for them.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use holdfast_base::ids::Name;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::UdpSocket;

use crate::adapters::clock::uptime_ms;
use crate::core::mdns;

/// Group and port of multicast DNS.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5_353;
/// Largest message that is read, in bytes; one packet of Ethernet.
const MAX_MESSAGE: usize = 1_500;
/// Time for which answers are waited for.
const WAIT: Duration = Duration::from_millis(700);
/// Most answers that are taken in.
const MAX_ANSWERS: usize = 64;
/// Shortest time between two answers, in milliseconds: a flood of questions costs nothing.
const PAUSE: u64 = 20;

/// Begins to answer on the networks of these addresses, until the future is dropped.
///
/// # Errors
/// When the port cannot be shared.
pub(super) fn answer(
    device: Name,
    port: u16,
    own: &[Ipv4Addr],
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // Other responders of this machine, such as Avahi, listen on the same port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?;
    for address in own {
        if let Err(error) = sockopt::set_ip_add_membership(&socket, &GROUP, address) {
            tracing::debug!(%error, %address, "no multicast here");
        }
    }
    let socket = std::net::UdpSocket::from(socket);
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    Ok(async move {
        let mut message = vec![0; MAX_MESSAGE];
        let mut last = 0;
        loop {
            let Ok((length, from)) = socket.recv_from(&mut message).await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let now = uptime_ms();
            let asked = message.get(..length).unwrap_or_default();
            if !is_near(&from) || now < last + PAUSE {
                continue;
            }
            if let Some(reply) = mdns::answer(asked, &device, port) {
                last = now;
                let _lost_like_any_datagram = socket.send_to(&reply, from).await;
            }
        }
    })
}

/// Asks on the networks of these addresses who is there. Returns names, which nothing proves yet, with
/// the address that each answered from.
pub(super) async fn ask(own: &[Ipv4Addr]) -> Vec<(Name, SocketAddr)> {
    let mut found = Vec::new();
    let mut sockets = Vec::new();
    let id = u16::try_from(uptime_ms() & 0xffff).unwrap_or(1);
    for address in own {
        // Bound to an address of a network, it sends to the group on that network.
        let Ok(socket) = UdpSocket::bind((*address, 0)).await else { continue };
        if socket.send_to(&mdns::question(id), (GROUP, PORT)).await.is_ok() {
            sockets.push(socket);
        }
    }
    let ends = tokio::time::Instant::now() + WAIT;
    for socket in sockets {
        let mut message = vec![0; MAX_MESSAGE];
        // Answers wait in the socket while another one is read.
        while found.len() < MAX_ANSWERS {
            let read = tokio::time::timeout_at(ends, socket.recv_from(&mut message)).await;
            let Ok(Ok((length, from))) = read else { break };
            if is_near(&from) {
                let answers = mdns::read(message.get(..length).unwrap_or_default());
                let at = |port| SocketAddr::new(from.ip(), port);
                found.extend(answers.into_iter().map(|it| (it.device, at(it.port))));
            }
        }
    }
    found
}

/// True if an address may be of the same network: multicast does not leave it, a datagram may.
fn is_near(from: &SocketAddr) -> bool {
    match from.ip() {
        IpAddr::V4(address) => address.is_private() || address.is_link_local(),
        IpAddr::V6(_) => false,
    }
}
