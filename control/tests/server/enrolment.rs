//! Tests of enrolment, certificate renewal, and of which devices may connect.

use holdfast_base::ids::unhex;
use holdfast_control::ports::bus::{Admission as _, Refusal};
use holdfast_control::service::Failure;
use holdfast_protocol::enrol::EnrolAnswer;
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
        other.sign(&holdfast_protocol::enrol::renew_proof(&public_key)),
        key.sign(&holdfast_protocol::enrol::enrol_proof("", &public_key)),
        String::new(),
        "???".into(),
    ] {
        let request =
            holdfast_protocol::enrol::RenewRequest { public_key: public_key.clone(), proof };
        assert!(matches!(world.service.enrolment.renew(request).await, Err(Failure::Refused(_))));
    }
    assert!(
        unhex::<16>(&holdfast_base::ids::hex(&serial(
            &approved(world.renew(&key).await.unwrap()).certificate
        )))
        .is_some()
    );
}
