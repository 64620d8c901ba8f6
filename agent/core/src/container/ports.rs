//! Ports of the device that a workload is assigned: the same ones again as long as they are free.
//!
//! See decision 0175.

use holdfast_base::ids::Name;

/// Range of ports that are assigned: below those that Linux gives to connections of its own (32768),
/// above those that services are known by.
pub const RANGE: std::ops::Range<u16> = 20_000..30_000;
/// Most ports that are tried for one name.
pub const TRIES: usize = 200;

/// Ports to try for a name of a workload, in order: the former one first, then those that follow
/// from the names.
pub fn candidates(
    workload: &Name,
    port: &str,
    former: Option<u16>,
) -> impl Iterator<Item = u16> + use<> {
    let text = format!("{workload}/{port}");
    // FNV-1a: nobody gains by a collision, and the next port is tried then.
    let hash = text
        .bytes()
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let count = u32::from(RANGE.end - RANGE.start);
    let at = move |step: u32| {
        let offset = hash.wrapping_add(step.wrapping_mul(7_919)) % count;
        RANGE.start + u16::try_from(offset).unwrap_or(0)
    };
    former.into_iter().chain((0..).map(at)).take(TRIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_port_comes_first_and_others_differ() {
        let name: Name = "till".parse().unwrap();
        let first: Vec<u16> = candidates(&name, "http", None).collect();
        assert_eq!(first, candidates(&name, "http", None).collect::<Vec<_>>());
        assert!(first.iter().all(|port| RANGE.contains(port)));
        let different: std::collections::BTreeSet<u16> = first.iter().copied().collect();
        assert_eq!(different.len(), TRIES);
        assert_ne!(candidates(&name, "admin", None).next(), first.first().copied());
        assert_eq!(candidates(&name, "http", Some(8_080)).next(), Some(8_080));
    }
}
