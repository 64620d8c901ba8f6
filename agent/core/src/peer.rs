//! Device that a certificate of the control plane's CA is of: the one URI in its subject alternative
//! names, `spiffe://TRUST DOMAIN/TENANT/DEVICE`. The certificate's signature was checked before.
//!
//! See decision 0179.

use holdfast_base::ids::DeviceId;

/// Tags of DER.
const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// Extensions of a certificate, `[3]`.
const EXTENSIONS: u8 = 0xa3;
/// URI within a list of names, `[6]`.
const URI: u8 = 0x86;
/// Object identifier 2.5.29.17, subject alternative names.
const NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

/// Returns the device that a certificate is of. None: it is none of a device.
pub fn device_of(certificate: &[u8]) -> Option<DeviceId> {
    let (body, _) = within(certificate, SEQUENCE)?;
    let (to_be_signed, _) = within(body, SEQUENCE)?;
    let extensions = elements(to_be_signed).find(|(tag, _)| *tag == EXTENSIONS)?.1;
    let (extensions, _) = within(extensions, SEQUENCE)?;
    let names = elements(extensions).find_map(|(_, extension)| {
        let mut parts = elements(extension);
        let (tag, id) = parts.next()?;
        let is_names = tag == OBJECT && id == NAMES;
        // A flag may stand between: whether the extension is critical.
        is_names.then(|| parts.find(|(tag, _)| *tag == OCTETS)).flatten()
    })?;
    let (names, _) = within(names.1, SEQUENCE)?;
    let mut uris = elements(names).filter(|(tag, _)| *tag == URI);
    let uri = str::from_utf8(uris.next()?.1).ok()?.strip_prefix("spiffe://")?;
    if uris.next().is_some() {
        return None;
    }
    let mut parts = uri.split('/').skip(1);
    let (tenant, device) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(DeviceId { tenant, device })
}

/// Content of the first element, which must have this tag, and what follows it.
fn within(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Elements one behind the other, as tag and content. A damaged one ends them.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, content, rest) = element(bytes)?;
        bytes = rest;
        Some((tag, content))
    })
}

fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if length >= 0x80 {
        // Certificates are far below 64 KiB: a length has at most 2 bytes.
        let count = length - 0x80;
        let (digits, behind) = rest.split_at_checked(count).filter(|_| (1..=2).contains(&count))?;
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = behind;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        match u8::try_from(content.len()).ok().filter(|length| *length < 0x80) {
            Some(length) => bytes.push(length),
            None => bytes.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]),
        }
        bytes.extend(content);
        bytes
    }

    /// Makes what of a certificate is looked at, with these names.
    fn certificate(names: &[(u8, &str)]) -> Vec<u8> {
        let names: Vec<u8> =
            names.iter().flat_map(|(tag, name)| der(*tag, name.as_bytes())).collect();
        let value = der(OCTETS, &der(SEQUENCE, &names));
        let usage = [der(OBJECT, &[0x55, 0x1d, 0x0f]), der(1, &[0xff]), der(OCTETS, &[1])].concat();
        let own = [der(OBJECT, &NAMES), der(1, &[0xff]), value].concat();
        let list = [der(SEQUENCE, &usage), der(SEQUENCE, &own)].concat();
        let key = der(SEQUENCE, &[7; 300]);
        let parts = [der(2, &[5]), key, der(EXTENSIONS, &der(SEQUENCE, &list))].concat();
        der(SEQUENCE, &[der(SEQUENCE, &parts), der(SEQUENCE, &[1]), der(3, &[0; 70])].concat())
    }

    #[test]
    fn the_one_uri_says_which_device_it_is() {
        let of = |names: &[(u8, &str)]| device_of(&certificate(names)).map(|it| it.to_string());
        let uri = (URI, "spiffe://holdfast.internal/acme/gw-1");
        assert_eq!(of(&[uri]), Some("acme_gw-1".into()));
        assert_eq!(of(&[(0x82, "gw-1.example"), uri]), Some("acme_gw-1".into()));
        for none in [
            &[][..],
            &[(0x82, "control.holdfast.internal")],
            &[uri, uri],
            &[(URI, "https://holdfast.internal/acme/gw-1")],
            &[(URI, "spiffe://holdfast.internal/acme")],
            &[(URI, "spiffe://holdfast.internal/acme/gw-1/x")],
            &[(URI, "spiffe://holdfast.internal/acme/GW 1")],
        ] {
            assert_eq!(of(none), None, "{none:?}");
        }
        let whole = certificate(&[uri]);
        for end in 0..whole.len() {
            assert_eq!(device_of(&whole[..end]), None, "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, with: u8) {
            device_of(&bytes);
            let mut whole = certificate(&[(URI, "spiffe://h/acme/gw-1")]);
            let at = at % whole.len();
            whole[at] = with;
            device_of(&whole);
        }
    }
}
