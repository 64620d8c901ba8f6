//! Tests that nothing is told to anybody that a crash could take back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_control::ports::bus::Outcome;
use holdfast_control::ports::data_store::DataStore as _;
use holdfast_control::ports::store::{Fence, Store as _};
use holdfast_control::service::Failure;
use holdfast_protocol::topic::Channel;
use serde_json::json;

use crate::data::batch;
use crate::world::{SLOWNESS, World, id, numbered, report, suspend};

/// Begins to apply a second revision to `d-1`, whose desired state has this generation, and returns
/// once it is in memory; the store holds it back.
async fn held_apply(
    world: &std::sync::Arc<World>,
    generation: u64,
) -> tokio::task::JoinHandle<bool> {
    world.store.hold();
    let applying = tokio::spawn({
        let world = std::sync::Arc::clone(world);
        async move { world.apply("w", "2").await.is_ok() }
    });
    while world.view("d-1")["status"]["generation"]["desired"] == generation {
        tokio::task::yield_now().await;
    }
    applying
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_desired_state_is_shown_when_it_is_safe_and_not_before() {
    let world = std::sync::Arc::new(World::new().await);
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    let before = world.desired("d-1").unwrap();
    let applying = held_apply(&world, before.generation).await;
    assert!(world.desired("d-1").is_none(), "the new one might never have been");
    assert!(!applying.is_finished(), "acknowledged means on disk");
    world.bus.changed.lock().unwrap().clear();
    world.store.free();
    assert!(applying.await.unwrap());
    let after = world.desired("d-1").unwrap();
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(*world.bus.changed.lock().unwrap(), ["default_d-1"]);
}

#[tokio::test]
async fn whoever_asked_for_a_desired_state_that_the_store_refused_is_told_of_the_stored_one() {
    let world = std::sync::Arc::new(World::new().await);
    for name in ["d-1", "d-2"] {
        world.device(name).await;
    }
    world.apply("w", "1").await.unwrap();
    let before = world.desired("d-1").unwrap();
    let applying = held_apply(&world, before.generation).await;
    assert!(
        world.desired("d-1").is_none(),
        "it has just subscribed, and the new one is not stored"
    );
    world.bus.changed.lock().unwrap().clear();
    world.store.fails.store(true, Ordering::Relaxed);
    world.store.free();
    assert!(!applying.await.unwrap(), "the store refuses it");
    assert_eq!(*world.bus.changed.lock().unwrap(), ["default_d-1", "default_d-2"]);
    assert_eq!(world.desired("d-1").unwrap().generation, before.generation);
}

#[tokio::test]
async fn a_report_is_acknowledged_by_its_number_once_it_is_stored() {
    let world = World::new().await;
    world.device("d-1").await;
    world.connect("d-1", 1);
    let ack = |id: u32| {
        let ack = holdfast_protocol::message::ReportAck { v: 1, id };
        Outcome::Acknowledged(holdfast_base::codec::encode(&ack).unwrap().into())
    };
    let send = |id| world.outcome("d-1", Channel::State, numbered(id, &[("w", 1)]));
    assert_eq!(send(Some(300)).await, ack(300));
    assert_eq!(send(None).await, Outcome::Stored, "none was asked for");
    world.store.fails.store(true, Ordering::Relaxed);
    assert_eq!(send(Some(301)).await, Outcome::NotStored);
    world.store.fails.store(false, Ordering::Relaxed);
    assert_eq!(send(Some(302)).await, ack(302));
}

#[tokio::test]
async fn a_failed_write_is_said_and_leaves_nothing_behind() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    world.connect("d-1", 1);
    let before = world.desired("d-1").unwrap();
    world.store.fails.store(true, Ordering::Relaxed);
    let failure = world.apply("w", "2").await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Unavailable(text) if text.contains("no space")),
        "{failure}"
    );
    let stored = world.publish("d-1", Channel::State, report(true, 1, 1, &[("w", 1)])).await;
    assert!(!stored, "the device must send again");
    let ready = || world.raw("GET", "/readyz", &[], "");
    let said = ready().await;
    let text = String::from_utf8_lossy(said.body()).into_owned();
    assert_eq!(said.status(), 503, "{text}");
    assert!(text.contains("changes are refused") && text.contains("no space"), "{text}");
    assert_eq!(world.desired("d-1").unwrap(), before);
    assert_eq!(world.view("d-1")["status"]["connection"], "online", "it is still connected");
    world.store.fails.store(false, Ordering::Relaxed);
    world.apply("w", "3").await.unwrap();
    assert_eq!(ready().await.body(), "ready\n");
    let after = world.desired("d-1").unwrap();
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.workloads.values().next().unwrap().revision, 2);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    world.apply("gone", "1").await.unwrap();
    world.service.workloads.delete_workload(&world.actor(), "gone", None).await.unwrap();
    let desired = world.desired("d-1").unwrap();
    let report = report(true, desired.epoch, desired.generation, &[("w", 1)]);
    world.connect("d-1", 1);
    assert!(world.publish("d-1", Channel::State, report).await);
    let view = world.view("d-1");
    assert_eq!(view["status"]["generation"]["applied"], view["status"]["generation"]["desired"]);

    let world = world.restart().await;
    assert_eq!(world.desired("d-1").unwrap(), desired);
    let offline = world.view("d-1");
    assert_eq!(offline["status"]["connection"], "offline", "nobody is online at the start");
    let workload = &offline["status"]["workloads"]["w"];
    assert_eq!(
        (&workload["state"], &workload["lastState"]),
        (&"unknown".into(), &"running".into())
    );
    world.connect("d-1", 2);
    assert_eq!(world.view("d-1"), view, "times of states too");
    assert!(world.service.workloads.workload(&world.actor(), "gone").is_err());
    world.apply("gone", "2").await.unwrap();
    let shown = world.service.workloads.workload(&world.actor(), "gone").unwrap();
    let revision = serde_json::to_value(shown).unwrap()["status"]["revision"].clone();
    assert_eq!(revision, 2, "a revision's number is never used twice for a name");
}

#[tokio::test]
async fn malformed_reports_are_counted_and_refused() {
    let world = World::new().await;
    world.device("d-1").await;
    for channel in [Channel::State, Channel::Presence, Channel::Reply] {
        assert!(!world.publish("d-1", channel, vec![0xff; 9]).await);
    }
    assert_eq!(world.service.directory.counters().malformed.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_process_whose_lease_was_taken_stores_nothing_more_and_ends() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    world.store.lease(0, "another process", Duration::from_secs(6)).unwrap();
    let failure = world.apply("w", "2").await.unwrap_err();
    assert!(matches!(failure, Failure::Unavailable(_)), "{failure}");
    tokio::time::timeout(Duration::from_secs(10), world.service.documents.closed())
        .await
        .expect("it ends");
}

/// Waits until the lease was renewed so many times.
async fn renewed(world: &World, times: u64) {
    let enough = async {
        while world.store.renewals.load(Ordering::Relaxed) < times {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), enough).await.expect("it is renewed");
}

#[tokio::test]
async fn an_idle_process_renews_its_lease_and_writes_nothing_for_it() {
    let world = World::new().await;
    let files = || ["store.redb", "data.redb"].map(|name| world.file(name));
    let commits = world.service.documents.counters().commits.load(Ordering::Relaxed);
    let before = files();
    renewed(&world, 2).await;
    assert_eq!(world.service.documents.counters().commits.load(Ordering::Relaxed), commits);
    assert_eq!(files(), before, "byte by byte");
    assert!(!world.service.documents.is_closed());
}

#[tokio::test]
async fn an_idle_process_whose_lease_was_taken_ends_by_itself() {
    let world = World::new().await;
    world.store.lease(0, "another process", Duration::from_secs(6)).unwrap();
    tokio::time::timeout(Duration::from_secs(20), world.service.documents.closed())
        .await
        .expect("it ends");
}

#[tokio::test]
async fn a_process_that_cannot_renew_goes_on_when_the_store_answers_again() {
    let world = World::new().await;
    world.store.refuses_renewals.store(true, Ordering::Relaxed);
    renewed(&world, 3).await;
    world.store.refuses_renewals.store(false, Ordering::Relaxed);
    let tried = world.store.renewals.load(Ordering::Relaxed);
    renewed(&world, tried + 1).await;
    world.apply("w", "1").await.unwrap();
}

#[tokio::test]
async fn the_lease_is_renewed_while_the_store_is_still_being_read() {
    SLOWNESS.store(2, Ordering::Relaxed);
    let world = World::new().await;
    assert!(world.store.renewals.load(Ordering::Relaxed) >= 2);
    SLOWNESS.store(0, Ordering::Relaxed);
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    assert!(world.desired("d-1").is_some(), "it may act at once");
}

#[tokio::test]
async fn a_desired_state_waits_for_the_lease_and_is_told_when_it_is_renewed() {
    let world = World::new().await;
    world.device("d-1").await;
    world.apply("w", "1").await.unwrap();
    assert!(world.desired("d-1").is_some());
    world.store.refuses_renewals.store(true, Ordering::Relaxed);
    suspend(Duration::from_secs(5));
    assert!(world.desired("d-1").is_none(), "another process may have taken over");
    world.bus.changed.lock().unwrap().clear();
    world.service.directory.tell_withheld();
    assert!(world.bus.changed.lock().unwrap().is_empty());
    assert_eq!(world.request("GET", "/api/v1/devices", json!(null)).await.0, 200, "nobody has");
    world.store.refuses_renewals.store(false, Ordering::Relaxed);
    let again = async {
        while world.desired("d-1").is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("it is renewed");
    world.service.directory.tell_withheld();
    assert_eq!(*world.bus.changed.lock().unwrap(), [id("d-1").to_string()], "once");
    world.service.directory.tell_withheld();
    assert_eq!(world.bus.changed.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn whoever_asks_a_process_whose_lease_was_taken_is_told_to_ask_the_other_one() {
    let world = World::new().await;
    world.device("d-1").await;
    world.store.lease(0, "another process", Duration::from_secs(6)).unwrap();
    assert!(world.apply("w", "1").await.is_err(), "so it knows that");
    for path in ["/api/v1/devices", "/api/v1/fleet", "/api/v1/alarms", "/api/v1/audit"] {
        let (status, answer) = world.request("GET", path, json!(null)).await;
        assert_eq!(status, 503, "{path}");
        let said = answer["error"]["message"].as_str().unwrap();
        assert!(said.contains("another control plane has taken over"), "{said}");
    }
    let (status, said) = world.send("GET", "/readyz", &[], axum::body::Body::empty()).await;
    assert_eq!((status, &said[..28]), (503, &b"another control plane has ta"[..]));
    assert!(!world.service.access.holds(&world.service.access.host()), "open responses end");
    assert!(world.desired("d-1").is_none());
}

#[tokio::test]
async fn a_data_store_that_another_process_has_claimed_takes_no_batch_and_ends_this_one() {
    let world = World::new().await;
    let newer = Fence { shard: 0, epoch: 1_000 };
    world.device("d-1").await;
    world.data.claim(newer).unwrap();
    assert!(!world.ship("d-1", &batch("s", 1, 3)).await, "it is not acknowledged");
    tokio::time::timeout(Duration::from_secs(20), world.service.documents.closed())
        .await
        .expect("it ends");
}
