//! Network interface of the default route, as the kernel gives it.

/// Returns the interface of the default route with the lowest metric, from the text of
/// `/proc/net/route`. None: there is no default route that is up.
pub fn default_interface(text: &str) -> Option<&str> {
    let mut best: Option<(u64, &str)> = None;
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, destination, _gateway, flags, _references, _use, metric, mask, ..] =
            fields.as_slice()
        else {
            continue;
        };
        let up = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        let (Ok(metric), true) = (metric.parse::<u64>(), up) else { continue };
        let default = *destination == "00000000" && *mask == "00000000";
        if default && best.is_none_or(|(least, _)| metric < least) {
            best = Some((metric, name));
        }
    }
    best.map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_of_the_least_metric() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n";
        let text = format!(
            "{head}wwan0\t00000000\t0101A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n\
             eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
             eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             down0\t00000000\t0101A8C0\t0002\t0\t0\t1\t00000000\t0\t0\t0\n"
        );
        assert_eq!(default_interface(&text), Some("eth0"));
        assert_eq!(default_interface(head), None);
        assert_eq!(default_interface("nonsense\nmore of it\n"), None);
    }
}
