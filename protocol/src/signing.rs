//! COSE_Sign1 with Ed25519: whatever is sent to a device is signed, since the broker is not
//! trusted. The purpose is authenticated as external data, so that bytes signed for one purpose
//! never pass for another. A desired state names its device in its payload; a call has its device
//! and session in the external data, and so not on the wire.
//!
//! See decision 0006.

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, iana};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::{Checkpoint, checkpoint_purpose};
use crate::message::{Call, DesiredState};
use holdfast_base::codec::{self, CodecError, MAX_MESSAGE};
use holdfast_base::ids::DeviceId;

/// Message that travels signed and names its device.
pub trait Signed: Serialize + DeserializeOwned {
    /// External authenticated data: the purpose of the signature.
    const PURPOSE: &'static [u8];
    /// Returns the device that the message is addressed to.
    fn device(&self) -> &DeviceId;
}

impl Signed for DesiredState {
    const PURPOSE: &'static [u8] = b"holdfast/v1/desired";
    fn device(&self) -> &DeviceId {
        &self.device
    }
}

/// Returns the external authenticated data of a call, which names its device and session. Both
/// sides know these, so they need not travel; for any other device or session the signature does
/// not match.
pub fn call_purpose(device: &DeviceId, session: u64) -> String {
    format!("holdfast/v1/call/{device}/{session}")
}

/// Reason why a signed message was refused. Nothing of the message may be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The bytes are no COSE_Sign1 object, or one without a payload.
    #[error("not a signed message")]
    NotSigned,
    /// The object names another algorithm than EdDSA.
    #[error("signed with an algorithm other than EdDSA")]
    Algorithm,
    /// The signature is not by the control plane's key over these bytes for this purpose.
    #[error(
        "the signature does not match the control plane's key: forged, damaged, or signed by another control plane"
    )]
    Signature,
    /// The message is well signed, but addressed to another device.
    #[error("signed for device {found}, not for this one")]
    Foreign {
        /// Device that the message is addressed to.
        found: DeviceId,
    },
    /// The message is well signed, but cannot be decoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The private key could not be read.
    #[error("the signing key is not an Ed25519 key in PKCS#8")]
    Key,
}

/// Signing key of the control plane.
pub struct Signer {
    pair: Ed25519KeyPair,
}

impl Signer {
    /// Reads the key from a PKCS#8 document.
    ///
    /// # Errors
    /// Returns [`SigningError::Key`] if the document holds no Ed25519 key.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, SigningError> {
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(document).map_err(|_| SigningError::Key)?;
        Ok(Self { pair })
    }

    /// Returns the public key, 32 bytes, as devices get it at enrolment.
    pub fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Encodes a message and signs it.
    ///
    /// # Errors
    /// Returns [`SigningError::Codec`] if the message is too large.
    pub fn sign<T: Signed>(&self, message: &T) -> Result<Vec<u8>, SigningError> {
        self.seal(codec::encode(message)?, T::PURPOSE)
    }

    /// Encodes a call and signs it for a device and its present session.
    ///
    /// # Errors
    /// Returns [`SigningError::Codec`] if the message is too large.
    pub fn sign_call(
        &self,
        call: &Call,
        device: &DeviceId,
        session: u64,
    ) -> Result<Vec<u8>, SigningError> {
        self.seal(codec::encode(call)?, call_purpose(device, session).as_bytes())
    }

    /// Encodes a checkpoint of a tenant's audit log, or of the one over all tenants, and signs it.
    ///
    /// # Errors
    /// Returns a [`SigningError`] that no checkpoint causes.
    pub fn sign_checkpoint(
        &self,
        checkpoint: &Checkpoint,
        tenant: Option<&str>,
    ) -> Result<Vec<u8>, SigningError> {
        self.seal(codec::encode(checkpoint)?, checkpoint_purpose(tenant).as_bytes())
    }

    fn seal(&self, payload: Vec<u8>, purpose: &[u8]) -> Result<Vec<u8>, SigningError> {
        let protected = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
        let bytes = CoseSign1Builder::new()
            .protected(protected)
            .payload(payload)
            .create_signature(purpose, |signed| self.pair.sign(signed).as_ref().to_vec())
            .build()
            .to_vec()
            .map_err(|_| SigningError::NotSigned)?;
        if bytes.len() > MAX_MESSAGE {
            return Err(CodecError::TooLarge { size: bytes.len() }.into());
        }
        Ok(bytes)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Checks size, form, algorithm, signature, version and addressee, in that order, and then returns
/// the message.
///
/// # Errors
/// Returns the [`SigningError`] of the first check that fails; no input causes a panic.
pub fn verify<T: Signed>(
    bytes: &[u8],
    public_key: &[u8],
    device: &DeviceId,
) -> Result<T, SigningError> {
    let message: T = codec::decode(&open(bytes, public_key, T::PURPOSE)?)?;
    if message.device() != device {
        return Err(SigningError::Foreign { found: message.device().clone() });
    }
    Ok(message)
}

/// Checks and returns a call, which must be signed for this device and session. Session 0 has no
/// calls.
///
/// # Errors
/// Returns the [`SigningError`] of the first check that fails. A call for another device or session
/// is [`SigningError::Signature`].
pub fn open_call(
    bytes: &[u8],
    public_key: &[u8],
    device: &DeviceId,
    session: u64,
) -> Result<Call, SigningError> {
    if session == 0 {
        return Err(SigningError::Signature);
    }
    let payload = open(bytes, public_key, call_purpose(device, session).as_bytes())?;
    Ok(codec::decode(&payload)?)
}

/// Checks and returns a checkpoint of a tenant's audit log, or of the one over all tenants.
///
/// # Errors
/// Returns the [`SigningError`] of the first check that fails. A checkpoint of another chain is
/// [`SigningError::Signature`].
pub fn open_checkpoint(
    bytes: &[u8],
    public_key: &[u8],
    tenant: Option<&str>,
) -> Result<Checkpoint, SigningError> {
    let payload = open(bytes, public_key, checkpoint_purpose(tenant).as_bytes())?;
    Ok(codec::from_slice(&payload).map_err(CodecError::Malformed)?)
}

/// Returns the payload, once size, form, algorithm and signature have been checked.
fn open(bytes: &[u8], public_key: &[u8], purpose: &[u8]) -> Result<Vec<u8>, SigningError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(CodecError::TooLarge { size: bytes.len() }.into());
    }
    let cose = CoseSign1::from_slice(bytes).map_err(|_| SigningError::NotSigned)?;
    let eddsa = coset::RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA);
    if cose.protected.header.alg != Some(eddsa) {
        return Err(SigningError::Algorithm);
    }
    if cose.payload.is_none() {
        return Err(SigningError::NotSigned);
    }
    let key = UnparsedPublicKey::new(&ED25519, public_key);
    cose.verify_signature(purpose, |signature, signed| key.verify(signed, signature))
        .map_err(|_| SigningError::Signature)?;
    cose.payload.ok_or(SigningError::NotSigned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Method;
    use holdfast_base::ids::StateVersion;
    use std::collections::BTreeMap;

    /// Returns the key of a fixed seed, built as a PKCS#8 v1 prefix and 32 bytes of `seed`.
    fn signer(seed: u8) -> Signer {
        let mut document = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        document.extend([seed; 32]);
        Signer::from_pkcs8(&document).unwrap()
    }

    fn desired() -> DesiredState {
        DesiredState {
            v: holdfast_base::WIRE_VERSION,
            device: "acme_dev-1".parse().unwrap(),
            epoch: 1,
            generation: 7,
            workloads: BTreeMap::new(),
            data: None,
            audit: None,
        }
    }

    #[test]
    fn what_was_signed_for_a_device_reaches_it() {
        let bytes = signer(1).sign(&desired()).unwrap();
        let id = "acme_dev-1".parse().unwrap();
        let read: DesiredState = verify(&bytes, &signer(1).public_key(), &id).unwrap();
        assert_eq!(read.version(), StateVersion { epoch: 1, generation: 7 });
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let bytes = signer(1).sign(&desired()).unwrap();
        let key = signer(1).public_key();
        let id = "acme_dev-1".parse().unwrap();
        for length in 0..bytes.len() {
            assert!(verify::<DesiredState>(&bytes[..length], &key, &id).is_err(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = verify::<DesiredState>(&bad, &key, &id) {
                // COSE's unprotected header is not signed; nothing there is used.
                assert_eq!(read, desired(), "bit {bit} changed the message");
            }
        }
    }

    #[test]
    fn forged_foreign_and_repurposed_are_told_apart() {
        let id: DeviceId = "acme_dev-1".parse().unwrap();
        let other: DeviceId = "acme_dev-2".parse().unwrap();
        let key = signer(1).public_key();
        let forged = signer(2).sign(&desired()).unwrap();
        assert!(matches!(verify::<DesiredState>(&forged, &key, &id), Err(SigningError::Signature)));
        let good = signer(1).sign(&desired()).unwrap();
        assert!(matches!(
            verify::<DesiredState>(&good, &key, &other),
            Err(SigningError::Foreign { .. })
        ));
        assert!(matches!(open_call(&good, &key, &id, 7), Err(SigningError::Signature)));
    }

    #[test]
    fn a_call_is_for_one_device_and_one_session() {
        let id: DeviceId = "acme_dev-1".parse().unwrap();
        let key = signer(1).public_key();
        let call = Call { v: holdfast_base::WIRE_VERSION, id: 3, method: Method::Cancel };
        let bytes = signer(1).sign_call(&call, &id, 7).unwrap();
        assert_eq!(open_call(&bytes, &key, &id, 7).unwrap(), call);
        // Another device's; a recording of another session, whose number may begin alike; no
        // session at all; another control plane's.
        let other: DeviceId = "acme_dev-2".parse().unwrap();
        let none = signer(1).sign_call(&call, &id, 0).unwrap();
        let forged = signer(2).sign_call(&call, &id, 7).unwrap();
        for (bytes, device, session) in [
            (&bytes, &other, 7),
            (&bytes, &id, 8),
            (&bytes, &id, 77),
            (&none, &id, 0),
            (&none, &id, 7),
            (&forged, &id, 7),
        ] {
            let refused = open_call(bytes, &key, device, session);
            assert!(matches!(refused, Err(SigningError::Signature)), "{device} {session}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = open_call(&bad, &key, &id, 7) {
                assert_eq!(read, call, "bit {bit} changed the call");
            }
        }
        assert!(verify::<DesiredState>(&bytes, &key, &id).is_err());
    }
}
