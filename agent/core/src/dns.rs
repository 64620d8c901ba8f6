//! Encoding of DNS queries, decoding of their responses, and the lines of the hosts file. Responses
//! come over UDP from anybody: nothing in them may loop or panic.
//!
//! See decision 0012.

use std::net::IpAddr;

/// DNS record type for an IPv4 address.
pub const A: u16 = 1;
/// DNS record type for an IPv6 address.
pub const AAAA: u16 = 28;

/// Returns the addresses that the hosts file lists for a host name, without regard to case.
pub fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next()?;
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
        })
        .collect()
}

/// Encodes a query for one record type, with recursion desired. None: `host` is not a valid host
/// name.
pub fn question(id: [u8; 2], host: &str, kind: u16) -> Option<Vec<u8>> {
    let mut bytes = id.to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    (bytes.len() < 300).then_some(bytes)
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Returns the offset behind the name that begins at `at`. A compressed name ends at its pointer,
/// which is not followed, so that no loop can be made of names.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => return Some(at + 1),
            64.. => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

/// Decodes the addresses of this record type in a response. None: the response is malformed.
pub fn records(bytes: &[u8], kind: u16) -> Option<Vec<IpAddr>> {
    let questions = number(bytes, 4)?;
    let answers = number(bytes, 6)?;
    let mut at = 12;
    for _ in 0..questions {
        at = skip_name(bytes, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = skip_name(bytes, at)?;
        let (its_kind, length) = (number(bytes, at)?, usize::from(number(bytes, at + 8)?));
        let data = bytes.get(at + 10..at + 10 + length)?;
        if its_kind == kind {
            let address: Option<IpAddr> = match kind {
                A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
                _ => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            };
            found.extend(address);
        }
        at += 10 + length;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hosts_file_is_read() {
        let text = "127.0.0.1 localhost\n10.0.0.5 control Control.local # the rack\n";
        assert_eq!(in_hosts(text, "control.LOCAL"), ["10.0.0.5".parse::<IpAddr>().unwrap()]);
        assert!(in_hosts(text, "rack").is_empty());
    }

    #[test]
    fn an_answer_with_a_compressed_name_is_read() {
        let mut answer = question([1, 2], "a.example", A).unwrap();
        answer[2] = 0x81;
        answer[7] = 2;
        // A CNAME to skip, then the address.
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 7]);
        assert_eq!(records(&answer, A).unwrap(), ["10.0.0.7".parse::<IpAddr>().unwrap()]);
        for length in 0..answer.len() {
            assert!(records(&answer[..length], A).is_none_or(|found| found.is_empty()));
        }
    }

    proptest! {
        #[test]
        fn no_answer_breaks_it(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _any = records(&bytes, AAAA);
        }
    }
}
