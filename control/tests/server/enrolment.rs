//! Tests of enrolment, certificate renewal, and of which devices may connect.

use holdfast_base::ids::unhex;
use holdfast_control::ports::bus::{Admission as _, Refusal};
use holdfast_control::service::Failure;
use holdfast_protocol::enrol::{EnrolAnswer, RenewRequest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use crate::world::{Key, World, approved, id};

fn serial(certificate: &str) -> Vec<u8> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    x509_parser::parse_x509_certificate(&der).unwrap().1.raw_serial().to_vec()
}

#[tokio::test]
async fn a_repeated_enrolment_is_the_same_device_and_one_use() {
    let world = World::new().await;
    let token = world.token(json!({ "uses": 1, "labels": { "site": "north" } })).await;
    let key = Key::new();
    let first = approved(world.enrol(&key, &token, None).await.unwrap());
    let again = approved(world.enrol(&key, &token, None).await.unwrap());
    assert_eq!((&first.device, first.shard), (&again.device, again.shard));
    assert!(first.device.as_str().starts_with("d-"));
    assert_eq!(first.mqtt, [":8883"]);
    let tokens = world.request("GET", "/api/v1/tokens", json!(null)).await.1;
    assert_eq!(tokens["items"][0]["used"], 1, "{tokens}");
    assert_eq!(tokens["items"][0]["state"], "used");
    assert_eq!(world.view(first.device.as_str())["metadata"]["labels"]["site"], "north");
    let refused = world.enrol(&Key::new(), &token, None).await.unwrap_err();
    assert!(matches!(&refused, Failure::Refused(text) if text.contains("used")), "{refused}");

    // The repeated enrolment gives the same device after a restart, too.
    let world = world.restart().await;
    let again = approved(world.enrol(&key, &token, None).await.unwrap());
    assert_eq!(first.device, again.device);
    assert_eq!(
        world.service.directory.admit(&id(first.device.as_str()), &serial(&again.certificate)),
        Ok(first.shard)
    );
}

#[tokio::test]
async fn a_name_belongs_to_one_key_and_a_certificate_to_the_present_one() {
    let world = World::new().await;
    let (_key, old) = world.device("d-1").await;
    let token = world.token(json!({ "uses": 5 })).await;
    let stranger = Key::new();
    let refused = world.enrol(&stranger, &token, Some("d-1")).await.unwrap_err();
    assert!(matches!(refused, Failure::Conflict(_)), "{refused}");
    world.service.fleet.delete_device(&world.actor(), "d-1").await.unwrap();
    assert_eq!(
        world.service.directory.admit(&id("d-1"), &serial(&old.certificate)),
        Err(Refusal::Unknown)
    );
    let new = approved(world.enrol(&stranger, &token, Some("d-1")).await.unwrap());
    assert_eq!(
        world.service.directory.admit(&id("d-1"), &serial(&old.certificate)),
        Err(Refusal::Revoked)
    );
    assert!(world.service.directory.admit(&id("d-1"), &serial(&new.certificate)).is_ok());
    // The machine that has the name now may hold an old state of a high generation. An empty state
    // of a still higher generation replaces it.
    assert!(world.desired("d-1").is_some(), "nothing to run is something to say then");
}

#[tokio::test]
async fn approval_and_revocation() {
    let world = World::new().await;
    world.apply("w", "1").await.unwrap();
    let token = world.token(json!({ "approve": "manual" })).await;
    let key = Key::new();
    let answer = world.enrol(&key, &token, Some("d-1")).await.unwrap();
    assert!(matches!(answer, EnrolAnswer::Pending { retry_after_seconds: 1..=10, .. }));
    assert!(matches!(world.renew(&key).await.unwrap(), EnrolAnswer::Pending { .. }));
    assert_eq!(world.service.directory.admit(&id("d-1"), &[]), Err(Refusal::Pending));
    assert_eq!(world.view("d-1")["status"]["connection"], "pending");
    assert!(world.desired("d-1").is_none());
    world.service.fleet.approve(&world.actor(), "d-1").await.unwrap();
    let enrolment = approved(world.renew(&key).await.unwrap());
    assert!(world.service.directory.admit(&id("d-1"), &serial(&enrolment.certificate)).is_ok());
    assert_eq!(world.desired("d-1").unwrap().workloads.len(), 1);

    world.service.fleet.revoke(&world.actor(), "d-1").await.unwrap();
    let refusal = world.service.directory.admit(&id("d-1"), &serial(&enrolment.certificate));
    assert_eq!(refusal, Err(Refusal::Revoked));
    assert_eq!(*world.bus.disconnected.lock().unwrap(), ["default_d-1"]);
    let refused = world.renew(&key).await.unwrap_err();
    assert!(matches!(&refused, Failure::Refused(text) if text.contains("revoked")), "{refused}");
    let refused = world.enrol(&key, &token, None).await.unwrap_err();
    assert!(matches!(&refused, Failure::Refused(text) if text.contains("revoked")), "{refused}");
    assert!(world.service.enrolment.counters().refused().contains_key("revoked-device"));
}

#[tokio::test]
async fn a_proof_is_of_this_key_and_for_this_purpose() {
    let world = World::new().await;
    let (key, _) = world.device("d-1").await;
    let other = Key::new();
    let public_key = key.public();
    for proof in [
        other.sign(&holdfast_protocol::enrol::renew_proof_v0(&public_key)),
        key.sign(&holdfast_protocol::enrol::enrol_proof("", &public_key, None)),
        key.sign(&holdfast_protocol::enrol::renew_proof(&public_key, "", None)),
        String::new(),
        "???".into(),
    ] {
        let (nonce, sealing_key) = (None, None);
        let public_key = public_key.clone();
        let request = RenewRequest { public_key, nonce, sealing_key, proof };
        assert!(matches!(world.service.enrolment.renew(request).await, Err(Failure::Refused(_))));
    }
    assert!(
        unhex::<16>(&holdfast_base::ids::hex(&serial(
            &approved(world.renew(&key).await.unwrap()).certificate
        )))
        .is_some()
    );
}

#[tokio::test]
async fn a_renewal_is_good_once() {
    let world = World::new().await;
    let (key, _) = world.device("d-1").await;
    let renewal = world.renewal(&key, None);
    approved(world.service.enrolment.renew(renewal.clone()).await.unwrap());
    let again = world.service.enrolment.renew(renewal.clone()).await.unwrap_err();
    assert!(matches!(&again, Failure::Conflict(text) if text.contains("used already")), "{again}");

    // Neither the nonce nor the sealing key can be changed, nor the nonce be left out.
    let fresh = world.renewal(&key, Some(&sealing_key(1)));
    for edited in [
        RenewRequest { nonce: renewal.nonce, ..fresh.clone() },
        RenewRequest { nonce: None, ..fresh.clone() },
        RenewRequest { nonce: None, sealing_key: None, ..fresh.clone() },
        RenewRequest { sealing_key: None, ..fresh.clone() },
        RenewRequest { sealing_key: Some(sealing_key(2)), ..fresh.clone() },
    ] {
        let refused = world.service.enrolment.renew(edited).await.unwrap_err();
        assert!(matches!(refused, Failure::Refused(_)), "{refused}");
    }
    // What was refused has used nothing up; a nonce that was given before it is used up with it.
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let newest = world.renewal(&key, Some(&sealing_key(3)));
    approved(world.service.enrolment.renew(newest).await.unwrap());
    assert!(world.service.enrolment.renew(fresh).await.is_err());

    // Another process gives other nonces, and takes none of this one's.
    let given = world.renewal(&key, None);
    let other = World::new().await;
    other.device("d-1").await;
    let (strange, _) = other.device("d-2").await;
    let elsewhere = RenewRequest { nonce: given.nonce, ..other.renewal(&strange, None) };
    assert!(other.service.enrolment.renew(elsewhere).await.is_err());
    let refused = world.service.enrolment.counters().refused();
    assert!(refused.contains_key("stale-nonce"), "{refused:?}");
}

/// Returns a sealing key as a device sends it.
fn sealing_key(byte: u8) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode([byte; 32])
}

#[tokio::test]
async fn a_sealing_key_comes_with_the_enrolment_and_is_replaced_by_renewals_alone() {
    let world = World::new().await;
    let (key, token) = (Key::new(), world.token(json!({})).await);
    let enrol = |sealing_key: Option<String>| world.enrol_sealing(&key, &token, sealing_key);
    let short = enrol(Some("AAAA".into())).await.unwrap_err();
    assert!(matches!(&short, Failure::Invalid { message, .. } if message.contains("32 bytes")));
    let enrolment = approved(enrol(Some(sealing_key(1))).await.unwrap());
    assert_eq!(enrolment.sealing_key, Some(sealing_key(1)));
    let name = enrolment.device.to_string();
    // A recorded enrolment brings no former key back, and one without a key takes none away.
    for other in [Some(sealing_key(2)), None] {
        let again = approved(enrol(other).await.unwrap());
        assert_eq!(again.sealing_key, Some(sealing_key(1)), "the device sees that it is another");
    }
    let renewed = world.renewal(&key, Some(&sealing_key(2)));
    let renewed = approved(world.service.enrolment.renew(renewed).await.unwrap());
    assert_eq!(renewed.sealing_key, Some(sealing_key(2)));
    let keeps = world.renewal(&key, None);
    let keeps = approved(world.service.enrolment.renew(keeps).await.unwrap());
    assert_eq!(keeps.sealing_key, Some(sealing_key(2)));
    let shown = world.service.fleet.device(&world.actor(), &name).unwrap();
    assert!(shown.status.secrets);
}

#[tokio::test]
async fn an_older_agents_renewal_is_taken_and_changes_no_sealing_key() {
    let world = World::new().await;
    let (key, enrolment) = world.device("d-1").await;
    assert_eq!(enrolment.sealing_key, None, "an older agent sends none");
    let shown = world.service.fleet.device(&world.actor(), "d-1").unwrap();
    assert!(!shown.status.secrets);
    approved(world.renew(&key).await.unwrap());
    let tells = world.renewal(&key, Some(&sealing_key(1)));
    approved(world.service.enrolment.renew(tells).await.unwrap());
    let back = approved(world.renew(&key).await.unwrap());
    assert_eq!(back.sealing_key, Some(sealing_key(1)), "an agent that was put back");
    let public_key = key.public();
    let proof = key.sign(&holdfast_protocol::enrol::renew_proof_v0(&public_key));
    let sealing_key = Some(sealing_key(2));
    let request = RenewRequest { public_key, nonce: None, sealing_key, proof };
    let refused = world.service.enrolment.renew(request).await.unwrap_err();
    assert!(matches!(&refused, Failure::Refused(text) if text.contains("nonce")), "{refused}");
}
