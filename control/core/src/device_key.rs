//! What is known by a device's key: whether a certificate was made for it, and whether a message
//! was signed by its owner.
//!
//! See decision 0003.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use super::model::sha256;

/// Length of a device certificate's serial number, in bytes.
const SERIAL: usize = 16;

/// Makes the serial number of a certificate for this public key (base64): a fixed byte 1 (so that
/// the number is positive and always as long), the first 7 bytes of the key's digest, and 64 random
/// bits.
pub fn serial(public_key: &str, random: [u8; 8]) -> [u8; SERIAL] {
    let digest = sha256(public_key.as_bytes());
    let mut serial = [1; SERIAL];
    let tail = digest.iter().take(7).chain(random.iter());
    serial.iter_mut().skip(1).zip(tail).for_each(|(to, from)| *to = *from);
    serial
}

/// Returns true when a certificate with this serial number was made for this public key (base64).
pub fn serial_is_of(serial: &[u8], public_key: &str) -> bool {
    let digest = sha256(public_key.as_bytes());
    serial.len() == SERIAL && serial.iter().skip(1).take(7).eq(digest.iter().take(7))
}

/// First 26 bytes of a P-256 public key's SubjectPublicKeyInfo; the point's 65 bytes follow.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Returns true when `proof` (base64) is a signature of `message` by the private key of
/// `public_key` (a P-256 SubjectPublicKeyInfo in base64).
pub fn proves(public_key: &str, message: &[u8], proof: &str) -> bool {
    let (Ok(spki), Ok(proof)) = (STANDARD.decode(public_key), STANDARD.decode(proof)) else {
        return false;
    };
    let Some(point) = spki.strip_prefix(&P256) else { return false };
    point.len() == 65
        && UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, &proof).is_ok()
}

/// Returns true when a sealing key that a device sent can be one: 32 bytes in base64, which are not
/// all zero.
pub fn is_sealing_key(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|key| key.len() == 32 && key.iter().any(|byte| *byte != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

    #[test]
    fn a_serial_number_is_of_one_key_and_of_its_own_length() {
        let (one, other) = ("one key", "another key");
        let made = serial(one, [9; 8]);
        assert_eq!((made[0], &made[8..]), (1, [9; 8].as_slice()));
        assert!(serial_is_of(&made, one));
        assert!(!serial_is_of(&made, other));
        assert!(!serial_is_of(&made[..15], one), "too short");
        assert!(!serial_is_of(&[], one));
    }

    #[test]
    fn a_sealing_key_has_32_bytes() {
        for (key, good) in [([7; 33].as_slice(), false), (&[7; 32], true), (&[0; 32], false)] {
            assert_eq!(is_sealing_key(&STANDARD.encode(key)), good, "{key:?}");
        }
        assert!(!is_sealing_key("no base64!") && !is_sealing_key(""));
    }

    #[test]
    fn only_the_owner_of_a_key_proves_it() {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random);
        let document = document.unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random)
                .unwrap();
        let key = STANDARD.encode([P256.as_slice(), pair.public_key().as_ref()].concat());
        let proof = STANDARD.encode(pair.sign(&random, b"message").unwrap());
        assert!(proves(&key, b"message", &proof));
        assert!(!proves(&key, b"another message", &proof));
        assert!(!proves(&key, b"message", &STANDARD.encode(b"no signature")));
        assert!(!proves(&key, b"message", "no base64!"));
        assert!(!proves(&STANDARD.encode(b"no key"), b"message", &proof));
    }
}
