//! Bech32 (BIP 173) of keys of 32 bytes: the text of recipients and identities.

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum: u32, value| {
        let top = sum >> 25;
        let sum = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let applied = GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1);
        applied.fold(sum, |sum, (_, generator)| sum ^ generator)
    })
}

fn expanded(prefix: &str) -> impl Iterator<Item = u8> + '_ {
    let bytes = prefix.bytes();
    bytes.clone().map(|byte| byte >> 5).chain([0]).chain(bytes.map(|byte| byte & 31))
}

/// Regroups bits: from groups of `from` bits into groups of `to`. None: the rest is not zero.
fn regroup(bytes: &[u8], from: u32, to: u32, pad: bool) -> Option<Vec<u8>> {
    let (mut held, mut bits) = (0_u32, 0);
    let mut out = Vec::new();
    for byte in bytes {
        held = (held << from | u32::from(*byte)) & 0xfff;
        bits += from;
        while bits >= to {
            bits -= to;
            out.push(u8::try_from(held >> bits & ((1 << to) - 1)).ok()?);
        }
    }
    let rest = held << (to - bits) & ((1 << to) - 1);
    if pad && bits > 0 {
        out.push(u8::try_from(rest).ok()?);
    } else if !pad && (bits >= from || rest != 0) {
        return None;
    }
    Some(out)
}

/// Returns the text of a key, in lower case.
pub(crate) fn encode(prefix: &str, key: &[u8; 32]) -> String {
    let values = regroup(key, 8, 5, true).unwrap_or_default();
    let all = expanded(prefix).chain(values.iter().copied()).chain([0; 6]);
    let sum = polymod(all) ^ 1;
    let check = (0..6).map(|at| u8::try_from(sum >> (5 * (5 - at)) & 31).unwrap_or(0));
    let letters = values.iter().copied().chain(check);
    let letter = |value: u8| LETTERS.get(usize::from(value)).map(|letter| char::from(*letter));
    format!("{prefix}1{}", letters.filter_map(letter).collect::<String>())
}

/// Reads the key of a text, in lower or upper case. None: it is none.
pub(crate) fn decode(prefix: &str, text: &str) -> Option<[u8; 32]> {
    let lower = text.to_ascii_lowercase();
    if text != lower && text != text.to_ascii_uppercase() {
        return None;
    }
    let data = lower.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |byte: u8| LETTERS.iter().position(|letter| *letter == byte);
    let values: Option<Vec<u8>> =
        data.bytes().map(|byte| value(byte).and_then(|at| u8::try_from(at).ok())).collect();
    let values = values?;
    if polymod(expanded(prefix).chain(values.iter().copied())) != 1 {
        return None;
    }
    regroup(values.get(..values.len().checked_sub(6)?)?, 5, 8, false)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_text_are_one_and_a_changed_letter_is_noticed() {
        // From `age-keygen`'s documentation.
        let text = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
        let key = decode("age", text).unwrap();
        assert_eq!(encode("age", &key), text);
        assert_eq!(decode("age", &text.to_ascii_uppercase()), Some(key));
        for at in 4..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if other[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(decode("age", std::str::from_utf8(&other).unwrap()), None, "letter {at}");
        }
        for bad in ["", "age1", "age", "Age1ql3", "age1qqqqqq", "bge1ql3z7hjy54"] {
            assert_eq!(decode("age", bad), None, "{bad}");
        }
        for key in [[0; 32], [255; 32], std::array::from_fn(|at| at as u8 * 7)] {
            assert_eq!(decode("age-secret-key-", &encode("age-secret-key-", &key)), Some(key));
        }
    }
}
