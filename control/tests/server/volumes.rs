//! Tests of volumes: what a device is asked, what becomes of its answer, and that it may upload and
//! download only what it was asked for, while it is asked.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use holdfast_base::codec;
use holdfast_base::ids::Digest;
use holdfast_control::core::rights::Actor;
use holdfast_protocol::message::{Call, Method, Reply, ReplyCode, ReplyError};
use holdfast_protocol::signing;
use holdfast_protocol::topic::Channel;
use holdfast_protocol::volume::{Volume, VolumeBackup, VolumeId, VolumeOrder, Volumes};
use holdfast_protocol::workload::Artifact;
use serde_json::{Value, json};

use crate::world::World;

const PATH: &str = "/api/v1/devices/d-1/volumes";

/// Returns a control plane with one connected device, which is an actor too.
async fn world() -> (Arc<World>, Actor) {
    let world = Arc::new(World::new().await);
    world.device("d-1").await;
    world.connect("d-1", 1);
    world.present("d-1", 77).await;
    let device = Actor::device(world.actor().tenant, "d-1".parse().unwrap());
    (world, device)
}

/// Waits for the next call to the device.
async fn asked(world: &World) -> Call {
    let key = world.service.enrolment.authority().signer().public_key();
    for _ in 0..2_000 {
        let next = world.bus.calls.lock().unwrap().pop();
        if let Some((device, bytes)) = next {
            return signing::open_call(&bytes, &key, &device, 77).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the device was not asked");
}

async fn answers(world: &World, call: &Call, answer: Result<Vec<u8>, ReplyError>) {
    let (body, error) = match answer {
        Ok(body) => (body, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let reply = Reply { v: 1, id: call.id, sequence: 0, body, end: true, error, log: Vec::new() };
    assert!(world.publish("d-1", Channel::Reply, codec::encode(&reply).unwrap()).await);
}

/// Asks for something, and answers in the device's place with what `device` returns of the call.
async fn with<F: Future<Output = Result<Vec<u8>, ReplyError>>>(
    world: &World,
    (method, path): (&str, &str),
    body: Value,
    device: impl FnOnce(Call) -> F,
) -> (u16, Value) {
    let asks = world.request(method, path, body);
    let says = async {
        let call = asked(world).await;
        let answer = device(call.clone()).await;
        answers(world, &call, answer).await;
    };
    tokio::join!(asks, says).0
}

fn data() -> VolumeId {
    VolumeId { workload: "till".parse().unwrap(), volume: "data".parse().unwrap() }
}

async fn pushed(world: &World, bytes: &'static str) -> Artifact {
    let answer = world.send("PUT", "/api/v1/artifacts", &[], Body::from(bytes)).await.1;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let digest = answer["digest"].as_str().unwrap().parse().unwrap();
    Artifact { digest, size: answer["size"].as_u64().unwrap() }
}

#[tokio::test]
async fn volumes_are_listed_as_the_device_knows_them() {
    let (world, _) = world().await;
    let said = with(&world, ("GET", PATH), json!(null), async |call| {
        assert_eq!(call.method, Method::Volume(VolumeOrder::List));
        let volumes = vec![Volume { id: data(), bytes: Some(4_096), used: true }];
        Ok(codec::encode(&Volumes { v: 1, volumes }).unwrap())
    });
    let (status, said) = said.await;
    assert_eq!(status, 200, "{said}");
    let data = json!({ "workload": "till", "volume": "data", "bytes": 4_096, "used": true });
    assert_eq!(said["items"], json!([data]));
}

#[tokio::test]
async fn a_deletion_is_in_the_audit_log_and_says_what_the_device_said() {
    let (world, _) = world().await;
    let path = format!("{PATH}/till/data");
    let table = [
        (Ok(Vec::new()), 204, ""),
        (Err(ReplyError::new(ReplyCode::NotFound, "no such volume")), 404, "no such volume"),
        (Err(ReplyError::new(ReplyCode::Failed, "in use by till")), 409, "in use by till"),
        (Err(ReplyError::new(ReplyCode::Unsupported, "no engine")), 503, "no engine"),
    ];
    for (answer, status, text) in table {
        let (found, said) = with(&world, ("DELETE", &path), json!(null), async |call| {
            assert_eq!(call.method, Method::Volume(VolumeOrder::Delete(data())));
            answer
        })
        .await;
        assert_eq!(found, status, "{said}");
        assert!(said.to_string().contains(text), "{said}");
    }
    let (_, audit) = world.request("GET", "/api/v1/audit", json!(null)).await;
    assert!(audit.to_string().contains("volume till/data"), "{audit}");
    let (status, said) = world.request("DELETE", &format!("{PATH}/till/D"), json!(null)).await;
    assert_eq!(status, 400, "{said}");
}

#[tokio::test]
async fn a_device_uploads_while_it_is_asked_for_a_backup_and_at_no_other_time() {
    let (world, device) = world().await;
    let artifact = pushed(&world, "a tar").await;
    let workloads = &world.service.workloads;
    assert!(workloads.artifact_room(&device, None).is_err(), "nobody has asked");
    let path = format!("{PATH}/till/data/backup");
    let (status, said) = with(&world, ("POST", &path), json!(null), async |call| {
        assert_eq!(call.method, Method::Volume(VolumeOrder::Backup(data())));
        assert!(workloads.artifact_room(&device, None).is_ok());
        workloads.own_artifact(&device, artifact.digest, artifact.size).await.unwrap();
        let (again, said) = world.request("POST", &path, json!(null)).await;
        assert_eq!(again, 409, "{said}");
        Ok(codec::encode(&VolumeBackup { v: 1, artifact }).unwrap())
    })
    .await;
    assert_eq!((status, &said["digest"]), (200, &json!(artifact.digest.to_string())), "{said}");
    assert!(workloads.artifact_room(&device, None).is_err(), "the backup is over");

    let (status, said) = with(&world, ("POST", &path), json!(null), async |_| {
        let artifact = Artifact { digest: Digest([7; 32]), size: 5 };
        Ok(codec::encode(&VolumeBackup { v: 1, artifact }).unwrap())
    })
    .await;
    assert_eq!(status, 503, "it says that it uploaded what did not arrive: {said}");
}

#[tokio::test]
async fn a_device_downloads_what_it_restores_and_only_meanwhile() {
    let (world, device) = world().await;
    let artifact = pushed(&world, "a tar").await;
    let workloads = &world.service.workloads;
    assert!(workloads.may_fetch(&device, &artifact.digest).is_err());
    let (path, body) =
        (format!("{PATH}/till/data/restore"), json!({ "digest": artifact.digest.to_string() }));
    let (status, said) = with(&world, ("POST", &path), body, async |call| {
        assert_eq!(call.method, Method::Volume(VolumeOrder::Restore(data(), artifact)));
        workloads.may_fetch(&device, &artifact.digest).unwrap();
        Ok(Vec::new())
    })
    .await;
    assert_eq!(status, 204, "{said}");
    assert!(workloads.may_fetch(&device, &artifact.digest).is_err(), "the restore is over");
    let body = json!({ "digest": Digest([7; 32]).to_string() });
    assert_eq!(world.request("POST", &path, body).await.0, 404);
}

#[tokio::test]
async fn a_device_that_is_away_is_not_waited_for() {
    let world = World::new().await;
    world.device("d-1").await;
    let (status, said) = world.request("GET", PATH, json!(null)).await;
    assert_eq!(status, 503, "{said}");
    assert!(said.to_string().contains("when it is connected"), "{said}");
}
