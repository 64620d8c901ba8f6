//! Resolution of host names, by `/etc/hosts` and DNS alone.
//!
//! A static program that asked the C library would load the name service modules that
//! `nsswitch.conf` names, and they are not there. So it takes literal addresses, then the hosts
//! file, then the servers of `resolv.conf` over UDP.
//!
//! See decision 0012.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::core::dns::{A, AAAA, in_hosts, question, records};

/// Longest wait for one reply of one server.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Most servers that are asked, as in the C library.
const MAX_SERVERS: usize = 3;
/// Largest reply in bytes: 512 over UDP without extensions, but some servers send more.
const MAX_ANSWER: usize = 1500;

/// Reason why a host has no address.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// Host that no name server has an address for.
    #[error("no address for {0}")]
    NoAddress(String),
    /// Failure of the last name server that was asked.
    #[error("{host}: name server {server}: {why}")]
    Server {
        /// Host that was asked for.
        host: String,
        /// Address of the name server.
        server: IpAddr,
        /// Reason why it gave no answer.
        why: NotAnswered,
    },
}

/// Reason why a name server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum NotAnswered {
    /// Failure of the socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// System without random numbers.
    #[error("no randomness")]
    Random,
    /// Text that cannot be asked for.
    #[error("not a host name")]
    Name,
    /// Answer that did not come in time.
    #[error("no answer in time")]
    Late,
    /// Answer that cannot be read.
    #[error("a malformed answer")]
    Malformed,
}

/// Resolves a host to all its addresses, with the port.
///
/// # Errors
/// [`Unresolved`], when there is none.
pub async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // A trailing dot (`localhost.`) only says that the name is complete.
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut found = in_hosts(&hosts, bare);
    if found.is_empty() && bare.eq_ignore_ascii_case("localhost") {
        found = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    if found.is_empty() {
        found = ask_servers(bare).await?;
    }
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

async fn ask_servers(host: &str) -> Result<Vec<IpAddr>, Unresolved> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut servers: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse().ok())
        .take(MAX_SERVERS)
        .collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    let mut last = Unresolved::NoAddress(host.to_owned());
    for server in servers {
        let (four, six) = tokio::join!(ask(server, host, A), ask(server, host, AAAA));
        match (four, six) {
            (Err(why), Err(_)) => {
                last = Unresolved::Server { host: host.to_owned(), server, why };
            }
            (four, six) => {
                let mut found = four.unwrap_or_default();
                found.extend(six.unwrap_or_default());
                if !found.is_empty() {
                    return Ok(found);
                }
            }
        }
    }
    Err(last)
}

async fn ask(server: IpAddr, host: &str, kind: u16) -> Result<Vec<IpAddr>, NotAnswered> {
    let any: SocketAddr = match server {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A new socket, and so a random port, for each question: a forged reply has to guess it and the
    // id.
    let socket = UdpSocket::bind(any).await?;
    socket.connect((server, 53)).await?;
    let mut id = [0; 2];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut id).map_err(|_| NotAnswered::Random)?;
    let question = question(id, host, kind).ok_or(NotAnswered::Name)?;
    socket.send(&question).await?;
    let mut answer = vec![0; MAX_ANSWER];
    let read = async {
        loop {
            let length = socket.recv(&mut answer).await?;
            if answer.get(..2) == Some(&id[..]) {
                return Ok::<usize, NotAnswered>(length);
            }
        }
    };
    let length = tokio::time::timeout(TIMEOUT, read).await.map_err(|_| NotAnswered::Late)??;
    answer.truncate(length);
    records(&answer, kind).ok_or(NotAnswered::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_server() {
        let found = addresses("[::1]", 80).await.unwrap();
        assert_eq!(found, ["[::1]:80".parse::<SocketAddr>().unwrap()]);
    }
}
