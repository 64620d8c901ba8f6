//! JSON of the enrolment: `enrolment.json` holds a token, a device's key, both proofs, requests and
//! answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_protocol::enrol::{
    EnrolAnswer, EnrolRequest, EnrolToken, Enrolment, NonceAnswer, NonceRequest, RenewRequest,
    enrol_proof, renew_proof, renew_proof_v0,
};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

use crate::{device_key, signer, stored_json, unhex};

/// Beginning of a P-256 public key in SubjectPublicKeyInfo, up to the point itself.
const SPKI: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";

/// Creates the vector. ECDSA signatures differ each time, so it is made once and then only checked.
fn make() -> Value {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).unwrap();
    let public_key = STANDARD.encode([&unhex(SPKI)[..], pair.public_key().as_ref()].concat());
    let sign = |bytes: &[u8]| STANDARD.encode(pair.sign(&random, bytes).unwrap());
    let token =
        EnrolToken { id: "0011223344556677".into(), secret: [0xab; 32], ca_sha256: [0xcd; 32] };
    let proof = enrol_proof(&token.id, &public_key, None);
    let again = renew_proof_v0(&public_key);
    let enrol = EnrolRequest {
        token: token.to_string(),
        name: Some("dev-1".parse().unwrap()),
        labels: [("site".to_owned(), "berlin".to_owned())].into(),
        public_key: public_key.clone(),
        sealing_key: None,
        proof: sign(&proof),
    };
    let renew = RenewRequest { public_key, nonce: None, sealing_key: None, proof: sign(&again) };
    json!({
        "about": "enrolment and renewal: what is posted, what is signed, what is answered",
        "devicePrivateKeyPkcs8": STANDARD.encode(private.as_ref()),
        "enrolProofText": String::from_utf8(proof).unwrap(),
        "renewProofText": String::from_utf8(again).unwrap(),
        "enrol": enrol,
        "renew": renew,
        "approved": EnrolAnswer::Approved(Box::new(enrolment())),
        "pending": EnrolAnswer::Pending {
            device: "dev-1".parse().unwrap(),
            retry_after_seconds: 30,
        },
    })
}

fn enrolment() -> Enrolment {
    Enrolment {
        tenant: "acme".parse().unwrap(),
        device: "dev-1".parse().unwrap(),
        shard: 7,
        topic_prefix: "hf/v1/7/acme_dev-1/".into(),
        certificate: "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n".into(),
        not_before: 1_795_467_600,
        not_after: 1_798_059_600,
        ca: "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n".into(),
        signing_key: STANDARD.encode(signer().public_key()),
        mqtt: vec![":8883".into(), "control.example:8883".into()],
        server_time: 1_795_467_605,
        held_labels: Vec::new(),
        sealing_key: None,
    }
}

#[test]
fn the_json_of_enrolment() {
    let json = stored_json("enrolment.json", make);
    let read = |field: &str| json[field].clone();
    let enrol: EnrolRequest = serde_json::from_value(read("enrol")).unwrap();
    let renew: RenewRequest = serde_json::from_value(read("renew")).unwrap();
    let token: EnrolToken = enrol.token.parse().unwrap();
    assert_eq!(serde_json::to_value(&enrol).unwrap(), read("enrol"));
    assert_eq!(serde_json::to_value(&renew).unwrap(), read("renew"));

    let key = STANDARD.decode(&enrol.public_key).unwrap();
    let point = key.strip_prefix(&unhex(SPKI)[..]).expect("a P-256 key");
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    for (proof, text, made) in [
        (&enrol.proof, read("enrolProofText"), enrol_proof(&token.id, &enrol.public_key, None)),
        (&renew.proof, read("renewProofText"), renew_proof_v0(&renew.public_key)),
    ] {
        assert_eq!(text.as_str().unwrap().as_bytes(), made);
        key.verify(&made, &STANDARD.decode(proof).unwrap()).expect("the proof holds");
    }

    let approved = EnrolAnswer::Approved(Box::new(enrolment()));
    assert_eq!(serde_json::to_value(&approved).unwrap(), read("approved"));
    assert_eq!(serde_json::from_value::<EnrolAnswer>(read("approved")).unwrap(), approved);
    let pending: EnrolAnswer = serde_json::from_value(read("pending")).unwrap();
    assert!(matches!(pending, EnrolAnswer::Pending { retry_after_seconds: 30, .. }));
    assert_eq!(serde_json::to_value(&pending).unwrap(), read("pending"));
}

/// Creates the vector with a sealing key and a nonce.
fn make_sealing() -> Value {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).unwrap();
    let public_key = STANDARD.encode([&unhex(SPKI)[..], pair.public_key().as_ref()].concat());
    let sign = |bytes: &[u8]| STANDARD.encode(pair.sign(&random, bytes).unwrap());
    let token =
        EnrolToken { id: "0011223344556677".into(), secret: [0xab; 32], ca_sha256: [0xcd; 32] };
    let sealing_key = STANDARD.encode(device_key().public());
    let nonce = "00".repeat(56);
    let proof = enrol_proof(&token.id, &public_key, Some(&sealing_key));
    let again = renew_proof(&public_key, &nonce, Some(&sealing_key));
    let enrol = EnrolRequest {
        token: token.to_string(),
        name: None,
        labels: [].into(),
        public_key: public_key.clone(),
        sealing_key: Some(sealing_key.clone()),
        proof: sign(&proof),
    };
    let renew = RenewRequest {
        public_key: public_key.clone(),
        nonce: Some(nonce.clone()),
        sealing_key: Some(sealing_key.clone()),
        proof: sign(&again),
    };
    let approved = Enrolment { sealing_key: Some(sealing_key), ..enrolment() };
    json!({
        "about": "enrolment and renewal of a device that secrets can be sealed to",
        "devicePrivateKeyPkcs8": STANDARD.encode(private.as_ref()),
        "enrolProofText": String::from_utf8(proof).unwrap(),
        "renewProofText": String::from_utf8(again).unwrap(),
        "enrol": enrol,
        "nonce": NonceRequest { public_key },
        "nonceAnswer": NonceAnswer { nonce },
        "renew": renew,
        "approved": EnrolAnswer::Approved(Box::new(approved)),
    })
}

#[test]
fn the_json_of_enrolment_with_a_sealing_key_and_a_nonce() {
    let json = stored_json("enrolment-sealing.json", make_sealing);
    let read = |field: &str| json[field].clone();
    let enrol: EnrolRequest = serde_json::from_value(read("enrol")).unwrap();
    let renew: RenewRequest = serde_json::from_value(read("renew")).unwrap();
    let asked: NonceRequest = serde_json::from_value(read("nonce")).unwrap();
    let given: NonceAnswer = serde_json::from_value(read("nonceAnswer")).unwrap();
    let approved: EnrolAnswer = serde_json::from_value(read("approved")).unwrap();
    assert_eq!(serde_json::to_value(&enrol).unwrap(), read("enrol"));
    assert_eq!(serde_json::to_value(&renew).unwrap(), read("renew"));
    assert_eq!(serde_json::to_value(&approved).unwrap(), read("approved"));
    assert_eq!(
        (Some(given.nonce.clone()), asked.public_key),
        (renew.nonce, enrol.public_key.clone())
    );

    let sealing_key = enrol.sealing_key.as_deref();
    assert_eq!(sealing_key, Some(STANDARD.encode(device_key().public()).as_str()));
    let token: EnrolToken = enrol.token.parse().unwrap();
    let key = STANDARD.decode(&enrol.public_key).unwrap();
    let point = key.strip_prefix(&unhex(SPKI)[..]).expect("a P-256 key");
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    for (proof, text, made) in [
        (
            &enrol.proof,
            read("enrolProofText"),
            enrol_proof(&token.id, &enrol.public_key, sealing_key),
        ),
        (
            &renew.proof,
            read("renewProofText"),
            renew_proof(&renew.public_key, &given.nonce, sealing_key),
        ),
    ] {
        assert_eq!(text.as_str().unwrap().as_bytes(), made);
        key.verify(&made, &STANDARD.decode(proof).unwrap()).expect("the proof holds");
    }
}
