//! Conversion of whole numbers of any size between decimal digits and the bytes of CBOR big numbers
//! (RFC 8949, 3.4.3).
//!
//! See decision 0090.

/// Longest number in bytes, a few thousand digits. No measurement is longer, and the work grows
/// with the square of the length.
pub(super) const MAX_BYTES: usize = 1_024;

/// Most decimal digits of a number of [`MAX_BYTES`] bytes: 2.408 digits a byte, rounded up.
const MAX_DIGITS: usize = MAX_BYTES * 2_409 / 1_000;

/// Base of a limb, which holds nine decimal digits.
const LIMB: u64 = 1_000_000_000;

/// Returns the decimal digits of a big-endian number, plus one if `more`. None: it is too long.
pub(super) fn of_bytes(bytes: &[u8], more: bool) -> Option<String> {
    if bytes.len() > MAX_BYTES {
        return None;
    }
    // Lowest limb first. In `carry_in` a sum stays below 2^64: a limb is below 10^9 and is
    // multiplied by 256 at most.
    let mut limbs: Vec<u64> = vec![0];
    let mut carry_in = |times: u64, add: u64| {
        let mut carry = add;
        for limb in &mut limbs {
            let sum = *limb * times + carry;
            *limb = sum % LIMB;
            carry = sum / LIMB;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    };
    for byte in bytes {
        carry_in(256, u64::from(*byte));
    }
    carry_in(1, u64::from(more));
    let mut text = String::new();
    for limb in limbs.iter().rev() {
        if text.is_empty() {
            text = limb.to_string();
        } else {
            text.push_str(&format!("{limb:09}"));
        }
    }
    Some(text)
}

/// Returns the tag and the bytes of a whole number in decimal: tag 2, or 3 for one below 0. None:
/// it is too long.
pub(super) fn to_bytes(number: &str) -> Option<(u64, Vec<u8>)> {
    let below = number.strip_prefix('-');
    let digits = below.unwrap_or(number);
    if digits.len() > MAX_DIGITS {
        return None;
    }
    // Lowest byte first.
    let mut bytes: Vec<u8> = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u32::from(digit.checked_sub(b'0')?);
        for byte in &mut bytes {
            let sum = u32::from(*byte) * 10 + carry;
            *byte = u8::try_from(sum & 0xff).ok()?;
            carry = sum >> 8;
        }
        if carry > 0 {
            bytes.push(u8::try_from(carry).ok()?);
        }
    }
    if below.is_some() {
        // Tag 3 stands for -1 - n, so that n is one less than the digits: -1 has no bytes.
        for byte in &mut bytes {
            let (less, borrowed) = byte.overflowing_sub(1);
            *byte = less;
            if !borrowed {
                break;
            }
        }
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
    }
    bytes.reverse();
    Some((if below.is_some() { 3 } else { 2 }, bytes))
}
