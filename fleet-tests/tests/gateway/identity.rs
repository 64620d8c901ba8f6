//! Certificates that are admitted and those that are not, resumed TLS sessions included.

use std::time::{Duration, SystemTime};

use holdfast_control::ports::bus::{Bus as _, Refusal};

use crate::pki::{Pki, Saying, spiffe, uri};
use crate::raw::{self, NOTHING, Raw};
use crate::world::{World, id, value};

const DEV: &str = "acme_dev-1";

/// Returns true if TLS itself refuses the client, at its first read at the latest.
async fn tls_refuses(world: &World, config: std::sync::Arc<rustls::ClientConfig>) -> bool {
    match Raw::tls(world, config).await {
        Err(_) => true,
        Ok(mut raw) => {
            drop(raw.try_write(&raw::connect(5, DEV, 60)).await);
            raw.any_packet().await.is_none()
        }
    }
}

#[tokio::test]
async fn tls_lets_in_only_our_own() {
    let world = World::new().await;
    let other = Pki::new().device(DEV);
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let expired = Saying { not_after: SystemTime::now() - hours(1), ..Saying::of(DEV) };
    let early = Saying { not_before: SystemTime::now() + hours(1), ..Saying::of(DEV) };
    let early = Saying { not_after: SystemTime::now() + hours(2), ..early };
    let expired = Saying { not_before: SystemTime::now() - hours(2), ..expired };
    for (what, credentials) in [
        ("another CA's", other),
        ("expired", world.pki.certify(expired)),
        ("not valid yet", world.pki.certify(early)),
    ] {
        let config = world.pki.client(Some(&credentials));
        assert!(tls_refuses(&world, config).await, "{what}");
    }
    world.until("counted", |world| value(&world.gateway.counters().refused_tls) == 3).await;
    assert_eq!(world.directory.admitted(), []);
    Raw::connected(&world, 5, DEV).await;
}

#[tokio::test]
async fn who_shows_no_certificate_is_no_device() {
    let world = World::new().await;
    for version in [5, 4] {
        let mut raw = Raw::tls(&world, world.pki.client(None)).await.unwrap();
        raw.write(&raw::connect(version, DEV, 60)).await;
        let answer = raw.rest().await;
        let code = if version == 5 { 0x86 } else { 4 };
        assert_eq!((answer[0], answer[3]), (0x20, code), "bad user name or password");
    }
    world.until("counted", |world| value(&world.gateway.counters().refused_readers) == 2).await;
    assert_eq!((world.directory.admitted(), world.directory.seen()), (vec![], vec![]));
}

#[tokio::test]
async fn a_certificate_must_name_one_device() {
    let world = World::new().await;
    let with = |sans| Saying { sans, ..Saying::of(DEV) };
    let named = |name: &str| Saying { common_name: name.into(), ..Saying::of(DEV) };
    let sayings = [
        with(Vec::new()),
        with(vec![spiffe("acme", "dev-2")]),
        with(vec![spiffe("acme", "dev-1"), spiffe("acme", "dev-2")]),
        with(vec![uri("spiffe://test.holdfast/acme/dev-1/x")]),
        with(vec![uri("https://test.holdfast/acme/dev-1")]),
        with(vec![uri("spiffe:///acme/dev-1")]),
        named("acme_dev-2"),
        named("acme"),
        named("ACME.dev-1"),
    ];
    let count = u64::try_from(sayings.len()).unwrap();
    for saying in sayings {
        let what = format!("{} {:?}", saying.common_name, saying.sans);
        let config = world.pki.client(Some(&world.pki.certify(saying)));
        assert!(tls_refuses(&world, config).await, "{what}");
    }
    world
        .until("counted", |world| value(&world.gateway.counters().refused_certificate) == count)
        .await;
    assert_eq!(world.directory.seen(), []);
}

#[tokio::test]
async fn the_directory_has_the_last_word() {
    let world = World::new().await;
    for refusal in [Refusal::Unknown, Refusal::Pending, Refusal::Revoked] {
        world.directory.refuse(DEV, refusal);
        for (version, code) in [(5, 0x87), (4, 5)] {
            let mut device = Raw::new(&world, DEV).await;
            device.write(&raw::connect(version, DEV, 60)).await;
            let answer = device.rest().await;
            assert_eq!((answer[0], answer[3]), (0x20, code), "{refusal:?}");
        }
    }
    let counters = world.gateway.counters();
    for counter in [&counters.refused_unknown, &counters.refused_pending, &counters.refused_revoked]
    {
        assert_eq!(value(counter), 2);
    }
    assert_eq!(world.directory.seen(), []);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_in_a_resumed_session_too() {
    let world = World::new().await;
    let saying = Saying { serial: Some(0x0102_0304), ..Saying::of(DEV) };
    let config = world.pki.client(Some(&world.pki.certify(saying)));
    let mut device = Raw::tls(&world, config.clone()).await.unwrap();
    device.write(&raw::connect(5, DEV, 60)).await;
    device.packet().await.unwrap();
    assert_eq!(world.directory.admitted(), [(DEV.to_owned(), vec![1, 2, 3, 4])]);

    world.directory.revoke_serial(&[1, 2, 3, 4]);
    world.gateway.disconnect(&id(DEV));
    assert_eq!(device.rest().await.get(2), Some(&0x98));
    let mut again = Raw::tls(&world, config).await.unwrap();
    let resumed = again.stream.get_ref().1.handshake_kind();
    assert_eq!(resumed, Some(rustls::HandshakeKind::Resumed));
    again.write(&raw::connect(5, DEV, 60)).await;
    assert_eq!(again.rest().await.get(3), Some(&0x87));
    // The same device with a fresh certificate is admitted.
    Raw::connected(&world, 5, DEV).await;
}

#[tokio::test]
async fn its_own_certificate_is_replaced_without_dropping_anyone() {
    let world = World::new().await;
    let mut device = Raw::connected(&world, 5, DEV).await;
    let server = |raw: &Raw| raw.stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let before = server(&device);
    world.gateway.replace_identity(world.pki.server()).unwrap();
    let newer = Raw::connected(&world, 5, "acme_dev-2").await;
    assert_ne!(server(&newer), before);
    device.write(&[0xc0, 0]).await;
    assert_eq!(device.packet().await.unwrap(), [0xd0]);
}

#[tokio::test]
async fn a_stopping_gateway_says_so() {
    let world = World::new().await;
    let mut v5 = Raw::connected(&world, 5, DEV).await;
    let mut v3 = Raw::connected(&world, 4, "acme_dev-2").await;
    let gateway = world.gateway.clone();
    let stopping = tokio::spawn(async move { gateway.shutdown().await });
    assert_eq!(v5.rest().await.get(..3).map(|last| (last[0], last[2])), Some((0xe0, 0x8b)));
    assert_eq!(v3.rest().await, NOTHING);
    drop((v5, v3));
    tokio::time::timeout(crate::world::PATIENCE, stopping).await.unwrap().unwrap();
    assert_eq!(value(&world.gateway.counters().connections), 0);
    let config = world.pki.client(Some(&world.pki.device(DEV)));
    assert!(Raw::tls(&world, config).await.is_err());
}
