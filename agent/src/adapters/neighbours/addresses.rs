//! IPv4 addresses of this machine, from `/proc/net/fib_trie`.

use std::net::Ipv4Addr;

/// Most addresses that are used. A machine has a few networks, and each costs a socket and a try.
const MOST: usize = 8;

/// Addresses of this machine without loopback, those of private networks first.
pub(super) fn own() -> Vec<Ipv4Addr> {
    std::fs::read_to_string("/proc/net/fib_trie").map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found.sort_by_key(|address| (!address.is_private(), *address));
    found.truncate(MOST);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_as_the_kernel_writes_them() {
        let text = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            +-- 127.0.0.0/8 2 0 2\n        |-- 127.0.0.1\n           /32 host LOCAL\n     \
            |-- 84.1.2.3\n           /32 host LOCAL\n     |-- 10.1.0.0\n           /24 link UNICAST\n        \
            |-- 10.1.0.7\n           /32 host LOCAL\n        |-- 10.1.0.255\n           /32 link BROADCAST\n\
            Local:\n        |-- 10.1.0.7\n           /32 host LOCAL\n";
        let addresses: Vec<String> = parse(text).iter().map(Ipv4Addr::to_string).collect();
        assert_eq!(addresses, ["10.1.0.7", "84.1.2.3"]);
    }
}
