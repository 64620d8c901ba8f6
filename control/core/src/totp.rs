//! Second factor of a login: codes of six digits that change every 30 seconds (TOTP, RFC 6238, with
//! SHA-1 as all authenticator programs have it).

use ring::hmac;

/// Length of a secret in bytes, as RFC 4226 recommends it.
pub const SECRET: usize = 20;

/// Seconds for which a code counts.
const STEP: u64 = 30;

/// Steps before and after the present one whose codes count too: clocks of phones differ.
const SKEW: u64 = 1;

/// Returns the code of a step.
fn code(secret: &[u8], step: u64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag.last().copied().unwrap_or(0) & 15);
    let bytes = tag.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
    (u32::from_be_bytes(bytes.unwrap_or_default()) & 0x7fff_ffff) % 1_000_000
}

/// Checks a code at the time `now`, in seconds since 1970. Codes of the step `last` and of those
/// before were used already and do not count again. Returns the step of the code.
pub fn check(secret: &[u8], given: &str, now: u64, last: u64) -> Option<u64> {
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    let present = now / STEP;
    if given.len() != 6 || !given.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let wanted: u32 = given.parse().ok()?;
    (present.saturating_sub(SKEW)..=present + SKEW)
        .find(|step| *step > last && code(secret, *step) == wanted)
}

/// Returns a secret in base32 (RFC 4648, without padding), as authenticator programs take it by
/// hand.
pub fn base32(secret: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(secret.len().div_ceil(5) * 8);
    for chunk in secret.chunks(5) {
        let bits = chunk.iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte));
        let bits = bits << (8 * (5 - chunk.len()));
        let digits = (chunk.len() * 8).div_ceil(5);
        for digit in 0..digits {
            let index = usize::try_from((bits >> (35 - 5 * digit)) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'A')));
        }
    }
    text
}

/// Returns the address that an authenticator program reads from a QR code.
pub fn address(secret: &[u8], tenant: &str, user: &str) -> String {
    format!(
        "otpauth://totp/Holdfast%20{tenant}:{user}?secret={}&issuer=Holdfast%20{tenant}",
        base32(secret)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Secret of the test vectors of RFC 6238, appendix B.
    const RFC: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_standard() {
        for (at, expected) in [
            (59, 287_082),
            (1_111_111_109, 81_804),
            (1_111_111_111, 50_471),
            (1_234_567_890, 5_924),
            (2_000_000_000, 279_037),
            (20_000_000_000, 353_130),
        ] {
            assert_eq!(code(RFC, at / STEP), expected, "{at}");
        }
    }

    #[test]
    fn a_code_counts_once_and_clocks_may_differ_by_a_step() {
        let now = 1_111_111_111;
        assert_eq!(check(RFC, "050471", now, 0), Some(now / STEP));
        assert_eq!(check(RFC, "050 471", now + 30, 0), Some(now / STEP), "one step late");
        assert_eq!(check(RFC, "050471", now - 30, 0), Some(now / STEP), "one step early");
        assert_eq!(check(RFC, "050471", now + 90, 0), None, "too late");
        assert_eq!(check(RFC, "050471", now, now / STEP), None, "used already");
        for wrong in ["", "5047", "50471", "0504711", "05047a", "+50471", "050472"] {
            assert_eq!(check(RFC, wrong, now, 0), None, "{wrong:?}");
        }
    }

    #[test]
    fn secrets_are_written_in_base32() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        let address = address(RFC, "default", "anna");
        assert!(address.contains("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer="), "{address}");
    }
}
